/**
 * Cameras as a tree of the regions in which they stand: county, township, village, and in each its cameras. A county has thousands
 * of them, so a page shows the rows within sight only; which rows there are, and what a key does among them, is decided here.
 */
import type { Camera } from '../api/video';
import { isBroken } from './camera';

/** Lengths of the codes of the levels that are shown; a camera in a smaller region stands in its village. */
const LEVELS = [6, 9, 12] as const;

export interface RegionNode {
  code: string;
  name: string;
  /** Of all its cameras, those of the regions in it included. */
  count: number;
  /** How many of them somebody must look after. */
  broken: number;
  regions: RegionNode[];
  /** Those that stand in no smaller region. */
  cameras: Camera[];
}

/** One line of the tree. The first level is 1; places count from 1. */
export interface TreeRow {
  key: string;
  level: number;
  place: number;
  siblings: number;
  /** The row of the region around it; −1 for the first. */
  parent: number;
  /** `null`: it is a camera. */
  region: RegionNode | null;
  camera: Camera | null;
  open: boolean;
}

/** What is to be done after a key: go to a row, open or shut regions, choose a camera. */
export interface TreeStep {
  to?: number;
  open?: string[];
  shut?: string;
  toggle?: string;
}

/** The tree below `scope`, of regions that have a camera; `name` is what people call a region, if that is known. */
export function cameraTree(scope: string, name: (code: string) => string | undefined, cameras: readonly Camera[]): RegionNode {
  const region = (code: string, fallback: string): RegionNode => ({ code, name: name(code) ?? fallback, count: 0, broken: 0, regions: [], cameras: [] });
  const root = region(scope, scope);
  const known = new Map<string, RegionNode>();
  for (const camera of cameras) {
    const way = [root];
    let within = root;
    for (const length of LEVELS) {
      if (length <= scope.length || length > camera.region_code.length) continue;
      const code = camera.region_code.slice(0, length);
      let next = known.get(code);
      if (next === undefined) {
        next = region(code, camera.site_name);
        known.set(code, next);
        within.regions.push(next);
      }
      way.push((within = next));
    }
    within.cameras.push(camera);
    const broken = Number(isBroken(camera.state.name));
    for (const passed of way) {
      passed.count += 1;
      passed.broken += broken;
    }
  }
  for (const { regions } of [root, ...known.values()]) regions.sort((a, b) => (a.code < b.code ? -1 : 1));
  return root;
}

/** The rows that are open to sight, from the top down. */
export function treeRows(root: RegionNode, isOpen: (code: string) => boolean): TreeRow[] {
  const rows: TreeRow[] = [];
  const add = (region: RegionNode, level: number, place: number, siblings: number, parent: number): void => {
    const open = isOpen(region.code);
    const at = rows.push({ key: region.code, level, place, siblings, parent, region, camera: null, open }) - 1;
    if (!open) return;
    const within = region.regions.length + region.cameras.length;
    region.regions.forEach((inner, index) => add(inner, level + 1, index + 1, within, at));
    region.cameras.forEach((camera, index) => {
      const own = region.regions.length + index + 1;
      rows.push({ key: camera.id, level: level + 1, place: own, siblings: within, parent: at, region: null, camera, open: false });
    });
  };
  add(root, 1, 1, 1, -1);
  return rows;
}

/** Codes of all regions. */
export function regionCodes(root: RegionNode): string[] {
  return [root.code, ...root.regions.flatMap(regionCodes)];
}

/**
 * What a key does at a row, as the pattern of trees has it: up and down a row, a page, to either end; right opens or goes in, left
 * shuts or goes out; `*` opens the row and its sisters; a letter goes to the next row that begins with it. `null`: the key is not the tree's.
 */
export function treeStep(rows: readonly TreeRow[], at: number, key: string, page = 1): TreeStep | null {
  const row = rows[at];
  if (row === undefined) return null;
  const go = (to: number): TreeStep => ({ to: Math.max(0, Math.min(rows.length - 1, to)) });
  switch (key) {
    case 'ArrowDown':
      return go(at + 1);
    case 'ArrowUp':
      return go(at - 1);
    case 'PageDown':
      return go(at + page);
    case 'PageUp':
      return go(at - page);
    case 'Home':
      return go(0);
    case 'End':
      return go(rows.length - 1);
    case 'ArrowRight':
      if (row.region === null) return {};
      return row.open ? go(at + 1) : { open: [row.region.code] };
    case 'ArrowLeft':
      return row.region !== null && row.open ? { shut: row.region.code } : go(Math.max(row.parent, 0));
    case '*':
      return { open: rows.flatMap(({ parent, region }) => (region !== null && parent === row.parent ? [region.code] : [])) };
    case ' ':
    case 'Enter':
      if (row.camera !== null) return { toggle: row.camera.id };
      return row.open ? { shut: row.key } : { open: [row.key] };
  }
  return [...key].length === 1 ? letter(rows, at, key) : null;
}

function letter(rows: readonly TreeRow[], at: number, key: string): TreeStep {
  const begins = ({ region, camera }: TreeRow): boolean => (region?.name ?? camera?.name ?? '').toLowerCase().startsWith(key.toLowerCase());
  for (let step = 1; step <= rows.length; step += 1) {
    const to = (at + step) % rows.length;
    const row = rows[to];
    if (row !== undefined && begins(row)) return { to };
  }
  return {};
}
