/**
 * The village page's drafts as they stand, and how they are sent. A tap sends; for a minute the page tries by itself; what has
 * not arrived by then waits and is asked about. The rules are in `model/outbox`.
 */
import { computed, shallowReactive } from 'vue';
import { UNREACHABLE, type Result } from '../../shared/api/client';
import type { Problem } from '../../shared/api/types';
import type { Notice } from '../../shared/api/voice';
import { hubTime } from '../../shared/page/clock';
import { learn } from '../../shared/page/county';
import { api, me, withSession } from '../../shared/page/session';
import { found, newDraft, noticeOf, surplus, TRY_EVERY_MS, triesOn, type Draft, type Source } from '../model/outbox';
import { durationMs, wavOf } from '../model/wav';
import { allDrafts, dropDraft, dropPieces, keepDraft, keepPiece, piecesOf } from './shelf';

const known = shallowReactive(new Map<string, Draft>());
/** Why a draft could not be sent, the last time it was tried. */
const problems = shallowReactive(new Map<string, Problem>());
/** Pieces spoken so far of the draft that is being recorded; the next one's number. */
let spoken_pieces = 0;

/** The newest first; only one's own: a phone may be lent. */
export const drafts = computed(() => [...known.values()].sort((a, b) => b.created_ms - a.created_ms));

withSession(
  () => void load(),
  () => {
    // The page stays as it is while the log-in lies over it.
  },
);

async function load(): Promise<void> {
  const owner = me.value?.username ?? '';
  for (const [id, draft] of known) if (draft.owner !== owner) known.delete(id);
  for (const draft of await allDrafts()) if (draft.owner === owner && !known.has(draft.id)) known.set(draft.id, found(draft));
}

export function draftOf(id: string): Draft | null {
  return known.get(id) ?? null;
}

export function problemOf(id: string): Problem | null {
  return problems.get(id) ?? null;
}

export function begin(source: Source, given: Partial<Draft> = {}): Draft {
  const person = me.value;
  const draft = { ...newDraft(drawId(), person?.username ?? '', person?.region_code ?? '', source, hubTime()), ...given };
  spoken_pieces = 0;
  put(draft);
  for (const old of surplus([...known.values()])) remove(old.id);
  return draft;
}

/** Changes a draft that is still here; what the hub may have already is changed only in its stage. */
export function edit(id: string, change: Partial<Draft>): void {
  const draft = known.get(id);
  if (draft !== undefined) put({ ...draft, ...change });
}

export function remove(id: string): void {
  known.delete(id);
  void dropDraft(id);
}

/** Takes a piece of the voice that is being recorded. */
export function take(id: string, piece: Int16Array): void {
  const draft = known.get(id);
  if (draft === undefined || draft.source.kind !== 'voice') return;
  void keepPiece(id, spoken_pieces, piece);
  spoken_pieces += 1;
  edit(id, { source: { kind: 'voice', duration_ms: draft.source.duration_ms + durationMs([piece]) } });
}

/** Speaks it anew: the voice that was there goes. */
export async function speakAnew(id: string): Promise<void> {
  spoken_pieces = 0;
  await dropPieces(id);
  edit(id, { source: { kind: 'voice', duration_ms: 0 }, stage: 'recording', sound_sha256: null, sound_ms: null });
}

/** The voice as a file, for listening and for sending. */
export async function voiceOf(id: string): Promise<Blob> {
  return wavOf(await piecesOf(id));
}

/** Sends after a tap; answers when it has arrived, was refused, or the page no longer tries by itself. */
export async function send(id: string, confirm_night: boolean): Promise<Result<Notice>> {
  edit(id, { stage: 'sending', wanted_ms: hubTime() });
  problems.delete(id);
  for (;;) {
    const result = await once(id, confirm_night);
    if (result.ok) {
      remove(id);
      learn('notice', result.value);
      return result;
    }
    const draft = known.get(id);
    if (draft === undefined || draft.stage !== 'sending') return result;
    problems.set(id, result.problem);
    if (!mayArriveLater(result.problem)) {
      edit(id, { stage: 'ready', wanted_ms: null });
      return result;
    }
    if (!triesOn(draft, hubTime())) {
      edit(id, { stage: 'unsent' });
      return result;
    }
    await new Promise((resolve) => setTimeout(resolve, TRY_EVERY_MS));
  }
}

/** Stops trying: what was to be sent waits until it is asked about. */
export function giveUp(id: string): void {
  if (known.get(id)?.stage === 'sending') edit(id, { stage: 'unsent' });
}

async function once(id: string, confirm_night: boolean): Promise<Result<Notice>> {
  const draft = known.get(id);
  if (draft === undefined) return { ok: false, problem: { title: '', status: 0, code: UNREACHABLE } };
  let sha256 = draft.sound_sha256;
  if (sha256 === null) {
    const sent = await api.sendSound(await voiceOf(id));
    if (!sent.ok) return sent;
    sha256 = sent.value.sha256;
    edit(id, { sound_sha256: sha256, sound_ms: sent.value.duration_ms });
  }
  // Given up while the voice was on its way: nothing is to sound.
  if (known.get(id)?.stage !== 'sending') return { ok: false, problem: { title: '', status: 0, code: UNREACHABLE } };
  return api.sendNotice(noticeOf(draft, sha256, confirm_night));
}

/** Nothing was heard of it, or the hub or the session was away: it is not the notice that is wrong. */
function mayArriveLater({ code, status }: Problem): boolean {
  return code === UNREACHABLE || status === 401 || status === 429 || status >= 500;
}

function put(draft: Draft): void {
  known.set(draft.id, draft);
  void keepDraft(draft);
}

/** 128 random bits; `randomUUID` is missing where the line is open. */
function drawId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
