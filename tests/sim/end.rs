//! One end of a site's link: a gateway, or the hub's part for one site. Both ends are made alike: a sending task over a
//! journal, a receiving task over a ledger, and the real machines between them.
//!
//! A task here is what it is in the programs: it owns the disk, runs what the machines want, and decides nothing.

use std::collections::{BTreeMap, VecDeque};

use tongluo_protocols::event::{Beat, JournalGauges, StreamState, Streams};
use tongluo_protocols::id::{BootId, Epoch, Lane, Sequence, StreamKey};
use tongluo_protocols::link::{
    Ack, BatchView, BatchWriter, Offer, Receiver, Sender, SenderConfig, SenderInput, SenderOutput,
};

use super::Mutant;
use super::disk::{Disk, Entry};
use super::oracle::{Oracle, Watch};
use super::random::Random;

/// At most so many batches wait to be applied; more are dropped, as a bounded queue does.
const INBOX_MAX: usize = 16;

/// What travels over the network.
#[derive(Clone)]
pub(super) enum Packet {
    Batch(Vec<u8>),
    Ack(Vec<u8>),
    Beat(Vec<u8>),
}

/// What an end wants to happen later, to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    /// The staged entries are on the disk.
    Commit,
    /// The batch is out.
    Published,
    /// A machine's deadline.
    Timer,
    /// The transaction is on the disk.
    Applied,
    /// A heartbeat is due.
    Beat,
}

/// What an end works with while something happens to it.
pub(super) struct Context<'a> {
    pub(super) now_ms: u64,
    pub(super) mutant: Option<Mutant>,
    pub(super) random: &'a mut Random,
    pub(super) oracle: &'a mut Oracle,
    /// What it wants to happen later: after how long, and what.
    pub(super) later: Vec<(u64, Later)>,
    /// What it puts on the network.
    pub(super) out: Vec<Packet>,
}

/// How an end is made.
#[derive(Clone)]
pub(super) struct Make {
    pub(super) site: usize,
    pub(super) is_hub: bool,
    pub(super) config: SenderConfig,
    /// How long a batch gets.
    pub(super) batch_bytes: usize,
    /// How fast it gets out.
    pub(super) bytes_per_ms: u64,
    /// Whether reading the routine journal fails now and then.
    pub(super) reads_fail: bool,
}

pub(super) struct End {
    pub(super) make: Make,
    pub(super) disk: Disk,
    pub(super) is_up: bool,
    /// How many lives it has had: what was wanted in an earlier one no longer happens.
    pub(super) life: u32,
    pub(super) is_connected: bool,
    boot_id: BootId,
    started_ms: u64,
    epoch: Epoch,
    /// What was written and is not on the disk yet: the number of the content, its lane, its body.
    staged: Vec<(u64, Lane, Vec<u8>)>,
    sender: Sender,
    publishing: Option<Publishing>,
    timer_at_ms: Option<u64>,
    inbox: VecDeque<Vec<u8>>,
    watch: Watch,
    /// What the last beat of each run said.
    beats: BTreeMap<BootId, (u64, Vec<StreamState>)>,
}

struct Publishing {
    key: StreamKey,
    through: Sequence,
    bytes: Vec<u8>,
    entries: usize,
}

impl End {
    pub(super) fn new(make: Make, disk: Disk) -> Self {
        Self {
            sender: Sender::new(make.config),
            watch: Watch::new(make.config.urgent_window_entries),
            make,
            disk,
            is_up: false,
            life: 0,
            is_connected: false,
            boot_id: BootId::from_random(0),
            started_ms: 0,
            epoch: Epoch::from_random(0),
            staged: Vec::new(),
            publishing: None,
            timer_at_ms: None,
            inbox: VecDeque::new(),
            beats: BTreeMap::new(),
        }
    }

