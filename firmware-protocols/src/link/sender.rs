//! The sender of a journal: which entries to publish next, and when to publish them again. Pure.
//!
//! The task owns the storage and the connection. It tells the machine what happened with [`Sender::handle`], then drains
//! [`Sender::poll`] and does what comes out, in order; [`Sender::next_deadline`] says by when to come back with
//! [`SenderInput::Tick`]. The rules:
//!
//! - Urgent before routine, and within a lane the oldest epoch first. One [`SenderOutput::Send`] is open at a time, so that
//!   each is decided with all that is known.
//! - Of the urgent lane a batch is begun only while fewer than [`SenderConfig::urgent_window_entries`] are not acked. Of the
//!   routine lane **one batch** is in flight, over all its streams: an urgent entry never waits behind a day's backlog.
//! - Acks are cumulative. A stale one changes nothing, unless it says *gap*: then the stream goes back to what the receiver
//!   has, even below what it once acked (a hub restored from a backup), as far as storage still holds it.
//! - What was not acked in time is sent again, with doubling patience until there is progress. On a new connection
//!   everything that is not acked is sent again at once, and a stream of which all is acked says its `oldest` and `head` until
//!   the receiver answers: one that was restored from a backup learns at once that it is behind.
//! - What was trimmed before it was acked is announced by `oldest`, in an empty batch if nothing else is left.
//!
//! **At the bound.** The machine follows `STREAMS` streams. [`Sender::has_room`] says whether a stream from an earlier life
//! can be restored; those of the present life always find room: the stream that is missed least (one that is acked, else a
//! routine one, the oldest first) leaves the table. It stays in storage and is restored when there is room.

use super::progress::Progress;
use super::{Ack, STREAMS_MAX};
use crate::event::StreamState;
use crate::id::{Lane, Sequence, StreamKey};

/// The two streams of the journal's present life, for which room is kept.
const STREAMS_PRESENT: usize = Lane::ALL.len();

/// How patient a sender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderConfig {
    /// How many urgent entries may be published and not acked before no further batch is begun.
    pub urgent_window_entries: u64,
    /// How long to wait for the first ack before sending again; at least 1.
    pub resend_ms_min: u64,
    /// How long to wait at most, after doubling.
    pub resend_ms_max: u64,
    /// For how long after going back the same gap is taken to be the old one.
    pub rewind_pause_ms: u64,
}

