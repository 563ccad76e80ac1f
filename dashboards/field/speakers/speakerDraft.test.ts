import { describe, expect, it } from 'vitest';
import { speaker } from '../../shared/model/samples';
import { changeOf, draftOf, newSpeakerOf, wrongIn, type SpeakerDraft } from './speakerDraft';

const KEY = 'ab'.repeat(32);
const draft = (given: Partial<SpeakerDraft> = {}): SpeakerDraft => ({ ...draftOf(null), name: '东头', device: 'horn-1', ...given });

describe('a loudspeaker that is typed', () => {
  it('may be right', () => {
    expect(wrongIn(draft(), '', true)).toEqual({});
    expect(wrongIn(draft(), KEY, true)).toEqual({});
    expect(wrongIn(draft({ kind: 'line_out', device: '' }), 'nonsense', true)).toEqual({});
    expect(wrongIn(draftOf(speaker()), '', false)).toEqual({});
  });

  it.each(['', '0', '101', '-5', '1e2', '50.5', 'loud', '0x10'])('is not as loud as %o', (volume) => {
    expect(wrongIn(draft({ volume }), '', true)).toEqual({ volume: true });
  });

  it.each(['', '-1', '10.1', '11', '2.55', '1e1', 'long'])('does not warm up for %o seconds', (warm_up) => {
    expect(wrongIn(draft({ kind: 'line_out', warm_up }), '', false)).toEqual({ warm_up: true });
    expect(wrongIn(draft({ warm_up }), '', true), 'only a line-out does').toEqual({});
  });

  it('is typed anew from what is known', () => {
    const known = draftOf(speaker({ kind: 'line_out', device: 'plughw:1', warm_up_ms: 1_500 }));
    expect([known.card, known.warm_up, known.device]).toEqual(['plughw:1', '1.5', '']);
    expect(draftOf(speaker({ kind: 'mqtt', device: 'horn-1' })).card).toBe('');
  });

  it('needs what its label says', () => {
    expect(wrongIn(draft({ name: ' ', device: ' ' }), 'ab', true)).toEqual({ name: true, device: true, key: true });
  });

  it('is sent as the hub takes it', () => {
    expect(newSpeakerOf(draft({ place: ' 路口 ' }), 's1', KEY.toUpperCase())).toEqual({
      site_id: 's1', kind: 'mqtt', name: '东头', place: '路口', volume_percent: 80, device: 'horn-1', key: KEY,
    });
    expect(newSpeakerOf(draft(), 's1', '')).not.toHaveProperty('key');
    expect(newSpeakerOf(draft({ kind: 'line_out' }), 's1', KEY)).toEqual({
      site_id: 's1', kind: 'line_out', name: '东头', place: '', volume_percent: 80, device: '', warm_up_ms: 0,
    });
    expect(changeOf(draft({ kind: 'line_out', card: ' plughw:1 ', warm_up: '2.5' }))).toMatchObject({ device: 'plughw:1', warm_up_ms: 2_500 });
    expect(changeOf(draft({ volume: '35' }))).toEqual({ name: '东头', place: '', volume_percent: 35 });
  });
});
