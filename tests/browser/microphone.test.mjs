/**
 * A village head's microphone over the network: browsers give one to encrypted pages only, so the hub is opened here by a name
 * that no browser excuses as its own machine's, by phones that trust the hub's authority or one from elsewhere, and by one that
 * trusts neither.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { County } from './county.mjs';
import { assertAccessible, assertQuiet, launch, logIn, microphone, openPage, PHONE, shoot, until } from './harness.mjs';

const NAME = 'hub.tongluo.test';
const VILLAGE = '411728102201';
/** Anything that passes through all programs, on a machine that is building something else. */
const PATIENCE_MS = 90_000;

let folder;
/** Shows the certificate of its own authority. */
let own;
/** Shows one from elsewhere. */
let given;
/** A phone on which both authorities are installed. */
let phone;
let page;
const heads = new Map();

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tongluo-microphone-'));
  const elsewhere = certificateFromElsewhere();
  const names = { names: ['127.0.0.1', NAME] };
  [own, given] = await Promise.all([
    County.begin('[broadcast]\nnight = "none"\n', names),
    County.begin('[broadcast]\nnight = "none"\n', { ...names, http: `certificate = "${elsewhere.chain}"\nkey = "${elsewhere.key}"` }),
  ]);
  for (const county of [own, given]) {
    heads.set(county, await county.addUser('cunzhang', '周大山', 'village_head', VILLAGE));
    const ask = (path, body) => county.ask(county.administrator, 'POST', path, body);
    const site = await ask('/sites', { name: '初徐村委会', region_code: VILLAGE });
    await ask('/speakers', { site_id: site.id, name: '村委会楼顶', kind: 'line_out' });
    heads.get(county).site = site;
  }
  phone = await openPhone('trusting', [own.authority, elsewhere.authority]);
});

after(async () => {
  await phone?.close();
  await Promise.all([own?.end(), given?.end()]);
  rmSync(folder, { recursive: true, force: true });
});

afterEach(async (test) => {
  if (page !== undefined) assertQuiet(page);
  await page?.context().close();
  page = undefined;
  if (test.error) process.stderr.write(`${own.log()}\n${given.log()}\n`);
});

/** What a public authority would sign: an authority that the hub does not know, and its certificate for the hub's name. */
function certificateFromElsewhere() {
  const at = (name) => join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'];
  openssl('req', '-x509', ...key, '-keyout', at('ca-key.pem'), '-out', at('ca.pem'), '-subj', '/CN=Somebody else');
  openssl(
    'req', '-x509', ...key, '-keyout', at('key.pem'), '-out', at('chain.pem'), '-subj', `/CN=${NAME}`,
    '-CA', at('ca.pem'), '-CAkey', at('ca-key.pem'), '-addext', `subjectAltName=DNS:${NAME}`,
    '-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=serverAuth',
  );
  return { chain: at('chain.pem'), key: at('key.pem'), authority: at('ca.pem') };
}

/** A browser whose home trusts these authorities beside those it came with. */
async function openPhone(name, authorities) {
  const home = join(folder, name);
  const trust = `sql:${join(home, '.pki/nssdb')}`;
  mkdirSync(join(home, '.pki/nssdb'), { recursive: true });
  execFileSync('certutil', ['-d', trust, '-N', '--empty-password']);
  for (const [number, authority] of authorities.entries()) {
    execFileSync('certutil', ['-d', trust, '-A', '-t', 'C,,', '-n', `authority ${number}`, '-i', authority]);
  }
  const names = [`--host-resolver-rules=MAP ${NAME} 127.0.0.1`, '--no-proxy-server'];
  return launch([...microphone(), ...names], { HOME: home });
}

const secure = (county) => `https://${NAME}:${county.ports.secure}/village`;
const button = (name) => page.getByRole('button', { name, exact: true });

async function open(browser, url) {
  page = await openPage(browser, url, { viewport: PHONE });
  page.setDefaultTimeout(PATIENCE_MS);
}

async function logInAs({ username, password }) {
  await logIn(page, username, password);
  await page.getByText('实时').waitFor();
}

/** Records, listens and sends; the county then holds a sound of that length. */
async function speak(county) {
  await logInAs(heads.get(county));
  assert.equal(await page.evaluate(() => `${isSecureContext} ${location.protocol} ${location.hostname}`), `true https: ${NAME}`);
  const [cookie] = await page.context().cookies();
  assert.ok(cookie.secure && cookie.name.startsWith('__Host-'), cookie.name);
  await button('录音').click();
  await page.locator('[data-recorder=recording]').waitFor();
  await page.waitForTimeout(2_500);
  await button('说完了').click();
  await page.getByRole('button', { name: /听一听/ }).click();
  await page.locator('[data-playing=true]').waitFor();
  await button('发出').click();
  await page.locator('[data-notice]').first().waitFor();
  const [notice] = (await county.ask(county.administrator, 'GET', '/notices')).notices;
  assert.equal(notice.author_username, 'cunzhang');
  assert.ok(notice.duration_ms > 1_000 && notice.duration_ms < 60_000, `${notice.duration_ms} ms`);
}

describe('a microphone', () => {
  it('is to be had over HTTPS, when the phone trusts the hub’s own authority', async () => {
    await open(phone, secure(own));
    await speak(own);
  });

  it('is to be had over HTTPS with a given certificate, and gateways enrol there all the same', async () => {
    await open(phone, secure(given));
    await speak(given);
    const { site } = heads.get(given);
    await given.enrol((await given.ask(given.administrator, 'POST', `/sites/${site.id}/claims`, {})).text);
    const on_line = async () => (await given.ask(given.administrator, 'GET', '/sites')).sites.some(({ gateway }) => gateway?.online);
    await until('the gateway on line', on_line, PATIENCE_MS);
  });

  it('is not to be had over an open line: the page says why, and leads to where it is', async () => {
    await open(phone, `http://${NAME}:${own.ports.plain}/village`);
    await logInAs(heads.get(own));
    assert.equal(await page.evaluate(() => isSecureContext), false, 'the name is none that browsers excuse');
    await button('录音').click();
    await page.getByRole('alert').getByText(/这个网页是用 http 打开的，录不了音/).waitFor();
    await shoot(page, 'village-open-line');
    await assertAccessible(page, 'an open line');
    const way = page.getByRole('link', { name: secure(own) });
    const { height } = await way.boundingBox();
    assert.ok(height >= 60, `a target of ${height} px`);
    await way.click();
    await page.waitForURL(secure(own));
    await logInAs(heads.get(own));
    assert.equal(await page.evaluate(() => isSecureContext), true);
    page.seen.foreign = [];
  });

  it('is not to be had from a hub whose authority the phone does not trust', async () => {
    const stranger = await openPhone('stranger', []);
    try {
      for (const county of [own, given]) {
        await assert.rejects(openPage(stranger, secure(county)), /ERR_CERT_AUTHORITY_INVALID/);
      }
    } finally {
      await stranger.close();
    }
  });
});
