/**
 * The region tree, as its codes say it: a region lies in another when that one's code is a prefix
 * of its own. And a county at a glance: what each region below one's own has.
 */
import type { Alarm, Fault, Region, Site } from '../api/types';

export function isWithin(code: string, region: string): boolean {
  return code.startsWith(region);
}

/** Lengths of national codes by level: county, township, village, group, grid. */
const CODE_LENGTHS = [6, 9, 12, 15, 18];

/** The code of the region one level below `scope` in which `code` lies; `scope` if it lies in none. */
export function childOf(scope: string, code: string): string {
  const length = CODE_LENGTHS.find((candidate) => candidate > scope.length);
  return length === undefined || code.length < length ? scope : code.slice(0, length);
}

/** One line of the county at a glance. */
export interface Tally {
  code: string;
  name: string;
  sites: number;
  online: number;
  /** Gateways that were on line and are not now. */
  offline: number;
  /** Sites that no gateway fills yet. */
  waiting: number;
  alarms: number;
  faults: number;
  /** The latest word from any of its gateways; `null` if none ever spoke. */
  heard_ms: number | null;
}

/** What each region below `scope` has; regions that have nothing are left out. */
export function tallies(
  scope: string,
  names: ReadonlyMap<string, string>,
  known: { sites: readonly Site[]; alarms: readonly Alarm[]; faults: readonly Fault[] },
): Tally[] {
  const lines = new Map<string, Tally>();
  const line = (code: string, fallback: string): Tally => {
    const child = childOf(scope, code);
    let found = lines.get(child);
    if (found === undefined) {
      found = { ...emptyTally(child), name: names.get(child) ?? fallback };
      lines.set(child, found);
    }
    return found;
  };
  for (const site of known.sites) {
    const tally = line(site.region_code, site.region_name);
    tally.sites += 1;
    if (site.gateway === null) tally.waiting += 1;
    else if (site.gateway.online) tally.online += 1;
    else tally.offline += 1;
    tally.heard_ms = later(tally.heard_ms, site.gateway?.last_heard_ms ?? null);
  }
  for (const alarm of known.alarms) line(alarm.region_code, alarm.site_name).alarms += 1;
  for (const fault of known.faults) line(fault.region_code, fault.site_name).faults += 1;
  return [...lines.values()].sort((a, b) => (a.code < b.code ? -1 : 1));
}

export function total(lines: readonly Tally[]): Tally {
  const sum = emptyTally('');
  for (const line of lines) {
    sum.sites += line.sites;
    sum.online += line.online;
    sum.offline += line.offline;
    sum.waiting += line.waiting;
    sum.alarms += line.alarms;
    sum.faults += line.faults;
    sum.heard_ms = later(sum.heard_ms, line.heard_ms);
  }
  return sum;
}

/** A site stands in a village, or in something smaller. */
const VILLAGE_LENGTH = 12;

export function isVillage(region: Pick<Region, 'code'>): boolean {
  return region.code.length >= VILLAGE_LENGTH;
}

/**
 * The levels of a picker from `scope` down to a village: each level's parent, and which of its
 * children is chosen (empty if none). A chosen level opens the next.
 */
export function pickerLevels(scope: string, code: string): { parent: string; chosen: string }[] {
  const levels: { parent: string; chosen: string }[] = [];
  let parent = scope;
  while (parent !== '' && !isVillage({ code: parent })) {
    const chosen = code.length > parent.length && isWithin(code, parent) ? childOf(parent, code) : '';
    levels.push({ parent, chosen });
    if (chosen === '' || chosen === parent) break;
    parent = chosen;
  }
  return levels;
}

function emptyTally(code: string): Tally {
  return { code, name: '', sites: 0, online: 0, offline: 0, waiting: 0, alarms: 0, faults: 0, heard_ms: null };
}

function later(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}
