//! The latest pictures of a stream, in memory: for who begins to watch, and for what happened before a press.
//!
//! Pictures are kept as groups, each of which begins with a keyframe. Of a stream that is recorded the ring holds the group that
//! is under way, so that a viewer has a picture at once; of one that is not, and of every camera at a home, it holds the last
//! [`MEMORY_MS`], so that an alarm has its thirty seconds from before. A viewer gets the group and what follows in one step, so
//! that no picture is missing or doubled in between; one who is slow loses pictures up to the next keyframe, and slows nobody.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tongluo_protocols::media::mp4::Track;

use super::sound::Piece;

/// How much an unrecorded stream keeps: the 30 s before a press, and a margin for long groups and a slow evidence task.
pub(super) const MEMORY_MS: i64 = 40_000;

/// The most an unrecorded stream keeps: 40 s at 6 Mbit/s. Above that the past gets shorter.
const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The longest group that is kept for who begins to watch. Open-GOP streams whose keyframes are rare have grown to a thousand
/// pictures; whoever comes then waits for the next keyframe.
const GROUP_FRAMES_MAX: usize = 600;

/// … and the largest: 16 s at 4 Mbit/s.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Pictures that may wait for a viewer: about five seconds. At the bound the viewer jumps to the next keyframe.
const VIEWER_FRAMES_MAX: usize = 128;

/// Viewers of one stream within the gateway: live, evidence and tests are three.
const VIEWERS_MAX: usize = 16;

/// A picture on its stream's timeline. Shared by all who hold it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// What a decoder must know for this picture; another `Arc` than the last picture's when it changed.
    pub(crate) track: Arc<Track>,
    /// Whether a decoder can begin with it.
    pub(crate) key: bool,
    /// When it is decoded, in ticks of 90 kHz. Grows from picture to picture over all sessions of the stream.
    pub(crate) decode_90k: u64,
    /// How much later it is shown, in ticks.
    pub(crate) composition_90k: i32,
    /// When it was captured, as far as can be told from its arrival: the gateway's UTC milliseconds.
    pub(crate) captured_ms: i64,
    /// NAL units, each after its length in four bytes.
    pub(crate) data: Bytes,
    /// What was heard since the picture before; nothing where sound is off.
    pub(crate) sound: Vec<Piece>,
}

impl Frame {
    /// Picture and sound together.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + self.sound.iter().map(|piece| piece.data.len()).sum::<usize>()
    }
}

/// What a viewer gets: dropping it ends the watching.
#[derive(Debug)]
pub(crate) struct Watching {
    /// The group that is under way, beginning with its keyframe.
    pub(crate) gop: Vec<Arc<Frame>>,
    /// What follows it without a hole. After a jump (the viewer was slow, or the camera was lost) it goes on with a keyframe.
    /// Ends when the camera is no longer configured.
    pub(crate) frames: mpsc::Receiver<Arc<Frame>>,
}

struct Viewer {
    frames: mpsc::Sender<Arc<Frame>>,
    wants_key: bool,
}

struct Group {
    frames: Vec<Arc<Frame>>,
    bytes: usize,
}

/// The ring of one stream.
pub(super) struct Ring {
    /// Oldest first; the last one grows.
    groups: VecDeque<Group>,
    bytes: usize,
    keeps_past: bool,
    /// The last group is under way, and whole from its keyframe on.
    is_live: bool,
    viewers: Vec<Viewer>,
}

impl Ring {
    pub(super) const fn new() -> Self {
        Self { groups: VecDeque::new(), bytes: 0, keeps_past: false, is_live: false, viewers: Vec::new() }
    }

    /// Whether to keep [`MEMORY_MS`], or the group under way alone.
    pub(super) fn keep_past(&mut self, keeps_past: bool) {
        self.keeps_past = keeps_past;
        self.forget();
    }

    /// Takes the next picture, and passes it on.
    pub(super) fn push(&mut self, frame: &Arc<Frame>) {
        self.pass_on(frame);
        if frame.key {
            self.groups.push_back(Group { frames: Vec::new(), bytes: 0 });
            self.is_live = true;
        }
        let Some(group) = self.groups.back_mut().filter(|_| self.is_live) else { return };
        group.frames.push(frame.clone());
        let bytes = frame.bytes();
        group.bytes += bytes;
        self.bytes += bytes;
        if group.frames.len() > GROUP_FRAMES_MAX || group.bytes > GROUP_BYTES_MAX {
            self.is_live = false;
            if !self.keeps_past {
                self.clear();
            }
        }
        self.forget();
    }

