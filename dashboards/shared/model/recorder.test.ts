import { describe, expect, it } from 'vitest';
import { en } from '../messages/en';
import { zhCN } from '../messages/zh-CN';
import { recordersOf, saysRecorder } from './recorder';
import { camera } from './samples';

const state = (name: string, since_ms: number, detail = '') => ({ name, since_ms, detail });

describe('a recorder', () => {
  it('says once that its clock is off, since the first of its cameras said so', () => {
    const [gate, square] = [
      camera({ id: 'c1', state: state('clock_off', 900, 'off by 70 s') }),
      camera({ id: 'c2', state: state('clock_off', 500, 'off by 71 s') }),
    ];
    const elsewhere = camera({ id: 'c3', recorder_id: 'r2', url: 'rtsp://192.168.8.30:8554/1' });
    const recorders = recordersOf([gate, elsewhere, square]);
    expect(recorders.map(({ id, address, cameras }) => [id, address, cameras.length])).toEqual([
      ['r1', '192.168.8.20', 2],
      ['r2', '192.168.8.30:8554', 1],
    ]);
    expect(recorders[0]?.state).toEqual({ name: 'clock_off', since_ms: 500, detail: 'off by 71 s' });
    expect(recorders[1]?.state).toBeNull();
    expect(recorders[0] && saysRecorder(recorders[0], gate)).toBe(true);
    expect(recorders[1] && saysRecorder(recorders[1], elsewhere)).toBe(false);
  });

  it('refuses the password for all its cameras, or one channel only while others are shown', () => {
    const refused = camera({ id: 'c1', state: state('refused', 100, 'wrong password') });
    const waiting = camera({ id: 'c2', state: state('starting', 50) });
    expect(recordersOf([refused, waiting])[0]?.state).toEqual({ name: 'refused', since_ms: 100, detail: 'wrong password' });
    const shown = camera({ id: 'c3', state: state('ok', 50) });
    expect(recordersOf([refused, shown])[0]?.state).toBeNull();
    const late = camera({ id: 'c3', state: state('clock_off', 50) });
    expect(recordersOf([refused, late])[0]?.state?.name).toBe('clock_off');
  });

  it('leaves to a camera what is its own, and has its words in both languages', () => {
    const black = camera({ id: 'c1', state: state('black', 1) });
    const late = camera({ id: 'c2', state: state('clock_off', 2) });
    const [recorder] = recordersOf([black, late]);
    expect(recorder && saysRecorder(recorder, black)).toBe(false);
    expect(recordersOf([camera({ url: 'nonsense' })])[0]?.address).toBe('');
    for (const { cameras: words } of [zhCN, en]) {
      expect(words.recorder('192.168.8.20')).toContain('192.168.8.20');
      expect(words.of_recorder).toBeTruthy();
      expect(words.recorder_reach(3)).toContain('3');
    }
  });
});
