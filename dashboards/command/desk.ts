/**
 * The operator's desk: which list is looked at, which alarm is selected, and what the operator
 * does with it.
 */
import { computed, reactive, ref, shallowRef, watch } from 'vue';
import type { Result } from '../shared/api/client';
import type { Alarm, CloseReason } from '../shared/api/types';
import { closedInOrder, isOpen, nextAct } from '../shared/model/alarm';
import { isFlood, rows, selectBySelf, step } from '../shared/model/queue';
import { hubNow } from '../shared/page/clock';
import { alarms, learn, openAlarms } from '../shared/page/county';
import { useSending } from '../shared/page/sending';
import { api, me } from '../shared/page/session';

export type List = 'open' | 'closed';
export type Desk = ReturnType<typeof useDesk>;

export function useDesk() {
  const list = ref<List>('open');
  const selected = ref<string | null>(null);
  const expanded = reactive(new Set<string>());
  const { busy: sending, problem, send } = useSending();
  const closed = useClosed();

  const flood = computed(() => isFlood(openAlarms.value, hubNow.value));
  const open_rows = computed(() => rows(openAlarms.value, flood.value, expanded));
  const shown_rows = computed(() =>
    list.value === 'open'
      ? open_rows.value
      : closed.alarms.value.map((alarm) => ({ kind: 'alarm' as const, key: alarm.id, alarm, group: null })),
  );
  const selected_row = computed(() => shown_rows.value.find((row) => row.key === selected.value) ?? null);
  const selected_alarm = computed<Alarm | null>(() => {
    const row = selected_row.value;
    if (row?.kind === 'group') return row.alarms[0] ?? null;
    return row?.alarm ?? alarms.value.find((alarm) => alarm.id === selected.value) ?? null;
  });

  watch(
    open_rows,
    (now) => {
      if (list.value !== 'open') return;
      const alarm = selected_alarm.value;
      const finished = alarm === null || !isOpen(alarm);
      // An empty queue leaves what was just closed in view.
      if (now.length > 0) selected.value = selectBySelf(now, selected.value, finished);
    },
    { immediate: true },
  );
  watch(selected, () => (problem.value = null));

  function show(which: List): void {
    if (list.value === which) return;
    list.value = which;
    selected.value = which === 'open' ? selectBySelf(open_rows.value, null, true) : null;
    if (which === 'closed') void closed.read();
  }

  /** Selects an open alarm wherever it stands, also inside a group. */
  function find(id: string): void {
    show('open');
    const alarm = openAlarms.value.find((candidate) => candidate.id === id);
    if (alarm === undefined) return;
    const group = open_rows.value.find((row) => row.kind === 'group' && row.alarms.some((member) => member.id === id));
    if (group !== undefined) expanded.add(group.key);
    selected.value = id;
  }

  function move(by: number): void {
    const keys = shown_rows.value.map((row) => row.key);
    selected.value = step(keys, selected.value, by);
  }

  function toggle(key: string): void {
    if (!expanded.delete(key)) expanded.add(key);
  }

  async function acknowledge(alarm: Alarm): Promise<void> {
    const next = nextAct(alarm, me.value);
    if (next === 'acknowledge' || next === 'acknowledge_again') await act(() => api.acknowledge(alarm.id));
  }

  /** True when the alarm is closed and its draft may go. */
  async function close(alarm: Alarm, reason: CloseReason, note: string): Promise<boolean> {
    const done = await act(() => api.close(alarm.id, reason, note.trim() || undefined));
    if (done && selected.value === alarm.id && open_rows.value.length > 0) {
      selected.value = selectBySelf(open_rows.value, null, true);
    }
    return done;
  }

  async function act(request: () => Promise<Result<Alarm>>): Promise<boolean> {
    const result = await send(request);
    if (result?.ok) learn('alarm', result.value);
    return result?.ok ?? false;
  }

  return {
    list,
    selected,
    expanded,
    sending,
    problem,
    flood,
    closed,
    open_rows,
    shown_rows,
    selected_row,
    selected_alarm,
    show,
    find,
    move,
    toggle,
    acknowledge,
    close,
  };
}

/** Closed alarms, read page by page when somebody looks, with those that were closed since. */
function useClosed() {
  const read_alarms = shallowRef<Alarm[]>([]);
  const next = ref<string | null>(null);
  const { busy, problem, send } = useSending();

  const merged = computed(() => {
    const by_id = new Map(read_alarms.value.map((alarm) => [alarm.id, alarm]));
    for (const alarm of alarms.value) if (!isOpen(alarm)) by_id.set(alarm.id, alarm);
    return closedInOrder([...by_id.values()]);
  });

  async function read(after?: string): Promise<void> {
    const result = await send(() => api.closedAlarms(after));
    if (!result?.ok) return;
    read_alarms.value = after === undefined ? result.value.alarms : [...read_alarms.value, ...result.value.alarms];
    next.value = result.value.next;
  }

  return { alarms: merged, next, busy, problem, read };
}
