//! The way down: what stands in the outbox, sent to each gateway that listens until it has it.
//!
//! The rules are those of `link::Sender`, one machine for each gateway that listens and has something in the outbox. This
//! task tells the machines what happened, does what they ask for, and remembers what gateways have committed. It holds
//! nothing that the tables do not: a hub that is killed sends again what was not committed, and the gateway's watermarks
//! drop what it has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use sqlx::AnyConnection;
use tongluo_protocols::event::StreamState;
use tongluo_protocols::id::{Sequence, StreamKey};
use tongluo_protocols::link::{BATCH_BYTES_MAX, BatchWriter, Sender, SenderConfig, SenderInput, SenderOutput};

use super::gauges::DownGauges;
use super::outbox::{Outbox, Slip};
use super::outbox_store::{self as store, Stream};
use crate::broker::{Broker, DownLeaf};
use crate::clock;
use crate::ids::SiteId;
use crate::store::Store;

/// Streams that are followed for one gateway: both lanes of this run of the hub and of three before it. What waits in older
/// ones goes first and makes room; 13,215 machines of this size are 15 MB.
const STREAMS_MAX: usize = 8;
/// Gateways served side by side; each reads its entries with a connection of its own.
const SERVED_AT_ONCE: usize = 8;
/// Rest after the database failed.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The longest sleep when nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);

type SiteSender = Sender<STREAMS_MAX>;

/// Sends what the outbox holds.
#[derive(Debug)]
pub struct DownLane {
    store: Store,
    broker: Arc<Broker>,
    outbox: Outbox,
    gauges: DownGauges,
    started: Instant,
    senders: HashMap<SiteId, SiteSender>,
    /// When which machine wants to be asked again, by [`DownLane::now_ms`].
    due: BTreeSet<(u64, SiteId)>,
}

