/**
 * The village head's page before the stand-in hub, on a phone of 360 × 640 with Chromium's fake microphone: what the page does
 * by itself. That six loudspeakers really play it is in `voice-flow.test.mjs`.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { assertAccessible, assertQuiet, launch, logIn, microphone, openPage, PHONE, shoot, standInHub, until } from './harness.mjs';

/** What the first visit may load in script, compressed: 1.6 s at 400 kbit/s. */
const SCRIPT_BYTES_MAX = 80_000;
/** The page itself tries for a minute before it asks. */
const GIVES_UP_MS = 90_000;

let browser;
let hub;
let page;

before(async () => {
  browser = await launch(microphone());
});
after(() => browser.close());
afterEach(async () => {
  if (page !== undefined) assertQuiet(page);
  await page?.context().close();
  page = undefined;
  hub?.stop();
});

/** `hour`: what the hub's clock says, in China. Most is tried at noon, whenever the test runs. */
async function village({ user = 'cunzhang', scene = 'calm', hour = 12, ...options } = {}) {
  hub = await standInHub(scene);
  await hub.act(`hour?at=${hour}`);
  page = await openPage(browser, `${hub.url}/village`, { viewport: PHONE, permissions: ['microphone'], ...options });
  await logIn(page, user);
  await live();
}

const live = () => page.getByText(/^(实时|Live)$/).waitFor();
const button = (name) => page.getByRole('button', { name, exact: true });
const notices = () => fetch(`${hub.url}/dev/notices`).then((answer) => answer.json()).then(({ count }) => count);
const form = (stage) => page.locator(`[data-stage=${stage}]`);

async function record(milliseconds = 1_500) {
  await button('录音').click();
  await page.locator('[data-recorder=recording]').waitFor();
  await page.waitForTimeout(milliseconds);
  await button('说完了').click();
  await page.getByRole('heading', { name: '录好的通知' }).waitFor();
}

async function write(text) {
  await button('打字播出').click();
  await page.getByLabel('要说的话').fill(text);
}

describe('the village page', () => {
  it('loads no more script than a cheap phone bears', async () => {
    hub = await standInHub('calm');
    // Nothing of it is there yet: the first visit is measured.
    page = await openPage(browser, `${hub.url}/dev/streams`, { viewport: PHONE, permissions: ['microphone'] });
    const scripts = new Map();
    page.on('response', async (response) => {
      if (response.request().resourceType() === 'script') scripts.set(new URL(response.url()).pathname, await response.body());
    });
    await page.goto(`${hub.url}/village`);
    await logIn(page, 'cunzhang');
    await live();
    await record();
    await until('the scripts', () => scripts.size >= 2);
    const bytes = [...scripts.values()].reduce((sum, script) => sum + gzipSync(script).length, 0);
    process.stdout.write(`# script of /village: ${bytes} bytes compressed, in ${scripts.size} files\n`);
    assert.ok(bytes <= SCRIPT_BYTES_MAX, `${bytes} bytes of script`);
    assert.ok(bytes > 20_000, 'the measure finds the page');
  });

  it('stands on the home screen, from where one more tap records', async () => {
    await village();
    const session = await page.context().newCDPSession(page);
    // As the browser itself reads it when somebody adds the page to the home screen.
    const { data, errors } = await session.send('Page.getAppManifest');
    assert.deepEqual(errors, []);
    const { start_url, scope, display, icons } = JSON.parse(data);
    assert.deepEqual([start_url, scope, display], ['/village', '/village', 'standalone']);
    for (const { src, sizes } of icons) {
      const size = await page.evaluate((address) => {
        const picture = new Image();
        picture.src = address;
        return picture.decode().then(() => `${picture.naturalWidth}x${picture.naturalHeight}`);
      }, src);
      assert.equal(size, sizes);
    }
    await page.goto(`${hub.url}${start_url}`);
    await live();
    await button('录音').waitFor();
  });

  for (const theme of ['light', 'dark']) {
    it(`can be used by everybody, ${theme}`, async () => {
      await village({ theme, scene: 'busy' });
      await page.getByText(/：6 个喇叭，5 个在线/).waitFor();
      const look = async (name) => {
        await shoot(page, `village-${name}-${theme}`);
        await assertAccessible(page, name);
        await assertLegible(name);
      };
      await look('home');
      await page.getByText('2 起警情，已有人接警').click();
      await page.locator('a[data-alarm]').first().waitFor();
      await look('alarms');
      await page.locator('a[data-alarm]').first().click();
      await page.getByText('王奶奶家按钮').waitFor();
      await look('alarm');
      await page.goto(`${hub.url}/village#/`);
      await button('录音').click();
      await page.locator('[data-recorder=recording]').waitFor();
      await page.waitForTimeout(1_200);
      await look('recording');
      await button('说完了').click();
      await page.getByText(/玉山.*6 个喇叭，5 个在线/).waitFor();
      await look('compose');
      await button('发出').click();
      await page.locator('[data-notice]').getByText(/正在播放/).first().waitFor();
      await look('playing');
      await page.getByText('6 个中 5 个已播放，还等 1 个').first().waitFor();
      await look('notice');
      await page.goto(`${hub.url}/village#/past`);
      await page.getByText('明天停水').waitFor();
      await look('past');
      await page.goto(`${hub.url}/village#/speakers`);
      await page.getByText('北坡老年活动中心').waitFor();
      await look('speakers');
    });
  }

  it('speaks English one tap away', async () => {
    await village();
    await button('English').click();
    await page.getByText(/6 speakers, 5 on line/).waitFor();
    await shoot(page, 'village-home-en');
    await assertAccessible(page, 'home in English');
  });
});

