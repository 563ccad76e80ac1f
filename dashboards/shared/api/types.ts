/**
 * What the hub's HTTP API says, in the words the pages use.
 *
 * Times are integers in UTC milliseconds (`…_ms`); `null` means "not known" or "not yet".
 */

export type Language = 'zh-CN' | 'en';
export type Role = 'administrator' | 'operator' | 'village_head' | 'technician';
export type Right = 'alarm.handle' | 'site.manage' | 'user.manage' | 'audit.read' | 'region.manage';

/** The person who is logged in. */
export interface Me {
  username: string;
  display_name: string;
  role: Role;
  region_code: string;
  region_name: string;
  language: Language;
  expires_ms: number;
  rights: string[];
}

export interface Region {
  code: string;
  name: string;
  level: string;
  parent: string | null;
}

/** The box that fills a site now. */
export interface Gateway {
  id: string;
  certificate_serial: string;
  enrolled_ms: number;
  certificate_expires_ms: number;
  online: boolean;
  online_changed_ms: number | null;
  last_heard_ms: number | null;
  version: string | null;
  boot_ms: number | null;
  journal_pending: number | null;
  lan_connected: boolean | null;
}

/** A place where a gateway is installed. */
export interface Site {
  id: string;
  name: string;
  region_code: string;
  region_name: string;
  latitude: number | null;
  longitude: number | null;
  created_ms: number;
  gateway: Gateway | null;
  devices_count: number;
  open_alarms: number;
  open_faults: number;
  claim: { id: string; expires_ms: number } | null;
}

/** The one-time right to enrol a gateway; its code is shown once. */
export interface Claim {
  id: string;
  site_id: string;
  code: string;
  url: string;
  ca_fingerprint: string;
  expires_ms: number;
  text: string;
  qr_svg: string;
}

export interface Device {
  id: string;
  site_id: string;
  site_name: string;
  region_code: string;
  key: string;
  family: string;
  kind: string;
  name: string | null;
  reported_name: string | null;
  place: string | null;
  latitude: number | null;
  longitude: number | null;
  first_heard_ms: number;
  last_heard_ms: number | null;
  battery_percent: number | null;
  link_quality: number | null;
  available: boolean | null;
  tamper: boolean | null;
}

export type AlarmState = 'unacknowledged' | 'acknowledged' | 'closed';
export type CloseReason = 'resolved' | 'false_alarm' | 'test' | 'duplicate' | 'handed_over' | 'other';

/** What people handle: many presses, one alarm. */
export interface Alarm {
  id: string;
  kind: 'sos' | 'unknown';
  state: AlarmState;
  /** True until somebody acknowledges, and again when a press comes after that. */
  sounding: boolean;
  site_id: string;
  site_name: string;
  region_code: string;
  region_path: string[];
  device_id: string | null;
  device_name: string | null;
  place: string | null;
  source: string;
  presses: number;
  late: boolean;
  raised_ms: number;
  occurred_ms: number;
  last_press_ms: number;
  acknowledged_ms: number | null;
  acknowledged_by: string | null;
  closed_ms: number | null;
  closed_by: string | null;
  close_reason: string | null;
  close_note: string | null;
  revision: number;
}

export interface TimelineEntry {
  at_ms: number;
  what: string;
  actor: string | null;
  detail: string | null;
}

export interface AlarmDetail extends Alarm {
  timeline: TimelineEntry[];
}

export interface Fault {
  id: string;
  site_id: string;
  site_name: string;
  region_code: string;
  device_id: string | null;
  source: string;
  code: string;
  detail: string;
  state: 'open' | 'cleared';
  count: number;
  first_ms: number;
  last_ms: number;
  cleared_ms: number | null;
}

/** A list carries the change log's sequence at which it was read. */
export interface Alarms {
  sequence: number;
  alarms: Alarm[];
  next: string | null;
}
export interface Sites {
  sequence: number;
  sites: Site[];
}
export interface Devices {
  sequence: number;
  devices: Device[];
}
export interface Faults {
  sequence: number;
  faults: Fault[];
}
export interface Regions {
  sequence: number;
  regions: Region[];
}

/** RFC 9457 problem details, in the user's language. */
export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail?: string | null;
  code: string;
}
