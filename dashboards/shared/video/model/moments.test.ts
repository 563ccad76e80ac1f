import { describe, expect, it } from 'vitest';
import { momentAt, remember, type Moment } from './moments';

const said = (stream_ms: number, captured_ms: number): Moment => ({ stream_ms, captured_ms, hub_ms: captured_ms + 20 });

describe('moments', () => {
  it('are not known before the hub said one', () => {
    expect(momentAt([], 5)).toBeNull();
  });

  it('run on from what was said last before them', () => {
    const moments = remember(remember([], said(1_000, 50_000)), said(2_000, 90_000));
    expect(momentAt(moments, 1_400)?.captured_ms).toBe(50_400);
    expect(momentAt(moments, 2_040)).toEqual(said(2_040, 90_040));
    expect(momentAt(moments, 900)?.captured_ms).toBe(49_900);
  });

  it('are bounded', () => {
    let moments: Moment[] = [];
    for (let number = 0; number < 100; number += 1) moments = remember(moments, said(number, number));
    expect(moments.length).toBe(8);
  });
});
