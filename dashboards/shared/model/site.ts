/** A site and its devices as a technician sees them: what works, what waits, what has gone silent. */
import type { Device, Site } from '../api/types';

export type SiteLook = 'online' | 'offline' | 'claimed' | 'empty';

/** `claimed`: a claim is out and no gateway has used it yet. `empty`: nobody is on the way. */
export function siteLook(site: Site, now_ms: number): SiteLook {
  if (site.gateway !== null) return site.gateway.online ? 'online' : 'offline';
  return site.claim !== null && site.claim.expires_ms > now_ms ? 'claimed' : 'empty';
}

/** Sites whose name, region or id holds every word that was typed. */
export function search(sites: readonly Site[], typed: string): Site[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return sites.filter((site) => {
    const text = `${site.name} ${site.region_name} ${site.id}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** By region, then by name: a place that does not change when a gateway comes or goes. */
export function sitesInOrder(sites: readonly Site[]): Site[] {
  return [...sites].sort(
    (a, b) => compare(a.region_code, b.region_code) || a.name.localeCompare(b.name, 'zh-CN') || compare(a.id, b.id),
  );
}

export type DeviceLook = 'available' | 'silent' | 'unknown';

/** A device that was alive when its gateway was last heard is not known to be alive now. */
export function deviceLook(device: Device, gateway_online: boolean): DeviceLook {
  if (device.available === null || !gateway_online) return 'unknown';
  return device.available ? 'available' : 'silent';
}

/** Below this a button's battery is changed at the next visit. */
export const BATTERY_LOW_PERCENT = 20;

export function isBatteryLow(device: Device): boolean {
  return device.battery_percent !== null && device.battery_percent < BATTERY_LOW_PERCENT;
}

/** The name a person gave, else what the device calls itself, else its unchangeable key. */
export function deviceTitle(device: Device): string {
  return device.name || device.reported_name || device.key;
}

/** As first heard; a device keeps its place. */
export function devicesInOrder(devices: readonly Device[]): Device[] {
  return [...devices].sort((a, b) => a.first_heard_ms - b.first_heard_ms || compare(a.key, b.key));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

export type ClaimStage = 'waiting' | 'expired' | 'enrolled' | 'online';

/**
 * How far a claim has come, told by the site's certificate: one that was not there when the claim
 * was made (`serial_before`) came by it.
 */
export function claimStage(site: Site | null, serial_before: string | null, is_valid: boolean): ClaimStage {
  const gateway = site?.gateway ?? null;
  if (gateway !== null && gateway.certificate_serial !== serial_before) return gateway.online ? 'online' : 'enrolled';
  return is_valid ? 'waiting' : 'expired';
}
