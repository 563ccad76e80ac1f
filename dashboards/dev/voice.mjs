/** The stand-in hub's loudspeakers: what they are, what was said through them, and what waits to be said. They play in a second. */
import { createHash } from 'node:crypto';

const MINUTE = 60_000;
const RATE_HZ = 16_000;
/** How long a stand-in loudspeaker takes, however long the sound is. */
const PLAY_MS = 1_500;

const SPEAKERS = [
  ['k1', 's1', '村委会楼顶', '三楼平台北角', 'mqtt', true, 90],
  ['k2', 's1', '东头路口', '路口电线杆', 'mqtt', true, 80],
  ['k3', 's1', '西头小桥', '桥北侧灯杆', 'mqtt', true, 80],
  ['k4', 's1', '文化广场', '舞台左侧立柱', 'mqtt', true, 85],
  ['k5', 's1', '南地机井房', '机井房屋檐', 'line_out', true, 70],
  ['k6', 's1', '北坡老年活动中心', '活动中心大门上方', 'mqtt', false, 80],
  ['k7', 's2', '小卖部门前', '雨棚下', 'mqtt', true, 80],
  ['k8', 's2', '打麦场', '麦场电杆', 'mqtt', null, 80],
];

export function speakers(state, now) {
  return SPEAKERS.flatMap(([id, site_id, name, place, kind, online, volume_percent]) => {
    const site = state.sites.find((candidate) => candidate.id === site_id);
    if (site === undefined) return [];
    return [{
      id, site_id, site_name: site.name, region_code: site.region_code, name, kind, place, latitude: null, longitude: null, volume_percent,
      online, last_heard_ms: online === null ? null : now - (online ? 8_000 : 26 * MINUTE), playing: null, device: `horn-${id}`, warm_up_ms: 0, detail: '', reported_ms: now, state: online === false ? 'silent' : 'ok',
      since_ms: now - 26 * MINUTE, revision: 1, deleted: false,
    }];
  });
}

