import { describe, expect, it } from 'vitest';
import { en } from '../messages/en';
import { zhCN } from '../messages/zh-CN';
import { CAMERA_STATES, codecName, COMPASS, degreesOf, facing, isBroken, qualityFor, searchCameras, stateName } from './camera';
import { camera } from './samples';

const H264 = { codec: 'h264', width: 1, height: 1 };
const H265 = { codec: 'h265', width: 1, height: 1 };
const plays = ({ codec }: { codec: string }) => codec === 'h264';

describe('a camera', () => {
  it('has a word for each state in both languages, and advice for each that is not well', () => {
    for (const { camera: words } of [zhCN, en]) {
      for (const state of CAMERA_STATES) {
        expect(words.state[state], state).toBeTruthy();
        if (isBroken(state)) expect(words.advice[state], state).toBeTruthy();
      }
      for (const compass of COMPASS) expect(words.compass[compass]).toBeTruthy();
    }
    expect(stateName('melted')).toBe('unknown');
    expect(stateName('')).toBe('unknown');
  });

  it('looks one of eight ways', () => {
    expect([0, 22, 23, 359, -90, 405].map(facing)).toEqual(['n', 'n', 'ne', 'n', 'w', 'ne']);
    for (const compass of COMPASS) expect(facing(degreesOf(compass))).toBe(compass);
  });

  it('shows the small stream in a small tile and the main one when it is large', () => {
    const both = camera({ sub_url: 'rtsp://a/2', main: H264, sub: H264 });
    expect(qualityFor(both, false, plays)).toBe('sub');
    expect(qualityFor(both, true, plays)).toBe('main');
    expect(qualityFor(camera({ sub_url: null, main: H264 }), false, plays)).toBe('main');
  });

  it('falls back to the stream that this browser can show', () => {
    const mixed = camera({ sub_url: 'rtsp://a/2', main: H265, sub: H264 });
    expect(qualityFor(mixed, true, plays)).toBe('sub');
    expect(qualityFor(camera({ sub_url: 'rtsp://a/2', main: H264, sub: H265 }), false, plays)).toBe('main');
    expect(qualityFor(camera({ sub_url: 'rtsp://a/2', main: H265, sub: H265 }), true, plays)).toBe('main');
    expect(codecName('hvc1.1.6.L93.B0')).toBe('H.265');
    expect(codecName('avc1.640028')).toBe('H.264');
    expect(codecName('mjpeg')).toBe('MJPEG');
  });

  it('is found by its name, its site and its place', () => {
    const cameras = [camera({ id: '1', name: 'Gate' }), camera({ id: '2', name: 'Hall', site_name: 'Clinic', place: 'by the door' })];
    expect(searchCameras(cameras, 'clinic DOOR').map(({ id }) => id)).toEqual(['2']);
    expect(searchCameras(cameras, '').length).toBe(2);
  });
});
