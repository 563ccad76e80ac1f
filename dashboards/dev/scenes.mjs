/** The counties that the stand-in hub can show: Suiping's regions with a few made-up sites. */
import { readFileSync } from 'node:fs';
import { cameras } from './cameras.mjs';
import { fillGrids } from './map.mjs';
import { fillVillages } from './villages.mjs';
import { speakers } from './voice.mjs';

const MINUTE = 60_000;
const regions = readFileSync(new URL('../../data/suiping-regions.csv', import.meta.url), 'utf8')
  .trim().split(/\r?\n/).slice(1)
  .map((line) => line.split(','))
  .map(([code, name, level, parent]) => ({ code, name, level, parent: parent || null }));
const by_code = new Map(regions.map((region) => [region.code, region]));
const villages = regions.filter((region) => region.level === 'village');

const SITES = [
  ['s1', '玉山村委会', '411728102200', true, 33.1702, 113.8561],
  ['s2', '东头小卖部二楼配电间', villages[20].code, true, 33.1391, 114.0207],
  ['s3', '老年活动中心与留守儿童之家综合服务站（北院）', villages[21].code, false, 33.1475, 114.0412],
  ['s4', '查岈山景区南门', villages[60].code, null, null, null],
  ['s5', '和兴卫生室', villages[100].code, true, 33.2204, 113.9806],
];
const DEVICES = [
  ['d1', 's1', 'zigbee:0x00158d0001a2b3c4', 'zigbee', '王奶奶家按钮', '东屋床头', 92, true],
  ['d2', 's1', 'lorawan:24e124535b316056', 'lorawan', null, null, 100, true],
  ['d3', 's2', 'zigbee:0x00158d0001a2b3c5', 'zigbee', '小卖部柜台', '柜台下', 14, true],
  ['d4', 's3', 'lorawan:a840411c918289f1', 'lorawan', '活动中心一楼卫生间无障碍求助按钮', '一楼卫生间马桶右侧扶手旁', 55, false],
];

export function county(scene, now) {
  const state = {
    sites: [], devices: [], alarms: [], faults: [], cameras: [], speakers: [], timelines: new Map(),
    name: (code) => by_code.get(code)?.name ?? code,
    path: (code) => [6, 9, 12].filter((length) => length <= code.length).map((length) => by_code.get(code.slice(0, length))?.name ?? ''),
    regionsBelow: (parent) => regions.filter((region) => (parent === null ? region.level === 'county' : region.parent === parent)),
    gateway,
    person,
  };
  if (scene === 'empty') return state;
  state.sites = SITES.map(([id, name, region_code, online, latitude, longitude]) => ({
    id, name, region_code, region_name: state.name(region_code), latitude, longitude,
    created_ms: now - 86_400_000, gateway: online === null ? null : gateway(now, { online, last_heard_ms: now - (online ? 2_000 : 47 * MINUTE) }),
    devices_count: DEVICES.filter((device) => device[1] === id).length, open_alarms: 0, open_faults: 0, claim: null,
  }));
  state.devices = DEVICES.map(([id, site_id, key, family, name, place, battery_percent, available]) => {
    const site = state.sites.find((candidate) => candidate.id === site_id);
    return {
      id, site_id, site_name: site.name, region_code: site.region_code, key, family, kind: 'button', name,
      reported_name: family === 'zigbee' ? 'sos_button' : null, place, latitude: id === 'd1' ? site.latitude + 0.0031 : null, longitude: id === 'd1' ? site.longitude - 0.0024 : null,
      first_heard_ms: now - 3_600_000, last_heard_ms: now - 4 * MINUTE, battery_percent, link_quality: 120, available, tamper: false,
      response: { kind: 'silent', speaks: false, siren_s: 30, everywhere: false, speaker_ids: [] },
    };
  });
  state.cameras = cameras(state, now);
  state.speakers = speakers(state, now);
  if (scene === 'grids') fillGrids(state);
  if (scene === 'villages') fillVillages(state);
  if (['calm', 'grids', 'villages'].includes(scene)) return state;
  state.faults = faults(state, now);
  const alarms = scene === 'flood' ? flood(state, now) : busy(state, now);
  for (const [alarm, timeline] of alarms) {
    state.alarms.push(alarm);
    state.timelines.set(alarm.id, timeline);
  }
  return state;
}

function gateway(now, given) {
  return {
    id: 'gw-7f3a', certificate_serial: '4f:1c:9a', enrolled_ms: now - 80_000_000, certificate_expires_ms: now + 31_536_000_000,
    online_changed_ms: given.online ? now - 3_000_000 : now - 47 * MINUTE, version: '0.1.0', boot_ms: now - 4_000_000,
    journal_pending: 0, lan_connected: true, ...given,
  };
}

/** Who can log in: role, what they are called, whose region. */
const PEOPLE = {
  zhibanyuan: ['operator', '李秀英', '411728'],
  zhenzhang: ['operator', '孙志强', '411728102'],
  cunzhang: ['village_head', '周大山', '411728102200'],
  jishuyuan: ['technician', '赵师傅', '411728'],
};
const RIGHTS = {
  operator: ['alarm.handle', 'broadcast.send', 'recording.export'],
  village_head: ['alarm.handle', 'broadcast.send'],
  technician: ['site.manage'],
  administrator: ['alarm.handle', 'broadcast.send', 'site.manage', 'user.manage', 'audit.read', 'region.manage', 'recording.export'],
};

