/**
 * A video element fed by hand: opened before anybody knows what it will be fed, one append at a time
 * and in order, and the past thrown away now and then.
 */

/** Seconds of what was shown that are kept, so that a seek a little back finds them. */
const KEPT_S = 15;
/** Between two trims; one that frees nothing would otherwise be tried again at once. */
const TRIM_EVERY_S = 10;
/** What may wait to be taken. A browser that takes nothing for so long has gone wrong. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;

export interface Sink {
  /** What comes next; `false`: this browser does not play it. May be said again when the camera changes. */
  begin(codec: string): boolean;
  /** Queues bytes; `done` runs after the browser has taken them. */
  append(bytes: ArrayBuffer, done?: () => void): void;
  /** The end of what is buffered, seconds of media time. */
  end(): number | null;
  /** Feeds no more. The last picture goes, unless it is to be kept on the screen. */
  close(keep_picture?: boolean): void;
}

/** Whether this browser plays a codec at all, e.g. `avc1.640028`. */
export function canPlay(codec: string): boolean {
  return sources()?.isTypeSupported(mime(codec)) ?? false;
}

/** Whether there is sound beside the pictures: `avc1.640028,flac`. */
export const hasSound = (codec: string | null): boolean => codec?.includes(',') ?? false;

interface Entry {
  bytes: ArrayBuffer;
  done: (() => void) | undefined;
}

/** Opens a sink on a video element. `broken` runs once if the browser refuses what it is given. */
export function openSink(video: HTMLVideoElement, broken: () => void): Sink {
  const Source = sources();
  const source = Source === null ? null : new Source();
  const address = source === null ? '' : URL.createObjectURL(source);
  const queue: Entry[] = [];
  let waiting_bytes = 0;
  let codec: string | null = null;
  let buffer: SourceBuffer | null = null;
  let taken: Entry | null = null;
  let closed = false;
  let trimmed_at_s = 0;

  source?.addEventListener('sourceopen', prepare);
  video.addEventListener('error', fail);
  // Without it an iPhone gives no managed source.
  video.disableRemotePlayback = true;
  if (source !== null) video.src = address;

  function prepare(): void {
    if (closed || source === null || source.readyState !== 'open' || codec === null || buffer !== null) return;
    try {
      buffer = source.addSourceBuffer(mime(codec));
    } catch {
      fail();
      return;
    }
    buffer.addEventListener('updateend', () => {
      const { done } = taken ?? {};
      taken = null;
      done?.();
      next();
    });
    next();
  }

  function next(): void {
    if (closed || buffer === null || buffer.updating || source?.readyState !== 'open') return;
    const entry = queue.shift();
    if (entry === undefined) {
      trim(buffer);
      return;
    }
    waiting_bytes -= entry.bytes.byteLength;
    taken = entry;
    try {
      buffer.appendBuffer(entry.bytes);
    } catch {
      fail();
    }
  }

  function trim(of: SourceBuffer): void {
    const until_s = video.currentTime - KEPT_S;
    if (of.buffered.length === 0 || until_s - trimmed_at_s < TRIM_EVERY_S || of.buffered.start(0) >= until_s) return;
    trimmed_at_s = until_s;
    of.remove(0, until_s);
  }

  function fail(): void {
    if (closed) return;
    closed = true;
    broken();
  }

  return {
    begin(next_codec) {
      if (!canPlay(next_codec)) return false;
      const changed = codec !== null && codec !== next_codec;
      codec = next_codec;
      if (changed && buffer !== null && !buffer.updating) {
        try {
          buffer.changeType(mime(next_codec));
        } catch {
          return false;
        }
      }
      prepare();
      return true;
    },
    append(bytes, done) {
      queue.push({ bytes, done });
      waiting_bytes += bytes.byteLength;
      if (waiting_bytes > WAITING_BYTES_MAX) fail();
      else next();
    },
    end() {
      const { buffered } = video;
      return buffered.length === 0 ? null : buffered.end(buffered.length - 1);
    },
    close(keep_picture = false) {
      closed = true;
      queue.length = 0;
      video.removeEventListener('error', fail);
      if (address === '') return;
      if (video.src === address && !keep_picture) {
        video.removeAttribute('src');
        video.load();
      }
      URL.revokeObjectURL(address);
    },
  };
}

function mime(codec: string): string {
  return `video/mp4; codecs="${codec}"`;
}

function sources(): typeof MediaSource | null {
  const { ManagedMediaSource } = globalThis as { ManagedMediaSource?: typeof MediaSource };
  return globalThis.MediaSource ?? ManagedMediaSource ?? null;
}

/** A path of the hub as a WebSocket's address. */
export function socketAddress(path: string): string {
  const address = new URL(path, location.href);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return address.href;
}

/** What the hub says beside the pictures; what cannot be read is nothing. */
export function readText(data: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

export const asText = (value: unknown): string | null => (typeof value === 'string' ? value : null);
export const asNumber = (value: unknown): number | null => (typeof value === 'number' ? value : null);
