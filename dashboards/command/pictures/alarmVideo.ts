/** The nearest cameras of the selected alarm and what was kept of it, for as long as it is selected. */
import { computed, onUnmounted, ref, shallowRef, watch, type Ref } from 'vue';
import type { Problem } from '../../shared/api/types';
import type { Camera, Evidence } from '../../shared/api/video';
import { byPress } from '../../shared/model/evidence';
import { evidence, followNow, unfollow, whenChanged, type Feed } from '../../shared/page/county';
import { api } from '../../shared/page/session';
import type { Alarm } from '../../shared/api/types';

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

  const forget = whenChanged('camera', (camera) => {
    if (cameras.value.some(({ id }) => id === camera.id))
      cameras.value = cameras.value.flatMap((known) => (known.id !== camera.id ? [known] : camera.deleted ? [] : [camera]));
  });
  onUnmounted(() => {
    forget();
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
