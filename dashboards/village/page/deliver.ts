/** Sends a draft as a person asked for it, and shows what became of it if the person still looks. */
import { messages as m } from '../../shared/page/preferences';
import { send } from './drafts';
import { go, place, say } from './place';

export async function deliver(id: string, confirm_night: boolean): Promise<void> {
  const result = await send(id, confirm_night);
  if (!result.ok) return;
  say(m.value.draft.delivered);
  // Whoever went on meanwhile stays where they are.
  if (place.value.at === 'draft' && place.value.id === id) go({ at: 'notice', id: result.value.id });
}
