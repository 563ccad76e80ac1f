/**
 * Holds the row under the pointer (or the selected one, when the list has the focus) at its place
 * on the screen while rows come and go above it. The arithmetic is in `model/queue`.
 */
import { onBeforeUpdate, onUpdated, ref, type Ref } from 'vue';
import { holdStill } from '../shared/model/queue';
import { everySecond, monotonic } from '../shared/page/clock';

/** A hand that has not moved for so long holds nothing any more. */
const IDLE_MS = 30_000;

export interface HoldElements {
  /** The element that scrolls. */
  scroller: Readonly<Ref<HTMLElement | null>>;
  /** Empty boxes above and below the rows, which give the room to scroll. */
  above: Readonly<Ref<HTMLElement | null>>;
  below: Readonly<Ref<HTMLElement | null>>;
}

export function useHold({ scroller, above, below }: HoldElements) {
  const pointed = ref<string | null>(null);
  let moved_at = 0;
  let space_above = 0;
  /** How far the list was scrolled to hold a row, and not by the person. */
  let scrolled_by = 0;
  let anchor: { key: string; offset: number } | null = null;

  const row = (key: string) => scroller.value?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`) ?? null;
  const offsetOf = (element: HTMLElement) => element.offsetTop - space_above;

  onBeforeUpdate(() => {
    const key = pointed.value ?? focusedKey() ?? firstVisibleKey();
    const element = key === null ? null : row(key);
    anchor = key === null || element === null ? null : { key, offset: offsetOf(element) };
  });

  onUpdated(() => {
    const list = scroller.value;
    const element = anchor === null ? null : row(anchor.key);
    if (list === null || anchor === null || element === null) return;
    const after = offsetOf(element);
    if (after === anchor.offset) return;
    const before_top = list.scrollTop;
    const hold = holdStill({ scroll_top: before_top, space_above }, anchor.offset, after);
    setSpaceAbove(hold.space_above);
    const content = below.value?.offsetTop ?? 0;
    setSpaceBelow(Math.max(0, hold.scroll_top + list.clientHeight - content));
    list.scrollTop = hold.scroll_top;
    scrolled_by += hold.scroll_top - before_top;
  });

  /** Gives back the room that holding took: the newest that needs somebody comes into view. */
  function release(): void {
    pointed.value = null;
    const list = scroller.value;
    if (list === null || (scrolled_by === 0 && space_above === 0 && spaceBelow() === 0)) return;
    list.scrollTop = Math.max(0, list.scrollTop - Math.max(0, scrolled_by));
    setSpaceAbove(0);
    setSpaceBelow(0);
    scrolled_by = 0;
  }

  function point(event: PointerEvent): void {
    const target = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-key]') : null;
    pointed.value = target?.dataset.key ?? null;
    moved_at = monotonic();
  }

  everySecond((now) => {
    if (pointed.value !== null && now - moved_at > IDLE_MS) release();
  });

  function focusedKey(): string | null {
    const list = scroller.value;
    if (list === null || !list.contains(document.activeElement)) return null;
    return list.querySelector<HTMLElement>('[aria-selected="true"]')?.dataset.key ?? null;
  }

  function firstVisibleKey(): string | null {
    const list = scroller.value;
    if (list === null || list.scrollTop === 0) return null;
    const rows = list.querySelectorAll<HTMLElement>('[data-key]');
    for (const candidate of rows) if (candidate.offsetTop >= list.scrollTop) return candidate.dataset.key ?? null;
    return null;
  }

  function setSpaceAbove(height: number): void {
    space_above = height;
    if (above.value !== null) above.value.style.height = `${height}px`;
  }

  function setSpaceBelow(height: number): void {
    if (below.value !== null) below.value.style.height = `${height}px`;
  }

  function spaceBelow(): number {
    return below.value?.offsetHeight ?? 0;
  }

  return { point, release };
}
