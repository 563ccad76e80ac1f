/**
 * A notice as people follow it: how far it has come in the village, by the loudspeakers' own reports, and whether it may be
 * sent at this hour. The hub judges; the page says beforehand what would be refused.
 */
import type { Me } from '../api/types';
import type { Notice, NoticeLevel, NoticeState, Play, PlayState } from '../api/voice';

/** How often one notice may be played. */
export const TIMES_MAX = 20;
/** Between two plays: long enough to hear that it begins anew. */
export const GAP_MS = 5_000;
/** How long a loudspeaker that comes back may still play what was said. */
export const VALID_FOR_S = 900;
/** Nobody takes in more at one go; it is some four minutes of speech. */
export const TEXT_CHARACTERS_MAX = 1_000;
export const TITLE_CHARACTERS_MAX = 40;

const VILLAGE_CODE_LENGTH = 12;

const OVER: ReadonlySet<NoticeState> = new Set(['done', 'stopped', 'refused']);
const STOPPABLE: ReadonlySet<NoticeState> = new Set(['sent', 'playing']);
/** An emergency stays in sight for so long after it was heard: whoever comes back to the desk is to see it. */
const EMERGENCY_SHOWN_MS = 30 * 60_000;

/** Nothing more comes of it. */
export function isOver({ state }: Pick<Notice, 'state'>): boolean {
  return OVER.has(state);
}

/** It sounds, or may sound at any moment, and nobody has stopped it yet. */
export function canStop({ state }: Pick<Notice, 'state'>): boolean {
  return STOPPABLE.has(state);
}

/** It sounds, or may sound at any moment. What is being stopped may: a gateway that is cut off plays on. */
export function isSounding(notice: Pick<Notice, 'state'>): boolean {
  return canStop(notice) || notice.state === 'stopping';
}

/** The newest first. */
export function noticesInOrder(notices: readonly Notice[]): Notice[] {
  return [...notices].sort((a, b) => b.created_ms - a.created_ms || (a.id < b.id ? -1 : Number(a.id > b.id)));
}

/** The one that the page's foot speaks of: the newest that can be stopped, else the newest that is not silent yet. */
export function soundingNow(notices: readonly Notice[]): Notice | null {
  const newest = noticesInOrder(notices);
  return newest.find(canStop) ?? newest.find(isSounding) ?? null;
}

/** Emergencies that are heard, or were a short while ago: whoever is responsible for a region sees them at once, and for long enough. */
export function emergenciesInSight(notices: readonly Notice[], now_ms: number): Notice[] {
  return noticesInOrder(notices).filter((notice) => {
    if (notice.level !== 'emergency' || notice.sent_ms === null) return false;
    return !isOver(notice) || now_ms < heardUntil(notice) + EMERGENCY_SHOWN_MS;
  });
}

/** When it had been heard to the end, or was stopped. */
function heardUntil({ sent_ms, stopped_ms, duration_ms, times, gap_ms }: Notice): number {
  return stopped_ms ?? (sent_ms ?? 0) + duration_ms * times + gap_ms * (times - 1);
}

/** What is to be said of a notice at this moment. */
export type Progress =
  | { what: 'waiting_for_second' }
  /** Sent, and no loudspeaker has begun. */
  | { what: 'sent' }
  | { what: 'playing'; playing: number; all: number }
  /** Some have played, the others may still, until the notice's time is over. */
  | { what: 'waiting'; played: number; all: number; waiting: number }
  | { what: 'done'; played: number; all: number }
  /** Somebody stopped it; so many loudspeakers have not said that they are silent. */
  | { what: 'stopping'; left: number }
  | { what: 'stopped'; played: number; all: number }
  | { what: 'refused' };

export function progressOf(notice: Pick<Notice, 'state' | 'reach' | 'played'>): Progress {
  const all = notice.reach.speakers;
  const { played, playing, waiting } = notice.played;
  switch (notice.state) {
    case 'waiting_for_second':
    case 'refused':
      return { what: notice.state };
    case 'stopping':
      return { what: 'stopping', left: playing + waiting };
    case 'stopped':
    case 'done':
      return { what: notice.state, played, all };
    default:
      if (playing > 0) return { what: 'playing', playing, all };
      return played > 0 ? { what: 'waiting', played, all, waiting } : { what: 'sent' };
  }
}

