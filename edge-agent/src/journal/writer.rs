//! The journal's thread: takes what waits, commits it together, answers, and keeps house in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::ErrorCode;
use tokio::sync::oneshot;
use tongluo_protocols::event::{Fault, code};
use tongluo_protocols::id::{BootId, Lane, Sequence, StreamKey};

use super::damage::{self, Damage};
use super::space::Space;
use super::store::Store;
use super::{Draft, Entry, Fact, Memory, Receipt, Received, Shelf, Stream, Waiting, fresh_epoch};
use crate::clock::Clock;
use crate::config::JournalConfig;

/// The most drafts in one commit: enough that a burst costs few commits, few enough that the log keeps within its space.
const GROUP_MAX: usize = 256;

/// How many blocks are taken of the disk for one group: the largest group has two blocks of bodies.
const GROWTH_PER_GROUP_MAX: u32 = 4;

/// How long a press that could not be written waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often lazy facts are written and bounds are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// When there is more to do than one round of it does: presses get the disk in between.
const HURRY: Duration = Duration::from_millis(20);

/// When house is kept first: after the start, which is to be quick.
const FIRST_HOUSEKEEPING: Duration = Duration::from_millis(300);

/// After so many entries house is kept out of turn: a flood must not outgrow the budget between two rounds.
const ENTRIES_PER_ROUND: usize = 2_048;

/// From so many pages on (1 MiB) the log is moved into the file as soon as nothing was asked for during [`LOG_PAUSE`]; from so
/// many (3 MiB) at once. It has room for twice as many and the largest group.
const LOG_PAGES_IDLE: i64 = 256;
const LOG_PAGES_MAX: i64 = 768;

/// A quiet moment: presses that come closer together than that should not meet the log being moved.
const LOG_PAUSE: Duration = Duration::from_millis(50);

/// What the thread can be asked for.
pub(super) enum Command {
    Append { draft: Draft, wall_ms: i64, mono_ms: u64, reply: oneshot::Sender<Receipt> },
    Remember { fact: Fact, reply: Option<oneshot::Sender<()>> },
    Acked { key: StreamKey, through: Sequence },
    Read { key: StreamKey, from: Sequence, reply: oneshot::Sender<Vec<Arc<Entry>>> },
    Receive { received: Received, reply: oneshot::Sender<bool> },
    Watermark { key: StreamKey, reply: oneshot::Sender<Sequence> },
}

/// A draft that waits for its commit.
struct Waiter {
    draft: Draft,
    wall_ms: i64,
    mono_ms: u64,
    /// `None`: the journal itself wrote it.
    reply: Option<oneshot::Sender<Receipt>>,
}

/// What shares a commit.
#[derive(Default)]
struct Group {
    waiters: Vec<Waiter>,
    facts: Vec<(Fact, oneshot::Sender<()>)>,
    received: Option<(Received, oneshot::Sender<bool>)>,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.waiters.is_empty() && self.facts.is_empty() && self.received.is_none()
    }
}

/// What a commit has written.
struct Written {
    receipts: Vec<(Receipt, Option<Entry>)>,
    current: [Current; 2],
}

/// A lane in this life of the journal. Its stream gets a row with its first entry.
#[derive(Clone, Copy)]
pub(super) struct Current {
    pub(super) key: StreamKey,
    pub(super) row: Option<i64>,
    pub(super) head: Sequence,
}

impl Current {
    fn fresh(lane: Lane) -> Self {
        Self { key: StreamKey { lane, epoch: fresh_epoch() }, row: None, head: 0 }
    }
}

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) data_dir: PathBuf,
    pub(super) config: JournalConfig,
    pub(super) clock: Clock,
    pub(super) shelf: Arc<Shelf>,
    pub(super) space: Space,
    /// The row of every stream in the file.
    pub(super) rows: Vec<(StreamKey, i64)>,
    pub(super) current: [Current; 2],
    pub(super) disk_is_full: bool,
    boot_id: BootId,
    inbox: Receiver<Command>,
    waiting: Arc<Waiting>,
    /// What could not be written yet.
    parked: Group,
    lazy_facts: Vec<Fact>,
    lazy_acks: Vec<(StreamKey, Sequence)>,
    housekeeping_at_ms: u64,
    /// Whether house is to be kept again at once.
    hurried: bool,
    entries_since_house: usize,
}

