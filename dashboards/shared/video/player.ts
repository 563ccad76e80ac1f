/**
 * Live pictures: the hub's WebSocket fed to a video element. The socket is opened again by itself
 * until somebody stops it. What a person is told of it is worked out in `model/picture`.
 */
import { hubTime } from '../page/clock';
import { asNumber, asText, canPlay, openSink, readText, socketAddress, type Sink } from './sink';

export interface LiveReport {
  /** `waiting`: it has played and no new picture comes. `unplayable`: this browser cannot show the codec. */
  phase: 'connecting' | 'playing' | 'waiting' | 'unplayable' | 'ended';
  /** From the camera's clock to this screen; `null`: not known yet. */
  delay_ms: number | null;
  /** When the picture on the screen was taken, hub's UTC. */
  captured_ms: number | null;
  codec: string | null;
  width: number | null;
  height: number | null;
  /** The camera's state, as the hub said it last. */
  state: string | null;
  detail: string | null;
  /** Why the hub ended it. */
  reason: string | null;
}

export interface LivePlayer {
  stop(): void;
}

const STEER_EVERY_MS = 100;
const REPORT_EVERY_MS = 500;
/** A picture that has not moved for so long is not live. */
const STILL_MS = 1_000;
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000] as const;
/** Seconds behind the end of the buffer at which it plays; 0.16 of it is what the last sample is declared to last. */
const TARGET_S = 0.22;
/** Beyond so much it jumps; up to it, it hurries. */
const JUMP_S = 3;

export function playLive(video: HTMLVideoElement, path: string, report: (now: LiveReport) => void): LivePlayer {
  let attempt = 0;
  let round: { stop(): void } | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  let reason: string | null = null;

  function begin(): void {
    round = playOnce(video, path, reason, report, (played, why) => {
      round = null;
      reason = why;
      if (stopped) return;
      if (played) attempt = 0;
      timer = setTimeout(begin, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
      attempt += 1;
    });
  }

  begin();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      round?.stop();
    },
  };
}

/** One connection, from its opening to its end; `over` says whether it ever showed a picture, and why it ended. */
function playOnce(
  video: HTMLVideoElement,
  path: string,
  why_before: string | null,
  report: (now: LiveReport) => void,
  over: (played: boolean, reason: string | null) => void,
): { stop(): void } {
  const now: LiveReport = {
    phase: 'connecting', delay_ms: null, captured_ms: null, codec: null, width: null, height: null, state: null, detail: null, reason: why_before,
  };
  /** Which moment of the camera's clock belongs to which of the stream's. */
  let clock: { stream_ms: number; captured_ms: number } | null = null;
  let sink: Sink | null = null;
  let joined = false;
  let over_said = false;
  let moved = { at_s: -1, when_ms: hubTime() };

  const socket = new WebSocket(socketAddress(path));
  socket.binaryType = 'arraybuffer';
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data === 'string') hear(readText(data));
    else sink?.append(data, joined ? undefined : join);
  };
  socket.onclose = () => end(null);

  const steering = setInterval(steer, STEER_EVERY_MS);
  const reporting = setInterval(measure, REPORT_EVERY_MS);
  report({ ...now });

  function hear(word: Record<string, unknown>): void {
    if (word.type === 'track') {
      now.codec = asText(word.codec);
      now.width = asNumber(word.width);
      now.height = asNumber(word.height);
      now.reason = null;
      open();
    } else if (word.type === 'state') {
      now.state = asText(word.state);
      now.detail = asText(word.detail);
    } else if (word.type === 'clock') {
      const decode_90k = asNumber(word.decode_90k);
      const captured_ms = asNumber(word.captured_ms);
      if (decode_90k !== null && captured_ms !== null) clock = { stream_ms: decode_90k / 90, captured_ms };
      return;
    } else if (word.type === 'end') {
      end(asText(word.reason));
      return;
    }
    report({ ...now });
  }

  /** A new track begins a new sink: a camera may change its parameters while it runs. */
  function open(): void {
    sink?.close();
    joined = false;
    if (now.codec === null || !canPlay(now.codec)) {
      now.phase = 'unplayable';
      sink = null;
      socket.close();
      return;
    }
    sink = openSink(video, now.codec, () => socket.close());
  }

  /** The first pictures are older than now: it begins at their end. */
  function join(): void {
    const end_s = bufferedEnd(video);
    if (joined || end_s === null) return;
    joined = true;
    video.currentTime = Math.max(0, end_s - TARGET_S);
    void video.play().catch(() => undefined);
  }

  function steer(): void {
    const end_s = bufferedEnd(video);
    if (!joined || end_s === null) return;
    const behind_s = end_s - video.currentTime;
    if (behind_s > JUMP_S || behind_s < 0) video.currentTime = Math.max(0, end_s - TARGET_S);
    const rate = rateFor(behind_s, video.playbackRate);
    if (rate !== video.playbackRate) video.playbackRate = rate;
  }

  function measure(): void {
    if (now.phase === 'unplayable' || now.phase === 'ended') return;
    const at_ms = hubTime();
    if (joined && video.currentTime !== moved.at_s) {
      moved = { at_s: video.currentTime, when_ms: at_ms };
      now.phase = 'playing';
      now.captured_ms = clock === null ? null : clock.captured_ms + video.currentTime * 1_000 - clock.stream_ms;
      now.delay_ms = now.captured_ms === null ? null : Math.max(0, at_ms - now.captured_ms);
    } else if (now.phase === 'playing' && at_ms - moved.when_ms > STILL_MS) {
      now.phase = 'waiting';
      now.delay_ms = null;
    }
    report({ ...now });
  }

  function end(reason: string | null): void {
    if (over_said) return;
    over_said = true;
    const can_again = now.phase !== 'unplayable';
    const played = joined;
    if (can_again) now.phase = 'ended';
    now.reason = reason;
    now.delay_ms = null;
    shut();
    report({ ...now });
    if (can_again) over(played, reason);
  }

  function shut(): void {
    clearInterval(steering);
    clearInterval(reporting);
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
  }

  return {
    stop() {
      over_said = true;
      shut();
      sink?.close();
    },
  };
}

/** How fast to play when so far behind the end: a little slower or faster keeps the distance without a jump. */
export function rateFor(behind_s: number, rate: number): number {
  if (behind_s > TARGET_S + 0.5) return 2;
  if (behind_s > TARGET_S + 0.25) return 1.5;
  if (behind_s > 0.27) return 1.1;
  if (behind_s < 0.2) return 0.9;
  if (rate < 1 && behind_s >= 0.24) return 1;
  if (rate > 1 && behind_s <= 0.24) return 1;
  return rate;
}

function bufferedEnd(video: HTMLVideoElement): number | null {
  const { buffered } = video;
  return buffered.length === 0 ? null : buffered.end(buffered.length - 1);
}
