/**
 * What the browser tests share: the system's Chromium, the stand-in hub, log-in, and the checks
 * that hold for every page (axe, no other host, no error, few saturated pixels).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const SHOTS = `${ROOT}target/browser/`;
mkdirSync(SHOTS, { recursive: true });

const CHROMIUM = process.env.TONGLUO_CHROMIUM ?? '/usr/bin/chromium';
/** Chromium asks its maker about many things unless it is told not to. */
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8');

export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 360, height: 640 };
/** How long anything may take to appear before the test fails. */
export const PATIENCE_MS = 10_000;

/** `environment`: what the browser is told beside what this test was. */
export function launch(more = [], environment = {}) {
  return chromium.launch({ executablePath: CHROMIUM, args: [...ARGUMENTS, ...more], env: { ...process.env, ...environment } });
}

/** A microphone that plays a file over and over (without one, a beep each second), and nobody who has to allow it. */
export function microphone(file) {
  const fake = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required'];
  return file === undefined ? fake : [...fake, `--use-file-for-fake-audio-capture=${file}`];
}

/** The stand-in hub on a port of its own; ends with `stop()`. */
export async function standInHub(scene) {
  const script = `${ROOT}dashboards/dev/fake-hub.mjs`;
  const child = spawn(process.execPath, [script, '--port', '0', '--scene', scene], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^ready: (\S+)/.exec(line)?.[1];
    if (url !== undefined) return { url, stop: () => child.kill(), act: (path) => fetch(`${url}/dev/${path}`, { method: 'POST' }) };
  }
  throw new Error('the stand-in hub ended before it was ready');
}

/**
 * A page of its own, which remembers what it asked of whom and what went wrong.
 *
 * @param {import('playwright-core').Browser} browser
 */
export async function openPage(browser, url, { viewport = DESK, theme, language, ...context_options } = {}) {
  const context = await browser.newContext({ viewport, ...context_options });
  await context.addInitScript(
    ([theme_, language_]) => {
      if (theme_) localStorage.setItem('tongluo.theme', theme_);
      if (language_) localStorage.setItem('tongluo.language', language_);
    },
    [theme, language],
  );
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const seen = { foreign: [], errors: [] };
  const host = new URL(url).host;
  page.on('request', (request) => {
    const asked = new URL(request.url());
    if (!['data:', 'blob:'].includes(asked.protocol) && asked.host !== host) seen.foreign.push(request.url());
  });
  page.on('pageerror', (error) => seen.errors.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy|Vue warn/.test(message.text())) seen.errors.push(message.text());
  });
  await page.goto(url);
  return Object.assign(page, { seen });
}

export async function logIn(page, username, password = 'any') {
  await page.locator('input[autocomplete=username]').fill(username);
  await page.locator('input[type=password]').fill(password);
  await page.keyboard.press('Enter');
}

/** Waits until the map has drawn what it knows. */
export function mapDrawn(page) {
  return page.locator('.sheet:not([data-frames="0"])').waitFor();
}

/** Fails if the page asked another host, threw, or broke the content policy. */
export function assertQuiet(page) {
  assert.deepEqual(page.seen.foreign, [], 'a request left for another host');
  assert.deepEqual(page.seen.errors, [], 'an error on the page');
}

/** Fails if axe finds anything serious or critical. */
export async function assertAccessible(page, what) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const said = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join('; ')}`);
  assert.deepEqual(said, [], `axe on ${what}`);
}

export async function shoot(page, name) {
  return page.screenshot({ path: `${SHOTS}${name}.png` });
}

/** The share of pixels that have a colour of their own: more than a quarter between their channels. */
export async function saturatedShare(browser, png) {
  const page = await browser.newPage();
  const share = await page.evaluate(async (base64) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    let saturated = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue] = data.subarray(at, at + 3);
      if (Math.max(red, green, blue) - Math.min(red, green, blue) > 64) saturated += 1;
    }
    return saturated / (data.length / 4);
  }, png.toString('base64'));
  await page.close();
  return share;
}

/** Waits until `ask` answers with something true; fails with the last answer. */
export async function until(what, ask, patience_ms = PATIENCE_MS) {
  const deadline = performance.now() + patience_ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) assert.fail(`${what}: not within ${patience_ms} ms (last: ${JSON.stringify(answer)})`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