/** Text of at least 18 px, and nothing to tap that is lower than 60. */
async function assertLegible(what) {
  const wrong = await page.evaluate(() => {
    const shown = (element) => element.checkVisibility?.({ visibilityProperty: true }) && !element.closest('.aloud') && !element.closest('option');
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const { parentElement: parent, textContent } = walker.currentNode;
      if (!textContent.trim() || !shown(parent)) continue;
      const size = parseFloat(getComputedStyle(parent).fontSize);
      if (size < 18) found.push(`${size} px: ${textContent.trim()}`);
    }
    for (const target of document.querySelectorAll('button, a[href], .choice')) {
      const { height, width } = target.getBoundingClientRect();
      if (shown(target) && (height < 60 || width < 44)) found.push(`${Math.round(width)} × ${Math.round(height)}: ${target.textContent.trim()}`);
    }
    if (document.documentElement.scrollWidth > innerWidth) found.push(`wider than the phone: ${document.documentElement.scrollWidth}`);
    return found;
  });
  assert.deepEqual(wrong, [], what);
}

describe('a voice', () => {
  it('is recorded, heard, sent and followed to the last loudspeaker', async () => {
    await village();
    const round = await button('录音').boundingBox();
    assert.ok(round.width >= 160 && round.height >= 160, `the button is ${round.width} × ${round.height}`);
    await record(2_500);
    await page.getByRole('button', { name: /听一听/ }).click();
    await page.locator('[data-playing=true]').waitFor();
    await page.getByText('6 个喇叭，5 个在线').waitFor();
    await button('多播一遍').click();
    await button('发出').click();
    await page.getByText(/正在播放 5\/6/).first().waitFor();
    const wav = Buffer.from(await fetch(`${hub.url}/dev/sound`).then((answer) => answer.arrayBuffer()));
    assert.equal(wav.toString('latin1', 0, 4), 'RIFF');
    assert.equal(wav.readUInt32LE(24), 16_000);
    const seconds = (wav.length - 44) / 32_000;
    assert.ok(seconds > 1.5 && seconds < 60, `${seconds} s of sound`);
    assert.ok(peak(wav) > 500, 'the microphone was heard');

    await page.getByText('6 个中 5 个已播放，还等 1 个').first().waitFor();
    await page.getByText('播 3 遍', { exact: false }).waitFor();
    const sixth = page.locator('[data-play=waiting]').filter({ hasText: '北坡老年活动中心' });
    await sixth.getByText(/前恢复就会补播一次/).waitFor();
    await hub.act('speaker?id=k6&online=1');
    await page.getByText('6 个喇叭都已播放').waitFor();
    assert.equal(await page.locator('[data-play=played]').count(), 6);
  });

  it('is told what became of the sixth when its time is over', async () => {
    await village();
    await record();
    await button('发出').click();
    await page.getByText('6 个中 5 个已播放，还等 1 个').first().waitFor();
    await hub.act('late');
    await page.getByText('6 个中 5 个已播放', { exact: true }).first().waitFor();
    await page.locator('[data-play=expired]').getByText(/不会再播/).waitFor();
    await hub.act('speaker?id=k6&online=1');
    await page.waitForTimeout(500);
    assert.equal(await page.locator('[data-play=played]').count(), 5);
  });

  it('is stopped with one tap from anywhere', async () => {
    await village();
    await record();
    await button('发出').click();
    await page.getByText(/正在播放 5\/6/).first().waitFor();
    await page.goto(`${hub.url}/village#/speakers`);
    const stop = await button('停止').boundingBox();
    assert.ok(stop.height >= 60 && stop.y + stop.height <= PHONE.height, 'it can be reached');
    await button('停止').click();
    await page.getByText('现在没有播出').waitFor();
    await page.goto(`${hub.url}/village#/past`);
    await page.getByText(/已停止/).waitFor();
  });

  it('is not said to be silent before the loudspeakers have said so', async () => {
    await village();
    await record();
    await button('发出').click();
    await page.getByText(/正在播放 5\/6/).first().waitFor();
    await hub.act('deaf?on=1');
    await button('停止').click();
    const foot = page.getByRole('contentinfo');
    await foot.getByText(/正在停，还有 \d 个喇叭没有回报/).waitFor();
    await foot.getByRole('button', { name: '正在停…' }).waitFor();
    await page.locator('[data-state=stopping]').getByText('还没有回报，可能还在响。').first().waitFor();
    await assertLegible('stopping');
    // The five play on to their end; of the sixth nobody knows.
    await foot.getByText('正在停，还有 1 个喇叭没有回报').waitFor();
    assert.equal(await page.getByText('现在没有播出').count(), 0);
    assert.equal(await page.getByText(/已停止/).count(), 0);
    await hub.act('deaf?on=0');
    await page.getByText('现在没有播出').waitFor();
    await page.locator('[data-state=stopped]').getByText(/已停止/).first().waitFor();
  });

  it('moves nothing under the thumb when something begins to play', async () => {
    await village();
    const before = await button('录音').boundingBox();
    await hub.act('press?device=d1');
    await page.getByText('1 起警情等人接警').waitFor();
    assert.deepEqual(await button('录音').boundingBox(), before);
  });

  it('is refused kindly where there is no microphone', async () => {
    await village();
    await page.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
    });
    await button('录音').click();
    await page.getByRole('alert').getByText(/手机没有让这个网页用话筒/).waitFor();
    await assertLegible('no microphone');
    await page.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotFoundError'));
    });
    await button('开始录音').click();
    await page.getByRole('alert').getByText(/没有找到话筒/).waitFor();
  });

  it('that was too short is no notice', async () => {
    await village();
    await button('录音').click();
    await page.locator('[data-recorder=recording]').waitFor();
    await button('说完了').click();
    await page.getByText('太短了', { exact: false }).waitFor();
    await page.getByRole('link', { name: '返回' }).click();
    await page.getByText('没有没发出的').waitFor();
  });
});

