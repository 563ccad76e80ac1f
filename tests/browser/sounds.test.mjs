/**
 * What is to be heard, before the stand-in hub: what a press sets off and test tones on the technician's page, emergency broadcasts
 * on the operator's. That something really sounds is in `voice-flow.test.mjs` and in the flows.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { assertAccessible, assertQuiet, launch, logIn, mapDrawn, openPage, PHONE, shoot, standInHub } from './harness.mjs';

const HOUR_MS = 3_600_000;
const VILLAGE = '411728102200';

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

const box = (name) => page.getByRole('checkbox', { name });
const button = (name) => page.getByRole('button', { name, exact: true });

/** The page of a site as its technician sees it. */
async function site(options) {
  hub = await standInHub('calm');
  page = await openPage(browser, `${hub.url}/field`, { viewport: PHONE, ...options });
  await logIn(page, 'jishuyuan');
  await page.getByRole('link', { name: '玉山村委会' }).click();
  await page.locator('[data-speaker=k5]').waitFor();
}

describe('what a press sets off', () => {
  const dialog = () => page.getByRole('dialog');
  const open = () => page.getByRole('button', { name: /起名、定位、按下以后.*王奶奶家按钮/ }).click();

  async function save() {
    const sent = page.waitForRequest((request) => request.method() === 'PATCH');
    await button('保存').click();
    await dialog().waitFor({ state: 'detached' });
    return (await sent).postDataJSON().response;
  }

  it('is nothing that is heard, unless somebody chooses it and says from where', async () => {
    await site();
    await open();
    assert.equal(await page.getByLabel('不出声').isChecked(), true);
    await page.getByLabel('名称').fill('王奶奶家按钮（东屋）');
    assert.equal(await save(), undefined, 'what was not touched is not sent');

    await open();
    await page.getByLabel('请邻居去看').check();
    await dialog().getByText(/要这家人自己同意才能选/).waitFor();
    await page.getByRole('radio', { name: '响警报' }).check();
    await dialog().getByText(/全村都会被惊动/).waitFor();
    await shoot(page, 'field-response');
    await assertAccessible(page, 'what a press sets off');
    await page.getByLabel('警报响几秒').fill('61');
    await button('保存').click();
    await page.getByText('请填 1 到 60。').waitFor();
    await page.getByText('请至少选一个喇叭，或者选全部。').waitFor();
    await page.getByLabel('警报响几秒').fill('45');
    await box('文化广场').check();
    await box('东头路口').check();
    assert.deepEqual(await save(), { kind: 'siren', speaks: false, siren_s: 45, speaker_ids: ['k4', 'k2'] });
    await page.getByText('按下后：响警报 45 秒，2 个喇叭').waitFor();

    await page.reload();
    await page.getByText('按下后：响警报 45 秒，2 个喇叭').waitFor();
    await open();
    assert.equal(await box('文化广场').isChecked(), true);
    assert.equal(await box('西头小桥').isChecked(), false);
    await page.getByLabel('不出声').check();
    await box('还念出结果').check();
    await box('这个站点的全部喇叭').check();
    assert.deepEqual(await save(), { kind: 'silent', speaks: true, everywhere: true });
    await page.getByText('按下后：念出结果，全部喇叭').waitFor();
  });

  it('says so when the loudspeakers that were chosen for it are gone', async () => {
    await site();
    await open();
    await page.getByLabel('请邻居去看').check();
    await box('文化广场').check();
    await save();
    await page.locator('[data-speaker=k4]').getByRole('link').click();
    await button('删除喇叭').click();
    await dialog().getByRole('button', { name: '删除', exact: true }).click();
    await page.getByText('选的喇叭都删除了，现在按下不会出声。请重选。').waitFor();
  });

  it('can be chosen in English', async () => {
    await site({ language: 'en' });
    await page.getByRole('button', { name: /Name, place, what a press does.*王奶奶家按钮/ }).click();
    await page.getByRole('radio', { name: 'Siren' }).check();
    await dialog().getByText(/only if the household itself agrees/).waitFor();
    await box('Every loudspeaker of this site').check();
    const sent = page.waitForRequest((request) => request.method() === 'PATCH');
    await button('Save').click();
    assert.deepEqual((await sent).postDataJSON().response, { kind: 'siren', speaks: false, siren_s: 30, everywhere: true });
    await page.getByText('When pressed: siren for 30 s, every loudspeaker').waitFor();
  });
});