impl Writer {
    pub(super) fn open(
        data_dir: &Path,
        config: &JournalConfig,
        clock: Clock,
        boot_id: BootId,
        inbox: Receiver<Command>,
        shelf: Arc<Shelf>,
        waiting: Arc<Waiting>,
    ) -> anyhow::Result<(Self, Memory)> {
        let (store, damage) = damage::open(data_dir, clock.utc_ms())?;
        let mut writer = Self {
            space: Space::new(config, store.reserve_blocks()?, store.bytes_used()?),
            store,
            data_dir: data_dir.to_owned(),
            config: config.clone(),
            clock,
            shelf,
            rows: Vec::new(),
            current: Lane::ALL.map(Current::fresh),
            disk_is_full: false,
            boot_id,
            inbox,
            waiting,
            parked: Group::default(),
            lazy_facts: Vec::new(),
            lazy_acks: Vec::new(),
            housekeeping_at_ms: FIRST_HOUSEKEEPING.as_millis() as u64,
            hurried: false,
            entries_since_house: 0,
        };
        writer.show_streams()?;
        writer.keep_stock()?;
        let memory = writer.store.memory()?;
        if let Some(damage) = damage {
            writer.tell_damage(&damage);
        }
        Ok((writer, memory))
    }

    /// Works until the last handle is gone and nothing is left to write.
    pub(super) fn run(&mut self) {
        loop {
            let log_pages = self.store.log_pages().unwrap_or(0);
            let timeout = match (self.parked.is_empty(), log_pages > LOG_PAGES_IDLE) {
                (false, _) => RETRY,
                (true, true) => LOG_PAUSE.min(self.until_housekeeping()),
                (true, false) => self.until_housekeeping(),
            };
            let mut group = std::mem::take(&mut self.parked);
            let mut reads = Vec::new();
            match self.inbox.recv_timeout(timeout) {
                Ok(command) => self.sort(command, &mut group, &mut reads),
                Err(RecvTimeoutError::Timeout) if log_pages > LOG_PAGES_IDLE => self.checkpoint(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.write(group);
                    self.keep_house();
                    return;
                }
            }
            while group.waiters.len() < GROUP_MAX && group.received.is_none() {
                match self.inbox.try_recv() {
                    Ok(command) => self.sort(command, &mut group, &mut reads),
                    Err(_) => break,
                }
            }
            self.write(group);
            for read in reads {
                self.answer(read);
            }
            if self.clock.mono_ms() >= self.housekeeping_at_ms || self.entries_since_house >= ENTRIES_PER_ROUND {
                self.entries_since_house = 0;
                self.hurried = false;
                self.keep_house();
                self.judge_space();
                let pause = if self.hurried { HURRY } else { HOUSEKEEPING };
                self.housekeeping_at_ms = self.clock.mono_ms() + pause.as_millis() as u64;
            }
            if log_pages > LOG_PAGES_MAX {
                self.checkpoint();
            }
        }
    }

    pub(super) fn hurry_housekeeping(&mut self) {
        self.hurried = true;
    }

    fn until_housekeeping(&self) -> Duration {
        Duration::from_millis(self.housekeeping_at_ms.saturating_sub(self.clock.mono_ms()))
    }