    /// Loses everything that is not on the disk.
    pub(super) fn crash(&mut self) {
        self.life += 1;
        self.is_up = false;
        self.staged.clear();
        self.inbox.clear();
        self.publishing = None;
        self.timer_at_ms = None;
        self.beats.clear();
    }

    /// Opens the journal anew, in an epoch of its own.
    pub(super) fn start(&mut self, context: &mut Context<'_>) {
        self.is_up = true;
        self.started_ms = context.now_ms;
        self.boot_id = BootId::from_random(context.random.number());
        self.epoch = Epoch::from_random(context.random.number());
        if context.mutant == Some(Mutant::EpochReused) {
            self.epoch = self.disk.journal.last_of(Lane::Urgent).map_or(self.epoch, |key| key.epoch);
        }
        self.watch = Watch::new(self.make.config.urgent_window_entries);
        self.sender = Sender::new(self.make.config);
        for stream in &self.disk.journal.streams {
            let input = SenderInput::Restored { stream: stream.state, acked: stream.acked };
            self.sender.handle(context.now_ms, input);
        }
        if !self.make.is_hub {
            context.later.push((context.random.between(10, 5_000), Later::Beat));
        }
        self.is_connected = false;
    }

    /// A new connection. The hub hears of each gateway that comes on line.
    pub(super) fn connect(&mut self, context: &mut Context<'_>) {
        self.is_connected = true;
        self.publishing = None;
        self.watch.connected();
        self.tell(context, SenderInput::Connected);
    }

    pub(super) fn disconnect(&mut self, context: &mut Context<'_>) {
        self.is_connected = false;
        self.publishing = None;
        self.tell(context, SenderInput::Disconnected);
    }

    /// Something happened in the village, or at the county, that the other end is to know.
    pub(super) fn write(&mut self, context: &mut Context<'_>, content: u64, lane: Lane, body: Vec<u8>) {
        if lane == Lane::Urgent && context.mutant == Some(Mutant::ConfirmedBeforeCommit) {
            context.oracle.confirmed(self.direction(), content);
        }
        self.staged.push((content, lane, body));
        if self.staged.len() == 1 {
            context.later.push((context.random.between(1, 15), Later::Commit));
        }
    }

    pub(super) fn happen(&mut self, context: &mut Context<'_>, what: Later) {
        match what {
            Later::Commit => self.commit(context),
            Later::Published => self.published(context),
            Later::Timer => {
                if self.timer_at_ms.take_if(|at_ms| *at_ms <= context.now_ms).is_some()
                    && context.mutant != Some(Mutant::ResendNever)
                {
                    self.tell(context, SenderInput::Tick);
                }
            }
            Later::Applied => self.applied(context),
            Later::Beat => self.beat(context),
        }
    }

    pub(super) fn receive(&mut self, context: &mut Context<'_>, packet: Packet) {
        match packet {
            Packet::Batch(bytes) => {
                if BatchView::parse(&bytes).is_ok() && self.inbox.len() < INBOX_MAX {
                    self.inbox.push_back(bytes);
                    if self.inbox.len() == 1 {
                        self.begin(context);
                    }
                }
            }
            Packet::Ack(bytes) => {
                if let Ok(mut ack) = Ack::parse(&bytes) {
                    ack.gap &= context.mutant != Some(Mutant::GapIgnored);
                    self.watch.acked(&ack);
                    self.tell(context, SenderInput::Acked(ack));
                }
            }
            Packet::Beat(bytes) => {
                if let Ok(beat) = Beat::parse(&bytes) {
                    self.hear(context, &beat);
                }
            }
        }
    }

    /// Tells the machine that storage dropped something.
    pub(super) fn trimmed(&mut self, context: &mut Context<'_>, key: StreamKey) {
        let input = match self.disk.journal.find(key) {
            Some(stream) => SenderInput::Trimmed { key, oldest: stream.state.oldest },
            None => {
                self.watch.forgotten(key);
                SenderInput::Forgotten { key }
            }
        };
        self.tell(context, input);
    }

