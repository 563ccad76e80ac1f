//! The recorder: pictures as they came, on disk, for as long as the budget lasts.
//!
//! ```text
//! stream ─► Feed ─► bounded queue ─► writer (a thread) ─► segment files + catalogue ─► reader (a thread per reading)
//! ```
//!
//! A [`Feed`] collects a stream's pictures into groups and hands each over whole: one write per group, which is also what a crash
//! can cost at most. The queue is bounded in bytes; a disk that does not keep up makes the feed drop groups up to the next
//! keyframe and say so. Nothing here is ever waited for by the room's own thread, let alone by a press.
//!
//! | File      | What it knows                                                                    |
//! | --------- | -------------------------------------------------------------------------------- |
//! | `segment` | one file: how fragments are written, found again after a crash, and read          |
//! | `catalog` | the table of segments, and what is protected                                     |
//! | `writer`  | the thread: begins, fills and ends segments                                      |
//! | `house`   | what must go: too old, over a camera's budget, over the whole one, disk full      |
//! | `reader`  | a span of time as init segments, fragments and gaps                              |

mod catalog;
mod house;
mod reader;
mod segment;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};

use tongluo_protocols::media::{MESSAGE_BYTES_MAX, Quality};

use super::plan::Limits;
use super::ring::Frame;
use crate::clock::Clock;
use segment::Entry;

pub(super) use reader::{PIECES_MAX, init_piece};
pub(crate) use reader::{Piece, Reading, Span};
pub(super) use segment::{begin_ms, duration_ms, mux};

/// Pictures that may wait for the disk, over all cameras: two seconds of 32 cameras of 4 Mbit/s. At the bound groups are dropped.
const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A fragment is handed over after so much time even without a keyframe: it is what a crash can cost.
const FRAGMENT_TICKS_MAX: u64 = 10 * 90_000;

/// … or before it grows beyond so many bytes: with its headers it fits a message of the media connection.
pub(super) const FRAGMENT_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 512 * 1024;

/// What a session begins with is one group for so long: a camera's answer to PLAY is often a burst of pictures that it had kept, and
/// only when they come as they are taken is it known when those were.
const SETTLING_MS: i64 = 1_000;

/// So much a group may begin before the end of the one before it, by what is known of their times: less than a picture lasts, for
/// players bear no more. What times must go back beyond that is made up for by the groups that follow.
pub(super) const OVERLAP_MS_MAX: i64 = 10;

/// Pictures that are further apart have a hole between them that is worth a word: more than the second of the slowest camera that is
/// served.
const HOLE_TICKS: u64 = 99_000;

/// How much the recorder may take of the disk.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Where recordings are kept.
    pub(crate) folder: PathBuf,
    /// The most bytes of all cameras together.
    pub(crate) bytes_max: u64,
    /// What is left free on the disk.
    pub(crate) keep_free_bytes: u64,
}

/// A stream, as recordings know it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct StreamName {
    pub(super) camera: Arc<str>,
    pub(super) quality: Quality,
}

/// What the writer is asked.
enum Command {
    Write(Batch),
    Limits(HashMap<Arc<str>, Limits>),
    Protect {
        camera: Arc<str>,
        from_ms: i64,
        to_ms: i64,
        until_ms: i64,
    },
    /// Nothing more comes of this stream for now.
    Pause(StreamName),
    End,
}

/// One group of pictures.
struct Batch {
    stream: StreamName,
    frames: Vec<Arc<Frame>>,
    bytes: usize,
    /// When the first of them was captured, UTC milliseconds.
    begin_ms: i64,
    /// When the next picture is decoded.
    end_90k: u64,
    /// The wall clock was set: times before and after are not comparable.
    wall_set: bool,
}

/// A segment that is being written, as readers see it.
#[derive(Clone, Debug)]
struct Open {
    path: String,
    entries: Vec<Entry>,
}

