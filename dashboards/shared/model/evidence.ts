/** What was kept of an alarm: its pictures in the order of its presses, and how far each has come. */
import type { Evidence } from '../api/video';

/** What one press left behind. */
export interface Press {
  press_id: string;
  /** The moment of the press, UTC: the zero of its clips. */
  at_ms: number;
  items: Evidence[];
}

/** A clip is meant to begin so long before its press. */
export const BEFORE_MS = 30_000;

/** A clip begins at a keyframe and a snapshot is the next picture: so far from their press they may seem to be. */
const SAME_PRESS_MS = 10_000;

/** By press, the first press first; in each the snapshots, then the clips, in the cameras' order. */
export function byPress(evidence: readonly Evidence[], first_press_ms: number, cameras: readonly string[]): Press[] {
  const presses = new Map<string, Press>();
  for (const item of withoutAnswered(evidence)) {
    const press = presses.get(item.press_id) ?? { press_id: item.press_id, at_ms: Infinity, items: [] };
    press.items.push(item);
    press.at_ms = Math.min(press.at_ms, momentOf(item));
    presses.set(item.press_id, press);
  }
  const rank = ({ camera_id }: Evidence) => (cameras.indexOf(camera_id) + cameras.length + 1) % (cameras.length + 1);
  const sorted = [...presses.values()].sort((a, b) => a.at_ms - b.at_ms || (a.press_id < b.press_id ? -1 : 1));
  for (const press of sorted) {
    press.items.sort((a, b) => Number(a.kind === 'clip') - Number(b.kind === 'clip') || rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
    // The alarm itself knows its first press to the millisecond; what was kept of that may be gone, though.
    if (Math.abs(press.at_ms - first_press_ms) < SAME_PRESS_MS) press.at_ms = first_press_ms;
  }
  return sorted;
}

/** What was only awaited gives way to whatever has come in its place, under an id of its own. */
function withoutAnswered(evidence: readonly Evidence[]): Evidence[] {
  const place = ({ press_id, camera_id, kind }: Evidence) => `${press_id} ${camera_id} ${kind}`;
  const answered = new Set(evidence.filter(({ state }) => state !== 'awaited').map(place));
  return evidence.filter((item) => item.state !== 'awaited' || !answered.has(place(item)));
}

/** The press whose clip is shown: the first that has one, for that is how it began; else the first of all. */
export function pressToShow(presses: readonly Press[]): Press | null {
  return presses.find((press) => clipToShow(press) !== null) ?? presses[0] ?? null;
}

function momentOf({ kind, from_ms }: Evidence): number {
  return kind === 'clip' ? from_ms + BEFORE_MS : from_ms;
}

/** The clip of the press, of the nearest camera that has one ready. */
export function clipToShow(press: Press): Evidence | null {
  return press.items.find(({ kind, state }) => kind === 'clip' && state === 'ready') ?? null;
}

/** Where a clip lies around its press, in seconds: from about −30 to about 60. */
export function clipRange(clip: Evidence, press_ms: number): { from_s: number; to_s: number } {
  const from_s = (clip.from_ms - press_ms) / 1_000;
  const to_s = (clip.to_ms - press_ms) / 1_000;
  return { from_s, to_s: Math.max(to_s, from_s + 1) };
}

/** `−12.4`, `0.0` or `+3.0` seconds around the press, with a real minus. */
export function signed(seconds: number): string {
  const text = Math.abs(seconds).toFixed(1);
  if (text === '0.0') return text;
  return seconds < 0 ? `−${text}` : `+${text}`;
}
