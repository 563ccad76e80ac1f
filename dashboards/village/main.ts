/** The village page: for the village head, who speaks to the village and answers its alarms, on a phone. */
import { createApp } from 'vue';
import '../shared/base.css';
import { listed } from '../shared/api/client';
import { follow } from '../shared/page/county';
import { applyPreferences } from '../shared/page/preferences';
import { api } from '../shared/page/session';
import VillagePage from './VillagePage.vue';

applyPreferences();
follow(
  { kind: 'speaker', read: async () => listed(await api.speakers(), 'speakers') },
  { kind: 'notice', read: async () => listed(await api.notices(), 'notices') },
  { kind: 'alarm', read: async () => listed(await api.openAlarms(), 'alarms') },
);
createApp(VillagePage).mount('#page');
