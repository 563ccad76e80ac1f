import { describe, expect, it } from 'vitest';
import { FLOOD_ALARMS, FLOOD_MS, holdStill, isFlood, rows, selectBySelf, step } from './queue';
import { alarm, TAKEN } from './samples';

const none = new Set<string>();
const keys = (list: { key: string }[]) => list.map(({ key }) => key);

describe('a flood', () => {
  const many = (count: number, raised_ms = 0) =>
    Array.from({ length: count }, (_, index) => alarm({ id: `u${index}`, kind: 'unknown', raised_ms }));

  it('begins above ten alarms in ten minutes', () => {
    expect(isFlood(many(FLOOD_ALARMS), 0)).toBe(false);
    expect(isFlood(many(FLOOD_ALARMS + 1), 0)).toBe(true);
    expect(isFlood(many(FLOOD_ALARMS + 1), FLOOD_MS)).toBe(false);
  });

  it('groups unknown alarms by site and source, and never an SOS', () => {
    const list = [
      ...many(3),
      alarm({ id: 'other', kind: 'unknown', source: 'zigbee:0x2' }),
      alarm({ id: 'sos1' }),
      alarm({ id: 'sos2' }),
    ];
    const shown = rows(list, true, none);
    expect(keys(shown).sort()).toEqual(['group:s1:zigbee:0x1', 'other', 'sos1', 'sos2']);
    expect(keys(rows(list, false, none))).toHaveLength(list.length);
  });

  it('shows a group\'s alarms below it when it is opened', () => {
    const shown = rows(many(2), true, new Set(['group:s1:zigbee:0x1']));
    expect(keys(shown)).toEqual(['group:s1:zigbee:0x1', 'u0', 'u1']);
  });
});

describe('stepping', () => {
  it('holds at both ends and starts at the near one', () => {
    expect(step(['a', 'b'], 'a', 1)).toBe('b');
    expect(step(['a', 'b'], 'b', 1)).toBe('b');
    expect(step(['a', 'b'], 'a', -1)).toBe('a');
    expect(step(['a', 'b'], null, 1)).toBe('a');
    expect(step(['a', 'b'], 'gone', -1)).toBe('b');
    expect(step([], 'a', 1)).toBeNull();
  });
});

describe('the page\'s own selection', () => {
  const list = rows([alarm({ id: 'taken', ...TAKEN, raised_ms: 9 }), alarm({ id: 'waiting' })], false, none);

  it('takes what needs somebody', () => expect(selectBySelf(list, null, false)).toBe('waiting'));
  it('leaves what a person reads', () => expect(selectBySelf(list, 'taken', false)).toBe('taken'));
  it('moves on from what is finished', () => expect(selectBySelf(list, 'closed', true)).toBe('waiting'));
  it('is nothing in an empty queue', () => expect(selectBySelf([], null, false)).toBeNull());
});

describe('holding a row still', () => {
  /** Where on the screen a row stands: its offset, moved by space and scrolling. */
  const place = (hold: { scroll_top: number; space_above: number }, offset: number) =>
    offset + hold.space_above - hold.scroll_top;

  it.each([
    ['a row comes above it', 0, 0, 136, 204],
    ['a row goes above it, at the top', 0, 0, 136, 68],
    ['a row goes above it, scrolled down', 200, 0, 400, 332],
    ['a row comes where space was', 0, 68, 68, 136],
  ])('works when %s', (_, scroll_top, space_above, before, after) => {
    const held = { scroll_top, space_above };
    const now = holdStill(held, before, after);
    expect(place(now, after)).toBe(place(held, before));
    expect(now.scroll_top).toBeGreaterThanOrEqual(0);
    expect(now.space_above).toBeGreaterThanOrEqual(0);
  });
});