    /// Puts a command where it belongs: into the commit, among what can wait, or among what is read after the commit.
    fn sort(&mut self, command: Command, group: &mut Group, reads: &mut Vec<Command>) {
        match command {
            Command::Append { draft, wall_ms, mono_ms, reply } => {
                group.waiters.push(Waiter { draft, wall_ms, mono_ms, reply: Some(reply) });
            }
            Command::Remember { fact, reply: Some(reply) } => group.facts.push((fact, reply)),
            Command::Remember { fact, reply: None } => self.lazy_facts.push(fact),
            Command::Acked { key, through } => {
                self.shelf.change(|streams| {
                    if let Some(stream) = streams.iter_mut().find(|stream| stream.key == key) {
                        stream.acked = stream.acked.max(through);
                    }
                });
                match self.lazy_acks.iter_mut().find(|(of, _)| *of == key) {
                    Some((_, known)) => *known = through.max(*known),
                    None => self.lazy_acks.push((key, through)),
                }
            }
            Command::Receive { received, reply } => group.received = Some((received, reply)),
            read @ (Command::Read { .. } | Command::Watermark { .. }) => reads.push(read),
        }
    }

    fn answer(&mut self, read: Command) {
        match read {
            Command::Read { key, from, reply } => {
                let entries = self.store.read(key, from).unwrap_or_else(|error| {
                    self.trouble("read", &error);
                    Vec::new()
                });
                let _ = reply.send(entries.into_iter().map(Arc::new).collect());
            }
            Command::Watermark { key, reply } => match self.store.watermark(key) {
                Ok(committed) => drop(reply.send(committed)),
                Err(error) => self.trouble("read", &error),
            },
            Command::Append { .. } | Command::Remember { .. } | Command::Acked { .. } | Command::Receive { .. } => {
                unreachable!("only reads are put among the reads")
            }
        }
    }

    /// Commits a group and answers those who wait. What finds no room is shed if it is routine, and tried again later if not.
    fn write(&mut self, mut group: Group) {
        if self.space.refuses_routine() {
            self.shed_routine(&mut group);
        }
        if group.is_empty() {
            return;
        }
        match self.commit_with_reserve(&mut group) {
            Ok(written) => self.committed(group, written),
            Err(error) => {
                self.trouble("write", &error);
                self.shed_routine(&mut group);
                if let Some((_, reply)) = group.received.take() {
                    let _ = reply.send(false);
                }
                self.parked.waiters.extend(group.waiters);
                self.parked.facts.extend(group.facts);
            }
        }
    }

    /// Commits; when there is no room, takes more of the disk, then does without routine entries, and then gives up the reserve
    /// block by block.
    fn commit_with_reserve(&mut self, group: &mut Group) -> rusqlite::Result<Written> {
        let mut result = self.commit(group);
        for blocks in 1..=GROWTH_PER_GROUP_MAX {
            if !result.as_ref().is_err_and(is_full) || !self.stock_up(blocks)? {
                break;
            }
            result = self.commit(group);
        }
        if !result.as_ref().is_err_and(is_full) {
            return result;
        }
        self.disk_is_full = true;
        self.housekeeping_at_ms = 0;
        self.shed_routine(group);
        result = self.commit(group);
        while result.as_ref().is_err_and(is_full) && self.space.blocks() > 0 {
            self.store.release_block()?;
            self.space.reserved(self.store.reserve_blocks()?);
            tracing::warn!(
                journal.reserve_mib = self.space.blocks(),
                "the disk is full: a part of the journal's reserve was given to presses"
            );
            result = self.commit(group);
        }
        result
    }

    /// One transaction: everything in the group, or nothing.
    fn commit(&self, group: &Group) -> rusqlite::Result<Written> {
        let mut current = self.current;
        let mut work = || -> rusqlite::Result<Vec<(Receipt, Option<Entry>)>> {
            self.store.begin()?;
            let mut receipts = Vec::with_capacity(group.waiters.len());
            for waiter in &group.waiters {
                receipts.push(self.append(waiter, &mut current)?);
            }
            let facts = group.facts.iter().map(|(fact, _)| fact);
            let drafted = group.waiters.iter().flat_map(|waiter| &waiter.draft.facts);
            for fact in self.lazy_facts.iter().chain(facts).chain(drafted) {
                self.write_fact(fact)?;
            }
            for (key, through) in &self.lazy_acks {
                self.store.mark_acked(*key, *through)?;
            }
            if let Some((received, _)) = &group.received {
                self.store.receive(received)?;
            }
            self.store.commit()?;
            Ok(receipts)
        };
        let result = work();
        if result.is_err() {
            self.store.rollback();
        }
        result.map(|receipts| Written { receipts, current })
    }

