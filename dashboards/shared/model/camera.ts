/** A camera as people see it: how it is, where it looks, and whether this browser can show it. */
import type { Camera, Quality, Stream } from '../api/video';

/** Every state that a gateway can report, the worst first; `gateway_offline`, `line_lost`, `stale` and `new` are the hub's own. */
export const CAMERA_STATES = [
  'gateway_offline', 'line_lost', 'unreachable', 'refused', 'no_such_stream', 'unsupported', 'no_frames', 'frozen', 'black', 'disk_full',
  'recording_gap', 'clock_off', 'stale', 'starting', 'new', 'unknown', 'ok',
] as const;
export type CameraStateName = (typeof CAMERA_STATES)[number];

/** A state's name as the catalogue knows it; one that is not known yet, or none, is `unknown`. */
export function stateName(state: string | null): CameraStateName {
  return CAMERA_STATES.find((name) => name === state) ?? 'unknown';
}

/** States in which there is a picture to look at, true or not. */
const SHOWING: ReadonlySet<CameraStateName> = new Set(['ok', 'frozen', 'black', 'recording_gap', 'clock_off', 'disk_full', 'starting', 'stale', 'new', 'unknown']);

export function mayShow(state: string | null): boolean {
  return SHOWING.has(stateName(state));
}

/** Whether what a camera shows may be believed: a frozen picture moves on no screen, and says so. */
export function isTrusted(state: string | null): boolean {
  const name = stateName(state);
  return name !== 'frozen' && name !== 'black';
}

const UNTROUBLED: ReadonlySet<CameraStateName> = new Set(['ok', 'starting', 'stale', 'new', 'unknown']);

/** Whether somebody has to do something about it. */
export function isBroken(state: string | null): boolean {
  const name = stateName(state);
  return !UNTROUBLED.has(name);
}

const COMPASS = ['n', 'ne', 'e', 'se', 's', 'sw', 'w', 'nw'] as const;
export type Compass = (typeof COMPASS)[number];
export { COMPASS };

/** Degrees from north as one of eight directions. */
export function facing(degrees: number): Compass {
  const turned = ((degrees % 360) + 360) % 360;
  return COMPASS[Math.round(turned / 45) % 8] ?? 'n';
}

export function degreesOf(compass: Compass): number {
  return COMPASS.indexOf(compass) * 45;
}

/** The codec as people write it. */
export function codecName(codec: string): string {
  const lower = codec.toLowerCase();
  if (/^(h265|hevc|hvc1|hev1)/.test(lower)) return 'H.265';
  if (/^(h264|avc1)/.test(lower)) return 'H.264';
  return codec.toUpperCase();
}

/** Which stream to ask for: the small one in a small tile, unless only the other can be shown. */
export function qualityFor(camera: Pick<Camera, 'main' | 'sub' | 'sub_url'>, large: boolean, plays: (stream: Stream) => boolean): Quality {
  const sub_there = camera.sub_url !== null;
  if (!sub_there) return 'main';
  const wanted: Quality = large ? 'main' : 'sub';
  const other: Quality = large ? 'sub' : 'main';
  const [stream, instead] = [camera[wanted], camera[other]];
  if (stream !== null && !plays(stream) && instead !== null && plays(instead)) return other;
  return wanted;
}

/** Made once: comparing ten thousand names with one is ten times as fast as without. */
const NAMES = new Intl.Collator('zh-CN');

/** By site, then name: a place in a list that does not change when a camera fails. */
export function camerasInOrder(cameras: readonly Camera[]): Camera[] {
  return [...cameras].sort(
    (a, b) =>
      (a.region_code < b.region_code ? -1 : Number(a.region_code > b.region_code)) ||
      NAMES.compare(a.site_name, b.site_name) ||
      NAMES.compare(a.name, b.name) ||
      (a.id < b.id ? -1 : 1),
  );
}

/** Cameras whose name, site or place holds every word that was typed; or `also`, what else a camera is found by. */
export function searchCameras(cameras: readonly Camera[], typed: string, also: (camera: Camera) => string = () => ''): Camera[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return cameras.filter((camera) => {
    const text = `${camera.name} ${camera.site_name} ${camera.place ?? ''} ${also(camera)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
