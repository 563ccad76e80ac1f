/**
 * A browser that watches one camera, for `./run bench`: how old the picture on the screen is, by the
 * clock painted into it (`tests/devices/face.rs`), how soon the first live one comes, and whether it
 * ever stops. Takes one JSON argument, prints one JSON line.
 *
 *   node live-bench.mjs '{"url":…,"username":…,"password":…,"camera":…,"seconds":60,"starts":20}'
 */
import { createRequire } from 'node:module';
import { launch, ROOT } from './harness.mjs';

const wishes = { quality: 'main', seconds: 60, starts: 0, cycle_ms: 10_000, frame_ms: 40, ...JSON.parse(process.argv[2]) };

/** The player as pages have it, in one script that can be put into any page. */
async function player() {
  const { build } = await import(createRequire(`${ROOT}dashboards/package.json`).resolve('vite'));
  const built = await build({
    configFile: false,
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"' },
    root: `${ROOT}dashboards`,
    build: { write: false, lib: { entry: 'shared/video/player.ts', formats: ['iife'], name: 'Tongluo' } },
  });
  return [built].flat()[0].output[0].code;
}

/** Inside the page: watches for a while, and notes how old each picture is when it comes up. */
async function watch({ path, seconds, cycle_ms, frame_ms, until_live_ms }) {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  document.body.append(video);
  const canvas = new OffscreenCanvas(20, 1);
  const pixels = canvas.getContext('2d', { willReadFrequently: true });
  const begun_ms = performance.now();
  const ages_ms = [];
  const reports = [];
  let first_picture_ms = null;
  let longest_still_ms = 0;
  let last_up_ms = null;
  let wrong = 0;

  /** The number that is painted along the top: white, black, 12 bits, 4 bits inverted, black, white. */
  function number() {
    for (let cell = 0; cell < 20; cell += 1) {
      const across = ((cell + 0.5) / 20) * video.videoWidth;
      pixels.drawImage(video, across - 1, video.videoHeight * 0.05 - 1, 2, 2, cell, 0, 1, 1);
    }
    const { data } = pixels.getImageData(0, 0, 20, 1);
    const bits = Array.from({ length: 20 }, (_, cell) => (data[cell * 4 + 1] > 128 ? 1 : 0));
    const read = (from, to) => bits.slice(from, to).reduce((sum, bit) => sum * 2 + bit, 0);
    const is_face = bits[0] === 1 && bits[1] === 0 && bits[18] === 0 && bits[19] === 1;
    return is_face && (read(10, 14) ^ 15) === read(14, 18) ? read(2, 14) : null;
  }

  return new Promise((resolve) => {
    const shown = Tongluo.playLive(video, path, (now) => reports.push(now));
    const next = (now_ms, { expectedDisplayTime }) => {
      video.requestVideoFrameCallback(next);
      const seen = number();
      if (seen === null) {
        wrong += 1;
        return;
      }
      const up_ms = performance.timeOrigin + Math.max(now_ms, expectedDisplayTime);
      const age_ms = (((up_ms - seen * frame_ms) % cycle_ms) + cycle_ms) % cycle_ms;
      if (first_picture_ms === null && age_ms < 400) {
        first_picture_ms = now_ms - begun_ms;
        if (until_live_ms !== undefined) end();
      }
      if (first_picture_ms !== null && last_up_ms !== null) longest_still_ms = Math.max(longest_still_ms, now_ms - last_up_ms);
      last_up_ms = now_ms;
      // The first second is that of the beginning.
      if (now_ms - begun_ms > 2_000) ages_ms.push(age_ms);
    };
    video.requestVideoFrameCallback(next);
    const timer = setTimeout(end, until_live_ms ?? seconds * 1_000);

    function end() {
      clearTimeout(timer);
      const figures = shown.figures();
      shown.stop();
      video.remove();
      resolve({ ages_ms, first_picture_ms, longest_still_ms, wrong, figures, last: reports.at(-1) });
    }
  });
}

const quantile = (values, part) => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
};

const code = await player();
const browser = await launch();

async function page() {
  const context = await browser.newContext();
  const opened = await context.newPage();
  await opened.goto(`${wishes.url}/command`);
  const status = await opened.evaluate(
    ([username, password]) =>
      fetch('/api/v1/session', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ username, password }),
      }).then(({ status }) => status),
    [wishes.username, wishes.password],
  );
  if (status >= 300) throw new Error(`logging in was answered with ${status}`);
  // A page of its own with nothing on it, so that only the player is measured.
  await opened.goto(`${wishes.url}/api/v1/session`);
  await opened.evaluate(`${code}; globalThis.Tongluo = Tongluo`);
  return opened;
}

try {
  const opened = await page();
  const asked = { path: `/api/v1/cameras/${wishes.camera}/live?quality=${wishes.quality}`, ...wishes };
  const firsts = [];
  for (let start = 0; start < wishes.starts; start += 1) {
    const { first_picture_ms } = await opened.evaluate(watch, { ...asked, until_live_ms: 15_000 });
    firsts.push(first_picture_ms ?? 15_000);
    await opened.waitForTimeout(200 + Math.random() * 1_000);
  }
  const long = wishes.seconds > 0 ? await opened.evaluate(watch, asked) : null;
  const figures = {
    first_picture_ms: { p50: quantile(firsts, 0.5), p95: quantile(firsts, 0.95), starts: firsts.length },
    latency_ms: long && { p50: quantile(long.ages_ms, 0.5), p95: quantile(long.ages_ms, 0.95), max: quantile(long.ages_ms, 1), pictures: long.ages_ms.length },
    stalls: long?.figures.stalls ?? 0,
    jumps: long?.figures.jumps ?? 0,
    lead_ms: (long?.figures.lead_s ?? 0) * 1_000,
    longest_still_ms: long?.longest_still_ms ?? 0,
    unread: long?.wrong ?? 0,
    last: long?.last ?? null,
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} finally {
  await browser.close();
}