/** A steady tone; the stand-in says nothing, but it can be heard and measured. */
function tone(seconds) {
  const samples = Math.round(seconds * RATE_HZ);
  const bytes = Buffer.alloc(44 + samples * 2);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + samples * 2, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(RATE_HZ, 24);
  bytes.writeUInt32LE(RATE_HZ * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(samples * 2, 40);
  for (let at = 0; at < samples; at += 1) bytes.writeInt16LE(Math.round(3_000 * Math.sin((2 * Math.PI * 440 * at) / RATE_HZ)), 44 + 2 * at);
  return bytes;
}

export function createVoice({ state, emit, problem, nextId, now: clock }) {
  const sounds = new Map();
  let recorded = Buffer.alloc(0);
  const notices = new Map();
  const by_client = new Map();
  let templates = [];
  /** Whether the village is cut off: its loudspeakers play on, and hear of no stop. */
  let deaf = false;
  const find = (id) => state.speakers.find((speaker) => speaker.id === id);
  const mine = (person) => (thing) => thing.region_code.startsWith(person.region_code) || person.region_code.startsWith(thing.region_code);

  function keep(bytes) {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    sounds.set(sha256, bytes);
    return { sha256, bytes: bytes.length, duration_ms: Math.round(((bytes.length - 44) / 2 / RATE_HZ) * 1_000) };
  }

  function aimed({ region_code, speaker_ids }) {
    return state.speakers.filter((speaker) => speaker.region_code.startsWith(region_code) && (speaker_ids == null || speaker_ids.includes(speaker.id)));
  }

  function reachOf(target) {
    const there = aimed(target);
    const count = (key) => new Set(there.map((speaker) => speaker[key])).size;
    return { villages: count('region_code'), sites: count('site_id'), speakers: there.length, online: there.filter(({ online }) => online).length };
  }

  /** As the hub says it before anything is sent. */
  function wordsOf(target) {
    const { villages, speakers: all, online } = reachOf(target);
    return `${state.name(target.region_code)}：${villages > 1 ? `${villages} 个村，` : ''}${all} 个喇叭，${online} 个在线。`;
  }

  const shown = ({ plays, ...notice }) => {
    const counted = (...states) => plays.filter((play) => states.includes(play.state)).length;
    return {
      ...notice,
      played: { played: counted('played'), playing: counted('playing'), waiting: counted('waiting', 'fetching'), failed: counted('failed', 'interrupted', 'expired'), refused: counted('refused'), stopped: counted('stopped') },
    };
  };
  const detail = (notice) => ({ ...shown(notice), speakers: notice.plays });

  function tell(notice) {
    notice.revision += 1;
    emit('notice', shown(notice));
    return shown(notice);
  }

  function make(body, person, now, given = {}) {
    const second = body.region_code.length < 12;
    const notice = {
      id: `n${nextId()}`, title: body.title ?? body.text?.slice(0, 20) ?? '', sent_ms: second ? null : now, refused_reason: null, text: body.text ?? null, region_code: body.region_code, region_name: state.name(body.region_code),
      level: body.level, author: person.display_name, author_username: person.username, created_ms: now, state: second ? 'waiting_for_second' : 'sent',
      sound_sha256: body.sound_sha256, duration_ms: keep(sounds.get(body.sound_sha256) ?? tone(4)).duration_ms, times: body.times, gap_ms: body.gap_ms,
      valid_until_ms: now + body.valid_for_s * 1_000, second: { needed: second, by: null, at_ms: null }, reach: reachOf(body), stopped_by: null, stopped_ms: null, revision: 0,
      plays: aimed(body).map(({ id, name, site_name }) => ({ speaker_id: id, name, site_name, state: 'waiting', played_ms: 0, times: 0, reason: '', at_ms: null })),
      ...given,
    };
    notices.set(notice.id, notice);
    return notice;
  }

  function send(body, person, now) {
    const known = by_client.get(`${person.username} ${body.client_id}`);
    if (known !== undefined) return { status: 200, body: shown(notices.get(known)) };
    if (!sounds.has(body.sound_sha256)) return problem(422, '没有这段声音，请重新录或重新念。', 'invalid');
    const notice = make(body, person, now);
    by_client.set(`${person.username} ${body.client_id}`, notice.id);
    const answer = tell(notice);
    if (notice.state === 'sent') setTimeout(() => begin(notice), 400).unref();
    return { status: 201, body: answer };
  }

  function begin(notice) {
    if (notice.state !== 'sent') return;
    notice.state = 'playing';
    for (const play of notice.plays) if (find(play.speaker_id)?.online) sound(notice, play);
    tell(notice);
  }

  function sound(notice, play) {
    Object.assign(play, { state: 'playing', at_ms: clock() });
    setTimeout(() => {
      if (play.state !== 'playing') return;
      Object.assign(play, { state: 'played', times: notice.times, played_ms: notice.duration_ms * notice.times, at_ms: clock() });
      settle(notice);
    }, PLAY_MS + 100 * notice.plays.indexOf(play)).unref();
  }

  function settle(notice) {
    const is_over = notice.plays.every(({ state: is }) => !['waiting', 'fetching', 'playing'].includes(is));
    if (is_over) notice.state = notice.state === 'stopping' ? 'stopped' : 'done';
    tell(notice);
  }

  function stop(notice, person, now) {
    Object.assign(notice, { state: 'stopping', stopped_by: person.display_name, stopped_ms: now });
    setTimeout(() => hush(notice), 300).unref();
    return { body: tell(notice) };
  }

  /** The order to stop has reached the village. */
  function hush(notice) {
    if (deaf || notice.state !== 'stopping') return;
    for (const play of notice.plays) if (['waiting', 'fetching', 'playing'].includes(play.state)) play.state = 'stopped';
    notice.state = 'stopped';
    tell(notice);
  }

  /** One loudspeaker plays a tone; a notice like others, that no list holds. One whose name says so has a broken amplifier. */
  function test(speaker, person, now) {
    if (!speaker.online) return problem(409, '喇叭不在线，没有发出试音。请先检查电源和网络。', 'speaker.offline');
    const body = { region_code: speaker.region_code, speaker_ids: [speaker.id], sound_sha256: keep(tone(1)).sha256, times: 1, gap_ms: 0, level: 'test', valid_for_s: 60 };
    const notice = make({ ...body, title: `试音：${speaker.name}` }, person, now);
    setTimeout(() => {
      if (!speaker.name.includes('坏')) return begin(notice);
      Object.assign(notice.plays[0], { state: 'failed', reason: '声卡打不开：No such device', at_ms: clock() });
      settle(notice);
    }, 400).unref();
    return { status: 202, body: tell(notice) };
  }

  function confirm(notice, person, now) {
    if (notice.author_username === person.username) return problem(403, '自己发的，要由别人确认。', 'forbidden');
    Object.assign(notice, { state: 'sent', second: { needed: true, by: person.display_name, at_ms: now } });
    setTimeout(() => begin(notice), 400).unref();
    return { body: tell(notice) };
  }

  /** What a village has behind it: one voice that one loudspeaker missed, one text that all played, and one that the township wants to say. */
  function remember(now) {
    if (state.speakers.length === 0) return;
    const { sha256 } = keep(tone(9));
    const head = { username: 'cunzhang', display_name: '周大山' };
    const village = state.sites[0].region_code;
    const body = { region_code: village, speaker_ids: null, sound_sha256: sha256, times: 2, gap_ms: 5_000, level: 'notice', valid_for_s: 900 };
    const past = (given, states) => {
      const notice = make({ ...body, ...given }, head, now - given.ago * MINUTE, { state: 'done', revision: 1 });
      notice.plays.forEach((play, at) => Object.assign(play, { state: states[at] ?? 'played', at_ms: notice.created_ms + 30_000 }));
    };
    past({ ago: 190, title: '明天停水', text: '各位村民，明天上午八点到十二点停水，请提前存水。' }, []);
    past({ ago: 50, title: null, text: null }, ['played', 'played', 'played', 'played', 'played', 'expired']);
    make({ ...body, region_code: village.slice(0, 9), title: '防汛提醒', text: '今天夜里有大到暴雨，请各村注意防汛。', level: 'emergency', times: 3 }, { username: 'zhenzhang', display_name: '孙志强' }, now - 3 * MINUTE);
    templates = [{ id: 't1', region_code: village, title: '森林防火', text: '森林防火，人人有责，请不要在山上用火。', sound_sha256: sha256, duration_ms: 9_000, author: head.display_name, created_ms: now - 90 * MINUTE }];
  }

  function enter(body, now) {
    const site = state.sites.find(({ id }) => id === body.site_id);
    const { key, ...rest } = body;
    const speaker = {
      id: `k${nextId()}`, site_name: site.name, region_code: site.region_code, place: null, latitude: null, longitude: null, volume_percent: 80, online: null,
      last_heard_ms: null, playing: null, device: '', warm_up_ms: 0, detail: '', reported_ms: now, state: 'ok', since_ms: now, revision: 1, deleted: false, ...rest,
    };
    state.speakers.push(speaker);
    emit('speaker', speaker);
    return { status: 201, body: key || body.kind === 'line_out' ? speaker : { ...speaker, key: createHash('sha256').update(speaker.id).digest('hex') } };
  }

  function drop(speaker) {
    state.speakers = state.speakers.filter(({ id }) => id !== speaker.id);
    for (const device of state.devices) {
      const { speaker_ids } = device.response;
      if (!speaker_ids.includes(speaker.id)) continue;
      device.response = { ...device.response, speaker_ids: speaker_ids.filter((id) => id !== speaker.id) };
      emit('device', device);
    }
    emit('speaker', { ...speaker, deleted: true });
    return { status: 204 };
  }

  const page = (list, url) => {
    const from = url.searchParams.get('after') === null ? 0 : list.findIndex(({ id }) => id === url.searchParams.get('after')) + 1;
    const part = list.slice(from, from + 50);
    return { notices: part.map(shown), next: from + 50 < list.length ? part.at(-1).id : null };
  };

  const routes = {
    'GET /speakers': ({ url, person }) => {
      const site = url.searchParams.get('site_id');
      return { body: { sequence: state.sequence(), speakers: state.speakers.filter((speaker) => (site === null || speaker.site_id === site) && mine(person)(speaker)) } };
    },
    'POST /speakers': ({ body, now }) => enter(body, now),
    'PATCH /speakers/:id': ({ id, body }) => (emit('speaker', Object.assign(find(id), body)), { body: find(id) }),
    'DELETE /speakers/:id': ({ id }) => drop(find(id)),
    'POST /speakers/:id/test': ({ id, person, now }) => test(find(id), person, now),
    'POST /sounds': ({ body }) => (Buffer.isBuffer(body) && body.length > 44 ? { status: 201, body: keep((recorded = body)) } : problem(422, '这不是可以播放的声音。', 'invalid')),
    'POST /sounds/speech': ({ body }) => ({ status: 201, body: { ...keep(tone(1 + body.text.length / 5)), spoken_text: body.text.replace(/(\d+)/g, '〔$1〕') } }),
    'GET /sounds/:id': ({ id }) => (sounds.has(id) ? { type: 'audio/wav', bytes: sounds.get(id) } : problem(404, '没有这段声音。', 'not_found')),
    'GET /notices': ({ url, person }) => ({ body: { sequence: state.sequence(), ...page([...notices.values()].filter(mine(person)).filter(({ level }) => level !== 'test' && (url.searchParams.get('level') ?? level) === level).sort((a, b) => b.created_ms - a.created_ms), url) } }),
    'POST /notices/reach': ({ body, now }) => ({ body: { ...reachOf(body), second_needed: body.region_code.length < 12, night: (Math.floor(now / 3_600_000) + 10) % 24 < 8, words: wordsOf(body) } }),
    'POST /notices': ({ body, person, now }) => send(body, person, now),
    'GET /notices/:id': ({ id }) => (notices.has(id) ? { body: detail(notices.get(id)) } : problem(404, '没有这条通知。', 'not_found')),
    'POST /notices/:id/stop': ({ id, person, now }) => stop(notices.get(id), person, now),
    'POST /notices/:id/confirm': ({ id, person, now }) => confirm(notices.get(id), person, now),
    'POST /notices/:id/refuse': ({ id, body, person, now }) =>
      ({ body: tell(Object.assign(notices.get(id), { state: 'refused', refused_reason: body.reason, second: { needed: true, by: person.display_name, at_ms: now } })) }),
    'GET /templates': () => ({ body: { sequence: state.sequence(), templates } }),
    'POST /templates': ({ body, person, now }) => {
      const template = { id: `t${nextId()}`, text: null, sound_sha256: null, duration_ms: 9_000, author: person.display_name, created_ms: now, ...body };
      templates = [template, ...templates];
      return { status: 201, body: template };
    },
    'DELETE /templates/:id': ({ id }) => ((templates = templates.filter((template) => template.id !== id)), { status: 204 }),
  };

  /** A loudspeaker goes or comes back; what may still be played is then played once. */
  function turn(speaker, online) {
    Object.assign(speaker, { online, state: online ? 'ok' : 'silent', last_heard_ms: clock(), since_ms: clock() });
    emit('speaker', speaker);
    if (!online) return;
    for (const notice of notices.values()) {
      const play = notice.plays.find(({ speaker_id, state: is }) => speaker_id === speaker.id && is === 'waiting');
      if (notice.state !== 'playing' || play === undefined) continue;
      sound(notice, play);
      tell(notice);
    }
  }

  function develop(path, url) {
    if (path === '/dev/deaf') {
      deaf = url.searchParams.get('on') === '1';
      for (const notice of notices.values()) hush(notice);
    }
    if (path === '/dev/speaker') turn(find(url.searchParams.get('id')), url.searchParams.get('online') === '1');
    if (path !== '/dev/late') return;
    for (const notice of notices.values()) {
      if (notice.state !== 'playing') continue;
      notice.valid_until_ms = clock();
      for (const play of notice.plays) if (play.state === 'waiting') play.state = 'expired';
      settle(notice);
    }
  }

  return { routes, develop, remember, count: () => notices.size, recorded: () => recorded };
}
