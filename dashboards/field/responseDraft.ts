/** What a technician chooses for a press, and what is wrong with it. The hub judges; the page says it beforehand. */
import type { Device, DeviceChange } from '../shared/api/types';

/** No siren lasts longer. */
const SIREN_S_MAX = 60;

export const RESPONSE_KINDS = ['silent', 'neighbours', 'siren'] as const;

export interface ResponseDraft {
  kind: (typeof RESPONSE_KINDS)[number];
  speaks: boolean;
  /** As typed. */
  siren_s: string;
  everywhere: boolean;
  speaker_ids: string[];
}

export type ResponseWrong = Partial<Record<'siren_s' | 'where', true>>;

export function responseDraftOf({ kind, speaks, siren_s, everywhere, speaker_ids }: Device['response']): ResponseDraft {
  return { kind, speaks, siren_s: String(siren_s), everywhere, speaker_ids: [...speaker_ids] };
}

/** Whether a press is to be heard at all. */
export function sounds({ kind, speaks }: Pick<ResponseDraft, 'kind' | 'speaks'>): boolean {
  return speaks || kind !== 'silent';
}

/** It should be heard, but the loudspeakers that were chosen are gone. */
export function hasLostItsVoice(response: Device['response']): boolean {
  return sounds(response) && !response.everywhere && response.speaker_ids.length === 0;
}

/** `there`: the loudspeakers that the site has. One that was chosen and is gone counts for nothing. */
export function wrongInResponse(draft: ResponseDraft, there: readonly string[]): ResponseWrong {
  const wrong: ResponseWrong = {};
  if (draft.kind === 'siren' && secondsOf(draft.siren_s) === null) wrong.siren_s = true;
  if (sounds(draft) && !draft.everywhere && chosen(draft, there).length === 0) wrong.where = true;
  return wrong;
}

/** What is sent; `undefined`: nothing of it was changed. */
export function responseChangeOf(draft: ResponseDraft, known: Device['response'], there: readonly string[]): DeviceChange['response'] {
  if (JSON.stringify(draft) === JSON.stringify(responseDraftOf(known))) return undefined;
  const { kind, speaks, everywhere } = draft;
  const change = { kind, speaks, ...(kind === 'siren' ? { siren_s: secondsOf(draft.siren_s) ?? SIREN_S_MAX } : {}) };
  if (!sounds(draft)) return change;
  return everywhere ? { ...change, everywhere } : { ...change, speaker_ids: chosen(draft, there) };
}

function chosen({ speaker_ids }: ResponseDraft, there: readonly string[]): string[] {
  return speaker_ids.filter((id) => there.includes(id));
}

function secondsOf(typed: string): number | null {
  const seconds = Number(typed);
  return /^\d{1,2}$/.test(typed.trim()) && seconds >= 1 && seconds <= SIREN_S_MAX ? seconds : null;
}
