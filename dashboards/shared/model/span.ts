/** Spans of recorded time: what lies where on a bar, and what is missing. */
import type { Span } from '../api/video';

/** Recordings that follow each other so closely are one: a camera that was asked again loses as much. */
const TOGETHER_MS = 2_000;
/** Longest span that is looked at in one piece. */
export const LOOK_MAX_MS = 24 * 3_600_000;
/** Longest span that is exported in one file. */
export const EXPORT_MAX_MS = 1_800_000;

/** Spans in order, inside `within`, those that touch made one. */
export function joined(spans: readonly Span[], within: Span): Span[] {
  const result: Span[] = [];
  const sorted = [...spans].sort((a, b) => a.from_ms - b.from_ms);
  for (const span of sorted) {
    const from_ms = Math.max(span.from_ms, within.from_ms);
    const to_ms = Math.min(span.to_ms, within.to_ms);
    if (to_ms <= from_ms) continue;
    const last = result.at(-1);
    if (last !== undefined && from_ms - last.to_ms <= TOGETHER_MS) last.to_ms = Math.max(last.to_ms, to_ms);
    else result.push({ from_ms, to_ms });
  }
  return result;
}

/** What lies between, before and after joined spans. */
export function gapsOf(spans: readonly Span[], within: Span): Span[] {
  const gaps: Span[] = [];
  let at = within.from_ms;
  for (const { from_ms, to_ms } of spans) {
    if (from_ms - at > TOGETHER_MS) gaps.push({ from_ms: at, to_ms: from_ms });
    at = to_ms;
  }
  if (within.to_ms - at > TOGETHER_MS) gaps.push({ from_ms: at, to_ms: within.to_ms });
  return gaps;
}

export function secondsOf(spans: readonly Span[]): number {
  return Math.round(spans.reduce((sum, { from_ms, to_ms }) => sum + to_ms - from_ms, 0) / 1_000);
}

export function minutesOf(spans: readonly Span[]): number {
  return Math.max(spans.length === 0 ? 0 : 1, Math.round(spans.reduce((sum, { from_ms, to_ms }) => sum + to_ms - from_ms, 0) / 60_000));
}

/** The first recorded moment at or after a wish; `null` when there is none. */
export function recordedFrom(spans: readonly Span[], wish_ms: number): number | null {
  for (const { from_ms, to_ms } of spans) if (wish_ms < to_ms) return Math.max(from_ms, wish_ms);
  return null;
}

/** Where a moment lies on a bar of `width`. */
export function onBar(at_ms: number, within: Span, width: number): number {
  const share = (at_ms - within.from_ms) / (within.to_ms - within.from_ms);
  return Math.min(1, Math.max(0, share)) * width;
}

/** Marks below a bar: at most eight, at round times. */
export function ticks({ from_ms, to_ms }: Span): number[] {
  const STEPS_MIN = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240];
  const step_ms = (STEPS_MIN.find((minutes) => (to_ms - from_ms) / (minutes * 60_000) <= 8) ?? 240) * 60_000;
  const found: number[] = [];
  for (let at = Math.ceil(from_ms / step_ms) * step_ms; at <= to_ms; at += step_ms) found.push(at);
  return found;
}

export function isSpan({ from_ms, to_ms }: Span, most_ms: number): boolean {
  return Number.isFinite(from_ms) && Number.isFinite(to_ms) && to_ms > from_ms && to_ms - from_ms <= most_ms;
}

/** A moment as a field of a browser wants it, in local time: `2026-11-23T03:12:45`. */
export function toField(at_ms: number): string {
  const at = new Date(at_ms);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The moment that a field holds; `NaN` when it holds none. */
export function fromField(text: string): number {
  return text === '' ? NaN : new Date(text).getTime();
}
