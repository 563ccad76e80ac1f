/** The stand-in hub's map, and a county with a gateway in every grid for looking at how it copes. */
import { readFileSync } from 'node:fs';

const collection = JSON.parse(readFileSync(new URL('../../data/suiping-outline.geojson', import.meta.url), 'utf8'));
const outline = collection.features[0].geometry;
const ring = outline.coordinates[0][0];
const [GRIDS, DEVICES] = [13_215, 3_000];

export function mapOf(state) {
  const placed = ({ latitude }) => latitude !== null;
  return {
    sequence: state.sequence(), outline, truncated: false,
    sites: state.sites.map((site) => [
      site.id, site.name, site.region_code, site.latitude, site.longitude, site.gateway === null ? null : Number(site.gateway.online),
      state.alarms.filter((alarm) => alarm.site_id === site.id && alarm.state !== 'closed').length,
    ]).concat(state.grid_sites ?? []),
    devices: state.devices.filter(placed).map((device) => [device.id, device.site_id, device.kind, device.name ?? device.key, device.latitude, device.longitude]).concat(state.grid_devices ?? []),
    cameras: state.cameras.filter(placed).map((camera) => [
      camera.id, camera.site_id, camera.kind, camera.name, camera.latitude, camera.longitude, camera.direction_degrees, camera.state.name,
    ]),
  };
}

/** A gateway in each grid and devices around them, the same at every start, all inside the county. */
export function fillGrids(state) {
  const dice = random(7);
  const [west, east] = range(ring.map(([x]) => x));
  const [south, north] = range(ring.map(([, y]) => y));
  state.grid_sites = [];
  while (state.grid_sites.length < GRIDS) {
    const [x, y] = [west + dice() * (east - west), south + dice() * (north - south)];
    if (!inside(x, y)) continue;
    const at = state.grid_sites.length;
    state.grid_sites.push([`g${at}`, `第 ${at + 1} 网格`, '411728102200', round(y), round(x), dice() < 0.98 ? 1 : 0, 0]);
  }
  state.grid_devices = Array.from({ length: DEVICES }, (_, at) => {
    const [id, , , y, x] = state.grid_sites[at * 4];
    return [`gd${at}`, id, 'button', `按钮 ${at + 1}`, round(y + (dice() - 0.5) / 500), round(x + (dice() - 0.5) / 500)];
  });
}

const round = (degrees) => Math.round(degrees * 1e5) / 1e5;
const range = (values) => [Math.min(...values), Math.max(...values)];

function inside(x, y) {
  let is = false;
  for (let at = 0, before = ring.length - 1; at < ring.length; before = at, at += 1) {
    const [[ax, ay], [bx, by]] = [ring[at], ring[before]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) is = !is;
  }
  return is;
}

function random(seed) {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}
