/** The stand-in hub's cameras: what they are, what they show, what they saw, and what is taken out of their recordings. */
import { createHash } from 'node:crypto';
import { WebSocketServer } from 'ws';
import { FRAME_90K, FRAMES_PER_S, GOP_FRAMES, film, fragmentAt, loop, makeAll, snapshot } from './media.mjs';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Of a live stand-in: from the camera's clock to when the hub sends the picture. */
const DELAY_MS = 40;
/** Length of the film that stands for every clip: thirty seconds before the press, sixty after. */
const CLIP_S = 90;
const TINTS = ['0x30363c', '0x3a342e'];
/** The one whose sound is taken too: of a square where there is a notice of it. */
const WITH_SOUND = 'c2';

const CAMERAS = [
  ['c1', 's1', '村委会门口', 'public', '大门立柱', 120, 'ok', 'h264', 'h264'],
  ['c2', 's1', '文化广场北侧', 'facility', '舞台右侧灯杆', 210, 'ok', 'h264', 'h264'],
  ['c3', 's1', '王奶奶家院门', 'home', '院门内侧', 300, 'ok', 'h264', null],
  ['c4', 's2', '小卖部门前', 'public', '雨棚下', 80, 'ok', 'h265', 'h264'],
  ['c5', 's2', '配电间走廊', 'facility', '二楼走廊尽头', null, 'refused', null, null],
  ['c6', 's3', '活动中心大厅', 'public', '前台上方', 45, 'unreachable', 'h264', 'h264'],
  ['c7', 's5', '卫生室候诊区', 'public', '挂号窗口', 160, 'frozen', 'h264', 'h264'],
  ['c8', 's5', '药房门口', 'facility', '门楣', 270, 'ok', 'h265', null],
];
const DETAILS = { refused: '用户名或密码不对，还可以试 3 次', unreachable: '192.168.8.31:554 没有回答', frozen: '画面 6 分钟没有变化' };

export function cameras(state, now) {
  return CAMERAS.flatMap(([id, site_id, name, kind, place, direction_degrees, condition, main, sub], at) => {
    const site = state.sites.find((candidate) => candidate.id === site_id);
    if (site === undefined) return [];
    const stream = (codec, width, height) => (codec === null ? null : { codec, width, height });
    return [{
      id, site_id, site_name: site.name, region_code: site.region_code, recorder_id: `r-${site_id}`, name, kind, place,
      latitude: site.latitude === null ? null : site.latitude + 0.0006 * ((at % 3) - 1), longitude: site.longitude === null ? null : site.longitude + 0.0008 * ((at % 2) * 2 - 1),
      direction_degrees, url: `rtsp://192.168.8.${20 + at}:554/Streaming/Channels/101`, sub_url: sub === null ? null : `rtsp://192.168.8.${20 + at}:554/Streaming/Channels/102`,
      has_credentials: true, sessions_max: 4, audio: id === WITH_SOUND, record: kind === 'home' ? 'off' : 'main', days_max: 30, bytes_max: 200 * 2 ** 30, household_device_ids: kind === 'home' ? ['d1'] : [],
      consent_ms: kind === 'home' ? now - 40 * 24 * HOUR : null,
      state: { name: condition, since_ms: now - (condition === 'ok' ? 3 * HOUR : 6 * MINUTE), detail: DETAILS[condition] ?? '' },
      main: stream(main, 1280, 720), sub: stream(sub, 640, 360), last_frame_ms: condition === 'ok' ? now - 400 : now - 6 * MINUTE,
      recorded_from_ms: kind === 'home' ? null : now - 26 * 24 * HOUR, recorded_bytes: null, reported_ms: now - MINUTE, revision: 1, deleted: false,
    }];
  });
}

