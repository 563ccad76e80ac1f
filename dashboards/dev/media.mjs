/**
 * Pictures for the stand-in hub, made by FFmpeg when they are first asked for and kept in the
 * temporary folder: a yard at night with somebody walking through it and a running clock. Live
 * pictures are its frames, one fragment each, at their own pace; where there is sound, it is one even tone.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FRAMES_PER_S = 25;
/** Length of the loop that is shown as live. */
const LOOP_S = 8;
const GOP_FRAMES = 50;
export const FRAME_90K = 90_000 / FRAMES_PER_S;
/** The tone, and its samples: as many to a fragment as last one frame. */
const TONE_HZ = 440;
const RATE_HZ = 16_000;
const FRAME_SAMPLES = RATE_HZ / FRAMES_PER_S;
const FONT = '/usr/share/fonts/truetype/wqy/wqy-microhei.ttc';
const folder = join(tmpdir(), 'tongluo-stand-in');

/** The yard: sky, wall, gate, ground; somebody crosses it; light falls from a door. */
function yard(width, height, seconds, tint) {
  const h = (share) => Math.round(height * share);
  const w = (share) => Math.round(width * share);
  const boxes = [
    `drawbox=0:0:${width}:${h(0.34)}:0x181c22:fill`,
    `drawbox=0:${h(0.34)}:${width}:${h(0.26)}:${tint}:fill`,
    `drawbox=${w(0.62)}:${h(0.3)}:${w(0.16)}:${h(0.32)}:0x11151a:fill`,
    `drawbox=${w(0.08)}:${h(0.4)}:${w(0.12)}:${h(0.14)}:0x8d8468:fill`,
    `drawbox=0:${h(0.6)}:${width}:${h(0.4)}:0x2b2f2d:fill`,
    `drawbox=${w(0.05)}:${h(0.62)}:${w(0.2)}:${h(0.08)}:0x4a4738:fill`,
  ];
  const person = `color=0xb9b2a4:s=${w(0.035)}x${h(0.2)}:r=${FRAMES_PER_S}:d=${seconds}`;
  const clock = existsSync(FONT) ? `,drawtext=fontfile=${FONT}:text='%{pts\\:hms}':x=8:y=h-th-8:fontsize=${h(0.07)}:fontcolor=0xd8d8d8:box=1:boxcolor=0x00000080` : '';
  return [
    '-f', 'lavfi', '-i', `color=0x20242a:s=${width}x${height}:r=${FRAMES_PER_S}:d=${seconds}`,
    '-f', 'lavfi', '-i', person,
    '-filter_complex', `[0]${boxes.join(',')}[yard];[yard][1]overlay=x='mod(t*${w(0.11)}\\,${width})':y=${h(0.52)},noise=alls=6:allf=t${clock},format=yuv420p`,
  ];
}

function make(name, arguments_) {
  mkdirSync(folder, { recursive: true });
  const key = createHash('sha256').update(JSON.stringify(arguments_)).digest('hex').slice(0, 12);
  const path = join(folder, `${key}-${name}`);
  if (!existsSync(path)) {
    const part = join(folder, `${process.pid}-${key}-${name}`);
    const done = spawnSync('ffmpeg', ['-v', 'error', '-y', ...arguments_, part], { stdio: ['ignore', 'ignore', 'inherit'] });
    if (done.status !== 0) throw new Error(`FFmpeg is needed for pictures and did not make ${name}`);
    renameSync(part, path);
  }
  return readFileSync(path);
}

