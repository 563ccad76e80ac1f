/**
 * A small real county for the browser tests: the hub, one village with its own mosquitto, and a
 * gateway that is enrolled by whoever holds its claim. Everything listens on loopback, keeps its
 * data in one temporary folder, and ends with the test.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT, until } from './harness.mjs';
import { Line } from './line.mjs';

const run = promisify(execFile);
const PROGRAMS = process.env.TONGLUO_PROGRAMS ?? `${ROOT}target/debug/`;
/** A cold start makes keys, tables and regions. */
const START_PATIENCE_MS = 60_000;
/** Some seconds of video are encoded, the first time. */
const CAMERAS_PATIENCE_MS = 120_000;
const LOG_LINES_SHOWN = 40;

const secret = () => randomBytes(12).toString('base64url');

/** The kernel ends the child with the test, however that ends. */
function start(program, args, log) {
  const output = openSync(log, 'a');
  return spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], { stdio: ['ignore', output, output] });
}

async function end(child, signal = 'SIGTERM') {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.end());
  });
}

export class County {
  #folder = mkdtempSync(join(tmpdir(), 'tongluo-browser-'));
  #hub = null;
  #gateway = null;
  #mosquitto = null;
  #cameras = null;
  #lines = [];
  #lan_port = 0;
  #devices_password = secret();
  #frame = 1;

