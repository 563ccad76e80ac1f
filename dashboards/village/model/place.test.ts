import { describe, expect, it } from 'vitest';
import { behind, encrypted, formatPlace, parsePlace, type Place } from './place';

const PLACES: Place[] = [
  { at: 'home' }, { at: 'draft', id: 'a/b #1' }, { at: 'drafts' }, { at: 'past' }, { at: 'waiting' }, { at: 'notice', id: 'n1' },
  { at: 'speakers' }, { at: 'alarms' }, { at: 'alarm', id: 'a1' },
];

describe('a place', () => {
  it.each(PLACES)('survives the address: %o', (place) => {
    expect(parsePlace(formatPlace(place))).toEqual(place);
  });

  it.each(['', '#', '#/nowhere', '#/notice', '#/notice/', '#/draft/%E0%A4%A'])('is home where %o names none', (hash) => {
    expect(parsePlace(hash)).toEqual({ at: 'home' });
  });

  it('has a way back', () => {
    expect(behind({ at: 'alarm', id: 'a1' })).toEqual({ at: 'alarms' });
    expect(behind({ at: 'notice', id: 'n1' })).toEqual({ at: 'past' });
    expect(behind({ at: 'draft', id: 'n1' })).toEqual({ at: 'home' });
  });

  it('has an address where a microphone may be had', () => {
    expect(encrypted('hub.example', 8443)).toBe('https://hub.example:8443/village');
    expect(encrypted('[2001:db8::1]', 443)).toBe('https://[2001:db8::1]/village');
  });
});
