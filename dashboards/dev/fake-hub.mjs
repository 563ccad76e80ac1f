/**
 * A stand-in for the hub, for looking at the pages without building anything else: it speaks the
 * HTTP API from memory, serves `dist/` under the hub's own content policy, and forgets everything
 * when it ends. It checks nothing that the hub checks; never test a rule of the hub against it.
 *
 *     node dev/fake-hub.mjs [--port 8090, or 0 for any] [--scene busy|calm|empty|flood|grids|villages]
 *
 * Log in as `zhibanyuan` (operator), `cunzhang` (village head), `zhenzhang` (operator of a township), `jishuyuan` (technician) or
 * `admin`, with any password but "wrong".
 * For trying things out it also answers `POST /dev/press?device=d1`, `/dev/unknown`, `/dev/silence?ms=`,
 * `/dev/drop` (ends the streams), `/dev/expire` (ends the sessions), `/dev/enrol?site=s4`, `/dev/reset`;
 * `/dev/stall?ms=` holds every live picture, `/dev/camera?id=c1&state=frozen` changes a camera's state;
 * `/dev/deaf?on=1` cuts the loudspeakers off, so that they hear no stop until `on=0`;
 * `/dev/cut?ms=` lets no request through, `/dev/speaker?id=k6&online=1` brings a loudspeaker back, `/dev/late` lets the time of every notice
 * run out, `/dev/hour?at=23` sets the hub's clock, `GET /dev/notices` counts the notices, `GET /dev/sound` gives the last recording; `GET /dev/looks` counts the pictures that are being watched, `GET /dev/streams` lists from where each stream was asked to go on.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createEyes } from './cameras.mjs';
import { createOrderKeys } from './keys.mjs';
import { mapOf } from './map.mjs';
import { county, qrLike } from './scenes.mjs';
import { createVoice } from './voice.mjs';

const { values: options } = parseArgs({
  options: { port: { type: 'string', default: '8090' }, scene: { type: 'string', default: 'busy' } },
});
const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const POLICY =
  "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.png': 'image/png',
  '.webmanifest': 'application/manifest+json',
};
const LOG_MAX = 1_000;
const BEAT_EVERY_MS = 5_000;

const state = county(options.scene, Date.now());
const sessions = new Map();
const streams = new Set();
let sequence = 100;
let log = [];
let silent_until = 0;
const asked = [];
let next_id = 1_000;
state.sequence = () => sequence;
/** Until when no request is let through; how far the hub's clock is ahead. */
let cut_until = 0;
let ahead_ms = 0;
const parts = { state, emit, problem, nextId: () => (next_id += 1), now: () => Date.now() + ahead_ms };
const eyes = createEyes(parts);
eyes.remember(Date.now());
const voice = createVoice(parts);
voice.remember(Date.now());

// ---- the change log -------------------------------------------------------------------------

function emit(type, data) {
  sequence += 1;
  log = [...log, { id: sequence, type, data: JSON.stringify(data), region: data.region_code ?? '' }].slice(-LOG_MAX);
  for (const stream of streams) write(stream, log.at(-1));
}

function write(stream, { id, type, data, region = '' }) {
  if (Date.now() < silent_until || Date.now() < cut_until) return;
  if (!region.startsWith(stream.scope) && !stream.scope.startsWith(region)) return;
  stream.write(`${id === null ? '' : `id: ${id}\n`}event: ${type}\ndata: ${data}\n\n`);
}

function beat(stream) {
  write(stream, { id: null, type: 'beat', data: JSON.stringify({ now_ms: Date.now() + ahead_ms, sequence }) });
}

setInterval(() => streams.forEach(beat), BEAT_EVERY_MS);

function openStream(request, response, url, person) {
  response.scope = person.region_code;
  const after = Number(request.headers['last-event-id'] ?? url.searchParams.get('after') ?? sequence);
  asked.push({ last_event_id: request.headers['last-event-id'] ?? null, after: url.searchParams.get('after') });
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  beat(response);
  if (after > sequence || after < (log[0]?.id ?? sequence + 1) - 1) {
    write(response, { id: sequence, type: 'reset', data: JSON.stringify({ sequence }) });
  } else {
    for (const event of log) if (event.id > after) write(response, event);
  }
  streams.add(response);
  response.on('close', () => streams.delete(response));
}

// ---- what people and buttons do -------------------------------------------------------------

