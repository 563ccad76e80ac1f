/**
 * A village of the browser tests: its own mosquitto with two buttons, and a gateway that is enrolled
 * by whoever holds its claim, behind a line that can be cut.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './harness.mjs';
import { Line } from './line.mjs';
import { end, freePort, listens, PROGRAMS, secret, start } from './programs.mjs';

const run = promisify(execFile);

export class Village {
  #folder;
  #gateway = null;
  #mosquitto = null;
  #lines = [];
  #lan_port = 0;
  #devices_password = secret();
  #frame = 1;
  /** Loudspeakers by their serial. */
  #speakers = new Map();

  constructor(folder) {
    this.#folder = folder;
  }

  #path(name) {
    return join(this.#folder, name);
  }

  /**
   * Starts the village's broker, enrols a gateway with the text of a claim, and runs it behind a line
   * of its own.
   */
  static async enrol(folder, claim) {
    const village = new Village(folder);
    mkdirSync(folder);
    await village.#enrol(claim);
    return village;
  }

  async #enrol(claim) {
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
    await this.#takeLine();
    this.#gateway = start(`${PROGRAMS}tongluo-edge`, ['run', ...config], this.#path('gateway.log'));
  }

  /** Between the gateway and the two ports of the hub that it was told. */
  async #takeLine() {
    const file = this.#path('gateway/identity.json');
    const identity = JSON.parse(readFileSync(file, 'utf8'));
    for (const port of ['mqtt_port', 'media_port']) {
      const line = await Line.to(identity[port]);
      this.#lines.push(line);
      identity[port] = line.port;
    }
    writeFileSync(file, JSON.stringify(identity));
  }

  /** Cuts the gateway off from the hub. */
  cutLine() {
    for (const line of this.#lines) line.cut();
  }

  mendLine() {
    for (const line of this.#lines) line.mend();
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

  /** Switches a loudspeaker on, by what its label says. */
  switchOn(serial, key) {
    const args = [serial, String(this.#lan_port), 'devices', this.#path(serial)];
    this.#speakers.set(serial, start(`${PROGRAMS}tongluo-speaker`, args, this.#path(`${serial}.log`), [key, this.#devices_password]));
  }

  /** Takes its power away. */
  switchOff(serial) {
    return end(this.#speakers.get(serial), 'SIGKILL');
  }

  /** What a loudspeaker has played: WAV files, in the order of their numbers, without those that are still played. */
  played(serial) {
    const folder = this.#path(serial);
    const diary = existsSync(join(folder, 'diary.jsonl')) ? readFileSync(join(folder, 'diary.jsonl'), 'utf8') : '';
    // A play's number has 64 bits; as a number it would be another one.
    const done = diary.split('\n').filter(Boolean).map((line) => JSON.parse(line.replace(/"play":(\d+)/, '"play":"$1"')));
    return { diary: done, files: existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.wav')).sort().map((name) => join(folder, name)) : [] };
  }

  /** Its programs' logs, by name. */
  logs() {
    return { gateway: this.#path('gateway.log'), mosquitto: this.#path('mosquitto.log') };
  }

  async end() {
    for (const child of [...this.#speakers.values(), this.#gateway, this.#mosquitto]) await end(child);
    for (const line of this.#lines) line.end();
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