const PLAY_STATES: readonly PlayState[] = [
  'waiting', 'fetching', 'playing', 'played', 'interrupted', 'failed', 'refused', 'expired', 'stopped',
];

/** Why, as people read it: the hub gives a word that stands for a sentence, or what a disk or a loudspeaker said, as it said it. */
export function reasonIn(words: Record<string, string>, unknown: string, said: (words: string) => string, reason: string): string {
  const is_word = /^[a-z_.]+$/.test(reason);
  return is_word ? (words[reason] ?? unknown) : said(reason);
}

/** A loudspeaker's step in the catalogue: one that waits is waited for, or stands behind something more urgent. */
export function stepOf(play: Play): PlayState | 'behind' {
  const name = playName(play.state);
  return name === 'waiting' && play.reason === 'more_urgent' ? 'behind' : name;
}

/** A state's name as the catalogue knows it; one that is not known yet is still waited for. */
export function playName(state: string): PlayState {
  return PLAY_STATES.find((name) => name === state) ?? 'waiting';
}

/** Loudspeakers by what a person must know first: those that did not play it, then those that may, then the others. */
export function playsInOrder(plays: readonly Play[]): Play[] {
  const rank = (state: PlayState): number => {
    if (['failed', 'refused', 'expired', 'interrupted'].includes(state)) return 0;
    return state === 'waiting' || state === 'fetching' ? 1 : state === 'playing' ? 2 : 3;
  };
  return [...plays].sort((a, b) => rank(playName(a.state)) - rank(playName(b.state)) || a.name.localeCompare(b.name, 'zh-CN'));
}

/** What becomes of a loudspeaker that has not played: it still may, or no more. */
export function mayStillPlay(play: Pick<Play, 'state'>, notice: Pick<Notice, 'state' | 'valid_until_ms'>, now_ms: number): boolean {
  const name = playName(play.state);
  return canStop(notice) && (name === 'waiting' || name === 'fetching') && notice.valid_until_ms !== null && now_ms < notice.valid_until_ms;
}

/**
 * The night in which villages sleep unless their county says otherwise, 22:00 to 06:00 by China's one time: what the page goes by
 * until the hub has told it.
 */
export function isNight(now_ms: number): boolean {
  const hour = Math.floor(now_ms / 3_600_000 + 8) % 24;
  return hour >= 22 || hour < 6;
}

/** Whether a notice of this level must not be sent at this hour, and whether it needs a second word. */
export function nightRule(level: NoticeLevel, is_night: boolean): 'free' | 'confirm' | 'forbidden' {
  if (!is_night) return 'free';
  return level === 'emergency' ? 'confirm' : 'forbidden';
}

/** Loud needs two: what goes beyond one village waits for a second person. */
export function needsSecond(region_code: string): boolean {
  return region_code.length < VILLAGE_CODE_LENGTH;
}

/** Whether this notice waits for a word that this person may give. The author is never the second. */
export function waitsForMe(notice: Notice, me: Me | null): boolean {
  if (me === null || notice.state !== 'waiting_for_second') return false;
  return notice.author_username !== me.username && notice.region_code.startsWith(me.region_code);
}

/** What a notice is called in one line: its title, else how its text begins, else nothing. */
export function noticeTitle({ title, text }: { title?: string | null; text?: string | null }): string {
  const words = title?.trim() || text?.trim().replace(/\s+/g, ' ') || '';
  return words.length > TITLE_CHARACTERS_MAX ? `${words.slice(0, TITLE_CHARACTERS_MAX - 1)}…` : words;
}

/** `1:05` of a sound's length; a part of a second counts as one. */
export function lengthOf(duration_ms: number): string {
  const seconds = Math.ceil(Math.max(0, duration_ms) / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
