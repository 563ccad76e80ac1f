/**
 * What the hub's HTTP API says, under the names the pages use. The types are made from the hub's own
 * document (`npm run types`), so a field that the hub renames does not compile here.
 */
import type { components } from './schema';

export type Schemas = components['schemas'];

/** The hub answers with every field, `null` where it knows nothing; the document calls such fields optional. */
type Whole<T> = T extends readonly (infer Item)[]
  ? Whole<Item>[]
  : T extends object
    ? { [Key in keyof T]-?: Whole<Exclude<T[Key], undefined>> }
    : T;
export type Answer<Name extends keyof Schemas> = Whole<Schemas[Name]>;

export type Language = Schemas['Language'];
export type Role = Schemas['Role'];
/** What a person may do; the hub gives them as text, and may know more than the pages. */
export type Right = 'alarm.handle' | 'site.manage' | 'user.manage' | 'audit.read' | 'region.manage' | 'broadcast.send' | 'recording.export';
export type Me = Answer<'Me'>;

export type Region = Answer<'Region'>;
export type Regions = Answer<'RegionPage'>;

export type Gateway = Answer<'GatewayView'>;
export type Site = Answer<'SiteView'>;
export type Sites = Answer<'SitePage'>;
export type NewSite = Schemas['SiteCreate'];
export type SiteChange = Schemas['SitePatch'];
export type Claim = Answer<'ClaimView'>;

export type Device = Answer<'DeviceView'>;
export type Devices = Answer<'DevicePage'>;
export type DeviceChange = Schemas['DevicePatch'];

export type AlarmState = Schemas['AlarmState'];
export type CloseReason = Schemas['CloseReason'];
export type Alarm = Answer<'AlarmView'>;
export type AlarmDetail = Answer<'AlarmDetail'>;
export type Alarms = Answer<'AlarmList'>;
export type Press = Answer<'PressView'>;
export type TimelineEntry = Answer<'TimelineLine'>;

export type Fault = Answer<'FaultView'>;
export type Faults = Answer<'FaultList'>;

export type OrderKey = Answer<'OrderKeyView'>;
export type OrderKeys = Answer<'OrderKeyPage'>;
export type OrderKeysWithdrawn = Answer<'OrderKeyWithdrawn'>;

/** GeoJSON, longitude first. */
export interface OutlineGeometry {
  type: 'MultiPolygon';
  coordinates: [longitude: number, latitude: number][][][];
}
export type CountyMap = Omit<Schemas['MapView'], 'outline'> & { outline: OutlineGeometry | null };

/** What went wrong, as the hub says it or as the page must when no answer came. */
export type Problem = Pick<Schemas['ProblemDocument'], 'title' | 'status' | 'code'> & { detail?: string | null };
