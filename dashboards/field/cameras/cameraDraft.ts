/** What is typed of a camera, and what of it goes to the hub. Passwords are never part of a draft. */
import type { Camera, CameraChange, CameraKind, RecordPolicy } from '../../shared/api/video';
import { degreesOf, facing, type Compass } from '../../shared/model/camera';
import { parseAddress, wholeNumber } from '../../shared/model/rtsp';

export const DAYS = { least: 1, most: 365 };
export const GIGABYTES = { least: 1, most: 16_000 };
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
  days: string;
  gigabytes: string;
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
    days: String(camera?.days_max ?? 30),
    gigabytes: String(camera === null ? 100 : Math.max(1, Math.round(camera.bytes_max / GIGABYTE))),
  };
}

export type Wrong = Partial<Record<'url' | 'sub_url' | 'name' | 'household' | 'days' | 'gigabytes', true>>;

export function wrongIn(draft: CameraDraft): Wrong {
  const wrong: Wrong = {};
  if (parseAddress(draft.url) === null) wrong.url = true;
  if (draft.sub_url.trim() !== '' && parseAddress(draft.sub_url) === null) wrong.sub_url = true;
  if (draft.name.trim() === '') wrong.name = true;
  if (draft.kind === 'home' && draft.household.length === 0) wrong.household = true;
  if (wholeNumber(draft.days, DAYS.least, DAYS.most) === null) wrong.days = true;
  if (wholeNumber(draft.gigabytes, GIGABYTES.least, GIGABYTES.most) === null) wrong.gigabytes = true;
  return wrong;
}

/** What changes of `camera` (all, if it is new) when a draft without anything wrong is sent. */
export function changeOf(draft: CameraDraft, password: string, camera: Camera | null): CameraChange & { name: string; url: string } {
  const typed = parseAddress(draft.url);
  const sub = draft.sub_url.trim() === '' ? null : (parseAddress(draft.sub_url)?.url ?? null);
  const username = draft.username.trim();
  const unturned = camera?.direction_degrees != null && facing(camera.direction_degrees) === draft.direction;
  return {
    name: draft.name.trim(),
    url: typed?.url ?? draft.url.trim(),
    sub_url: sub,
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    kind: draft.kind,
    place: draft.place.trim() || null,
    latitude: draft.latitude,
    longitude: draft.longitude,
    direction_degrees: draft.direction === '' ? null : unturned ? camera.direction_degrees : degreesOf(draft.direction),
    record: draft.record,
    days_max: wholeNumber(draft.days, DAYS.least, DAYS.most) ?? 30,
    bytes_max: (wholeNumber(draft.gigabytes, GIGABYTES.least, GIGABYTES.most) ?? 100) * GIGABYTE,
    household_device_ids: draft.kind === 'home' ? [...draft.household] : [],
  };
}
