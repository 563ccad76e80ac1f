import { describe, expect, it } from 'vitest';
import { durationMs, levelOf, toPcm, wavOf } from './wav';

const text = (view: DataView, at: number) => String.fromCharCode(...[0, 1, 2, 3].map((index) => view.getUint8(at + index)));

describe('a WAV file', () => {
  it('says of itself what is in it', async () => {
    const blob = wavOf([Int16Array.of(0, 1, -2), Int16Array.of(0x7fff)]);
    const view = new DataView(await blob.arrayBuffer());
    expect(blob.type).toBe('audio/wav');
    expect([text(view, 0), text(view, 8), text(view, 12), text(view, 36)]).toEqual(['RIFF', 'WAVE', 'fmt ', 'data']);
    expect(view.byteLength).toBe(44 + 8);
    expect(view.getUint32(4, true)).toBe(36 + 8);
    // PCM, one channel, 16 kHz, 32,000 bytes a second, two bytes a sample of 16 bits.
    expect([20, 22, 32, 34].map((at) => view.getUint16(at, true))).toEqual([1, 1, 2, 16]);
    expect([24, 28, 40].map((at) => view.getUint32(at, true))).toEqual([16_000, 32_000, 8]);
    expect([44, 46, 48, 50].map((at) => view.getInt16(at, true))).toEqual([0, 1, -2, 0x7fff]);
  });

  it('may be empty', async () => {
    expect(wavOf([]).size).toBe(44);
    expect(durationMs([])).toBe(0);
  });

  it('knows how long it is', () => {
    expect(durationMs([new Int16Array(8_000), new Int16Array(4_000)])).toBe(750);
  });
});

describe('samples', () => {
  it('are cut off where they are too loud, and silent where they are none', () => {
    expect([...toPcm(Float32Array.of(0, 0.5, 1, 2, -1, -9, NaN))]).toEqual([0, 16384, 32767, 32767, -32767, -32767, 0]);
  });

  it('are judged as an ear does', () => {
    expect(levelOf(new Float32Array(10))).toBe(0);
    expect(levelOf(new Float32Array(0))).toBe(0);
    expect(levelOf(new Float32Array(10).fill(1))).toBe(1);
    expect(levelOf(new Float32Array(10).fill(0.1))).toBeCloseTo(0.6, 2);
  });
});
