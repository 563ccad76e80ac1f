import { describe, expect, it } from 'vitest';
import type { LiveReport } from '../video/player';
import { pictureOf, STALE_AFTER_MS } from './picture';

const NOW = 100_000;
function report(given: Partial<LiveReport> = {}): LiveReport {
  return {
    phase: 'playing', delay_ms: 80, captured_ms: NOW - 80, codec: 'avc1.4d401e', width: 640, height: 360, state: 'ok', detail: null, reason: null, ...given,
  };
}
const look = (given: Partial<LiveReport> | null, listed: string | null = 'ok') =>
  pictureOf(given === null ? null : report(given), listed, NOW).look;

describe('a live picture', () => {
  it('is live while its camera says so, and tells its delay', () => {
    expect(pictureOf(report(), 'ok', NOW)).toMatchObject({ look: 'live', delay_s: '0.1', age_s: 0 });
  });

  it('is stale as soon as it is old, even if something moves', () => {
    expect(look({ captured_ms: NOW - STALE_AFTER_MS })).toBe('live');
    expect(look({ captured_ms: NOW - STALE_AFTER_MS - 1 })).toBe('stale');
    expect(look({ phase: 'waiting' })).toBe('stale');
    expect(pictureOf(report({ captured_ms: NOW - 7_200 }), 'ok', NOW).age_s).toBe(7);
  });

  it('is not believed when the gateway says that it is frozen or black', () => {
    expect(look({ state: 'frozen' })).toBe('doubtful');
    expect(look({ state: 'black' })).toBe('doubtful');
    expect(look({ state: 'recording_gap' })).toBe('live');
  });

  it('that is gone was there, or never was and says why', () => {
    expect(look({ phase: 'ended' })).toBe('lost');
    expect(look({ phase: 'ended', captured_ms: null, state: 'unreachable' })).toBe('broken');
    expect(look({ phase: 'ended', captured_ms: null, reason: 'home_shut' })).toBe('broken');
    expect(look({ phase: 'ended', captured_ms: null })).toBe('connecting');
    expect(look({ phase: 'unplayable' })).toBe('unplayable');
  });

  it('says what is known before the stream has spoken', () => {
    expect(look(null)).toBe('connecting');
    expect(look(null, 'refused')).toBe('broken');
    expect(look(null, 'frozen')).toBe('connecting');
    expect(look({ phase: 'connecting', captured_ms: null, state: null }, 'refused')).toBe('broken');
    expect(look({ phase: 'connecting', captured_ms: null, reason: 'too_many' })).toBe('broken');
    expect(look({ phase: 'connecting', captured_ms: null })).toBe('connecting');
    expect(pictureOf(null, 'something-new', NOW).state).toBe('unknown');
  });
});
