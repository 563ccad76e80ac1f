/** What the middle column shows; each person's last choice is kept on this device. */
import { ref, watch } from 'vue';
import { me } from '../shared/page/session';
import { storage } from '../shared/page/storage';

export const MIDDLES = ['map', 'wall', 'playback', 'county'] as const;
export type Middle = (typeof MIDDLES)[number];

export function useMiddle() {
  const key = `tongluo.middle.${me.value?.username ?? ''}`;
  const shown = ref<Middle>(MIDDLES.find((which) => which === storage.getItem(key)) ?? 'map');
  watch(shown, (which) => {
    try {
      storage.setItem(key, which);
    } catch {
      // A device whose storage is full shows the map again after a reload.
    }
  });
  return shown;
}
