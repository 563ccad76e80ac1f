//! Reading a span of time: init segments, fragments and gaps, as fast as they are taken.
//!
//! Each reading has a thread of its own, because a disk may be slow, and a short queue: who does not take does not make it read
//! on. A span that reaches into the future is followed while it is being recorded.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tongluo_protocols::media::mp4;

use super::catalog::{Catalog, Indexed};
use super::segment::{self, Entry};
use super::{Open, Recordings, Shared, StreamName};
use crate::clock::Clock;

/// Fragments that are read ahead: the next one, while one is on its way.
pub(in crate::camera) const PIECES_MAX: usize = 2;

/// Readings at once: a wall of nine and some exports. Each holds a few megabytes.
const READERS_MAX: usize = 16;

/// A hole between fragments that is worth a word; less is the spread of a camera's clock.
const GAP_MS_MIN: i64 = 1_000;

/// Spans that one answer names: a month of a camera that breaks off forty times a day.
const SPANS_MAX: usize = 1_200;

/// How long a reading that follows a recording waits beyond its end for a fragment that is still being collected.
const FOLLOW_MS: i64 = 15_000;

/// How often who waits for the recording looks at the clock.
const LOOK: Duration = Duration::from_millis(500);

/// Ticks per millisecond.
const TICKS_PER_MS: i64 = 90;

/// What a reading gives.
#[derive(Debug)]
pub(crate) enum Piece {
    /// What a decoder must know for the fragments that follow: once at the beginning, and again when it changes.
    Init {
        /// The codec as RFC 6381 names it.
        rfc6381: String,
        /// `ftyp` and `moov`.
        data: Vec<u8>,
    },
    /// `moof` and `mdat`. Its decode time counts from the beginning of the span that was asked for, or from the first fragment
    /// where that begins earlier, which it does by less than a group.
    Fragment {
        /// UTC milliseconds.
        wall_ms: i64,
        /// Milliseconds.
        duration_ms: u32,
        /// `moof` and `mdat`.
        data: Vec<u8>,
    },
    /// There is nothing between these times.
    Gap {
        /// UTC milliseconds.
        from_ms: i64,
        /// UTC milliseconds.
        to_ms: i64,
    },
}

/// A reading that is under way; dropping it ends it. It is over when `pieces` ends.
#[derive(Debug)]
pub(crate) struct Reading {
    /// In the order of time.
    pub(crate) pieces: mpsc::Receiver<Piece>,
}

/// A span of time that is recorded without a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    /// UTC milliseconds.
    pub(crate) from_ms: i64,
    /// UTC milliseconds.
    pub(crate) to_ms: i64,
}

impl Recordings {
    /// What of a span is recorded. Blocks on the disk.
    pub(in crate::camera) fn spans(&self, camera: &Arc<str>, from_ms: i64, to_ms: i64) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for segment in segments(&self.shared, camera, from_ms, to_ms) {
            for entry in segment.entries {
                let span = Span { from_ms: entry.wall_ms.max(from_ms), to_ms: entry.end_ms().min(to_ms) };
                if span.from_ms >= span.to_ms {
                    continue;
                }
                if let Some(last) = spans.last_mut()
                    && span.from_ms - last.to_ms < GAP_MS_MIN
                {
                    last.to_ms = last.to_ms.max(span.to_ms);
                } else if spans.len() < SPANS_MAX {
                    spans.push(span);
                }
            }
        }
        spans
    }

    /// Reads a span. `None`: there are too many readings already.
    pub(in crate::camera) fn read(&self, camera: &Arc<str>, from_ms: i64, to_ms: i64) -> Option<Reading> {
        let camera = camera.clone();
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let shared = self.shared.clone();
        if shared.readers.fetch_add(1, Ordering::Relaxed) >= READERS_MAX {
            shared.readers.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut reader =
            Reader { shared, camera, from_ms, to_ms, base_ms: from_ms, position_ms: from_ms, init: None, sender };
        let clock = self.clock;
        let spawned = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            reader.run(clock);
            reader.shared.readers.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            self.shared.readers.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Reading { pieces })
    }
}

/// What a decoder must know, with its name.
pub(in crate::camera) fn init_piece(data: Vec<u8>) -> Option<Piece> {
    let (track, _) = mp4::read_init(&data).ok()?;
    Some(Piece::Init { rfc6381: track.rfc6381().ok()?, data })
}

/// Segments that touch a span, in order: from the catalogue, then the one that is being written.
fn segments(shared: &Shared, camera: &Arc<str>, from_ms: i64, to_ms: i64) -> Vec<Indexed> {
    if !shared.is_ready.load(Ordering::Acquire) {
        return Vec::new();
    }
    // Looked at before the catalogue: a segment that ends in between is found twice rather than never.
    let open: Vec<_> = open_of(&shared.open(), camera)
        .map(|open| Indexed { path: open.path.clone(), entries: open.entries.clone() })
        .collect();
    let mut found = Catalog::open_to_read(&shared.folder)
        .and_then(|catalog| catalog.within(camera, from_ms, to_ms))
        .unwrap_or_else(|error| {
            tracing::error!(camera.id = %camera, recording.error = format!("{error:#}"), "the catalogue cannot be read");
            Vec::new()
        });
    for open in open {
        if found.iter().all(|segment| segment.path != open.path) {
            found.push(open);
        }
    }
    found
}

/// What is being written of a camera: one segment, or none.
fn open_of<'a>(open: &'a HashMap<StreamName, Open>, camera: &'a Arc<str>) -> impl Iterator<Item = &'a Open> {
    open.iter().filter(move |(stream, _)| stream.camera == *camera).map(|(_, open)| open)
}

/// The reader is gone.
struct Gone;

