/**
 * A village hears its head: in a real browser with a microphone that speaks, through the real hub and gateway, to six virtual
 * loudspeakers that keep the protocol and write what they play. The tests build on each other, in this order.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { County } from './county.mjs';
import { assertQuiet, launch, logIn, microphone, openPage, PHONE, shoot, until } from './harness.mjs';

const VILLAGE = '411728102201';
const SPEAKERS = ['horn-1', 'horn-2', 'horn-3', 'horn-4', 'horn-5', 'horn-6'];
const SIXTH = 'horn-6';
const WORDS = 'ge4wei4 cun1min2, jin1tian1 xia4wu3 san1 dian3, zai4 wen2hua4 guang3chang3 da3 yi4miao2.';
/** Anything that passes through all programs, on a machine that is building something else. */
const PATIENCE_MS = 90_000;
/** The shortest time that a notice may be given to a loudspeaker that comes back. */
const VALID_FOR_S = 60;
/** What the gateway waits before it calls a loudspeaker lost, and what it all takes to be shown. */
const EXPIRED_MS = (VALID_FOR_S + 60) * 1_000;
/** What a recording may be longer or shorter than its sound at the loudspeaker: a piece of samples. */
const LENGTH_SLACK_S = 0.1;

let browser;
let county;
let head;
let page;
let site;
let village;
let voice;
const keys = new Map(SPEAKERS.map((serial) => [serial, randomBytes(32).toString('hex')]));

const ask = (method, path, body) => county.ask(county.administrator, method, path, body);
const button = (name) => page.getByRole('button', { name, exact: true });

before(async () => {
  voice = mkdtempSync(join(tmpdir(), 'tongluo-voice-'));
  execFileSync('espeak-ng', ['-v', 'cmn-latn-pinyin', '-w', join(voice, 'microphone.wav'), WORDS]);
  // Whoever runs the test at night must hear the village, too.
  county = await County.begin('[broadcast]\nnight = "none"\n');
  head = await county.addUser('cunzhang', '周大山', 'village_head', VILLAGE);
  site = await ask('POST', '/sites', { name: '初徐村委会', region_code: VILLAGE });
  const claim = await ask('POST', `/sites/${site.id}/claims`, {});
  village = await county.enrol(claim.text);
  for (const serial of SPEAKERS) {
    village.switchOn(serial, keys.get(serial));
    await ask('POST', '/speakers', { site_id: site.id, name: serial, kind: 'mqtt', device: serial, key: keys.get(serial), volume_percent: 80 });
  }
  await until('six loudspeakers on line', async () => (await speakers()).filter(({ online }) => online).length === SPEAKERS.length, PATIENCE_MS);
  browser = await launch(microphone(join(voice, 'microphone.wav')));
});

after(async () => {
  await browser?.close();
  await county?.end();
  rmSync(voice, { recursive: true, force: true });
});

afterEach(async (test) => {
  if (page !== undefined) assertQuiet(page);
  await page?.context().close();
  page = undefined;
  if (test.error) process.stderr.write(`${county.log()}\n`);
});

const speakers = async () => (await ask('GET', `/speakers?site_id=${site.id}`)).speakers;

async function open(hash = '') {
  page = await openPage(browser, `${county.url}/village${hash}`, { viewport: PHONE, permissions: ['microphone'] });
  page.setDefaultTimeout(PATIENCE_MS);
  await logIn(page, head.username, head.password);
  await page.getByText('实时').waitFor();
}

/** Records for some seconds, once over, and sends. */
async function speak(milliseconds) {
  await button('录音').click();
  await page.locator('[data-recorder=recording]').waitFor();
  await page.waitForTimeout(milliseconds);
  await button('说完了').click();
  await page.getByRole('button', { name: /听一听/ }).click();
  await page.locator('[data-playing=true]').waitFor();
  await button('少播一遍').click();
  await button('发出').click();
}

/** The sound of a WAV file: seconds, loudness (RMS of 1) and the samples. */
function read(path) {
  const bytes = readFileSync(path);
  const rate_hz = bytes.readUInt32LE(24);
  const start = bytes.indexOf('data', 12, 'latin1') + 8;
  const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length - ((bytes.length - start) % 2)));
  const rms = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length) / 0x8000;
  return { seconds: samples.length / rate_hz, rms, samples: Buffer.from(samples.buffer) };
}

/** What a loudspeaker has played, but the chime before each notice: its length is the gateway's. */
const CHIME_S = 2;
const heardFiles = (serial) => village.played(serial).files.filter((path) => read(path).seconds !== CHIME_S);
/** How each of its plays ended, by its own diary. */
const ends = (serial) => village.played(serial).diary.filter(({ ended }) => ended !== undefined);
const wavOf = (serial, play) => village.played(serial).files.find((path) => path.endsWith(`/${play}.wav`));
const plays = (serial) => heardFiles(serial).length;

