/** Where on the village page a person is, kept in the address so that a reload comes back here. */

export type Place =
  | { at: 'home' }
  | { at: 'draft'; id: string }
  | { at: 'drafts' }
  | { at: 'past' }
  | { at: 'waiting' }
  | { at: 'notice'; id: string }
  | { at: 'speakers' }
  | { at: 'alarms' }
  | { at: 'alarm'; id: string };

const LISTS = ['drafts', 'past', 'waiting', 'speakers', 'alarms'] as const;
const THINGS = ['draft', 'notice', 'alarm'] as const;

export function parsePlace(hash: string): Place {
  const [first, id] = hash.replace(/^#\/?/, '').split('/').map(decode);
  const list = LISTS.find((name) => name === first);
  if (list !== undefined) return { at: list };
  const thing = THINGS.find((name) => name === first);
  return thing !== undefined && id ? { at: thing, id } : { at: 'home' };
}

export function formatPlace(place: Place): string {
  if (place.at === 'home') return '#/';
  return 'id' in place ? `#/${place.at}/${encodeURIComponent(place.id)}` : `#/${place.at}`;
}

/** Where the way back leads. */
export function behind(place: Place): Place {
  if (place.at === 'alarm') return { at: 'alarms' };
  if (place.at === 'notice') return { at: 'past' };
  return { at: 'home' };
}

/** The address of this page at the hub's HTTPS port; `host` as the browser writes it, so an IPv6 address has its brackets. */
export function encrypted(host: string, port: number): string {
  return `https://${host}${port === 443 ? '' : `:${port}`}/village`;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}