function peak(wav) {
  let highest = 0;
  for (let at = 44; at + 1 < wav.length; at += 2) highest = Math.max(highest, Math.abs(wav.readInt16LE(at)));
  return highest;
}

describe('a text', () => {
  it('is heard before it is sent', async () => {
    await village();
    await write('');
    await button('念给我听').click();
    await page.getByText('请先写要说的话。').waitFor();
    await page.getByLabel('要说的话').fill('下午3点开会');
    await button('发出').click();
    await page.getByText(/请先点“念给我听”/).waitFor();
    assert.equal(await form('ready').count(), 1, 'nothing was sent');
    await button('念给我听').click();
    await page.getByText('下午〔3〕点开会').waitFor();
    // Another text is another sound.
    await page.getByLabel('要说的话').fill('下午4点开会');
    await button('念给我听').click();
    await page.getByText('下午〔4〕点开会').waitFor();
    await page.getByRole('button', { name: /听一听/ }).click();
    await page.locator('[data-playing=true]').waitFor();
    await button('发出').click();
    await page.getByText(/正在播放/).first().waitFor();
  });

  it('goes to those that are chosen, and to nobody if none is', async () => {
    await village();
    await write('开会');
    await button('念给我听').click();
    await button('选喇叭').click();
    for (const name of ['村委会楼顶', '东头路口', '西头小桥', '文化广场']) await page.getByLabel(name).uncheck();
    await page.getByText('2 个喇叭，1 个在线').waitFor();
    for (const name of ['南地机井房', '北坡老年活动中心']) await page.getByLabel(name).uncheck();
    await button('发出').click();
    await page.getByText('没有喇叭可发。请至少选一个。').waitFor();
    await page.getByLabel('南地机井房').check();
    await page.getByText('1 个喇叭，1 个在线').waitFor();
    await button('发出').click();
    await page.getByText('1 个喇叭都已播放').waitFor();
  });
});

