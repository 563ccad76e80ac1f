import { describe, expect, it } from 'vitest';
import type { NoticeState, Play } from '../api/voice';
import { en } from '../messages/en';
import { zhCN } from '../messages/zh-CN';
import {
  canStop, emergenciesInSight, isNight, isOver, isSounding, lengthOf, mayStillPlay, needsSecond, nightRule, noticesInOrder, noticeTitle, playName, playsInOrder,
  progressOf, reasonIn, soundingNow, stepOf, waitsForMe,
} from './notice';
import { me, notice } from './samples';

const played = (given: Partial<ReturnType<typeof notice>['played']>) => ({ played: 0, playing: 0, waiting: 0, failed: 0, refused: 0, stopped: 0, ...given });
const say = (state: NoticeState, counts = played({})) => zhCN.notice.progress(progressOf(notice({ state, played: counts })));
const play = (state: string, name = 'p'): Play => ({
  speaker_id: name, name, site_name: 's', state: state as Play['state'], played_ms: 0, times: 0, reason: '', at_ms: null,
});
/** China's clock. */
const at = (hour: number, minute = 0) => Date.UTC(2026, 10, 23, hour - 8, minute);

describe('how far a notice has come', () => {
  it('is said in words', () => {
    expect(say('waiting_for_second')).toContain('第二个人');
    expect(say('sent')).toContain('已送达');
    expect(say('playing', played({ playing: 3, waiting: 3 }))).toBe('正在播放 3/6');
    expect(say('playing', played({ played: 5, waiting: 1 }))).toBe('6 个中 5 个已播放，还等 1 个');
    expect(say('done', played({ played: 5, failed: 1 }))).toBe('6 个中 5 个已播放');
    expect(say('done', played({ played: 6 }))).toBe('6 个喇叭都已播放');
    expect(say('stopped', played({ played: 2 }))).toContain('2 个');
    expect(say('stopping', played({ played: 1, playing: 3, waiting: 2 }))).toBe('正在停，还有 5 个喇叭没有回报');
    expect(say('refused')).toContain('没有播');
  });

  it('has words for every state in both languages', () => {
    for (const { notice: words } of [zhCN, en]) {
      for (const state of ['waiting', 'fetching', 'playing', 'played', 'interrupted', 'failed', 'refused', 'expired', 'stopped']) {
        expect(words.play[state]).toBeTruthy();
      }
    }
    expect(playName('something new')).toBe('waiting');
  });

  it('knows what is over and what can be stopped', () => {
    const states = ['waiting_for_second', 'sent', 'playing', 'done', 'stopping', 'stopped', 'refused'] as NoticeState[];
    expect(states.filter((state) => isOver({ state }))).toEqual(['done', 'stopped', 'refused']);
    expect(states.filter((state) => canStop({ state }))).toEqual(['sent', 'playing']);
    expect(states.filter((state) => isSounding({ state })), 'an order to stop silences nobody who has not heard it').toEqual(['sent', 'playing', 'stopping']);
  });

  it('speaks of the newest that sounds', () => {
    const list = [notice({ id: 'a', state: 'playing', created_ms: 1 }), notice({ id: 'b', state: 'sent', created_ms: 2 }), notice({ id: 'c', state: 'done', created_ms: 3 })];
    expect(soundingNow(list)?.id).toBe('b');
    expect(soundingNow([])).toBeNull();
    const stopping = notice({ id: 'd', state: 'stopping', created_ms: 9 });
    expect(soundingNow([...list, stopping])?.id, 'what can be stopped comes first').toBe('b');
    expect(soundingNow([stopping])?.id).toBe('d');
    expect(noticesInOrder(list).map(({ id }) => id)).toEqual(['c', 'b', 'a']);
  });

  it('says why, in words', () => {
    const read = (reason: string) => reasonIn({ stale: '过时' }, '不详', (words) => `它说：${words}`, reason);
    expect(read('stale')).toBe('过时');
    expect(read('some_new_word')).toBe('不详');
    expect(read('声卡打不开')).toBe('它说：声卡打不开');
  });

  it('tells one that is waited for from one that waits for what is more urgent', () => {
    expect(stepOf(play('waiting'))).toBe('waiting');
    expect(stepOf({ ...play('waiting'), reason: 'more_urgent' })).toBe('behind');
    expect(stepOf({ ...play('interrupted'), reason: 'more_urgent' })).toBe('interrupted');
  });

  it('keeps emergencies in sight until half an hour after they were heard', () => {
    const minute = 60_000;
    const sent = { level: 'emergency' as const, sent_ms: 0, duration_ms: minute, times: 2, gap_ms: minute };
    const seen = (given: Partial<ReturnType<typeof notice>>, now_ms: number) => emergenciesInSight([notice({ ...sent, ...given })], now_ms).length > 0;
    expect(seen({ state: 'playing' }, 999 * minute)).toBe(true);
    expect(seen({ state: 'stopping', stopped_ms: minute }, 999 * minute)).toBe(true);
    expect(seen({ state: 'done' }, 33 * minute - 1)).toBe(true);
    expect(seen({ state: 'done' }, 33 * minute)).toBe(false);
    expect(seen({ state: 'stopped', stopped_ms: 10 * minute }, 40 * minute - 1)).toBe(true);
    expect(seen({ state: 'stopped', stopped_ms: 10 * minute }, 40 * minute)).toBe(false);
    expect(seen({ state: 'playing', level: 'notice' }, 0)).toBe(false);
    expect(seen({ state: 'waiting_for_second', sent_ms: null }, 0)).toBe(false);
  });

  it('shows first what did not play', () => {
    expect(playsInOrder([play('played', 'a'), play('waiting', 'b'), play('failed', 'c'), play('playing', 'd')]).map(({ name }) => name))
      .toEqual(['c', 'b', 'd', 'a']);
  });

  it('tells whether the sixth may still play', () => {
    const open = notice({ state: 'playing', valid_until_ms: 100 });
    expect(mayStillPlay(play('waiting'), open, 99)).toBe(true);
    expect(mayStillPlay(play('waiting'), open, 100)).toBe(false);
    expect(mayStillPlay(play('failed'), open, 0)).toBe(false);
    expect(mayStillPlay(play('waiting'), notice({ valid_until_ms: null }), 0)).toBe(false);
    expect(mayStillPlay(play('waiting'), notice({ state: 'stopped', valid_until_ms: 100 }), 0)).toBe(false);
  });
});

