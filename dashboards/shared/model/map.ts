/**
 * What the map shows: points that gather into clusters where they would lie on each other, and
 * alarms, which never gather and lie above everything.
 */
import Supercluster from 'supercluster';
import type { Alarm, CountyMap, OutlineGeometry } from '../api/types';
import { look, type Look } from './alarm';

export type PointKind = 'site' | 'device' | 'camera';

/** Something with a place. */
export interface Point {
  kind: PointKind;
  id: string;
  site_id: string;
  name: string;
  region_code: string;
  latitude: number;
  longitude: number;
  /** Of a site: whether its gateway is on line; `null` if it has none, and for everything else. */
  online: boolean | null;
  /** Of a camera: degrees from north, and its state. */
  direction: number | null;
  state: string | null;
}

/** A site that nobody has given a place yet: found in the list, not on the map. */
export interface Unplaced {
  id: string;
  name: string;
  region_code: string;
}

export interface Atlas {
  points: Point[];
  unplaced: Unplaced[];
}

/** What the hub's short rows say. */
export function atlasOf(map: CountyMap): Atlas {
  const points: Point[] = [];
  const unplaced: Unplaced[] = [];
  const regions = new Map<string, string>();
  for (const [id, name, region_code, latitude, longitude, online] of map.sites) {
    regions.set(id, region_code);
    if (latitude === null || longitude === null) unplaced.push({ id, name, region_code });
    else points.push({ ...place('site', id, id, name, latitude, longitude), region_code, online: online === null ? null : online === 1 });
  }
  const region = (site_id: string) => ({ region_code: regions.get(site_id) ?? '' });
  for (const [id, site_id, , name, latitude, longitude] of map.devices)
    points.push({ ...place('device', id, site_id, name, latitude, longitude), ...region(site_id) });
  for (const [id, site_id, , name, latitude, longitude, direction, state] of map.cameras)
    points.push({ ...place('camera', id, site_id, name, latitude, longitude), ...region(site_id), direction, state });
  return { points, unplaced };
}

function place(kind: PointKind, id: string, site_id: string, name: string, latitude: number, longitude: number): Point {
  return { kind, id, site_id, name, region_code: '', latitude, longitude, online: null, direction: null, state: null };
}

export interface Bounds {
  west: number;
  south: number;
  east: number;
  north: number;
}

/** What is drawn at one place: one point, or several that would lie on each other. */
export type Mark =
  | { what: 'point'; point: Point; latitude: number; longitude: number }
  | { what: 'cluster'; cluster: number; count: number; offline: number; latitude: number; longitude: number };

export type Index = Supercluster<{ index: number }, { offline: number }>;
export interface Gathered {
  points: readonly Point[];
  index: Index;
}

/** Points closer than this on the screen gather; a mark with its number is about as wide. */
const GATHER_PX = 44;
/** From this zoom on nothing gathers: single farmyards are apart. */
const APART_FROM_ZOOM = 17;

export function gather(points: readonly Point[]): Gathered {
  const index: Index = new Supercluster<{ index: number }, { offline: number }>({
    radius: GATHER_PX,
    // Leaflet's tiles are 256 pixels wide; the index counts its radius in the same.
    extent: 256,
    maxZoom: APART_FROM_ZOOM - 1,
    map: ({ index: at }) => ({ offline: points[at]?.online === false ? 1 : 0 }),
    reduce: (sum, { offline }) => (sum.offline += offline),
  });
  index.load(
    points.map(({ longitude, latitude }, at) => ({
      type: 'Feature',
      geometry: { type: 'Point', coordinates: [longitude, latitude] },
      properties: { index: at },
    })),
  );
  return { points, index };
}

/** The marks inside `bounds` at a zoom: a few hundred at most, whatever the county holds. */
export function marksIn({ points, index }: Gathered, bounds: Bounds, zoom: number): Mark[] {
  const found = index.getClusters([bounds.west, bounds.south, bounds.east, bounds.north], Math.floor(zoom));
  return found.flatMap(({ geometry, properties }): Mark[] => {
    const [longitude = 0, latitude = 0] = geometry.coordinates;
    if ('cluster' in properties) {
      const { cluster_id: cluster, point_count: count, offline } = properties;
      return [{ what: 'cluster', cluster, count, offline, latitude, longitude }];
    }
    const point = points[properties.index];
    return point === undefined ? [] : [{ what: 'point', point, latitude, longitude }];
  });
}

