import { describe, expect, it } from 'vitest';
import { closedInOrder, inOrder, isSounding, look, needsSomebody, nextAct, title, triggerAt } from './alarm';
import { alarm, me, TAKEN } from './samples';

describe('an alarm', () => {
  it.each([
    ['unacknowledged', alarm()],
    ['acknowledged', alarm(TAKEN)],
    ['again', alarm({ ...TAKEN, sounding: true })],
    ['closed', alarm({ state: 'closed', sounding: false })],
  ] as const)('looks %s', (expected, given) => {
    expect(look(given)).toBe(expected);
  });

  it('sounds while any open alarm sounds, and again when a taken one is pressed', () => {
    expect(isSounding([])).toBe(false);
    expect(isSounding([alarm(TAKEN)])).toBe(false);
    expect(isSounding([alarm(TAKEN), alarm()])).toBe(true);
    expect(isSounding([alarm({ ...TAKEN, sounding: true })])).toBe(true);
    expect(isSounding([alarm({ state: 'closed', sounding: true })])).toBe(false);
  });

  it('is called by the name people gave its button, else its place, else its site', () => {
    expect(title(alarm({ device_name: 'Wang', place: 'bed' }))).toBe('Wang');
    expect(title(alarm({ device_name: null, place: 'bed' }))).toBe('bed');
    expect(title(alarm({ device_name: null }))).toBe('site');
  });
});

describe('a line of the timeline', () => {
  const press = { press_id: 'p1', occurred_ms: 90, received_ms: 100, late: false, trigger: 'long' };
  it('tells what was done to the button, where a press wrote it', () => {
    const line = { at_ms: 100, what: 'raised' as const, actor: null, detail: null };
    expect(triggerAt(line, [press])).toBe('long');
    expect(triggerAt({ ...line, at_ms: 101 }, [press])).toBeNull();
    expect(triggerAt({ ...line, what: 'acknowledged' }, [press])).toBeNull();
  });
});

describe('the next act', () => {
  it.each([
    ['acknowledge', alarm(), me()],
    ['acknowledge_again', alarm({ ...TAKEN, sounding: true }), me()],
    ['close', alarm(TAKEN), me()],
    ['others', alarm({ ...TAKEN, acknowledged_by: 'zhang' }), me()],
    ['watch', alarm(), me({ rights: [] })],
    ['none', alarm({ state: 'closed' }), me()],
  ] as const)('is %s', (expected, given, person) => {
    expect(nextAct(given, person)).toBe(expected);
  });
});

describe('the order of the queue', () => {
  const ids = (list: { id: string }[]) => list.map(({ id }) => id);

  it('puts an SOS before what is unknown, however new', () => {
    const list = [alarm({ id: 'unknown', kind: 'unknown', raised_ms: 9 }), alarm({ id: 'sos', raised_ms: 1 })];
    expect(ids(inOrder(list))).toEqual(['sos', 'unknown']);
    expect(ids(inOrder([alarm({ id: 'unknown', kind: 'unknown' }), alarm({ id: 'sos', ...TAKEN })]))).toEqual(['unknown', 'sos']);
  });

  it('puts what needs somebody first, the newest on top', () => {
    const list = [
      alarm({ id: 'taken', ...TAKEN, raised_ms: 9 }),
      alarm({ id: 'old', raised_ms: 1 }),
      alarm({ id: 'again', ...TAKEN, sounding: true, raised_ms: 2 }),
      alarm({ id: 'new', raised_ms: 3 }),
    ];
    expect(ids(inOrder(list))).toEqual(['new', 'again', 'old', 'taken']);
    expect(list.filter(needsSomebody)).toHaveLength(3);
  });

  it('does not change with presses, nor with the order in which alarms are given', () => {
    const a = alarm({ id: 'a', raised_ms: 5 });
    const b = alarm({ id: 'b', raised_ms: 5 });
    expect(ids(inOrder([b, a]))).toEqual(['a', 'b']);
    expect(ids(inOrder([{ ...b, presses: 9, last_press_ms: 99 }, a]))).toEqual(['a', 'b']);
  });

  it('shows the last closed first', () => {
    expect(ids(closedInOrder([alarm({ id: 'a', closed_ms: 1 }), alarm({ id: 'b', closed_ms: 2 })]))).toEqual(['b', 'a']);
  });
});