    pub(super) fn is_present(&self, key: StreamKey) -> bool {
        key.epoch == self.epoch
    }

    pub(super) fn direction(&self) -> (usize, bool) {
        (self.make.site, self.make.is_hub)
    }

    fn commit(&mut self, context: &mut Context<'_>) {
        for (content, lane, body) in std::mem::take(&mut self.staged) {
            let key = StreamKey { lane, epoch: self.epoch };
            let entry = Entry { boot_id: self.boot_id, at_ms: context.now_ms, kind: 1, body: body.clone() };
            let sequence = self.disk.journal.append(key, entry);
            context.oracle.committed(self.direction(), content, key, sequence, body);
            if lane == Lane::Urgent {
                context.oracle.confirmed(self.direction(), content);
            }
            self.sender.handle(context.now_ms, SenderInput::Appended { key, head: sequence });
        }
        self.drive(context);
    }

    fn tell(&mut self, context: &mut Context<'_>, input: SenderInput) {
        self.sender.handle(context.now_ms, input);
        self.drive(context);
    }

    /// Does what the sender wants, until it wants nothing more.
    fn drive(&mut self, context: &mut Context<'_>) {
        while let Some(output) = self.sender.poll() {
            match output {
                SenderOutput::Committed { key, through } => {
                    if let Some(stream) = self.disk.journal.find_mut(key) {
                        stream.acked = stream.acked.max(through);
                    }
                }
                SenderOutput::Send { key, from } => self.send(context, key, from),
            }
        }
        let deadline_ms = self.sender.next_deadline();
        if let Some(at_ms) = deadline_ms.filter(|_| deadline_ms != self.timer_at_ms) {
            context.later.push((at_ms.saturating_sub(context.now_ms), Later::Timer));
        }
        self.timer_at_ms = deadline_ms;
    }

    fn send(&mut self, context: &mut Context<'_>, key: StreamKey, from: Sequence) {
        let nothing = SenderInput::Sent { key, through: from - 1 };
        let reads_fail = self.make.reads_fail && key.lane == Lane::Routine && context.random.chance(10);
        let Some(stream) = self.disk.journal.find(key).filter(|_| !reads_fail) else {
            self.sender.handle(context.now_ms, nothing);
            return;
        };
        let mut buffer = vec![0; self.make.batch_bytes];
        let mut batch = BatchWriter::new(&mut buffer, key, stream.state.oldest, stream.state.head)
            .expect("the buffer holds an envelope");
        let mut entries = 0;
        for entry in stream.entries_from(from) {
            if !batch.push(&entry).expect("journals hold legal entries") {
                break;
            }
            entries += 1;
        }
        let through = batch.last().unwrap_or(from - 1);
        let bytes = batch.finish().to_vec();
        if entries > 0 {
            let streams = &self.disk.journal.streams;
            let judgement = self.watch.begins(context.now_ms, key, through, streams);
            // Two receivers contradict one another, and the watch cannot know whom the machine believes.
            if !(self.make.is_hub && context.oracle.is_cloned(self.make.site)) {
                context.oracle.judge(judgement);
            }
        }
        context.later.push((bytes.len() as u64 / self.make.bytes_per_ms + 1, Later::Published));
        self.publishing = Some(Publishing { key, through, bytes, entries });
    }

    fn published(&mut self, context: &mut Context<'_>) {
        let Some(Publishing { key, through, bytes, entries }) = self.publishing.take() else {
            return;
        };
        context.out.push(Packet::Batch(bytes));
        if entries > 0 {
            self.watch.is_out(context.now_ms, key, through);
        }
        self.sender.handle(context.now_ms, SenderInput::Sent { key, through });
        if context.mutant == Some(Mutant::PubackTrusted) {
            self.sender.handle(context.now_ms, SenderInput::Acked(Ack { key, committed: through, gap: false }));
        }
        self.drive(context);
    }

