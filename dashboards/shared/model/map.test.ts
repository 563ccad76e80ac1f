import { describe, expect, it } from 'vitest';
import type { CountyMap } from '../api/types';
import { alarmMarks, atlasOf, extent, findPoints, gather, marksIn, nearest, unplacedAlarms, zoomApart, type Point } from './map';
import { alarm, TAKEN } from './samples';

function map(given: Partial<CountyMap> = {}): CountyMap {
  return {
    sequence: 1,
    outline: null,
    sites: [
      ['s1', 'office', '411728102200', 33.15, 114.02, 1, 0],
      ['s2', 'shop', '411728102200', null, null, null, 0],
      ['s3', 'clinic', '411728103200', 33.16, 114.03, 0, 1],
    ],
    devices: [['d1', 's1', 'button', 'by the door', 33.1501, 114.0201]],
    cameras: [['c1', 's1', 'public', 'gate', 33.1502, 114.0202, 90, 'ok']],
    truncated: false,
    ...given,
  };
}

/** A county full of points, the same every time: 115 × 115 grid points with a device at every fifth. */
function countyOf(count: number): Point[] {
  const side = Math.ceil(Math.sqrt(count));
  return Array.from({ length: count }, (_, at) => ({
    kind: at % 5 === 4 ? ('device' as const) : ('site' as const),
    id: `p${at}`,
    site_id: `p${at}`,
    name: `point ${at}`,
    region_code: '411728',
    latitude: 33.0 + (0.3 * Math.floor(at / side)) / side,
    longitude: 113.8 + (0.4 * (at % side)) / side,
    online: at % 7 !== 0,
    direction: null,
    state: null,
  }));
}

const EVERYTHING = { west: 113, south: 32, east: 115, north: 34 };

describe('the atlas', () => {
  it('places what has a place, and keeps the rest for the list', () => {
    const { points, unplaced } = atlasOf(map());
    expect(points.map(({ kind, id, online }) => [kind, id, online])).toEqual([
      ['site', 's1', true],
      ['site', 's3', false],
      ['device', 'd1', null],
      ['camera', 'c1', null],
    ]);
    expect(unplaced).toEqual([{ id: 's2', name: 'shop', region_code: '411728102200' }]);
    expect(points[3]).toMatchObject({ direction: 90, state: 'ok', region_code: '411728102200' });
  });
});

describe('gathering', () => {
  it('draws a few hundred marks at every zoom, whatever the county holds', () => {
    const points = countyOf(13_215 + 3_000);
    const gathered = gather(points);
    for (let zoom = 8; zoom <= 18; zoom += 1) {
      // What a screen of 1,000 × 1,000 pixels shows around the middle of the county.
      const half = (360 * 500) / (256 * 2 ** zoom);
      const bounds = { west: 114 - half, east: 114 + half, south: 33.15 - half * 0.84, north: 33.15 + half * 0.84 };
      expect(marksIn(gathered, bounds, zoom).length, `zoom ${zoom}`).toBeLessThan(700);
    }
  });

  it('loses nothing: what is not drawn alone is counted', () => {
    const gathered = gather(countyOf(5_000));
    for (const zoom of [8, 11, 14, 17, 19]) {
      const marks = marksIn(gathered, EVERYTHING, zoom);
      const sum = marks.reduce((count, mark) => count + (mark.what === 'cluster' ? mark.count : 1), 0);
      expect(sum, `zoom ${zoom}`).toBe(5_000);
      const offline = marks.reduce(
        (count, mark) => count + (mark.what === 'cluster' ? mark.offline : Number(mark.point.online === false)),
        0,
      );
      expect(offline, `zoom ${zoom}`).toBe(Math.ceil(5_000 / 7));
    }
  });

  it('falls apart where it says it does', () => {
    const gathered = gather(countyOf(100));
    const [mark] = marksIn(gathered, EVERYTHING, 8);
    if (mark?.what !== 'cluster') throw new Error('a hundred points in a county gather');
    expect(marksIn(gathered, EVERYTHING, zoomApart(gathered, mark.cluster)).length).toBeGreaterThan(1);
  });
});

describe('alarms', () => {
  const { points } = atlasOf(map());

  it('lie at their button, else at their site, else in the queue alone', () => {
    const alarms = [
      alarm({ id: 'a', device_id: 'd1', site_id: 's1' }),
      alarm({ id: 'b', device_id: 'd9', site_id: 's3', ...TAKEN }),
      alarm({ id: 'c', device_id: null, site_id: 's2' }),
      alarm({ id: 'd', device_id: 'd1', site_id: 's1', state: 'closed' }),
    ];
    const marks = alarmMarks(alarms, points);
    expect(marks).toEqual([
      { latitude: 33.16, longitude: 114.03, look: 'acknowledged', alarms: ['b'] },
      { latitude: 33.1501, longitude: 114.0201, look: 'unacknowledged', alarms: ['a'] },
    ]);
    expect(unplacedAlarms(alarms.slice(0, 3), marks)).toBe(1);
  });

  it('at one place look like the most pressing', () => {
    const alarms = [alarm({ id: 'a', ...TAKEN }), alarm({ id: 'b' }), alarm({ id: 'c', ...TAKEN, sounding: true })];
    expect(alarmMarks(alarms, points)).toMatchObject([{ look: 'unacknowledged', alarms: ['b', 'a', 'c'] }]);
  });
});

describe('finding', () => {
  it('takes the nearest within reach', () => {
    const places = [{ x: 0, y: 0 }, { x: 10, y: 0 }];
    expect(nearest(places, 7, 0, 22)).toBe(places[1]);
    expect(nearest(places, 50, 0, 22)).toBeNull();
  });

  it('lists what has an alarm first, then sites, cameras, devices', () => {
    const { points } = atlasOf(map());
    expect(findPoints(points, '', new Set(['s3'])).map(({ id }) => id)).toEqual(['s3', 's1', 'c1', 'd1']);
    expect(findPoints(points, 'THE door', new Set()).map(({ id }) => id)).toEqual(['d1']);
  });

  it('sees the whole outline, or every point, or nothing', () => {
    const { points } = atlasOf(map());
    const ring: [number, number][] = [[113, 32], [115, 32], [115, 34], [113, 32]];
    expect(extent({ type: 'MultiPolygon', coordinates: [[ring]] }, points)).toEqual(EVERYTHING);
    expect(extent(null, points)).toEqual({ west: 114.02, south: 33.15, east: 114.03, north: 33.16 });
    expect(extent(null, [])).toBeNull();
  });
});
