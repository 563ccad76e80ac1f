/** One request at a time: whether it is under way, and what went wrong with the last one. */
import { readonly, ref, shallowRef } from 'vue';
import type { Result } from '../api/client';
import type { Problem } from '../api/types';

export function useSending() {
  const busy = ref(false);
  const problem = shallowRef<Problem | null>(null);

  /** Sends, unless something is being sent already: then the second wish is not a second request, and `null`. */
  async function send<T>(request: () => Promise<Result<T>>): Promise<Result<T> | null> {
    if (busy.value) return null;
    busy.value = true;
    problem.value = null;
    const result = await request();
    busy.value = false;
    if (!result.ok) problem.value = result.problem;
    return result;
  }

  return { busy: readonly(busy), problem, send };
}
