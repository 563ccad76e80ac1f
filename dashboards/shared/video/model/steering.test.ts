import { describe, expect, it } from 'vitest';
import {
  arrived, cameUp, forgetArrivals, isAstray, LEAD_S_MAX, LEAD_S_MIN, noArrivals, ranDry, rateFor, startBehind, USUAL_PACE, wishedLead,
} from './steering';

const LEAD_S = 0.05;
const at = (beyond_s: number, rate = 1) => rateFor(LEAD_S + beyond_s, LEAD_S, rate);

describe('the rate', () => {
  it('is ordinary within the band', () => {
    expect([0.001, 0.007].map((beyond_s) => at(beyond_s))).toEqual([1, 1]);
  });

  it('slows down before it runs dry and hurries the more the further it is behind', () => {
    expect([-0.04, -0.01, 0.02, 0.05, 0.3, 0.6].map((beyond_s) => at(beyond_s))).toEqual([0.9, 0.97, 1.03, 1.1, 1.5, 2]);
  });

  it('stays changed until it is back, and not one step longer', () => {
    expect([0.003, 0.005].map((beyond_s) => at(beyond_s, 0.97))).toEqual([0.97, 1]);
    expect([0.006, 0.003].map((beyond_s) => at(beyond_s, 1.03))).toEqual([1.03, 1]);
    expect(at(0.006, 2)).toBe(1.03);
  });

  it('settles from anywhere without running dry', () => {
    for (const start of [0.01, 0.05, 0.3, 0.8, 2.3]) {
      let lead_s = start;
      let rate = 1;
      for (let frame = 0; frame < 25 * 60; frame += 1) {
        rate = rateFor(lead_s, LEAD_S, rate);
        lead_s += 0.04 - 0.04 * rate;
        expect(lead_s).toBeGreaterThan(0);
      }
      expect(Math.abs(lead_s - LEAD_S)).toBeLessThan(0.01);
    }
  });
});

describe('a jump', () => {
  it('is made only when it is seconds off, or beyond the end', () => {
    const there_s = startBehind(USUAL_PACE, LEAD_S);
    expect([-0.1, 0, there_s, there_s + 2.9, there_s + 3.1].map((behind_s) => isAstray(behind_s, USUAL_PACE, LEAD_S))).toEqual(
      [true, false, false, false, true],
    );
  });
});

/** Pictures that come so many milliseconds late each. */
function evenly(late_ms: (number: number) => number, frames = 100) {
  const arrivals = noArrivals();
  for (let number = 0; number < frames; number += 1) arrived(arrivals, number * 40 + late_ms(number), number * 40);
  return arrivals;
}

describe('the lead that is had', () => {
  it('is not known before a round of pictures has come up', () => {
    expect(cameUp(noArrivals(), 1_000, 900)).toBeNull();
    const arrivals = evenly(() => 0);
    expect([0, 1, 2, 3].map((number) => cameUp(arrivals, number * 40 + 60, number * 40))).toEqual([null, null, null, null]);
    expect(cameUp(arrivals, 160 + 60, 160)).toBeCloseTo(0.06);
  });

  it('is the least of a round, whatever the rhythm of the repaints', () => {
    const arrivals = evenly(() => 0);
    const up_ms = (number: number) => Math.ceil((number * 40 + 50) / 16.67) * 16.67;
    const leads = Array.from({ length: 40 }, (_, number) => cameUp(arrivals, up_ms(number), number * 40)).slice(4);
    for (const lead_s of leads) expect(lead_s).toBeCloseTo(0.05, 2);
  });

  it('counts from the quickest way: a picture that came late waits less, and that is no news', () => {
    const arrivals = evenly((number) => (number % 10 === 0 ? 20 : 0));
    for (let number = 0; number < 20; number += 1) {
      const lead_s = cameUp(arrivals, number * 40 + 60, number * 40);
      if (lead_s !== null) expect(lead_s).toBeCloseTo(0.06);
    }
  });
});

describe('the wished lead', () => {
  it('is the shortest for pictures that arrive evenly', () => {
    expect(wishedLead(noArrivals())).toBe(LEAD_S_MIN);
    expect(wishedLead(evenly(() => 7))).toBe(LEAD_S_MIN);
  });

  it('covers how unevenly they arrive, up to a bound', () => {
    expect(wishedLead(evenly((number) => (number % 2) * 90))).toBeCloseTo(0.13);
    expect(wishedLead(evenly((number) => (number % 2) * 5_000))).toBe(LEAD_S_MAX);
  });

  it('forgets a hitch after some seconds', () => {
    const arrivals = evenly((number) => (number === 50 ? 200 : 0), 60);
    expect(wishedLead(arrivals)).toBeCloseTo(0.24);
    for (let number = 60; number < 500; number += 1) arrived(arrivals, number * 40, number * 40);
    expect(wishedLead(arrivals)).toBe(LEAD_S_MIN);
  });

  it('is much longer for a while after the picture ran dry, and a little longer from then on', () => {
    const arrivals = evenly(() => 0);
    ranDry(arrivals);
    expect(wishedLead(arrivals)).toBeCloseTo(LEAD_S_MIN + 0.05);
    for (let number = 100; number < 1_000; number += 1) arrived(arrivals, number * 40, number * 40);
    expect(wishedLead(arrivals)).toBeCloseTo(LEAD_S_MIN + 0.01);
    for (let times = 0; times < 50; times += 1) ranDry(arrivals);
    for (let number = 1_000; number < 2_000; number += 1) arrived(arrivals, number * 40, number * 40);
    expect(wishedLead(arrivals)).toBeCloseTo(LEAD_S_MIN + 0.1);
  });

  it('begins anew when media time was moved', () => {
    const arrivals = evenly((number) => (number % 2) * 90);
    forgetArrivals(arrivals);
    expect(wishedLead(arrivals)).toBe(LEAD_S_MIN);
    expect(cameUp(arrivals, 100, 50)).toBeNull();
  });
});
