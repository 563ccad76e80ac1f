/**
 * The clock in a virtual camera's picture (see tests/devices/face.rs), read from a video in the page.
 * Pictures are sent by the wall clock, so a number says how old its picture is.
 */

/** Runs in the page: puts `tongluoFace(video)` there, which answers with a number or null. */
export function installFace() {
  const canvas = new OffscreenCanvas(320, 180);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  globalThis.tongluoFace = (video) => {
    if (video.videoWidth === 0) return null;
    context.drawImage(video, 0, 0, 320, 180);
    const row = context.getImageData(0, 9, 320, 1).data;
    const white = (cell) => row[(cell * 16 + 8) * 4] >= 128;
    const bits = (first, count) => Array.from({ length: count }, (_, index) => white(first + index)).reduce((all, bit) => all * 2 + Number(bit), 0);
    const [number, check] = [bits(2, 12), bits(14, 4)];
    return white(0) && !white(1) && !white(18) && white(19) && check === (~number & 15) ? number : null;
  };
}

/** How old a picture was at a moment of the wall clock, in milliseconds; right for what is younger than the file is long. */
export function age_ms(cameras, number, utc_ms) {
  const length_ms = cameras.seconds * 1_000;
  return (((utc_ms - (number * 1_000) / cameras.frames_per_s) % length_ms) + length_ms) % length_ms;
}
