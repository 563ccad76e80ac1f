/** The real programs as a test's children: on ports of loopback that were free, ended with the test. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { ROOT } from './harness.mjs';

export const PROGRAMS = process.env.TONGLUO_PROGRAMS ?? `${ROOT}target/debug/`;

export const secret = () => randomBytes(12).toString('base64url');

/** The kernel ends the child with the test, however that ends. `secrets`: lines that it reads, which no list of processes shows. */
export function start(program, args, log, secrets = []) {
  const output = openSync(log, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], { stdio: ['pipe', output, output] });
  child.stdin.end(secrets.map((line) => `${line}\n`).join(''));
  return child;
}

export async function end(child, signal = 'SIGTERM') {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export function listens(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.end());
  });
}