    /// The session ended or lost pictures: what was under way cannot be continued, and is not live.
    pub(super) fn interrupt(&mut self) {
        self.is_live = false;
        for viewer in &mut self.viewers {
            viewer.wants_key = true;
        }
        if !self.keeps_past {
            self.clear();
        }
    }

    /// The group under way and what follows. `None` while there is none, or with too many viewers.
    pub(super) fn watch(&mut self) -> Option<Watching> {
        self.viewers.retain(|viewer| !viewer.frames.is_closed());
        let gop = self.live_group().filter(|group| !group.is_empty())?.to_vec();
        if self.viewers.len() == VIEWERS_MAX {
            return None;
        }
        let (sender, frames) = mpsc::channel(VIEWER_FRAMES_MAX);
        self.viewers.push(Viewer { frames: sender, wants_key: false });
        Some(Watching { gop, frames })
    }

    /// The group under way, if it is whole and live.
    pub(super) fn live_group(&self) -> Option<&[Arc<Frame>]> {
        self.groups.back().filter(|_| self.is_live).map(|group| &group.frames[..])
    }

    /// Whether anybody watches.
    pub(super) fn has_viewers(&self) -> bool {
        self.viewers.iter().any(|viewer| !viewer.frames.is_closed())
    }

    /// What is kept from the group on in which `from_ms` lies, oldest first.
    pub(super) fn past(&self, from_ms: i64) -> Vec<Arc<Frame>> {
        let begins_after = |group: &Group| group.frames.first().is_none_or(|frame| frame.captured_ms > from_ms);
        let first = self.groups.partition_point(|group| !begins_after(group)).saturating_sub(1);
        self.groups.iter().skip(first).flat_map(|group| group.frames.iter().cloned()).collect()
    }

