import { describe, expect, it } from 'vitest';
import type { Evidence } from '../api/video';
import { byPress, clipRange, clipToShow, pressToShow, signed } from './evidence';

const PRESS_MS = 1_000_000;
function item(given: Partial<Evidence>): Evidence {
  return {
    id: 'e1', site_id: 's1', region_code: '411728102200', media_type: null, alarm_id: 'a1', press_id: 'p1', camera_id: 'c1', camera_name: 'gate', kind: 'clip', state: 'awaited', reason: null,
    from_ms: PRESS_MS - 30_000, to_ms: PRESS_MS + 60_000, bytes: null, sha256: null, received_ms: null, ...given,
  };
}

describe('evidence', () => {
  it('stands by press, snapshots first, the nearest camera first', () => {
    const presses = byPress(
      [
        item({ id: '1', press_id: 'p2', from_ms: PRESS_MS + 70_000 }),
        item({ id: '2', camera_id: 'c2' }),
        item({ id: '3' }),
        item({ id: '4', kind: 'snapshot', from_ms: PRESS_MS + 300, camera_id: 'c2' }),
      ],
      PRESS_MS,
      ['c1', 'c2'],
    );
    expect(presses.map(({ press_id, at_ms, items }) => [press_id, at_ms, items.map(({ id }) => id)])).toEqual([
      ['p1', PRESS_MS, ['4', '3', '2']],
      ['p2', PRESS_MS + 100_000, ['1']],
    ]);
  });

  it('of a later press alone is not taken for the first', () => {
    const [press] = byPress([item({ from_ms: PRESS_MS + 600_000 })], PRESS_MS, []);
    expect(press?.at_ms).toBe(PRESS_MS + 630_000);
    expect(byPress([item({ from_ms: PRESS_MS - 33_000 })], PRESS_MS, [])[0]?.at_ms).toBe(PRESS_MS);
  });

  it('that was awaited gives way to what came, under whatever id', () => {
    const presses = byPress([item({ id: 'awaited 1' }), item({ id: '1', state: 'saved' }), item({ id: 'awaited 2', camera_id: 'c2' })], PRESS_MS, []);
    expect(presses[0]?.items.map(({ id }) => id).sort()).toEqual(['1', 'awaited 2']);
  });

  it('is shown of the first press that has any', () => {
    const presses = byPress([item({}), item({ id: 'e2', press_id: 'p2', from_ms: PRESS_MS + 5_000, state: 'ready' })], PRESS_MS, []);
    expect(pressToShow(presses)?.press_id).toBe('p2');
    expect(pressToShow(presses.slice(0, 1))?.press_id).toBe('p1');
    expect(pressToShow([])).toBeNull();
  });

  it('shows the clip that is there, whichever camera it is of', () => {
    const press = { press_id: 'p1', at_ms: PRESS_MS, items: [item({ id: '1', state: 'missing' }), item({ id: '2', state: 'ready', camera_id: 'c2' })] };
    expect(clipToShow(press)?.id).toBe('2');
    expect(clipToShow({ ...press, items: [item({ state: 'saved' })] })).toBeNull();
  });

  it('begins thirty seconds before the press, or where its keyframe lies', () => {
    expect(clipRange(item({}), PRESS_MS)).toEqual({ from_s: -30, to_s: 60 });
    expect(clipRange(item({ from_ms: PRESS_MS - 31_400 }), PRESS_MS)).toEqual({ from_s: -31.4, to_s: 60 });
    expect(clipRange(item({ to_ms: PRESS_MS - 40_000 }), PRESS_MS)).toEqual({ from_s: -30, to_s: -29 });
    expect([-12.44, -0.01, 0, 3].map(signed)).toEqual(['−12.4', '0.0', '0.0', '+3.0']);
  });
});