function press(device, now) {
  const site = state.sites.find((candidate) => candidate.id === device.site_id);
  const known = state.alarms.find((alarm) => alarm.device_id === device.id && alarm.state !== 'closed');
  if (known !== undefined) {
    const again = known.state === 'acknowledged';
    Object.assign(known, { presses: known.presses + 1, last_press_ms: now, sounding: true });
    return change(known, { at_ms: now, what: again ? 'pressed_again' : 'pressed', actor: null, detail: null, trigger: 'sos' });
  }
  const alarm = {
    id: `a${(next_id += 1)}`, kind: 'sos', state: 'unacknowledged', sounding: true, site_id: site.id,
    site_name: site.name, region_code: site.region_code, region_path: state.path(site.region_code),
    device_id: device.id, device_name: device.name, place: device.place, source: device.key, presses: 1,
    late: false, raised_ms: now, occurred_ms: now - 400, last_press_ms: now, acknowledged_ms: null,
    acknowledged_by: null, closed_ms: null, closed_by: null, close_reason: null, close_note: null, revision: 0,
  };
  state.alarms.push(alarm);
  setImmediate(() => eyes.pressed(alarm, now));
  return change(alarm, { at_ms: now, what: 'raised', actor: null, detail: null, trigger: 'sos' });
}

function unknownAlarm(now) {
  const site = state.sites[0];
  const alarm = {
    ...press({ id: null, key: 'zigbee2mqtt/东头新按钮', name: null, place: null, site_id: site.id }, now),
    kind: 'unknown',
  };
  const index = state.alarms.findIndex((candidate) => candidate.id === alarm.id);
  state.alarms[index] = alarm;
  emit('alarm', alarm);
}

function change(alarm, entry) {
  alarm.revision += 1;
  state.timelines.set(alarm.id, [...(state.timelines.get(alarm.id) ?? []), entry]);
  emit('alarm', alarm);
  return alarm;
}

function acknowledge(alarm, person, now) {
  if (alarm.state === 'closed') return problem(409, '这起警情已经结束，不能再接警。', 'alarm.closed');
  if (alarm.state === 'acknowledged' && !alarm.sounding) return { body: alarm };
  Object.assign(alarm, { state: 'acknowledged', sounding: false, acknowledged_ms: now, acknowledged_by: person.username });
  return { body: change(alarm, { at_ms: now, what: 'acknowledged', actor: person.display_name, detail: null }) };
}

function close(alarm, person, { reason, note }, now) {
  if (alarm.state === 'closed') return problem(409, '这起警情已经结束。', 'alarm.closed');
  if (reason === 'other' && !note) return problem(422, '选“其他”时要写明说明。', 'alarm.note_needed');
  if (alarm.state === 'unacknowledged') acknowledge(alarm, person, now);
  Object.assign(alarm, {
    state: 'closed', sounding: false, closed_ms: now, closed_by: person.username, close_reason: reason, close_note: note ?? null,
  });
  return { body: change(alarm, { at_ms: now, what: 'closed', actor: person.display_name, detail: reason }) };
}

