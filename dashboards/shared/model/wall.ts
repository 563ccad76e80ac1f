/** The video wall: so many tiles, each with a camera or none. It is what one person put together, and is kept for them. */
import type { Camera } from '../api/video';

export const WALL_SIZES = [1, 4, 9, 16] as const;
export type WallSize = (typeof WALL_SIZES)[number];

export interface Wall {
  size: WallSize;
  /** Camera ids by tile; `null` is an empty tile. As long as the largest wall, so that a smaller one forgets nothing. */
  tiles: (string | null)[];
}

export const TILES_MAX = 16;

export function emptyWall(): Wall {
  return { size: 4, tiles: Array.from({ length: TILES_MAX }, () => null) };
}

/** What was kept on the device, if it is a wall at all. */
export function readWall(text: string | null): Wall {
  const wall = emptyWall();
  let kept: unknown;
  try {
    kept = JSON.parse(text ?? 'null');
  } catch {
    return wall;
  }
  if (typeof kept !== 'object' || kept === null) return wall;
  const { size, tiles } = kept as { size?: unknown; tiles?: unknown };
  wall.size = WALL_SIZES.find((candidate) => candidate === size) ?? wall.size;
  if (Array.isArray(tiles)) wall.tiles = wall.tiles.map((_, at) => (typeof tiles[at] === 'string' ? (tiles[at] as string) : null));
  return wall;
}

export function shownTiles(wall: Wall): (string | null)[] {
  return wall.tiles.slice(0, wall.size);
}

export function isOn(wall: Wall, id: string): boolean {
  return shownTiles(wall).includes(id);
}

/** Puts a camera into the first empty tile, or takes it away; the wall grows by a size when it is full. */
export function toggleCamera(wall: Wall, id: string): Wall {
  if (isOn(wall, id)) return { ...wall, tiles: wall.tiles.map((tile) => (tile === id ? null : tile)) };
  const tiles = wall.tiles.map((tile, at) => (tile === id && at >= wall.size ? null : tile));
  const empty = tiles.findIndex((tile, at) => tile === null && at < wall.size);
  if (empty !== -1) return { ...wall, tiles: tiles.with(empty, id) };
  const larger = WALL_SIZES.find((size) => size > wall.size);
  if (larger === undefined) return wall;
  return { size: larger, tiles: tiles.with(wall.size, id) };
}

/** A camera at a home opens only during its household's alarm: it has no place on a wall. */
export function mayHang(camera: Pick<Camera, 'kind'>): boolean {
  return camera.kind !== 'home';
}
