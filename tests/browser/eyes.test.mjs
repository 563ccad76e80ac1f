/**
 * Map, pictures, wall, playback and cameras before the stand-in hub, whose pictures are real ones:
 * what plays here is decoded by the browser, frame by frame.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { assertAccessible, assertQuiet, DESK, launch, logIn, mapDrawn, openPage, PHONE, shoot, standInHub, until } from './harness.mjs';

/** Patience with twelve megabytes of cameras on a machine that builds something beside. */
const SLOW_MS = 60_000;

/** Marks that a screen may hold, whatever the county does. */
const MARKS_MAX = 700;

let browser;
let hub;
let page;

before(async () => {
  browser = await launch();
});
after(() => browser.close());
afterEach(async () => {
  if (page !== undefined) assertQuiet(page);
  await page?.context().close();
  page = undefined;
  hub?.stop();
});

async function command(scene, options) {
  hub = await standInHub(scene);
  page = await openPage(browser, `${hub.url}/command`, options);
  await logIn(page, 'zhibanyuan');
  await mapDrawn(page);
  await page.locator('.link').getByText(/^(实时|Live)$/).waitFor();
}

async function field(options = {}) {
  hub = await standInHub('busy');
  page = await openPage(browser, `${hub.url}/field`, { viewport: PHONE, ...options });
  await logIn(page, 'jishuyuan');
  await page.goto(`${hub.url}/field#/sites/s1`);
  await page.locator('[data-camera=c1]').waitFor();
}

const row = (name) => page.locator('[role=option]').filter({ hasText: name });
const sheet = (name) => page.locator('.sheet').getAttribute(`data-${name}`).then(Number);
const picture = (camera, inside = 'body') => page.locator(`${inside} .picture[data-camera=${camera}]`);
const looks = (locator, look) => until(`the picture is ${look}`, async () => (await locator.getAttribute('data-look')) === look);
const currentTime = (locator) => locator.locator('video').evaluate((video) => video.currentTime);

/** A hash of what is on the screen of a video, read pixel by pixel. */
function pixels(locator) {
  return locator.locator('video').evaluate((video) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [160, 90];
    const pen = canvas.getContext('2d');
    pen.drawImage(video, 0, 0, 160, 90);
    return pen.getImageData(0, 0, 160, 90).data.reduce((sum, value, at) => (sum * 31 + value * (at % 7)) % 1_000_000_007, 7);
  });
}

async function assertMoves(locator) {
  const [time, shown] = [await currentTime(locator), await pixels(locator)];
  await until('its time advances', async () => (await currentTime(locator)) > time + 0.5);
  await until('its pixels change', async () => (await pixels(locator)) !== shown);
}

