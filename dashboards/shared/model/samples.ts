/** Things to test with: whole values of the API, of which a test states only what matters to it. */
import type { Alarm, Device, Fault, Gateway, Me, Site } from '../api/types';
import type { Camera } from '../api/video';
import type { Notice, Speaker } from '../api/voice';

export function alarm(given: Partial<Alarm> = {}): Alarm {
  return {
    id: 'a1',
    kind: 'sos',
    state: 'unacknowledged',
    sounding: true,
    site_id: 's1',
    site_name: 'site',
    region_code: '411728102200',
    region_path: ['county', 'township', 'village'],
    device_id: 'd1',
    device_name: 'button',
    place: null,
    source: 'zigbee:0x1',
    presses: 1,
    late: false,
    raised_ms: 1_000,
    occurred_ms: 900,
    last_press_ms: 1_000,
    acknowledged_ms: null,
    acknowledged_by: null,
    closed_ms: null,
    closed_by: null,
    close_reason: null,
    close_note: null,
    revision: 1,
    ...given,
  };
}

export const TAKEN: Partial<Alarm> = { state: 'acknowledged', sounding: false, acknowledged_by: 'li' };

export function gateway(given: Partial<Gateway> = {}): Gateway {
  return {
    id: 'g1',
    certificate_serial: '01',
    enrolled_ms: 0,
    certificate_expires_ms: 9e12,
    online: true,
    online_changed_ms: 0,
    last_heard_ms: 1_000,
    version: '0.1.0',
    boot_ms: 0,
    journal_pending: 0,
    lan_connected: true,
    ...given,
  };
}

export function site(given: Partial<Site> = {}): Site {
  return {
    id: 's1',
    name: 'site',
    region_code: '411728102200',
    region_name: 'village',
    latitude: null,
    longitude: null,
    created_ms: 0,
    gateway: gateway(),
    devices_count: 0,
    open_alarms: 0,
    open_faults: 0,
    claim: null,
    ...given,
  };
}

export function device(given: Partial<Device> = {}): Device {
  return {
    id: 'd1',
    site_id: 's1',
    site_name: 'site',
    region_code: '411728102200',
    key: 'zigbee:0x1',
    family: 'zigbee',
    kind: 'button',
    name: null,
    reported_name: null,
    place: null,
    latitude: null,
    longitude: null,
    first_heard_ms: 0,
    last_heard_ms: 0,
    battery_percent: null,
    link_quality: null,
    available: null,
    tamper: null,
    response: { kind: 'silent', speaks: false, siren_s: 30, everywhere: false, speaker_ids: [] },
    ...given,
  };
}

export function camera(given: Partial<Camera> = {}): Camera {
  return {
    id: 'c1',
    site_id: 's1',
    site_name: 'site',
    region_code: '411728102200',
    recorder_id: 'r1',
    name: 'gate',
    kind: 'public',
    place: null,
    latitude: null,
    longitude: null,
    direction_degrees: null,
    url: 'rtsp://192.168.8.20/1',
    sub_url: null,
    has_credentials: true,
    sessions_max: 4,
    record: 'main',
    days_max: 30,
    bytes_max: 1,
    audio: false,
    household_device_ids: [],
    consent_ms: null,
    state: { name: 'ok', since_ms: 0, detail: '' },
    main: null,
    sub: null,
    last_frame_ms: null,
    recorded_from_ms: null,
    recorded_bytes: null,
    reported_ms: null,
    revision: 1,
    deleted: false,
    ...given,
  };
}

export function fault(given: Partial<Fault> = {}): Fault {
  return {
    id: 'f1',
    site_id: 's1',
    site_name: 'site',
    region_code: '411728102200',
    device_id: null,
    source: 'gateway',
    code: 'lan.disconnected',
    detail: '',
    state: 'open',
    count: 1,
    first_ms: 0,
    last_ms: 0,
    cleared_ms: null,
    cleared_by: null,
    cleared_note: null,
    ...given,
  };
}

export function me(given: Partial<Me> = {}): Me {
  return {
    username: 'li',
    display_name: 'Li',
    role: 'operator',
    region_code: '411728',
    region_name: 'county',
    language: 'zh-CN',
    expires_ms: 9e12,
    rights: ['alarm.handle'],
    https_port: 8443,
    ...given,
  };
}

export function speaker(given: Partial<Speaker> = {}): Speaker {
  return {
    id: 'k1',
    site_id: 's1',
    site_name: 'site',
    region_code: '411728102200',
    name: 'east end',
    kind: 'mqtt',
    place: null,
    latitude: null,
    longitude: null,
    volume_percent: 80,
    online: true,
    last_heard_ms: 1_000,
    playing: null,
    device: 'horn-1',
    warm_up_ms: 0,
    detail: '',
    reported_ms: null,
    state: 'ok',
    since_ms: 0,
    revision: 1,
    deleted: false,
    ...given,
  };
}

export function notice(given: Partial<Notice> = {}): Notice {
  return {
    id: 'n1',
    title: '',
    text: null,
    region_code: '411728102200',
    region_name: 'village',
    level: 'notice',
    author: 'Wang',
    author_username: 'wang',
    created_ms: 1_000,
    state: 'sent',
    sound_sha256: 'ab',
    duration_ms: 5_000,
    times: 1,
    gap_ms: 5_000,
    valid_until_ms: 901_000,
    second: { needed: false, by: null, at_ms: null },
    reach: { villages: 1, sites: 1, speakers: 6, online: 5 },
    played: { played: 0, playing: 0, waiting: 6, failed: 0, refused: 0, stopped: 0 },
    sent_ms: null,
    refused_reason: null,
    stopped_by: null,
    stopped_ms: null,
    revision: 1,
    ...given,
  };
}
