/** What is typed of a loudspeaker, and what is wrong with it. The key is no part of it: it is sent and forgotten. */
import type { NewSpeaker, Speaker, SpeakerChange, SpeakerKind } from '../../shared/api/voice';
import { parseKey } from '../../shared/model/speaker';

export interface SpeakerDraft {
  kind: SpeakerKind;
  name: string;
  device: string;
  place: string;
  volume: string;
  /** Of a line-out: the sound card, empty for the gateway's default. */
  card: string;
  /** Of a line-out: seconds until its amplifier is heard. */
  warm_up: string;
}

export type Wrong = Partial<Record<'name' | 'device' | 'key' | 'volume' | 'warm_up', true>>;

export function draftOf(speaker: Speaker | null): SpeakerDraft {
  return {
    kind: speaker?.kind ?? 'mqtt',
    name: speaker?.name ?? '',
    device: '',
    place: speaker?.place ?? '',
    volume: String(speaker?.volume_percent ?? 80),
    card: speaker?.kind === 'line_out' ? speaker.device : '',
    warm_up: String((speaker?.warm_up_ms ?? 0) / 1_000),
  };
}

/** `is_new`: number and key are asked for once, when it is entered. */
export function wrongIn(draft: SpeakerDraft, key: string, is_new: boolean): Wrong {
  const wrong: Wrong = {};
  if (draft.name.trim() === '') wrong.name = true;
  if (volumeOf(draft.volume) === null) wrong.volume = true;
  if (draft.kind === 'line_out' && warmUpOf(draft.warm_up) === null) wrong.warm_up = true;
  if (is_new && draft.kind === 'mqtt') {
    if (draft.device.trim() === '') wrong.device = true;
    if (key.trim() !== '' && parseKey(key) === null) wrong.key = true;
  }
  return wrong;
}

export function changeOf(draft: SpeakerDraft): SpeakerChange & { name: string } {
  const change = { name: draft.name.trim(), place: draft.place.trim(), volume_percent: volumeOf(draft.volume) ?? 1 };
  if (draft.kind !== 'line_out') return change;
  return { ...change, device: draft.card.trim(), warm_up_ms: warmUpOf(draft.warm_up) ?? 0 };
}

export function newSpeakerOf(draft: SpeakerDraft, site_id: string, key: string): NewSpeaker {
  const from_label = draft.kind === 'mqtt' ? parseKey(key) : null;
  const device = draft.kind === 'mqtt' ? draft.device.trim() : '';
  return { site_id, kind: draft.kind, ...changeOf(draft), ...(device ? { device } : {}), ...(from_label ? { key: from_label } : {}) };
}

/** Milliseconds of seconds with at most one decimal; the hub takes ten seconds at most. */
function warmUpOf(typed: string): number | null {
  const seconds = Number(typed);
  return /^\d{1,2}([.]\d)?$/.test(typed.trim()) && seconds <= 10 ? Math.round(seconds * 1_000) : null;
}

function volumeOf(typed: string): number | null {
  const volume = Number(typed);
  return /^\d{1,3}$/.test(typed.trim()) && volume >= 1 && volume <= 100 ? volume : null;
}
