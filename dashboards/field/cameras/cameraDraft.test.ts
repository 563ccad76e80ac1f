import { describe, expect, it } from 'vitest';
import { camera } from '../../shared/model/samples';
import { changeOf, draftOf, wrongIn } from './cameraDraft';

const good = { ...draftOf(null), url: 'rtsp://192.168.8.20/1', name: 'gate' };

describe('a camera’s draft', () => {
  it('is good, or says which field is not', () => {
    expect(wrongIn(good)).toEqual({});
    expect(wrongIn({ ...good, url: 'http://a', sub_url: 'x', name: ' ', days: '0', gigabytes: 'many' })).toEqual({
      url: true, sub_url: true, name: true, days: true, gigabytes: true,
    });
    expect(wrongIn({ ...good, kind: 'home' })).toEqual({ household: true });
    expect(wrongIn({ ...good, kind: 'home', household: ['d1'], record: 'sub' })).toEqual({});
    expect(wrongIn({ ...good, record: 'sub' })).toEqual({ record: true });
    expect(wrongIn(good, 'secret')).toEqual({ username: true });
    expect(wrongIn({ ...good, sessions: '129' })).toEqual({ sessions: true });
  });

  it('sends credentials only when some were typed', () => {
    expect(changeOf(good, '', null)).not.toHaveProperty('password');
    expect(changeOf(good, '', null)).not.toHaveProperty('username');
    expect(changeOf({ ...good, username: ' admin ' }, 'secret', null)).toMatchObject({ username: 'admin', password: 'secret' });
  });

  it('leaves a direction alone that nobody turned, and a household behind that is none any more', () => {
    const known = camera({ direction_degrees: 100, bytes_max: 50 * 2 ** 30, household_device_ids: ['d1'], kind: 'home' });
    const draft = draftOf(known);
    expect(draft.direction).toBe('e');
    expect(changeOf(draft, '', known)).toMatchObject({ direction_degrees: 100, bytes_max: 50 * 2 ** 30, household_device_ids: ['d1'] });
    expect(changeOf({ ...draft, direction: 's', kind: 'public' }, '', known)).toMatchObject({ direction_degrees: 180, household_device_ids: [] });
    expect(changeOf({ ...draft, direction: '' }, '', known).direction_degrees).toBe(-1);
    expect(changeOf(good, '', null)).not.toHaveProperty('direction_degrees');
    expect(changeOf({ ...draft, sub_url: '' }, '', known).sub_url).toBe('');
    expect(changeOf({ ...draft, record: 'main' }, '', known).record).toBe('off');
  });

  it('takes sound where somebody chose it, and never at a home', () => {
    expect(changeOf(good, '', null).audio).toBe(false);
    expect(changeOf({ ...good, audio: true }, '', null).audio).toBe(true);
    expect(changeOf({ ...good, audio: true, kind: 'home', household: ['d1'] }, '', null).audio).toBe(false);
    expect(draftOf(camera({ audio: true })).audio).toBe(true);
  });
});
