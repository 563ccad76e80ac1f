import { beforeEach, describe, expect, it } from 'vitest';
import { apply, forget, merge, values, type Collection } from './collection';

interface Thing {
  id: string;
  text: string;
}
const thing = (id: string, text = ''): Thing => ({ id, text });

describe('a collection', () => {
  let known: Collection<Thing>;
  beforeEach(() => {
    known = new Map();
  });

  it('takes a newer change and refuses an older one', () => {
    apply(known, thing('a', 'new'), 5);
    expect(apply(known, thing('a', 'old'), 4)).toBe(false);
    expect(values(known)).toEqual([thing('a', 'new')]);
  });

  it('keeps what it heard since a list was read', () => {
    apply(known, thing('gone'), 3);
    apply(known, thing('changed', 'by event'), 11);
    apply(known, thing('new'), 12);
    merge(known, [thing('changed', 'by list')], 10);
    expect(values(known)).toEqual([thing('changed', 'by event'), thing('new')]);
  });

  it('lets the list win where nothing newer was heard', () => {
    apply(known, thing('a', 'old'), 9);
    merge(known, [thing('a', 'listed'), thing('b')], 10);
    expect(values(known)).toEqual([thing('a', 'listed'), thing('b')]);
  });

  it('forgets the oldest of what is finished, and nothing else', () => {
    for (let sequence = 1; sequence <= 5; sequence += 1) apply(known, thing(`f${sequence}`, 'finished'), sequence);
    apply(known, thing('open'), 0);
    forget(known, ({ text }) => text === 'finished', 2);
    expect(values(known).map(({ id }) => id).sort()).toEqual(['f4', 'f5', 'open']);
  });
});
