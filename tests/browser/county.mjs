/**
 * A small real county for the browser tests: the hub, villages, virtual cameras. Everything listens
 * on loopback, keeps its data in one temporary folder, and ends with the test.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './harness.mjs';
import { end, freePort, PROGRAMS, secret, start } from './programs.mjs';
import { Village } from './village.mjs';

const run = promisify(execFile);
/** A cold start makes keys, tables and regions. */
const START_PATIENCE_MS = 60_000;
/** Some seconds of video are encoded, the first time. */
const CAMERAS_PATIENCE_MS = 240_000;
const LOG_LINES_SHOWN = 40;

export class County {
  #folder = mkdtempSync(join(tmpdir(), 'tongluo-browser-'));
  #hub = null;
  #cameras = null;
  #villages = [];
  /** Who has logged in here. A person's sessions are bounded, and pages need theirs. */
  #cookies = new Map();

  /**
   * Makes the county and starts its hub; `more` is TOML for the end of its configuration, `http` for its part on the web.
   * `names`: how the hub is called; the first is written into claims.
   */
  static async begin(more = '', { names = ['127.0.0.1', 'localhost'], http = '' } = {}) {
    const county = new County();
    const [plain, secure, mqtt, media] = [await freePort(), await freePort(), await freePort(), await freePort()];
    county.url = `http://127.0.0.1:${plain}`;
    county.ports = { plain, secure };
    const data_dir = join(county.#folder, 'hub');
    writeFileSync(
      county.#path('hub.toml'),
      `data_dir = "${data_dir}"\npublic_names = ${JSON.stringify(names)}\n` +
        `[http]\nplain = "127.0.0.1:${plain}"\nsecure = "127.0.0.1:${secure}"\n${http}\n` +
        `[broker]\nmode = "embedded"\nlisten = "127.0.0.1:${mqtt}"\n` +
        `[gateways]\nlisten = "127.0.0.1:${media}"\n${more}`,
    );
    const { stdout } = await run(`${PROGRAMS}tongluo-hub`, ['init', '--config', county.#path('hub.toml'), '--json']);
    county.administrator = JSON.parse(stdout);
    await county.startHub();
    return county;
  }

  #path(name) {
    return join(this.#folder, name);
  }

  /** The certificate of the county's own authority, as a phone would install it. */
  get authority() {
    return this.#path('hub/authority/ca.pem');
  }

  async startHub() {
    this.#hub = start(`${PROGRAMS}tongluo-hub`, ['serve', '--config', this.#path('hub.toml')], this.#path('hub.log'));
    await until('the hub to be healthy', () => this.#healthy(), START_PATIENCE_MS);
  }

  async #healthy() {
    assert.equal(this.#hub.exitCode, null, `the hub ended:\n${this.log()}`);
    return fetch(`${this.url}/healthz`).then(({ ok }) => ok, () => false);
  }

  /** `kill -9`, as a power cut does. */
  killHub() {
    return end(this.#hub, 'SIGKILL');
  }

  /** Stops the hub's clockwork without closing its connections, as a hung machine does. */
  freezeHub() {
    this.#hub.kill('SIGSTOP');
  }

  thawHub() {
    this.#hub.kill('SIGCONT');
  }

  /** Starts virtual cameras; answers with what they say of themselves. Their pictures may first have to be made. */
  async startCameras(count, ...options) {
    const log = this.#path('cameras.log');
    this.#cameras = start(`${PROGRAMS}tongluo-camera`, ['--cameras', String(count), ...options], log);
    return until('the cameras to listen', () => {
      assert.equal(this.#cameras.exitCode, null, `the cameras ended:\n${readFileSync(log, 'utf8')}`);
      const line = readFileSync(log, 'utf8').split('\n')[0];
      return line.startsWith('{') && line.endsWith('}') ? JSON.parse(line) : null;
    }, CAMERAS_PATIENCE_MS);
  }

  /** One request as somebody, who logs in once; answers with the body. */
  async ask(user, method, path, body) {
    if (!this.#cookies.has(user.username)) {
      const session = await this.#request('POST', '/session', { username: user.username, password: user.password });
      this.#cookies.set(user.username, session.headers.getSetCookie()[0].split(';')[0]);
    }
    const cookie = this.#cookies.get(user.username);
    return (await this.#request(method, path, body, { cookie })).json();
  }

  async #request(method, path, body, headers = {}) {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${response.ok ? '' : await response.clone().text()}`);
    return response;
  }

  async addUser(username, display_name, role, region_code = '411728') {
    const user = { username, display_name, role, password: secret(), region_code };
    await this.ask(this.administrator, 'POST', '/users', user);
    return user;
  }

  /** A village whose gateway is enrolled with the text of a claim. */
  async enrol(claim) {
    const village = await Village.enrol(this.#path(`village-${this.#villages.length + 1}`), claim);
    this.#villages.push(village);
    return village;
  }

  /** The ends of all logs, for a test that failed. */
  log() {
    const villages = this.#villages.flatMap((village) => Object.entries(village.logs()));
    return [['hub', this.#path('hub.log')], ...villages]
      .map(([name, path]) => {
        try {
          return `==> ${name} <==\n${readFileSync(path, 'utf8').split('\n').slice(-LOG_LINES_SHOWN).join('\n')}`;
        } catch {
          return `==> ${name}: no log <==`;
        }
      })
      .join('\n');
  }

  async end() {
    for (const village of this.#villages) await village.end();
    this.#hub?.kill('SIGCONT');
    for (const child of [this.#cameras, this.#hub]) await end(child);
    if (process.env.TONGLUO_KEEP === undefined) rmSync(this.#folder, { recursive: true, force: true });
  }
}