    /// Begins the transaction of the first batch in the inbox.
    fn begin(&mut self, context: &mut Context<'_>) {
        if context.mutant == Some(Mutant::AckBeforeCommit)
            && let Some(batch) = self.inbox.front().and_then(|bytes| BatchView::parse(bytes).ok())
        {
            let offer = self.offer(context, &batch);
            context.out.push(packed(&offer.ack(batch.key())));
        }
        context.later.push((context.random.between(1, 25), Later::Applied));
    }

    fn applied(&mut self, context: &mut Context<'_>) {
        let Some(bytes) = self.inbox.pop_front() else {
            return;
        };
        let batch = BatchView::parse(&bytes).expect("only batches that parse are taken into the inbox");
        let mut offer = self.offer(context, &batch);
        let ack = offer.ack(batch.key());
        if context.mutant == Some(Mutant::LostUnrecorded) {
            offer.lost = None;
        }
        self.disk.ledger.apply(&batch, &offer);
        if context.mutant != Some(Mutant::AckBeforeCommit) {
            context.out.push(packed(&ack));
        }
        if !self.inbox.is_empty() {
            self.begin(context);
        }
    }

    fn offer(&self, context: &Context<'_>, batch: &BatchView<'_>) -> Offer {
        let extent = batch.extent();
        let committed = match context.mutant {
            Some(Mutant::WatermarkUnchecked) if extent.count > 0 => extent.first - 1,
            _ => self.disk.ledger.watermark(batch.key()),
        };
        Receiver::at(committed).offer(extent)
    }

    fn beat(&mut self, context: &mut Context<'_>) {
        let streams: Vec<_> = self.sender.streams().collect();
        let beat = Beat {
            boot_id: self.boot_id,
            uptime_ms: context.now_ms - self.started_ms,
            wall_ms: context.now_ms as i64,
            version: "sim",
            streams: Streams::new(&streams),
            streams_held: self.disk.journal.streams.len() as u32,
            journal: JournalGauges::default(),
            lan_connected: true,
            devices_count: 0,
            clock_nonce: None,
        };
        let mut buffer = vec![0; Beat::BYTES_MAX];
        let length = beat.emit(&mut buffer).expect("the buffer holds any beat");
        buffer.truncate(length);
        context.out.push(Packet::Beat(buffer));
        context.later.push((10_000, Later::Beat));
    }

    /// The hub hears a beat. What it finds waits for a second one of the same run: what the first announced may still be on
    /// its way.
    fn hear(&mut self, context: &mut Context<'_>, beat: &Beat<'_>) {
        let streams: Vec<_> = beat.streams.iter().collect();
        let before = self.beats.get(&beat.boot_id).cloned();
        if before.as_ref().is_some_and(|(uptime_ms, _)| *uptime_ms >= beat.uptime_ms) {
            return;
        }
        let ledger = &mut self.disk.ledger;
        for state in &streams {
            let heard = ledger.heard.entry(state.key).or_default();
            *heard = state.head.max(*heard);
        }
        if let Some((_, before)) = before {
            let wanted = before.iter().filter_map(|state| Receiver::at(ledger.watermark(state.key)).wants(*state));
            context.out.extend(wanted.map(|ack| packed(&ack)));
            if beat.streams_held as usize == streams.len() {
                let held = |key| streams.iter().find(|state| state.key == key).map_or(0, |state| state.head);
                let missing = |(key, heard): (&StreamKey, &Sequence)| {
                    Some((*key, Receiver::at(ledger.watermark(*key)).missing(*heard, held(*key))?))
                };
                ledger.missing = ledger.heard.iter().filter_map(missing).collect();
            }
        }
        self.beats.insert(beat.boot_id, (beat.uptime_ms, streams));
    }
}

fn packed(ack: &Ack) -> Packet {
    let mut buffer = vec![0; Ack::BYTES_MAX];
    let length = ack.emit(&mut buffer).expect("the buffer holds any ack");
    buffer.truncate(length);
    Packet::Ack(buffer)
}
