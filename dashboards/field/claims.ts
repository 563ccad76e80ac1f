/**
 * Claims made on this page. A code is shown once and is a right to enrol, so it is held in memory
 * only: a reload forgets it, and a new one is made.
 */
import { shallowReactive } from 'vue';
import type { Result } from '../shared/api/client';
import type { Claim, Site } from '../shared/api/types';
import { learn } from '../shared/page/county';
import { api } from '../shared/page/session';

export interface MadeClaim {
  claim: Claim;
  /** The certificate that the site had when the claim was made: another one means it was used. */
  serial_before: string | null;
}

const made = shallowReactive(new Map<string, MadeClaim>());

export function claimOf(site_id: string): MadeClaim | undefined {
  return made.get(site_id);
}

export async function makeClaim(site: Site): Promise<Result<Claim>> {
  const result = await api.createClaim(site.id);
  if (!result.ok) return result;
  const claim = result.value;
  made.set(site.id, { claim, serial_before: site.gateway?.certificate_serial ?? null });
  learn('site', { ...site, claim: { id: claim.id, expires_ms: claim.expires_ms } });
  return result;
}
