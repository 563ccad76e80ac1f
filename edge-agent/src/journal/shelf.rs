//! Where the journal shows the uplink what there is to send: the state of every stream, and the latest entries in memory.
//!
//! A press is usually sent a moment after its commit; taking it from here spares a read of the file and a change of threads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};
use tongluo_protocols::event::JournalGauges;
use tongluo_protocols::id::{Lane, Sequence, StreamKey};
use tongluo_protocols::link::BATCH_ENTRIES_MAX;

use super::Entry;

/// The entries kept in memory: two full batches, so that a burst is still sent from here.
const RECENT_ENTRIES_MAX: usize = 2 * BATCH_ENTRIES_MAX;

/// The bytes of bodies kept in memory.
const RECENT_BYTES_MAX: usize = 128 * 1024;

/// What the journal holds of one stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stream {
    pub(crate) key: StreamKey,
    /// The lowest sequence still held; `head + 1` if none is.
    pub(crate) oldest: Sequence,
    /// The highest sequence ever written.
    pub(crate) head: Sequence,
    /// Up to here the hub has committed.
    pub(crate) acked: Sequence,
    /// Whether it was opened in this life of the journal.
    pub(crate) present: bool,
}

impl Stream {
    /// How many entries the hub has not acknowledged.
    pub(crate) fn pending(&self) -> u64 {
        self.head.saturating_sub(self.acked.max(self.oldest.saturating_sub(1)))
    }
}

/// The shelf, shared by the journal's thread and the uplink.
#[derive(Default)]
pub(crate) struct Shelf {
    content: Mutex<Content>,
    changed: Notify,
    /// The same for whoever else follows the journal.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Content {
    /// In order of opening.
    streams: Vec<Stream>,
    recent: VecDeque<(StreamKey, Arc<Entry>)>,
    recent_bytes: usize,
    bytes: u64,
    bytes_max: u64,
}

impl Shelf {
    /// Returns when something has changed since it was last asked.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Changes, for another follower than the uplink.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Every stream, in order of opening.
    pub(crate) fn streams(&self) -> Vec<Stream> {
        self.content().streams.clone()
    }

    /// How full the journal is.
    pub(crate) fn gauges(&self) -> JournalGauges {
        let content = self.content();
        let pending = |lane| content.streams.iter().filter(|stream| stream.key.lane == lane).map(Stream::pending).sum();
        JournalGauges {
            urgent_pending: pending(Lane::Urgent),
            routine_pending: pending(Lane::Routine),
            bytes: content.bytes,
            bytes_max: content.bytes_max,
        }
    }

    /// Contiguous entries of a stream from `from` on, if the first of them is in memory.
    pub(super) fn recent(&self, key: StreamKey, from: Sequence) -> Option<Vec<Arc<Entry>>> {
        let content = self.content();
        let of_stream = content.recent.iter().filter(|(of, entry)| *of == key && entry.sequence >= from);
        let mut entries = Vec::new();
        for (expected, (_, entry)) in (from..).zip(of_stream).take(BATCH_ENTRIES_MAX) {
            if entry.sequence != expected {
                return None;
            }
            entries.push(entry.clone());
        }
        (!entries.is_empty()).then_some(entries)
    }

    /// Shows entries that were just committed, and their streams' new heads.
    pub(super) fn put(&self, entries: Vec<(StreamKey, Entry)>) {
        let mut content = self.content();
        for (key, entry) in entries {
            match content.streams.iter_mut().find(|stream| stream.key == key) {
                Some(stream) => stream.head = entry.sequence,
                None => content.streams.push(Stream {
                    key,
                    oldest: entry.sequence,
                    head: entry.sequence,
                    acked: 0,
                    present: true,
                }),
            }
            content.recent_bytes += entry.body.len();
            content.recent.push_back((key, Arc::new(entry)));
        }
        while content.recent.len() > RECENT_ENTRIES_MAX || content.recent_bytes > RECENT_BYTES_MAX {
            let Some((_, entry)) = content.recent.pop_front() else { break };
            content.recent_bytes -= entry.body.len();
        }
        drop(content);
        self.changed.notify_one();
        self.changes.send_replace(());
    }

    /// Changes the list of streams: trimmed, acknowledged, forgotten.
    pub(super) fn change(&self, change: impl FnOnce(&mut Vec<Stream>)) {
        change(&mut self.content().streams);
        self.changed.notify_one();
        self.changes.send_replace(());
    }

    /// Shows how full the journal is.
    pub(super) fn measure(&self, bytes: u64, bytes_max: u64) {
        let mut content = self.content();
        (content.bytes, content.bytes_max) = (bytes, bytes_max);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no holder of this lock panics: it only moves values")
    }
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::id::{BootId, Epoch};

    use super::*;

    const KEY: StreamKey = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(7) };

    fn entry(sequence: Sequence, bytes: usize) -> (StreamKey, Entry) {
        let boot_id = BootId::from_random(1);
        (KEY, Entry { sequence, boot_id, wall_ms: 0, mono_ms: 0, kind: 1, body: vec![0; bytes] })
    }

    #[test]
    fn what_left_memory_is_not_taken_for_the_end_of_the_stream() {
        let shelf = Shelf::default();
        shelf.put((1..=600).map(|sequence| entry(sequence, 10)).collect());
        assert_eq!(shelf.recent(KEY, 1), None, "1 has left memory: it must be read from the file");
        let recent = shelf.recent(KEY, 590).unwrap();
        assert_eq!(recent.iter().map(|e| e.sequence).collect::<Vec<_>>(), (590..=600).collect::<Vec<_>>());
        assert_eq!(shelf.recent(KEY, 601), None);
        assert_eq!(shelf.streams(), [Stream { key: KEY, oldest: 1, head: 600, acked: 0, present: true }]);
    }

    #[test]
    fn memory_is_bounded_in_bytes_too() {
        let shelf = Shelf::default();
        shelf.put((1..=40).map(|sequence| entry(sequence, 8 * 1024)).collect());
        assert!(shelf.content().recent_bytes <= RECENT_BYTES_MAX);
        assert!(shelf.recent(KEY, 40).is_some());
    }

    #[test]
    fn pending_counts_what_is_held_and_not_acknowledged() {
        let stream = |oldest, head, acked| Stream { key: KEY, oldest, head, acked, present: true };
        assert_eq!(stream(1, 10, 4).pending(), 6);
        assert_eq!(stream(8, 10, 4).pending(), 3);
        assert_eq!(stream(11, 10, 10).pending(), 0);
    }
}
