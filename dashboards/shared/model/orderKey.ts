/** The keys with which the hub orders beside its root key, as an administrator sees them: by region, for they end together. */
import type { OrderKey } from '../api/types';

export interface RegionKeys {
  region_code: string;
  region_name: string;
  /** The one that orders now; the region's others are only still believed. */
  present: OrderKey;
  /** The latest order of any of them; `null`: none yet. */
  last_used_ms: number | null;
  /** How many gateways believe one of them at least. */
  gateways: number;
  /** Until when the one before is believed; `null`: there is none. */
  former_until_ms: number | null;
}

/** One line for each region, in the order of the codes. */
export function byRegion(keys: readonly OrderKey[]): RegionKeys[] {
  const regions = new Map<string, OrderKey[]>();
  for (const key of keys) regions.set(key.region_code, [...(regions.get(key.region_code) ?? []), key]);
  return [...regions.values()].map(together).sort((left, right) => (left.region_code < right.region_code ? -1 : 1));
}

function together(keys: OrderKey[]): RegionKeys {
  const [present, former] = [...keys].sort((left, right) => right.not_after_ms - left.not_after_ms) as [OrderKey, OrderKey?];
  const used = keys.flatMap(({ last_used_ms }) => last_used_ms ?? []);
  return {
    region_code: present.region_code,
    region_name: present.region_name,
    present,
    last_used_ms: used.length > 0 ? Math.max(...used) : null,
    gateways: Math.max(...keys.map(({ gateways }) => gateways)),
    former_until_ms: former?.not_after_ms ?? null,
  };
}

/** Those whose name or code holds what was typed. */
export function searchKeys(keys: readonly RegionKeys[], typed: string): RegionKeys[] {
  const wanted = typed.trim();
  return keys.filter(({ region_name, region_code }) => region_name.includes(wanted) || region_code.startsWith(wanted));
}
