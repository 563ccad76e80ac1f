//! Opening the journal's file, and what happens when it cannot be read: it is set aside under another name, a fresh one takes its
//! place, and whatever un-acknowledged press can still be read is taken over.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rusqlite::ErrorCode;
use tongluo_protocols::id::{Lane, Sequence};

use super::space::BLOCK_BYTES;
use super::store::Store;
use super::{Entry, Stream};

const FILE: &str = "journal.sqlite";

/// The files that SQLite keeps beside the first.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// The write-ahead log's file is made this long in advance, so that a full disk cannot stop it: what it is let grow before it
/// begins anew, and the largest group on top.
const LOG_BYTES: u64 = 8 * 1024 * 1024;

/// What an entry takes in the file beside its body, generously.
const ENTRY_BYTES: usize = 128;

/// How many damaged files are kept for whoever wants to look at them.
const DAMAGED_KEPT: usize = 2;

/// The code of the fault that tells of it.
pub(super) const FAULT_CODE: &str = "journal.damaged";

/// What became of a damaged file.
#[derive(Debug)]
pub(super) struct Damage {
    reason: String,
    set_aside: PathBuf,
    /// Un-acknowledged urgent entries that could be read and were taken over.
    saved: usize,
    /// Urgent entries that the file should hold and that could not be read.
    unreadable: u64,
}

impl Damage {
    /// The damage as a sentence for the fault.
    pub(super) fn detail(&self) -> String {
        format!(
            "{}; set aside as {}; {} alarms not yet at the hub were saved, {} could not be read",
            self.reason,
            self.set_aside.display(),
            self.saved,
            self.unreadable
        )
    }
}

/// Whether an error says that the file itself is of no use.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether a file that has just been opened is of no use: it is damaged, or is not laid out as this program lays it out.
fn is_foreign(error: &rusqlite::Error) -> bool {
    is_damage(error) || matches!(error.sqlite_error_code(), None | Some(ErrorCode::Unknown | ErrorCode::TypeMismatch))
}

/// Opens the journal's file in a folder. A damaged one is set aside.
pub(super) fn open(data_dir: &Path, now_ms: i64) -> anyhow::Result<(Store, Option<Damage>)> {
    let path = data_dir.join(FILE);
    match Store::open(&path).and_then(|store| readable(&store).map(|()| store)) {
        Ok(store) => {
            // A short log only costs the guarantee for a full disk, which the reserve's own filling reports.
            let _ = lengthen_log(&path);
            Ok((store, None))
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            anyhow::bail!("{} is in use: another gateway runs on this folder", path.display())
        }
        Err(error) if is_foreign(&error) => {
            let (store, damage) = fresh(data_dir, now_ms, &error.to_string())?;
            Ok((store, Some(damage)))
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be opened", path.display())),
    }
}

/// Sets the open file aside and opens a fresh one in its place.
pub(super) fn replace(store: &mut Store, data_dir: &Path, now_ms: i64, reason: &str) -> anyhow::Result<Damage> {
    // The file is renamed while it is open: the old store goes on with it until it is dropped here.
    let (fresh, damage) = fresh(data_dir, now_ms, reason)?;
    *store = fresh;
    Ok(damage)
}

fn fresh(data_dir: &Path, now_ms: i64, reason: &str) -> anyhow::Result<(Store, Damage)> {
    let set_aside = data_dir.join(format!("journal.damaged-{now_ms}.sqlite"));
    for suffix in SUFFIXES {
        let from = data_dir.join(format!("{FILE}{suffix}"));
        let to = PathBuf::from(format!("{}{suffix}", set_aside.display()));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be set aside", from.display()));
            }
            _ => {}
        }
    }
    let path = data_dir.join(FILE);
    let store = Store::open(&path).with_context(|| format!("{} cannot be created", path.display()))?;
    let _ = lengthen_log(&path);
    let mut damage = Damage { reason: reason.to_owned(), set_aside, saved: 0, unreadable: 0 };
    if let Err(error) = rescue(&store, &mut damage) {
        store.rollback();
        tracing::warn!(journal.error = %error, "nothing could be taken over from the damaged journal");
    }
    drop_old_damage(data_dir);
    Ok((store, damage))
}

/// The cheap part of reading: the list of streams, and each one's ends. Damage elsewhere shows when it is reached.
fn readable(store: &Store) -> rusqlite::Result<()> {
    store.streams()?;
    store.memory()?;
    store.reserve_blocks().map(drop)
}

/// Takes over the alarms that the hub has not got. They keep their stream and number, so nothing can happen twice.
fn rescue(store: &Store, damage: &mut Damage) -> rusqlite::Result<()> {
    let damaged = Store::open(&damage.set_aside)?;
    let mut saved = Vec::new();
    for (_, stream) in damaged.streams()?.into_iter().filter(|(_, stream)| stream.key.lane == Lane::Urgent) {
        let first = stream.acked.max(stream.oldest.saturating_sub(1)) + 1;
        let entries = readable_entries(&damaged, &stream, first);
        let wanted = (stream.head + 1).saturating_sub(first);
        damage.unreadable += wanted.saturating_sub(entries.len() as u64);
        if let Some(last) = entries.last() {
            saved.push((Stream { oldest: first, head: last.sequence, ..stream }, entries));
        }
    }
    let bytes: usize = saved.iter().flat_map(|(_, entries)| entries).map(|entry| entry.body.len() + ENTRY_BYTES).sum();
    store.stock_up(BLOCK_BYTES, bytes as u64 * 2)?;
    store.begin()?;
    for (stream, entries) in &saved {
        store.adopt(stream, entries)?;
    }
    store.commit()?;
    damage.saved = saved.iter().map(|(_, entries)| entries.len()).sum();
    Ok(())
}

/// A stream's entries from `first` on, up to the first that cannot be read: what follows a hole cannot be sent.
fn readable_entries(damaged: &Store, stream: &Stream, first: Sequence) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let next = first + entries.len() as u64;
        let Ok(batch) = damaged.read(stream.key, next) else { return entries };
        let contiguous = batch.into_iter().zip(next..).take_while(|(entry, expected)| entry.sequence == *expected);
        let before = entries.len();
        entries.extend(contiguous.map(|(entry, _)| entry));
        if entries.len() == before {
            return entries;
        }
    }
}

fn lengthen_log(path: &Path) -> std::io::Result<()> {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let mut file = std::fs::OpenOptions::new().append(true).open(log)?;
    let missing = LOG_BYTES.saturating_sub(file.metadata()?.len());
    if missing > 0 {
        // Zeros are no frames: SQLite reads the log up to here and writes over them later.
        let zeros = vec![0; 64 * 1024];
        for _ in 0..missing.div_ceil(zeros.len() as u64) {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
    }
    Ok(())
}

fn drop_old_damage(data_dir: &Path) {
    let Ok(folder) = std::fs::read_dir(data_dir) else { return };
    let mut names: Vec<PathBuf> = folder
        .flatten()
        .map(|file| file.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("journal.damaged-") && name.ends_with(".sqlite")
        })
        .collect();
    names.sort();
    let surplus = names.len().saturating_sub(DAMAGED_KEPT);
    for path in &names[..surplus] {
        for suffix in SUFFIXES {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