/** The zoom at which a cluster falls apart. */
export function zoomApart({ index }: Gathered, cluster: number): number {
  return index.getClusterExpansionZoom(cluster);
}

/** An alarm, or several at one place: drawn as the most pressing of them. */
export interface AlarmMark {
  latitude: number;
  longitude: number;
  look: Exclude<Look, 'closed'>;
  /** Ids, the most pressing first. */
  alarms: string[];
}

const PRESSING: readonly AlarmMark['look'][] = ['unacknowledged', 'again', 'acknowledged'];

/** Where each open alarm is: at its button if that has a place, else at its site. Others are in the queue alone. */
export function alarmMarks(alarms: readonly Alarm[], points: readonly Point[]): AlarmMark[] {
  const places = new Map<string, Point>();
  for (const point of points) if (point.kind !== 'camera') places.set(`${point.kind} ${point.id}`, point);
  const marks = new Map<string, AlarmMark>();
  for (const alarm of alarms) {
    const at = look(alarm);
    const point = places.get(`device ${alarm.device_id}`) ?? places.get(`site ${alarm.site_id}`);
    if (at === 'closed' || point === undefined) continue;
    const key = `${point.latitude} ${point.longitude}`;
    const mark = marks.get(key);
    if (mark === undefined) {
      marks.set(key, { latitude: point.latitude, longitude: point.longitude, look: at, alarms: [alarm.id] });
    } else if (PRESSING.indexOf(at) < PRESSING.indexOf(mark.look)) {
      mark.look = at;
      mark.alarms.unshift(alarm.id);
    } else {
      mark.alarms.push(alarm.id);
    }
  }
  // What presses most is drawn last, so above the others.
  return [...marks.values()].sort((a, b) => PRESSING.indexOf(b.look) - PRESSING.indexOf(a.look));
}

/** Open alarms that no place is known for. */
export function unplacedAlarms(alarms: readonly Alarm[], marks: readonly AlarmMark[]): number {
  return alarms.length - marks.reduce((sum, mark) => sum + mark.alarms.length, 0);
}

/** The nearest of some places on the screen, if one is within reach of a finger. */
export function nearest<T extends { x: number; y: number }>(places: readonly T[], x: number, y: number, reach: number): T | null {
  let found: T | null = null;
  let best = reach * reach;
  for (const candidate of places) {
    const distance = (candidate.x - x) ** 2 + (candidate.y - y) ** 2;
    if (distance <= best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

/** What holds the outline, or else every point; `null` when there is neither. */
export function extent(outline: OutlineGeometry | null, points: readonly Point[]): Bounds | null {
  const bounds: Bounds = { west: Infinity, south: Infinity, east: -Infinity, north: -Infinity };
  const hold = (longitude: number, latitude: number) => {
    bounds.west = Math.min(bounds.west, longitude);
    bounds.east = Math.max(bounds.east, longitude);
    bounds.south = Math.min(bounds.south, latitude);
    bounds.north = Math.max(bounds.north, latitude);
  };
  if (outline !== null) for (const polygon of outline.coordinates) for (const ring of polygon) for (const [x, y] of ring) hold(x, y);
  else for (const { longitude, latitude } of points) hold(longitude, latitude);
  return bounds.west === Infinity ? null : bounds;
}

/** Most lines of the list beside the map; beyond it the person looks closer. */
export const LISTED_MAX = 200;

const LISTED_KINDS: readonly PointKind[] = ['site', 'camera', 'device'];

/**
 * Points by words of their name: those with an open alarm first, then sites, cameras and devices, each as the hub
 * lists them. Sixteen thousand are not sorted anew at every letter.
 */
export function findPoints(points: readonly Point[], typed: string, alarmed: ReadonlySet<string>): Point[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length === 0 ? points : points.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
  const calm = found.filter(({ id }) => !alarmed.has(id));
  return [
    ...found.filter(({ id }) => alarmed.has(id)),
    ...LISTED_KINDS.flatMap((kind) => calm.filter((point) => point.kind === kind)),
  ];
}