    fn append(&self, waiter: &Waiter, current: &mut [Current; 2]) -> rusqlite::Result<(Receipt, Option<Entry>)> {
        let draft = &waiter.draft;
        if let Some(source) = draft.source.as_ref().filter(|source| source.may_repeat)
            && let Some((key, sequence)) = self.store.find_source(&source.key)?
        {
            return Ok((Receipt::Repeated(key, sequence), None));
        }
        let current = &mut current[usize::from(draft.lane.number())];
        let row = match current.row {
            Some(row) => row,
            None => *current.row.insert(self.store.open_stream(current.key)?),
        };
        let entry = Entry {
            sequence: current.head + 1,
            boot_id: self.boot_id,
            wall_ms: waiter.wall_ms,
            mono_ms: waiter.mono_ms,
            kind: draft.kind,
            body: draft.body.clone(),
        };
        self.store.append(row, &entry)?;
        if let Some(source) = &draft.source {
            self.store.put_source(&source.key, current.key, entry.sequence, waiter.wall_ms)?;
        }
        current.head = entry.sequence;
        Ok((Receipt::Committed(current.key, entry.sequence), Some(entry)))
    }

    fn write_fact(&self, fact: &Fact) -> rusqlite::Result<()> {
        match fact {
            Fact::Directory(names) => self.store.replace_directory(names),
            Fact::AlarmLevel(device, raised) => self.store.put_alarm_level(*device, *raised),
            Fact::SettledAll(start) => self.store.forget_sources_starting(start),
            Fact::Order(key, sequence, state) => self.store.put_order_state(*key, *sequence, *state),
            Fact::Play(play) => self.store.put_play(&play.broadcast, &play.speaker, play.mark),
            Fact::OrderFloor(issuer, lane, counter) => self.store.put_order_floor(issuer, *lane, *counter),
        }
    }

    /// After the commit: show the uplink, tell those who wait.
    fn committed(&mut self, group: Group, written: Written) {
        let Written { receipts, current } = written;
        self.lazy_facts.clear();
        self.lazy_acks.clear();
        for (old, new) in self.current.iter().zip(&current) {
            if let (None, Some(row)) = (old.row, new.row) {
                self.rows.push((new.key, row));
            }
        }
        self.current = current;
        let mut shown = Vec::new();
        let mut replies = Vec::new();
        for (waiter, (receipt, entry)) in group.waiters.into_iter().zip(receipts) {
            if let (Receipt::Committed(key, _), Some(entry)) = (receipt, entry) {
                shown.push((key, entry));
            }
            replies.extend(waiter.reply.map(|reply| (reply, receipt)));
        }
        self.entries_since_house += shown.len();
        if !shown.is_empty() {
            self.shelf.put(shown);
        }
        self.waiting.done(replies.len());
        for (reply, receipt) in replies {
            let _ = reply.send(receipt);
        }
        for (_, reply) in group.facts {
            let _ = reply.send(());
        }
        if let Some((_, reply)) = group.received {
            let _ = reply.send(true);
        }
    }