describe('the map', () => {
  it('holds a gateway in every grid and three thousand devices, and draws a few hundred marks', async () => {
    hub = await standInHub('grids');
    page = await openPage(browser, `${hub.url}/command`);
    await logIn(page, 'zhibanyuan');
    const asked = page.waitForResponse('**/api/v1/map').then(() => performance.now());
    await page.locator('.sheet[data-points="16228"]').waitFor();
    const drawn = performance.now();
    process.stdout.write(`# the map's answer to 16,228 points drawn: ${Math.round(drawn - (await asked))} ms\n`);
    await shoot(page, 'eyes-map-grids');
    assert.ok((await sheet('marks')) < MARKS_MAX, `${await sheet('marks')} marks`);
    assert.ok((await sheet('frames')) < 8, `${await sheet('frames')} frames to draw it once`);
    for (let at = 0; at < 4; at += 1) {
      await page.getByRole('button', { name: '放大' }).click();
      assert.ok((await sheet('marks')) < MARKS_MAX, `${await sheet('marks')} marks after ${at + 1} steps in`);
    }
    await page.locator('.sheet').focus();
    const frames = await sheet('frames');
    await page.keyboard.press('ArrowRight');
    await until('it moves by key', async () => (await sheet('frames')) > frames);
    await shoot(page, 'eyes-map-grids-near');
  });

  it('shows each alarm at its place, and is worked by pointer, by key and by list', async () => {
    await command('busy');
    assert.equal(await sheet('alarms'), 4);
    await shoot(page, 'eyes-map');
    await page.keyboard.press('/');
    await page.keyboard.type('卫生室');
    await page.locator('.results').getByRole('button', { name: '卫生室候诊区' }).click();
    const card = page.getByRole('region', { name: '卫生室候诊区' });
    await card.getByText('画面不动').waitFor();
    await shoot(page, 'eyes-map-found');
    await assertAccessible(page, 'the map with its list');
    await page.keyboard.press('Escape');
    await card.getByRole('button', { name: '看实时' }).click();
    await page.getByRole('dialog', { name: '卫生室候诊区' }).waitFor();
    await looks(picture('c7', 'dialog'), 'doubtful');
    await shoot(page, 'eyes-camera-dialog');
    await assertAccessible(page, 'a camera enlarged');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: '看全县' }).click();
    // The middle of the selected alarm's mark: a click on the other alarm selects it.
    assert.equal(await row('活动中心').getAttribute('aria-selected'), 'true');
    const box = await page.locator('.sheet').boundingBox();
    await until('a click on the map selects', async () => {
      for (let x = 0.3; x < 0.6; x += 0.02) {
        for (let y = 0.4; y < 0.6; y += 0.02) {
          await page.mouse.move(box.x + box.width * x, box.y + box.height * y);
          if (await page.locator('.sheet.on-mark').count()) {
            await page.mouse.down();
            await page.mouse.up();
            if ((await row('活动中心').getAttribute('aria-selected')) !== 'true') return true;
          }
        }
      }
      return false;
    });
  });

  it('has a key for each view, and keeps the last', async () => {
    await command('calm');
    for (const [key, what] of [['w', '.wall'], ['p', '.playback'], ['r', '.county'], ['m', '.map']]) {
      await page.keyboard.press(key);
      await page.locator(what).waitFor();
    }
    await page.keyboard.press('w');
    await page.reload();
    await page.locator('.wall').waitFor();
  });
});

describe('the pictures of an alarm', () => {
  it('come by themselves, live, with who looks, and say when they are not now', async () => {
    await command('calm');
    await hub.act('press?device=d1');
    const began = performance.now();
    await row('王奶奶家按钮').waitFor();
    const nearest = picture('c1', '.pictures');
    await looks(nearest, 'live');
    process.stdout.write(`# press to live picture, stand-in hub: ${Math.round(performance.now() - began)} ms\n`);
    await assertMoves(nearest);
    await looks(picture('c2', '.pictures'), 'live');
    await nearest.getByText('观看人 李秀英').waitFor();
    await nearest.getByText(/延迟 \d/).waitFor();
    await shoot(page, 'eyes-alarm-live');
    await assertAccessible(page, 'an alarm with pictures');
    await hub.act('stall?ms=7000');
    await looks(nearest, 'stale');
    await nearest.getByText(/画面停在 \d+ 秒前，不是此刻/).waitFor();
    await shoot(page, 'eyes-alarm-stale');
    await looks(nearest, 'live');
    await hub.act('camera?id=c1&state=frozen');
    await page.keyboard.press('w');
  });

  it('are kept from thirty seconds before the press, and say how far each has come', async () => {
    await command('calm');
    await hub.act('press?device=d1');
    const clip = page.locator('[data-kind=clip]').first();
    for (const state of ['awaited', 'saved', 'ready'])
      await until(`the clip is ${state}`, async () => (await clip.getAttribute('data-state')) === state, 20_000);
    await page.locator('.clip .time').getByText(/^−(30|29)\.\d 秒$/).waitFor();
    await page.keyboard.press('b');
    await until('the clip plays', () => page.locator('.clip video').evaluate((video) => video.currentTime > 0.5 && !video.paused));
    await page.locator('.clip input[type=range]').focus();
    await page.keyboard.press('End');
    await page.locator('.clip .time').getByText(/^\+(59|60)\.\d 秒$/).waitFor();
    assert.equal(await row('王奶奶家按钮').getAttribute('aria-selected'), 'true', 'the bar’s keys are its own');
    await page.locator('.clip').scrollIntoViewIfNeeded();
    await shoot(page, 'eyes-evidence');
    await assertAccessible(page, 'the evidence');
  });

  it('that are missing say why', async () => {
    await command('busy');
    await page.locator('[data-state=saved]').first().getByText('已存在村里，正在上传').waitFor();
    await looks(picture('c6', '.pictures'), 'broken');
    await picture('c6', '.pictures').getByText('连不上').waitFor();
    await shoot(page, 'eyes-alarm-broken');
    await page.keyboard.press('j');
    await page.locator('[data-state=missing]').first().getByText('当时摄像机拒绝了密码。').waitFor();
  });
});