impl DownLane {
    /// A lane; nothing is sent until [`DownLane::run`] is called.
    pub fn new(store: Store, broker: Arc<Broker>, outbox: Outbox) -> Self {
        Self {
            store,
            broker,
            outbox,
            gauges: DownGauges::default(),
            started: clock::instant(),
            senders: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// The lane's counters, for `/metrics`.
    pub fn gauges(&self) -> DownGauges {
        self.gauges.clone()
    }

    /// Sends for as long as the hub runs.
    pub async fn run(mut self) {
        loop {
            let next =
                self.due.first().map_or(IDLE, |(at_ms, _)| Duration::from_millis(at_ms.saturating_sub(self.now_ms())));
            let slips = tokio::select! {
                slips = self.outbox.slips() => slips,
                () = clock::pause(next) => HashMap::new(),
            };
            self.round(slips).await;
        }
    }

    async fn round(&mut self, slips: HashMap<SiteId, Slip>) {
        let is_wanted = |(site, slip): &(&SiteId, &Slip)| slip.heard || (slip.woken && self.outbox.is_listening(site));
        let wanted: Vec<SiteId> = slips.iter().filter(is_wanted).map(|(site, _)| site.clone()).collect();
        let mut streams = self.streams(&wanted).await;
        let now_ms = self.now_ms();
        let mut touched: BTreeSet<SiteId> = BTreeSet::new();
        for (site, slip) in slips {
            if slip.lost || slip.heard {
                self.senders.remove(&site);
            }
            if let Some(streams) = streams.remove(&site) {
                follow(&mut self.senders, &site, now_ms, &streams);
            }
            if let Some(sender) = self.senders.get_mut(&site) {
                self.gauges.acks.inc_by(slip.acks.len() as u64);
                slip.acks.into_iter().for_each(|ack| sender.handle(now_ms, SenderInput::Acked(ack)));
                touched.insert(site);
            }
        }
        let later = self.due.split_off(&(now_ms + 1, SiteId::from_known("")));
        for (_, site) in std::mem::replace(&mut self.due, later) {
            if let Some(sender) = self.senders.get_mut(&site) {
                sender.handle(now_ms, SenderInput::Tick);
                touched.insert(site);
            }
        }
        self.serve(touched).await;
    }

    /// The streams of these sites. A failing database is asked until it answers: these gateways would wait for ever.
    async fn streams(&self, sites: &[SiteId]) -> HashMap<SiteId, Vec<Stream>> {
        loop {
            let found = match self.store.reader().acquire().await {
                Ok(mut connection) => store::streams(&mut connection, sites).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => return found,
                Err(error) => tracing::error!(%error, "The outbox cannot be read; gateways wait for their orders"),
            }
            clock::pause(REST_AFTER_FAILURE).await;
        }
    }

    /// Does what the machines of these sites ask for.
    async fn serve(&mut self, sites: BTreeSet<SiteId>) {
        let machines: Vec<(SiteId, SiteSender)> =
            sites.into_iter().filter_map(|site| self.senders.remove_entry(&site)).collect();
        let lane = &*self;
        let served: Vec<_> = futures_util::stream::iter(machines)
            .map(|(site, sender)| lane.serve_one(site, sender))
            .buffer_unordered(SERVED_AT_ONCE)
            .collect()
            .await;
        let mut committed = Vec::new();
        for (site, sender, of_site) in served {
            committed.extend(of_site.into_iter().map(|(key, through)| (site.clone(), key, through)));
            if let Some(at_ms) = sender.next_deadline() {
                // Earlier ones of the same site only mean that the machine is asked once too often.
                self.due.insert((at_ms, site.clone()));
            }
            self.senders.insert(site, sender);
        }
        if !committed.is_empty()
            && let Err(error) = self.save(&committed).await
        {
            // Told again at the gateway's next connection.
            tracing::error!(%error, "What gateways have committed cannot be remembered");
        }
    }

    async fn serve_one(
        &self,
        site: SiteId,
        mut sender: SiteSender,
    ) -> (SiteId, SiteSender, Vec<(StreamKey, Sequence)>) {
        let mut committed = Vec::new();
        while let Some(output) = sender.poll() {
            match output {
                SenderOutput::Send { key, from } => {
                    let state = sender.streams().find(|state| state.key == key);
                    let through = match state {
                        Some(state) => self.send(&site, state, from).await,
                        None => from - 1,
                    };
                    sender.handle(self.now_ms(), SenderInput::Sent { key, through });
                }
                SenderOutput::Committed { key, through } => committed.push((key, through)),
            }
        }
        (site, sender, committed)
    }

    /// Publishes one batch; answers the last sequence in it, `from - 1` if there was nothing to publish or no way to.
    async fn send(&self, site: &SiteId, state: StreamState, from: Sequence) -> Sequence {
        let nothing = from - 1;
        let entries = match self.read(site, state.key, from).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, site.id = %site, "Orders cannot be read; they are tried again");
                return nothing;
            }
        };
        let mut buffer = vec![0; BATCH_BYTES_MAX];
        let mut batch = BatchWriter::new(&mut buffer, state.key, state.oldest, state.head)
            .expect("a buffer of this length takes any batch");
        let mut count = 0;
        for entry in &entries {
            match batch.push(&entry.view(self.outbox.boot_id())) {
                Ok(true) => count += 1,
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, site.id = %site, entry.sequence, "An order cannot be sent");
                    break;
                }
            }
        }
        let through = batch.last().unwrap_or(nothing);
        let payload = Bytes::copy_from_slice(batch.finish());
        match self.broker.publish(site, DownLeaf::Down, payload).await {
            Ok(()) => {
                self.gauges.batches.inc();
                self.gauges.entries.inc_by(count);
                through
            }
            Err(error) => {
                tracing::debug!(%error, site.id = %site, "A batch of orders could not be handed over");
                nothing
            }
        }
    }

    async fn read(&self, site: &SiteId, key: StreamKey, from: Sequence) -> Result<Vec<store::Outgoing>, sqlx::Error> {
        let mut connection = self.store.reader().acquire().await?;
        store::entries(&mut connection, site, key, from).await
    }

    async fn save(&self, committed: &[(SiteId, StreamKey, Sequence)]) -> Result<(), sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        store::save_committed(&mut transaction, committed).await?;
        transaction.commit().await
    }

    /// Milliseconds since the lane was made: the machines' clock.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Removes what is kept no longer from the outbox.
