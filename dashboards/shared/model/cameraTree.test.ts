import { describe, expect, it } from 'vitest';
import { cameraTree, regionCodes, treeRows, treeStep } from './cameraTree';
import { camera } from './samples';

const NAMES = new Map([['411728', 'county'], ['411728101', 'Quyang'], ['411728102', 'Yushan'], ['411728102200', 'Yushan village']]);
const CAMERAS = [
  camera({ id: 'a', name: 'gate', region_code: '411728101100', site_name: 'Hexing', state: { name: 'refused', since_ms: 0, detail: '' } }),
  camera({ id: 'b', name: 'gate', region_code: '411728102200' }),
  camera({ id: 'c', name: 'hall', region_code: '411728102200001' }),
  camera({ id: 'd', name: 'road', region_code: '411728102' }),
];
const tree = (scope = '411728') => cameraTree(scope, (code) => NAMES.get(code), CAMERAS.filter(({ region_code }) => region_code.startsWith(scope)));
const ALL = () => true;
const shown = (open: (code: string) => boolean, scope?: string) =>
  treeRows(tree(scope), open).map(({ level, place, siblings, region, camera }) => `${'-'.repeat(level)} ${region?.name ?? camera?.name} ${place}/${siblings}`);

describe('the tree of cameras', () => {
  it('goes from the county over townships to villages and their cameras', () => {
    expect(shown(ALL)).toEqual([
      '- county 1/1',
      '-- Quyang 1/2',
      '--- Hexing 1/1',
      '---- gate 1/1',
      '-- Yushan 2/2',
      '--- Yushan village 1/2',
      '---- gate 1/2',
      '---- hall 2/2',
      '--- road 2/2',
    ]);
    expect(shown((code) => code === '411728')).toEqual(['- county 1/1', '-- Quyang 1/2', '-- Yushan 2/2']);
    expect(shown(ALL, '411728102200')).toEqual(['- Yushan village 1/1', '-- gate 1/2', '-- hall 2/2']);
    expect(shown(ALL, '999999')).toEqual(['- 999999 1/1']);
  });

  it('counts all that is in a region, and what of it is broken', () => {
    const root = tree();
    expect([root.count, root.broken]).toEqual([4, 1]);
    expect(root.regions.map(({ count, broken }) => [count, broken])).toEqual([[1, 1], [3, 0]]);
    expect(regionCodes(root)).toEqual(['411728', '411728101', '411728101100', '411728102', '411728102200']);
  });

  it('is walked by keys as trees are', () => {
    const rows = treeRows(tree(), ALL);
    expect(treeStep(rows, 0, 'ArrowUp')).toEqual({ to: 0 });
    expect(treeStep(rows, 0, 'ArrowDown')).toEqual({ to: 1 });
    expect(treeStep(rows, 0, 'End')).toEqual({ to: 8 });
    expect(treeStep(rows, 8, 'PageUp', 5)).toEqual({ to: 3 });
    expect(treeStep(rows, 8, 'PageDown', 5)).toEqual({ to: 8 });
    expect(treeStep(rows, 3, 'Home')).toEqual({ to: 0 });
    expect(treeStep(rows, 4, 'ArrowRight')).toEqual({ to: 5 });
    expect(treeStep(rows, 4, 'ArrowLeft')).toEqual({ shut: '411728102' });
    expect(treeStep(rows, 7, 'ArrowLeft'), 'out of a village').toEqual({ to: 5 });
    expect(treeStep(rows, 7, 'ArrowRight'), 'into nothing').toEqual({});
    expect(treeStep(rows, 7, ' ')).toEqual({ toggle: 'c' });
    expect(treeStep(rows, 7, 'Enter')).toEqual({ toggle: 'c' });
    expect(treeStep(rows, 4, 'Enter')).toEqual({ shut: '411728102' });
    expect(treeStep(rows, 2, 'y'), 'to the next that begins so').toEqual({ to: 4 });
    expect(treeStep(rows, 4, 'Y')).toEqual({ to: 5 });
    expect(treeStep(rows, 4, 'z')).toEqual({});
    for (const key of ['Tab', 'Escape', 'F5']) expect(treeStep(rows, 0, key), key).toBeNull();
    const shut = treeRows(tree(), (code) => code === '411728');
    expect(treeStep(shut, 1, 'ArrowRight')).toEqual({ open: ['411728101'] });
    expect(treeStep(shut, 2, '*'), 'and its sisters').toEqual({ open: ['411728101', '411728102'] });
    expect(treeStep(shut, 0, 'ArrowLeft')).toEqual({ shut: '411728' });
    expect(treeStep([], 0, 'ArrowDown')).toBeNull();
  });
});