describe('the night', () => {
  it.each([[21, 59, false], [22, 0, true], [0, 0, true], [5, 59, true], [6, 0, false], [12, 0, false]])('%i:%i → %s', (hour, minute, night) => {
    expect(isNight(at(hour, minute))).toBe(night);
  });

  it('leaves emergencies, with a second word', () => {
    expect(nightRule('notice', false)).toBe('free');
    expect(nightRule('notice', true)).toBe('forbidden');
    expect(nightRule('emergency', true)).toBe('confirm');
    expect(nightRule('emergency', false)).toBe('free');
  });
});

describe('the second person', () => {
  it('is needed beyond one village', () => {
    expect(needsSecond('411728102200')).toBe(false);
    expect(needsSecond('411728102')).toBe(true);
  });

  it('is never the author, and has the region', () => {
    const waiting = notice({ state: 'waiting_for_second', region_code: '411728102', author_username: 'wang' });
    expect(waitsForMe(waiting, me({ username: 'li', region_code: '411728' }))).toBe(true);
    expect(waitsForMe(waiting, me({ username: 'wang', region_code: '411728' }))).toBe(false);
    expect(waitsForMe(waiting, me({ username: 'li', region_code: '411728102200' }))).toBe(false);
    expect(waitsForMe(notice({ state: 'sent' }), me())).toBe(false);
    expect(waitsForMe(waiting, null)).toBe(false);
  });
});

it('a notice is called by its title, or by how it begins', () => {
  expect(noticeTitle({ title: ' 打疫苗 ', text: 'x' })).toBe('打疫苗');
  expect(noticeTitle({ title: null, text: '各位\n村民' })).toBe('各位 村民');
  expect(noticeTitle({ title: '', text: '长'.repeat(50) })).toBe(`${'长'.repeat(39)}…`);
  expect(noticeTitle({ title: null, text: null })).toBe('');
});

it('a length is read as a clock', () => {
  expect([0, 1, 12_000, 65_000, 600_000].map(lengthOf)).toEqual(['0:00', '0:01', '0:12', '1:05', '10:00']);
});
