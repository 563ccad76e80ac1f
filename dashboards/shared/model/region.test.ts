import { describe, expect, it } from 'vitest';
import { childOf, isWithin, pickerLevels, tallies, total } from './region';
import { alarm, fault, gateway, site } from './samples';

describe('region codes', () => {
  it('lie in what is their prefix', () => {
    expect(isWithin('411728102200', '411728')).toBe(true);
    expect(isWithin('411729102200', '411728')).toBe(false);
  });

  it.each([
    ['411728', '411728102200', '411728102'],
    ['411728102', '411728102200', '411728102200'],
    ['411728102200', '411728102200', '411728102200'],
    ['411728', '411728', '411728'],
  ])('below %s, %s belongs to %s', (scope, code, expected) => {
    expect(childOf(scope, code)).toBe(expected);
  });

  it('are picked level by level down to a village', () => {
    expect(pickerLevels('411728', '')).toEqual([{ parent: '411728', chosen: '' }]);
    expect(pickerLevels('411728', '411728102')).toEqual([
      { parent: '411728', chosen: '411728102' },
      { parent: '411728102', chosen: '' },
    ]);
    expect(pickerLevels('411728', '411728102200')).toEqual([
      { parent: '411728', chosen: '411728102' },
      { parent: '411728102', chosen: '411728102200' },
    ]);
    expect(pickerLevels('411728102200', '411728102200')).toEqual([]);
    expect(pickerLevels('411728', '411729102')).toEqual([{ parent: '411728', chosen: '' }]);
  });
});

describe('a county at a glance', () => {
  const names = new Map([
    ['411728101', 'first'],
    ['411728102', 'second'],
  ]);
  const lines = tallies('411728', names, {
    sites: [
      site({ id: 's1', gateway: gateway({ last_heard_ms: 5 }) }),
      site({ id: 's2', gateway: gateway({ online: false, last_heard_ms: 9 }) }),
      site({ id: 's3', region_code: '411728101001', gateway: null }),
    ],
    alarms: [alarm()],
    faults: [fault(), fault({ id: 'f2', region_code: '411728101001' })],
  });

  it('counts by the level below', () => {
    expect(lines).toEqual([
      { code: '411728101', name: 'first', sites: 1, online: 0, offline: 0, waiting: 1, alarms: 0, faults: 1, heard_ms: null },
      { code: '411728102', name: 'second', sites: 2, online: 1, offline: 1, waiting: 0, alarms: 1, faults: 1, heard_ms: 9 },
    ]);
  });

  it('adds up', () => {
    expect(total(lines)).toMatchObject({ sites: 3, online: 1, offline: 1, waiting: 1, alarms: 1, faults: 2, heard_ms: 9 });
  });
});
