/**
 * The map's own knowledge: read whole beside the lists, and kept up by the same stream of changes.
 * It is read only once somebody looks at a map, and gathered anew only when a point has changed.
 */
import { computed, ref, shallowRef } from 'vue';
import type { Site } from '../../shared/api/types';
import type { Camera } from '../../shared/api/video';
import type { CountyMap, OutlineGeometry, Problem } from '../../shared/api/types';
import { atlasOf, gather, type Atlas, type Point } from '../../shared/model/map';
import { whenChanged, whenRead } from '../../shared/page/county';
import { api } from '../../shared/page/session';

/** Changes are gathered for so long: at mass returns of gateways hundreds come in a second. */
const SETTLE_MS = 400;

const outline = shallowRef<OutlineGeometry | null>(null);
const atlas = shallowRef<Atlas>({ points: [], unplaced: [] });
const truncated = ref(false);
const problem = shallowRef<Problem | null>(null);
const read = ref(false);
let rows: CountyMap | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let followed = false;

export const county_map = {
  outline: computed(() => outline.value),
  points: computed<readonly Point[]>(() => atlas.value.points),
  unplaced: computed(() => atlas.value.unplaced),
  gathered: computed(() => gather(atlas.value.points)),
  truncated: computed(() => truncated.value),
  problem: computed(() => problem.value),
  read: computed(() => read.value),
};

/** Starts to follow; more than once is once. */
export function followMap(): void {
  if (followed) return;
  followed = true;
  whenRead(() => void readMap());
  whenChanged('site', learnSite);
  whenChanged('camera', learnCamera);
}

async function readMap(): Promise<void> {
  const result = await api.map();
  if (!result.ok) {
    problem.value = result.problem;
    return;
  }
  problem.value = null;
  rows = result.value;
  settle();
}

function settle(): void {
  clearTimeout(timer);
  timer = undefined;
  if (rows === null) return;
  outline.value = rows.outline;
  truncated.value = rows.truncated;
  atlas.value = atlasOf(rows);
  read.value = true;
}

function learnSite(site: Site): void {
  if (rows === null) return;
  const { id, name, region_code, latitude, longitude, gateway, open_alarms } = site;
  const online = gateway === null ? null : Number(gateway.online);
  replace(rows.sites, id, [id, name, region_code, latitude, longitude, online, open_alarms]);
}

function learnCamera(camera: Camera): void {
  const { id, site_id, kind, name, latitude, longitude, direction_degrees, state } = camera;
  if (rows === null) return;
  if (camera.deleted) {
    rows.cameras = rows.cameras.filter(([known]) => known !== id);
    timer ??= setTimeout(settle, SETTLE_MS);
    return;
  }
  // A camera without a place of its own is where its site is.
  const [, , , y, x] = rows.sites.find(([known]) => known === site_id) ?? [];
  const [north, east] = latitude === null || longitude === null ? [y, x] : [latitude, longitude];
  if (north == null || east == null) return;
  replace(rows.cameras, id, [id, site_id, kind, name, north, east, direction_degrees, state.name]);
}

function replace<Row extends [string, ...unknown[]]>(list: Row[], id: string, row: Row): void {
  const at = list.findIndex(([candidate]) => candidate === id);
  if (at === -1) list.push(row);
  else if (JSON.stringify(list[at]) === JSON.stringify(row)) return;
  else list[at] = row;
  timer ??= setTimeout(settle, SETTLE_MS);
}
