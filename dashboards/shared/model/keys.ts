/** Keys of the command page. A key typed into a field is text, and a chord belongs to the browser. */

export type Command =
  | 'next'
  | 'previous'
  | 'acknowledge'
  | 'close'
  | 'toggle'
  | 'keys'
  | 'open_list'
  | 'closed_list'
  | 'map'
  | 'wall'
  | 'playback'
  | 'county'
  | 'find'
  | 'clip';

const COMMANDS: Record<string, Command> = {
  j: 'next',
  ArrowDown: 'next',
  k: 'previous',
  ArrowUp: 'previous',
  a: 'acknowledge',
  c: 'close',
  e: 'toggle',
  '?': 'keys',
  '1': 'open_list',
  '2': 'closed_list',
  m: 'map',
  w: 'wall',
  p: 'playback',
  r: 'county',
  '/': 'find',
  b: 'clip',
};

export interface Typed {
  key: string;
  ctrl: boolean;
  alt: boolean;
  meta: boolean;
  /** True when the key goes to a field, a list box or an open dialog. */
  into_field: boolean;
  /** True when the arrows belong to what has the focus: a map, a scrub bar. */
  own_arrows: boolean;
}

export function commandOf(typed: Typed): Command | null {
  if (typed.ctrl || typed.alt || typed.meta || typed.into_field) return null;
  if (typed.own_arrows && typed.key.startsWith('Arrow')) return null;
  const key = typed.key.length === 1 ? typed.key.toLowerCase() : typed.key;
  return COMMANDS[key] ?? null;
}
