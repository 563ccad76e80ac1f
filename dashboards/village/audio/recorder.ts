/**
 * The microphone: opened by a tap, closed by the next. What is spoken is handed on as it comes, already as loudspeakers take it,
 * so that it can be kept at once: a battery that dies takes two seconds with it, not the whole notice.
 */
import { readonly, ref } from 'vue';
import { SPEECH_RATE_HZ, resampler, type Resampler } from '../model/resample';
import { levelOf, RECORDING_MS_MAX, toPcm } from '../model/wav';
import capture from './capture.worklet.ts?worker&url';

/** Spoken and not yet handed on: this much is lost when the phone dies. */
const KEEP_EVERY_SAMPLES = 2 * SPEECH_RATE_HZ;

export type RecorderState = 'idle' | 'asking' | 'recording' | 'refused' | 'missing' | 'insecure';

const state = ref<RecorderState>('idle');
const spoken_ms = ref(0);
const loudness = ref(0);
let running: Running | null = null;
/** Counts attempts: one that was given up while the person was being asked must not open the microphone. */
let attempt = 0;

interface Running {
  stream: MediaStream;
  context: AudioContext;
  resample: Resampler;
  waiting: Float32Array[];
  waiting_samples: number;
  take: (piece: Int16Array) => void;
  full: () => void;
}

export const recorder = { state: readonly(state), spoken_ms: readonly(spoken_ms), loudness: readonly(loudness), start, stop };

/**
 * Asks for the microphone and begins. `take` is called with each piece; `full` when the longest recording is reached. False if
 * there is no microphone to be had; `state` says why.
 */
async function start(take: (piece: Int16Array) => void, full: () => void): Promise<boolean> {
  if (running !== null || state.value === 'asking') return false;
  // A browser hides its microphone from pages that came over an open line.
  if (!isSecureContext || navigator.mediaDevices === undefined) return fail('insecure');
  const mine = (attempt += 1);
  state.value = 'asking';
  spoken_ms.value = 0;
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    return mine === attempt && fail(error instanceof DOMException && error.name === 'NotFoundError' ? 'missing' : 'refused');
  }
  if (mine !== attempt) {
    close(stream);
    return false;
  }
  try {
    await listen(stream, take, full);
  } catch {
    close(stream);
    return fail('refused');
  }
  state.value = 'recording';
  return true;
}

async function listen(stream: MediaStream, take: Running['take'], full: Running['full']): Promise<void> {
  const context = new AudioContext();
  await context.audioWorklet.addModule(capture);
  const node = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
  context.createMediaStreamSource(stream).connect(node);
  const mine: Running = { stream, context, resample: resampler(context.sampleRate), waiting: [], waiting_samples: 0, take, full };
  node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    if (running === mine) heard(mine, data);
  };
  running = mine;
  await context.resume();
}

function heard(mine: Running, samples: Float32Array): void {
  loudness.value = levelOf(samples);
  keep(mine, mine.resample.push(samples));
  if (mine.waiting_samples >= KEEP_EVERY_SAMPLES) hand(mine);
  if (spoken_ms.value >= RECORDING_MS_MAX) mine.full();
}

function keep(mine: Running, samples: Float32Array): void {
  mine.waiting.push(samples);
  mine.waiting_samples += samples.length;
  spoken_ms.value += (samples.length * 1_000) / SPEECH_RATE_HZ;
}

function hand(mine: Running): void {
  const joined = new Float32Array(mine.waiting_samples);
  let at = 0;
  for (const samples of mine.waiting) {
    joined.set(samples, at);
    at += samples.length;
  }
  mine.waiting = [];
  mine.waiting_samples = 0;
  if (joined.length > 0) mine.take(toPcm(joined));
}

/** Closes the microphone; what was still held back is handed on first. */
function stop(): void {
  attempt += 1;
  const mine = running;
  running = null;
  state.value = 'idle';
  loudness.value = 0;
  if (mine === null) return;
  keep(mine, mine.resample.finish());
  hand(mine);
  close(mine.stream);
  void mine.context.close();
}

function close(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

function fail(as: 'refused' | 'missing' | 'insecure'): false {
  state.value = as;
  return false;
}