describe('a loudspeaker', () => {
  const row = (id) => page.locator(`[data-speaker=${id}]`);

  async function enter(name) {
    await page.getByRole('link', { name: '添加喇叭' }).click();
    await page.getByRole('textbox', { name: '编号' }).fill('horn-77');
    await page.getByLabel('名称').fill(name);
    await button('添加').click();
  }

  it('is entered, and the key that was drawn for it is shown once', async () => {
    await site();
    await enter('打麦场');
    await page.getByText('只显示这一次，关掉就看不到了。', { exact: false }).waitFor();
    await assertAccessible(page, 'the key');
    const key = (await page.locator('.key').innerText()).replace(/\s/g, '');
    assert.match(key, /^[0-9a-f]{64}$/);
    await page.keyboard.press('Escape');
    assert.equal(await page.getByRole('dialog').count(), 1, 'it is not shut by mistake');
    await button('已写进喇叭').click();
    await page.locator('[data-speaker]').filter({ hasText: '打麦场' }).waitFor();
    assert.ok(!(await page.content()).includes(key), 'the key is nowhere any more');
  });

  it('says what became of a test tone', async () => {
    await site();
    await row('k1').getByRole('button', { name: '村委会楼顶试音' }).click();
    await row('k1').getByText('喇叭说正在响。现场听到了吗？').waitFor();
    await row('k1').getByText('喇叭说响过了。', { exact: false }).waitFor();
    assert.equal(await page.locator('[data-tone]').count(), 1, 'of this one alone');
    await row('k6').getByRole('button', { name: '北坡老年活动中心试音' }).click();
    await row('k6').getByText('喇叭不在线，没有发出试音。', { exact: false }).waitFor();
    await shoot(page, 'field-tone');
    await assertAccessible(page, 'test tones');
  });

  it('says why a test tone did not sound', async () => {
    await site();
    await row('k2').getByRole('link').click();
    await page.getByLabel('名称').fill('坏喇叭');
    await button('保存').click();
    await row('k2').getByRole('button', { name: '坏喇叭试音' }).click();
    await row('k2').getByText('试音没有响。 设备报告：声卡打不开：No such device').waitFor();
  });
});

describe('an emergency broadcast', () => {
  /** What somebody else does meanwhile, on a page of their own. */
  async function somebody(username) {
    const asked = async (path, body, cookie) => {
      const headers = { 'Content-Type': 'application/json', ...(cookie ? { Cookie: cookie } : {}) };
      return fetch(`${hub.url}/api/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    };
    const session = await asked('/session', { username, password: 'any' });
    const [cookie] = session.headers.get('set-cookie').split(';');
    const ask = (path, body) => asked(path, body, cookie).then((answer) => answer.json());
    return {
      ask,
      say: async (level, title) => {
        const { sha256 } = await ask('/sounds/speech', { text: title });
        const more = { speaker_ids: null, sound_sha256: sha256, times: 1, gap_ms: 0, valid_for_s: 900 };
        return ask('/notices', { region_code: VILLAGE, level, title, client_id: `${title} ${Math.random()}`, ...more });
      },
    };
  }

  it('is in sight at the county at once, and for half an hour after it was heard', async () => {
    hub = await standInHub('busy');
    const head = await somebody('cunzhang');
    page = await openPage(browser, `${hub.url}/command`);
    await logIn(page, 'zhibanyuan');
    await mapDrawn(page);
    await page.locator('.link').getByText('实时').waitFor();
    const queue = page.getByLabel('警情列表');
    const corner = async () => (({ x, y }) => [x, y])(await queue.boundingBox());
    const before = await corner();
    await head.say('notice', '打疫苗');
    const { id } = await head.say('emergency', '河水上涨');
    const line = page.locator(`[data-emergency=${id}]`);
    await line.getByText(/紧急广播 · .*玉山.* · 周大山/).waitFor();
    await line.getByText('河水上涨').waitFor();
    await line.getByText('正在播放 5/6').waitFor();
    assert.equal(await page.locator('[data-emergency]').count(), 1, 'daily matters are not reported');
    assert.deepEqual(await corner(), before, 'no alarm moves');
    await shoot(page, 'command-emergency');
    await assertAccessible(page, 'an emergency broadcast');
    await line.getByText('6 个中 5 个已播放，还等 1 个').waitFor();
    await hub.act('late');
    await line.getByText('6 个中 5 个已播放', { exact: true }).waitFor();
    await page.reload();
    await line.waitFor();
    // The hub's clock goes on: two hours later nobody needs it any more.
    const hour = new Date(Date.now() + 8 * HOUR_MS + 2 * HOUR_MS).getUTCHours();
    await hub.act(`hour?at=${hour}`);
    await line.waitFor({ state: 'detached' });
  });

  it('is said to be stopped only when its loudspeakers have said so', async () => {
    hub = await standInHub('calm');
    const head = await somebody('cunzhang');
    page = await openPage(browser, `${hub.url}/command`);
    await logIn(page, 'zhibanyuan');
    await mapDrawn(page);
    const { id } = await head.say('emergency', '河水上涨');
    const line = page.locator(`[data-emergency=${id}]`);
    await line.getByText('正在播放 5/6').waitFor();
    await hub.act('deaf?on=1');
    await head.ask(`/notices/${id}/stop`, {});
    await line.getByText(/正在停，还有 \d 个喇叭没有回报/).waitFor();
    await hub.act('deaf?on=0');
    await line.getByText(/已停止/).waitFor();
  });
});
