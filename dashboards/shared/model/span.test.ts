import { describe, expect, it } from 'vitest';
import { fromField, gapsOf, isSpan, joined, LOOK_MAX_MS, minutesOf, onBar, recordedFrom, ticks, toField } from './span';

const HOUR = 3_600_000;
const within = { from_ms: 0, to_ms: HOUR };
const span = (from_ms: number, to_ms: number) => ({ from_ms, to_ms });

describe('recorded spans', () => {
  it('are cut to what is looked at, and those that touch are one', () => {
    expect(joined([span(600_000, 1_200_000), span(-5, 300_000), span(301_000, 400_000), span(HOUR, 2 * HOUR)], within)).toEqual([
      span(0, 400_000),
      span(600_000, 1_200_000),
    ]);
    expect(joined([span(0, 10 * HOUR), span(5, 6)], within)).toEqual([within]);
  });

  it('leave gaps, also before the first and after the last', () => {
    const spans = joined([span(600_000, 1_200_000), span(1_800_000, 2_400_000)], within);
    expect(gapsOf(spans, within)).toEqual([span(0, 600_000), span(1_200_000, 1_800_000), span(2_400_000, HOUR)]);
    expect(gapsOf([], within)).toEqual([within]);
    expect(gapsOf([span(0, HOUR - 500)], within)).toEqual([]);
    expect(minutesOf(gapsOf(spans, within))).toBe(40);
    expect(minutesOf([])).toBe(0);
  });

  it('answer a wish with the next moment that was recorded', () => {
    const spans = [span(100, 200), span(400, 500)];
    expect([0, 150, 200, 450].map((wish) => recordedFrom(spans, wish))).toEqual([100, 150, 400, 450]);
    expect(recordedFrom(spans, 500)).toBeNull();
  });

  it('lie on a bar with a few round marks', () => {
    expect(onBar(HOUR / 4, within, 1_000)).toBe(250);
    expect(onBar(-5, within, 1_000)).toBe(0);
    for (const hours of [0.05, 1, 3, 24]) {
      const marks = ticks(span(0, hours * HOUR));
      expect(marks.length).toBeGreaterThan(1);
      expect(marks.length).toBeLessThan(10);
    }
  });

  it('are asked for by fields that may hold nothing', () => {
    const at = new Date(2026, 10, 23, 3, 12, 45).getTime();
    expect(toField(at)).toBe('2026-11-23T03:12:45');
    expect(fromField(toField(at))).toBe(at);
    expect(isSpan(span(fromField(''), 5), LOOK_MAX_MS)).toBe(false);
    expect(isSpan(span(5, 5), LOOK_MAX_MS)).toBe(false);
    expect(isSpan(span(0, LOOK_MAX_MS + 1), LOOK_MAX_MS)).toBe(false);
    expect(isSpan(span(0, LOOK_MAX_MS), LOOK_MAX_MS)).toBe(true);
  });
});