describe('a village', () => {
  it('hears what its head says, from all six, the same', async () => {
    await open();
    await page.getByText(/6 个喇叭，6 个在线/).waitFor();
    await speak(6_000);
    await page.getByText('6 个喇叭都已播放').first().waitFor();
    await shoot(page, 'voice-six');
    const [notice] = (await ask('GET', '/notices')).notices;
    const heard = SPEAKERS.map((serial) => {
      assert.equal(plays(serial), 1, `${serial} played once`);
      return read(heardFiles(serial)[0]);
    });
    for (const { seconds, rms, samples } of heard) {
      assert.ok(Math.abs(seconds - notice.duration_ms / 1_000) < LENGTH_SLACK_S, `${seconds} s of ${notice.duration_ms} ms`);
      assert.ok(rms > 0.01 && rms < 0.5, `loudness ${rms}`);
      assert.ok(samples.equals(heard[0].samples), 'the same sound');
    }
    assert.ok(notice.duration_ms > 4_000 && notice.duration_ms < 60_000, `${notice.duration_ms} ms`);
  });

  it('is told what becomes of the sixth, which plays once when it comes back in time', async () => {
    await village.switchOff(SIXTH);
    await open();
    await speak(3_000);
    await page.getByText('6 个中 5 个已播放，还等 1 个').first().waitFor();
    await page.locator('[data-play]').filter({ hasText: SIXTH }).getByText(/前恢复就会补播一次/).waitFor();
    await shoot(page, 'voice-five');
    const before = plays(SIXTH);
    village.switchOn(SIXTH, keys.get(SIXTH));
    await page.getByText('6 个喇叭都已播放').first().waitFor();
    assert.equal(plays(SIXTH), before + 1);
    for (const serial of SPEAKERS) assert.equal(plays(serial), 2, serial);
  });

  it('hears nothing late from the sixth', async () => {
    await village.switchOff(SIXTH);
    const [{ sound_sha256 }] = (await ask('GET', '/notices')).notices;
    const sent = await ask('POST', '/notices', { region_code: VILLAGE, sound_sha256, level: 'notice', valid_for_s: VALID_FOR_S });
    await open(`#/notice/${sent.id}`);
    await page.getByText('6 个中 5 个已播放', { exact: true }).first().waitFor({ timeout: EXPIRED_MS });
    await page.locator('[data-play]').filter({ hasText: SIXTH }).getByText(/不会再播/).waitFor();
    const before = plays(SIXTH);
    village.switchOn(SIXTH, keys.get(SIXTH));
    await until('it is on line again', async () => (await speakers()).every(({ online }) => online), PATIENCE_MS);
    // What must not happen is waited for as long as the whole way takes: a second notice passes it.
    await ask('POST', '/notices', { region_code: VILLAGE, sound_sha256, level: 'notice' });
    await until('the next notice', () => plays(SIXTH) > before, PATIENCE_MS);
    await until('all have played it', async () => (await ask('GET', '/notices')).notices[0].state === 'done', PATIENCE_MS);
    assert.equal(plays(SIXTH), before + 1, 'only the one that came after it');
  });

  it('falls silent with one tap, and is said to be silent only then', async () => {
    await open();
    await speak(8_000);
    await page.getByText('正在播放 6/6').first().waitFor();
    await button('停止').click();
    await page.getByText('现在没有播出').waitFor();
    await page.getByText(/已停止/).first().waitFor();
    const [notice] = (await ask('GET', '/notices')).notices;
    assert.equal(notice.state, 'stopped');
    for (const serial of SPEAKERS) {
      // Read at once: when the page says "stopped", every loudspeaker has ended.
      const last = ends(serial).at(-1);
      assert.equal(last?.ended, 'Stopped', `${serial}: ${JSON.stringify(last)}`);
      const { seconds } = read(wavOf(serial, last.play));
      assert.ok(seconds < notice.duration_ms / 1_000 - LENGTH_SLACK_S, `${serial}: ${seconds} s of ${notice.duration_ms} ms`);
    }
  });

  it('is not said to be silent while its gateway is cut off and plays on', async () => {
    await open();
    await speak(3_000);
    await page.getByText('正在播放 6/6').first().waitFor();
    const is_notice = (serial, play) => read(wavOf(serial, play)).seconds !== CHIME_S;
    const finished = (serial) => ends(serial).filter(({ ended, play }) => ended === 'Finished' && is_notice(serial, play)).length;
    const before = new Map(SPEAKERS.map((serial) => [serial, finished(serial)]));
    village.cutLine();
    await button('停止').click();
    await page.getByText('正在停，还有 6 个喇叭没有回报').first().waitFor();
    // It plays to its end, and nobody at the county can know.
    await until('the end of the sound', () => SPEAKERS.every((serial) => finished(serial) > before.get(serial)), PATIENCE_MS);
    assert.equal(await page.getByText(/已停止/).count(), 0);
    assert.equal(await page.getByText('现在没有播出').count(), 0);
    village.mendLine();
    await page.getByText('现在没有播出').waitFor();
    await page.getByText(/已停止，6 个中 6 个已播完/).first().waitFor();
  });
});
