/** What a person may do here. The hub judges; the page only does not offer what would be refused. */
import type { Me, Right } from '../api/types';

export function can(me: Me | null, right: Right): boolean {
  return me !== null && me.rights.includes(right);
}
