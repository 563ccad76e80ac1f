/** A list of one site, followed for as long as a view of it is open. */
import { onUnmounted, readonly, ref } from 'vue';
import { followNow, unfollow, type Feed } from '../shared/page/county';
import { useSending } from '../shared/page/sending';

type SiteKind = 'camera' | 'speaker';

/** `read`: whether the list has been read; until then what is not in it may still be there. */
export function useSiteFeed<K extends SiteKind>(kind: K, siteId: string, readList: Feed<K>['read']) {
  const { busy, problem, send } = useSending();
  const read = ref(false);
  const feed: Feed<K> = { kind, beside: true, read: readList, concerns: ({ site_id }: { site_id: string }) => site_id === siteId };
  void send(() => followNow(feed)).then((result) => (read.value = result?.ok ?? false));
  onUnmounted(() => unfollow(feed));
  return { busy, problem, read: readonly(read) };
}
