/** Where a recording stands between the wall clock and media time, and what of it is there to be shown. Pure. */

/** A stretch of media time, seconds. */
export interface Stretch {
  start_s: number;
  end_s: number;
}

/** Holes shorter than this are none: pictures do not join to the microsecond. */
const HOLE_S = 0.1;

/** How much can be shown from here on without a hole. */
export function aheadOf(stretches: readonly Stretch[], at_s: number): number {
  const here = stretches.find(({ start_s, end_s }) => start_s <= at_s + HOLE_S && end_s > at_s);
  return here === undefined ? 0 : here.end_s - at_s;
}

/** Where the next stretch begins, if this one ends here; `null` if nothing follows, or it goes on. */
export function nextStart(stretches: readonly Stretch[], at_s: number): number | null {
  if (aheadOf(stretches, at_s) > HOLE_S) return null;
  return stretches.find(({ start_s }) => start_s > at_s)?.start_s ?? null;
}

/** Whether a moment is there. */
export function holds(stretches: readonly Stretch[], at_s: number): boolean {
  return stretches.some(({ start_s, end_s }) => at_s >= start_s && at_s < end_s);
}

/** How much to ask for: enough to stay ahead, at the speed it is played, and no more than is owed already. */
export function wishedBytes(ahead_s: number, rate: number, owed_bytes: number): number {
  if (owed_bytes > CREDIT_BYTES / 2 || ahead_s > AHEAD_S * Math.max(1, rate)) return 0;
  return CREDIT_BYTES;
}

/** Asked for at once: some seconds of a main stream, well below what a browser keeps. */
export const CREDIT_BYTES = 2 * 1024 * 1024;
/** Seconds fetched ahead at ordinary speed. */
const AHEAD_S = 20;
