/** Speech as a WAV file: 16-bit, one channel, 16 kHz; every browser can make it and any loudspeaker plays it. */
import { SPEECH_RATE_HZ } from './resample';

const HEADER_BYTES = 44;
const SAMPLE_BYTES = 2;
/** The longest recording; longer talks nobody listens to, and a phone's memory holds it easily. */
export const RECORDING_MS_MAX = 600_000;
/** Shorter than this is a slip of the thumb, not a notice. */
export const RECORDING_MS_MIN = 500;

/** Samples from −1 to 1 as whole numbers; what is louder is cut off. */
export function toPcm(samples: Float32Array): Int16Array {
  return Int16Array.from(samples, (value) => {
    const cut = Math.max(-1, Math.min(1, Number.isNaN(value) ? 0 : value));
    return Math.round(cut * 0x7fff);
  });
}

/** The file made of its pieces, in their order. */
export function wavOf(pieces: readonly Int16Array[], rate_hz = SPEECH_RATE_HZ): Blob {
  const bytes = pieces.reduce((sum, piece) => sum + piece.length * SAMPLE_BYTES, 0);
  return new Blob([header(bytes, rate_hz), ...pieces.map(littleEndian)], { type: 'audio/wav' });
}

export function durationMs(pieces: readonly Int16Array[], rate_hz = SPEECH_RATE_HZ): number {
  return (pieces.reduce((sum, piece) => sum + piece.length, 0) * 1_000) / rate_hz;
}

/** How loud a stretch is, from 0 (silent) to 1 (as loud as can be), as an ear judges it: 50 dB are the whole way. */
export function levelOf(samples: Float32Array): number {
  let sum = 0;
  for (const value of samples) sum += value * value;
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  return rms === 0 ? 0 : Math.max(0, Math.min(1, 1 + (20 * Math.log10(rms)) / 50));
}

/** RIFF, format 1 (PCM). */
function header(data_bytes: number, rate_hz: number): ArrayBuffer {
  const buffer = new ArrayBuffer(HEADER_BYTES);
  const view = new DataView(buffer);
  const word = (at: number, text: string) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  word(0, 'RIFF');
  view.setUint32(4, HEADER_BYTES - 8 + data_bytes, true);
  word(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate_hz, true);
  view.setUint32(28, rate_hz * SAMPLE_BYTES, true);
  view.setUint16(32, SAMPLE_BYTES, true);
  view.setUint16(34, 8 * SAMPLE_BYTES, true);
  word(36, 'data');
  view.setUint32(40, data_bytes, true);
  return buffer;
}

/** WAV is little-endian whatever the machine is. */
function littleEndian(samples: Int16Array): ArrayBuffer {
  const buffer = new ArrayBuffer(samples.length * SAMPLE_BYTES);
  const view = new DataView(buffer);
  samples.forEach((value, index) => view.setInt16(index * SAMPLE_BYTES, value, true));
  return buffer;
}