impl Default for SenderConfig {
    /// Two full urgent batches, so that the line is busy while an ack is on its way; 2 s to 30 s, about a mobile link's
    /// worst round trip and a broker's restart; and a quarter second, in which a batch and its ack usually have passed.
    fn default() -> Self {
        Self { urgent_window_entries: 512, resend_ms_min: 2_000, resend_ms_max: 30_000, rewind_pause_ms: 250 }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderInput {
    /// There is a new connection to the receiver.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// At start: storage holds this stream. Streams are restored in the order in which they were opened, while
    /// [`Sender::has_room`].
    Restored {
        /// The stream, and what storage holds of it.
        stream: StreamState,
        /// Up to where it was marked as committed by the receiver.
        acked: Sequence,
    },
    /// Entries were committed to storage. The first ones open the stream.
    Appended {
        /// The stream.
        key: StreamKey,
        /// The last entry in it.
        head: Sequence,
    },
    /// A [`SenderOutput::Send`] was done, as far as it went.
    Sent {
        /// The stream.
        key: StreamKey,
        /// The last entry published; one less than `from` if the batch had none, or nothing could be published.
        through: Sequence,
    },
    /// The receiver answered.
    Acked(Ack),
    /// Storage dropped entries, so that this is the lowest left (`head + 1` if none is).
    Trimmed {
        /// The stream.
        key: StreamKey,
        /// The lowest sequence left.
        oldest: Sequence,
    },
    /// Storage dropped the whole stream.
    Forgotten {
        /// The stream.
        key: StreamKey,
    },
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderOutput {
    /// Publish a batch: as many entries from `from` on as fit, none if there is none left, with the stream's `oldest` and
    /// `head`. Then answer [`SenderInput::Sent`]. No further sending is asked for until then.
    Send {
        /// The stream.
        key: StreamKey,
        /// The first entry to publish.
        from: Sequence,
    },
    /// Mark the stream's entries up to here as committed by the receiver. Doing it twice does no harm.
    Committed {
        /// The stream.
        key: StreamKey,
        /// The last entry committed.
        through: Sequence,
    },
}

/// A sending that the task has been asked for.
#[derive(Clone, Copy, Debug)]
struct Sending {
    key: StreamKey,
    from: Sequence,
    /// Whether there was no entry to send.
    is_beyond_head: bool,
}

/// The sender of one journal, over all its streams.
#[derive(Clone, Debug)]
pub struct Sender<const STREAMS: usize = STREAMS_MAX> {
    config: SenderConfig,
    connected: bool,
    /// The sending that the task has been asked for and has not answered.
    open: Option<Sending>,
    /// The first `length` are streams, in the order in which they were opened.
    table: [Progress; STREAMS],
    length: usize,
}

impl<const STREAMS: usize> Sender<STREAMS> {
    /// A sender that follows no stream and has no connection. `STREAMS` is at least 2.
    pub const fn new(config: SenderConfig) -> Self {
        const { assert!(STREAMS >= STREAMS_PRESENT, "a sender follows at least the two lanes of the present life") };
        Self { config, connected: false, open: None, table: [Progress::NONE; STREAMS], length: 0 }
    }

    /// Whether another stream of an earlier life can be restored.
    pub const fn has_room(&self) -> bool {
        self.length + STREAMS_PRESENT < STREAMS
    }

    /// The streams that are followed, in the order in which they were opened: what a beat lists.
    pub fn streams(&self) -> impl Iterator<Item = StreamState> + '_ {
        self.followed().iter().map(Progress::state)
    }

    /// Takes in what happened. Then [`Self::poll`] is to be drained.
    pub fn handle(&mut self, now_ms: u64, input: SenderInput) {
        let config = self.config;
        match input {
            SenderInput::Connected => {
                self.connected = true;
                self.open = None;
                self.followed_mut().iter_mut().for_each(|stream| stream.connect(&config));
            }
            SenderInput::Disconnected => {
                self.connected = false;
                self.open = None;
                self.followed_mut().iter_mut().for_each(Progress::disconnect);
            }
            SenderInput::Restored { stream, acked } => self.restore(stream, acked),
            SenderInput::Appended { key, head } => self.find_or_open(key).append(head),
            SenderInput::Sent { key, through } => {
                if let Some(open) = self.open.take_if(|open| open.key == key)
                    && let Some(stream) = self.find(key)
                {
                    stream.send(now_ms, open.from, through, open.is_beyond_head);
                }
            }
            SenderInput::Acked(ack) => {
                if let Some(stream) = self.find(ack.key) {
                    stream.ack(now_ms, &ack, &config);
                }
            }
            SenderInput::Trimmed { key, oldest } => {
                if let Some(stream) = self.find(key) {
                    stream.trim(oldest);
                }
            }
            SenderInput::Forgotten { key } => {
                if let Some(index) = self.followed().iter().position(|stream| stream.key == key) {
                    self.remove(index);
                }
            }
            SenderInput::Tick => {}
        }
        if self.connected {
            self.followed_mut().iter_mut().for_each(|stream| stream.expire(now_ms, &config));
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<SenderOutput> {
        for stream in self.followed_mut() {
            if let Some(through) = stream.tell() {
                return Some(SenderOutput::Committed { key: stream.key, through });
            }
        }
        if !self.connected || self.open.is_some() {
            return None;
        }
        let sending = Lane::ALL.into_iter().find_map(|lane| self.next_in(lane))?;
        self.open = Some(sending);
        Some(SenderOutput::Send { key: sending.key, from: sending.from })
    }

    /// When to come back with [`SenderInput::Tick`] at the latest, if nothing happens before.
    pub fn next_deadline(&self) -> Option<u64> {
        self.followed().iter().filter_map(Progress::resend_at_ms).min()
    }

    /// What to send of this lane now: nothing while its window is full.
    fn next_in(&self, lane: Lane) -> Option<Sending> {
        let in_lane = || self.followed().iter().filter(|stream| stream.key.lane == lane);
        let in_flight: u64 = in_lane().map(Progress::in_flight).sum();
        let is_full = match lane {
            Lane::Urgent => in_flight >= self.config.urgent_window_entries,
            Lane::Routine => in_flight > 0,
        };
        if is_full {
            return None;
        }
        in_lane().find_map(|stream| {
            let from = stream.next()?;
            Some(Sending { key: stream.key, from, is_beyond_head: from > stream.state().head })
        })
    }

    fn restore(&mut self, state: StreamState, acked: Sequence) {
        if self.has_room() && self.find(state.key).is_none() {
            self.push(Progress::new(state, acked, &self.config));
        }
    }

    fn find(&mut self, key: StreamKey) -> Option<&mut Progress> {
        self.followed_mut().iter_mut().find(|stream| stream.key == key)
    }

    fn find_or_open(&mut self, key: StreamKey) -> &mut Progress {
        let index = match self.followed().iter().position(|stream| stream.key == key) {
            Some(index) => index,
            None => {
                if self.length == STREAMS {
                    self.remove(self.missed_least());
                }
                self.push(Progress::new(StreamState { key, oldest: 1, head: 0 }, 0, &self.config));
                self.length - 1
            }
        };
        &mut self.table[index]
    }

    /// Which stream is to leave a full table.
    fn missed_least(&self) -> usize {
        let first = |is: fn(&Progress) -> bool| self.followed().iter().position(is);
        first(Progress::is_acked).or_else(|| first(|stream| stream.key.lane == Lane::Routine)).unwrap_or(0)
    }

    fn push(&mut self, stream: Progress) {
        self.table[self.length] = stream;
        self.length += 1;
    }

    fn remove(&mut self, index: usize) {
        if self.open.is_some_and(|open| open.key == self.table[index].key) {
            self.open = None;
        }
        self.table.copy_within(index + 1..self.length, index);
        self.length -= 1;
    }

    fn followed(&self) -> &[Progress] {
        &self.table[..self.length]
    }

    fn followed_mut(&mut self) -> &mut [Progress] {
        &mut self.table[..self.length]
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
