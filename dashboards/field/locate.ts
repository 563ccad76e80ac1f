/** Where the technician stands, as the phone knows it. */
import { readonly, ref } from 'vue';

const LOCATE_TIMEOUT_MS = 15_000;
/** Six decimals are a decimetre: finer than any phone knows. */
const POSITION_DECIMALS = 6;

export interface Position {
  latitude: number;
  longitude: number;
  accuracy_m: number;
}

export function useLocate(found: (position: Position) => void) {
  const locating = ref(false);
  const failed = ref(false);

  function locate(): void {
    if (locating.value) return;
    if (!('geolocation' in navigator)) {
      failed.value = true;
      return;
    }
    locating.value = true;
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        locating.value = false;
        failed.value = false;
        found({
          latitude: Number(coords.latitude.toFixed(POSITION_DECIMALS)),
          longitude: Number(coords.longitude.toFixed(POSITION_DECIMALS)),
          accuracy_m: Math.round(coords.accuracy),
        });
      },
      () => {
        locating.value = false;
        failed.value = true;
      },
      { enableHighAccuracy: true, timeout: LOCATE_TIMEOUT_MS },
    );
  }

  return { locating: readonly(locating), failed: readonly(failed), locate };
}
