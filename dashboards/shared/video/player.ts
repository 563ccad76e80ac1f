/**
 * Live pictures: the hub's WebSocket fed to a video element, close behind the camera
 * (`model/steering`). The socket is opened again by itself until somebody stops it. A camera whose
 * codec this browser does not play is shown by its sub stream, if it plays that.
 */
import { hubTime, monotonic } from '../page/clock';
import { momentAt, remember, type Moment } from './model/moments';
import {
  arrived, cameUp, forgetArrivals, isAstray, noArrivals, ranDry, rateFor, SOUND_PACE, startBehind, USUAL_PACE, wishedLead, type Pace,
} from './model/steering';
import { asNumber, asText, hasSound, openSink, readText, socketAddress } from './sink';

export interface LiveReport {
  /** `waiting`: it has played and no new picture comes. `unplayable`: this browser cannot show the codec. */
  phase: 'connecting' | 'playing' | 'waiting' | 'unplayable' | 'ended';
  /** From the camera's clock to this screen; `null`: not known yet. */
  delay_ms: number | null;
  /** When the picture on the screen was taken, UTC of its gateway's clock. */
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

/** For measuring. */
export interface LiveFigures {
  /** How often the picture ran dry after it had begun. */
  stalls: number;
  /** How often it jumped. */
  jumps: number;
  /** The lead that is kept, seconds. */
  lead_s: number;
}

export interface LivePlayer {
  figures(): LiveFigures;
  stop(): void;
}

const REPORT_EVERY_MS = 500;
/** A picture that has not moved for so long is not live. */
const STILL_MS = 1_000;
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000] as const;
/** What reaches the screen so long after it reached the hub waits on the line; a new connection begins with now. */
const BACKLOG_MS_MAX = 6_000;