    /// From when on pictures are kept, UTC milliseconds, with the newest's.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let first = self.groups.iter().find_map(|group| group.frames.first())?;
        let last = self.groups.iter().rev().find_map(|group| group.frames.last())?;
        Some((first.captured_ms, last.captured_ms))
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn pass_on(&mut self, frame: &Arc<Frame>) {
        self.viewers.retain_mut(|viewer| {
            if viewer.wants_key && !frame.key {
                return !viewer.frames.is_closed();
            }
            match viewer.frames.try_send(frame.clone()) {
                Ok(()) => viewer.wants_key = false,
                Err(mpsc::error::TrySendError::Full(_)) => viewer.wants_key = true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
            true
        });
    }

    fn clear(&mut self) {
        self.groups.clear();
        self.bytes = 0;
    }

    /// Lets go of the oldest groups, as long as what remains is enough.
    fn forget(&mut self) {
        let newest_ms = self.span().map_or(0, |(_, newest_ms)| newest_ms);
        while self.groups.len() > 1 {
            let is_enough = match self.groups.get(1).and_then(|group| group.frames.first()) {
                Some(second) => second.captured_ms <= newest_ms - MEMORY_MS,
                None => false,
            };
            if self.keeps_past && !is_enough && self.bytes <= MEMORY_BYTES_MAX {
                return;
            }
            let oldest = self.groups.pop_front().expect("there are two groups: checked above");
            self.bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tongluo_protocols::media::Codec;

    fn track() -> Arc<Track> {
        Arc::new(Track { codec: Codec::H264, parameters: Vec::new(), width: 64, height: 48, sound: None })
    }

    /// The i-th picture of a camera with 25 a second and a keyframe every `group`.
    fn frame(track: &Arc<Track>, i: u64, group: u64, bytes: usize) -> Arc<Frame> {
        Arc::new(Frame {
            track: track.clone(),
            key: i.is_multiple_of(group),
            decode_90k: i * 3_600,
            composition_90k: 0,
            captured_ms: i.cast_signed() * 40,
            data: Bytes::from(vec![0; bytes]),
            sound: Vec::new(),
        })
    }

    fn fill(ring: &mut Ring, numbers: std::ops::Range<u64>, group: u64, bytes: usize) {
        let track = track();
        for i in numbers {
            ring.push(&frame(&track, i, group, bytes));
        }
    }

    #[test]
    fn a_viewer_gets_the_group_and_all_that_follows() {
        let mut ring = Ring::new();
        assert!(ring.watch().is_none(), "nothing to begin with");
        fill(&mut ring, 0..60, 25, 10);
        let mut watching = ring.watch().unwrap();
        fill(&mut ring, 60..70, 25, 10);
        let mut seen: Vec<u64> = watching.gop.iter().map(|frame| frame.decode_90k / 3_600).collect();
        while let Ok(frame) = watching.frames.try_recv() {
            seen.push(frame.decode_90k / 3_600);
        }
        assert_eq!(seen, (50..70).collect::<Vec<_>>());
        assert!(ring.has_viewers());
        drop(watching);
        assert!(!ring.has_viewers());
    }

    #[test]
    fn a_slow_viewer_goes_on_at_a_keyframe_and_slows_nobody() {
        let mut ring = Ring::new();
        fill(&mut ring, 0..1, 25, 10);
        let mut slow = ring.watch().unwrap();
        let mut quick = ring.watch().unwrap();
        let mut quick_count = 0;
        for i in 1..400 {
            fill(&mut ring, i..i + 1, 25, 10);
            quick_count += usize::from(quick.frames.try_recv().is_ok());
        }
        assert_eq!(quick_count, 399);
        let mut seen = Vec::new();
        while let Ok(frame) = slow.frames.try_recv() {
            seen.push(frame.decode_90k / 3_600);
        }
        assert_eq!(seen, (1..129).collect::<Vec<_>>(), "what fitted");
        fill(&mut ring, 400..427, 25, 10);
        let next = slow.frames.try_recv().unwrap();
        assert!(next.key, "it goes on at {}", next.decode_90k / 3_600);
    }

    #[test]
    fn a_recorded_stream_keeps_one_group_and_an_unrecorded_one_the_past() {
        let mut ring = Ring::new();
        fill(&mut ring, 0..2_000, 50, 100);
        assert_eq!(ring.bytes(), 50 * 100);
        ring.keep_past(true);
        fill(&mut ring, 2_000..5_000, 50, 100);
        let (from_ms, to_ms) = ring.span().unwrap();
        assert!((MEMORY_MS..MEMORY_MS + 2_000).contains(&(to_ms - from_ms)), "{from_ms} to {to_ms}");
        let past = ring.past(to_ms - 30_000);
        assert!(past[0].key && past[0].captured_ms <= to_ms - 30_000);
        assert!(past[0].captured_ms > to_ms - 32_000, "only from the group on in which it lies");
        assert_eq!(past.last().unwrap().captured_ms, to_ms);
        ring.keep_past(false);
        assert_eq!(ring.bytes(), 50 * 100);
    }

    #[test]
    fn memory_is_bounded_however_large_the_pictures_are() {
        let mut ring = Ring::new();
        ring.keep_past(true);
        fill(&mut ring, 0..1_000, 10, 500_000);
        assert!(ring.bytes() <= MEMORY_BYTES_MAX, "{} bytes", ring.bytes());
        assert!(ring.live_group().is_some());
    }

    #[test]
    fn a_group_without_end_is_not_kept_and_viewers_still_get_it() {
        let mut ring = Ring::new();
        fill(&mut ring, 0..1, 5_000, 10);
        let mut watching = ring.watch().unwrap();
        let track = track();
        for i in 1..2_000 {
            ring.push(&frame(&track, i, 5_000, 10));
            assert_eq!(watching.frames.try_recv().unwrap().decode_90k, i * 3_600);
        }
        assert!(ring.watch().is_none(), "nobody begins in the middle");
        assert_eq!(ring.bytes(), 0);
        fill(&mut ring, 5_000..5_010, 5_000, 10);
        assert_eq!(ring.watch().unwrap().gop.len(), 10);
    }

    #[test]
    fn what_was_interrupted_is_not_shown_as_live() {
        let mut ring = Ring::new();
        ring.keep_past(true);
        fill(&mut ring, 0..30, 25, 10);
        let mut watching = ring.watch().unwrap();
        ring.interrupt();
        assert!(ring.watch().is_none());
        assert!(ring.span().is_some(), "the past stays for evidence");
        fill(&mut ring, 30..60, 25, 10);
        assert!(watching.frames.try_recv().unwrap().key);
        assert_eq!(ring.watch().unwrap().gop.len(), 10);
    }
}
