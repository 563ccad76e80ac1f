import { describe, expect, it } from 'vitest';
import { commandOf } from './keys';
import { formatRoute, parseRoute, type FieldRoute } from './route';
import { can } from './rights';
import { me } from './samples';

const typed = (key: string, given = {}) => ({ key, ctrl: false, alt: false, meta: false, into_field: false, own_arrows: false, ...given });

describe('keys', () => {
  it.each([['j', 'next'], ['ArrowUp', 'previous'], ['A', 'acknowledge'], ['c', 'close'], ['?', 'keys'], ['2', 'closed_list'], ['M', 'map'], ['w', 'wall'], ['/', 'find']])(
    '%s means %s',
    (key, command) => expect(commandOf(typed(key))).toBe(command),
  );

  it('leave text, chords and unknown keys alone', () => {
    expect(commandOf(typed('a', { into_field: true }))).toBeNull();
    expect(commandOf(typed('c', { ctrl: true }))).toBeNull();
    expect(commandOf(typed('c', { meta: true }))).toBeNull();
    expect(commandOf(typed('z'))).toBeNull();
  });

  it('leave the arrows to what moves by them', () => {
    expect(commandOf(typed('ArrowDown', { own_arrows: true }))).toBeNull();
    expect(commandOf(typed('j', { own_arrows: true }))).toBe('next');
  });
});

describe('the address', () => {
  it.each<FieldRoute>([{ at: 'sites' }, { at: 'new_site' }, { at: 'site', id: 'a/b 村' }, { at: 'claim', id: 's1' }, { at: 'camera', id: 's1', camera: 'new' }, { at: 'speaker', id: 's1', speaker: 'k 1' }])(
    'comes back as %o',
    (route) => expect(parseRoute(formatRoute(route))).toEqual(route),
  );

  it('that means nothing leads to the sites', () => {
    expect(parseRoute('#/nowhere/at/all')).toEqual({ at: 'sites' });
    expect(parseRoute('#/sites/%E0%A4%A')).toEqual({ at: 'sites' });
  });
});

describe('rights', () => {
  it('are the hub\'s to give', () => {
    expect(can(me(), 'alarm.handle')).toBe(true);
    expect(can(me(), 'site.manage')).toBe(false);
    expect(can(null, 'alarm.handle')).toBe(false);
  });
});
