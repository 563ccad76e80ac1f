/** The field page: for the technician who puts a gateway into a village, on a phone. */
import { createApp } from 'vue';
import '../shared/base.css';
import { listed } from '../shared/api/client';
import { follow, type Feed } from '../shared/page/county';
import { applyPreferences } from '../shared/page/preferences';
import { api } from '../shared/page/session';
import FieldPage from './FieldPage.vue';
import { keepCounts } from './counts';

const sites: Feed<'site'> = { kind: 'site', read: async () => listed(await api.sites(), 'sites') };

applyPreferences();
follow(sites, { kind: 'fault', read: async () => listed(await api.faults(), 'faults') });
keepCounts(sites);
createApp(FieldPage).mount('#page');
