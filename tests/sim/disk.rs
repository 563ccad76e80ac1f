//! What survives a crash: a journal of what was written here, and a ledger of what came from the other end.
//!
//! A disk is a plain value, so that it can be copied as a backup or a clone, and put back.

use std::collections::BTreeMap;

use tongluo_protocols::event::StreamState;
use tongluo_protocols::id::{BootId, Lane, Sequence, StreamKey};
use tongluo_protocols::link::{BatchView, EntryView, Lost, Offer};

#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) journal: Journal,
    pub(super) ledger: Ledger,
}

/// The streams in the order in which they were opened.
#[derive(Clone, Default)]
pub(super) struct Journal {
    pub(super) streams: Vec<Stream>,
}

#[derive(Clone)]
pub(super) struct Stream {
    pub(super) state: StreamState,
    pub(super) acked: Sequence,
    entries: BTreeMap<Sequence, Entry>,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) boot_id: BootId,
    pub(super) at_ms: u64,
    pub(super) kind: u16,
    pub(super) body: Vec<u8>,
}

impl Journal {
    /// Writes an entry at the end of its stream, and answers where it stands.
    pub(super) fn append(&mut self, key: StreamKey, entry: Entry) -> Sequence {
        if self.find(key).is_none() {
            let state = StreamState { key, oldest: 1, head: 0 };
            self.streams.push(Stream { state, acked: 0, entries: BTreeMap::new() });
        }
        let stream = self.find_mut(key).expect("the stream was opened above");
        stream.state.head += 1;
        stream.entries.insert(stream.state.head, entry);
        stream.state.head
    }

    pub(super) fn find(&self, key: StreamKey) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.state.key == key)
    }

    pub(super) fn find_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.state.key == key)
    }

    pub(super) fn last_of(&self, lane: Lane) -> Option<StreamKey> {
        self.streams.iter().rev().map(|stream| stream.state.key).find(|key| key.lane == lane)
    }

    pub(super) fn holds(&self, key: StreamKey, sequence: Sequence) -> bool {
        self.find(key).is_some_and(|stream| stream.entries.contains_key(&sequence))
    }
}

impl Stream {
    pub(super) fn entries_from(&self, from: Sequence) -> impl Iterator<Item = EntryView<'_>> {
        self.entries.range(from..).map(|(sequence, entry)| EntryView {
            sequence: *sequence,
            boot_id: entry.boot_id,
            wall_ms: entry.at_ms as i64,
            mono_ms: entry.at_ms,
            kind: entry.kind,
            body: &entry.body,
        })
    }

    /// Drops what is below `oldest`.
    pub(super) fn trim(&mut self, oldest: Sequence) {
        self.state.oldest = self.state.oldest.max(oldest).min(self.state.head + 1);
        self.entries = self.entries.split_off(&self.state.oldest);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[derive(Clone, Default)]
pub(super) struct Ledger {
    pub(super) watermarks: BTreeMap<StreamKey, Sequence>,
    /// Everything that was applied, in the order in which it was.
    pub(super) rows: Vec<Row>,
    pub(super) lost: Vec<(StreamKey, Lost)>,
    /// The greatest head that beats told of each stream.
    pub(super) heard: BTreeMap<StreamKey, Sequence>,
    /// What beats prove to be gone with a disk.
    pub(super) missing: BTreeMap<StreamKey, Lost>,
}

#[derive(Clone)]
pub(super) struct Row {
    pub(super) key: StreamKey,
    pub(super) sequence: Sequence,
    pub(super) body: Vec<u8>,
}

impl Ledger {
    pub(super) fn watermark(&self, key: StreamKey) -> Sequence {
        self.watermarks.get(&key).copied().unwrap_or(0)
    }

    /// One transaction: what is new of a batch, what is lost, and the watermark.
    pub(super) fn apply(&mut self, batch: &BatchView<'_>, offer: &Offer) {
        let key = batch.key();
        self.lost.extend(offer.lost.map(|lost| (key, lost)));
        self.rows.extend(batch.entries().skip(offer.skip).take(offer.take).map(|entry| Row {
            key,
            sequence: entry.sequence,
            body: entry.body.to_vec(),
        }));
        self.watermarks.insert(key, offer.committed_after);
        if self.missing.get(&key).is_some_and(|missing| missing.from <= offer.committed_after) {
            self.missing.remove(&key);
        }
    }
}
