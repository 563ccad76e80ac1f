/** What is typed of a loudspeaker, and what is wrong with it. The key is no part of it: it is sent and forgotten. */
import type { NewSpeaker, Speaker, SpeakerChange, SpeakerKind } from '../../shared/api/voice';
import { parseKey } from '../../shared/model/speaker';

export interface SpeakerDraft {
  kind: SpeakerKind;
  name: string;
  device: string;
  place: string;
  volume: string;
}

export type Wrong = Partial<Record<'name' | 'device' | 'key' | 'volume', true>>;

export function draftOf(speaker: Speaker | null): SpeakerDraft {
  return {
    kind: speaker?.kind ?? 'mqtt',
    name: speaker?.name ?? '',
    device: '',
    place: speaker?.place ?? '',
    volume: String(speaker?.volume_percent ?? 80),
  };
}

/** `is_new`: number and key are asked for once, when it is entered. */
export function wrongIn(draft: SpeakerDraft, key: string, is_new: boolean): Wrong {
  const wrong: Wrong = {};
  if (draft.name.trim() === '') wrong.name = true;
  if (volumeOf(draft.volume) === null) wrong.volume = true;
  if (is_new && draft.kind === 'mqtt') {
    if (draft.device.trim() === '') wrong.device = true;
    if (key.trim() !== '' && parseKey(key) === null) wrong.key = true;
  }
  return wrong;
}

export function changeOf(draft: SpeakerDraft): SpeakerChange & { name: string } {
  return { name: draft.name.trim(), place: draft.place.trim(), volume_percent: volumeOf(draft.volume) ?? 1 };
}

export function newSpeakerOf(draft: SpeakerDraft, site_id: string, key: string): NewSpeaker {
  const from_label = draft.kind === 'mqtt' ? parseKey(key) : null;
  const device = draft.kind === 'mqtt' ? draft.device.trim() : '';
  return { site_id, kind: draft.kind, ...changeOf(draft), ...(device ? { device } : {}), ...(from_label ? { key: from_label } : {}) };
}

function volumeOf(typed: string): number | null {
  const volume = Number(typed);
  return /^\d{1,3}$/.test(typed.trim()) && volume >= 1 && volume <= 100 ? volume : null;
}
