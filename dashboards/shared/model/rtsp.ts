/** The address of a camera's stream as a technician types it; credentials in it are taken out at once. */

export interface Address {
  /** Without credentials. */
  url: string;
  /** `null` where the address has none. */
  username: string | null;
  password: string | null;
}

/** Everything before the last `@` ahead of the path is credentials: passwords are seldom encoded as they should be. */
const SHAPE = /^rtsp:\/\/(?:([^/]*)@)?([^/@\s?#]+)([/?]\S*)?$/i;
const HOST = /^(?:\[[0-9a-f:.]+\]|[^\s:[\]]+)(?::(\d{1,5}))?$/i;

/** `null`: it is no address of a stream. */
export function parseAddress(text: string): Address | null {
  const found = SHAPE.exec(text.trim());
  if (found === null) return null;
  const [, credentials, host = '', path = ''] = found;
  const port = HOST.exec(host);
  if (port === null || Number(port[1] ?? 554) > 65_535 || Number(port[1] ?? 554) === 0) return null;
  const url = `rtsp://${host}${path}`;
  if (credentials === undefined) return { url, username: null, password: null };
  const at = credentials.indexOf(':');
  const [username, password] = at === -1 ? [credentials, ''] : [credentials.slice(0, at), credentials.slice(at + 1)];
  return { url, username: decode(username), password: decode(password) };
}

/** What a draft may keep of what is no address yet: nothing from where a password may stand. */
export function withoutSecret(text: string): string {
  return text.includes('@') ? '' : text.replace(/^(\s*\w+:\/\/[^:/]*):.*$/s, '$1');
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A whole number inside its bounds; `null` for everything else that can be typed. */
export function wholeNumber(text: string, least: number, most: number): number | null {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : NaN;
  return value >= least && value <= most ? value : null;
}
