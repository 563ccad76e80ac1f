import { describe, expect, it } from 'vitest';
import { aheadOf, CREDIT_BYTES, holds, nextStart, wishedBytes } from './span';

const stretches = [
  { start_s: 58, end_s: 70 },
  { start_s: 95, end_s: 120 },
];

describe('a recording', () => {
  it('knows how far it can go on', () => {
    expect([57.95, 60, 70, 80, 119].map((at_s) => Math.round(aheadOf(stretches, at_s)))).toEqual([12, 10, 0, 0, 1]);
  });

  it('goes on behind a gap, and only there', () => {
    expect([60, 69.95, 80, 120].map((at_s) => nextStart(stretches, at_s))).toEqual([null, 95, 95, null]);
    expect(nextStart([], 0)).toBeNull();
  });

  it('knows what is there', () => {
    expect([57, 58, 69.9, 70, 100].map((at_s) => holds(stretches, at_s))).toEqual([false, true, true, false, true]);
  });

  it('asks for more only while little lies ahead and little is owed', () => {
    expect(wishedBytes(0, 1, 0)).toBe(CREDIT_BYTES);
    expect(wishedBytes(21, 1, 0)).toBe(0);
    expect(wishedBytes(21, 4, 0)).toBe(CREDIT_BYTES);
    expect(wishedBytes(0, 1, CREDIT_BYTES)).toBe(0);
  });
});
