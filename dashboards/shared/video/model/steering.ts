/**
 * How far behind the camera a live picture is played, and how fast, so that it neither runs dry nor
 * falls behind. Pure.
 *
 * What counts is the lead: how long a picture waits before it is on the screen, had it come the
 * quickest way that was seen lately. It has to cover what the browser wants in hand, how long a picture
 * takes to decode and how unevenly pictures arrive, and nothing more. The rate brings it there: a little
 * slower or faster, never by a jump that people see, unless it is seconds off.
 *
 * It is read off the pictures that came up, where the browser tells, and not off the time it says it
 * plays: Chromium fits 25 pictures a second into 60 repaints by a rhythm of its own and shows them up to
 * 20 ms before or after their time, so that with the same time played the delay was 45 ms in one run
 * and 68 ms in the next, and the first of them ran dry.
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

/**
 * What a lead covers beside unevenness. Chromium says that it has run dry when the last picture it has is
 * in the second of its repaints, 33 ms before it would need the next; the rest is decoding.
 */
const IN_HAND_S = 0.04;
/** The shortest lead: so much unevenness is allowed for before any was seen, a keyframe's size alone makes it. */
export const LEAD_S_MIN = 0.05;
/** The longest: a line that is more uneven than this shows stops. */
export const LEAD_S_MAX = 0.6;
/** Above the wished lead by so much is still well: less than a repaint, which would be seen in the delay. */
const BAND_S = 0.014;
/** At a changed rate, so near the wish the rate is ordinary again. */
const RELEASE_S = 0.004;
/** So far off, the rate is changed by more than a little. */
const FAR_S = 0.03;
/** Beyond so much too much it jumps: catching up would take longer than anybody waits. */
const JUMP_S = 3;

/** Where to begin: seconds before the end of what is buffered. */
export function startBehind(pace: Pace, lead_s: number): number {
  return pace.claim_s + lead_s;
}

/** Whether the time played is so far off the end of what is buffered that only a jump helps, to where one begins. */
export function isAstray(behind_s: number, pace: Pace, lead_s: number): boolean {
  return behind_s < 0 || behind_s > startBehind(pace, lead_s) + JUMP_S;
}

/** The rate to go on with, having one lead and wishing another. */
export function rateFor(lead_s: number, wished_s: number, rate: number): number {
  const beyond_s = lead_s - wished_s;
  if (beyond_s > 0.5) return 2;
  if (beyond_s > 0.25) return 1.5;
  if (beyond_s > FAR_S) return 1.1;
  if (beyond_s < -FAR_S) return 0.9;
  if (beyond_s > BAND_S || (rate > 1 && beyond_s > RELEASE_S)) return 1.03;
  if (beyond_s < 0 || (rate < 1 && beyond_s < RELEASE_S)) return 0.97;
  return 1;
}

/** How long unevenness is remembered: two halves of this. */
const MEMORY_MS = 10_000;
/** So many pictures are one round of the browser's rhythm: 25 pictures a second in 60 repaints. */
const ROUND = 5;
/** What one running dry adds for some seconds, and what it adds for good. */
const EXTRA_S = 0.04;
const LEARNT_S = 0.01;
/** A screen that needs more in hand than this does not keep up by waiting. */
const LEARNT_S_MAX = 0.1;

/** How unevenly pictures arrive, and how long they wait then. */
export interface Arrivals {
  /** Earliest and latest of this half and of the one before, as arrival minus media time. */
  halves: { earliest_ms: number; latest_ms: number }[];
  half_began_ms: number;
  /** The leads of the last pictures on the screen. */
  leads_s: number[];
  /** What was added after the picture ran dry, for some seconds. */
  extra_s: number;
  /** What each running dry taught about this screen: it stays, or it would run dry again. */
  learnt_s: number;
}

export function noArrivals(): Arrivals {
  return { halves: [], half_began_ms: 0, leads_s: [], extra_s: 0, learnt_s: 0 };
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

/** A picture of this media time is on the screen from this moment on: the least lead of the last ones, `null`: not known yet. */
export function cameUp(arrivals: Arrivals, up_ms: number, media_ms: number): number | null {
  const { halves, leads_s } = arrivals;
  if (halves.length === 0) return null;
  leads_s.push((up_ms - media_ms - earliestOf(halves)) / 1_000);
  if (leads_s.length > ROUND) leads_s.shift();
  return leads_s.length < ROUND ? null : Math.min(...leads_s);
}

/** The stream began anew, or media time was moved: what was seen says nothing any more. */
export function forgetArrivals(arrivals: Arrivals): void {
  arrivals.halves = [];
  arrivals.leads_s = [];
}

/** The picture ran dry: whatever was seen, it was too little. */
export function ranDry(arrivals: Arrivals): void {
  arrivals.extra_s = Math.min(arrivals.extra_s + EXTRA_S, LEAD_S_MAX);
  arrivals.learnt_s = Math.min(arrivals.learnt_s + LEARNT_S, LEARNT_S_MAX);
  arrivals.leads_s = [];
}

/** The lead that covers what was seen. */
export function wishedLead({ halves, extra_s, learnt_s }: Arrivals): number {
  const latest_ms = Math.max(...halves.map((half) => half.latest_ms));
  const spread_s = halves.length === 0 ? 0 : (latest_ms - earliestOf(halves)) / 1_000;
  return Math.min(LEAD_S_MAX, Math.max(LEAD_S_MIN, IN_HAND_S + spread_s) + learnt_s + extra_s);
}

function earliestOf(halves: Arrivals['halves']): number {
  return Math.min(...halves.map((half) => half.earliest_ms));
}