function person(username, now) {
  const [role, display_name, region_code] = PEOPLE[username] ?? ['administrator', '管理员', '411728'];
  return {
    username, display_name, role, region_code, region_name: by_code.get(region_code).name, language: 'zh-CN', expires_ms: now + 43_200_000, rights: RIGHTS[role], https_port: 8443,
  };
}

function faults(state, now) {
  const fault = (id, site, code, detail, count) => ({
    id, site_id: site.id, site_name: site.name, region_code: site.region_code, device_id: null, source: 'gateway', code, detail,
    state: 'open', count, first_ms: now - 50 * MINUTE, last_ms: now - 3 * MINUTE, cleared_ms: null,
  });
  return [
    fault('f1', state.sites[2], 'lan.disconnected', '127.0.0.1:1883 拒绝连接', 12),
    fault('f2', state.sites[0], 'payload.unreadable', 'zigbee2mqtt/东头新按钮：第 14 字节处不是 JSON', 1),
  ];
}

function alarm(state, id, device_id, now, minutes, given = {}) {
  const device = state.devices.find((candidate) => candidate.id === device_id);
  const site = state.sites.find((candidate) => candidate.id === (device?.site_id ?? 's1'));
  const at = now - minutes * MINUTE;
  return {
    id, kind: 'sos', state: 'unacknowledged', sounding: true, site_id: site.id, site_name: site.name, region_code: site.region_code,
    region_path: state.path(site.region_code), device_id: device?.id ?? null, device_name: device?.name ?? null, place: device?.place ?? null,
    source: device?.key ?? 'zigbee2mqtt/东头新按钮', presses: 1, late: false, raised_ms: at, occurred_ms: at, last_press_ms: at,
    acknowledged_ms: null, acknowledged_by: null, closed_ms: null, closed_by: null, close_reason: null, close_note: null, revision: 1, ...given,
  };
}

function busy(state, now) {
  const taken = { state: 'acknowledged', sounding: false, acknowledged_ms: now - 9 * MINUTE, acknowledged_by: 'zhibanyuan' };
  const raised = (minutes) => ({ at_ms: now - minutes * MINUTE, what: 'raised', actor: null, detail: null, trigger: 'sos' });
  const took = { at_ms: now - 9 * MINUTE, what: 'acknowledged', actor: '李秀英', detail: null };
  return [
    [alarm(state, 'a1', 'd4', now, 1, { presses: 3, last_press_ms: now - 20_000, late: true, occurred_ms: now - 49 * MINUTE }),
      [raised(1), { at_ms: now - MINUTE, what: 'late', actor: null, detail: null }, { at_ms: now - 20_000, what: 'pressed', actor: null, detail: null, trigger: 'long' }]],
    [alarm(state, 'a2', 'd3', now, 12, { ...taken, sounding: true, presses: 2, last_press_ms: now - 30_000 }),
      [raised(12), took, { at_ms: now - 30_000, what: 'pressed_again', actor: null, detail: null, trigger: 'sos' }]],
    [alarm(state, 'a3', 'd1', now, 15, taken), [raised(15), took]],
    [alarm(state, 'a4', null, now, 18, { ...taken, kind: 'unknown' }), [raised(18), took]],
    [alarm(state, 'a5', 'd1', now, 300, {
      ...taken, state: 'closed', closed_ms: now - 290 * MINUTE, closed_by: 'zhibanyuan', close_reason: 'false_alarm', close_note: '孩子玩耍时碰到',
    }), [raised(300), took, { at_ms: now - 290 * MINUTE, what: 'closed', actor: '李秀英', detail: 'false_alarm' }]],
  ];
}

function flood(state, now) {
  const unknown = Array.from({ length: 14 }, (_, index) => [
    alarm(state, `u${index}`, null, now, index / 2, { kind: 'unknown', source: `zigbee2mqtt/${index % 2 ? '西' : '东'}头新按钮` }), [],
  ]);
  return [[alarm(state, 'a1', 'd1', now, 2), []], [alarm(state, 'a2', 'd3', now, 3), []], ...unknown];
}

/** Something of a QR code's looks, for its place on the page; it holds nothing. */
export function qrLike(text) {
  const cells = 33;
  let path = '';
  for (let index = 0; index < cells * cells; index += 1) {
    const [x, y] = [index % cells, Math.floor(index / cells)];
    const corner = [[3, 3], [cells - 4, 3], [3, cells - 4]].map(([cx, cy]) => Math.max(Math.abs(x - cx), Math.abs(y - cy))).find((d) => d < 5);
    const dark = corner === undefined ? (text.charCodeAt(index % text.length) * (index + 7)) % 5 < 2 : corner !== 2 && corner !== 4;
    if (dark) path += `M${x + 4} ${y + 4}h1v1h-1z`;
  }
  const size = cells + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><rect width="${size}" height="${size}" fill="#fff"/><path d="${path}"/></svg>`;
}
