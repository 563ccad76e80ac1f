/**
 * The alarm comes with a picture, in a real browser and with the real programs: a gateway records two
 * cameras, a button is pressed, and the command page shows what is and what was. The cameras are
 * virtual and carry a clock in their picture.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { County, ZIGBEE } from './county.mjs';
import { age_ms, installFace } from './face.mjs';
import { assertQuiet, launch, logIn, openPage, shoot, until } from './harness.mjs';

/** From the row on the screen to a picture that moves. */
const ROW_TO_MOVING_MS = 1_000;
/** Evidence reaches so far back from the press, and so far on. */
const BEFORE_S = 30;
const AFTER_S = 60;
/** A clip begins at a keyframe, of which there is one every two seconds. */
const KEYFRAME_MS = 2_500;
/** For the clip to be complete, brought up and shown. */
const EVIDENCE_PATIENCE_MS = (AFTER_S + 60) * 1_000;

let browser;
let county;
let operator;
let site;
let cameras;
let page;

/** Not yet seen to pass: live pictures and evidence have to reach the hub first. `TONGLUO_EYES=1` tries it. */
const IS_TRIED = process.env.TONGLUO_EYES === '1';

before(async () => {
  if (!IS_TRIED) return;
  county = await County.begin();
  operator = await county.addUser('zhibanyuan', '李秀英', 'operator');
  const ask = (method, path, body) => county.ask(county.administrator, method, path, body);
  site = await ask('POST', '/sites', { name: '玉山村委会', region_code: '411728102201' });
  const claim = await ask('POST', `/sites/${site.id}/claims`, {});
  await county.enrol(claim.text);
  await county.introduceZigbee();
  const device = await until('the button is known', async () => {
    const { devices } = await ask('GET', `/devices?site_id=${site.id}`);
    return devices.find(({ key }) => key === ZIGBEE.key);
  }, 30_000);
  await ask('PATCH', `/devices/${device.id}`, { name: ZIGBEE.name, place: ZIGBEE.place, latitude: 33.205, longitude: 113.872 });
  cameras = await county.startCameras(3, '--recipe', 'hd');
  const enter = (number, more) => {
    const { main, sub, username, password } = cameras.cameras[number];
    return ask('POST', '/cameras', { site_id: site.id, name: `摄像机 ${number}`, url: main, sub_url: sub, username, password, ...more });
  };
  const near = await enter(0, { latitude: 33.2051, longitude: 113.8721, bytes_max: 256 << 20 });
  await enter(1, { latitude: 33.206, longitude: 113.874, bytes_max: 256 << 20 });
  cameras.home = await enter(2, { kind: 'home', household_device_ids: [device.id] });
  await ask('PATCH', `/cameras/${cameras.home.id}`, { consent: true });
  await until('the cameras are recorded for long enough', async () => {
    const known = (await ask('GET', '/cameras')).cameras.find(({ id }) => id === near.id);
    return known.state.name === 'ok' && known.recorded_from_ms !== null && known.recorded_from_ms < Date.now() - (BEFORE_S + 5) * 1_000;
  }, 150_000);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await county?.end();
});

afterEach(async (test) => {
  if (page !== undefined) assertQuiet(page);
  await page?.context().close();
  page = undefined;
  if (test.error) process.stderr.write(`${county.log()}\n`);
});

async function open() {
  const opened = await openPage(browser, `${county.url}/command`);
  await opened.evaluate(installFace);
  await logIn(opened, operator.username, operator.password);
  await opened.getByText(/^(实时|Live)$/).waitFor();
  return opened;
}

