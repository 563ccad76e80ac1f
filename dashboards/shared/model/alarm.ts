/**
 * What an alarm asks of people: whether it sounds, in which order alarms stand in the queue, and
 * what the next act is.
 */
import type { Alarm, Me, Press, TimelineEntry } from '../api/types';
import { can } from './rights';

/** How an alarm looks; each has its own shape, words and colour. */
export type Look = 'unacknowledged' | 'again' | 'acknowledged' | 'closed';

export function look(alarm: Pick<Alarm, 'state' | 'sounding'>): Look {
  if (alarm.state === 'closed') return 'closed';
  if (alarm.state === 'unacknowledged') return 'unacknowledged';
  return alarm.sounding ? 'again' : 'acknowledged';
}

export function isOpen(alarm: Pick<Alarm, 'state'>): boolean {
  return alarm.state !== 'closed';
}

/** Nobody has it, or somebody has but it was pressed again: it sounds until a person acts. */
export function needsSomebody(alarm: Pick<Alarm, 'state' | 'sounding'>): boolean {
  return isOpen(alarm) && (alarm.state === 'unacknowledged' || alarm.sounding);
}

/** Whether the gong sounds on this page: while any open alarm is sounding. */
export function isSounding(alarms: Iterable<Pick<Alarm, 'state' | 'sounding'>>): boolean {
  for (const alarm of alarms) if (isOpen(alarm) && alarm.sounding) return true;
  return false;
}

/**
 * The queue's order: what needs somebody first, then what somebody has; within each an SOS before
 * an unknown alarm, and the newest first. It depends only on what the hub says, so that every page shows the same order, and a
 * repeat of a press (which changes only counts) never moves a row.
 */
export function inOrder(alarms: readonly Alarm[]): Alarm[] {
  return [...alarms].sort(
    (a, b) =>
      Number(needsSomebody(b)) - Number(needsSomebody(a)) ||
      Number(b.kind === 'sos') - Number(a.kind === 'sos') ||
      b.raised_ms - a.raised_ms ||
      (a.id < b.id ? -1 : Number(a.id > b.id)),
  );
}

/** Closed alarms, the last closed first. */
export function closedInOrder(alarms: readonly Alarm[]): Alarm[] {
  return [...alarms].sort((a, b) => (b.closed_ms ?? 0) - (a.closed_ms ?? 0));
}

/** The act that an alarm waits for, as this person sees it. */
export type NextAct = 'acknowledge' | 'acknowledge_again' | 'close' | 'others' | 'watch' | 'none';

export function nextAct(alarm: Alarm, me: Me | null): NextAct {
  if (!isOpen(alarm)) return 'none';
  if (!can(me, 'alarm.handle')) return 'watch';
  if (alarm.state === 'unacknowledged') return 'acknowledge';
  if (alarm.sounding) return 'acknowledge_again';
  return alarm.acknowledged_by === me?.username || alarm.acknowledged_by === me?.display_name ? 'close' : 'others';
}

/** What it is called in one line: the button as people named it, else its place, else the site. */
export function title(alarm: Pick<Alarm, 'place' | 'device_name' | 'site_name'>): string {
  return alarm.device_name || alarm.place || alarm.site_name;
}

/** Lines of a timeline that a press wrote. */
const PRESS_LINES: ReadonlySet<string> = new Set(['raised', 'pressed', 'pressed_again']);

/** What was done to the button at a line of the timeline; `null` where no press wrote it, or one too old to be listed. */
export function triggerAt(line: TimelineEntry, presses: readonly Press[]): string | null {
  if (!PRESS_LINES.has(line.what)) return null;
  return presses.find((press) => press.received_ms === line.at_ms)?.trigger ?? null;
}
