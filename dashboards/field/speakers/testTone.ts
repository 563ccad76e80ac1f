/** Test tones that were sent from this page, and what each loudspeaker has said of its last one. */
import { onUnmounted, shallowReactive } from 'vue';
import type { Play } from '../../shared/api/voice';
import { whenChanged, whenRead } from '../../shared/page/county';
import { useSending } from '../../shared/page/sending';
import { api } from '../../shared/page/session';

export function useTestTone() {
  /** By loudspeaker, the notice that is its last tone. */
  const sent = new Map<string, string>();
  /** By loudspeaker, how far that one has come; absent before anything was sent. */
  const plays = shallowReactive(new Map<string, Pick<Play, 'state' | 'reason'>>());
  const { busy, problem, send } = useSending();

  const stops = [
    whenChanged('notice', ({ id }) => {
      for (const [speaker, notice] of sent) if (notice === id) void follow(speaker, id);
    }),
    // After a cut nobody has told what happened meanwhile.
    whenRead(() => {
      for (const [speaker, notice] of sent) void follow(speaker, notice);
    }),
  ];
  onUnmounted(() => stops.forEach((stop) => stop()));

  async function test(speaker: string): Promise<boolean> {
    const result = await send(() => api.testSpeaker(speaker));
    if (!result?.ok) return false;
    sent.set(speaker, result.value.id);
    plays.set(speaker, { state: 'waiting', reason: '' });
    await follow(speaker, result.value.id);
    return true;
  }

  async function follow(speaker: string, notice: string): Promise<void> {
    const result = await api.notice(notice);
    const play = result.ok ? result.value.speakers.find(({ speaker_id }) => speaker_id === speaker) : undefined;
    // What was asked for later is what is shown.
    if (play !== undefined && sent.get(speaker) === notice) plays.set(speaker, play);
  }

  return { busy, problem, plays, test };
}
