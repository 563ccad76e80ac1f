/** The nearest cameras of the selected alarm and what was kept of it, for as long as it is selected. */
import { computed, onUnmounted, ref, shallowRef, watch, type Ref } from 'vue';
import type { Problem } from '../../shared/api/types';
import type { Camera, Evidence } from '../../shared/api/video';
import { byPress } from '../../shared/model/evidence';
import { everySecond } from '../../shared/page/clock';
import { evidence, followNow, readAgain, unfollow, whenChanged, type Feed } from '../../shared/page/county';
import { api } from '../../shared/page/session';
import type { Alarm } from '../../shared/api/types';

/** What is awaited is asked about again after so long: the hub stops waiting by itself, and says nothing then. */
const ASK_AGAIN_S = 60;

export function useAlarmVideo(alarm: Readonly<Ref<Alarm>>) {
  const cameras = shallowRef<Camera[]>([]);
  const problem = shallowRef<Problem | null>(null);
  const read = ref(false);
  let feed: Feed<'evidence'> | null = null;

  watch(
    () => alarm.value.id,
    async (id) => {
      read.value = false;
      problem.value = null;
      cameras.value = [];
      const mine = feedOf(id);
      feed = mine;
      const result = await followNow(mine);
      if (feed !== mine) return;
      read.value = true;
      // A hub that keeps no pictures of this alarm has none to show; that is no error.
      problem.value = result.ok || result.problem.status === 404 ? null : result.problem;
    },
    { immediate: true },
  );

  function feedOf(id: string): Feed<'evidence'> {
    return {
      kind: 'evidence',
      beside: true,
      concerns: (one: Evidence) => one.alarm_id === id,
      read: async () => {
        const result = await api.alarmVideo(id);
        if (!result.ok) return result;
        if (alarm.value.id === id) cameras.value = result.value.cameras;
        return { ok: true, value: { sequence: result.value.sequence, list: result.value.evidence } };
      },
    };
  }

  /** Another press is awaited, too. */
  watch(
    () => alarm.value.presses,
    () => feed !== null && void readAgain(feed),
  );
  let waited_s = 0;
  const stop_asking = everySecond(() => {
    waited_s = presses.value.some(({ items }) => items.some(({ state }) => state === 'awaited')) ? waited_s + 1 : 0;
    if (waited_s < ASK_AGAIN_S || feed === null) return;
    waited_s = 0;
    void readAgain(feed);
  });

  const forget = whenChanged('camera', (camera) => {
    if (cameras.value.some(({ id }) => id === camera.id))
      cameras.value = cameras.value.flatMap((known) => (known.id !== camera.id ? [known] : camera.deleted ? [] : [camera]));
  });
  onUnmounted(() => {
    forget();
    stop_asking();
    if (feed !== null) unfollow(feed);
    feed = null;
  });

  const presses = computed(() =>
    byPress(
      evidence.value.filter(({ alarm_id }) => alarm_id === alarm.value.id),
      alarm.value.occurred_ms,
      cameras.value.map(({ id }) => id),
    ),
  );

  return { cameras, presses, problem, read };
}
