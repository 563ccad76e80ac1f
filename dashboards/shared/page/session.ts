/**
 * Who is logged in, and the api client that speaks for them. When the hub no longer knows the
 * session, the page stays as it is and the log-in is laid over it: nothing that was typed is lost.
 */
import { computed, readonly, ref, shallowRef } from 'vue';
import { createApi, UNREACHABLE, type Result } from '../api/client';
import type { Me, Problem } from '../api/types';
import { language, useAccountLanguage } from './preferences';

export type SessionState = 'asking' | 'out' | 'in' | 'expired' | 'unreachable';

const state = ref<SessionState>('asking');
const person = shallowRef<Me | null>(null);
const when_in = new Set<() => void>();
const when_out = new Set<() => void>();

export const session = readonly(state);
export const me = computed(() => person.value);

export const api = createApi({ language: () => language.value, signed_out: expire });

/** Registers what starts with a session and what stops with it. */
export function withSession(start: () => void, stop: () => void): void {
  when_in.add(start);
  when_out.add(stop);
}

/** Asks the hub who is logged in; the first thing a page does. */
export async function resume(): Promise<void> {
  state.value = 'asking';
  const result = await api.me();
  if (result.ok) enter(result.value);
  else state.value = result.problem.code === UNREACHABLE || result.problem.status >= 500 ? 'unreachable' : 'out';
}

export async function logIn(username: string, password: string): Promise<Problem | null> {
  const result: Result<Me> = await api.logIn(username, password);
  if (!result.ok) return result.problem;
  enter(result.value);
  return null;
}

export async function logOut(): Promise<void> {
  await api.logOut();
  leave('out');
  person.value = null;
}

function enter(who: Me): void {
  person.value = who;
  useAccountLanguage(who.language);
  state.value = 'in';
  for (const start of when_in) start();
}

function expire(): void {
  if (state.value === 'in') leave('expired');
}

function leave(to: SessionState): void {
  state.value = to;
  for (const stop of when_out) stop();
}