/** Puts cameras on the wall. */
async function hang(...names) {
  await page.keyboard.press('w');
  await page.getByRole('button', { name: '选摄像机' }).click();
  for (const name of names) await page.getByRole('treeitem', { name }).click();
  await page.getByRole('button', { name: '选好了' }).click();
}

describe('the sound of a picture', () => {
  /** The tone of the stand-in hub's square. */
  const TONE_HZ = 440;
  /** What is silent is a zero to the last digit; the tone is a quarter of the loudest there is. */
  const LOUD = 0.1;

  /** Leads a video's sound through an ear of our own, behind its mute button. */
  const lendEar = (locator) =>
    locator.locator('video').evaluate(async (video) => {
      const context = new AudioContext();
      const ear = new AnalyserNode(context, { fftSize: 4096 });
      context.createMediaElementSource(video).connect(ear).connect(context.destination);
      await context.resume();
      globalThis.ear = ear;
    });

  /** What is heard now: the loudest value, and the pitch of the strongest tone. */
  const hear = () =>
    page.evaluate(() => {
      const { ear } = globalThis;
      const [wave, tones] = [new Float32Array(ear.fftSize), new Float32Array(ear.frequencyBinCount)];
      ear.getFloatTimeDomainData(wave);
      ear.getFloatFrequencyData(tones);
      const strongest = tones.indexOf(Math.max(...tones));
      return { peak: Math.max(...wave.map(Math.abs)), hz: (strongest * ear.context.sampleRate) / ear.fftSize };
    });

  const decoded = (locator) => locator.locator('video').evaluate((video) => video.webkitAudioDecodedByteCount);

  it('is heard after its button is pressed, and neither before nor after it is pressed again', async () => {
    await command('calm');
    await hang('文化广场北侧');
    const square = picture('c2');
    await looks(square, 'live');
    await lendEar(square);
    const button = square.getByRole('button', { name: '打开声音' });
    const before = await decoded(square);
    await until('its sound arrives', async () => (await decoded(square)) > before);
    for (let look = 0; look < 10; look += 1) {
      assert.equal((await hear()).peak, 0, 'nothing sounds by itself');
      await page.waitForTimeout(100);
    }
    await button.click();
    await until('the tone is heard', async () => (await hear()).peak > LOUD);
    await until('it is the tone of the square', async () => Math.abs((await hear()).hz - TONE_HZ) < 20);
    assert.equal(await button.getAttribute('aria-pressed'), 'true');
    await looks(square, 'live');
    await shoot(page, 'eyes-sound');
    await assertAccessible(page, 'a picture with sound');
    await button.focus();
    await page.keyboard.press('Enter');
    await until('it is silent again', async () => (await hear()).peak === 0);
  });

  it('is offered by no picture that has none', async () => {
    await command('calm');
    await hang('村委会门口');
    await looks(picture('c1'), 'live');
    assert.equal(await picture('c1').getByRole('button', { name: '打开声音' }).count(), 0);
  });
});

