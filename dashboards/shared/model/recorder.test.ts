import { describe, expect, it } from 'vitest';
import { en } from '../messages/en';
import { zhCN } from '../messages/zh-CN';
import { addressOf, crowdingOf, recordersOf, saysRecorder } from './recorder';
import { camera, fault } from './samples';

const state = (name: string, since_ms: number, detail = '') => ({ name, since_ms, detail });
const recorderFault = (name: string, first_ms: number, id = 'r1') =>
  fault({ id: `f-${name}`, source: `recorder:${id}`, code: `recorder.${name}`, first_ms });

describe('a recorder', () => {
  it.each(['unreachable', 'refused', 'clock_off'] as const)('says once that it is %s, since when its fault says', (name) => {
    const [gate, square] = [
      camera({ id: 'c1', state: state(name, 900, 'as seen') }),
      camera({ id: 'c2', state: state(name, 500, 'as seen, too') }),
    ];
    const elsewhere = camera({ id: 'c3', recorder_id: 'r2', url: 'rtsp://192.168.8.30:8554/1', state: state(name, 1) });
    const recorders = recordersOf([gate, elsewhere, square], [fault(), recorderFault(name, 700)]);
    expect(recorders.map(({ id, address, cameras }) => [id, address, cameras.length])).toEqual([
      ['r1', '192.168.8.20', 2],
      ['r2', '192.168.8.30:8554', 1],
    ]);
    expect(recorders[0]?.state).toEqual({ name, since_ms: 700, detail: 'as seen' });
    expect(recorders[1]?.state).toBeNull();
    expect(recorders[0] && saysRecorder(recorders[0], gate)).toBe(true);
    expect(recorders[1] && saysRecorder(recorders[1], elsewhere)).toBe(false);
  });

  it('says nothing of itself without a fault of its own, or while nobody knows how it is', () => {
    const down = camera({ id: 'c1', state: state('unreachable', 100) });
    const cameras_own = fault({ source: 'camera:c1', code: 'camera.unreachable' });
    expect(recordersOf([down], [cameras_own])[0]?.state).toBeNull();
    const unknown = camera({ id: 'c1', state: state('stale', 100, 'unreachable') });
    expect(recordersOf([unknown], [recorderFault('unreachable', 100)])[0]?.state).toBeNull();
  });

  it('leaves to a camera what is its own', () => {
    const black = camera({ id: 'c1', state: state('black', 1) });
    const late = camera({ id: 'c2', state: state('clock_off', 2) });
    const [recorder] = recordersOf([black, late], [recorderFault('clock_off', 2)]);
    expect(recorder?.state?.name).toBe('clock_off');
    expect(recorder && saysRecorder(recorder, black)).toBe(false);
  });

  it('is known by its address', () => {
    expect(addressOf('rtsp://NVR.village:554/1')).toBe('nvr.village');
    expect(addressOf('rtsp://u:p@10.0.0.1:8554/1')).toBe('10.0.0.1:8554');
    expect(addressOf('nonsense')).toBe('');
  });

  it('is full when each camera has its stream and none is left for another one of them', () => {
    const plain = camera({ sub_url: null });
    const both = camera({ sub_url: 'rtsp://192.168.8.20/2' });
    const home = camera({ kind: 'home', consent_ms: null, sub_url: 'rtsp://192.168.8.20/3' });
    const table = [
      [[], 1, null],
      [[plain, plain, plain, plain], 4, null],
      [[plain, plain, plain, plain, plain], 4, { sessions: 4, standing: 5 }],
      [[both, plain, plain], 4, null],
      [[both, plain, plain, plain], 4, { sessions: 4, standing: 4 }],
      [[home, plain, plain, plain, plain], 4, null],
      [[camera({ ...home, consent_ms: 5 }), plain, plain, plain], 4, { sessions: 4, standing: 4 }],
      [Array.from({ length: 16 }, () => both), 4, { sessions: 4, standing: 16 }],
      [Array.from({ length: 16 }, () => both), 17, null],
    ] as const;
    for (const [cameras, sessions, crowding] of table) expect(crowdingOf(cameras, sessions)).toEqual(crowding);
  });

  it('has its words in both languages', () => {
    for (const { cameras: words, fault: faults } of [zhCN, en]) {
      expect(words.recorder('192.168.8.20')).toContain('192.168.8.20');
      expect(words.of_recorder).toBeTruthy();
      expect(words.recorder_reach(3)).toContain('3');
      expect(words.crowded(4, 16)).toMatch(/(?=.*4)(?=.*16)(?=.*12)/);
      expect(words.crowded(4, 4)).not.toContain('0');
      for (const name of ['unreachable', 'refused', 'clock_off'] as const) {
        expect(words.recorder_advice[name]).toBeTruthy();
        expect(faults.code[`recorder.${name}`]).toBeTruthy();
      }
    }
  });
});
