/** A draft bound to a form: kept at every change, found again after a reload, gone when delivered. */
import { reactive, ref, watch, type Ref } from 'vue';
import { draftKey, drop, keep, recall } from '../model/draft';
import { hubNow } from './clock';
import { me } from './session';
import { storage } from './storage';

export interface Draft<T extends object> {
  value: T;
  /** True when something was typed that has not been sent. */
  unsent: Ref<boolean>;
  delivered: () => void;
}

export function useDraft<T extends object>(purpose: string, subject: string, empty: () => T): Draft<T> {
  const key = draftKey(me.value?.username ?? '', purpose, subject);
  const found = recall<T>(storage, key);
  const value = reactive({ ...empty(), ...found }) as T;
  const unsent = ref(found !== null);
  let finished = false;

  watch(value, () => {
    if (finished) return;
    const is_empty = JSON.stringify(value) === JSON.stringify(empty());
    if (is_empty) drop(storage, key);
    else keep(storage, key, value, hubNow.value);
    unsent.value = !is_empty;
  });

  return {
    value,
    unsent,
    delivered: () => {
      finished = true;
      drop(storage, key);
      unsent.value = false;
    },
  };
}