describe('the night', () => {
  it('is quiet but for emergencies, and asks twice', async () => {
    await village({ hour: 23 });
    await write('开会');
    await button('念给我听').click();
    await page.getByText('现在是夜里，只播紧急通知。', { exact: false }).waitFor();
    const before = await notices();
    await button('发出').click({ force: true });
    await page.getByLabel('紧急，关系人身安全').check();
    await button('发出').click();
    await page.getByRole('dialog').getByText('夜里播出？').waitFor();
    await shoot(page, 'village-night');
    await assertAccessible(page, 'the second confirmation');
    await page.getByRole('dialog').getByRole('button', { name: '取消' }).click();
    assert.equal(await notices(), before, 'nothing was sent');
    await button('发出').click();
    const sent = page.waitForRequest((request) => request.url().endsWith('/api/v1/notices') && request.method() === 'POST');
    await button('是紧急情况，播出').click();
    assert.equal((await sent).postDataJSON().confirm_night, true);
    await page.getByText(/正在播放/).first().waitFor();
  });
});

describe('a draft', () => {
  it('survives a reload, a voice too, and shows that it was not sent', async () => {
    await village();
    await record(2_500);
    await button('多播一遍').click();
    await page.reload();
    await live();
    await page.getByText('还没有发出').waitFor();
    await page.getByText('3 遍', { exact: true }).waitFor();
    await page.getByRole('button', { name: /听一听/ }).click();
    await page.locator('[data-playing=true]').waitFor();
    await page.goto(`${hub.url}/village#/`);
    await page.getByText('没有发出的 1 条').click();
    await page.getByText('录音通知').waitFor();
  });

  it('keeps what was spoken when the page dies in the middle', async () => {
    await village();
    await button('录音').click();
    await page.locator('[data-recorder=recording]').waitFor();
    await page.getByText('0:04', { exact: true }).waitFor();
    await page.reload();
    await live();
    await page.getByRole('heading', { name: '录好的通知' }).waitFor();
    await page.getByRole('button', { name: /听一听/ }).click();
    await page.locator('[data-playing=true]').waitFor();
  });

  it('is sent once when the line comes back at once', async () => {
    await village();
    await record();
    const before = await notices();
    await hub.act('cut?ms=4000');
    await button('发出').click();
    await page.getByText('正在把录音送到县中心…').waitFor();
    await page.getByText(/正在播放|已播放/).first().waitFor({ timeout: GIVES_UP_MS });
    assert.equal(await notices(), before + 1);
  });

  it('is asked about before it plays late', async () => {
    await village();
    await record();
    const before = await notices();
    await hub.act('cut?ms=600000');
    await button('发出').click();
    await button('不发了，先存着').click();
    await form('unsent').waitFor();
    await page.getByText(/当时没有送达。现在还要播吗？/).waitFor();
    await shoot(page, 'village-late');
    await assertLegible('late');
    await hub.act('cut?ms=0');
    await live();
    await page.reload();
    await live();
    await form('unsent').waitFor();
    assert.equal(await notices(), before, 'nothing plays by itself');
    await button('现在播出').click();
    await page.getByText(/正在播放/).first().waitFor();
    assert.equal(await notices(), before + 1);
    await page.goto(`${hub.url}/village#/`);
    await page.getByText('没有没发出的').waitFor();
  });

  it('that arrived without an answer is one notice, however often it is sent', async () => {
    await village();
    await record();
    const before = await notices();
    let lost = 0;
    await page.route('**/api/v1/notices', async (route) => {
      if (route.request().method() !== 'POST' || lost > 0) return route.fallback();
      lost += 1;
      await route.fetch();
      return route.abort();
    });
    await button('发出').click();
    await page.locator('[data-notice]').waitFor();
    assert.equal(lost, 1);
    assert.equal(await notices(), before + 1);
  });

  it('is kept while the hub refuses it, with the reason', async () => {
    await village();
    await record();
    await page.route('**/api/v1/notices', (route) =>
      route.request().method() === 'POST'
        ? route.fulfill({ status: 422, contentType: 'application/problem+json', body: JSON.stringify({ title: '', status: 422, detail: '这里的喇叭今天在检修。', code: 'invalid' }) })
        : route.fallback());
    await button('发出').click();
    await page.getByRole('alert').getByText(/这里的喇叭今天在检修/).waitFor();
    await page.getByText('还没有发出').waitFor();
  });

  it('belongs to whoever spoke it', async () => {
    await village();
    await record();
    await page.goto(`${hub.url}/village#/`);
    await button('退出').click();
    await logIn(page, 'zhenzhang');
    await page.getByText('没有没发出的').waitFor();
  });
});

