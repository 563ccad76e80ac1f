/**
 * A village's recordings on the screen: the hub fetches a span through a WebSocket, a piece at a
 * time as credit is given, and nothing of it is stored on the way. A seek to what was not fetched
 * asks anew from there. Gaps are passed over, and told.
 */
import { aheadOf, holds, nextStart, wishedBytes, type Stretch } from './model/span';
import { asNumber, asText, openSink, readText, socketAddress } from './sink';

export interface PlaybackReport {
  phase: 'connecting' | 'playing' | 'paused' | 'buffering' | 'unplayable' | 'ended';
  /** When the picture on the screen was taken; `null` before the first. */
  wall_ms: number | null;
  /** Up to when it could go on without another word from the village. */
  buffered_to_ms: number | null;
  gaps: { from_ms: number; to_ms: number }[];
  codec: string | null;
  /** Why it ended; empty or `null` when all was shown. */
  reason: string | null;
}

export interface Playback {
  seek(wall_ms: number): void;
  pause(): void;
  resume(): void;
  speed(rate: number): void;
  stop(): void;
}

const LOOK_EVERY_MS = 250;
/** So little ahead is nothing. */
const DRY_S = 0.1;

export function playRecording(
  video: HTMLVideoElement,
  path: string,
  span: { from_ms: number; to_ms: number },
  report: (now: PlaybackReport) => void,
): Playback {
  const gaps = new Map<number, number>();
  let part: Part | null = null;
  let rate = 1;
  let paused = false;

  function begin(from_ms: number): void {
    part?.stop();
    const [route = path, query = ''] = path.split('?');
    const wishes = new URLSearchParams(query);
    wishes.set('from_ms', String(Math.round(from_ms)));
    wishes.set('to_ms', String(Math.round(span.to_ms)));
    part = playPart(video, `${route}?${wishes.toString()}`, from_ms, gaps, report);
    video.playbackRate = rate;
    part.pause(paused);
  }

  begin(span.from_ms);
  return {
    seek(wall_ms) {
      const within_ms = Math.min(Math.max(wall_ms, span.from_ms), span.to_ms - 1);
      if (part?.seek(within_ms) !== true) begin(within_ms);
    },
    pause() {
      paused = true;
      part?.pause(true);
    },
    resume() {
      paused = false;
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

/** One fetch, from a moment to the end of the span. */
function playPart(
  video: HTMLVideoElement,
  path: string,
  from_ms: number,
  gaps: Map<number, number>,
  report: (now: PlaybackReport) => void,
): Part {
  const now: PlaybackReport = { phase: 'connecting', wall_ms: null, buffered_to_ms: null, gaps: [], codec: null, reason: null };
  /** The moment of media time 0. */
  let starts_ms = from_ms;
  let owed_bytes = 0;
  let paused = false;
  let joined = false;
  let whole = false;
  let stopped = false;

  const sink = openSink(video, () => finish('broken'));
  const socket = new WebSocket(socketAddress(path));
  socket.binaryType = 'arraybuffer';
  socket.onopen = more;
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data === 'string') {
      hear(readText(data));
      return;
    }
    owed_bytes -= data.byteLength;
    sink.append(data, join);
  };
  socket.onclose = () => finish('lost');
  const looking = setInterval(look, LOOK_EVERY_MS);
  say();

  function hear(word: Record<string, unknown>): void {
    if (word.type === 'track') {
      now.codec = asText(word.codec);
      starts_ms = asNumber(word.starts_ms) ?? from_ms;
      if (!sink.begin(now.codec ?? '')) {
        now.phase = 'unplayable';
        stop();
        say();
      }
    } else if (word.type === 'gap') {
      const [begins_ms, ends_ms] = [asNumber(word.from_ms), asNumber(word.to_ms)];
      if (begins_ms !== null && ends_ms !== null) gaps.set(begins_ms, ends_ms);
    } else if (word.type === 'end') {
      finish(asText(word.reason));
    }
  }

  /** What is fetched begins with the keyframe before the moment that was asked for, or behind a gap. */
  function join(): void {
    const [first] = stretches();
    if (joined || first === undefined) return;
    joined = true;
    const wished_s = (from_ms - starts_ms) / 1_000;
    video.currentTime = Math.max(first.start_s, Math.min(wished_s, first.end_s - DRY_S));
    pause(paused);
  }

  function more(): void {
    if (socket.readyState !== WebSocket.OPEN) return;
    const bytes = wishedBytes(ahead(), video.playbackRate, owed_bytes);
    if (bytes === 0) return;
    owed_bytes += bytes;
    socket.send(JSON.stringify({ type: 'more', bytes }));
  }

  function look(): void {
    more();
    const skip_to_s = joined ? nextStart(stretches(), video.currentTime) : null;
    if (skip_to_s !== null && !paused) video.currentTime = skip_to_s + 0.01;
    if (joined) {
      now.wall_ms = starts_ms + video.currentTime * 1_000;
      now.buffered_to_ms = now.wall_ms + ahead() * 1_000;
    }
    now.phase = phase();
    say();
  }

  function phase(): PlaybackReport['phase'] {
    if (whole && (!joined || ahead() < DRY_S)) return 'ended';
    if (!joined) return 'connecting';
    if (paused) return 'paused';
    return ahead() < DRY_S ? 'buffering' : 'playing';
  }

  function stretches(): Stretch[] {
    const { buffered } = video;
    return Array.from({ length: buffered.length }, (_, at) => ({ start_s: buffered.start(at), end_s: buffered.end(at) }));
  }

  function ahead(): number {
    return aheadOf(stretches(), video.currentTime);
  }

  /** Nothing more comes; what is there is shown to its end. */
  function finish(reason: string | null): void {
    if (stopped || whole) return;
    whole = true;
    now.reason = reason;
    socket.onclose = null;
    socket.close();
  }

  function pause(to: boolean): void {
    paused = to;
    if (to) video.pause();
    else if (joined) void video.play().catch(() => undefined);
  }

  function say(): void {
    report({ ...now, gaps: Array.from(gaps, ([begins_ms, ends_ms]) => ({ from_ms: begins_ms, to_ms: ends_ms })) });
  }

  function stop(): void {
    stopped = true;
    clearInterval(looking);
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    sink.close();
  }

  return {
    seek(wall_ms) {
      const at_s = (wall_ms - starts_ms) / 1_000;
      if (!joined || !holds(stretches(), at_s)) return false;
      video.currentTime = at_s;
      return true;
    },
    pause,
    stop,
  };
}