export function createEyes({ state, emit, problem, nextId }) {
  const evidence = new Map();
  const exports_ = new Map();
  let stalled_until = 0;
  const find = (id) => state.cameras.find((camera) => camera.id === id);

  if (state.cameras.length > 0) makeAll([[TINTS[0], false], [TINTS[1], false], [TINTS[1], true]]);

  const nearest = (alarm) =>
    state.cameras.filter(({ site_id, kind, household_device_ids }) =>
      site_id === alarm.site_id && (kind !== 'home' || household_device_ids.includes(alarm.device_id))).slice(0, 2);

  function saw(alarm, camera, kind, given, now) {
    const one = {
      id: `e${nextId()}`, site_id: alarm.site_id, region_code: alarm.region_code, media_type: kind === 'clip' ? 'video/mp4' : 'image/jpeg', alarm_id: alarm.id, press_id: `p-${alarm.id}`, camera_id: camera.id, camera_name: camera.name, kind, state: 'awaited',
      reason: null, from_ms: kind === 'clip' ? alarm.occurred_ms - 30_000 : alarm.occurred_ms, to_ms: kind === 'clip' ? alarm.occurred_ms + 60_000 : alarm.occurred_ms,
      bytes: null, sha256: null, received_ms: null, ...given,
    };
    if (one.state === 'ready') finish(one, now);
    evidence.set(one.id, one);
    return one;
  }

  function finish(one, now) {
    const bytes = one.kind === 'clip' ? film(CLIP_S) : snapshot();
    Object.assign(one, { state: 'ready', bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex'), received_ms: now });
  }

  /** What a press sets off: a picture at once, the clip when its minute is over and it has come up. */
  function pressed(alarm, now) {
    const later = (ms, act) => setTimeout(act, ms).unref();
    for (const camera of nearest(alarm)) {
      const shot = saw(alarm, camera, 'snapshot', {}, now);
      const clip = saw(alarm, camera, 'clip', {}, now);
      if (camera.state.name !== 'ok') continue;
      later(900, () => (finish(shot, Date.now()), emit('evidence', shot)));
      later(4_000, () => emit('evidence', Object.assign(clip, { state: 'saved' })));
      later(8_000, () => (finish(clip, Date.now()), emit('evidence', clip)));
    }
  }

  function remember(now) {
    const seen = { a1: ['saved', 'missing'], a2: ['ready', 'awaited'], a3: ['ready', 'ready'] };
    for (const [id, [first, second]] of Object.entries(seen)) {
      const alarm = state.alarms.find((candidate) => candidate.id === id);
      if (alarm === undefined) continue;
      nearest(alarm).forEach((camera, at) => {
        const is = at === 0 ? first : second;
        saw(alarm, camera, 'snapshot', { state: is === 'awaited' ? 'missing' : is, reason: is === 'awaited' || is === 'missing' ? 'camera.refused' : null }, now);
        saw(alarm, camera, 'clip', { state: is, reason: is === 'missing' ? 'camera.unreachable' : null }, now);
      });
    }
  }

  function save(camera, body, now) {
    const { username, password, consent, ...rest } = body;
    Object.assign(camera, rest, { revision: camera.revision + 1, has_credentials: camera.has_credentials || !!username || !!password });
    if (consent !== undefined) camera.consent_ms = consent ? now : null;
    emit('camera', camera);
    return camera;
  }

  function create(body, now) {
    const site = state.sites.find(({ id }) => id === body.site_id);
    const address = new URL(body.url);
    const camera = {
      id: `c${nextId()}`, site_id: site.id, site_name: site.name, region_code: site.region_code, recorder_id: `r-${address.host}`, name: body.name, kind: 'public',
      place: null, latitude: null, longitude: null, direction_degrees: null, url: '', sub_url: null, has_credentials: address.username !== '', sessions_max: 4, audio: false, record: 'main', days_max: 30,
      bytes_max: 100 * 2 ** 30, household_device_ids: [], consent_ms: null, state: { name: 'starting', since_ms: now, detail: '' }, main: null, sub: null,
      last_frame_ms: null, recorded_from_ms: null, recorded_bytes: null, reported_ms: null, revision: 0, deleted: false,
    };
    state.cameras.push(camera);
    address.username = address.password = '';
    save(camera, { ...body, url: address.href }, now);
    setTimeout(() => {
      Object.assign(camera, { state: { name: 'ok', since_ms: Date.now(), detail: '' }, main: { codec: 'h264', width: 1280, height: 720 }, sub: { codec: 'h264', width: 640, height: 360 }, last_frame_ms: Date.now() });
      emit('camera', camera);
    }, 2_000).unref();
    return { status: 201, body: camera };
  }

  /** Answers by the address's host, so that every outcome can be looked at. */
  async function tryOne({ url, password }) {
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    const refused = (reason, detail, more = {}) => ({ body: { ok: false, reason, detail, tries_left: null, main: null, snapshot_url: null, ...more } });
    const last = Number(/\.(\d+)(?=[:/]|$)/.exec(new URL(url).host)?.[1] ?? 0);
    if (last === 31) return refused('unreachable', '192.168.8.31:554 拒绝连接');
    if (password === 'wrong') return refused('refused', '401 Unauthorized', { tries_left: 4 });
    if (last === 33) return refused('no_such_stream', '404 Not Found: /Streaming/Channels/901');
    if (last === 34) return refused('unsupported', 'MJPEG');
    return {
      body: {
        ok: true, reason: 'ok', detail: null, tries_left: null, main: { codec: last === 35 ? 'h265' : 'h264', width: 1920, height: 1080, frames_per_s: 25 },
        snapshot_url: `data:image/jpeg;base64,${snapshot().toString('base64')}`,
      },
    };
  }

  /** Three days with two nights' gaps, as a camera with a bad link has them. */
  function recordings(url) {
    const [from, to] = ['from_ms', 'to_ms'].map((name) => Number(url.searchParams.get(name)));
    const spans = [];
    for (let at = Math.floor(from / HOUR) * HOUR; at < to; at += HOUR) {
      const broken = Math.floor(at / HOUR) % 5 === 0;
      spans.push({ from_ms: Math.max(from, at), to_ms: Math.min(to, Date.now(), at + (broken ? 38 * MINUTE : HOUR)) });
    }
    return { body: { spans: spans.filter((span) => span.to_ms > span.from_ms), state: null } };
  }

  function export_(camera, body, person) {
    const one = {
      id: `x${nextId()}`, site_id: camera.site_id, region_code: camera.region_code, camera_id: camera.id, camera_name: camera.name,
      state: 'running', progress_percent: 0, from_ms: body.from_ms, to_ms: body.to_ms, gaps: [], shortened: null, reason: body.reason,
      requested_by: person.display_name, bytes: null, sha256: null, failure: null, created_ms: Date.now(), expires_ms: Date.now() + 168 * HOUR,
    };
    exports_.set(one.id, one);
    const timer = setInterval(() => {
      if (one.state !== 'running') return clearInterval(timer);
      one.progress_percent = Math.min(100, one.progress_percent + 12);
      if (one.progress_percent === 100) {
        const bytes = film(CLIP_S);
        const gaps = [{ from_ms: one.to_ms - 9_000, to_ms: one.to_ms - 5_000 }];
        Object.assign(one, { state: 'ready', gaps, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
      }
    }, 400);
    timer.unref();
    return { status: 201, body: one };
  }

  const cancel = (one) => (one.state === 'running' && Object.assign(one, { state: 'cancelled' }), { status: 204 });

  const routes = {
    'GET /cameras': ({ url }) => {
      const site = url.searchParams.get('site_id');
      return { body: { sequence: state.sequence(), cameras: state.cameras.filter((camera) => site === null || camera.site_id === site) } };
    },
    'POST /cameras/try': ({ body }) => tryOne(body),
    'POST /cameras': ({ body, now }) => create(body, now),
    'PATCH /cameras/:id': ({ id, body, now }) => ({ body: save(find(id), body, now) }),
    'DELETE /cameras/:id': ({ id }) => (emit('camera', { ...find(id), deleted: true }), (state.cameras = state.cameras.filter((camera) => camera.id !== id)), { status: 204 }),
    'GET /alarms/:id/video': ({ id }) => ({
      body: {
        sequence: state.sequence(), cameras: nearest(state.alarms.find((alarm) => alarm.id === id)),
        // Like the hub, what is awaited has a name that nothing opens.
        evidence: [...evidence.values()].filter((one) => one.alarm_id === id).map((one) => (one.state === 'awaited' ? { ...one, id: `awaited ${one.id}` } : one)),
      },
    }),
    'GET /evidence/:id/file': ({ id, request }) => {
      const is_clip = evidence.get(id)?.kind === 'clip';
      return ranged(request, is_clip ? film(CLIP_S) : snapshot(), is_clip ? 'video/mp4' : 'image/jpeg');
    },
    'GET /cameras/:id/recordings': ({ id, url }) => (find(id).state.name === 'unreachable' ? { body: { spans: [], state: 'unreachable' } } : recordings(url)),
    'POST /cameras/:id/exports': ({ id, body, person }) => export_(find(id), body, person),
    'GET /exports/:id': ({ id }) => (exports_.has(id) ? { body: exports_.get(id) } : problem(404, '没有这次导出。', 'not_found')),
    'DELETE /exports/:id': ({ id }) => cancel(exports_.get(id)),
    'GET /exports/:id/file': ({ request }) => ranged(request, film(CLIP_S), 'video/mp4'),
  };

  /** What all channels of a recorder say alike is the recorder's fault; so is its clock when one of them says that. */
  function settle({ recorder_id, site_id, site_name, region_code }, now) {
    const said = state.cameras.filter((camera) => camera.recorder_id === recorder_id).map((camera) => camera.state.name);
    for (const name of ['unreachable', 'refused', 'clock_off']) {
      const [source, code] = [`recorder:${recorder_id}`, `recorder.${name}`];
      const stands = said.length > 1 && (name === 'clock_off' ? said.includes(name) : said.every((one) => one === name));
      const known = state.faults.find((fault) => fault.source === source && fault.code === code && fault.state === 'open');
      if (stands && known === undefined) {
        const fault = {
          id: `f${nextId()}`, site_id, site_name, region_code, device_id: null, source, code, detail: recorder_id, state: 'open', count: 1,
          first_ms: now, last_ms: now, cleared_ms: null,
        };
        state.faults.push(fault);
        emit('fault', fault);
      } else if (!stands && known !== undefined) {
        emit('fault', Object.assign(known, { state: 'cleared', cleared_ms: now }));
      }
    }
  }

  function develop(path, url) {
    if (path === '/dev/stall') stalled_until = Date.now() + Number(url.searchParams.get('ms'));
    if (path === '/dev/camera') {
      const camera = find(url.searchParams.get('id'));
      camera.state = { name: url.searchParams.get('state'), since_ms: Date.now(), detail: '' };
      settle(camera, Date.now());
      emit('camera', camera);
    }
  }

  // ---- sockets --------------------------------------------------------------------------------

  const sockets = new WebSocketServer({ noServer: true });
  const say = (socket, word) => socket.send(JSON.stringify(word));

  function upgrade(request, connection, head, url) {
    const [, id, what] = /^\/api\/v1\/cameras\/([^/]+)\/(live|playback)$/.exec(url.pathname) ?? [];
    const camera = find(id);
    if (camera === undefined) return connection.end('HTTP/1.1 404 Not Found\r\n\r\n');
    sockets.handleUpgrade(request, connection, head, (socket) => (what === 'live' ? live : playback)(socket, camera, url));
  }

  function track(camera, quality) {
    const stream = camera[quality] ?? camera.main;
    const pictures = loop(stream === camera.main ? 'main' : 'sub', TINTS[state.cameras.indexOf(camera) % TINTS.length], camera.audio);
    const codec = stream?.codec === 'h265' ? 'hvc1.1.6.L93.B0' : pictures.codec;
    return { pictures, word: { type: 'track', codec, width: stream?.width ?? 0, height: stream?.height ?? 0 } };
  }

  function live(socket, camera, url) {
    const condition = camera.state.name;
    say(socket, { type: 'state', state: condition, detail: camera.state.detail });
    if (!['ok', 'frozen', 'starting'].includes(condition)) {
      say(socket, { type: 'end', reason: condition });
      return socket.close();
    }
    const { pictures, word } = track(camera, url.searchParams.get('quality') ?? 'sub');
    say(socket, word);
    const began = Date.now() - GOP_FRAMES * (1_000 / FRAMES_PER_S);
    let number = GOP_FRAMES;
    socket.send(pictures.init);
    socket.send(Buffer.concat(Array.from({ length: GOP_FRAMES }, (_, at) => fragmentAt(pictures, at))));
    const timer = setInterval(() => {
      if (Date.now() < stalled_until) return;
      while (began + (number * 1_000) / FRAMES_PER_S < Date.now()) {
        socket.send(fragmentAt(pictures, number));
        if (number % FRAMES_PER_S === 0) {
          const captured_ms = Math.round(began + (number * 1_000) / FRAMES_PER_S) - DELAY_MS;
          say(socket, { type: 'clock', decode_90k: number * FRAME_90K, captured_ms, hub_ms: Date.now() });
        }
        number += 1;
      }
    }, 10);
    socket.on('close', () => clearInterval(timer));
  }

  /** A GOP at a time, as far as credit goes. */
  function playback(socket, camera, url) {
    const [from, to] = ['from_ms', 'to_ms'].map((name) => Number(url.searchParams.get(name)));
    const { pictures, word } = track(camera, 'sub');
    say(socket, word);
    socket.send(pictures.init);
    const gop_ms = (GOP_FRAMES * 1_000) / FRAMES_PER_S;
    let credit = 0;
    let at = from;
    function go() {
      while (credit > 0 && at < to && socket.readyState === 1) {
        const first = Math.round(((at - from) / 1_000) * FRAMES_PER_S);
        const bytes = Buffer.concat(Array.from({ length: GOP_FRAMES }, (_, index) => fragmentAt(pictures, first + index)));
        say(socket, { type: 'fragment', wall_ms: at, duration_ms: gop_ms });
        socket.send(bytes);
        credit -= bytes.length;
        at += gop_ms;
      }
      if (at >= to) say(socket, { type: 'end' });
    }
    socket.on('message', (data) => {
      credit += JSON.parse(data).bytes;
      go();
    });
  }

  return { routes, develop, upgrade, pressed, remember, looks: () => sockets.clients.size };
}

function ranged(request, bytes, type) {
  const [, first, last] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? [];
  if (first === undefined) return { type, bytes, headers: { 'Accept-Ranges': 'bytes', 'Content-Length': bytes.length } };
  const end = last === '' ? bytes.length - 1 : Math.min(Number(last), bytes.length - 1);
  return {
    status: 206, type, bytes: bytes.subarray(Number(first), end + 1),
    headers: { 'Accept-Ranges': 'bytes', 'Content-Range': `bytes ${first}-${end}/${bytes.length}`, 'Content-Length': end + 1 - Number(first) },
  };
}
