import { describe, expect, it } from 'vitest';
import { resampler, SPEECH_RATE_HZ } from './resample';

function tone(hz: number, rate_hz: number, seconds: number): Float32Array {
  return Float32Array.from({ length: Math.round(rate_hz * seconds) }, (_, index) => Math.sin((2 * Math.PI * hz * index) / rate_hz));
}

function whole(input: Float32Array, from_hz: number, piece: number): number[] {
  const resample = resampler(from_hz);
  const output: number[] = [];
  for (let at = 0; at < input.length; at += piece) output.push(...resample.push(input.subarray(at, at + piece)));
  return [...output, ...resample.finish()];
}

/** Of the middle, where the filter is not half in the silence before and after. */
function rms(samples: readonly number[]): number {
  const middle = samples.slice(400, -400);
  return Math.sqrt(middle.reduce((sum, value) => sum + value * value, 0) / middle.length);
}

const decibels = (ratio: number) => 20 * Math.log10(ratio);

describe.each([48_000, 44_100, 16_000, 8_000])('from %i Hz', (from_hz) => {
  it('lasts as long as before', () => {
    const output = whole(tone(440, from_hz, 1), from_hz, 4_800);
    expect(Math.abs(output.length - SPEECH_RATE_HZ)).toBeLessThanOrEqual(2);
  });

  it('carries speech unchanged', () => {
    for (const hz of [100, 1_000, 3_000]) {
      expect(Math.abs(decibels(rms(whole(tone(hz, from_hz, 1), from_hz, 4_800)) / Math.SQRT1_2))).toBeLessThan(0.2);
    }
  });

  it('is the same however it is cut into pieces', () => {
    const input = tone(700, from_hz, 0.2);
    const at_once = whole(input, from_hz, input.length);
    const in_pieces = whole(input, from_hz, 37);
    expect(in_pieces.length).toBe(at_once.length);
    in_pieces.forEach((value, index) => expect(value).toBeCloseTo(at_once[index] ?? NaN, 5));
  });
});

it.each([9_000, 12_000, 20_000])('takes out what would come back as a false tone: %i Hz', (hz) => {
  expect(decibels(rms(whole(tone(hz, 48_000, 1), 48_000, 4_800)))).toBeLessThan(-35);
});

it('keeps a steady level steady', () => {
  const output = whole(new Float32Array(48_000).fill(0.5), 48_000, 4_800).slice(100, -100);
  for (const value of output) expect(value).toBeCloseTo(0.5, 3);
});
