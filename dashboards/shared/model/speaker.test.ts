import { describe, expect, it } from 'vitest';
import { en } from '../messages/en';
import { zhCN } from '../messages/zh-CN';
import { speaker } from './samples';
import { countOnline, groupedKey, parseKey, speakerLook, speakersInOrder } from './speaker';

const KEY = '0123456789abcdef'.repeat(4);

describe('a loudspeaker', () => {
  it('is never called alive without a sign', () => {
    expect(speakerLook(speaker())).toBe('online');
    expect(speakerLook(speaker({ online: false }))).toBe('silent');
    expect(speakerLook(speaker({ online: null, last_heard_ms: null }))).toBe('unheard');
    expect(speakerLook(speaker({ online: null }))).toBe('unknown');
    expect(speakerLook(speaker({ state: 'failed' }))).toBe('failed');
    expect(speakerLook(speaker({ online: false, state: 'refused' }))).toBe('failed');
  });

  it('has words for every look in both languages', () => {
    for (const { speaker: words } of [zhCN, en]) {
      for (const look of ['online', 'silent', 'failed', 'unheard', 'unknown']) expect(words.look[look]).toBeTruthy();
    }
  });

  it('is counted when it would be heard', () => {
    expect(countOnline([speaker(), speaker({ online: false }), speaker({ online: null }), speaker({ state: 'failed' })])).toBe(1);
  });

  it('keeps its place', () => {
    const list = [speaker({ id: '2', name: '西头' }), speaker({ id: '1', name: '东头', online: false }), speaker({ id: '3', name: '学校', site_name: 'a' })];
    expect(speakersInOrder(list).map(({ id }) => id)).toEqual(['3', '1', '2']);
  });
});

describe('a key', () => {
  it('is taken as a label has it', () => {
    expect(parseKey(KEY)).toBe(KEY);
    expect(parseKey(` ${groupedKey(KEY).toUpperCase()}\n`)).toBe(KEY);
    expect(parseKey(KEY.replace(/(..)(?=.)/g, '$1:'))).toBe(KEY);
  });

  it.each(['', 'abc', `${KEY}0`, KEY.slice(1), KEY.replace('0', 'g'), `${KEY.slice(1)}é`])('%s is none', (typed) => {
    expect(parseKey(typed)).toBeNull();
  });
});
