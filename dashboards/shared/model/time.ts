/** Times as people read them: how long ago, with the exact time beside it. */

export interface Ago {
  unit: 'now' | 'seconds' | 'minutes' | 'hours' | 'days';
  count: number;
}

/** Younger than this is "just now"; a hub's clock and a page's may differ by as much. */
const NOW_MS = 5_000;

export function ago(now_ms: number, then_ms: number): Ago {
  const past = Math.max(0, now_ms - then_ms);
  if (past < NOW_MS) return { unit: 'now', count: 0 };
  if (past < 60_000) return { unit: 'seconds', count: Math.floor(past / 1_000) };
  if (past < 3_600_000) return { unit: 'minutes', count: Math.floor(past / 60_000) };
  if (past < 86_400_000) return { unit: 'hours', count: Math.floor(past / 3_600_000) };
  return { unit: 'days', count: Math.floor(past / 86_400_000) };
}

/** `03:12:45` on the day of `now_ms`, `11-23 03:12:45` on another, with the year in another year. */
export function exact(now_ms: number, then_ms: number): string {
  const then = new Date(then_ms);
  const now = new Date(now_ms);
  const clock = [then.getHours(), then.getMinutes(), then.getSeconds()].map(two).join(':');
  if (sameDay(now, then)) return clock;
  const day = `${two(then.getMonth() + 1)}-${two(then.getDate())}`;
  return then.getFullYear() === now.getFullYear() ? `${day} ${clock}` : `${then.getFullYear()}-${day} ${clock}`;
}

/** `14:59` until `end_ms`; `null` when it has passed. */
export function countdown(now_ms: number, end_ms: number): string | null {
  const left = end_ms - now_ms;
  if (left <= 0) return null;
  const seconds = Math.floor(left / 1_000);
  return `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`;
}

function sameDay(a: Date, b: Date): boolean {
  return a.getFullYear() === b.getFullYear() && a.getMonth() === b.getMonth() && a.getDate() === b.getDate();
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
