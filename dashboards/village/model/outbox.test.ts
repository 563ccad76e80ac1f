import { describe, expect, it } from 'vitest';
import { DRAFTS_MAX, found, lackOf, newDraft, noticeOf, sameTarget, surplus, triesOn, type Draft } from './outbox';

function draft(given: Partial<Draft> = {}): Draft {
  return { ...newDraft('n1', 'li', '411728102200', { kind: 'text', text: '开会' }, 1_000), ...given };
}

describe('a draft', () => {
  it('is found again as nobody records or sends it any more', () => {
    expect(found(draft({ stage: 'recording' })).stage).toBe('ready');
    expect(found(draft({ stage: 'sending', wanted_ms: 5 }))).toMatchObject({ stage: 'unsent', wanted_ms: 5 });
    expect(found(draft({ stage: 'unsent' })).stage).toBe('unsent');
    expect(found(draft()).stage).toBe('ready');
  });

  it('lacks what would be refused', () => {
    expect(lackOf(draft({ source: { kind: 'text', text: ' \n' } }), 6)).toBe('empty');
    expect(lackOf(draft({ source: { kind: 'text', text: '喂'.repeat(1_001) } }), 6)).toBe('too_long');
    expect(lackOf(draft(), 6)).toBe('unspoken');
    expect(lackOf(draft({ sound_sha256: 'ab' }), 0)).toBe('no_speakers');
    expect(lackOf(draft({ sound_sha256: 'ab', speaker_ids: [] }), null)).toBe('no_speakers');
    expect(lackOf(draft({ sound_sha256: 'ab' }), null)).toBeNull();
    expect(lackOf(draft({ source: { kind: 'voice', duration_ms: 3_000 } }), 6)).toBeNull();
  });

  it('becomes a notice under its own name', () => {
    expect(noticeOf(draft({ title: ' 打疫苗 ', times: 99 }), 'ab', false)).toEqual({
      client_id: 'n1', region_code: '411728102200', speaker_ids: null, sound_sha256: 'ab', times: 20, gap_ms: 5_000,
      level: 'notice', valid_for_s: 900, text: '开会', title: '打疫苗',
    });
    const voice = noticeOf(draft({ source: { kind: 'voice', duration_ms: 1 }, level: 'emergency', times: 0 }), 'ab', true);
    expect(voice).toMatchObject({ level: 'emergency', confirm_night: true, times: 1 });
    expect(voice).not.toHaveProperty('text');
  });

  it('is tried for a minute after the tap, then asked about', () => {
    expect(triesOn(draft({ wanted_ms: null }), 0)).toBe(false);
    expect(triesOn(draft({ wanted_ms: 1_000 }), 60_999)).toBe(true);
    expect(triesOn(draft({ wanted_ms: 1_000 }), 61_000)).toBe(false);
  });
});

it('the oldest go when there are too many, never what is being recorded or sent', () => {
  const many = Array.from({ length: DRAFTS_MAX + 2 }, (_, index) => draft({ id: `n${index}`, created_ms: index }));
  many[0] = draft({ id: 'n0', created_ms: 0, stage: 'sending' });
  expect(surplus(many).map(({ id }) => id)).toEqual(['n1', 'n2']);
  expect(surplus(many.slice(0, DRAFTS_MAX))).toEqual([]);
});

describe('another notice to the same loudspeakers', () => {
  const village = '411728102200';
  const known = ['k1', 'k2', 'k3'].map((id) => ({ id, region_code: village })).concat({ id: 'far', region_code: '411728103200' });
  const to = (ids: string[], speakers = ids.length) => ({
    region_code: village,
    reach: { villages: 1, sites: 1, speakers, online: speakers },
    speakers: ids.map((speaker_id) => ({ speaker_id, name: '', site_name: '', state: 'played', played_ms: 0, times: 1, reason: '', at_ms: null })),
  });

  it('goes to all of the region if the first did, else to those that are still there', () => {
    expect(sameTarget(to(['k1', 'k2', 'k3']), known)).toEqual({ region_code: village, speaker_ids: null });
    expect(sameTarget(to(['k3', 'k1', 'gone']), known)).toEqual({ region_code: village, speaker_ids: ['k1', 'k3'] });
    expect(sameTarget(to(['k1'], 700), known), 'only a part of them was named').toEqual({ region_code: village, speaker_ids: null });
  });
});
