/**
 * The page's link to the hub: which list is read when, when the stream of changes is opened, and
 * when what is shown must be called stale. Pure: `handle` takes what happened and says what to do.
 *
 * The browser's own EventSource resumes by `Last-Event-ID` as long as it lives; when it gives up,
 * or nothing is heard for too long, a new one is opened behind the last change that was seen.
 */

/** The hub says a word every 5 s; three missed words and what is shown is stale. */
export const STALE_AFTER_MS = 15_000;
/** A stream that has been silent this long is given up and opened again. */
export const REOPEN_AFTER_MS = 20_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_LAST_MS = 15_000;

export type Phase = 'stopped' | 'loading' | 'opening' | 'live' | 'waiting';

export interface Link {
  phase: Phase;
  /** Monotonic time of the last word from the hub; of the start, before the first. */
  heard_at: number;
  /** The last change seen, or the sequence at which the lists were read. */
  sequence: number;
  /** When to try again; `null` unless waiting. */
  retry_at: number | null;
  retries: number;
  /** True when the lists were read just before the stream was opened: no need to read them again. */
  fresh: boolean;
  /** True while the lists are being read. */
  reading: boolean;
}

export type LinkInput =
  | { what: 'start' }
  | { what: 'stop' }
  | { what: 'read'; sequence: number }
  | { what: 'read_failed' }
  | { what: 'opened' }
  | { what: 'word'; sequence: number | null }
  | { what: 'reset'; sequence: number }
  /** The stream broke and the browser is trying again by itself. */
  | { what: 'broken' }
  /** The stream was refused or ended for good. */
  | { what: 'ended' }
  | { what: 'tick' };

export type LinkOutput =
  | { do: 'read' }
  | { do: 'open'; after: number }
  | { do: 'close' }
  /** The hub's log began anew (a restored backup): the next list wins over all that is known. */
  | { do: 'doubt' };

export function stopped(now: number): Link {
  return { phase: 'stopped', heard_at: now, sequence: 0, retry_at: null, retries: 0, fresh: false, reading: false };
}

/** True when nothing was heard for so long that what is shown may no longer be true. */
export function isStale(link: Link, now: number): boolean {
  return link.phase !== 'stopped' && now - link.heard_at > STALE_AFTER_MS;
}

export function handle(link: Link, now: number, input: LinkInput): LinkOutput[] {
  if (link.phase === 'stopped' && input.what !== 'start') return [];
  switch (input.what) {
    case 'start':
      if (link.phase !== 'stopped') return [];
      Object.assign(link, stopped(now), { phase: 'loading' });
      return readLists(link);
    case 'stop':
      Object.assign(link, stopped(now));
      return [{ do: 'close' }];
    case 'read':
      return listsRead(link, now, input.sequence);
    case 'read_failed':
      link.reading = false;
      return wait(link, now, hasStream(link) ? link.phase : 'waiting');
    case 'opened':
      return opened(link, now);
    case 'word':
      link.heard_at = now;
      if (input.sequence !== null) link.sequence = Math.max(link.sequence, input.sequence);
      return [];
    case 'reset':
      link.heard_at = now;
      link.sequence = input.sequence;
      return [{ do: 'doubt' }, ...readLists(link)];
    case 'broken':
      link.phase = 'opening';
      return [];
    case 'ended':
      return [{ do: 'close' }, ...wait(link, now, 'waiting')];
    case 'tick':
      return tick(link, now);
  }
}

function listsRead(link: Link, now: number, sequence: number): LinkOutput[] {
  link.reading = false;
  link.retries = 0;
  if (hasStream(link)) return [];
  const began_anew = sequence < link.sequence;
  link.heard_at = now;
  link.sequence = sequence;
  link.phase = 'opening';
  link.fresh = true;
  const open: LinkOutput = { do: 'open', after: sequence };
  return began_anew ? [{ do: 'doubt' }, open] : [open];
}

function opened(link: Link, now: number): LinkOutput[] {
  link.phase = 'live';
  link.heard_at = now;
  if (link.fresh) {
    link.fresh = false;
    return [];
  }
  return readLists(link);
}

function tick(link: Link, now: number): LinkOutput[] {
  if (link.retry_at !== null && now >= link.retry_at) {
    link.retry_at = null;
    if (!hasStream(link)) link.phase = 'loading';
    return readLists(link);
  }
  if (hasStream(link) && now - link.heard_at > REOPEN_AFTER_MS) {
    return [{ do: 'close' }, ...wait(link, now, 'waiting')];
  }
  return [];
}

function readLists(link: Link): LinkOutput[] {
  if (link.reading) return [];
  link.reading = true;
  return [{ do: 'read' }];
}

function wait(link: Link, now: number, phase: Phase): LinkOutput[] {
  link.phase = phase;
  link.retry_at = now + Math.min(RETRY_FIRST_MS * 2 ** link.retries, RETRY_LAST_MS);
  link.retries += 1;
  return [];
}

function hasStream(link: Link): boolean {
  return link.phase === 'live' || link.phase === 'opening';
}