function claim(site, now) {
  const code = Array.from({ length: 8 }, () => 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'[Math.floor(Math.random() * 32)]).join('');
  site.claim = { id: `c${(next_id += 1)}`, expires_ms: now + 15 * 60_000 };
  emit('site', site);
  const ca = 'b1946ac92492d2347c6235b4d2611184f2ca1f1c6a7b3d9e5c8f0a1b2c3d4e5f';
  const text = `tongluo:claim?url=https%3A%2F%2Fhub.suiping.example%3A8443&code=${code}&ca=${ca}`;
  return { ...site.claim, site_id: site.id, code, url: 'https://hub.suiping.example:8443', ca_fingerprint: ca, text, qr_svg: qrLike(text) };
}

function enrol(site, now) {
  Object.assign(site, { claim: null, gateway: state.gateway(now, { online: false, last_heard_ms: null }) });
  emit('site', site);
  setTimeout(() => {
    Object.assign(site.gateway, { online: true, online_changed_ms: Date.now(), last_heard_ms: Date.now() });
    emit('site', site);
  }, 1_500);
}

// ---- routes ---------------------------------------------------------------------------------

function problem(status, detail, code) {
  return { status, body: { type: 'about:blank', title: detail, status, detail, code } };
}

const find = (list, id) => list.find((thing) => thing.id === id);

function createSite(body, now) {
  if (!body.name) return problem(422, '站点名称不能为空。', 'site.name_needed');
  const site = {
    id: `s${(next_id += 1)}`, name: body.name, region_code: body.region_code, region_name: state.name(body.region_code),
    latitude: body.latitude ?? null, longitude: body.longitude ?? null, created_ms: now, gateway: null,
    devices_count: 0, open_alarms: 0, open_faults: 0, claim: null,
  };
  state.sites.push(site);
  emit('site', site);
  return { status: 201, body: site };
}

function revoke(site) {
  site.gateway = null;
  emit('site', site);
  return { status: 204 };
}

function changed(kind, thing, change_) {
  Object.assign(thing, change_);
  emit(kind, thing);
  return { body: thing };
}

/** Whoever names loudspeakers does not mean all any more. */
function chosen(device, { response, ...rest }) {
  if (response === undefined) return rest;
  const where = response.speaker_ids ? { everywhere: false } : response.everywhere ? { speaker_ids: [] } : {};
  return { ...rest, response: { ...device.response, ...response, ...where } };
}

function setOut(alarm, what, person, now) {
  if (alarm.state === 'unacknowledged' || alarm.sounding) acknowledge(alarm, person, now);
  return { body: change(alarm, { at_ms: now, what, actor: person.display_name, detail: null }) };
}

function alarmsList(url, person) {
  const open = url.searchParams.get('state') !== 'closed';
  const alarms = state.alarms.filter((alarm) => (alarm.state === 'closed') !== open && alarm.region_code.startsWith(person.region_code)).sort((a, b) => b.raised_ms - a.raised_ms);
  return { body: { sequence, alarms, next: null } };
}

function detail(alarm) {
  const timeline = state.timelines.get(alarm.id) ?? [];
  const recent_presses = timeline
    .filter(({ trigger }) => trigger !== undefined)
    .map(({ at_ms, trigger }) => ({ press_id: `p${at_ms}`, occurred_ms: at_ms, received_ms: at_ms, late: false, trigger }));
  return { ...alarm, timeline, recent_presses };
}

/** Routes by method and path; `:id` matches one part. */
const ROUTES = {
  ...eyes.routes,
  ...voice.routes,
  ...createOrderKeys({ state, problem }).routes,
  'GET /map': () => ({ body: mapOf(state) }),
  'GET /regions': ({ url }) => ({ body: { sequence, regions: state.regionsBelow(url.searchParams.get('parent')) } }),
  'GET /sites': () => ({ body: { sequence, sites: state.sites } }),
  'POST /sites': ({ body, now }) => createSite(body, now),
  'PATCH /sites/:id': ({ id, body }) => changed('site', find(state.sites, id), body),
  'POST /sites/:id/claims': ({ id, now }) => ({ status: 201, body: claim(find(state.sites, id), now) }),
  'POST /sites/:id/revoke': ({ id }) => revoke(find(state.sites, id)),
  'GET /devices': ({ url }) => ({
    body: { sequence, devices: state.devices.filter((device) => device.site_id === url.searchParams.get('site_id')) },
  }),
  'PATCH /devices/:id': ({ id, body }) => changed('device', find(state.devices, id), chosen(find(state.devices, id), body)),
  'GET /alarms': ({ url, person }) => alarmsList(url, person),
  'POST /alarms/:id/going': ({ id, person, now }) => setOut(find(state.alarms, id), 'going', person, now),
  'POST /alarms/:id/arrived': ({ id, person, now }) => setOut(find(state.alarms, id), 'arrived', person, now),
  'GET /alarms/:id': ({ id }) => ({ body: detail(find(state.alarms, id)) }),
  'POST /alarms/:id/acknowledge': ({ id, person, now }) => acknowledge(find(state.alarms, id), person, now),
  'POST /alarms/:id/close': ({ id, person, body, now }) => close(find(state.alarms, id), person, body, now),
  'GET /faults': () => ({ body: { sequence, faults: state.faults.filter((fault) => fault.state === 'open') } }),
  'POST /faults/:id/clear': ({ id, now }) => changed('fault', find(state.faults, id), { state: 'cleared', cleared_ms: now }),
};

function route(method, path) {
  for (const [pattern, handler] of Object.entries(ROUTES)) {
    const match = new RegExp(`^${pattern.replace(':id', '([^/]+)')}$`).exec(`${method} ${path}`);
    if (match !== null) return { handler, id: match[1] === undefined ? undefined : decodeURIComponent(match[1]) };
  }
  return null;
}

function develop(path, url) {
  const now = Date.now();
  if (path === '/dev/press') press(find(state.devices, url.searchParams.get('device') ?? 'd1'), now);
  if (path === '/dev/unknown') unknownAlarm(now);
  if (path === '/dev/silence') silent_until = now + Number(url.searchParams.get('ms'));
  if (path === '/dev/drop') for (const stream of streams) stream.destroy();
  if (path === '/dev/expire') sessions.clear();
  if (path === '/dev/enrol') enrol(find(state.sites, url.searchParams.get('site')), now);
  eyes.develop(path, url);
  voice.develop(path, url);
  if (path === '/dev/cut') cut_until = now + Number(url.searchParams.get('ms'));
  if (path === '/dev/hour') {
    ahead_ms = ((Number(url.searchParams.get('at')) - 8 - new Date(now).getUTCHours() + 48) % 24) * 3_600_000;
    streams.forEach(beat);
  }
  if (path === '/dev/sound') return { type: 'audio/wav', bytes: voice.recorded() };
  if (path === '/dev/notices') return { body: { count: voice.count() } };
  if (path === '/dev/reset') for (const stream of streams) write(stream, { id: sequence, type: 'reset', data: `{"sequence":${sequence}}` });
  if (path === '/dev/looks') return { body: { open: eyes.looks() } };
  return path === '/dev/streams' ? { body: asked } : { status: 204 };
}

function openSession(body, response) {
  if (body.password === 'wrong') return problem(401, '用户名或密码不对。', 'session.refused');
  const person = state.person(body.username, Date.now());
  const token = `t${Math.random()}`;
  sessions.set(token, person);
  response.setHeader('Set-Cookie', `tongluo_session=${token}; HttpOnly; SameSite=Strict; Path=/`);
  return { body: person };
}

async function api(request, response, url, path) {
  const token = /tongluo_session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
  const person = sessions.get(token);
  const body = request.method === 'GET' ? null : await bodyOf(request);
  if (path === '/session' && request.method === 'POST') return openSession(body, response);
  if (person === undefined) return problem(401, '请先登录。', 'session.none');
  if (path === '/session' && request.method === 'DELETE') sessions.delete(token);
  if (path === '/session') return request.method === 'DELETE' ? { status: 204 } : { body: person };
  if (path === '/events') return openStream(request, response, url, person);
  const found = route(request.method, path);
  if (found === null) return problem(404, '没有这个地址。', 'not_found');
  return found.handler({ id: found.id, url, body, person, request, now: Date.now() + ahead_ms });
}

async function page(path) {
  const file = ['/command', '/field', '/village'].includes(path) ? `${path.slice(1)}/index.html` : path.slice(1);
  if (file.includes('..')) return { status: 404 };
  try {
    return { type: TYPES[extname(file)] ?? 'application/octet-stream', bytes: await readFile(dist + file) };
  } catch {
    return { status: 404 };
  }
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (request.headers['content-type'] === 'audio/wav') return bytes;
  return bytes.length === 0 ? null : JSON.parse(bytes);
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  response.setHeader('Content-Security-Policy', POLICY);
  response.setHeader('Permissions-Policy', `microphone=${url.pathname === '/village' ? '(self)' : '()'}`);
  if (url.pathname.startsWith('/api/') && Date.now() < cut_until) return request.socket.destroy();
  let answer;
  if (url.pathname.startsWith('/dev/')) answer = develop(url.pathname, url);
  else if (url.pathname.startsWith('/api/v1/')) answer = await api(request, response, url, url.pathname.slice('/api/v1'.length));
  else if (url.pathname === '/') answer = { status: 302, location: '/command' };
  else answer = await page(url.pathname);
  if (answer === undefined) return;
  const { status = 200, body, bytes, type = status >= 400 ? 'application/problem+json' : 'application/json', location, headers } = answer;
  response.writeHead(status, { 'Content-Type': type, ...(location ? { Location: location } : {}), ...headers });
  response.end(bytes ?? (body === undefined ? '' : JSON.stringify(body)));
});

server.on('upgrade', (request, connection, head) => {
  const token = /tongluo_session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
  if (!sessions.has(token)) return connection.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
  eyes.upgrade(request, connection, head, new URL(request.url, 'http://127.0.0.1'));
});

server.listen(Number(options.port), '127.0.0.1', () => {
  process.stdout.write(`ready: http://127.0.0.1:${server.address().port}\n`);
});