  /** Makes the county and starts its hub. */
  static async begin() {
    const county = new County();
    const [plain, secure, mqtt, media] = [await freePort(), await freePort(), await freePort(), await freePort()];
    county.url = `http://127.0.0.1:${plain}`;
    county.#lines = [await Line.to(mqtt), await Line.to(media)];
    const [mqtt_line, media_line] = county.#lines;
    const data_dir = join(county.#folder, 'hub');
    writeFileSync(
      county.#path('hub.toml'),
      `data_dir = "${data_dir}"\npublic_names = ["127.0.0.1", "localhost"]\n` +
        `broker_public_port = ${mqtt_line.port}\n` +
        `[http]\nplain = "127.0.0.1:${plain}"\nsecure = "127.0.0.1:${secure}"\n` +
        `[broker]\nmode = "embedded"\nlisten = "127.0.0.1:${mqtt}"\n` +
        `[gateways]\nlisten = "127.0.0.1:${media}"\npublic_port = ${media_line.port}\n`,
    );
    const { stdout } = await run(`${PROGRAMS}tongluo-hub`, ['init', '--config', county.#path('hub.toml'), '--json']);
    county.administrator = JSON.parse(stdout);
    await county.startHub();
    return county;
  }

  #path(name) {
    return join(this.#folder, name);
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

  /** Cuts the gateway off from the hub. */
  cutLine() {
    for (const line of this.#lines) line.cut();
  }

  mendLine() {
    for (const line of this.#lines) line.mend();
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

  /** One request as somebody; answers with the body. */
  async ask(user, method, path, body) {
    const session = await this.#request('POST', '/session', { username: user.username, password: user.password });
    const cookie = session.headers.getSetCookie()[0].split(';')[0];
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

  async addUser(username, display_name, role) {
    const user = { username, display_name, role, password: secret(), region_code: '411728' };
    await this.ask(this.administrator, 'POST', '/users', user);
    return user;
  }

  /** Starts the village's broker, enrols a gateway with the text of a claim, and runs it. */
  async enrol(claim) {
    const gateway_password = secret();
    await this.#startMosquitto({ gateway: gateway_password, devices: this.#devices_password });
    writeFileSync(this.#path('lan-password'), gateway_password);
    writeFileSync(
      this.#path('edge.toml'),
      `data_dir = "${this.#path('gateway')}"\n` +
        `[lan]\nport = ${this.#lan_port}\nusername = "gateway"\npassword_file = "${this.#path('lan-password')}"\n` +
        `[journal]\nspace_mib = 16\nreserve_mib = 1\n`,
    );
    const config = ['--config', this.#path('edge.toml')];
    await run(`${PROGRAMS}tongluo-edge`, ['enroll', ...config, '--claim', claim]);
    this.#gateway = start(`${PROGRAMS}tongluo-edge`, ['run', ...config], this.#path('gateway.log'));
  }

  async #startMosquitto(passwords) {
    this.#lan_port = await freePort();
    const file = this.#path('passwords');
    writeFileSync(file, Object.entries(passwords).map((login) => `${login.join(':')}\n`).join(''));
    await run('mosquitto_passwd', ['-U', file]);
    mkdirSync(this.#path('lan'));
    writeFileSync(
      this.#path('mosquitto.conf'),
      // Started by root, mosquitto would change into a user who cannot read the folder.
      `user ${userInfo().username}\nlog_dest stderr\npersistence true\npersistence_location ${this.#path('lan')}/\n` +
        `allow_anonymous false\npassword_file ${file}\nlistener ${this.#lan_port} 127.0.0.1\n`,
    );
    this.#mosquitto = start('/usr/sbin/mosquitto', ['-c', this.#path('mosquitto.conf')], this.#path('mosquitto.log'));
    await until('mosquitto to listen', () => listens(this.#lan_port));
  }

  /** Publishes as the village's device networks do. */
  async publish(topic, payload, ...more) {
    const login = ['-h', '127.0.0.1', '-p', String(this.#lan_port), '-u', 'devices', '-P', this.#devices_password];
    await run('mosquitto_pub', [...login, '-q', '1', '-t', topic, '-m', JSON.stringify(payload), ...more]);
  }

  /** Zigbee2MQTT introduces its button. */
  async introduceZigbee() {
    const devices = [
      { ieee_address: '0x00124b0024c0ffee', type: 'Coordinator', friendly_name: 'Coordinator', definition: null },
      {
        ieee_address: ZIGBEE.address, type: 'EndDevice', friendly_name: ZIGBEE.reported_name, power_source: 'Battery',
        model_id: 'TS0215A', interview_completed: true, supported: true,
        definition: { model: 'TS0215A_sos', vendor: 'Tuya', description: 'SOS button' },
      },
    ];
    await this.publish('zigbee2mqtt/bridge/state', { state: 'online' }, '-r');
    await this.publish('zigbee2mqtt/bridge/devices', devices, '-r');
    await this.publish(`zigbee2mqtt/${ZIGBEE.reported_name}/availability`, { state: 'online' }, '-r');
    await this.publish(`zigbee2mqtt/${ZIGBEE.reported_name}`, { battery: 97, linkquality: 118 });
  }

  /** ChirpStack forwards a routine frame: battery 100 %. */
  introduceLorawan() {
    return this.#uplink([0x01, 0x75, 0x64]);
  }

  /** Somebody presses a button. */
  press(button) {
    return button === ZIGBEE
      ? this.publish(`zigbee2mqtt/${ZIGBEE.reported_name}`, { action: 'emergency', battery: 100, linkquality: 120 })
      : this.#uplink([0xff, 0x2e, 0x02]);
  }

  async #uplink(bytes) {
    const frame = (this.#frame += 1);
    const application = '52f14cd4-c6f1-4fbd-8f87-4025e1d49242';
    await this.publish(`application/${application}/device/${LORAWAN.dev_eui}/event/up`, {
      deduplicationId: `${String(frame).padStart(8, '0')}-24e1-4000-8000-24535b316056`,
      time: new Date().toISOString(),
      deviceInfo: { applicationId: application, deviceName: LORAWAN.reported_name, devEui: LORAWAN.dev_eui, deviceProfileName: 'WS101' },
      devAddr: '01ab34cd', fCnt: frame, fPort: 85, confirmed: true, data: Buffer.from(bytes).toString('base64'),
      rxInfo: [{ gatewayId: '24e124fffef0a1b2', rssi: -57, snr: 9.5 }],
    });
  }

  /** The ends of all logs, for a test that failed. */
  log() {
    return ['hub', 'gateway', 'mosquitto']
      .map((name) => {
        try {
          return `==> ${name} <==\n${readFileSync(this.#path(`${name}.log`), 'utf8').split('\n').slice(-LOG_LINES_SHOWN).join('\n')}`;
        } catch {
          return `==> ${name}: no log <==`;
        }
      })
      .join('\n');
  }

  async end() {
    for (const child of [this.#gateway, this.#mosquitto, this.#cameras, this.#hub]) {
      child?.kill('SIGCONT');
      await end(child);
    }
    for (const line of this.#lines) line.end();
    if (process.env.TONGLUO_KEEP === undefined) rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A TS0215A_sos behind Zigbee2MQTT. */
export const ZIGBEE = {
  family: 'Zigbee', address: '0x00158d0001a2b3c4', key: 'zigbee:0x00158d0001a2b3c4', reported_name: 'sos_button_1',
  name: '张桂兰家报警按钮', place: '堂屋门边', pressed: '求助键',
};

/** A Milesight WS101 behind ChirpStack. */
export const LORAWAN = {
  family: 'LoRaWAN', dev_eui: '24e124535b316056', key: 'lorawan:24e124535b316056', reported_name: 'ws101-square',
  name: '文化广场报警柱', place: '广场北侧', pressed: '长按',
};
