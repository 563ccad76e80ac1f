//! From the order in which a camera sends pictures to the times at which they are decoded and shown.
//!
//! RTP tells when a picture is *shown*, and sends pictures in the order in which they are *decoded*. With B-frames the two
//! differ, and a decoder wants decode times that only grow. The machine keeps the last few presentation times and answers
//! the smallest of them, so decode times run as many pictures behind as the camera reorders, and no picture is held back.
//! How many that is it learns from the stream.
//!
//! Cameras also repeat a time, step back a little, or begin to count anew. The first two cost a tick; after a jump the
//! times go on one picture after the last, so that what comes out has neither hole nor step.

/// The largest number of pictures that a stream can reorder: the limit of H.264 and H.265.
pub const REORDER_FRAMES_MAX: usize = 16;

/// A step this long, either way, is a camera that began to count anew, and no pause: 10 s.
const JUMP_90K: i64 = 10 * 90_000;

/// A backward step this long is no reordering: 2 s.
const REORDER_90K_MAX: i64 = 2 * 90_000;

/// The length of a picture before two of them were seen: 40 ms.
const FRAME_90K_DEFAULT: i64 = 3_600;

/// Where decode times begin. Room below for the pictures that decode times run behind.
const START_90K: i64 = 90_000;

/// When a picture is decoded and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it is decoded, in ticks of 1/90000 s; greater than any before.
    pub decode_90k: u64,
    /// How much later it is shown; negative only where a camera steps back.
    pub composition_90k: i32,
}

/// Presentation times in, decode times out.
#[derive(Clone, Debug)]
pub struct DecodeOrder {
    /// How many pictures the stream reorders, as far as was seen.
    depth: usize,
    /// Presentation times whose turn as a decode time has not come, ascending; the first `pending_len` count.
    pending: [i64; REORDER_FRAMES_MAX + 1],
    pending_len: usize,
    /// The last presentation times, to see reordering; the first `recent_len` count, newest first.
    recent: [i64; REORDER_FRAMES_MAX],
    recent_len: usize,
    /// What is added to the camera's times.
    shift_90k: Option<i64>,
    last_decode_90k: i64,
    /// The newest presentation time, shifted.
    newest_90k: i64,
    frame_90k: i64,
}

impl DecodeOrder {
    /// `depth` is how many pictures the stream is known to reorder; 0 where nothing is known.
    pub fn new(depth: usize) -> Self {
        Self {
            depth: depth.min(REORDER_FRAMES_MAX),
            pending: [0; REORDER_FRAMES_MAX + 1],
            pending_len: 0,
            recent: [0; REORDER_FRAMES_MAX],
            recent_len: 0,
            shift_90k: None,
            last_decode_90k: 0,
            newest_90k: 0,
            frame_90k: FRAME_90K_DEFAULT,
        }
    }

    /// The times of the next picture in decode order, whose presentation time is `presentation_90k` by the camera's count.
    pub fn push(&mut self, presentation_90k: i64) -> Times {
        let presentation = self.shifted(presentation_90k);
        self.learn(presentation);
        self.insert(presentation);
        let candidate = if self.pending_len > self.depth {
            self.take_smallest()
        } else {
            // The beginning: decode times run behind by the pictures that are still to come before their turn.
            let missing = (self.depth + 1 - self.pending_len) as i64;
            self.pending[0].saturating_sub(missing.saturating_mul(self.frame_90k))
        };
        // Never beyond the presentation, unless that lies behind what was already said.
        let decode = candidate.min(presentation).max(self.last_decode_90k + 1);
        self.last_decode_90k = decode;
        let composition = presentation.saturating_sub(decode).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        Times { decode_90k: decode.unsigned_abs(), composition_90k: composition as i32 }
    }

    /// On the time line that comes out. A jump of the camera's count moves the line, not the pictures.
    fn shifted(&mut self, presentation_90k: i64) -> i64 {
        // A count of 62 bits lasts a million years; beyond it lies nonsense that must not overflow.
        let raw = presentation_90k.clamp(-(1 << 61), 1 << 61);
        let Some(shift) = self.shift_90k else {
            self.shift_90k = Some(START_90K - raw);
            self.newest_90k = START_90K;
            return START_90K;
        };
        let presentation = raw.saturating_add(shift);
        let step = presentation.saturating_sub(self.newest_90k);
        if (-REORDER_90K_MAX..=JUMP_90K).contains(&step) {
            if (1..=90_000).contains(&step) {
                self.frame_90k = step;
            }
            self.newest_90k = self.newest_90k.max(presentation);
            return presentation;
        }
        let next = self.newest_90k + self.frame_90k;
        self.shift_90k = Some(next - raw);
        self.newest_90k = next;
        self.recent_len = 0;
        next
    }

    /// A picture that is shown before `n` of those sent before it needs a depth of `n`.
    fn learn(&mut self, presentation: i64) {
        let overtaken = self.recent[..self.recent_len].iter().filter(|&&recent| recent > presentation).count();
        self.depth = self.depth.max(overtaken);
        self.recent_len = (self.recent_len + 1).min(REORDER_FRAMES_MAX);
        self.recent.copy_within(0..self.recent_len - 1, 1);
        self.recent[0] = presentation;
    }

    fn insert(&mut self, presentation: i64) {
        let at = self.pending[..self.pending_len].partition_point(|&pending| pending <= presentation);
        self.pending.copy_within(at..self.pending_len, at + 1);
        self.pending[at] = presentation;
        self.pending_len += 1;
    }

    fn take_smallest(&mut self) -> i64 {
        let smallest = self.pending[0];
        self.pending.copy_within(1..self.pending_len, 0);
        self.pending_len -= 1;
        smallest
    }
}
