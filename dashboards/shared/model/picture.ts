/**
 * What may be said of a live picture. It is called live only while its camera's clock says so:
 * whatever is older is shown as old, and a camera that is known to show nothing true is not believed.
 */
import type { LiveReport } from '../video/player';
import { isBroken, isTrusted, stateName, type CameraStateName } from './camera';

export type PictureLook =
  | 'connecting'
  | 'live'
  /** There is a picture, and it is not now. */
  | 'stale'
  /** It moves, and the gateway says that what it shows is not true. */
  | 'doubtful'
  /** There was a picture, and the line is gone. */
  | 'lost'
  | 'unplayable'
  /** There is no picture, and the reason is known. */
  | 'broken';

export interface Picture {
  look: PictureLook;
  /** The camera's state where it explains the look. */
  state: CameraStateName;
  /** Seconds behind the camera's clock, with one decimal; `null` where it is not known. */
  delay_s: string | null;
  /** How old the picture on the screen is, in whole seconds; `null` where it is not known. */
  age_s: number | null;
  /** Why the hub gave none. */
  reason: string | null;
}

/** A picture older than this is not live, whatever moves. */
export const STALE_AFTER_MS = 3_000;

/** `listed`: the camera's state as the list says it, where the stream has said nothing yet. */
export function pictureOf(report: LiveReport | null, listed: string | null, now_ms: number): Picture {
  const state = stateName(report?.state ?? listed);
  const age_ms = report?.captured_ms == null ? null : Math.max(0, now_ms - report.captured_ms);
  const base: Picture = {
    look: 'connecting',
    state,
    delay_s: report?.delay_ms == null ? null : (report.delay_ms / 1_000).toFixed(report.delay_ms < 10_000 ? 1 : 0),
    age_s: age_ms === null ? null : Math.round(age_ms / 1_000),
    reason: report?.reason ?? null,
  };
  return { ...base, look: lookOf(report, state, age_ms) };
}

function lookOf(report: LiveReport | null, state: CameraStateName, age_ms: number | null): PictureLook {
  if (report === null) return isBroken(state) && isTrusted(state) ? 'broken' : 'connecting';
  switch (report.phase) {
    case 'unplayable':
      return 'unplayable';
    case 'playing':
      if (age_ms !== null && age_ms > STALE_AFTER_MS) return 'stale';
      return isTrusted(state) ? 'live' : 'doubtful';
    case 'waiting':
      return 'stale';
    case 'ended':
      if (report.captured_ms !== null) return 'lost';
      return report.reason !== null || isBroken(state) ? 'broken' : 'connecting';
    case 'connecting':
      // While it is tried again and again, what is known of it stays on the screen.
      return report.reason !== null || (isBroken(state) && isTrusted(state)) ? 'broken' : 'connecting';
  }
}
