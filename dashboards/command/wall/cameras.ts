/** Every camera the person may see, read when somebody first needs the list and followed from then on. */
import { computed, ref, shallowRef } from 'vue';
import { listed } from '../../shared/api/client';
import type { Problem } from '../../shared/api/types';
import type { Camera } from '../../shared/api/video';
import { camerasInOrder } from '../../shared/model/camera';
import { cameras, followNow, type Feed } from '../../shared/page/county';
import { api } from '../../shared/page/session';

const FEED: Feed<'camera'> = { kind: 'camera', beside: true, read: async () => listed(await api.cameras(), 'cameras') };

const wanted = ref(false);
const read = ref(false);
export const unread = shallowRef<Problem | null>(null);
export const camerasRead = computed(() => read.value);
export const allCameras = computed(() => camerasInOrder(cameras.value));

export async function followCameras(): Promise<void> {
  if (wanted.value) return;
  wanted.value = true;
  const result = await followNow(FEED);
  unread.value = result.ok ? null : result.problem;
  wanted.value = result.ok;
  read.value = result.ok;
}

export function findCamera(id: string): Camera | null {
  return cameras.value.find((camera) => camera.id === id) ?? null;
}
