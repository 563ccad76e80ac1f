/** The page's clock, and the only place that reads one. Everything else is told the time. */
import { readonly, ref } from 'vue';

const TICK_MS = 1_000;

/** What the hub's clock says beyond this machine's; a phone's clock may be hours off. */
let hub_offset_ms = 0;
const now = ref(Date.now());
const uptime = ref(performance.now());
const listeners = new Set<(monotonic_ms: number) => void>();

/** The hub's time in UTC milliseconds, moved on once a second. */
export const hubNow = readonly(now);

/** Monotonic milliseconds, moved on once a second. */
export const monotonicNow = readonly(uptime);

/** Monotonic milliseconds at this moment. */
export function monotonic(): number {
  return performance.now();
}

/** The hub's time at this moment, as well as the last beat told it. */
export function hubTime(): number {
  return Date.now() + hub_offset_ms;
}

/** Takes the hub's time from a beat. */
export function setHubTime(now_ms: number): void {
  hub_offset_ms = now_ms - Date.now();
  now.value = now_ms;
}

/** Calls back once a second; returns how to stop. */
export function everySecond(listener: (monotonic_ms: number) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

setInterval(() => {
  now.value = Date.now() + hub_offset_ms;
  uptime.value = performance.now();
  for (const listener of listeners) listener(uptime.value);
}, TICK_MS);
