//! The intake: from the broker's queue to committed transactions, and the acknowledgements back.
//!
//! One transaction takes whatever has arrived while the one before it was being synced to disk: a lone press commits at
//! once, a thousand gateways at once share a few syncs. Presence and heartbeats wait until the batches beside them are
//! through, and come in small transactions, because an alarm must not wait for them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tongluo_protocols::event::Beat;
use tongluo_protocols::link::{Ack, BatchView};

use super::beat::{self, Beats};
use super::gauges::IntakeGauges;
use super::poison;
use super::store;
use super::take::{Application, Incoming, Lateness};
use crate::broker::{Arrival, Arrivals, Broker, DownLeaf, UpLeaf};
use crate::clock;
use crate::fleet::presence;
use crate::ids::SiteId;
use crate::live::Live;
use crate::store::Store;

/// Arrivals in one round. A full round of presses takes some 30 ms, which is what an alarm behind it waits.
const ARRIVALS_PER_ROUND_MAX: usize = 1_024;
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

/// What arrived together.
#[derive(Default)]
struct Round {
    incoming: Vec<Incoming>,
    signs: Vec<(SiteId, Sign)>,
}

impl Intake {
    /// An intake; nothing is taken until [`Intake::run`] is called.
    pub fn new(store: Store, live: Live, broker: Arc<Broker>, late_after_ms: i64) -> Self {
        Self {
            store,
            live,
            broker,
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
        let mut waiting = Vec::with_capacity(ARRIVALS_PER_ROUND_MAX);
        while arrivals.recv_many(&mut waiting, ARRIVALS_PER_ROUND_MAX).await > 0 {
            let round = self.sort(&mut waiting);
            if let Err(error) = self.take_batches(round.incoming).await {
                self.rest_after(&error, "The database fails; batches are not acknowledged and gateways send again")
                    .await;
            }
            for signs in round.signs.chunks(BEATS_PER_TRANSACTION_MAX) {
                // A change of presence is told once, so it is tried until it is written.
                while let Err(error) = self.take_signs(signs).await {
                    self.rest_after(&error, "The database fails; presence waits").await;
                }
            }
        }
    }

    async fn rest_after(&self, error: &sqlx::Error, sentence: &'static str) {
        self.gauges.failures.inc();
        tracing::error!(%error, "{sentence}");
        clock::pause(REST_AFTER_FAILURE).await;
    }

    fn sort(&self, waiting: &mut Vec<Arrival>) -> Round {
        let mut round = Round::default();
        for arrival in waiting.drain(..) {
            match arrival {
                Arrival::Message { site, leaf: UpLeaf::Up, payload } => self.sort_batch(&mut round, site, payload),
                Arrival::Message { site, leaf: UpLeaf::Beat, payload } => round.signs.push((site, Sign::Beat(payload))),
                Arrival::Online { site } => round.signs.push((site, Sign::Online)),
                Arrival::Offline { site } => round.signs.push((site, Sign::Offline)),
                // Presence comes from the broker itself, and there are no orders yet whose acks could come.
                Arrival::Message { leaf: UpLeaf::State | UpLeaf::DownAck, .. } => {}
            }
        }
        round
    }

    fn sort_batch(&self, round: &mut Round, site_id: SiteId, payload: Bytes) {
        match BatchView::parse(&payload) {
            Ok(_) => {
                self.gauges.batches.inc();
                let application = Application::Whole;
                round.incoming.push(Incoming { site_id, payload, entries_max: usize::MAX, application });
            }
            Err(error) => {
                // Nothing to keep: without an envelope there is no entry. The sender has it and will be heard by its beats.
                self.gauges.malformed.inc();
                tracing::warn!(site.id = %site_id, bytes = payload.len(), %error, "A batch without a readable envelope");
            }
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
                    let memory = (&mut self.beats, &mut self.lateness);
                    let found = beat::take_beat(&mut transaction, now_ms, memory, (site_id, region), &beat).await?;
                    asks.extend(found.0.into_iter().map(|ack| (site_id, ack)));
                    drafts.extend(found.1);
                }
            }
        }
        beat::finish(&mut transaction, now_ms, &drafts).await?;
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
