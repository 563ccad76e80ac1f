/**
 * The pages before the stand-in hub: what a page does by itself, whatever hub it has. What only a
 * real hub can prove is in `flow.test.mjs`.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import {
  assertAccessible, assertQuiet, launch, logIn, mapDrawn, openPage, PHONE, saturatedShare, shoot, standInHub, until,
} from './harness.mjs';

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
  if (scene === 'empty') await page.locator('.sheet').waitFor();
  else await mapDrawn(page);
  await page.locator('.link').getByText(/^(实时|Live)$/).waitFor();
}

async function field(scene, { user = 'jishuyuan', ...options } = {}) {
  hub = await standInHub(scene);
  page = await openPage(browser, `${hub.url}/field`, { viewport: PHONE, ...options });
  await logIn(page, user);
  await page.getByText(/^(实时|Live)$/).waitFor();
}

const row = (name) => page.locator('[role=option]').filter({ hasText: name });
const strokes = async () => Number(await page.locator('.desk').getAttribute('data-strokes'));

describe('the command page', () => {
  for (const theme of ['dark', 'light']) {
    for (const language of ['zh-CN', 'en']) {
      it(`can be used by everybody, ${theme}, ${language}`, async () => {
        await command('busy', { theme, language });
        await shoot(page, `command-busy-${theme}-${language}`);
        await assertAccessible(page, 'the busy desk');
        await page.keyboard.press('c');
        await page.getByRole('dialog').waitFor();
        await shoot(page, `command-close-${theme}-${language}`);
        await assertAccessible(page, 'closing an alarm');
      });

      it(`is calm without alarms, ${theme}, ${language}`, async () => {
        await command('calm', { theme, language });
        const share = await saturatedShare(browser, await shoot(page, `command-calm-${theme}-${language}`));
        assert.ok(share < 0.01, `${(share * 100).toFixed(2)} % of the pixels are saturated`);
        assert.ok(share > 0, 'the measure finds the bronze of the mark');
      });
    }
  }

  it('teaches the next step when it is empty', async () => {
    await command('empty');
    await shoot(page, 'command-empty');
    await page.getByText('没有未结的警情。').waitFor();
    await page.getByText('还没有站点有位置。', { exact: false }).waitFor();
    await page.keyboard.press('r');
    await page.getByText('还没有站点。', { exact: true }).waitFor();
  });

  it('is worked by keyboard alone', async () => {
    await command('busy');
    await until('the newest is selected by itself', () => row('活动中心').getAttribute('aria-selected').then((is) => is === 'true'));
    await page.keyboard.press('j');
    assert.equal(await row('小卖部').getAttribute('aria-selected'), 'true');
    await page.keyboard.press('k');
    await page.keyboard.press('a');
    await row('活动中心').getByText('已接警').waitFor();
    await page.keyboard.press('c');
    // The first reason has the focus: two steps on, a note, and away.
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Tab');
    await page.keyboard.type('孩子误碰');
    await page.getByText('草稿，还没有发出').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await row('活动中心').waitFor({ state: 'detached' });
    await page.keyboard.press('2');
    await row('活动中心').waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  });

  it('sounds until somebody acts, and again at a press on a taken alarm', async () => {
    await command('calm');
    const sounding = () => page.locator('.desk').getAttribute('data-sounding');
    assert.equal(await sounding(), 'false');
    await hub.act('press?device=d1');
    await page.locator('.desk[data-sounding=true]').waitFor();
    const first = await until('a stroke', strokes);
    await until('another stroke', async () => (await strokes()) > first);
    await page.keyboard.press('a');
    await page.locator('.desk[data-sounding=false]').waitFor();
    const silent = await strokes();
    await hub.act('press?device=d1');
    await page.locator('.desk[data-sounding=true]').waitFor();
    await until('it is struck again', async () => (await strokes()) > silent);
    await row('王奶奶家按钮').getByText('又按了，请再接警').waitFor();
    assert.equal(await page.locator('[role=option]').count(), 1, 'a repeat is no second row');
    await row('王奶奶家按钮').getByText('2 次').waitFor();
  });

  it('asks to turn the sound on where the browser holds it back', async () => {
    await command('busy');
    // A page that nobody has touched since it was opened may not sound.
    await page.reload();
    const enable = page.getByRole('button', { name: '点这里打开警情声' });
    await enable.waitFor();
    await shoot(page, 'command-silenced');
    assert.equal(await strokes(), 0);
    await enable.click();
    await until('a stroke', strokes);
    await enable.waitFor({ state: 'detached' });
  });

  it('does not move the row under the pointer when alarms come and go', async () => {
    await command('busy');
    const box = () => row('王奶奶家按钮').boundingBox();
    await row('王奶奶家按钮').hover();
    const place = (await box()).y;
    await hub.act('press?device=d2');
    await until('the new alarm is in the list', () => page.locator('[role=option]').count().then((count) => count === 5));
    assert.equal((await box()).y, place);
    await page.getByRole('button', { name: '↑ 1 起等人接警' }).waitFor();
    await shoot(page, 'command-held');
    await page.mouse.move(720, 450);
    await until('it gives way when the pointer leaves', async () => (await box()).y > place);
  });

  it('groups a flood by source, and never an SOS', async () => {
    await command('flood');
    await shoot(page, 'command-flood');
    assert.equal(await page.locator('[role=option]').count(), 4);
    await row('王奶奶家按钮').waitFor();
    await row('同一来源 7 起').first().click();
    await page.keyboard.press('e');
    await until('the group is open', () => page.locator('[role=option]').count().then((count) => count === 11));
  });

  it('says that it is stale after fifteen seconds without a word', async () => {
    // The longer language: its warning must not move the columns either.
    await command('busy', { language: 'en' });
    const top = async () => (await page.locator('.columns').boundingBox()).y;
    const before = await top();
    assert.equal(await page.locator('.desk').getAttribute('data-stale'), 'false');
    const began = performance.now();
    await hub.act('silence?ms=19000');
    await page.locator('.desk[data-stale=true]').waitFor({ timeout: 25_000 });
    const waited = performance.now() - began;
    assert.ok(waited > 9_000 && waited < 17_500, `stale after ${waited} ms`);
    assert.equal(await top(), before, 'the columns did not jump');
    await shoot(page, 'command-stale');
    await assertAccessible(page, 'the stale desk');
    await page.locator('.desk[data-stale=false]').waitFor({ timeout: 25_000 });
  });

  it('resumes behind the last change it saw', async () => {
    await command('calm');
    await hub.act('press?device=d1');
    await row('王奶奶家按钮').waitFor();
    await hub.act('drop');
    const streams = () => fetch(`${hub.url}/dev/streams`).then((answer) => answer.json());
    const asked = await until('it asks again', async () => ((await streams()).length > 1 ? streams() : null));
    assert.ok(Number(asked.at(-1).last_event_id) >= 101, asked.at(-1).last_event_id);
    await page.getByText('实时').waitFor();
    await hub.act('press?device=d3');
    await row('小卖部柜台').waitFor();
  });

  it('lays the log-in over the page when the session ends, and loses no draft', async () => {
    await command('busy');
    await page.keyboard.press('c');
    await page.getByLabel('说明').fill('已派张三去看');
    await hub.act('expire');
    await page.getByLabel('误报').check();
    await page.getByRole('dialog').getByRole('button', { name: '结警' }).click();
    const door = page.getByRole('dialog', { name: '登录' });
    await door.getByText('您正在写的内容都还在').waitFor();
    await page.keyboard.press('Escape');
    await shoot(page, 'command-expired');
    await door.getByLabel('密码').fill('any');
    await page.keyboard.press('Enter');
    await door.waitFor({ state: 'detached' });
    assert.equal(await page.getByLabel('说明').inputValue(), '已派张三去看');
    await page.reload();
    await page.locator('[role=option]').first().waitFor();
    await page.keyboard.press('c');
    assert.equal(await page.getByLabel('说明').inputValue(), '已派张三去看', 'the draft survives a reload');
  });

  it('keeps the reason for refusing a broadcast over a reload', async () => {
    await command('calm');
    const ask = async () => {
      await page.getByRole('button', { name: '广播等确认 1' }).click();
      await page.getByRole('button', { name: '不同意…' }).click();
    };
    const dialog = page.getByRole('dialog', { name: '不同意播出' });
    await ask();
    await dialog.getByLabel('为什么不同意').fill('时间写错了');
    await page.reload();
    await ask();
    assert.equal(await dialog.getByLabel('为什么不同意').inputValue(), '时间写错了');
    await dialog.getByText('草稿，还没有发出').waitFor();
    await dialog.getByRole('button', { name: '不同意' }).click();
    await page.getByText('已退回，没有播。').waitFor();
  });

  it('stays whole at 200 % zoom and on a narrow screen', async () => {
    await command('busy', { viewport: { width: 720, height: 450 } });
    await shoot(page, 'command-zoomed');
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} px too wide`);
    await row('王奶奶家按钮').scrollIntoViewIfNeeded();
    await assertAccessible(page, 'the narrow desk');
  });
});

describe('the field page', () => {
  for (const theme of ['dark', 'light']) {
    it(`can be used by everybody, ${theme}`, async () => {
      await field('busy', { theme });
      await shoot(page, `field-sites-${theme}`);
      await assertAccessible(page, 'the sites');
      await page.getByRole('link', { name: '玉山村委会' }).click();
      await page.getByText('王奶奶家按钮').first().waitFor();
      await shoot(page, `field-site-${theme}`);
      await assertAccessible(page, 'a site');
      await page.getByRole('button', { name: '吊销网关证书…' }).click();
      await shoot(page, `field-revoke-${theme}`);
      await assertAccessible(page, 'revoking');
    });
  }

  it('has text of 16 px and targets of 44 px at least', async () => {
    await field('busy', { language: 'en' });
    for (const place of ['#/', '#/new', '#/sites/s1', '#/order-keys']) {
      await page.goto(`${hub.url}/field${place}`);
      await page.locator('main h2').first().waitFor();
      const small = await page.evaluate(() => {
        const shown = [...document.querySelectorAll('body *')].filter((element) => element.checkVisibility());
        const texts = shown.filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
        const targets = shown.filter((element) => element.matches('a, button, select, input'));
        return [
          ...texts.filter((element) => parseFloat(getComputedStyle(element).fontSize) < 16),
          ...targets.filter((element) => element.getBoundingClientRect().height < 44),
        ].map((element) => element.outerHTML.slice(0, 120));
      });
      assert.deepEqual(small, [], `too small on ${place}`);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= PHONE.width, `${place} is too wide`);
    }
  });

  it('makes a site and follows its claim until the gateway is on line', async () => {
    await field('busy');
    await page.getByRole('link', { name: '新建站点' }).click();
    await page.getByLabel('站点名称').fill('张庄村委会');
    await page.getByLabel('乡镇').selectOption('玉山镇');
    await page.getByLabel('村', { exact: true }).selectOption({ index: 1 });
    await page.reload();
    assert.equal(await page.getByLabel('站点名称').inputValue(), '张庄村委会', 'the draft survives a reload');
    await page.getByText('草稿已存在这台手机上').waitFor();
    await page.getByRole('button', { name: '新建' }).click();
    const code = await page.locator('.code').innerText();
    assert.match(code, /[A-Z2-9]{8}$/);
    assert.equal(await page.getByRole('img', { name: '接入码的二维码' }).evaluate((image) => image.naturalWidth > 0), true);
    await page.getByText(/还有 1[45]:\d\d 过期/).waitFor();
    await shoot(page, 'field-claim');
    await assertAccessible(page, 'a claim');
    const id = /sites\/(\w+)\/claim/.exec(page.url())[1];
    await hub.act(`enrol?site=${id}`);
    await page.getByText('网关已接入，等它上线…').waitFor();
    await page.getByText('网关已在线。').waitFor();
    await shoot(page, 'field-online');
  });

  it('keeps the reason typed into each of its windows over a reload', async () => {
    await field('busy', { user: 'guanliyuan' });
    const windows = [
      ['sites/s1', '消除…', '做了什么', '消除'],
      ['sites/s1', '吊销网关证书…', '原因', '吊销'],
      ['order-keys', /^撤销…/, '原因', '撤销'],
    ];
    for (const [place, opener, label, submit] of windows) {
      const dialog = page.getByRole('dialog');
      const open = async () => {
        await page.goto(`${hub.url}/field#/${place}`);
        await page.getByRole('button', { name: opener }).first().click();
        await dialog.waitFor();
      };
      await open();
      const note = dialog.getByText('草稿，还没有发出');
      assert.equal(await note.isVisible(), false, 'nothing was typed yet');
      const place_of = () => dialog.getByRole('button', { name: submit, exact: true }).boundingBox();
      const before = await place_of();
      await page.getByLabel(label).fill('网关丢失，已找到');
      await note.waitFor();
      assert.deepEqual(await place_of(), before, 'no button moves under the thumb');
      await page.reload();
      await open();
      assert.equal(await page.getByLabel(label).inputValue(), '网关丢失，已找到', `${opener}`);
      await note.waitFor();
      if (await page.getByRole('checkbox').count()) await page.getByRole('checkbox').check();
      await dialog.getByRole('button', { name: submit, exact: true }).click();
      await dialog.waitFor({ state: 'detached' });
    }
    assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('draft'))), [], 'what was sent is no draft');
  });

  it('says what could not be read, and does not call it empty', async () => {
    await field('busy');
    await page.route('**/api/v1/{devices,regions}*', (route) => route.abort());
    await page.getByRole('link', { name: '玉山村委会' }).click();
    await page.getByText('连不上县中心').waitFor();
    assert.equal(await page.getByText('还没有听到设备。').count(), 0);
    await page.goto(`${hub.url}/field#/new`);
    await page.getByText('连不上县中心').waitFor();
    await page.unroute('**/api/v1/{devices,regions}*');
    await page.getByRole('button', { name: '再试一次' }).click();
    await page.getByLabel('乡镇').selectOption('玉山镇');
  });

  it('names and places a device', async () => {
    await field('busy');
    await page.getByRole('link', { name: '玉山村委会' }).click();
    await page.getByRole('button', { name: /起名、定位.*0x00158d0001a2b3c4|起名、定位.*lorawan/ }).click();
    await page.getByLabel('名称').fill('李大爷家按钮');
    await page.getByLabel('放在哪里').fill('堂屋门后');
    await page.getByRole('button', { name: '保存' }).click();
    await page.getByText('已送达').waitFor();
    await page.getByText('堂屋门后').waitFor();
  });

  it('asks a line-out for its sound card and its amplifier', async () => {
    await field('busy');
    await page.getByRole('link', { name: '玉山村委会' }).click();
    await page.locator('[data-speaker=k5]').getByRole('link').click();
    assert.equal(await page.getByLabel('声卡').inputValue(), 'horn-k5');
    await page.getByLabel('声卡').fill('plughw:1');
    await page.getByLabel('功放预热（秒）').fill('20');
    await page.getByRole('button', { name: '保存' }).click();
    await page.getByText('请填 0 到 10，最多一位小数。').waitFor();
    await assertAccessible(page, 'a line-out');
    await page.getByLabel('功放预热（秒）').fill('2.5');
    const sent = page.waitForRequest((request) => request.method() === 'PATCH');
    await page.getByRole('button', { name: '保存' }).click();
    const { device, warm_up_ms } = (await sent).postDataJSON();
    assert.deepEqual([device, warm_up_ms], ['plughw:1', 2_500]);
    await page.getByText('已送达').waitFor();
  });

  it('asks twice before it revokes, and says why not', async () => {
    await field('busy');
    await page.getByRole('link', { name: '玉山村委会' }).click();
    await page.getByRole('button', { name: '吊销网关证书…' }).click();
    const confirm = page.getByRole('dialog').getByRole('button', { name: '吊销' });
    await confirm.click();
    await page.getByText('请写明原因。').waitFor();
    await page.getByLabel('原因').fill('网关丢失');
    await confirm.click();
    await page.getByText('请先勾选确认。').waitFor();
    await page.getByRole('checkbox').check();
    await confirm.click();
    await page.getByText('已吊销，网关已断开。').waitFor();
    await page.getByText('未装网关').waitFor();
  });

  for (const theme of ['dark', 'light']) {
    it(`shows an administrator the order keys, and ends them by the keyboard alone, ${theme}`, async () => {
      await field('busy', { theme, user: 'guanliyuan' });
      const way = page.getByRole('link', { name: '指令密钥' });
      await way.focus();
      await page.keyboard.press('Enter');
      const village = page.locator('[data-region="411728102200"]');
      await village.getByText('1 台网关认这把密钥。').waitFor();
      await village.getByText(/前一把密钥不再签发/).waitFor();
      await page.locator('[data-region="411728102"]').getByText('还没有', { exact: true }).waitFor();
      assert.equal(await page.locator('[data-region]').count(), 3, 'both keys of a village are one line');
      await shoot(page, `field-keys-${theme}`);
      await assertAccessible(page, 'the order keys');
      const withdraw = village.getByRole('button', { name: /撤销/ });
      await withdraw.focus();
      await page.keyboard.press('Enter');
      const dialog = page.getByRole('dialog');
      await dialog.getByText('下次给', { exact: false }).waitFor();
      await shoot(page, `field-keys-withdraw-${theme}`);
      await assertAccessible(page, 'withdrawing');
      await page.keyboard.press('Escape');
      assert.equal(await village.count(), 1, 'nothing was ended');
      await withdraw.press('Enter');
      await page.getByLabel('原因').press('Enter');
      await page.getByText('请写明原因。').waitFor();
      await page.getByLabel('原因').fill('平台备份丢失');
      await page.keyboard.press('Enter');
      await page.getByText(/已撤销.*正在通知 1 台网关/).waitFor();
      await village.waitFor({ state: 'detached' });
      assert.equal(await page.locator('[data-region]').count(), 2);
    });
  }

  it('offers the order keys to nobody who may not end them', async () => {
    await field('busy');
    await page.getByRole('link', { name: '玉山村委会' }).waitFor();
    assert.equal(await page.getByRole('link', { name: '指令密钥' }).count(), 0);
  });
});
