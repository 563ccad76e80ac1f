import { describe, expect, it } from 'vitest';
import type { OrderKey } from '../api/types';
import { byRegion, searchKeys } from './orderKey';

function key(issuer: string, given: Partial<OrderKey> = {}): OrderKey {
  return {
    issuer, region_code: issuer.slice(0, -2), region_name: `village ${issuer.slice(-5, -2)}`, not_before_ms: 1_000, not_after_ms: 9_000,
    last_used_ms: null, gateways: 1, ...given,
  };
}

describe('order keys', () => {
  it('are one line for each region, whose present key is the one with the most time', () => {
    const former = key('411728102201-a', { not_after_ms: 5_000, last_used_ms: 4_000, gateways: 3 });
    const present = key('411728102201-b', { not_before_ms: 4_500, gateways: 2 });
    const [first, second, ...others] = byRegion([key('411728103-a'), former, present]);
    expect(others).toEqual([]);
    expect(first).toEqual({
      region_code: '411728102201', region_name: 'village 201', present, last_used_ms: 4_000, gateways: 3, former_until_ms: 5_000,
    });
    expect([second?.region_code, second?.last_used_ms, second?.former_until_ms]).toEqual(['411728103', null, null]);
    expect(byRegion([])).toEqual([]);
  });

  it('are found by the name of their region or the beginning of its code', () => {
    const keys = byRegion([key('411728102201-a'), key('411728103202-a')]);
    const found = (typed: string) => searchKeys(keys, typed).map(({ region_code }) => region_code);
    expect(found(' ')).toEqual(['411728102201', '411728103202']);
    expect(found('village 202')).toEqual(['411728103202']);
    expect(found('411728102')).toEqual(['411728102201']);
    expect(found('102201')).toEqual([]);
  });
});
