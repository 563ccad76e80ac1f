/** Where in the page the technician is, and what the page last had to say. */
import { readonly, ref, shallowRef } from 'vue';
import { formatRoute, parseRoute, type FieldRoute } from '../shared/model/route';

/** How long a sentence like "delivered" stands before it goes. */
const SAID_FOR_MS = 6_000;

const current = shallowRef<FieldRoute>(parseRoute(location.hash));
const sentence = ref('');
let timer: ReturnType<typeof setTimeout> | undefined;

export const route = readonly(current);
export const said = readonly(sentence);

addEventListener('hashchange', () => {
  current.value = parseRoute(location.hash);
  scrollTo(0, 0);
});

export function go(to: FieldRoute): void {
  location.hash = formatRoute(to);
}

export function say(text: string): void {
  sentence.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => (sentence.value = ''), SAID_FOR_MS);
}
