import { beforeEach, describe, expect, it } from 'vitest';
import { inMemory } from '../page/storage';
import { draftKey, DRAFT_CHARACTERS_MAX, DRAFTS_MAX, drop, keep, recall, type Store } from './draft';

describe('drafts', () => {
  let store: Store;
  const key = draftKey('li', 'close', 'a1');
  beforeEach(() => {
    store = inMemory();
  });

  it('come back until they are dropped', () => {
    keep(store, key, { note: '已到现场' }, 1);
    expect(recall(store, key)).toEqual({ note: '已到现场' });
    drop(store, key);
    expect(recall(store, key)).toBeNull();
  });

  it('belong to one person and one thing', () => {
    keep(store, key, { note: 'mine' }, 1);
    expect(recall(store, draftKey('zhang', 'close', 'a1'))).toBeNull();
    expect(recall(store, draftKey('li', 'close', 'a2'))).toBeNull();
    expect(draftKey('a:close', 'b')).not.toBe(draftKey('a', 'close:b'));
  });

  it('give way, the oldest first, and touch nothing else', () => {
    store.setItem('tongluo.theme', 'dark');
    for (let index = 0; index <= DRAFTS_MAX; index += 1) keep(store, draftKey('li', 'close', `a${index}`), {}, index);
    expect(recall(store, draftKey('li', 'close', 'a0'))).toBeNull();
    expect(recall(store, draftKey('li', 'close', `a${DRAFTS_MAX}`))).toEqual({});
    expect(store.getItem('tongluo.theme')).toBe('dark');
    expect(store.length).toBe(DRAFTS_MAX + 1);
  });

  it('say so when they cannot be kept', () => {
    expect(keep(store, key, 'x'.repeat(DRAFT_CHARACTERS_MAX), 1)).toBe(false);
    const full: Store = {
      ...inMemory(),
      setItem: () => {
        throw new Error('full');
      },
    };
    expect(keep(full, key, {}, 1)).toBe(false);
  });

  it('that are damaged are none', () => {
    store.setItem(key, '{');
    expect(recall(store, key)).toBeNull();
  });
});