    /// Takes out of a group what may not use the last of the space: routine entries, but for faults, which are few and say why,
    /// and for what a device's next message is judged by.
    fn shed_routine(&self, group: &mut Group) {
        let stays = |waiter: &Waiter| {
            let draft = &waiter.draft;
            draft.lane == Lane::Urgent || draft.kind == Fault::KIND || !draft.facts.is_empty()
        };
        let (stay, shed): (Vec<_>, Vec<_>) = std::mem::take(&mut group.waiters).into_iter().partition(stays);
        group.waiters = stay;
        for reply in shed.into_iter().filter_map(|waiter| waiter.reply) {
            self.waiting.done(1);
            let _ = reply.send(Receipt::Shed);
        }
    }

    /// Writes an entry of the journal's own, without anybody waiting for it.
    pub(super) fn write_own(&mut self, kind: u16, body: Vec<u8>) {
        let draft = Draft { lane: Lane::Routine, kind, body, source: None, facts: Vec::new() };
        let waiter = Waiter { draft, wall_ms: self.clock.utc_ms(), mono_ms: self.clock.mono_ms(), reply: None };
        self.write(Group { waiters: vec![waiter], ..Group::default() });
    }

    /// Writes lazy facts without waiting for a press to share the commit with.
    pub(super) fn write_lazy(&mut self) {
        if self.lazy_facts.is_empty() && self.lazy_acks.is_empty() {
            return;
        }
        match self.commit_with_reserve(&mut Group::default()) {
            Ok(written) => self.committed(Group::default(), written),
            Err(error) => self.trouble("write", &error),
        }
    }

    pub(super) fn fault(&mut self, code: &str, detail: &str, active: bool) {
        let fault = Fault { source: "journal", code, detail, active };
        let body = crate::event_body(&tongluo_protocols::event::Event::Fault(fault));
        self.write_own(Fault::KIND, body);
    }

    pub(super) fn tell_full(&mut self, refusing: bool) {
        let detail = format!(
            "{} of {} MiB used, reserve {} MiB, disk {}",
            self.space.bytes_used() / 1024 / 1024,
            self.space.budget_bytes() / 1024 / 1024,
            self.space.blocks(),
            if self.disk_is_full { "full" } else { "not full" },
        );
        if refusing {
            tracing::error!(
                journal.detail = detail,
                "the journal is full: routine entries are refused, presses are not"
            );
        } else {
            tracing::info!(journal.detail = detail, "the journal has room");
        }
        self.fault(code::JOURNAL_FULL, &detail, refusing);
    }

    fn tell_damage(&mut self, damage: &Damage) {
        tracing::error!(journal.detail = damage.detail(), "the journal was damaged and has been set aside");
        self.fault(damage::FAULT_CODE, &damage.detail(), true);
    }

    /// What SQLite refuses: a full disk is housekeeping's business, damage leads to a fresh file, the rest is tried again.
    pub(super) fn trouble(&mut self, doing: &str, error: &rusqlite::Error) {
        tracing::error!(journal.error = %error, "the journal cannot {doing}");
        self.disk_is_full |= is_full(error);
        if !damage::is_damage(error) {
            return;
        }
        match damage::replace(&mut self.store, &self.data_dir, self.clock.utc_ms(), &error.to_string()) {
            Ok(damage) => {
                self.current = Lane::ALL.map(Current::fresh);
                self.lazy_acks.clear();
                let _ = self.show_streams();
                self.tell_damage(&damage);
            }
            Err(error) => tracing::error!(journal.error = %error, "the damaged journal cannot be set aside"),
        }
    }

    /// Shows the uplink every stream that is in the file.
    fn show_streams(&mut self) -> rusqlite::Result<()> {
        let streams = self.store.streams()?;
        self.rows = streams.iter().map(|(row, stream)| (stream.key, *row)).collect();
        let shown: Vec<Stream> = streams.into_iter().map(|(_, stream)| stream).collect();
        self.shelf.change(|streams| *streams = shown);
        Ok(())
    }

    pub(super) fn checkpoint(&mut self) {
        if let Err(error) = self.store.checkpoint() {
            self.trouble("move its log into the file", &error);
        }
    }
}

/// Whether SQLite found no room on the disk.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
