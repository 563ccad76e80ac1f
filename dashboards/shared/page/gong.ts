/**
 * The alarm's sound: a gong, made here, with no file to fetch. It is struck every few seconds
 * until nothing sounds any more. A browser that holds sound back until a person has touched the
 * page says so, and the page shows it.
 */
import { readonly, ref, watch, type Ref } from 'vue';

/** Seconds between strokes: urgent, and still leaves room to speak on the telephone. */
const STROKE_EVERY_MS = 2_400;
const FUNDAMENTAL_HZ = 196;
/** Partials of a struck bronze disc: ratio to the fundamental, loudness, seconds to die away. */
const PARTIALS: readonly (readonly [ratio: number, gain: number, decay_s: number])[] = [
  [1, 0.5, 2.2],
  [1.48, 0.28, 1.8],
  [2.03, 0.34, 1.5],
  [2.74, 0.22, 1.1],
  [3.42, 0.16, 0.8],
  [4.63, 0.12, 0.5],
  [6.11, 0.08, 0.3],
];

const is_blocked = ref(false);
const strokes = ref(0);
let context: AudioContext | null = null;
let timer: ReturnType<typeof setInterval> | undefined;

/** True while the browser holds the sound back. */
export const soundBlocked = readonly(is_blocked);
/** How often the gong was struck since the page was opened. */
export const soundStrokes = readonly(strokes);

/** Asks for sound; call it from a click or a key, which is what browsers wait for. */
export async function enableSound(): Promise<void> {
  context ??= new AudioContext();
  try {
    await context.resume();
  } finally {
    is_blocked.value = context.state !== 'running';
  }
}

/** Sounds while `sounding` holds. */
export function soundWhile(sounding: Readonly<Ref<boolean>>): void {
  context = new AudioContext();
  is_blocked.value = context.state !== 'running';
  context.addEventListener('statechange', () => {
    is_blocked.value = context?.state !== 'running';
  });
  const onTouch = () => void enableSound();
  for (const kind of ['pointerdown', 'keydown'] as const) addEventListener(kind, onTouch, { passive: true });
  watch(
    sounding,
    (on) => {
      clearInterval(timer);
      if (!on) return;
      strike();
      timer = setInterval(strike, STROKE_EVERY_MS);
    },
    { immediate: true },
  );
}

function strike(): void {
  if (context === null || context.state !== 'running') return;
  strokes.value += 1;
  const start = context.currentTime;
  const master = context.createGain();
  master.gain.value = 0.5;
  master.connect(context.destination);
  let longest: OscillatorNode | null = null;
  for (const [ratio, gain, decay_s] of PARTIALS) {
    const tone = context.createOscillator();
    const envelope = context.createGain();
    // A gong's pitch sinks a little as it swings out.
    tone.frequency.setValueAtTime(FUNDAMENTAL_HZ * ratio * 1.02, start);
    tone.frequency.exponentialRampToValueAtTime(FUNDAMENTAL_HZ * ratio, start + 0.25);
    envelope.gain.setValueAtTime(0.0001, start);
    envelope.gain.exponentialRampToValueAtTime(gain, start + 0.012);
    envelope.gain.exponentialRampToValueAtTime(0.0001, start + decay_s);
    tone.connect(envelope).connect(master);
    tone.start(start);
    tone.stop(start + decay_s);
    longest ??= tone;
  }
  longest?.addEventListener('ended', () => master.disconnect());
}
