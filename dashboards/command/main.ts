/** The command page: for operators of a county, a township or a village, as wide as their region. */
import { createApp } from 'vue';
import '../shared/base.css';
import { listed } from '../shared/api/client';
import { follow } from '../shared/page/county';
import { applyPreferences } from '../shared/page/preferences';
import { api } from '../shared/page/session';
import CommandPage from './CommandPage.vue';

/** The newest, and every emergency beside them: on a busy morning fifty daily matters would push one out of the list. */
async function readNotices() {
  const [newest, emergencies] = await Promise.all([api.notices(), api.notices(undefined, 'emergency')]);
  if (!newest.ok || !emergencies.ok) return listed(newest.ok ? emergencies : newest, 'notices');
  const sequence = Math.min(newest.value.sequence, emergencies.value.sequence);
  const by_id = new Map([...newest.value.notices, ...emergencies.value.notices].map((notice) => [notice.id, notice]));
  return { ok: true as const, value: { sequence, list: [...by_id.values()] } };
}

applyPreferences();
follow(
  { kind: 'alarm', read: async () => listed(await api.openAlarms(), 'alarms') },
  { kind: 'site', read: async () => listed(await api.sites(), 'sites') },
  { kind: 'fault', read: async () => listed(await api.faults(), 'faults') },
  { kind: 'notice', beside: true, read: readNotices },
);
createApp(CommandPage).mount('#page');
