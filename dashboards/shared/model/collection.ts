/**
 * What the page knows of one kind of thing, from two sources that race: lists that were read at
 * a sequence of the change log, and single changes that carry one. Whichever is newer stays.
 */

export interface Entry<T> {
  value: T;
  /** The sequence of the change log at which this was true. */
  sequence: number;
}

export type Collection<T> = Map<string, Entry<T>>;

/** Takes one change; an older one than what is known changes nothing. */
export function apply<T extends { id: string }>(collection: Collection<T>, value: T, sequence: number): boolean {
  const known = collection.get(value.id);
  if (known !== undefined && known.sequence > sequence) return false;
  collection.set(value.id, { value, sequence });
  return true;
}

/**
 * Takes a whole list, read at `sequence`. What is not in it is gone, unless the page has heard of
 * it since: the answer to a request may be overtaken by events.
 */
export function merge<T extends { id: string }>(collection: Collection<T>, list: readonly T[], sequence: number): void {
  const listed = new Set(list.map((value) => value.id));
  for (const [id, entry] of collection) {
    if (!listed.has(id) && entry.sequence <= sequence) collection.delete(id);
  }
  for (const value of list) apply(collection, value, sequence);
}

/**
 * Forgets the least recently changed of what is finished, beyond `keep_max`. Finished things are
 * kept for a while because an older list may still be under way that shows them unfinished.
 */
export function forget<T>(collection: Collection<T>, finished: (value: T) => boolean, keep_max: number): void {
  const done = [...collection].filter(([, entry]) => finished(entry.value));
  if (done.length <= keep_max) return;
  done.sort(([, a], [, b]) => a.sequence - b.sequence);
  for (const [id] of done.slice(0, done.length - keep_max)) collection.delete(id);
}

export function values<T>(collection: Collection<T>): T[] {
  return Array.from(collection.values(), (entry) => entry.value);
}