/** Runs in the page: when a row appears, and when the picture beside it has visibly moved on. */
function watchForMoving() {
  const seen = { row_at: null, moving_at: null, numbers: [] };
  Object.assign(globalThis, { seen });
  const look = () => {
    if (seen.row_at === null && document.querySelector('[role=option]') !== null) seen.row_at = performance.now();
    const video = document.querySelector('.pictures video');
    const number = video === null ? null : globalThis.tongluoFace(video);
    if (number !== null && number !== seen.numbers.at(-1)?.number) {
      seen.numbers.push({ number, at_s: video.currentTime, utc_ms: Date.now() });
      const [first, last] = [seen.numbers[0], seen.numbers.at(-1)];
      if (seen.moving_at === null && last.number !== first.number && last.at_s > first.at_s) seen.moving_at = performance.now();
    }
    if (seen.numbers.length < 50) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

async function closeAlarm() {
  const { alarms } = await county.ask(operator, 'GET', '/alarms?state=open');
  for (const { id } of alarms) await county.ask(operator, 'POST', `/alarms/${id}/close`, { reason: 'false_alarm' });
}

async function uploads() {
  const text = await (await fetch(`${county.url}/metrics`)).text();
  return Number(/^tongluo_hub_video_uploads (\d+)/m.exec(text)?.[1]);
}

/** The evidence of the newest alarm, once its clips are here. */
async function clipsReady() {
  const { alarms } = await county.ask(operator, 'GET', '/alarms?state=open');
  const alarm = alarms[0];
  return until('the clips are here', async () => {
    const { evidence } = await county.ask(operator, 'GET', `/alarms/${alarm.id}/video`);
    const clips = evidence.filter(({ kind }) => kind === 'clip');
    return clips.length > 0 && clips.every(({ state }) => state === 'ready') ? { alarm, clips } : null;
  }, EVIDENCE_PATIENCE_MS);
}

/** Plays the clip on the page from its begin: it is 90 s long, moves, and shows the moment that it says. */
async function playsFromBeforeThePress({ alarm, clips }) {
  const clip = clips[0];
  assert.ok(clip.from_ms <= alarm.occurred_ms - BEFORE_S * 1_000 + KEYFRAME_MS, `from ${alarm.occurred_ms - clip.from_ms} ms before the press`);
  assert.ok(clip.to_ms >= alarm.occurred_ms + AFTER_S * 1_000 - KEYFRAME_MS, `until ${clip.to_ms - alarm.occurred_ms} ms after it`);
  const played = await page.evaluate(async (path) => {
    const video = document.createElement('video');
    video.muted = true;
    video.src = path;
    document.body.append(video);
    await new Promise((resolve, reject) => {
      video.addEventListener('canplay', resolve, { once: true });
      video.addEventListener('error', () => reject(video.error), { once: true });
    });
    const first = { number: globalThis.tongluoFace(video), at_s: video.currentTime };
    await video.play();
    while (video.currentTime < 1) await new Promise(requestAnimationFrame);
    const later = globalThis.tongluoFace(video);
    const duration_s = video.duration;
    video.remove();
    return { first, later, duration_s };
  }, `/api/v1/evidence/${clip.id}/file`);
  assert.ok(played.duration_s > BEFORE_S + AFTER_S - KEYFRAME_MS / 500, `${played.duration_s} s long`);
  assert.notEqual(played.first.number, played.later, 'its pixels change');
  // What was captured a moment before it reached the gateway is what the gateway calls that moment.
  const off_ms = age_ms(cameras, played.first.number, clip.from_ms + played.first.at_s * 1_000);
  assert.ok(off_ms < 1_000, `it shows ${Math.round(off_ms)} ms before what it says`);
}

/** What becomes of a live connection to a camera: its first text, or the code with which it was refused. */
function tryLive(id) {
  return page.evaluate((path) => new Promise((resolve) => {
    const socket = new WebSocket(path);
    socket.addEventListener('message', ({ data }) => {
      if (typeof data !== 'string') return;
      resolve(JSON.parse(data).type);
      socket.close();
    });
    socket.addEventListener('close', () => resolve('closed'));
  }), `/api/v1/cameras/${id}/live?quality=sub`);
}

describe('an alarm', { skip: !IS_TRIED }, () => {
  it('comes with a picture that moves within a second of its row, uploaded once for two viewers', async () => {
    page = await open();
    await page.evaluate(watchForMoving);
    await county.press(ZIGBEE);
    await page.waitForFunction(() => globalThis.seen.moving_at !== null);
    const { row_at, moving_at, numbers } = await page.evaluate(() => globalThis.seen);
    const waited_ms = moving_at - row_at;
    process.stdout.write(`# row to a picture that moves: ${Math.round(waited_ms)} ms\n`);
    assert.ok(waited_ms < ROW_TO_MOVING_MS, `${Math.round(waited_ms)} ms`);
    const { number, utc_ms } = numbers.at(-1);
    assert.ok(age_ms(cameras, number, utc_ms) < ROW_TO_MOVING_MS, 'what moves is live');
    await shoot(page, 'real-eyes-alarm');

    const alone = await uploads();
    const second = await open();
    await second.evaluate(watchForMoving);
    await second.locator('[role=option]').first().click();
    await second.waitForFunction(() => globalThis.seen.moving_at !== null);
    assert.ok(alone >= 1, 'something is uploaded');
    assert.equal(await uploads(), alone, 'the second viewer shares the upload');
    assertQuiet(second);
    await second.context().close();
  });

  it('keeps what was seen from thirty seconds before the press', { timeout: EVIDENCE_PATIENCE_MS + 60_000 }, async () => {
    page = await open();
    await page.locator('[role=option]').first().click();
    const evidence = await clipsReady();
    await page.locator('.item[data-kind=clip][data-state=ready]').first().waitFor();
    await playsFromBeforeThePress(evidence);
    await shoot(page, 'real-eyes-evidence');
    await closeAlarm();
  });

  it('keeps it also when the line was cut from before the press until after it', { timeout: 2 * EVIDENCE_PATIENCE_MS }, async () => {
    page = await open();
    county.cutLine();
    await county.press(ZIGBEE);
    // Until the clip is complete in the village, nobody at the county knows of it.
    await new Promise((resolve) => setTimeout(resolve, (AFTER_S + 5) * 1_000));
    assert.deepEqual((await county.ask(operator, 'GET', '/alarms?state=open')).alarms, []);
    county.mendLine();
    await page.locator('[role=option]').first().waitFor({ timeout: 60_000 });
    await playsFromBeforeThePress(await clipsReady());
    await closeAlarm();
  });

  it('opens the camera of its home, and only while it lasts', async () => {
    page = await open();
    assert.equal(await tryLive(cameras.home.id), 'closed', 'nobody looks into a home');
    await county.press(ZIGBEE);
    await page.locator('[role=option]').first().waitFor();
    assert.equal(await tryLive(cameras.home.id), 'track');
    await closeAlarm();
    assert.equal(await tryLive(cameras.home.id), 'closed', 'the alarm is over');
  });
});
