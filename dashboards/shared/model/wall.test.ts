import { describe, expect, it } from 'vitest';
import { camera } from './samples';
import { emptyWall, isOn, mayHang, readWall, shownTiles, TILES_MAX, toggleCamera } from './wall';

const hung = (...ids: string[]) => ids.reduce(toggleCamera, emptyWall());

describe('the wall', () => {
  it('takes cameras one by one and grows when it is full, up to sixteen', () => {
    expect(shownTiles(hung('a', 'b'))).toEqual(['a', 'b', null, null]);
    expect(hung('a', 'b', 'c', 'd').size).toBe(4);
    expect(hung('a', 'b', 'c', 'd', 'e')).toMatchObject({ size: 9 });
    const full = Array.from({ length: TILES_MAX }, (_, at) => `c${at}`).reduce(toggleCamera, emptyWall());
    expect(shownTiles(full).every((tile) => tile !== null)).toBe(true);
    expect(toggleCamera(full, 'one-more')).toEqual(full);
  });

  it('gives back a tile without moving the others', () => {
    expect(shownTiles(toggleCamera(hung('a', 'b', 'c'), 'b'))).toEqual(['a', null, 'c', null]);
    expect(isOn(hung('a'), 'a')).toBe(true);
  });

  it('hangs nothing twice when it was smaller in between', () => {
    const small = { ...hung('a', 'b', 'c'), size: 1 as const };
    const again = toggleCamera({ ...small, tiles: small.tiles.with(0, null) }, 'c');
    expect(again.tiles.filter((tile) => tile === 'c')).toHaveLength(1);
  });

  it('comes back as it was kept, and never as something else', () => {
    const wall = hung('a', 'b', 'c', 'd', 'e');
    expect(readWall(JSON.stringify(wall))).toEqual(wall);
    for (const wrong of [null, '', '{', '7', '{"size":5,"tiles":"x"}', '{"tiles":[1,{},null]}']) expect(readWall(wrong)).toEqual(emptyWall());
    expect(readWall(JSON.stringify({ size: 16, tiles: Array(99).fill('a') })).tiles).toHaveLength(TILES_MAX);
  });

  it('has no place for a home', () => {
    expect(mayHang(camera({ kind: 'home' }))).toBe(false);
    expect(mayHang(camera({ kind: 'facility' }))).toBe(true);
  });
});
