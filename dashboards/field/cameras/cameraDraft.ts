/** What is typed of a camera, and what of it goes to the hub. Passwords are never part of a draft. */
import type { Camera, CameraChange, CameraKind, RecordPolicy } from '../../shared/api/video';
import { degreesOf, facing, type Compass } from '../../shared/model/camera';
import { parseAddress, wholeNumber } from '../../shared/model/rtsp';

export const DAYS = { least: 1, most: 365 };
export const GIGABYTES = { least: 1, most: 16_000 };
export const SESSIONS = { least: 1, most: 128 };
/** Takes a direction away. */
const NO_DIRECTION = -1;
const GIGABYTE = 2 ** 30;

export interface CameraDraft {
  url: string;
  sub_url: string;
  username: string;
  name: string;
  place: string;
  latitude: number | null;
  longitude: number | null;
  direction: Compass | '';
  kind: CameraKind;
  household: string[];
  record: RecordPolicy;
  /** Whether its sound is taken, too. */
  audio: boolean;
  days: string;
  gigabytes: string;
  /** How many streams the recorder gives at once. */
  sessions: string;
}

export function draftOf(camera: Camera | null): CameraDraft {
  return {
    url: camera?.url ?? '',
    sub_url: camera?.sub_url ?? '',
    username: '',
    name: camera?.name ?? '',
    place: camera?.place ?? '',
    latitude: camera?.latitude ?? null,
    longitude: camera?.longitude ?? null,
    direction: camera?.direction_degrees == null ? '' : facing(camera.direction_degrees),
    kind: camera?.kind ?? 'public',
    household: [...(camera?.household_device_ids ?? [])],
    record: camera?.record ?? 'main',
    audio: camera?.audio ?? false,
    days: String(camera?.days_max ?? 30),
    gigabytes: String(camera === null ? 100 : Math.max(1, Math.round(camera.bytes_max / GIGABYTE))),
    sessions: String(camera?.sessions_max ?? 4),
  };
}

export type Wrong = Partial<Record<'url' | 'sub_url' | 'username' | 'name' | 'household' | 'record' | 'days' | 'gigabytes' | 'sessions', true>>;

export function wrongIn(draft: CameraDraft, password = ''): Wrong {
  const wrong: Wrong = {};
  if (parseAddress(draft.url) === null) wrong.url = true;
  if (draft.sub_url.trim() !== '' && parseAddress(draft.sub_url) === null) wrong.sub_url = true;
  if (password !== '' && draft.username.trim() === '') wrong.username = true;
  if (draft.name.trim() === '') wrong.name = true;
  if (draft.kind === 'home' && draft.household.length === 0) wrong.household = true;
  if (draft.kind !== 'home' && draft.record === 'sub' && draft.sub_url.trim() === '') wrong.record = true;
  if (wholeNumber(draft.sessions, SESSIONS.least, SESSIONS.most) === null) wrong.sessions = true;
  if (wholeNumber(draft.days, DAYS.least, DAYS.most) === null) wrong.days = true;
  if (wholeNumber(draft.gigabytes, GIGABYTES.least, GIGABYTES.most) === null) wrong.gigabytes = true;
  return wrong;
}

type Sent = Omit<CameraChange, 'consent' | 'name' | 'url'> & { name: string; url: string };

/** What changes of `camera` (all, if it is new) when a draft without anything wrong is sent. */
export function changeOf(draft: CameraDraft, password: string, camera: Camera | null): Sent {
  const typed = parseAddress(draft.url);
  const sub = parseAddress(draft.sub_url)?.url ?? '';
  const is_home = draft.kind === 'home';
  const username = draft.username.trim();
  return {
    name: draft.name.trim(),
    url: typed?.url ?? draft.url.trim(),
    ...(camera === null && sub === '' ? {} : { sub_url: sub }),
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    kind: draft.kind,
    place: draft.place.trim(),
    ...(draft.latitude === null || draft.longitude === null ? {} : { latitude: draft.latitude, longitude: draft.longitude }),
    ...directionOf(draft, camera),
    // At a home nothing is recorded but what an alarm keeps.
    record: is_home ? 'off' : draft.record,
    // What is said at home is nobody's.
    audio: !is_home && draft.audio,
    sessions_max: wholeNumber(draft.sessions, SESSIONS.least, SESSIONS.most) ?? 4,
    days_max: wholeNumber(draft.days, DAYS.least, DAYS.most) ?? 30,
    bytes_max: (wholeNumber(draft.gigabytes, GIGABYTES.least, GIGABYTES.most) ?? 100) * GIGABYTE,
    household_device_ids: is_home ? [...draft.household] : [],
  };
}

/** A direction that nobody turned stays as exact as it was. */
function directionOf({ direction }: CameraDraft, camera: Camera | null): { direction_degrees?: number } {
  const known = camera?.direction_degrees ?? null;
  if (direction === '') return known === null ? {} : { direction_degrees: NO_DIRECTION };
  return { direction_degrees: known !== null && facing(known) === direction ? known : degreesOf(direction) };
}