describe('the wall', () => {

  for (const theme of ['dark', 'light']) {
    it(`plays sub streams in small tiles and the main one enlarged, and is kept, ${theme}`, async () => {
      await command('calm', { theme });
      await hang('村委会门口', '文化广场北侧', '小卖部门前', '药房门口', '活动中心大厅');
      for (const camera of ['c1', 'c2', 'c4']) await looks(picture(camera), 'live');
      assert.equal(await picture('c1').getAttribute('data-quality'), 'sub');
      await looks(picture('c8'), 'unplayable');
      await picture('c8').getByText('这个浏览器放不了 H.265 编码的画面。').waitFor();
      await looks(picture('c6'), 'broken');
      await assertMoves(picture('c2'));
      await shoot(page, `eyes-wall-${theme}`);
      await assertAccessible(page, 'the wall');
      await page.getByRole('button', { name: '放大村委会门口' }).focus();
      await page.keyboard.press('Enter');
      await until('the main stream is asked for', async () => (await picture('c1').getAttribute('data-quality')) === 'main');
      await looks(picture('c1'), 'live');
      await shoot(page, `eyes-wall-large-${theme}`);
      await page.getByRole('button', { name: '回到全部' }).click();
      await page.reload();
      await looks(picture('c1'), 'live');
      assert.equal(await page.locator('.wall .tile').count(), 9);
      await page.getByRole('button', { name: '16 格' }).click();
      assert.equal(await page.locator('.wall .tile').count(), 16);
    });
  }

  /** The tiles as they stand, and the room they have. */
  const hung = () =>
    page.evaluate(() => {
      const box = (element) => (({ x, y, width, height }) => ({ x, y, width, height }))(element.getBoundingClientRect());
      const stage = document.querySelector('.wall .stage');
      return {
        tiles: [...document.querySelectorAll('.wall .tile')].map(box), stage: box(stage), tools: box(document.querySelector('.wall .tools')).height,
        too_wide: document.documentElement.scrollWidth - innerWidth, hidden: stage.scrollHeight - stage.clientHeight,
      };
    });

  /** The widest that so many tiles of 16:9 can be in a room, however they are arranged. */
  const widest = (count, { width, height }) =>
    Math.max(...Array.from({ length: count }, (_, at) => Math.min(width / (at + 1), (height / Math.ceil(count / (at + 1))) * (16 / 9))));

  for (const viewport of [DESK, { width: 1920, height: 1080 }, { width: 2560, height: 1080 }]) {
    it(`uses the room it has, ${viewport.width} × ${viewport.height}`, async () => {
      await command('calm', { viewport });
      await hang('村委会门口');
      const heights = new Set();
      for (const size of [1, 4, 9, 16]) {
        await page.getByRole('button', { name: `${size} 格` }).click();
        await until(`${size} tiles`, async () => (await hung()).tiles.length === size);
        const { tiles, stage, tools, hidden } = await hung();
        heights.add(tools);
        for (const { width, height } of tiles) assert.ok(Math.abs(width / height - 16 / 9) < 0.02, `${size}: ${width} × ${height}`);
        assert.ok(hidden <= 0, `${size}: ${hidden} px are below the edge`);
        const best = widest(size, stage);
        // An arrangement that is nearly square may be smaller by an eighth.
        assert.ok(tiles[0].width > (best - 12) / 1.125, `${size}: ${tiles[0].width} px wide, ${best} would fit`);
        await shoot(page, `eyes-wall-${viewport.width}-${size}`);
      }
      await page.getByRole('button', { name: '放大村委会门口' }).click();
      heights.add((await hung()).tools);
      assert.equal(heights.size, 1, 'what is above the pictures keeps its height');
      await page.getByRole('button', { name: '全屏' }).click();
      await until('it fills the screen', async () => (await hung()).tiles[0].width > widest(1, viewport) - 12);
    });
  }

  it('is read on a phone, and enlarged under a finger', async () => {
    await command('calm', { viewport: PHONE, hasTouch: true, isMobile: true });
    await hang('村委会门口', '文化广场北侧', '小卖部门前');
    for (const [size, width] of [[1, 356], [4, 356], [9, 177], [16, 177]]) {
      await page.getByRole('button', { name: `${size} 格` }).tap();
      await until(`${size} tiles`, async () => (await hung()).tiles.length === size);
      const { tiles, too_wide } = await hung();
      assert.equal(tiles[0].width, width);
      assert.ok(too_wide <= 0, `${too_wide} px too wide`);
      await shoot(page, `eyes-wall-phone-${size}`);
    }
    await assertAccessible(page, 'the wall on a phone');
    const top = (await hung()).tools;
    await picture('c2').tap();
    await page.getByRole('button', { name: '回到全部' }).waitFor();
    assert.equal(await picture('c2').getAttribute('data-quality'), 'main');
    assert.equal((await hung()).tools, top, 'what is above the pictures keeps its height');
    await page.getByRole('button', { name: '不看文化广场北侧' }).tap();
    await until('it is gone', async () => (await picture('c2').count()) === 0 && (await hung()).tiles.length === 16);
  });

  it('offers no home, and finds by a word', async () => {
    await command('calm');
    await page.keyboard.press('w');
    await page.getByRole('button', { name: '选摄像机' }).click();
    await page.getByRole('treeitem', { name: '村委会门口' }).waitFor();
    assert.equal(await page.getByRole('treeitem', { name: '王奶奶家院门' }).count(), 0);
    await shoot(page, 'eyes-tree');
    await page.getByLabel('按名称、站点、村或乡镇查找').fill('卫生室');
    await until('only what was looked for is left', async () => (await page.locator('.tree [data-camera]').count()) === 2);
    await assertAccessible(page, 'choosing cameras');
    await page.getByLabel('按名称、站点、村或乡镇查找').fill('玉山镇');
    await until('a township is found by its name', async () => (await page.locator('.tree [data-camera=c1]').count()) === 1);
  });

  for (const [theme, language, viewport] of [['dark', 'zh-CN', DESK], ['light', 'en', PHONE]]) {
    it(`is chosen by keys from a county of 13,215 villages with a camera each, ${theme}, ${viewport.width} wide`, async () => {
      hub = await standInHub('villages');
      page = await openPage(browser, `${hub.url}/command`, { theme, language, viewport });
      page.setDefaultTimeout(SLOW_MS);
      await logIn(page, 'zhibanyuan');
      await mapDrawn(page);
      await page.keyboard.press('w');
      const tree = page.getByRole('tree');
      await page.getByRole('button', { name: /选摄像机|Choose cameras/ }).click();
      await tree.waitFor();
      const active = () => tree.evaluate((element) => document.getElementById(element.getAttribute('aria-activedescendant'))?.innerText ?? '');
      const press = async (key, wanted) => {
        await page.keyboard.press(key);
        await until(`${key} leads to ${wanted}`, async () => wanted.test(await active()), SLOW_MS);
      };
      // The dialog's field has the focus; the tree is the next stop.
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('role')), 'tree');
      await press('End', /路|camera/);
      await press('Home', /遂平/);
      assert.match(await active(), /13,?215/);
      const took = [];
      const timed = async (what, act) => {
        const began = performance.now();
        await act();
        took.push(`${what} ${Math.round(performance.now() - began)} ms`);
      };
      await press('ArrowDown', /./);
      await timed('open a township of 735 villages', async () => {
        await page.keyboard.press('ArrowRight');
        await until('its villages are rows', async () => Number(await tree.getAttribute('data-rows')) > 700, SLOW_MS);
      });
      await press('ArrowRight', /第1村/);
      await press('ArrowRight', /第1村/);
      await press('ArrowRight', /村口|文化广场/);
      await page.keyboard.press(' ');
      await until('it is chosen', async () => (await tree.locator('[aria-selected=true]').count()) === 1, SLOW_MS);
      for (const wanted of [/第1村/, /第1村/, /735/]) await press('ArrowLeft', wanted);
      await timed('open every township', async () => {
        await page.keyboard.press('*');
        await until('all villages are rows', async () => Number(await tree.getAttribute('data-rows')) > 13_215, SLOW_MS);
      });
      await timed('go to the end', () => press('End', /第\d+村/));
      await press('PageUp', /第\d+村/);
      assert.ok((await tree.getByRole('treeitem').count()) < 40, 'only what is in sight is on the page');
      await shoot(page, `eyes-tree-county-${viewport.width}-${theme}`);
      await assertAccessible(page, 'a tree of 13,215 villages');
      await timed('find one of them', async () => {
        await page.getByRole('searchbox').fill('玉山第12村 广场');
        await until('it is found', async () => (await tree.locator('[data-camera]').count()) === 1, SLOW_MS);
      });
      process.stdout.write(`# 13,215 villages, stand-in hub, ${viewport.width} wide: ${took.join('; ')}\n`);
      await shoot(page, `eyes-tree-found-${viewport.width}-${theme}`);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= viewport.width, 'nothing is too wide');
      // In the field Escape empties it first.
      await page.keyboard.press('Tab');
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await page.locator('.wall .tile').first().waitFor();
    });
  }
});

