/**
 * The whole way in a real browser: a technician makes a site and hands its claim to a real gateway;
 * a button of each family is pressed on the village's broker; an operator sees it, takes it, and
 * closes it; the hub is killed in between. The tests build on each other, in this order.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { County } from './county.mjs';
import { assertAccessible, assertQuiet, DESK, launch, logIn, mapDrawn, openPage, PHONE, saturatedShare, shoot, until } from './harness.mjs';
import { LORAWAN, ZIGBEE } from './village.mjs';

/** From the message on the village's broker to the row on the screen. */
const PRESS_TO_ROW_MS = 2_000;

let browser;
let county;
let operator;
let technician;
let village;
let page;

before(async () => {
  county = await County.begin();
  operator = await county.addUser('zhibanyuan', '李秀英', 'operator');
  technician = await county.addUser('jishuyuan', '赵师傅', 'technician');
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

async function open(which, user, options = {}) {
  page = await openPage(browser, `${county.url}/${which}`, { viewport: which === 'field' ? PHONE : DESK, ...options });
  await logIn(page, user.username, user.password);
  await page.getByText(/^(实时|Live)$/).waitFor();
}

const row = (name) => page.locator('[role=option]').filter({ hasText: name });
const rows = () => page.locator('[role=option]').count();
const strokes = async () => Number(await page.locator('.desk').getAttribute('data-strokes'));
const sounding = (is) => page.locator(`.desk[data-sounding=${is}]`).waitFor();

/** Watches the wire for a request header; answers with the list that its values will be added to. */
async function headersSent(name) {
  const wire = await page.context().newCDPSession(page);
  const values = [];
  wire.on('Network.requestWillBeSentExtraInfo', ({ headers }) => {
    for (const [header, value] of Object.entries(headers)) if (header.toLowerCase() === name) values.push(value);
  });
  await wire.send('Network.enable');
  return values;
}

/** Closes the selected alarm by key, with a reason and a note. */
async function close(reason, note) {
  await page.keyboard.press('c');
  await page.getByLabel(reason, { exact: true }).check();
  await page.getByLabel('说明').fill(note);
  await page.getByRole('dialog').getByRole('button', { name: '结警' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

describe('on the field page', () => {
  it('a new site\'s claim enrols a gateway, which is seen to come on line', async () => {
    await open('field', technician);
    await shoot(page, 'real-field-empty');
    await page.getByRole('link', { name: '新建站点' }).click();
    await page.getByLabel('站点名称').fill('玉山村委会');
    await page.getByLabel('乡镇').selectOption('玉山镇');
    await page.getByLabel('村', { exact: true }).selectOption('玉山村民委员会');
    await page.getByRole('button', { name: '新建' }).click();
    const claim = await page.getByLabel('整段文字').innerText();
    assert.match(claim, /^tongluo:claim\?/);
    assert.ok(await page.getByRole('img', { name: '接入码的二维码' }).evaluate((image) => image.naturalWidth > 0), 'the QR code is a picture');
    await shoot(page, 'real-field-claim');
    await assertAccessible(page, 'the claim');
    village = await county.enrol(claim.replaceAll(/\s/g, ''));
    await page.getByText('网关已在线。').waitFor({ timeout: 30_000 });
    await page.getByRole('link', { name: '看这个站点' }).click();
    await page.getByText('村内设备网络').waitFor({ timeout: 30_000 });
  });

  it('devices appear as they are first heard, and are named and placed', async () => {
    await open('field', technician);
    const site = page.getByRole('link', { name: '玉山村委会' });
    await village.introduceZigbee();
    await site.getByText('1 个设备').waitFor({ timeout: 30_000 });
    await site.click();
    await village.introduceLorawan();
    for (const button of [ZIGBEE, LORAWAN]) {
      const device = page.locator('li').filter({ hasText: button.key });
      await device.waitFor({ timeout: 20_000 });
      await device.getByRole('button').click();
      await page.getByLabel('名称').fill(button.name);
      await page.getByLabel('放在哪里').fill(button.place);
      await page.getByRole('button', { name: '保存' }).click();
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await device.getByText(button.place).waitFor();
    }
    await shoot(page, 'real-field-site');
    await assertAccessible(page, 'the site');
  });
});

describe('on the command page', () => {
  for (const theme of ['dark', 'light']) {
    it(`all is calm without an alarm, ${theme}`, async () => {
      await open('command', operator, { theme });
      await mapDrawn(page);
      const share = await saturatedShare(browser, await shoot(page, `real-command-calm-${theme}`));
      assert.ok(share < 0.01, `${(share * 100).toFixed(2)} % of the pixels are saturated`);
      await assertAccessible(page, 'the calm desk');
      await page.keyboard.press('r');
      await page.locator('.county').getByText('玉山镇').waitFor();
    });
  }

  for (const button of [ZIGBEE, LORAWAN]) {
    it(`a ${button.family} press is a row within two seconds, and everything that follows from it`, async () => {
      await open('command', operator);
      await mapDrawn(page);
      const pressed = performance.now();
      await village.press(button);
      await row(button.name).waitFor();
      const waited = performance.now() - pressed;
      process.stdout.write(`# ${button.family}: press to row ${Math.round(waited)} ms\n`);
      assert.ok(waited < PRESS_TO_ROW_MS, `${Math.round(waited)} ms`);
      await sounding(true);
      await until('the gong is struck', strokes);
      await page.locator('.pane').getByText(button.place).waitFor();
      await page.locator('.timeline').getByText(button.pressed).waitFor();
      await shoot(page, `real-command-press-${button.family}`);
      await assertAccessible(page, 'an alarm');

      await village.press(button);
      await row(button.name).getByText('2 次').waitFor();
      assert.equal(await rows(), 1, 'a second press raises the count');

      await page.keyboard.press('a');
      await sounding(false);
      await row(button.name).getByText('已接警').waitFor();
      const silent = await strokes();
      await village.press(button);
      await sounding(true);
      await row(button.name).getByText('又按了，请再接警').waitFor();
      await until('the gong is struck again', async () => (await strokes()) > silent);
      await page.keyboard.press('a');
      await sounding(false);

      await close('误报', `${button.family} 试按`);
      await row(button.name).waitFor({ state: 'detached' });
      await page.keyboard.press('2');
      await row(button.name).click();
      await page.locator('.pane').getByText(`${button.family} 试按`).waitFor();
      for (const what of ['警情产生', '又按了一次', '接警后又按了，重新鸣响']) {
        await page.locator('.timeline').getByText(what).waitFor();
      }
      await shoot(page, `real-command-closed-${button.family}`);
    });
  }

  it('a hub that is killed loses nothing, and the stream resumes by Last-Event-ID', async () => {
    await open('command', operator);
    await village.press(ZIGBEE);
    await row(ZIGBEE.name).waitFor();
    // A second stream, bare, which reads no list: what it has seen, it has seen by resuming.
    await page.evaluate(() => {
      const seen = [];
      const source = new EventSource('/api/v1/events');
      source.addEventListener('alarm', (event) => seen.push({ id: Number(event.lastEventId), alarm: JSON.parse(event.data) }));
      Object.assign(globalThis, { seen, opened: new Promise((resolve) => source.addEventListener('beat', resolve, { once: true })) });
      return globalThis.opened;
    });
    const resumed = await headersSent('last-event-id');
    await village.press(ZIGBEE);
    await row(ZIGBEE.name).getByText('2 次').waitFor();

    await county.killHub();
    await village.press(ZIGBEE);
    await village.press(LORAWAN);
    await county.startHub();

    await row(LORAWAN.name).waitFor({ timeout: 40_000 });
    await row(ZIGBEE.name).getByText('3 次').waitFor();
    assert.equal(await rows(), 2);
    const seen = await until(
      'the bare stream has seen both',
      () => page.evaluate(() => (globalThis.seen.some(({ alarm }) => alarm.presses === 3) && globalThis.seen.length >= 3 ? globalThis.seen : null)),
      20_000,
    );
    const ids = seen.map(({ id }) => id);
    assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => a - b), 'each change once, in order');
    assert.deepEqual(
      seen.map(({ alarm }) => `${alarm.device_name} ${alarm.presses}`).sort(),
      [`${LORAWAN.name} 1`, `${ZIGBEE.name} 2`, `${ZIGBEE.name} 3`].sort(),
    );
    assert.ok(resumed.length > 0, 'a stream asked to go on behind the last event');
    await shoot(page, 'real-command-after-restart');
    await page.keyboard.press('r');
    await page.locator('.county').getByText('全部在线').waitFor({ timeout: 40_000 });
  });

  it('a stream that goes on never claims more than it has sent', async () => {
    await open('command', operator);
    // A browser cut off after this first word would go on behind its id.
    const first = await page.evaluate(async () => {
      const response = await fetch('/api/v1/events', { headers: { 'Last-Event-ID': '1' } });
      const reader = response.body.getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return new TextDecoder().decode(value);
    });
    assert.match(first, /^event: beat$/m);
    assert.equal(/^id: (\d+)$/m.exec(first)?.[1], '1');
  });

  it('is stale while the hub hangs, and live again after', async () => {
    await open('command', operator);
    county.freezeHub();
    await page.locator('.desk[data-stale=true]').waitFor({ timeout: 25_000 });
    await shoot(page, 'real-command-stale');
    county.thawHub();
    await page.locator('.desk[data-stale=false]').waitFor({ timeout: 30_000 });
  });

  it('works on a narrow screen and in English', async () => {
    await open('command', operator, { viewport: PHONE, language: 'en', theme: 'light' });
    await row(ZIGBEE.name).waitFor();
    await shoot(page, 'real-command-phone');
    await assertAccessible(page, 'the narrow desk');
  });
});
