/**
 * What a person has typed and not sent. It survives a reload, a dead battery and a lost session;
 * it belongs to the person who typed it, and goes when it was delivered.
 */

/** The part of the browser's storage that drafts need; it may throw when full or forbidden. */
export type Store = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>;

const PREFIX = 'tongluo.draft:';
/** Drafts kept on one device; beyond it the oldest go. */
export const DRAFTS_MAX = 50;
/** A draft longer than this is not a note; it is kept on the page only. */
export const DRAFT_CHARACTERS_MAX = 8_000;

interface Kept<T> {
  at_ms: number;
  value: T;
}

/** The name under which a draft is kept: whose it is, what it is for, and of which thing. */
export function draftKey(username: string, purpose: string, subject = ''): string {
  return `${PREFIX}${encodeURIComponent(username)}:${purpose}:${subject}`;
}

/** Keeps a draft; false when this device cannot. */
export function keep<T>(store: Store, key: string, value: T, now_ms: number): boolean {
  const text = JSON.stringify({ at_ms: now_ms, value } satisfies Kept<T>);
  if (text.length > DRAFT_CHARACTERS_MAX) return false;
  try {
    store.setItem(key, text);
    prune(store);
    return true;
  } catch {
    return false;
  }
}

/** The draft kept under `key`; `null` if there is none or it cannot be read. */
export function recall<T>(store: Store, key: string): T | null {
  try {
    const text = store.getItem(key);
    return text === null ? null : (JSON.parse(text) as Kept<T>).value;
  } catch {
    return null;
  }
}

export function drop(store: Store, key: string): void {
  try {
    store.removeItem(key);
  } catch {
    // A storage that cannot be written holds no draft either.
  }
}

function prune(store: Store): void {
  const keys = Array.from({ length: store.length }, (_, index) => store.key(index)).filter(
    (key): key is string => key !== null && key.startsWith(PREFIX),
  );
  if (keys.length <= DRAFTS_MAX) return;
  const aged = keys.map((key) => ({ key, at_ms: keptAt(store, key) })).sort((a, b) => a.at_ms - b.at_ms);
  for (const { key } of aged.slice(0, keys.length - DRAFTS_MAX)) store.removeItem(key);
}

function keptAt(store: Store, key: string): number {
  try {
    return (JSON.parse(store.getItem(key) ?? '') as Kept<unknown>).at_ms;
  } catch {
    return 0;
  }
}
