/**
 * A village's recordings on the screen: the hub fetches a span through a WebSocket, a piece at a
 * time as credit is given, and nothing of it is stored on the way. A seek to what was not fetched
 * asks anew from there.
 */
import { asNumber, asText, canPlay, openSink, readText, socketAddress, type Sink } from './sink';

export interface PlaybackReport {
  phase: 'connecting' | 'playing' | 'paused' | 'buffering' | 'unplayable' | 'ended';
  /** When the picture on the screen was taken; `null` before the first. */
  wall_ms: number | null;
  /** Up to when it could go on without another word from the village. */
  buffered_to_ms: number | null;
  gaps: { from_ms: number; to_ms: number }[];
  codec: string | null;
  reason: string | null;
}

export interface Playback {
  seek(wall_ms: number): void;
  pause(): void;
  resume(): void;
  speed(rate: number): void;
  stop(): void;
}

/** Bytes asked for at once: some seconds of a main stream, well below what a browser keeps. */
const CREDIT_BYTES = 2 * 1024 * 1024;
/** Seconds fetched ahead at ordinary speed. */
const AHEAD_S = 20;
const LOOK_EVERY_MS = 250;

export function playRecording(
  video: HTMLVideoElement,
  path: string,
  span: { from_ms: number; to_ms: number },
  report: (now: PlaybackReport) => void,
): Playback {
  let part: Part | null = null;
  let rate = 1;
  let wants_pause = false;
  const gaps = new Map<number, number>();

  function begin(from_ms: number): void {
    part?.stop();
    part = playPart(video, `${path}?from_ms=${Math.round(from_ms)}&to_ms=${Math.round(span.to_ms)}`, from_ms, gaps, report);
    video.playbackRate = rate;
    if (wants_pause) part.pause(true);
  }

  begin(span.from_ms);
  return {
    seek(wall_ms) {
      if (part?.seek(wall_ms) !== true) begin(Math.min(Math.max(wall_ms, span.from_ms), span.to_ms - 1));
    },
    pause() {
      wants_pause = true;
      part?.pause(true);
    },
    resume() {
      wants_pause = false;
      part?.pause(false);
    },
    speed(to) {
      rate = to;
      video.playbackRate = to;
    },
    stop: () => part?.stop(),
  };
}

interface Part {
  /** True when that moment was there already. */
  seek(wall_ms: number): boolean;
  pause(paused: boolean): void;
  stop(): void;
}

function playPart(
  video: HTMLVideoElement,
  path: string,
  from_ms: number,
  gaps: Map<number, number>,
  report: (now: PlaybackReport) => void,
): Part {
  const now: PlaybackReport = { phase: 'connecting', wall_ms: null, buffered_to_ms: null, gaps: [], codec: null, reason: null };
  let sink: Sink | null = null;
  let owed = 0;
  let paused = false;
  let whole = false;
  let stopped = false;

  const socket = new WebSocket(socketAddress(path));
  socket.binaryType = 'arraybuffer';
  socket.onopen = more;
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data === 'string') {
      hear(readText(data));
    } else {
      owed -= data.byteLength;
      sink?.append(data);
    }
  };
  socket.onclose = () => finish(whole ? now.reason : (now.reason ?? 'lost'));
  const looking = setInterval(look, LOOK_EVERY_MS);
  say();

  function hear(word: Record<string, unknown>): void {
    if (word.type === 'track') {
      now.codec = asText(word.codec);
      if (now.codec === null || !canPlay(now.codec)) {
        now.phase = 'unplayable';
        stop();
        say();
        return;
      }
      sink = openSink(video, now.codec, () => socket.close());
      if (!paused) void video.play().catch(() => undefined);
    } else if (word.type === 'gap') {
      const [begins, ends] = [asNumber(word.from_ms), asNumber(word.to_ms)];
      if (begins !== null && ends !== null) gaps.set(begins, ends);
    } else if (word.type === 'end') {
      finish(asText(word.reason));
    }
  }

  /** Asks for more while little lies ahead. */
  function more(): void {
    if (socket.readyState !== WebSocket.OPEN || owed > CREDIT_BYTES / 2 || aheadOf() > AHEAD_S * Math.max(1, video.playbackRate)) return;
    owed += CREDIT_BYTES;
    socket.send(JSON.stringify({ type: 'more', bytes: CREDIT_BYTES }));
  }

  function look(): void {
    more();
    skipGap();
    if (now.phase === 'unplayable') return;
    const has_picture = video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    if (has_picture) now.wall_ms = from_ms + video.currentTime * 1_000;
    now.buffered_to_ms = from_ms + (video.currentTime + aheadOf()) * 1_000;
    const at_end = whole && aheadOf() < 0.1 && nextStart() === null;
    if (!has_picture) now.phase = whole && video.buffered.length === 0 ? 'ended' : now.phase === 'connecting' ? 'connecting' : 'buffering';
    else now.phase = at_end ? 'ended' : paused ? 'paused' : aheadOf() < 0.1 ? 'buffering' : 'playing';
    say();
  }

  /** Nothing was recorded here: it goes on where something was. */
  function skipGap(): void {
    const start = nextStart();
    if (start !== null && aheadOf() < 0.05) video.currentTime = start + 0.01;
  }

  function nextStart(): number | null {
    for (let at = 0; at < video.buffered.length; at += 1) {
      const start = video.buffered.start(at);
      if (start > video.currentTime + 0.02) return start;
    }
    return null;
  }

  function aheadOf(): number {
    for (let at = 0; at < video.buffered.length; at += 1) {
      if (video.buffered.start(at) <= video.currentTime + 0.02 && video.buffered.end(at) > video.currentTime)
        return video.buffered.end(at) - video.currentTime;
    }
    return 0;
  }

  function finish(reason: string | null): void {
    if (stopped || whole) return;
    whole = true;
    now.reason = reason;
    socket.onclose = null;
    socket.close();
  }

  function say(): void {
    report({ ...now, gaps: Array.from(gaps, ([begins, ends]) => ({ from_ms: begins, to_ms: ends })) });
  }

  function stop(): void {
    stopped = true;
    clearInterval(looking);
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    sink?.close();
  }

  return {
    seek(wall_ms) {
      const at_s = (wall_ms - from_ms) / 1_000;
      for (let at = 0; at < video.buffered.length; at += 1) {
        if (at_s >= video.buffered.start(at) && at_s < video.buffered.end(at)) {
          video.currentTime = at_s;
          return true;
        }
      }
      return false;
    },
    pause(to) {
      paused = to;
      if (to) video.pause();
      else void video.play().catch(() => undefined);
    },
    stop,
  };
}
