/** A video element fed by hand: one append at a time, in order, and the past thrown away now and then. */

/** Seconds of what was shown that are kept, so that a seek a little back finds them. */
const KEPT_S = 15;
/** Between two trims; one that frees nothing would otherwise be tried again at once. */
const TRIM_EVERY_S = 10;

export interface Sink {
  /** Queues bytes; `done` runs after the browser has taken them. */
  append(bytes: ArrayBuffer, done?: () => void): void;
  /** How many bytes wait to be taken. */
  waiting(): number;
  close(): void;
}

/** Whether this browser plays a codec at all, e.g. `avc1.640028`. */
export function canPlay(codec: string): boolean {
  return sources()?.isTypeSupported(mime(codec)) ?? false;
}

/** Opens a sink on a video element. `broken` runs once if the browser refuses what it is given. */
export function openSink(video: HTMLVideoElement, codec: string, broken: () => void): Sink {
  const Source = sources();
  if (Source === null) throw new Error('asked for a sink where canPlay() was false');
  const source = new Source();
  const address = URL.createObjectURL(source);
  const queue: { bytes: ArrayBuffer; done: (() => void) | undefined }[] = [];
  let buffer: SourceBuffer | null = null;
  let closed = false;
  let trimmed_at_s = 0;

  source.addEventListener('sourceopen', () => {
    if (closed) return;
    try {
      buffer = source.addSourceBuffer(mime(codec));
    } catch {
      broken();
      return;
    }
    buffer.addEventListener('updateend', next);
    next();
  });
  // Without it an iPhone gives no managed source.
  video.disableRemotePlayback = true;
  video.src = address;

  function next(): void {
    if (closed || buffer === null || buffer.updating || source.readyState !== 'open') return;
    const entry = queue[0];
    if (entry === undefined) {
      trim(buffer);
      return;
    }
    queue.shift();
    try {
      buffer.appendBuffer(entry.bytes);
    } catch {
      broken();
      return;
    }
    const { done } = entry;
    if (done !== undefined) buffer.addEventListener('updateend', done, { once: true });
  }

  function trim(of: SourceBuffer): void {
    const until_s = video.currentTime - KEPT_S;
    if (of.buffered.length === 0 || until_s - trimmed_at_s < TRIM_EVERY_S || of.buffered.start(0) >= until_s) return;
    trimmed_at_s = until_s;
    of.remove(0, until_s);
  }

  return {
    append(bytes, done) {
      queue.push({ bytes, done });
      next();
    },
    waiting: () => queue.reduce((sum, { bytes }) => sum + bytes.byteLength, 0),
    close() {
      closed = true;
      queue.length = 0;
      video.removeAttribute('src');
      video.load();
      URL.revokeObjectURL(address);
    },
  };
}

function mime(codec: string): string {
  return `video/mp4; codecs="${codec}"`;
}

function sources(): typeof MediaSource | null {
  const { ManagedMediaSource } = globalThis as { ManagedMediaSource?: typeof MediaSource };
  return ManagedMediaSource ?? globalThis.MediaSource ?? null;
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
