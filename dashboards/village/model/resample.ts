/**
 * From the microphone's rate to the loudspeakers': a low-pass filter and a new grid of samples, piece by piece, so that ten
 * minutes are never held twice. What the lower rate cannot carry is taken out first; else it would come back as a false tone.
 */

/** What loudspeakers are sent; every one can play it, and speech needs no more. */
export const SPEECH_RATE_HZ = 16_000;
/** Filter length on each side, in samples of the lower rate: enough to keep what folds back 60 dB below speech. */
const HALF_LENGTH = 16;
/** Positions between two input samples that the filter is tabulated for; the rest of the way is rounded. */
const PHASES = 64;
/** The filter's edge, as a share of half the lower rate. */
const EDGE = 0.92;

export interface Resampler {
  /** Takes input samples, gives the output samples that are complete by them. */
  push(input: Float32Array): Float32Array;
  /** Gives what was still held back. */
  finish(): Float32Array;
}

export function resampler(from_hz: number, to_hz = SPEECH_RATE_HZ): Resampler {
  const step = from_hz / to_hz;
  const reach = Math.ceil(HALF_LENGTH * Math.max(1, step));
  const table = filterTable(Math.min(1, to_hz / from_hz) * EDGE, reach);
  let held: Float32Array = new Float32Array(reach);
  /** Input samples that were let go, the silence before the first among them; output samples made. */
  let spent = 0;
  let made = 0;

  function drain(): Float32Array {
    // Counted from the beginning each time: steps added up would drift.
    const position = (index: number): number => reach + index * step - spent;
    const count = Math.max(0, Math.ceil((held.length - reach - position(made)) / step));
    const output = new Float32Array(count);
    for (let index = 0; index < count; index += 1) output[index] = sampleAt(held, position(made + index), table, reach);
    made += count;
    const done = Math.max(0, Math.min(held.length, Math.floor(position(made)) - reach));
    held = held.slice(done);
    spent += done;
    return output;
  }

  function push(input: Float32Array): Float32Array {
    const joined = new Float32Array(held.length + input.length);
    joined.set(held);
    joined.set(input, held.length);
    held = joined;
    return drain();
  }

  return { push, finish: () => push(new Float32Array(reach)) };
}

/** A windowed sinc for each phase; every row adds up to one, so that a steady level stays what it was. */
function filterTable(cutoff: number, reach: number): Float32Array[] {
  return Array.from({ length: PHASES + 1 }, (_, phase) => {
    const row = new Float32Array(2 * reach + 1);
    let sum = 0;
    for (let tap = -reach; tap <= reach; tap += 1) {
      const x = tap - phase / PHASES;
      const window = Math.abs(x) >= reach + 1 ? 0 : 0.5 + 0.5 * Math.cos((Math.PI * x) / (reach + 1));
      const value = sinc(x * cutoff) * window;
      row[tap + reach] = value;
      sum += value;
    }
    return row.map((value) => value / sum);
  });
}

function sampleAt(samples: Float32Array, at: number, table: readonly Float32Array[], reach: number): number {
  const whole = Math.floor(at);
  const row = table[Math.round((at - whole) * PHASES)];
  if (row === undefined) return 0;
  let sum = 0;
  for (let tap = 0; tap < row.length; tap += 1) sum += (samples[whole - reach + tap] ?? 0) * (row[tap] ?? 0);
  return sum;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}