/// What writer, feeds, readers and the room share.
struct Shared {
    folder: PathBuf,
    queued_bytes: AtomicUsize,
    disk_full: AtomicBool,
    /// The writer's folder and catalogue are of use.
    is_ready: AtomicBool,
    readers: AtomicUsize,
    /// All bytes of all cameras.
    bytes: AtomicU64,
    open: Mutex<HashMap<StreamName, Open>>,
    /// Told with `open` whenever a fragment was added or a segment ended.
    grown: Condvar,
    cameras: Mutex<HashMap<Arc<str>, CameraTotals>>,
    /// Whoever holds this is a disk that takes nothing.
    #[cfg(test)]
    disk: Mutex<()>,
}

/// What is known of a camera's recordings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CameraTotals {
    pub(super) bytes: u64,
    /// From when on there are any, UTC milliseconds.
    pub(super) from_ms: Option<i64>,
    /// When pictures were last dropped, monotonic milliseconds.
    pub(super) gap_at_ms: Option<u64>,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<StreamName, Open>> {
        self.open.lock().expect("nobody panics while holding this lock")
    }

    fn cameras(&self) -> MutexGuard<'_, HashMap<Arc<str>, CameraTotals>> {
        self.cameras.lock().expect("nobody panics while holding this lock")
    }

    fn gap(&self, camera: &Arc<str>, now_ms: u64) {
        self.cameras().entry(camera.clone()).or_default().gap_at_ms = Some(now_ms);
    }
}

/// A handle to the recorder. All copies lead to the same thread.
#[derive(Clone)]
pub(super) struct Recordings {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    clock: Clock,
}

/// Waits for the recorder's thread when the program ends.
pub(super) struct Closing {
    commands: mpsc::Sender<Command>,
    thread: std::thread::JoinHandle<()>,
}

impl Closing {
    /// Returns when the segments that were open are whole.
    pub(super) fn wait(self) {
        let _ = self.commands.send(Command::End);
        if self.thread.join().is_err() {
            tracing::error!("the recorder's thread panicked");
        }
    }
}

impl Recordings {
    /// Starts the recorder's thread, which opens the catalogue and mends what a crash left behind.
    pub(super) fn start(budget: Budget, clock: Clock) -> std::io::Result<(Self, Closing)> {
        let shared = Arc::new(Shared {
            folder: budget.folder.clone(),
            queued_bytes: AtomicUsize::new(0),
            disk_full: AtomicBool::new(false),
            is_ready: AtomicBool::new(false),
            readers: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            open: Mutex::default(),
            grown: Condvar::new(),
            cameras: Mutex::default(),
            #[cfg(test)]
            disk: Mutex::default(),
        });
        let (commands, inbox) = mpsc::channel();
        let writer = writer::Writer::new(budget, shared.clone(), clock);
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || writer.run(&inbox))?;
        let recordings = Self { commands: commands.clone(), shared, clock };
        Ok((recordings, Closing { commands, thread }))
    }

    /// Where a stream's pictures are handed in.
    pub(super) fn feed(&self, camera: Arc<str>, quality: Quality) -> Feed {
        Feed {
            stream: StreamName { camera, quality },
            pending: Vec::new(),
            pending_bytes: 0,
            wall_set: false,
            wants_key: true,
            settles: true,
            end_ms: i64::MIN,
            last_90k: None,
            recordings: self.clone(),
        }
    }

    /// How much may be kept of each camera. Of a camera that is not named only the whole budget counts.
    pub(super) fn limit(&self, limits: HashMap<Arc<str>, Limits>) {
        self.send(Command::Limits(limits));
    }

    /// Deletes nothing of a camera's span before a date (UTC milliseconds), what is still to be recorded included.
    pub(super) fn protect(&self, camera: Arc<str>, from_ms: i64, to_ms: i64, until_ms: i64) {
        self.send(Command::Protect { camera, from_ms, to_ms, until_ms });
    }

    /// What is known of a camera's recordings.
    pub(super) fn totals(&self, camera: &str) -> CameraTotals {
        self.shared.cameras().get(camera).copied().unwrap_or_default()
    }

    /// Whether video is not recorded because there is no room.
    pub(super) fn is_disk_full(&self) -> bool {
        self.shared.disk_full.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        // The thread ends only after `End`, when nothing is recorded any more.
        let _ = self.commands.send(command);
    }
}

