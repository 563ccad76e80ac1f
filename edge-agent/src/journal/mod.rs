//! What was seen, on disk before anybody is told that it was seen.
//!
//! The journal is the gateway's half of the link: an append-only list of entries per lane, kept until the hub has acknowledged
//! them and a while longer, so that a hub which returns from a backup can ask again. It is one SQLite file (WAL,
//! `synchronous=FULL`) with one owner, a thread of its own ([`writer`]), so that a slow disk holds up nothing but what waits for it:
//!
//! - **Group commit.** Whatever waits when a commit begins shares it; a lone press never waits for company.
//! - **Epochs.** Each opening of the journal draws a random epoch per lane, so `(epoch, sequence)` is never used twice, whatever
//!   disk was rolled back, cloned or restored.
//! - **Exactly once.** A device's own event id is committed together with its press; the same id again answers with the same press.
//! - **Space.** Disk space is taken in advance, and of that a reserve is given to presses alone when the disk is full ([`space`]). Over the budget acknowledged
//!   entries go first, then routine ones, oldest first, leaving a `Thinned` entry. Presses are never thinned.
//! - **Damage.** A file that SQLite cannot read is set aside, a fresh one is opened, a fault says so; presses are taken.
//!
//! The uplink reads what it sends from [`Shelf`], where the latest entries stand in memory, or else from the file.

mod damage;
mod house;
mod plays;
mod received;
mod shelf;
mod space;
mod store;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::sync::{Notify, oneshot};
use tongluo_protocols::id::{BootId, DeviceKey, Epoch, Lane, PressId, Sequence, StreamKey};
use tongluo_protocols::link::EntryView;

use crate::clock::Clock;
use crate::config::JournalConfig;
pub(crate) use shelf::{Shelf, Stream};
use writer::Command;

/// The most drafts that may wait for their commit. Routine entries are shed long before ([`ROUTINE_WAITING_MAX`]); at this bound
/// the intake stops reading from the village's broker, which keeps what was published at QoS 1.
const WAITING_MAX: usize = 4096;

/// From so many waiting drafts on, routine entries are shed: the disk does not keep up, and presses go first.
const ROUTINE_WAITING_MAX: usize = 512;

/// One entry, as it stands in the journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) sequence: Sequence,
    pub(crate) boot_id: BootId,
    pub(crate) wall_ms: i64,
    pub(crate) mono_ms: u64,
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

impl Entry {
    /// The entry as the wire takes it.
    pub(crate) fn view(&self) -> EntryView<'_> {
        EntryView {
            sequence: self.sequence,
            boot_id: self.boot_id,
            wall_ms: self.wall_ms,
            mono_ms: self.mono_ms,
            kind: self.kind,
            body: &self.body,
        }
    }
}

/// An entry that wants to be written.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) lane: Lane,
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
    /// What identifies the event, if anything does.
    pub(crate) source: Option<Source>,
    /// What is to be remembered in the same transaction.
    pub(crate) facts: Vec<Fact>,
}

/// By what an event is recognised when it comes again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Source {
    pub(crate) key: String,
    /// `true`: the same key is the same event. `false`: the key may be used anew (a packet id), so it is only written.
    pub(crate) may_repeat: bool,
}

/// Something small that outlives a restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fact {
    /// The whole directory of the village's radio server: friendly name and address of each device.
    Directory(Vec<(String, DeviceKey)>),
    /// Whether a device holds its alarm raised: only the change counts as a press.
    AlarmLevel(DeviceKey, bool),
    /// No event key that starts so will come again.
    SettledAll(&'static str),
    /// How far an order of the hub's has got.
    Order(StreamKey, Sequence, OrderState),
    /// The counter of the last order that was taken of an issuer in a lane.
    OrderFloor(String, Lane, u64),
    /// How far a broadcast has come at a loudspeaker.
    Play(PlayMarked),
}

/// How far a broadcast has come at a loudspeaker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PlayMarked {
    pub(crate) broadcast: String,
    pub(crate) speaker: String,
    pub(crate) mark: PlayMark,
}

/// What must be known of a play after a crash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PlayMark {
    /// It may have been heard: it never begins again.
    Begun,
    /// Its last report is in the journal.
    Over,
}

/// How far an order of the hub's has got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OrderState {
    /// Committed, and not looked at.
    Waiting,
    /// Genuine, and not judged before it is certain what time it is.
    Held,
    /// To be carried out, and not finished.
    Admitted,
    /// Nothing is left to do.
    Done,
    /// It was not carried out, and the hub was told why.
    Refused,
}

impl OrderState {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Admitted => "admitted",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// What was remembered of the hub's orders.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderMemory {
    /// Orders that were committed and not finished, in the order in which they came.
    pub(crate) unfinished: Vec<(StreamKey, Entry, OrderState)>,
    /// Issuer, lane, and the counter of the last order that was taken.
    pub(crate) floors: Vec<(String, Lane, u64)>,
}

/// What was remembered from earlier lives of the journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) directory: Vec<(String, DeviceKey)>,
    pub(crate) alarm_levels: Vec<(DeviceKey, bool)>,
    pub(crate) orders: OrderMemory,
    pub(crate) plays: Vec<PlayMarked>,
}

/// What became of a draft.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Receipt {
    /// It is on disk.
    Committed(StreamKey, Sequence),
    /// The same event is on disk already, here.
    Repeated(StreamKey, Sequence),
    /// A routine entry for which there was no room or no time.
    Shed,
}

impl Receipt {
    /// The press that an urgent entry is, wherever it stands.
    pub(crate) fn press_id(self) -> Option<PressId> {
        match self {
            Self::Committed(key, sequence) | Self::Repeated(key, sequence) => {
                Some(PressId { epoch: key.epoch, sequence })
            }
            Self::Shed => None,
        }
    }
}