describe('two people', () => {
  it('are needed beyond one village, and the author is not the second', async () => {
    await village({ user: 'zhenzhang' });
    await write('各村注意防火');
    await button('念给我听').click();
    await page.getByText(/等第二个人确认才会播/).waitFor();
    await shoot(page, 'village-township');
    await button('发出').click();
    await page.getByText('等第二个人确认，还没有播').first().waitFor();
    await page.goto(`${hub.url}/village#/waiting`);
    await page.getByText('您自己发的，要等别人确认。').first().waitFor();
  });

  it('the second sees the reach in words, hears it, and says yes or no', async () => {
    await village({ user: 'zhibanyuan' });
    await page.getByText('等您确认 1 条').click();
    await page.getByText('孙志强 要在', { exact: false }).waitFor();
    await page.getByText('6 个喇叭，5 个在线', { exact: false }).waitFor();
    await shoot(page, 'village-waiting');
    await assertAccessible(page, 'waiting');
    await button('不同意…').click();
    await page.getByRole('dialog').getByRole('button', { name: '不同意' }).click();
    await page.getByText('请写明原因。').waitFor();
    await page.getByLabel('为什么不同意').fill('日期不对');
    await page.reload();
    await button('不同意…').click();
    assert.equal(await page.getByLabel('为什么不同意').inputValue(), '日期不对', 'what was typed survives a reload');
    await page.getByText('草稿，还没有发出').waitFor();
    await shoot(page, 'village-refuse');
    await assertAccessible(page, 'refusing');
    await assertLegible('refusing');
    await page.getByRole('dialog').getByRole('button', { name: '取消' }).click();
    await button('同意播出').click();
    await page.getByText('已同意，正在播出。').waitFor();
    await page.getByText('没有等确认的通知。').waitFor();
  });
});

