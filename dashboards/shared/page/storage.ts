/** This device's storage; where a browser forbids it, one that lasts as long as the page. */
import type { Store } from '../model/draft';

export const storage: Store = available() ?? inMemory();

function available(): Store | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

export function inMemory(): Store {
  const kept = new Map<string, string>();
  return {
    get length() {
      return kept.size;
    },
    key: (index) => [...kept.keys()][index] ?? null,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  };
}
