//! The intake: from the broker's queue to committed transactions, and the acknowledgements back.
//!
//! One transaction takes what has arrived while the one before it was being synced to disk: a lone press commits at once,
//! a thousand gateways at once share a few syncs. Urgent batches go first, and a transaction is bounded: when a county
//! comes back with a day's backlog, an alarm waits for one transaction, not for the backlog. Presence and heartbeats
//! come in small transactions between the others, for the same reason.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tongluo_protocols::event::Beat;
use tongluo_protocols::id::Lane;
use tongluo_protocols::link::{Ack, BatchView};

use super::beat::{self, Beats};
use super::gauges::IntakeGauges;
use super::outbox::Outbox;
use super::poison;
use super::store;
use super::take::{Application, Incoming, Lateness};
use crate::broker::{Arrival, Arrivals, Broker, DownLeaf, UpLeaf};
use crate::clock;
use crate::fleet::presence;
use crate::ids::SiteId;
use crate::live::{self, Live};
use crate::store::Store;

/// Batches that are sorted and not taken yet; more arrivals wait in the broker's queue, where nobody sees which are urgent.
const BATCHES_MAX: usize = 4_096;
/// Heartbeats and changes of presence that are not taken yet: two of each gateway where every grid has one, some hundred bytes
/// each. When all of them come back at once, their presses must not stand behind that in the broker's queue: with room for
/// 4,096, half the presses of such a minute waited longer than a second.
const SIGNS_MAX: usize = 32_768;
/// Batches in one transaction, by their bytes: eight full ones, some 1,300 entries, which take about 40 ms. That is what
/// an alarm behind them waits.
const TRANSACTION_BYTES_MAX: usize = 128 * 1024;
/// Heartbeats and changes of presence in one transaction, about 5 ms.
const BEATS_PER_TRANSACTION_MAX: usize = 32;
/// Rest after the database failed. Gateways keep their entries and send again.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Takes what gateways send.
#[derive(Debug)]
pub struct Intake {
    store: Store,
    live: Live,
    broker: Arc<Broker>,
    outbox: Outbox,
    gauges: IntakeGauges,
    lateness: Lateness,
    beats: Beats,
}

/// A heartbeat or a change of presence.
enum Sign {
    Beat(Bytes),
    Online,
    Offline,
}

/// What has arrived and is not taken yet. A journal's batches keep their order, since each is of one lane.
#[derive(Default)]
struct Backlog {
    urgent: VecDeque<Incoming>,
    routine: VecDeque<Incoming>,
    signs: VecDeque<(SiteId, Sign)>,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.routine.is_empty() && self.signs.is_empty()
    }

    fn has_room(&self) -> bool {
        self.urgent.len() + self.routine.len() < BATCHES_MAX && self.signs.len() < SIGNS_MAX
    }

    /// The batches of the next transaction.
    fn batches(&mut self) -> Vec<Incoming> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while bytes < TRANSACTION_BYTES_MAX
            && let Some(batch) = self.urgent.pop_front().or_else(|| self.routine.pop_front())
        {
            bytes += batch.payload.len();
            batches.push(batch);
        }
        batches
    }
}

impl Intake {
    /// An intake; nothing is taken until [`Intake::run`] is called.
    pub fn new(store: Store, live: Live, broker: Arc<Broker>, outbox: Outbox, late_after_ms: i64) -> Self {
        Self {
            store,
            live,
            broker,
            outbox,
            gauges: IntakeGauges::default(),
            lateness: Lateness::new(late_after_ms),
            beats: Beats::default(),
        }
    }

    /// The intake's counters, for `/metrics`.
    pub fn gauges(&self) -> IntakeGauges {
        self.gauges.clone()
    }

    /// Takes arrivals until the broker is shut down.
    pub async fn run(mut self, mut arrivals: Arrivals) {
        let mut backlog = Backlog::default();
        loop {
            if backlog.is_empty() {
                let Some(arrival) = arrivals.recv().await else { return };
                self.sort(&mut backlog, arrival);
            }
            while backlog.has_room()
                && let Some(arrival) = arrivals.try_recv()
            {
                self.sort(&mut backlog, arrival);
            }
            if let Err(error) = self.take_batches(backlog.batches()).await {
                self.rest_after(&error, "The database fails; batches are not acknowledged and gateways send again")
                    .await;
            }
            let count = backlog.signs.len().min(BEATS_PER_TRANSACTION_MAX);
            let signs: Vec<(SiteId, Sign)> = backlog.signs.drain(..count).collect();
            // A change of presence is told once, so it is tried until it is written.
            while let Err(error) = self.take_signs(&signs).await {
                self.rest_after(&error, "The database fails; presence waits").await;
            }
        }
    }

    async fn rest_after(&self, error: &sqlx::Error, sentence: &'static str) {
        self.gauges.failures.inc();
        tracing::error!(%error, "{sentence}");
        clock::pause(REST_AFTER_FAILURE).await;
    }

    fn sort(&self, backlog: &mut Backlog, arrival: Arrival) {
        match arrival {
            Arrival::Message { site, leaf: UpLeaf::Up, payload } => self.sort_batch(backlog, site, payload),
            Arrival::Message { site, leaf: UpLeaf::Beat, payload } => {
                self.outbox.heard(&site);
                backlog.signs.push_back((site, Sign::Beat(payload)))
            }
            Arrival::Message { site, leaf: UpLeaf::DownAck, payload } => {
                if let Err(error) = self.outbox.acked(&site, &payload) {
                    self.gauges.malformed.inc();
                    tracing::warn!(site.id = %site, %error, "An acknowledgement of orders cannot be read");
                }
            }
            Arrival::Online { site } => {
                self.outbox.lost(&site);
                backlog.signs.push_back((site, Sign::Online));
            }
            Arrival::Offline { site } => {
                self.outbox.lost(&site);
                backlog.signs.push_back((site, Sign::Offline));
            }
            // Presence comes from the broker itself.
            Arrival::Message { leaf: UpLeaf::State, .. } => {}
        }
    }