const H264 = ['-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'main', '-g', String(GOP_FRAMES), '-bf', '0', '-sc_threshold', '0', '-crf', '30'];

/** An ordinary film, as evidence and exports are. */
export function film(seconds, tint = '0x30363c') {
  return make('film.mp4', [...yard(640, 360, seconds, tint), ...H264, '-movflags', '+faststart']);
}

export function snapshot(tint = '0x30363c') {
  return make('snapshot.jpg', [...yard(640, 360, 5, tint), '-ss', '4', '-frames:v', '1', '-q:v', '6']);
}

/** Makes everything that is ever asked for, so that nobody waits for it in the middle of a picture. `looks`: its tint and whether it sounds. */
export function makeAll(looks) {
  for (const look of looks) for (const quality of ['sub', 'main']) loop(quality, ...look);
  film(90);
  snapshot();
}

const loops = new Map();

/** The initial segment, and one fragment a frame; with sound, as many of it. */
export function loop(quality, tint, sounds) {
  const key = `${quality} ${tint} ${sounds}`;
  if (!loops.has(key)) {
    const [width, height] = quality === 'main' ? [1280, 720] : [640, 360];
    const bytes = make('loop.mp4', [
      ...yard(width, height, LOOP_S, tint), ...(sounds ? tone() : []), ...H264,
      '-video_track_timescale', '90000', '-movflags', '+empty_moov+frag_every_frame+default_base_moof',
    ]);
    loops.set(key, { ...split(bytes), width, height });
  }
  return loops.get(key);
}

/** One even tone beside the pictures, in the form in which the hub passes on what a camera says in G.711. */
function tone() {
  const wave = `aevalsrc=0.25*sin(2*PI*${TONE_HZ}*t):s=${RATE_HZ}:d=${LOOP_S}`;
  return ['-f', 'lavfi', '-i', wave, '-c:a', 'flac', '-strict', '-2', '-frame_size', String(FRAME_SAMPLES)];
}

/** Splits a fragmented film into what comes before its first `moof`, and each `moof` with its `mdat`: pictures, and sound. */
function split(bytes) {
  const parts = { 1: [], 2: [] };
  let at = 0;
  let begun = -1;
  let init = null;
  while (at + 8 <= bytes.length) {
    const size = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    if (type === 'moof') {
      init ??= bytes.subarray(0, at);
      begun = at;
    }
    if (type === 'mdat') parts[bytes.readUInt32BE(bytes.indexOf('tfhd', begun) + 8)].push(bytes.subarray(begun, at + size));
    at += size;
  }
  const avcc = init.indexOf('avcC');
  const codec = `avc1.${init.subarray(avcc + 5, avcc + 8).toString('hex')}`;
  return { init, frames: parts[1], sounds: parts[2], codec: parts[2].length === 0 ? codec : `${codec},flac` };
}

/** A frame of the loop, with its sound if it has any, moved to another time. */
export function fragmentAt({ frames, sounds }, number) {
  // Declared five frames long, as the hub does, so that a jitter is no gap.
  const picture = moved(frames[number % frames.length], number * FRAME_90K, FRAME_90K * 5);
  if (sounds.length === 0) return picture;
  // FFmpeg declares some pieces of sound to last no time at all.
  return Buffer.concat([picture, moved(sounds[number % sounds.length], number * FRAME_SAMPLES, FRAME_SAMPLES)]);
}

/** A fragment of one sample at another time, and declared so long. */
function moved(part, time, duration) {
  const bytes = Buffer.from(part);
  const tfdt = bytes.indexOf('tfdt');
  const is_long = bytes[tfdt + 4] === 1;
  if (is_long) bytes.writeBigUInt64BE(BigInt(time), tfdt + 8);
  else bytes.writeUInt32BE(time, tfdt + 8);
  const tfhd = bytes.indexOf('tfhd');
  const flags = bytes.readUInt32BE(tfhd + 4) & 0xffffff;
  if ((flags & 0x8) === 0) return bytes;
  const before = [0x1, 0x2].reduce((sum, flag) => sum + ((flags & flag) === 0 ? 0 : flag === 0x1 ? 8 : 4), 0);
  bytes.writeUInt32BE(duration, tfhd + 12 + before);
  return bytes;
}

export { FRAMES_PER_S, GOP_FRAMES };
