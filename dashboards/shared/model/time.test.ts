import { describe, expect, it } from 'vitest';
import { ago, countdown, exact } from './time';

describe('how long ago', () => {
  it.each([
    [0, 'now', 0],
    [4_999, 'now', 0],
    [5_000, 'seconds', 5],
    [59_999, 'seconds', 59],
    [60_000, 'minutes', 1],
    [3_599_999, 'minutes', 59],
    [3_600_000, 'hours', 1],
    [86_400_000, 'days', 1],
  ])('%i ms is %s %i', (past, unit, count) => {
    expect(ago(1e12, 1e12 - past)).toEqual({ unit, count });
  });

  it('takes a time ahead of the clock as now', () => {
    expect(ago(1_000, 60_000)).toEqual({ unit: 'now', count: 0 });
  });
});

describe('the exact time', () => {
  const at = (year: number, month: number, day: number, hour: number) => new Date(year, month - 1, day, hour, 4, 5).getTime();
  const now = at(2026, 11, 23, 13);

  it('has no more than is needed', () => {
    expect(exact(now, at(2026, 11, 23, 3))).toBe('03:04:05');
    expect(exact(now, at(2026, 11, 22, 23))).toBe('11-22 23:04:05');
    expect(exact(now, at(2025, 11, 23, 13))).toBe('2025-11-23 13:04:05');
  });
});

describe('a countdown', () => {
  it('ends', () => {
    expect(countdown(0, 15 * 60_000)).toBe('15:00');
    expect(countdown(0, 61_500)).toBe('01:01');
    expect(countdown(5, 5)).toBeNull();
  });
});