export function playLive(video: HTMLVideoElement, path: string, report: (now: LiveReport) => void): LivePlayer {
  const figures: LiveFigures = { stalls: 0, jumps: 0, lead_s: 0 };
  let attempt = 0;
  let round: { stop(): void } | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  let address = path;

  function begin(): void {
    round = playOnce(video, address, figures, heard, (how) => {
      round = null;
      if (stopped) return;
      if (how === 'unplayable') {
        const sub = subOf(address);
        if (sub === null) return;
        address = sub;
        begin();
        return;
      }
      if (how === 'played') attempt = 0;
      timer = setTimeout(begin, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
      attempt += 1;
    });
  }

  /** That the main stream cannot be played is no news while the sub stream may be. */
  function heard(now: LiveReport): void {
    if (now.phase !== 'unplayable' || subOf(address) === null) report(now);
  }

  begin();
  return {
    figures: () => ({ ...figures }),
    stop() {
      stopped = true;
      clearTimeout(timer);
      round?.stop();
      video.removeAttribute('src');
      video.load();
    },
  };
}

/** The same camera's sub stream; `null` if it is that already. */
function subOf(path: string): string | null {
  const [route = '', query = ''] = path.split('?');
  const wishes = new URLSearchParams(query);
  if (wishes.get('quality') === 'sub') return null;
  wishes.set('quality', 'sub');
  return `${route}?${wishes.toString()}`;
}

type Over = 'played' | 'never' | 'unplayable';

/** One connection, from its opening to its end. */
function playOnce(
  video: HTMLVideoElement,
  path: string,
  figures: LiveFigures,
  report: (now: LiveReport) => void,
  over: (how: Over) => void,
): { stop(): void } {
  const now: LiveReport = {
    phase: 'connecting', delay_ms: null, captured_ms: null, codec: null, width: null, height: null, state: null, detail: null, reason: null,
  };
  const arrivals = noArrivals();
  let moments: Moment[] = [];
  let pace: Pace = USUAL_PACE;
  let joined = false;
  let done = false;
  /** The picture on the screen: its media time, and when it came up. */
  let shown = { at_s: -1, when_ms: monotonic() };

  // Both take their time to open: neither waits for the other.
  const sink = openSink(video, () => end('broken'));
  const socket = new WebSocket(socketAddress(path));
  socket.binaryType = 'arraybuffer';
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data === 'string') hear(readText(data));
    else sink.append(data, taken);
  };
  socket.onclose = () => end(null);
  const reporting = setInterval(measure, REPORT_EVERY_MS);
  video.addEventListener('waiting', waited);
  const unwatch = watchFrames(video, (at_s, up_ms) => {
    if (at_s === shown.at_s) return;
    shown = { at_s, when_ms: monotonic() };
    if (joined && up_ms !== null && !isLedBySound()) steer(cameUp(arrivals, up_ms, at_s * 1_000));
    // A picture that is there is said to be there at once.
    if (now.phase !== 'playing') measure();
  });
  report({ ...now });

  function hear(word: Record<string, unknown>): void {
    if (word.type === 'track') {
      track(asText(word.codec) ?? '', asNumber(word.width), asNumber(word.height));
    } else if (word.type === 'state') {
      now.state = asText(word.state);
      now.detail = asText(word.detail);
      report({ ...now });
    } else if (word.type === 'clock') {
      clock(word);
    } else if (word.type === 'end') {
      end(asText(word.reason));
    }
  }

  function track(codec: string, width: number | null, height: number | null): void {
    Object.assign(now, { codec, width, height, reason: null });
    pace = hasSound(codec) ? SOUND_PACE : USUAL_PACE;
    if (!sink.begin(codec)) {
      now.phase = 'unplayable';
      finish('unplayable');
      return;
    }
    report({ ...now });
  }

  function clock(word: Record<string, unknown>): void {
    const [decode_90k, captured_ms, hub_ms] = [asNumber(word.decode_90k), asNumber(word.captured_ms), asNumber(word.hub_ms)];
    const claim_ms = asNumber(word.claim_ms);
    if (claim_ms !== null && !hasSound(now.codec)) pace = { claim_s: claim_ms / 1_000 };
    if (decode_90k === null || captured_ms === null || hub_ms === null) return;
    const moment = { stream_ms: decode_90k / 90, captured_ms, hub_ms };
    const expected = momentAt(moments, moment.stream_ms);
    // A hole was taken out of the stream's time: what was seen of its evenness says nothing any more.
    if (expected !== null && Math.abs(expected.captured_ms - captured_ms) > 50) forgetArrivals(arrivals);
    moments = remember(moments, moment);
  }

  /** The browser has taken some pictures. */
  function taken(): void {
    const end_s = sink.end();
    if (end_s === null) return;
    const lead_s = wishedLead(arrivals);
    figures.lead_s = lead_s;
    if (!joined) {
      // The first pictures are older than now: it begins at their end.
      joined = true;
      video.currentTime = Math.max(0, end_s - startBehind(pace, lead_s));
      void video.play().catch(() => undefined);
      return;
    }
    arrived(arrivals, monotonic(), (end_s - pace.claim_s) * 1_000);
    const behind_s = end_s - video.currentTime;
    if (isAstray(behind_s, pace, lead_s)) {
      figures.jumps += 1;
      video.currentTime = Math.max(0, end_s - startBehind(pace, lead_s));
    }
    if (isLedBySound() || !saysWhatIsUp(video)) steer(behind_s - pace.claim_s);
  }

  /** Sound is played by a clock of its own, and pictures follow it. */
  function isLedBySound(): boolean {
    return hasSound(now.codec);
  }

  function steer(lead_s: number | null): void {
    if (lead_s === null) return;
    const rate = rateFor(lead_s, wishedLead(arrivals), video.playbackRate);
    if (rate !== video.playbackRate) video.playbackRate = rate;
  }

  function waited(): void {
    if (!joined || shown.at_s < 0 || video.seeking) return;
    figures.stalls += 1;
    ranDry(arrivals);
  }

  function measure(): void {
    const at_ms = hubTime();
    const is_still = monotonic() - shown.when_ms > STILL_MS;
    if (shown.at_s >= 0 && !is_still) now.phase = 'playing';
    else if (now.phase === 'playing') now.phase = 'waiting';
    const moment = shown.at_s < 0 ? null : momentAt(moments, shown.at_s * 1_000);
    now.captured_ms = moment?.captured_ms ?? null;
    now.delay_ms = moment === null || is_still ? null : Math.max(0, at_ms - moment.captured_ms);
    report({ ...now });
    if (moment !== null && !is_still && at_ms - moment.hub_ms > BACKLOG_MS_MAX) end('backlog');
  }

  function end(reason: string | null): void {
    if (done) return;
    now.phase = 'ended';
    now.reason = reason;
    now.delay_ms = null;
    finish(joined ? 'played' : 'never');
  }

  function finish(how: Over): void {
    shut();
    report({ ...now });
    over(how);
  }

  function shut(): void {
    done = true;
    clearInterval(reporting);
    unwatch();
    video.removeEventListener('waiting', waited);
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    // The last picture stays on the screen until the next round begins; the report says that it is not live.
    sink.close(now.phase === 'ended');
  }

  return {
    stop() {
      if (!done) shut();
    },
  };
}

/** Whether the browser says which picture comes up when. */
const saysWhatIsUp = (video: HTMLVideoElement): boolean => 'requestVideoFrameCallback' in video;

/**
 * Calls back with the media time of each picture that comes up, seconds, and when it does, on the monotonic clock;
 * where the browser does not say, with the time played and `null`.
 */
function watchFrames(video: HTMLVideoElement, shown: (at_s: number, up_ms: number | null) => void): () => void {
  if (!saysWhatIsUp(video)) {
    const look = () => shown(video.currentTime, null);
    video.addEventListener('timeupdate', look);
    return () => video.removeEventListener('timeupdate', look);
  }
  let handle = 0;
  const next = (_: number, { mediaTime, expectedDisplayTime }: VideoFrameCallbackMetadata) => {
    shown(mediaTime, expectedDisplayTime);
    handle = video.requestVideoFrameCallback(next);
  };
  handle = video.requestVideoFrameCallback(next);
  return () => video.cancelVideoFrameCallback(handle);
}