struct Reader {
    shared: Arc<Shared>,
    camera: Arc<str>,
    from_ms: i64,
    to_ms: i64,
    /// Where decode times count from.
    base_ms: i64,
    /// Everything before this was given.
    position_ms: i64,
    init: Option<Vec<u8>>,
    sender: mpsc::Sender<Piece>,
}

impl Reader {
    fn run(&mut self, clock: Clock) {
        let mut began = false;
        loop {
            let segments = segments(&self.shared, &self.camera, self.position_ms, self.to_ms);
            for indexed in segments {
                match self.segment(&indexed, &mut began) {
                    Ok(()) => {}
                    Err(Some(error)) => {
                        tracing::warn!(camera.id = %self.camera, recording.error = %error, "a recording cannot be read");
                    }
                    Err(None) => return,
                }
            }
            if self.position_ms >= self.to_ms || !self.grows(clock) {
                break;
            }
        }
        let _ = self.gap(self.to_ms);
    }

    /// Gives what of a segment was not given. `Err(None)`: the reader is gone.
    fn segment(&mut self, indexed: &Indexed, began: &mut bool) -> Result<(), Option<io::Error>> {
        let wanted = wanted(&indexed.entries, self.position_ms, self.to_ms, *began);
        let Some(first) = indexed.entries.first().filter(|_| !wanted.is_empty()) else { return Ok(()) };
        let mut file = File::open(self.shared.folder.join(&indexed.path)).map_err(Some)?;
        let init = segment::read_init(&mut file, first).map_err(Some)?;
        for entry in wanted {
            if !*began {
                *began = true;
                self.base_ms = self.base_ms.min(entry.wall_ms);
            }
            self.gap(entry.wall_ms).map_err(|Gone| None)?;
            if self.init.as_ref() != Some(&init) {
                let piece = init_piece(init.clone()).ok_or(io::Error::from(io::ErrorKind::InvalidData))?;
                self.give(piece).map_err(|Gone| None)?;
                self.init = Some(init.clone());
            }
            let mut data = segment::read_fragment(&file, entry).map_err(Some)?;
            let decode_90k = (entry.wall_ms - self.base_ms).saturating_mul(TICKS_PER_MS);
            mp4::retime(&mut data, decode_90k.max(0).unsigned_abs()).map_err(io::Error::other).map_err(Some)?;
            let Entry { wall_ms, duration_ms, .. } = *entry;
            self.give(Piece::Fragment { wall_ms, duration_ms, data }).map_err(|Gone| None)?;
            self.position_ms = self.position_ms.max(entry.end_ms());
        }
        Ok(())
    }

    /// Says that there is nothing until a time, if that is worth it.
    fn gap(&mut self, to_ms: i64) -> Result<(), Gone> {
        if to_ms - self.position_ms >= GAP_MS_MIN {
            self.give(Piece::Gap { from_ms: self.position_ms.max(self.from_ms), to_ms })?;
            self.position_ms = to_ms;
        }
        Ok(())
    }

    fn give(&self, piece: Piece) -> Result<(), Gone> {
        self.sender.blocking_send(piece).map_err(|_| Gone)
    }

    /// Waits until there is more; `false`: there will be none.
    fn grows(&self, clock: Clock) -> bool {
        let size = |open: &HashMap<StreamName, Open>| {
            let sizes = open_of(open, &self.camera).map(|open| (open.path.clone(), open.entries.len()));
            sizes.collect::<Vec<_>>()
        };
        let mut open = self.shared.open();
        let had = size(&open);
        loop {
            if clock.utc_ms() > self.to_ms.saturating_add(FOLLOW_MS) || self.sender.is_closed() {
                return false;
            }
            (open, _) = self.shared.grown.wait_timeout(open, LOOK).expect("nobody panics while holding this lock");
            if size(&open) != had {
                return true;
            }
        }
    }
}

/// The entries of a segment that belong to a span: from the keyframe on with which a decoder can begin, or what follows what was
/// given already.
fn wanted(entries: &[Entry], position_ms: i64, to_ms: i64, began: bool) -> &[Entry] {
    let end = entries.partition_point(|entry| entry.wall_ms < to_ms);
    let first = if began {
        // The spread of a camera's clock lets a fragment begin a little before the last one ends.
        entries[..end].partition_point(|entry| entry.end_ms() <= position_ms)
    } else {
        let touching = entries[..end].partition_point(|entry| entry.end_ms() <= position_ms);
        let touched = touching < end;
        let key = entries[..end].iter().take(touching + usize::from(touched)).rposition(|entry| entry.key);
        match key {
            Some(key) if touched => key,
            _ => end,
        }
    };
    &entries[first.min(end)..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(wall_ms: i64, key: bool) -> Entry {
        Entry { wall_ms, duration_ms: 2_000, offset: 0, bytes: 0, key }
    }

    #[test]
    fn a_span_begins_with_the_keyframe_before_it() {
        let entries = [entry(0, true), entry(2_000, true), entry(4_000, false), entry(6_000, true)];
        let starts = |position_ms, to_ms, began| {
            wanted(&entries, position_ms, to_ms, began).iter().map(|entry| entry.wall_ms).collect::<Vec<_>>()
        };
        assert_eq!(starts(0, 100_000, false), [0, 2_000, 4_000, 6_000]);
        assert_eq!(starts(3_000, 3_500, false), [2_000]);
        assert_eq!(starts(5_000, 7_000, false), [2_000, 4_000, 6_000], "the decoder needs what is before");
        assert_eq!(starts(4_000, 7_000, true), [4_000, 6_000], "it has it already");
        assert_eq!(starts(9_000, 20_000, false), [0_i64; 0]);
        assert_eq!(starts(-5_000, 0, false), [0_i64; 0]);
        assert_eq!(starts(-5_000, 1, false), [0]);
    }
}
