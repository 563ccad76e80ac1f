import { describe, expect, it } from 'vitest';
import {
  arrived, forgetArrivals, LEAD_S_MAX, LEAD_S_MIN, noArrivals, ranDry, startBehind, steer, USUAL_PACE, wishedLead,
} from './steering';

const LEAD_S = 0.03;
const at = (beyond_s: number, rate = 1) => steer(USUAL_PACE.claim_s + LEAD_S + beyond_s, rate, USUAL_PACE, LEAD_S);

describe('steering', () => {
  it('goes on as it is within the band', () => {
    expect(at(0.02)).toEqual({ rate: 1, jump_to_s: null });
  });

  it('slows down before it runs dry and hurries the more the further it is behind', () => {
    expect([-0.01, 0.05, 0.3, 0.6].map((beyond_s) => at(beyond_s).rate)).toEqual([0.9, 1.1, 1.5, 2]);
  });

  it('keeps a changed rate until it is back, and not one step longer', () => {
    expect(at(0.005, 0.9).rate).toBe(0.9);
    expect(at(0.015, 0.9).rate).toBe(1);
    expect(at(0.02, 1.1).rate).toBe(1.1);
    expect(at(0.005, 1.1).rate).toBe(1);
  });

  it('jumps only when it is seconds off, or beyond the end', () => {
    expect(at(2.9).jump_to_s).toBeNull();
    expect(at(3.1)).toEqual({ rate: 1, jump_to_s: startBehind(USUAL_PACE, LEAD_S) });
    expect(at(-1).jump_to_s).toBe(startBehind(USUAL_PACE, LEAD_S));
  });

  it('settles from anywhere without running dry', () => {
    for (const start of [0.21, 0.25, 0.5, 1, 2.5]) {
      let behind_s = start;
      let rate = 1;
      for (let frame = 0; frame < 25 * 60; frame += 1) {
        rate = steer(behind_s, rate, USUAL_PACE, LEAD_S).rate;
        behind_s += 0.04 - 0.04 * rate;
        expect(behind_s).toBeGreaterThan(0.2);
      }
      expect(Math.abs(behind_s - USUAL_PACE.claim_s - LEAD_S)).toBeLessThan(0.05);
    }
  });
});

describe('the wished lead', () => {
  const evenly = (late_ms: (number: number) => number, from_ms = 0, frames = 100) => {
    const arrivals = noArrivals();
    for (let number = 0; number < frames; number += 1) {
      const media_ms = from_ms + number * 40;
      arrived(arrivals, media_ms + late_ms(number), media_ms);
    }
    return arrivals;
  };

  it('is the shortest for pictures that arrive evenly', () => {
    expect(wishedLead(noArrivals())).toBe(LEAD_S_MIN);
    expect(wishedLead(evenly(() => 7))).toBe(LEAD_S_MIN);
  });

  it('covers how unevenly they arrive, up to a bound', () => {
    expect(wishedLead(evenly((number) => (number % 2) * 90))).toBeCloseTo(0.1);
    expect(wishedLead(evenly((number) => (number % 2) * 5_000))).toBe(LEAD_S_MAX);
  });

  it('forgets a hitch after some seconds', () => {
    const arrivals = evenly((number) => (number === 50 ? 200 : 0), 0, 60);
    expect(wishedLead(arrivals)).toBeCloseTo(0.21);
    for (let number = 60; number < 500; number += 1) arrived(arrivals, number * 40, number * 40);
    expect(wishedLead(arrivals)).toBe(LEAD_S_MIN);
  });

  it('is longer for a while after the picture ran dry', () => {
    const arrivals = evenly(() => 0);
    ranDry(arrivals);
    expect(wishedLead(arrivals)).toBeCloseTo(LEAD_S_MIN + 0.04);
    for (let number = 100; number < 1_000; number += 1) arrived(arrivals, number * 40, number * 40);
    expect(wishedLead(arrivals)).toBe(LEAD_S_MIN);
  });

  it('begins anew when media time was moved', () => {
    const arrivals = evenly((number) => (number % 2) * 90);
    forgetArrivals(arrivals);
    expect(wishedLead(arrivals)).toBe(LEAD_S_MIN);
  });
});
