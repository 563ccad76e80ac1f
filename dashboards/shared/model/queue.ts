/**
 * The queue of alarms as rows: grouped when there is a flood, stepped through by key, and held
 * still under the pointer while rows come and go above it.
 */
import type { Alarm } from '../api/types';
import { inOrder, needsSomebody } from './alarm';

/** Above this many alarms raised within `FLOOD_MS`, what may group does. */
export const FLOOD_ALARMS = 10;
export const FLOOD_MS = 10 * 60_000;

export type Row =
  | { kind: 'alarm'; key: string; alarm: Alarm; group: string | null }
  | { kind: 'group'; key: string; source: string; site_name: string; alarms: Alarm[]; expanded: boolean };

/** True while more alarms come in than people can take one by one. */
export function isFlood(alarms: readonly Alarm[], now_ms: number): boolean {
  return alarms.filter((alarm) => now_ms - alarm.raised_ms < FLOOD_MS).length > FLOOD_ALARMS;
}

/**
 * Rows in order. In a flood, alarms of one source stand in one row that opens; an SOS always
 * stands by itself.
 */
export function rows(alarms: readonly Alarm[], flood: boolean, expanded: ReadonlySet<string>): Row[] {
  const ordered = inOrder(alarms);
  if (!flood) return ordered.map((alarm) => alarmRow(alarm, null));

  const groups = new Map<string, Alarm[]>();
  for (const alarm of ordered) {
    if (alarm.kind === 'sos') continue;
    const key = groupKey(alarm);
    groups.set(key, [...(groups.get(key) ?? []), alarm]);
  }
  const result: Row[] = [];
  for (const alarm of ordered) {
    const key = groupKey(alarm);
    const members = alarm.kind === 'sos' ? [] : (groups.get(key) ?? []);
    if (members.length < 2) {
      result.push(alarmRow(alarm, null));
    } else if (members[0] === alarm) {
      const open = expanded.has(key);
      const { source, site_name } = alarm;
      result.push({ kind: 'group', key, source, site_name, alarms: members, expanded: open });
      if (open) result.push(...members.map((member) => alarmRow(member, key)));
    }
  }
  return result;
}

function alarmRow(alarm: Alarm, group: string | null): Row {
  return { kind: 'alarm', key: alarm.id, alarm, group };
}

function groupKey(alarm: Alarm): string {
  return `group:${alarm.site_id}:${alarm.source}`;
}

/** The row that a step up or down leads to; the ends hold. */
export function step(keys: readonly string[], selected: string | null, by: number): string | null {
  if (keys.length === 0) return null;
  const at = selected === null ? -1 : keys.indexOf(selected);
  if (at === -1) return keys[by > 0 ? 0 : keys.length - 1] ?? null;
  return keys[Math.min(Math.max(at + by, 0), keys.length - 1)] ?? null;
}

/**
 * What to select when the page has nothing selected or has finished with what it had: the newest
 * that needs somebody, else the first of the queue. Never takes away what a person is reading.
 */
export function selectBySelf(list: readonly Row[], selected: string | null, finished: boolean): string | null {
  if (selected !== null && !finished) return selected;
  const waiting = list.find((row) => row.kind === 'alarm' && needsSomebody(row.alarm));
  return (waiting ?? list[0])?.key ?? null;
}

export interface Hold {
  scroll_top: number;
  /** Empty space kept above the first row, where rows went away over a held one. */
  space_above: number;
}

/**
 * Where to scroll so that a held row stays at the same place on the screen when its offset in the
 * list (without the space above) goes from `before` to `after`.
 */
export function holdStill(hold: Hold, before: number, after: number): Hold {
  const scroll_top = hold.scroll_top + (after - before);
  if (scroll_top >= 0) return { scroll_top, space_above: hold.space_above };
  return { scroll_top: 0, space_above: hold.space_above - scroll_top };
}
