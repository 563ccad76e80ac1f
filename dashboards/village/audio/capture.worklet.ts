/** Runs in the browser's audio thread: hands the microphone's samples to the page, a tenth of a second at a time. */
export {};

/** What the browser gives an audio thread; TypeScript's own library does not know it. */
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: typeof AudioWorkletProcessor): void;

const PIECE_SAMPLES = 4_800;

class Capture extends AudioWorkletProcessor {
  private piece = new Float32Array(PIECE_SAMPLES);
  private filled = 0;

  /** Takes one channel of the first input; `true` keeps it running through silence. */
  process([input]: Float32Array[][]): boolean {
    for (const value of input?.[0] ?? []) {
      this.piece[this.filled] = value;
      this.filled += 1;
      if (this.filled === PIECE_SAMPLES) this.hand();
    }
    return true;
  }

  private hand(): void {
    const full = this.piece;
    this.port.postMessage(full, [full.buffer]);
    this.piece = new Float32Array(PIECE_SAMPLES);
    this.filled = 0;
  }
}

registerProcessor('capture', Capture);
