//! The recorder's thread: begins, fills and ends segments, one write per group of pictures.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context as _;
use tongluo_protocols::media::Quality;
use tongluo_protocols::media::mp4::Track;

use super::catalog::Catalog;
use super::house::House;
use super::segment::{self, Entry, SegmentFile};
use super::{Batch, Budget, Command, Open, Shared, StreamName};
use crate::clock::Clock;

/// How long a segment gets before a new one begins: the grain of deletion and protection, about 150 MB of a 4 Mbit/s camera.
const SEGMENT_MS: i64 = 300_000;

/// The most a segment holds, far below what its 32-bit offsets reach.
const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How often what was written is brought to the disk for certain. A loss of power costs so much, a killed program only the group
/// that is under way; more often would make the journal's own syncs wait.
const SYNC_MS: u64 = 5_000;

/// How often the house is put in order when nothing ends.
const HOUSE_MS: u64 = 10_000;

/// After the disk refused a write, how long video is shed before it is tried again.
const REFUSED_PAUSE_MS: u64 = 5_000;

/// How soon a folder or catalogue that could not be opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(10);

/// A segment that is being written.
struct Segment {
    id: i64,
    start_ms: i64,
    file: SegmentFile,
    track: Arc<Track>,
    entries: Vec<Entry>,
    synced_ms: u64,
}

/// The thread's own.
pub(super) struct Writer {
    budget: Budget,
    shared: Arc<Shared>,
    clock: Clock,
}

impl Writer {
    pub(super) const fn new(budget: Budget, shared: Arc<Shared>, clock: Clock) -> Self {
        Self { budget, shared, clock }
    }

    /// Works until the end is ordered.
    pub(super) fn run(self, inbox: &Receiver<Command>) {
        let mut told = false;
        let mut early = Vec::new();
        let mut working = loop {
            match Working::open(&self.budget, &self.shared, self.clock) {
                Ok(working) => break working,
                Err(error) if !told => {
                    told = true;
                    tracing::error!(recording.error = format!("{error:#}"), "nothing can be recorded");
                }
                Err(_) => {}
            }
            self.shared.disk_full.store(true, Ordering::Relaxed);
            if !wait_closed(inbox, &self.shared, &mut early, self.clock) {
                return;
            }
        };
        self.shared.is_ready.store(true, Ordering::Release);
        let early = early.into_iter().all(|command| working.take(command));
        debug_assert!(early, "the end is not kept for later");
        working.run(inbox);
    }
}