describe("the village's alarms", () => {
  it('are taken, gone to, arrived at, and closed as false', async () => {
    await village();
    await hub.act('press?device=d1');
    await page.getByText('1 起警情等人接警').click();
    await page.getByText('王奶奶家按钮').click();
    await page.getByText('东屋床头').waitFor();
    await button('我来接警').click();
    await button('我来接警').waitFor({ state: 'detached' });
    await button('我正在去').click();
    await page.getByText(/正在去 周大山/).waitFor();
    await button('我到了').click();
    await page.getByText(/到场 周大山/).waitFor();
    await button('误报').click();
    await page.getByLabel('说明').fill('孩子玩耍时碰到');
    await page.reload();
    await button('误报').click();
    assert.equal(await page.getByLabel('说明').inputValue(), '孩子玩耍时碰到', 'what was typed survives a reload');
    await page.getByText('草稿，还没有发出').waitFor();
    await shoot(page, 'village-false-alarm');
    await assertLegible('false alarm');
    const sent = page.waitForRequest((request) => request.url().endsWith('/close'));
    await button('是误报，结警').click();
    assert.deepEqual((await sent).postDataJSON(), { reason: 'false_alarm', note: '孩子玩耍时碰到' });
    await page.getByText('本村没有警情。').waitFor();
  });
});

describe('old notices', () => {
  it('are played again, and kept as templates', async () => {
    await village();
    await page.getByRole('link', { name: '以前的通知' }).click();
    await page.getByText('明天停水').click();
    await button('存为模板').click();
    await page.getByText('已存为模板。').waitFor();
    await button('再播一次').click();
    await page.getByText('各位村民，明天上午八点', { exact: false }).waitFor();
    await button('发出').click();
    await page.getByText(/正在播放/).first().waitFor();
    await page.goto(`${hub.url}/village#/past`);
    await button('用它').first().click();
    await page.getByRole('heading', { name: '再播一次' }).waitFor();
  });

  it('are corrected and taken back where they were heard, as urgently as they were said', async () => {
    await village();
    await write('开会');
    await button('念给我听').click();
    await button('选喇叭').click();
    for (const name of ['村委会楼顶', '东头路口', '西头小桥', '文化广场', '北坡老年活动中心']) await page.getByLabel(name).uncheck();
    await page.getByLabel('紧急，关系人身安全').check();
    await button('发出').click();
    await button('是紧急情况，播出').click();
    await page.getByText('1 个喇叭都已播放').waitFor();
    const sent = page.url();
    for (const [act, words] of [['更正', '更正：开会'], ['解除', '解除：“开会”现在解除。']]) {
      await page.goto(sent);
      await button(act).click();
      await page.getByRole('heading', { name: '打字播出' }).waitFor();
      assert.equal(await page.getByLabel('要说的话').inputValue(), words);
      await page.getByText('1 个喇叭，1 个在线').waitFor();
      await button('念给我听').click();
      await button('发出').click();
      const request = page.waitForRequest((asked) => asked.url().endsWith('/api/v1/notices') && asked.method() === 'POST');
      await button('是紧急情况，播出').click();
      const { level, region_code, speaker_ids, text } = (await request).postDataJSON();
      assert.deepEqual({ level, region_code, speaker_ids, text }, { level: 'emergency', region_code: '411728102200', speaker_ids: ['k5'], text: words });
      await page.getByText('1 个喇叭都已播放').first().waitFor();
    }
    await page.goto(sent);
    await button('再播一次').click();
    await page.getByText('1 个喇叭，1 个在线').waitFor();
  });

  it('that are templates are deleted only when it was asked', async () => {
    await village();
    await page.getByRole('link', { name: '以前的通知' }).click();
    await button('删除模板').click();
    await page.getByRole('dialog').getByText('删除“森林防火”以后找不回来。', { exact: false }).waitFor();
    await assertLegible('deleting a template');
    await page.getByRole('dialog').getByRole('button', { name: '取消' }).click();
    await page.getByText('森林防火', { exact: true }).waitFor();
    await button('删除模板').click();
    await page.getByRole('dialog').getByRole('button', { name: '删除', exact: true }).click();
    await page.getByText('模板已删除。').waitFor();
    await page.getByText('还没有模板。', { exact: false }).waitFor();
  });
});

it('says since when it is stale', async () => {
  await village();
  await page.clock.install();
  await hub.act('silence?ms=600000');
  await page.clock.runFor(17_000);
  await page.getByText(/失去联系/).waitFor();
  await shoot(page, 'village-stale');
});
