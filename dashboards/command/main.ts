/** The command page: for operators of a county, a township or a village, as wide as their region. */
import { createApp } from 'vue';
import '../shared/base.css';
import { listed } from '../shared/api/client';
import { follow } from '../shared/page/county';
import { applyPreferences } from '../shared/page/preferences';
import { api } from '../shared/page/session';
import CommandPage from './CommandPage.vue';

applyPreferences();
follow(
  { kind: 'alarm', read: async () => listed(await api.openAlarms(), 'alarms') },
  { kind: 'site', read: async () => listed(await api.sites(), 'sites') },
  { kind: 'fault', read: async () => listed(await api.faults(), 'faults') },
  { kind: 'notice', beside: true, read: async () => listed(await api.notices(), 'notices') },
);
createApp(CommandPage).mount('#page');
