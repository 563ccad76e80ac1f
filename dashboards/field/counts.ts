/**
 * Keeps the counts beside each site true. The hub works them out when the list is read, and tells of a site only when the
 * site itself changes; so after a change of what is counted the list is read again.
 */
import { readAgain, whenChanged, type Feed, type Kind } from '../shared/page/county';

/** A storm of alarms is one reading every few seconds, not one for each. */
const PAUSE_MS = 3_000;
const COUNTED: readonly Kind[] = ['alarm', 'fault', 'device'];

/** Reads the sites again after alarms, faults and devices have changed, for as long as the page lives. */
export function keepCounts(sites: Feed<'site'>): void {
  let waiting = false;
  const changed = () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      void readAgain(sites);
    }, PAUSE_MS);
  };
  for (const kind of COUNTED) whenChanged(kind, changed);
}