describe('a look', () => {
  it('ends as soon as nobody looks any more, and leaves nothing behind', async () => {
    await command('busy');
    const open = () => fetch(`${hub.url}/dev/looks`).then((answer) => answer.json()).then((looks) => looks.open);
    // The third alarm has two cameras; going up and down opens and closes them again and again.
    for (let round = 0; round < 6; round += 1) {
      await page.keyboard.press('j');
      await page.keyboard.press('j');
      await looks(picture('c1', '.pictures'), 'live');
      await until('two are open', async () => (await open()) === 2);
      await page.keyboard.press('k');
      await page.keyboard.press('k');
    }
    // What cannot be reached is tried again now and then, and otherwise nothing is open.
    await until('all are shut', async () => (await open()) === 0);
    await page.keyboard.press('w');
    await page.getByRole('button', { name: '选摄像机' }).click();
    await page.getByRole('treeitem', { name: '村委会门口' }).click();
    await page.keyboard.press('Escape');
    await looks(picture('c1'), 'live');
    await page.keyboard.press('m');
    await until('the wall is shut', async () => (await open()) === 0);
  });
});

describe('playback', () => {
  it('plays a span of a village, moves in it, and exports it with a reason', async () => {
    await command('calm');
    await page.keyboard.press('p');
    await page.locator('.choose select').selectOption('玉山村委会 · 村委会门口');
    const frame = page.locator('.playback .frame');
    await until('it plays', async () => (await frame.getAttribute('data-phase')) === 'playing');
    await assertMoves(frame);
    const shown = await frame.locator('.top').innerText();
    await page.getByLabel('录像时间').focus();
    for (let at = 0; at < 5; at += 1) await page.keyboard.press('PageUp');
    await until('it went on', async () => (await frame.locator('.top').innerText()) !== shown);
    await until('it plays there', async () => (await frame.getAttribute('data-phase')) === 'playing');
    await page.getByLabel('速度').selectOption('4 倍');
    assert.equal(await frame.locator('video').evaluate((video) => video.playbackRate), 4);
    await page.getByRole('button', { name: '暂停' }).click();
    await page.getByRole('button', { name: '播放', exact: true }).waitFor();
    await shoot(page, 'eyes-playback');
    await assertAccessible(page, 'playback');

    await page.getByRole('button', { name: '导出…' }).click();
    await page.getByRole('button', { name: '开始导出' }).click();
    await page.getByText('请写明为什么导出。').waitFor();
    await page.getByLabel('为什么导出').fill('派出所书面调取');
    await page.getByText('草稿，还没有发出').waitFor();
    await page.getByRole('button', { name: '开始导出' }).click();
    await page.getByText(/已完成 \d+%/).waitFor();
    await shoot(page, 'eyes-export-running');
    await page.getByText('导出好了').waitFor();
    await shoot(page, 'eyes-export');
    await assertAccessible(page, 'an export');
    const said = await page.locator('.hash').innerText();
    const link = await page.getByRole('link', { name: /下载 MP4/ }).getAttribute('href');
    const bytes = await page.evaluate(async (path) => [...new Uint8Array(await (await fetch(path)).arrayBuffer())], link);
    assert.equal(createHash('sha256').update(Buffer.from(bytes)).digest('hex'), said);
    await page.getByRole('button', { name: '再导出' }).click();
    assert.equal(await page.getByLabel('为什么导出').inputValue(), '派出所书面调取', 'another part has the same reason');
  });

  it('says what the village cannot give, and cancels', async () => {
    await command('calm');
    await page.keyboard.press('p');
    await page.locator('.choose select').selectOption({ label: '老年活动中心与留守儿童之家综合服务站（北院） · 活动中心大厅' });
    await page.getByText('这段时间没有录像。').waitFor();
    await page.getByLabel('从').fill('2026-11-01T00:00');
    await page.getByRole('button', { name: '查录像' }).click();
    await page.getByText('结束要晚于开始，一次最多看 24 小时。').waitFor();
    await page.keyboard.press('Escape');
    await page.reload();
    await page.locator('.choose select').selectOption('玉山村委会 · 村委会门口');
    await page.getByRole('button', { name: '导出…' }).click();
    await page.getByLabel('为什么导出').fill('试');
    await page.getByRole('button', { name: '开始导出' }).click();
    await page.getByRole('button', { name: '取消导出' }).click();
    await page.getByText('已取消').waitFor();
  });
});