    fn sort_batch(&self, backlog: &mut Backlog, site_id: SiteId, payload: Bytes) {
        let lane = match BatchView::parse(&payload) {
            Ok(batch) => batch.lane(),
            Err(error) => {
                // Nothing to keep: without an envelope there is no entry. The sender has it and will be heard by its
                // beats.
                self.gauges.malformed.inc();
                tracing::warn!(site.id = %site_id, bytes = payload.len(), %error, "A batch without a readable envelope");
                return;
            }
        };
        self.gauges.batches.inc();
        let incoming = Incoming { site_id, payload, entries_max: usize::MAX, application: Application::Whole };
        match lane {
            Lane::Urgent => backlog.urgent.push_back(incoming),
            Lane::Routine => backlog.routine.push_back(incoming),
        }
    }

    async fn take_batches(&self, incoming: Vec<Incoming>) -> Result<(), sqlx::Error> {
        if incoming.is_empty() {
            return Ok(());
        }
        let taken = poison::take_all(&self.store, &self.lateness, incoming).await?;
        self.live.notify();
        self.gauges.rounds.inc();
        self.gauges.entries.inc_by(taken.entries as u64);
        self.gauges.presses.inc_by(taken.presses as u64);
        for (site_id, ack) in taken.acks {
            self.send_ack(&site_id, &ack).await;
        }
        Ok(())
    }

    async fn take_signs(&mut self, signs: &[(SiteId, Sign)]) -> Result<(), sqlx::Error> {
        if signs.is_empty() {
            return Ok(());
        }
        let now_ms = clock::utc_ms();
        let mut transaction = self.store.begin().await?;
        let sites = signs.iter().map(|(site_id, _)| site_id).collect();
        let regions = store::regions(&mut transaction, &sites).await?;
        let mut asks = Vec::new();
        let mut drafts = Vec::new();
        for (site_id, sign) in signs {
            let Some(region) = regions.get(site_id) else { continue };
            match sign {
                Sign::Online => drafts.extend(presence::online(&mut transaction, now_ms, site_id).await?),
                Sign::Offline => drafts.extend(presence::offline(&mut transaction, now_ms, site_id).await?),
                Sign::Beat(payload) => {
                    let Ok(beat) = Beat::parse(payload) else {
                        self.gauges.malformed.inc();
                        continue;
                    };
                    if let Some(nonce) = beat.clock_nonce {
                        self.outbox.asked(site_id, nonce);
                    }
                    let memory = (&mut self.beats, &mut self.lateness);
                    let found = beat::take_beat(&mut transaction, now_ms, memory, (site_id, region), &beat).await?;
                    asks.extend(found.0.into_iter().map(|ack| (site_id, ack)));
                    drafts.extend(found.1);
                }
            }
        }
        live::append(&mut transaction, now_ms, &drafts).await?;
        transaction.commit().await?;
        if !drafts.is_empty() {
            self.live.notify();
        }
        for (site_id, ask) in asks {
            self.send_ack(site_id, &ask).await;
        }
        Ok(())
    }

    /// An ack that does not arrive is no harm: the gateway sends again and is acked again.
    async fn send_ack(&self, site_id: &SiteId, ack: &Ack) {
        let mut buffer = [0; Ack::BYTES_MAX];
        let length = ack.emit(&mut buffer).expect("the buffer has the size of the longest ack");
        let payload = Bytes::copy_from_slice(&buffer[..length]);
        if let Err(error) = self.broker.publish(site_id, DownLeaf::UpAck, payload).await {
            tracing::debug!(%error, site.id = %site_id, "An ack could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(name: &str, bytes: usize) -> Incoming {
        let payload = Bytes::from(vec![0; bytes]);
        let site_id = SiteId::from_known(name);
        Incoming { site_id, payload, entries_max: usize::MAX, application: Application::Whole }
    }

    fn names(batches: &[Incoming]) -> Vec<&str> {
        batches.iter().map(|batch| batch.site_id.as_str()).collect()
    }

    #[test]
    fn an_alarm_waits_for_one_transaction_and_not_for_the_backlog() {
        let mut backlog = Backlog::default();
        for number in 0..20 {
            backlog.routine.push_back(batch(&format!("routine {number}"), TRANSACTION_BYTES_MAX / 8));
        }
        assert_eq!(backlog.batches().len(), 8, "a transaction is bounded");
        backlog.urgent.push_back(batch("urgent 1", 100));
        backlog.urgent.push_back(batch("urgent 2", 100));
        let next = backlog.batches();
        assert_eq!(names(&next)[..3], ["urgent 1", "urgent 2", "routine 8"]);
        assert_eq!(backlog.routine.len(), 20 + 2 - 8 - next.len());
    }

    #[test]
    fn a_press_is_seen_among_the_signs_of_a_whole_county() {
        let mut backlog = Backlog::default();
        for number in 0..2 * 13_215 {
            backlog.signs.push_back((SiteId::from_known(format!("site {number}")), Sign::Online));
        }
        assert!(backlog.has_room(), "what comes next is sorted, and may be urgent");
        backlog.routine.extend((0..BATCHES_MAX).map(|number| batch(&format!("routine {number}"), 1)));
        assert!(!backlog.has_room(), "it is bounded");
    }
}
