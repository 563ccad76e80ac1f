/**
 * How far behind the camera a live picture is played, and how fast, so that it neither runs dry nor
 * falls behind. Pure.
 *
 * What counts is the lead: how long the newest picture waits before it is shown, seen at the moment
 * it arrives. It has to cover how unevenly pictures arrive, and nothing more. The rate brings it
 * there: a little slower or faster, never by a jump that people see, unless it is seconds off.
 */

/** What the hub says of the stream's pictures. */
export interface Pace {
  /** How long each picture claims to last, so that a late one does not break the chain. */
  claim_s: number;
}

/** 25 pictures a second, each claiming to be five long: until the hub says otherwise. */
export const USUAL_PACE: Pace = { claim_s: 0.2 };

/** What is buffered ends where the sound ends, and sound claims to be no longer than it is. */
export const SOUND_PACE: Pace = { claim_s: 0 };

/** The shortest lead: decoding and the next repaint take that long. */
export const LEAD_S_MIN = 0.03;
/** The longest: a line that is more uneven than this shows stops. */
export const LEAD_S_MAX = 0.6;
/** What is added to the unevenness that was seen. */
const MARGIN_S = 0.01;
/** Above the wished lead by so much is still well. */
const BAND_S = 0.04;
/** At a changed rate, so near the wish the rate is ordinary again. */
const RELEASE_S = 0.01;
/** Beyond so much too much it jumps: catching up would take longer than anybody waits. */
const JUMP_S = 3;

export interface Steered {
  rate: number;
  /** Where to jump to, as seconds before the end of what is buffered; `null`: go on. */
  jump_to_s: number | null;
}

/** Where to begin: seconds before the end of what is buffered. */
export function startBehind(pace: Pace, lead_s: number): number {
  return pace.claim_s + lead_s;
}

/** The rate to go on with, being so far behind the end of what is buffered. */
export function steer(behind_s: number, rate: number, pace: Pace, lead_s: number): Steered {
  const beyond_s = behind_s - pace.claim_s - lead_s;
  if (beyond_s > JUMP_S || behind_s < 0) return { rate: 1, jump_to_s: startBehind(pace, lead_s) };
  return { rate: rateFor(beyond_s, rate), jump_to_s: null };
}

function rateFor(beyond_s: number, rate: number): number {
  if (beyond_s > 0.5) return 2;
  if (beyond_s > 0.25) return 1.5;
  if (beyond_s > BAND_S) return 1.1;
  if (beyond_s < 0) return 0.9;
  if (rate < 1 && beyond_s >= RELEASE_S) return 1;
  if (rate > 1 && beyond_s <= RELEASE_S) return 1;
  return rate;
}

/** How long unevenness is remembered: two halves of this. */
const MEMORY_MS = 10_000;

/** How unevenly pictures arrive. */
export interface Arrivals {
  /** Earliest and latest of this half and of the one before, as arrival minus media time. */
  halves: { earliest_ms: number; latest_ms: number }[];
  half_began_ms: number;
  /** What was added after the picture ran dry. */
  extra_s: number;
}

export function noArrivals(): Arrivals {
  return { halves: [], half_began_ms: 0, extra_s: 0 };
}

/** A picture of this media time has arrived. */
export function arrived(arrivals: Arrivals, now_ms: number, media_ms: number): void {
  const late_ms = now_ms - media_ms;
  const half = arrivals.halves[0];
  if (half === undefined || now_ms - arrivals.half_began_ms > MEMORY_MS / 2) {
    arrivals.halves = [{ earliest_ms: late_ms, latest_ms: late_ms }, ...arrivals.halves.slice(0, 1)];
    arrivals.half_began_ms = now_ms;
    arrivals.extra_s = arrivals.extra_s < 0.01 ? 0 : arrivals.extra_s / 2;
    return;
  }
  half.earliest_ms = Math.min(half.earliest_ms, late_ms);
  half.latest_ms = Math.max(half.latest_ms, late_ms);
}

/** The stream began anew, or media time was moved: what was seen says nothing any more. */
export function forgetArrivals(arrivals: Arrivals): void {
  arrivals.halves = [];
}

/** The picture ran dry: whatever was seen, it was too little. */
export function ranDry(arrivals: Arrivals): void {
  arrivals.extra_s = Math.min(arrivals.extra_s + 0.04, LEAD_S_MAX);
}

/** The lead that covers what was seen. */
export function wishedLead(arrivals: Arrivals): number {
  const { halves } = arrivals;
  if (halves.length === 0) return LEAD_S_MIN + arrivals.extra_s;
  const earliest_ms = Math.min(...halves.map((half) => half.earliest_ms));
  const latest_ms = Math.max(...halves.map((half) => half.latest_ms));
  const spread_s = (latest_ms - earliest_ms) / 1_000;
  return Math.min(LEAD_S_MAX, Math.max(LEAD_S_MIN, spread_s + MARGIN_S) + arrivals.extra_s);
}
