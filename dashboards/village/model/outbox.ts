/**
 * What a village head has prepared and not delivered. It survives a reload and a lost link; it is sent only by a tap, and
 * when the link comes back late the page asks before it plays: a notice for noon is a nuisance at four.
 */
import type { NewNotice, NoticeDetail, NoticeLevel, Speaker, Target } from '../../shared/api/voice';
import { isWithin } from '../../shared/model/region';
import { GAP_MS, TEXT_CHARACTERS_MAX, TIMES_MAX, TITLE_CHARACTERS_MAX, VALID_FOR_S } from '../../shared/model/notice';

/** Drafts kept on one phone; beyond it the oldest go, for ten minutes of voice are 19 MB. */
export const DRAFTS_MAX = 12;
/** For so long after the tap the page goes on trying by itself; later it asks first. */
export const TRY_FOR_MS = 60_000;
/** Between two tries. */
export const TRY_EVERY_MS = 3_000;

/** What is heard: a voice recorded here, a text, or a sound that the hub has from an earlier notice or template. */
export type Source =
  | { kind: 'voice'; duration_ms: number }
  | { kind: 'text'; text: string }
  | { kind: 'sound'; text: string | null; duration_ms: number };

export interface Draft extends Target {
  /** Drawn once; the hub takes a notice with this name once, however often it is sent. */
  id: string;
  owner: string;
  created_ms: number;
  source: Source;
  title: string;
  times: number;
  level: NoticeLevel;
  /** The sound as the hub has it; `null` until it was sent or spoken. */
  sound_sha256: string | null;
  sound_ms: number | null;
  /** `recording`: the microphone was open when this was last kept. */
  stage: 'recording' | 'ready' | 'sending' | 'unsent';
  /** When the tap on "send" was; `null` before. From then on the hub may have it, so it is not changed any more. */
  wanted_ms: number | null;
}

export function newDraft(id: string, owner: string, region_code: string, source: Source, now_ms: number): Draft {
  return {
    id,
    owner,
    created_ms: now_ms,
    source,
    title: '',
    times: 2,
    level: 'notice',
    region_code,
    speaker_ids: null,
    sound_sha256: null,
    sound_ms: null,
    stage: source.kind === 'voice' ? 'recording' : 'ready',
    wanted_ms: null,
  };
}

/** What a page that was opened anew makes of what it finds: nobody records or sends any more. */
export function found(draft: Draft): Draft {
  if (draft.stage === 'recording') return { ...draft, stage: 'ready' };
  return draft.stage === 'sending' ? { ...draft, stage: 'unsent' } : draft;
}

/** The oldest beyond what is kept, never one that is being recorded or sent. */
export function surplus(drafts: readonly Draft[]): Draft[] {
  const idle = drafts.filter(({ stage }) => stage === 'ready' || stage === 'unsent');
  const too_many = Math.max(0, drafts.length - DRAFTS_MAX);
  return [...idle].sort((a, b) => a.created_ms - b.created_ms).slice(0, too_many);
}

/** Why a draft cannot be sent as it stands. */
export type Lack = 'empty' | 'too_long' | 'unspoken' | 'no_speakers';

/** `speakers`: how many the target reaches; `null` where the hub has not said. */
export function lackOf(draft: Draft, speakers: number | null): Lack | null {
  if (draft.source.kind === 'text') {
    if (draft.source.text.trim() === '') return 'empty';
    if (draft.source.text.length > TEXT_CHARACTERS_MAX) return 'too_long';
    if (draft.sound_sha256 === null) return 'unspoken';
  }
  if (draft.speaker_ids?.length === 0 || speakers === 0) return 'no_speakers';
  return null;
}

/** The draft as the hub takes it; its sound must be there. */
export function noticeOf(draft: Draft, sound_sha256: string, confirm_night: boolean): NewNotice {
  const text = draft.source.kind === 'voice' ? null : draft.source.text?.trim();
  const title = draft.title.trim().slice(0, TITLE_CHARACTERS_MAX);
  return {
    client_id: draft.id,
    region_code: draft.region_code,
    speaker_ids: draft.speaker_ids,
    sound_sha256,
    times: Math.max(1, Math.min(TIMES_MAX, Math.round(draft.times))),
    gap_ms: GAP_MS,
    level: draft.level,
    valid_for_s: VALID_FOR_S,
    ...(text ? { text } : {}),
    ...(title ? { title } : {}),
    ...(confirm_night ? { confirm_night } : {}),
  };
}

/**
 * The loudspeakers that a notice went to, for another one: all of its region if it went to all that are there, else those that still
 * are. Of a very wide one the hub names only a part; then it is the region again.
 */
export function sameTarget(notice: Pick<NoticeDetail, 'region_code' | 'reach' | 'speakers'>, known: readonly Pick<Speaker, 'id' | 'region_code'>[]): Target {
  const { region_code, reach } = notice;
  const had = new Set(notice.speakers.map(({ speaker_id }) => speaker_id));
  const there = known.filter((speaker) => isWithin(speaker.region_code, region_code));
  const is_all = had.size < reach.speakers || there.every(({ id }) => had.has(id));
  return { region_code, speaker_ids: is_all ? null : there.flatMap(({ id }) => (had.has(id) ? [id] : [])) };
}

/** Whether the page may go on trying by itself, or must ask. */
export function triesOn(draft: Draft, now_ms: number): boolean {
  return draft.wanted_ms !== null && now_ms - draft.wanted_ms < TRY_FOR_MS;
}

export function draftLength(draft: Draft): number | null {
  return draft.sound_ms ?? (draft.source.kind === 'text' ? null : draft.source.duration_ms);
}