/// Sheds pictures while there is nowhere to write them, and keeps the rest for later. `false`: the end was ordered.
fn wait_closed(inbox: &Receiver<Command>, shared: &Shared, early: &mut Vec<Command>, clock: Clock) -> bool {
    let until_ms = clock.mono_ms() + u64::try_from(OPEN_AGAIN.as_millis()).unwrap_or(u64::MAX);
    loop {
        let left = Duration::from_millis(until_ms.saturating_sub(clock.mono_ms()));
        match inbox.recv_timeout(left) {
            Ok(Command::Write(batch)) => {
                shared.queued_bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
            }
            // One of limits counts, the last; protections are few, one a press and camera.
            Ok(command @ (Command::Limits(_) | Command::Protect { .. })) => early.push(command),
            Ok(Command::Pause(_)) => {}
            Ok(Command::End) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

struct Working {
    catalog: Catalog,
    house: House,
    shared: Arc<Shared>,
    clock: Clock,
    segments: HashMap<StreamName, Segment>,
    house_at_ms: u64,
    /// The disk refused a write; nothing is tried before this.
    refused_until_ms: u64,
}

impl Working {
    fn open(budget: &Budget, shared: &Arc<Shared>, clock: Clock) -> anyhow::Result<Self> {
        let folder = &budget.folder;
        make_folder(folder)
            .with_context(|| format!("camera.folder = {:?} cannot be made", folder.display().to_string()))?;
        let (catalog, is_new) = Catalog::open(folder)?;
        recover(&catalog, folder, is_new)?;
        let mut house = House::new(budget.clone(), &catalog)?;
        house.publish(&catalog, shared);
        house.tidy(&catalog, shared, 0, clock.utc_ms());
        Ok(Self {
            catalog,
            house,
            shared: shared.clone(),
            clock,
            segments: HashMap::new(),
            house_at_ms: 0,
            refused_until_ms: 0,
        })
    }

    fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            match inbox.recv_timeout(Duration::from_millis(HOUSE_MS)) {
                Ok(command) => {
                    if !self.take(command) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.clock.mono_ms() >= self.house_at_ms {
                self.tidy();
            }
        }
        for stream in self.segments.keys().cloned().collect::<Vec<_>>() {
            self.finish(&stream);
        }
    }

    /// Does what is asked; `false` at the end.
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Write(batch) => {
                let bytes = batch.bytes;
                self.write(batch);
                self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            Command::Limits(limits) => {
                self.house.limit(limits);
                self.tidy();
            }
            Command::Protect { camera, from_ms, to_ms, until_ms } => {
                if let Err(error) = self.catalog.protect(&camera, from_ms, to_ms, until_ms) {
                    tracing::error!(camera.id = %camera, recording.error = %error, "evidence cannot be protected");
                }
            }
            Command::Pause(stream) => self.sync(&stream),
            Command::End => return false,
        }
        true
    }

    fn write(&mut self, batch: Batch) {
        let now_ms = self.clock.mono_ms();
        let camera = batch.stream.camera.clone();
        if now_ms < self.refused_until_ms || self.house.is_shut(&camera) {
            self.shared.gap(&camera, now_ms);
            return;
        }
        let stream = batch.stream.clone();
        if let Err(error) = self.try_write(batch) {
            self.shared.gap(&camera, now_ms);
            self.refused(&error, now_ms);
            self.finish(&stream);
        }
    }

    fn try_write(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch { stream, frames, begin_ms, end_90k, wall_set, .. } = batch;
        let Some(first) = frames.first() else { return Ok(()) };
        let ends = self.segments.get(&stream).is_some_and(|segment| {
            wall_set
                || (first.key && begin_ms - segment.start_ms >= SEGMENT_MS)
                || begin_ms < segment.start_ms
                || segment.file.bytes() >= SEGMENT_BYTES_MAX
                || *segment.track != *first.track
        });
        if ends {
            self.finish(&stream);
        }
        if !self.segments.contains_key(&stream) {
            // A file begins with a keyframe, or no player could show it.
            if !first.key {
                return Ok(());
            }
            let segment = self.begin(&stream, &first.track, begin_ms, first.decode_90k)?;
            self.segments.insert(stream.clone(), segment);
        }
        #[cfg(test)]
        drop(self.shared.disk.lock());
        let segment = self.segments.get_mut(&stream).expect("it was put in above");
        let before = segment.file.bytes();
        let entry = segment.file.append(&frames, begin_ms, end_90k)?;
        segment.entries.push(entry);
        let grown = segment.file.bytes() - before;
        if let Some(open) = self.shared.open().get_mut(&stream) {
            open.entries.push(entry);
        }
        self.shared.grown.notify_all();
        self.house.grew(&stream.camera, grown, &self.shared);
        if self.clock.mono_ms() >= segment.synced_ms + SYNC_MS {
            self.sync(&stream);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        stream: &StreamName,
        track: &Arc<Track>,
        start_ms: i64,
        base_90k: u64,
    ) -> anyhow::Result<Segment> {
        let path = path_of(stream, start_ms);
        let whole_path = self.shared.folder.join(&path);
        let folder = whole_path.parent().expect("a segment lies in the folder of its day");
        make_folder(folder)?;
        let id = self.catalog.begin(&stream.camera, stream.quality, &path, start_ms)?;
        let file = match SegmentFile::create(&whole_path, track, base_90k) {
            Ok(file) => file,
            Err(error) => {
                let _ = fs::remove_file(&whole_path);
                self.catalog.forget(id)?;
                return Err(error.into());
            }
        };
        sync_folder(folder)?;
        self.shared.open().insert(stream.clone(), Open { path, entries: Vec::new() });
        self.house.grew(&stream.camera, file.bytes(), &self.shared);
        let (track, synced_ms) = (track.clone(), self.clock.mono_ms());
        Ok(Segment { id, start_ms, file, track, entries: Vec::new(), synced_ms })
    }

    /// Ends a stream's segment: file to disk, then the row.
    fn finish(&mut self, stream: &StreamName) {
        let Some(segment) = self.segments.remove(stream) else { return };
        let finished =
            segment.file.sync().map_err(anyhow::Error::from).and_then(|()| {
                self.catalog.finish(segment.id, segment.start_ms, segment.file.bytes(), &segment.entries)
            });
        if let Err(error) = finished {
            // The row stays open, and the next start reads the file itself.
            tracing::error!(camera.id = %stream.camera, recording.error = %error, "a recording could not be closed");
        }
        self.shared.open().remove(stream);
        self.shared.grown.notify_all();
        self.house_at_ms = 0;
    }

    fn sync(&mut self, stream: &StreamName) {
        let Some(segment) = self.segments.get_mut(stream) else { return };
        segment.synced_ms = self.clock.mono_ms();
        if let Err(error) = segment.file.sync() {
            tracing::error!(camera.id = %stream.camera, recording.error = %error, "a recording did not reach the disk");
        }
    }

    fn tidy(&mut self) {
        self.house_at_ms = self.clock.mono_ms() + HOUSE_MS;
        let queued_bytes = self.shared.queued_bytes.load(Ordering::Relaxed) as u64;
        self.house.tidy(&self.catalog, &self.shared, queued_bytes, self.clock.utc_ms());
    }

    fn refused(&mut self, error: &anyhow::Error, now_ms: u64) {
        self.refused_until_ms = now_ms + REFUSED_PAUSE_MS;
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            self.house.is_full(&self.shared);
            self.tidy();
        }
        tracing::error!(recording.error = format!("{error:#}"), "pictures could not be recorded");
    }
}

/// `camera/main/2026-11-23/16-25-38.123Z.mp4`: a person finds what they look for without us.
fn path_of(stream: &StreamName, start_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(start_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let camera = folder_of(&stream.camera);
    let quality = stream.quality.as_str();
    // A clock that was set back meets the same millisecond again.
    let salt = getrandom::u32().unwrap_or(0) & 0xffff;
    format!("{camera}/{quality}/{}-{salt:04x}.mp4", time.strftime("%Y-%m-%d/%H-%M-%S%.3fZ"))
}

/// A camera's id as the name of a folder: other characters than these become their code, so that two ids never share one.
fn folder_of(camera: &str) -> String {
    use std::fmt::Write as _;

    let mut name = String::with_capacity(camera.len());
    for byte in camera.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "_{byte:02x}");
        }
    }
    name
}