/// Where one stream's pictures go. Never waits.
pub(super) struct Feed {
    stream: StreamName,
    pending: Vec<Arc<Frame>>,
    pending_bytes: usize,
    wall_set: bool,
    /// Groups are dropped until one begins anew.
    wants_key: bool,
    /// Nothing of this session was handed over.
    settles: bool,
    /// When the last group ended, UTC milliseconds.
    end_ms: i64,
    /// When the last picture was decoded. `None`: there was none, or it is said already why there are none.
    last_90k: Option<u64>,
    recordings: Recordings,
}

impl Feed {
    /// Takes the next picture. `wall_set`: its time on the wall clock does not continue the last one's.
    pub(super) fn push(&mut self, frame: &Arc<Frame>, wall_set: bool) {
        if self.last_90k.is_some_and(|last_90k| frame.decode_90k.saturating_sub(last_90k) > HOLE_TICKS) {
            self.gap();
        }
        self.last_90k = Some(frame.decode_90k);
        let is_long = self
            .pending
            .first()
            .is_some_and(|first| frame.decode_90k.saturating_sub(first.decode_90k) >= FRAGMENT_TICKS_MAX);
        let is_large = self.pending_bytes + frame.bytes() > FRAGMENT_BYTES_MAX;
        if !self.pending.is_empty() && (is_long || is_large || (frame.key && self.is_settled(frame))) {
            self.hand_over(frame.decode_90k);
        }
        self.wall_set |= wall_set;
        if self.wants_key && !frame.key {
            return;
        }
        self.wants_key = false;
        self.pending_bytes += frame.bytes();
        self.pending.push(frame.clone());
    }

    /// Pictures are missing that should be here.
    pub(super) fn gap(&self) {
        self.recordings.shared.gap(&self.stream.camera, self.recordings.clock.mono_ms());
    }

    /// The session ended: what there is, is handed over.
    pub(super) fn interrupt(&mut self) {
        if let Some(last_90k) = self.pending.last().map(|last| last.decode_90k) {
            // The last picture's length is not known: as long as the one before it.
            let before = self.pending.iter().rev().nth(1);
            let length_90k = before.map_or(3_600, |before| last_90k - before.decode_90k);
            self.hand_over(last_90k + length_90k.min(90_000));
            self.recordings.send(Command::Pause(self.stream.clone()));
        }
        self.wants_key = true;
        self.settles = true;
    }

    /// There are no pictures, and the camera's state says why: that is no gap beside.
    pub(super) const fn excuse(&mut self) {
        self.last_90k = None;
    }

    /// Whether the pictures that wait and `frame`, which follows them, came as they were taken.
    fn is_settled(&self, frame: &Frame) -> bool {
        let first = self.pending.first().filter(|_| self.settles);
        first.is_none_or(|first| self.wall_set || frame.captured_ms - first.captured_ms >= SETTLING_MS)
    }

    fn hand_over(&mut self, end_90k: u64) {
        let frames = std::mem::take(&mut self.pending);
        let bytes = std::mem::take(&mut self.pending_bytes);
        let wall_set = std::mem::take(&mut self.wall_set);
        self.settles = false;
        let known_ms = begin_ms(&frames).unwrap_or(self.end_ms);
        let begin_ms = if wall_set { known_ms } else { known_ms.max(self.end_ms.saturating_sub(OVERLAP_MS_MAX)) };
        self.end_ms = begin_ms.saturating_add(duration_ms(&frames, end_90k).into());
        let shared = &self.recordings.shared;
        let queued = shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > QUEUE_BYTES_MAX {
            shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.gap();
            self.wants_key = true;
            return;
        }
        let stream = self.stream.clone();
        self.recordings.send(Command::Write(Batch { stream, frames, bytes, begin_ms, end_90k, wall_set }));
    }
}

#[cfg(test)]
mod tests;
