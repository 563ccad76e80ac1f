/** Where on the field page a person is, kept in the address so that a reload comes back here. */

export type FieldRoute =
  | { at: 'sites' }
  | { at: 'new_site' }
  | { at: 'order_keys' }
  | { at: 'site'; id: string }
  | { at: 'claim'; id: string }
  /** `camera` is an id, or `new`. */
  | { at: 'camera'; id: string; camera: string }
  /** `speaker` is an id, or `new`. */
  | { at: 'speaker'; id: string; speaker: string };

export function parseRoute(hash: string): FieldRoute {
  const [first, id, last, thing] = hash.replace(/^#\/?/, '').split('/').map(decode);
  if (first === 'new') return { at: 'new_site' };
  if (first === 'order-keys') return { at: 'order_keys' };
  if (first === 'sites' && id && last === 'cameras' && thing) return { at: 'camera', id, camera: thing };
  if (first === 'sites' && id && last === 'speakers' && thing) return { at: 'speaker', id, speaker: thing };
  if (first === 'sites' && id) return last === 'claim' ? { at: 'claim', id } : { at: 'site', id };
  return { at: 'sites' };
}

export function formatRoute(route: FieldRoute): string {
  switch (route.at) {
    case 'sites':
      return '#/';
    case 'new_site':
      return '#/new';
    case 'order_keys':
      return '#/order-keys';
    case 'site':
      return `#/sites/${encodeURIComponent(route.id)}`;
    case 'claim':
      return `#/sites/${encodeURIComponent(route.id)}/claim`;
    case 'camera':
      return `#/sites/${encodeURIComponent(route.id)}/cameras/${encodeURIComponent(route.camera)}`;
    case 'speaker':
      return `#/sites/${encodeURIComponent(route.id)}/speakers/${encodeURIComponent(route.speaker)}`;
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}