/// Entries from the hub, to be committed together with their watermark.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) key: StreamKey,
    pub(crate) committed_after: Sequence,
    pub(crate) lost: Option<(Sequence, Sequence)>,
    pub(crate) entries: Vec<Entry>,
}

/// A handle to the journal. All copies lead to the same thread; the journal closes when the last one and its [`Closing`] are gone.
#[derive(Clone)]
pub(crate) struct Journal {
    commands: mpsc::Sender<Command>,
    waiting: Arc<Waiting>,
    shelf: Arc<Shelf>,
    clock: Clock,
    boot_id: BootId,
}

/// How many drafts wait for their commit, and who wants to know when they are fewer.
#[derive(Default)]
struct Waiting {
    count: AtomicUsize,
    fewer: Notify,
}

/// What opening a journal gives.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) memory: Memory,
    pub(crate) closing: Closing,
}

/// Waits for the journal's thread when the program ends.
pub(crate) struct Closing(std::thread::JoinHandle<()>);

impl Closing {
    /// Returns when everything that was asked for is on disk. All [`Journal`] handles must be gone, or this waits for them.
    pub(crate) fn wait(self) {
        if self.0.join().is_err() {
            tracing::error!("the journal's thread panicked");
        }
    }
}

impl Journal {
    /// Opens the journal in `data_dir`, setting a damaged one aside, and starts its thread.
    pub(crate) fn open(data_dir: &Path, config: &JournalConfig, clock: Clock) -> anyhow::Result<Opened> {
        let boot_id = BootId::from_random(random());
        let shelf = Arc::new(Shelf::default());
        let waiting = Arc::new(Waiting::default());
        let (commands, inbox) = mpsc::channel();
        let (mut writer, memory) =
            writer::Writer::open(data_dir, config, clock, boot_id, inbox, shelf.clone(), waiting.clone())?;
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run())?;
        let journal = Self { commands, waiting, shelf, clock, boot_id };
        Ok(Opened { journal, memory, closing: Closing(thread) })
    }

    /// This run of the program.
    pub(crate) fn boot_id(&self) -> BootId {
        self.boot_id
    }

    /// What the uplink looks at.
    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Hands in an entry. The receipt comes once it is on disk; it never comes for a press that cannot be written, which is then
    /// tried again and again.
    pub(crate) fn append(&self, draft: Draft) -> oneshot::Receiver<Receipt> {
        let (reply, receipt) = oneshot::channel();
        let waiting = self.waiting.count.load(Ordering::Relaxed);
        if draft.lane == Lane::Routine && waiting >= ROUTINE_WAITING_MAX && draft.facts.is_empty() {
            let _ = reply.send(Receipt::Shed);
            return receipt;
        }
        self.waiting.count.fetch_add(1, Ordering::Relaxed);
        let (wall_ms, mono_ms) = (self.clock.utc_ms(), self.clock.mono_ms());
        self.send(Command::Append { draft, wall_ms, mono_ms, reply });
        receipt
    }

    /// Returns when fewer drafts wait than may.
    pub(crate) async fn has_room(&self) {
        while self.waiting.count.load(Ordering::Relaxed) >= WAITING_MAX {
            let fewer = self.waiting.fewer.notified();
            if self.waiting.count.load(Ordering::Relaxed) < WAITING_MAX {
                break;
            }
            fewer.await;
        }
    }

    /// Remembers a fact; the answer comes once it is on disk.
    pub(crate) fn remember(&self, fact: Fact) -> oneshot::Receiver<()> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Remember { fact, reply: Some(reply) });
        done
    }

    /// Remembers a fact with the next commit or within seconds; a crash before that forgets it.
    pub(crate) fn remember_lazily(&self, fact: Fact) {
        self.send(Command::Remember { fact, reply: None });
    }

    /// Marks what the hub has committed. On disk within seconds: a crash before that only means that entries are sent again.
    pub(crate) fn acked(&self, key: StreamKey, through: Sequence) {
        self.send(Command::Acked { key, through });
    }

    /// Reads entries of a stream from `from` on, as many as fit into a batch. Empty if there are none.
    pub(crate) async fn read(&self, key: StreamKey, from: Sequence) -> Vec<Arc<Entry>> {
        if let Some(entries) = self.shelf.recent(key, from) {
            return entries;
        }
        let (reply, entries) = oneshot::channel();
        self.send(Command::Read { key, from, reply });
        entries.await.unwrap_or_default()
    }

    /// Commits what the hub sent; the answer is whether it is on disk.
    pub(crate) async fn receive(&self, received: Received) -> bool {
        let (reply, done) = oneshot::channel();
        self.send(Command::Receive { received, reply });
        done.await.unwrap_or(false)
    }

    /// Up to where this gateway has committed a stream of the hub's.  `None` if that cannot be read.
    pub(crate) async fn watermark(&self, key: StreamKey) -> Option<Sequence> {
        let (reply, committed) = oneshot::channel();
        self.send(Command::Watermark { key, reply });
        committed.await.ok()
    }

    fn send(&self, command: Command) {
        // The thread ends only after the last handle is gone, or by a panic, which its `Closing` reports.
        let _ = self.commands.send(command);
    }
}

impl Waiting {
    fn done(&self, count: usize) {
        self.count.fetch_sub(count, Ordering::Relaxed);
        self.fewer.notify_waiters();
    }
}

/// 64 bits from the system's random source.
fn random() -> u64 {
    getrandom::u64().expect("the system gives random numbers")
}

/// A random epoch.
fn fresh_epoch() -> Epoch {
    Epoch::from_random(random())
}

#[cfg(test)]
mod tests;