/// The camera and quality that a path names; `None` for what is not ours.
fn stream_of(path: &str) -> Option<(String, Quality)> {
    let mut parts = path.split('/');
    let (camera, quality) = (parts.next()?, parts.next()?);
    let mut bytes = Vec::new();
    let mut rest = camera;
    while let Some(first) = rest.chars().next() {
        if first == '_' {
            bytes.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
            rest = &rest[3..];
        } else {
            bytes.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    Some((String::from_utf8(bytes).ok()?, Quality::parse(quality)?))
}

/// Makes catalogue and files agree after a crash: what was left open is read back, what was leaving leaves, and files that the
/// catalogue does not know are taken in.
fn recover(catalog: &Catalog, folder: &Path, is_new: bool) -> anyhow::Result<()> {
    for row in catalog.left_open()? {
        adopt(catalog, folder, row.id, row.start_ms, &row.path)?;
    }
    for row in catalog.leaving()? {
        let _ = fs::remove_file(folder.join(&row.path));
        catalog.forget(row.id)?;
    }
    let known = catalog.paths()?;
    let mut count = 0;
    for path in files(folder) {
        if known.contains(&path) {
            continue;
        }
        let Some((camera, quality)) = stream_of(&path) else { continue };
        let Ok(recovered) = segment::recover(&folder.join(&path)) else { continue };
        let start_ms = recovered.entries.first().map_or(0, |entry| entry.wall_ms);
        let id = catalog.begin(&camera, quality, &path, start_ms)?;
        adopt(catalog, folder, id, start_ms, &path)?;
        count += 1;
    }
    if count > 0 {
        tracing::warn!(
            recording.files = count,
            recording.catalogue_is_new = is_new,
            "recordings were taken in that the catalogue did not know"
        );
    }
    Ok(())
}

fn adopt(catalog: &Catalog, folder: &Path, id: i64, start_ms: i64, path: &str) -> anyhow::Result<()> {
    let whole_path = folder.join(path);
    match segment::recover(&whole_path) {
        Ok(recovered) if !recovered.entries.is_empty() => {
            catalog.finish(id, start_ms, recovered.bytes, &recovered.entries)
        }
        // Nothing in it, or nothing there.
        Ok(_) => {
            let _ = fs::remove_file(&whole_path);
            catalog.forget(id)
        }
        Err(_) => catalog.forget(id),
    }
}

/// All films below a folder, as paths under it.
fn files(folder: &Path) -> Vec<String> {
    // camera / quality / day / file
    const DEPTH: usize = 4;
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 1)];
    while let Some((folder_now, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder_now) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if depth < DEPTH && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push((path, depth + 1));
            } else if depth == DEPTH
                && path.extension().is_some_and(|extension| extension == "mp4")
                && let Some(path) = path.strip_prefix(folder).ok().and_then(Path::to_str)
            {
                found.push(path.to_owned());
            }
        }
    }
    found
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A name is on the disk only after its folder is.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_camera_and_time_and_can_be_read_back() {
        for camera in ["cam-1", "村口/1号", "../x", "a_b", ""] {
            let stream = StreamName { camera: camera.into(), quality: Quality::Sub };
            let path = path_of(&stream, 1_764_000_000_123);
            assert_eq!(stream_of(&path), Some((camera.to_owned(), Quality::Sub)), "{path}");
            assert!(path.contains("/sub/2025-11-24/16-00-00.123Z-"), "{path}");
            assert!(!path.contains(".."), "{path}");
        }
        assert_eq!(stream_of("lost+found/x"), None);
        assert_eq!(stream_of("a_zz/main/x.mp4"), None);
    }
}
