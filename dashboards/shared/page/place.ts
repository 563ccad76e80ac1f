/** Where in a page a person is, by its address, so that a reload comes back here; and what the page last had to say. */
import { readonly, ref, shallowRef, type DeepReadonly, type Ref, type ShallowRef } from 'vue';

/** How long a sentence like "delivered" stands before it goes. */
const SAID_FOR_MS = 6_000;

const sentence = ref('');
let timer: ReturnType<typeof setTimeout> | undefined;

export const said: Readonly<Ref<string>> = readonly(sentence);

export function say(text: string): void {
  sentence.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => (sentence.value = ''), SAID_FOR_MS);
}

/** The place that the address's last part names, kept in step with it. */
export function followHash<T>(parse: (hash: string) => T): Readonly<Ref<DeepReadonly<T>>> {
  const current: ShallowRef<T> = shallowRef(parse(location.hash));
  addEventListener('hashchange', () => {
    current.value = parse(location.hash);
    scrollTo(0, 0);
  });
  return readonly(current) as Readonly<Ref<DeepReadonly<T>>>;
}
