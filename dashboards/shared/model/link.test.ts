import { describe, expect, it } from 'vitest';
import { handle, isStale, REOPEN_AFTER_MS, STALE_AFTER_MS, stopped, type LinkInput, type LinkOutput } from './link';

/** Runs inputs at their times and keeps the last outputs. */
function run(...inputs: [at: number, input: LinkInput][]) {
  const link = stopped(0);
  let outputs: LinkOutput[] = [];
  for (const [at, input] of inputs) outputs = handle(link, at, input);
  return { link, outputs };
}

const start: [number, LinkInput] = [0, { what: 'start' }];
const read: [number, LinkInput] = [100, { what: 'read', sequence: 7 }];
const opened: [number, LinkInput] = [200, { what: 'opened' }];

describe('the link', () => {
  it('reads the lists, then opens the stream behind them', () => {
    expect(run(start).outputs).toEqual([{ do: 'read' }]);
    expect(run(start, read).outputs).toEqual([{ do: 'open', after: 7 }]);
    expect(run(start, read, opened).outputs).toEqual([]);
  });

  it('reads everything again when the stream comes back', () => {
    const back = run(start, read, opened, [300, { what: 'broken' }], [3_300, { what: 'opened' }]);
    expect(back.outputs).toEqual([{ do: 'read' }]);
    expect(back.link.phase).toBe('live');
  });

  it('does not open a second stream when lists are read beside a living one', () => {
    const again = run(start, read, opened, [300, { what: 'reset', sequence: 20 }], [400, { what: 'read', sequence: 20 }]);
    expect(again.outputs).toEqual([]);
    expect(again.link.sequence).toBe(20);
  });

  it('doubts all it knows at a reset, once', () => {
    const reset = run(start, read, opened, [300, { what: 'reset', sequence: 3 }]);
    expect(reset.outputs).toEqual([{ do: 'doubt' }, { do: 'read' }]);
    expect(handle(reset.link, 301, { what: 'reset', sequence: 3 })).toEqual([{ do: 'doubt' }]);
  });

  it('doubts all it knows when the log is shorter than before', () => {
    const { outputs } = run(
      start, read, opened, [300, { what: 'ended' }], [1_300, { what: 'tick' }], [1_400, { what: 'read', sequence: 2 }],
    );
    expect(outputs).toEqual([{ do: 'doubt' }, { do: 'open', after: 2 }]);
  });

  it('tries again, later each time, while the hub does not answer', () => {
    const link = stopped(0);
    handle(link, 0, { what: 'start' });
    const waits: number[] = [];
    let now = 0;
    for (let attempt = 0; attempt < 6; attempt += 1) {
      handle(link, now, { what: 'read_failed' });
      waits.push((link.retry_at ?? 0) - now);
      now = link.retry_at ?? 0;
      expect(handle(link, now - 1, { what: 'tick' })).toEqual([]);
      expect(handle(link, now, { what: 'tick' })).toEqual([{ do: 'read' }]);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  });

  it('reads again without a new stream when a list failed beside a living one', () => {
    const failed = run(start, read, opened, [300, { what: 'reset', sequence: 9 }], [400, { what: 'read_failed' }]);
    expect(failed.link.phase).toBe('live');
    expect(handle(failed.link, 1_400, { what: 'tick' })).toEqual([{ do: 'read' }]);
    expect(handle(failed.link, 1_500, { what: 'read', sequence: 9 })).toEqual([]);
  });

  it('gives up a stream that says nothing, and starts over', () => {
    const silent = run(start, read, opened, [200 + REOPEN_AFTER_MS + 1, { what: 'tick' }]);
    expect(silent.outputs).toEqual([{ do: 'close' }]);
    expect(silent.link.phase).toBe('waiting');
  });

  it('keeps a stream that speaks', () => {
    const spoken = run(start, read, opened, [15_000, { what: 'word', sequence: 8 }], [30_000, { what: 'tick' }]);
    expect(spoken.outputs).toEqual([]);
    expect(spoken.link.sequence).toBe(8);
  });

  it('does nothing once it is stopped', () => {
    const ended = run(start, read, opened, [300, { what: 'stop' }]);
    expect(ended.outputs).toEqual([{ do: 'close' }]);
    expect(handle(ended.link, 400, { what: 'word', sequence: 9 })).toEqual([]);
    expect(isStale(ended.link, 1e9)).toBe(false);
  });
});

describe('staleness', () => {
  it('begins after fifteen seconds without a word', () => {
    const { link } = run(start, read, opened);
    expect(isStale(link, 200 + STALE_AFTER_MS)).toBe(false);
    expect(isStale(link, 200 + STALE_AFTER_MS + 1)).toBe(true);
    handle(link, 200 + STALE_AFTER_MS + 1, { what: 'word', sequence: null });
    expect(isStale(link, 200 + STALE_AFTER_MS + 2)).toBe(false);
  });

  it('counts from the start when the hub never spoke', () => {
    expect(isStale(run(start).link, STALE_AFTER_MS + 1)).toBe(true);
  });

  it('is not cured by trying', () => {
    const { link } = run(start, read, opened, [300, { what: 'ended' }], [1_300, { what: 'tick' }], [1_301, { what: 'read_failed' }]);
    expect(isStale(link, 200 + STALE_AFTER_MS + 1)).toBe(true);
  });
});