describe('cameras on the field page', () => {
  const tryAddress = async (url, reason) => {
    await page.getByLabel('画面地址（RTSP）').fill(url);
    await page.getByRole('button', { name: '立即试一下' }).click();
    await page.locator(`[data-reason=${reason}]`).waitFor();
  };

  it('are tried at once, and each failure says exactly why', async () => {
    await field();
    await page.getByRole('link', { name: '添加摄像机' }).click();
    await page.getByRole('button', { name: '立即试一下' }).click();
    await page.getByText('地址要以 rtsp:// 开头').waitFor();
    await tryAddress('rtsp://admin:wrong@192.168.8.40/Streaming/Channels/101', 'refused');
    await page.getByText('还可以试 4 次').waitFor();
    await shoot(page, 'eyes-field-refused');
    assert.equal(await page.getByLabel('画面地址（RTSP）').inputValue(), 'rtsp://192.168.8.40/Streaming/Channels/101');
    assert.equal(await page.getByLabel('用户名').inputValue(), 'admin');
    assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes('wrong'), 'no draft keeps a password');
    await tryAddress('rtsp://192.168.8.31/1', 'unreachable');
    await page.getByLabel('密码').fill('right');
    await tryAddress('rtsp://192.168.8.33/1', 'no_such_stream');
    await tryAddress('rtsp://192.168.8.34/1', 'unsupported');
    await tryAddress('rtsp://192.168.8.35/1', 'ok');
    await page.getByText('H.265 在多数浏览器里放不出来').waitFor();
    await page.getByRole('img', { name: '试到的画面' }).waitFor();
    await assertAccessible(page, 'a camera that was tried');
  });

  it('are added, changed and deleted, and a home asks for its consent', async () => {
    await field({ permissions: ['geolocation'], geolocation: { latitude: 33.17, longitude: 113.86, accuracy: 8 } });
    await page.getByRole('link', { name: '添加摄像机' }).click();
    await page.getByLabel('画面地址（RTSP）').fill('rtsp://admin:good@192.168.8.50/1');
    await page.getByLabel('名称').fill('李大爷家院子');
    await page.getByRole('button', { name: '用我现在的位置' }).click();
    await page.getByText('北纬 33.17，东经 113.86').waitFor();
    await page.getByLabel('朝向').selectOption('东南');
    await page.getByLabel('家庭').check();
    await page.getByRole('button', { name: '添加', exact: true }).click();
    await page.getByText('请选这户人家的按钮').waitFor();
    await page.getByLabel('王奶奶家按钮').check();
    await page.getByRole('button', { name: '记下住户同意' }).click();
    await page.getByText('保存后记为今天同意').waitFor();
    await shoot(page, 'eyes-field-home');
    await assertAccessible(page, 'a home camera');
    await page.getByRole('button', { name: '添加', exact: true }).click();
    const added = page.locator('.camera').filter({ hasText: '李大爷家院子' });
    await added.getByText('正常').waitFor();
    await added.getByText(/住户同意/).waitFor();
    await shoot(page, 'eyes-field-cameras');

    await added.getByRole('link', { name: /修改/ }).click();
    await page.getByText('不改就留空').waitFor();
    await page.getByRole('button', { name: '住户收回同意' }).click();
    await page.getByRole('button', { name: '保存' }).click();
    await added.getByText('住户还没有同意，画面不会打开').waitFor();

    await added.getByRole('link', { name: /修改/ }).click();
    await page.getByRole('button', { name: '删除摄像机…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: '删除' }).click();
    await page.getByText('已删除。').waitFor();
    await added.waitFor({ state: 'detached' });
  });

  it('and the site they stand at are placed where the technician stands', async () => {
    await field({ permissions: ['geolocation'], geolocation: { latitude: 33.18, longitude: 113.87, accuracy: 8 } });
    await page.getByRole('button', { name: '用我现在的位置' }).click();
    await page.getByText('北纬 33.18，东经 113.87').waitFor();
    await page.getByRole('button', { name: /起名、定位.*王奶奶家按钮/ }).click();
    await page.getByRole('dialog').getByRole('button', { name: '用我现在的位置' }).click();
    await page.getByRole('dialog').getByText('北纬 33.18，东经 113.87').waitFor();
    await assertAccessible(page, 'placing a button');
    await page.getByRole('dialog').getByRole('button', { name: '保存' }).click();
    await page.getByText('已送达').waitFor();
  });

  it('follow the gateway’s word, and fit a phone', async () => {
    await field({ language: 'en' });
    await hub.act('camera?id=c1&state=unreachable');
    await page.locator('[data-camera=c1][data-state=unreachable]').getByText('Cannot be reached').waitFor();
    // A recorder's clock is said of the recorder, with since when, and not of its camera again.
    await hub.act('camera?id=c1&state=clock_off');
    const recorder = page.locator('[data-recorder][data-state=clock_off]');
    await recorder.getByText('Clock wrong').waitFor();
    await recorder.getByText('since').waitFor();
    await page.locator('[data-camera=c1]').getByText('See its recorder above').waitFor();
    await recorder.scrollIntoViewIfNeeded();
    await shoot(page, 'field-recorder');
    // Nor is a recorder without power sixteen cameras without power.
    for (const id of ['c1', 'c2', 'c3']) await hub.act(`camera?id=${id}&state=unreachable`);
    await page.locator('[data-recorder][data-state=unreachable]').getByText('power').waitFor();
    await page.getByText('A recorder cannot be reached').waitFor();
    for (const id of ['c1', 'c2', 'c3']) await page.locator(`[data-camera=${id}]`).getByText('See its recorder above').waitFor();
    await hub.act('camera?id=c2&state=ok');
    await page.locator('[data-recorder]').waitFor({ state: 'detached' });
    await page.locator('[data-camera=c3]').getByText('Cannot be reached').waitFor();
    // A camera with two streams, at a recorder that gives one: said where that is entered, with the cure.
    await page.goto(`${hub.url}/field#/sites/s1/cameras/c1`);
    await page.getByLabel('Streams that the device gives at once').fill('1');
    await page.getByText('raise the number of streams').waitFor();
    await page.getByLabel('Streams that the device gives at once').fill('2');
    await page.getByText('raise the number of streams').waitFor({ state: 'detached' });
    for (const place of ['#/sites/s1', '#/sites/s1/cameras/new', '#/sites/s1/cameras/c3']) {
      await page.goto(`${hub.url}/field${place}`);
      await page.locator('main h2').first().waitFor();
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= PHONE.width, `${place} is too wide`);
      await assertAccessible(page, place);
    }
  });
});
