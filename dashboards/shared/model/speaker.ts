/** A loudspeaker as people see it: whether it would be heard now, and the key on its label. */
import type { Speaker } from '../api/voice';

export type SpeakerLook = 'online' | 'silent' | 'failed' | 'unheard' | 'unknown';

/** `unheard`: entered and not heard of yet. `unknown`: its gateway is cut off, so nobody knows. */
export function speakerLook({ online, state, last_heard_ms }: Pick<Speaker, 'online' | 'state' | 'last_heard_ms'>): SpeakerLook {
  if (online === null) return last_heard_ms === null ? 'unheard' : 'unknown';
  if (state === 'failed' || state === 'refused') return 'failed';
  return online ? 'online' : 'silent';
}

/** By site, then by name: a place that does not change when one comes or goes. */
export function speakersInOrder(speakers: readonly Speaker[]): Speaker[] {
  return [...speakers].sort(
    (a, b) => a.site_name.localeCompare(b.site_name, 'zh-CN') || a.name.localeCompare(b.name, 'zh-CN') || (a.id < b.id ? -1 : Number(a.id > b.id)),
  );
}

export function countOnline(speakers: readonly Speaker[]): number {
  return speakers.filter((speaker) => speakerLook(speaker) === 'online').length;
}

const KEY_DIGITS = 64;

/** The key as a label has it: 64 hexadecimal digits, in groups or not; `null` where that is none. */
export function parseKey(typed: string): string | null {
  const digits = typed.replace(/[\s:-]/g, '').toLowerCase();
  return digits.length === KEY_DIGITS && /^[0-9a-f]*$/.test(digits) ? digits : null;
}

/** The key in groups of four, as it is read aloud and copied onto a label. */
export function groupedKey(key: string): string {
  return key.match(/.{1,4}/g)?.join(' ') ?? key;
}
