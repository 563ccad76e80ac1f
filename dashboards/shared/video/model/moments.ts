/**
 * Which moment of the camera's clock a picture on the screen belongs to. The hub says so about once
 * a second and whenever the two ran apart; between two words both run alike. Pure.
 */

/** What the hub said of one picture. */
export interface Moment {
  /** Its time in the stream, milliseconds. */
  stream_ms: number;
  /** When the camera took it, UTC. */
  captured_ms: number;
  /** When it came to the hub, UTC. */
  hub_ms: number;
}

/** More than were ever under way at once. */
const KEPT = 8;

/** Adds what the hub said; newest first. */
export function remember(moments: readonly Moment[], moment: Moment): Moment[] {
  return [moment, ...moments].slice(0, KEPT);
}

/** The same two clocks at another time of the stream; `null` before the hub said anything. */
export function momentAt(moments: readonly Moment[], stream_ms: number): Moment | null {
  const known = moments.find((moment) => moment.stream_ms <= stream_ms + 1) ?? moments.at(-1);
  if (known === undefined) return null;
  const since_ms = stream_ms - known.stream_ms;
  return { stream_ms, captured_ms: known.captured_ms + since_ms, hub_ms: known.hub_ms + since_ms };
}