///
/// # Errors
/// The database's.
pub async fn expire_outbox(connection: &mut AnyConnection, now_ms: i64) -> Result<u64, sqlx::Error> {
    store::expire(connection, now_ms).await
}

/// Brings a site's machine in step with its streams; makes one if it has none.
fn follow(senders: &mut HashMap<SiteId, SiteSender>, site: &SiteId, now_ms: u64, streams: &[Stream]) {
    let Some(sender) = senders.get_mut(site) else {
        let mut sender = SiteSender::new(SenderConfig::default());
        for stream in kept_in_view(streams) {
            restore(&mut sender, now_ms, stream);
        }
        sender.handle(now_ms, SenderInput::Connected);
        senders.insert(site.clone(), sender);
        return;
    };
    for stream in streams {
        let known = sender.streams().find(|state| state.key == stream.key);
        match known {
            Some(known) if stream.head > known.head => {
                sender.handle(now_ms, SenderInput::Appended { key: stream.key, head: stream.head });
            }
            Some(_) => {}
            // A new stream always finds room; one that was left out for want of room waits for the next connection.
            None if stream.committed == 0 => {
                sender.handle(now_ms, SenderInput::Appended { key: stream.key, head: stream.head });
                sender.handle(now_ms, SenderInput::Trimmed { key: stream.key, oldest: stream.oldest });
            }
            None => {}
        }
    }
}

fn restore(sender: &mut SiteSender, now_ms: u64, stream: &Stream) {
    let state = StreamState { key: stream.key, oldest: stream.oldest, head: stream.head };
    sender.handle(now_ms, SenderInput::Restored { stream: state, acked: stream.committed });
}

/// Which streams a machine is to follow, in the order of their opening: those that wait, the oldest first, then the newest of
/// the others, which a gateway whose disk was set back may ask for.
fn kept_in_view(streams: &[Stream]) -> Vec<&Stream> {
    let waits = |stream: &&Stream| stream.committed < stream.head;
    let waiting = streams.iter().filter(waits);
    let others = streams.iter().rev().filter(|stream| !waits(stream));
    let mut kept: Vec<&Stream> = waiting.chain(others).take(STREAMS_MAX - 2).collect();
    kept.sort_by_key(|kept| streams.iter().position(|stream| stream.key == kept.key));
    kept
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::id::{Epoch, Lane};

    use super::*;

    fn stream(epoch: u64, head: u64, committed: u64) -> Stream {
        let key = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(epoch) };
        Stream { key, oldest: 1, head, committed }
    }

    #[test]
    fn what_waits_goes_before_what_is_done_and_keeps_its_order() {
        let mut streams: Vec<Stream> = (1..=10).map(|epoch| stream(epoch, 5, 5)).collect();
        streams[1].committed = 0;
        streams[6].committed = 4;
        let kept: Vec<u64> = kept_in_view(&streams).iter().map(|stream| stream.key.epoch.get()).collect();
        assert_eq!(kept, [2, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_machine_follows_what_is_appended_and_sends_older_runs_first() {
        let (mut senders, site) = (HashMap::new(), SiteId::from_known("s"));
        let mut streams = vec![stream(1, 3, 1)];
        follow(&mut senders, &site, 0, &streams);
        let sender = senders.get_mut(&site).unwrap();
        assert_eq!(sender.poll(), Some(SenderOutput::Send { key: streams[0].key, from: 2 }));
        sender.handle(0, SenderInput::Sent { key: streams[0].key, through: 3 });
        assert_eq!(sender.poll(), None);
        streams.push(stream(2, 1, 0));
        follow(&mut senders, &site, 0, &streams);
        let sender = senders.get_mut(&site).unwrap();
        assert_eq!(sender.poll(), Some(SenderOutput::Send { key: streams[1].key, from: 1 }));
    }
}
