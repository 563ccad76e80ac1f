/** Exports that this page has asked for: each is looked after until it is done, also while its window is shut. */
import { shallowReactive } from 'vue';
import type { Export } from '../../shared/api/video';
import { api } from '../../shared/page/session';

/** How often a running export is asked how far it is. */
const ASK_EVERY_MS = 1_000;

const by_camera = shallowReactive(new Map<string, Export>());

/** The last export of a camera that was asked for here. */
export function exportOf(camera_id: string): Export | null {
  return by_camera.get(camera_id) ?? null;
}

export function lookAfter(wanted: Export): void {
  by_camera.set(wanted.camera_id, wanted);
  if (wanted.state === 'running') setTimeout(() => void ask(wanted), ASK_EVERY_MS);
}

export function forgetExport(camera_id: string): void {
  by_camera.delete(camera_id);
}

async function ask(known: Export): Promise<void> {
  if (by_camera.get(known.camera_id)?.id !== known.id) return;
  const result = await api.export(known.id);
  // A hub that does not answer now is asked again: the export itself goes on without the page.
  if (result.ok || result.problem.status !== 404) lookAfter(result.ok ? result.value : known);
  else by_camera.set(known.camera_id, { ...known, state: 'failed', failure: result.problem.detail ?? null });
}

export async function cancelExport(known: Export): Promise<void> {
  const result = await api.cancelExport(known.id);
  if (result.ok) by_camera.set(known.camera_id, { ...known, state: 'cancelled' });
}
