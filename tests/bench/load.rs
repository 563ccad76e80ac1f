//! Many gateways that come back with full journals: each sends a batch of its routine lane and one of its urgent lane, waits
//! until the hub has acknowledged both, and sends the next. One entry in ten is a press.
//!
//! The bytes are those of real gateways, made with the same library; the journals are not on disk, because the load shares
//! the machine with the hub that it loads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS, TlsConfiguration, Transport};
use tokio::task::JoinSet;
use tongluo_protocols::event::{Beat, Family, JournalGauges, Press, StreamState, Streams, Supervision, Trigger};
use tongluo_protocols::id::{BootId, DeviceKey, Epoch, Lane, Sequence, StreamKey};
use tongluo_protocols::link::{Ack, BATCH_BYTES_MAX, BatchWriter, ENTRY_BODY_BYTES_MAX, EntryView};
use tongluo_tests::clock;

use crate::gateways::Enrolled;
use crate::report::Samples;

/// Devices of one gateway.
const DEVICES: usize = 40;
/// Routine entries for each press.
const ROUTINE_PER_PRESS: u64 = 9;
/// A round's two batches, a heartbeat, and the subscription.
const REQUESTS_MAX: usize = 8;
/// As real gateways.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// Rounds after which a gateway's devices are known and its connection is warm.
const WARM_ROUNDS: u64 = 2;
const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 4096;

/// What all gateways together have got.
#[derive(Default)]
pub(crate) struct Tally {
    /// Entries that the hub has acknowledged.
    pub(crate) entries: AtomicU64,
    /// Of those, presses.
    pub(crate) presses: AtomicU64,
    /// Gateways that are through their first rounds.
    pub(crate) warm: AtomicUsize,
    /// Whether how long presses take is noted.
    pub(crate) noting: AtomicBool,
    stopping: AtomicBool,
    press_to_ack: Mutex<Samples>,
}

impl Tally {
    /// How long urgent batches took from the gateway to the hub's acknowledgement, while it was noted.
    pub(crate) fn press_to_ack(&self) -> Samples {
        self.press_to_ack.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The running gateways, on a thread of their own.
pub(crate) struct Load {
    pub(crate) tally: Arc<Tally>,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    /// Connects every gateway to the hub's broker and lets it send.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(gateways: Vec<Enrolled>, port: u16) -> Result<Self> {
        let tally = Arc::new(Tally::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&tally);
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for (number, enrolled) in gateways.into_iter().enumerate() {
                    running.spawn(Gateway::new(number, &enrolled, port, Arc::clone(&shared))?.run());
                }
                while let Some(ended) = running.join_next().await {
                    ended??;
                }
                Ok(())
            })
        })?;
        Ok(Self { tally, thread })
    }

    /// Fails if it has ended before its time.
    ///
    /// # Errors
    /// Why it has ended.
    pub(crate) fn check(self) -> Result<Self> {
        if self.thread.is_finished() {
            self.stop()?;
            anyhow::bail!("the load has ended by itself");
        }
        Ok(self)
    }

    /// Lets every gateway finish its round; then nothing is under way any more.
    ///
    /// # Errors
    /// A gateway has failed.
    pub(crate) fn stop(self) -> Result<()> {
        self.tally.stopping.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load has panicked"))?
    }
}

/// A lane of one gateway.
struct Journal {
    key: StreamKey,
    /// The last entry that was sent.
    head: Sequence,
    acked: Sequence,
    sent_at: Instant,
}

impl Journal {
    fn new(lane: Lane) -> Result<Self> {
        let epoch = Epoch::from_random(random()?);
        Ok(Self { key: StreamKey { lane, epoch }, head: 0, acked: 0, sent_at: clock::now() })
    }

    fn state(&self) -> StreamState {
        StreamState { key: self.key, oldest: self.acked + 1, head: self.head }
    }
}

struct Gateway {
    client: AsyncClient,
    events: EventLoop,
    tally: Arc<Tally>,
    topics: [String; 3],
    devices: Vec<DeviceKey>,
    boot_id: BootId,
    started: Instant,
    beat_at: Instant,
    urgent: Journal,
    routine: Journal,
    rounds: u64,
}

impl Gateway {
    fn new(number: usize, enrolled: &Enrolled, port: u16, tally: Arc<Tally>) -> Result<Self> {
        let site_id = &enrolled.site_id;
        let mut options = MqttOptions::new(site_id.clone(), ("127.0.0.1", port));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&enrolled.tls))));
        options.set_keep_alive(30);
        options.set_clean_session(true);
        options.set_max_packet_size(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
        let (client, events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let now = clock::now();
        Ok(Self {
            client,
            events,
            tally,
            topics: ["up", "up/ack", "beat"].map(|leaf| format!("tl/1/{site_id}/{leaf}")),
            devices: (0..DEVICES).map(|device| DeviceKey::zigbee((number * 1000 + device) as u64)).collect(),
            boot_id: BootId::from_random(random()?),
            started: now,
            beat_at: now,
            urgent: Journal::new(Lane::Urgent)?,
            routine: Journal::new(Lane::Routine)?,
            rounds: 0,
        })
    }

    async fn run(mut self) -> Result<()> {
        loop {
            match self.events.poll().await.context("a gateway of the load lost its connection")? {
                Event::Incoming(Packet::ConnAck(_)) => {
                    self.client.try_subscribe(self.topics[1].clone(), QoS::AtLeastOnce)?;
                }
                Event::Incoming(Packet::SubAck(_)) => self.send_round()?,
                Event::Incoming(Packet::Publish(publish)) => {
                    self.acknowledged(&Ack::parse(&publish.payload)?)?;
                    if self.urgent.acked < self.urgent.head || self.routine.acked < self.routine.head {
                        continue;
                    }
                    self.rounds += 1;
                    if self.rounds == WARM_ROUNDS {
                        self.tally.warm.fetch_add(1, Ordering::Relaxed);
                    }
                    if self.tally.stopping.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    self.send_round()?;
                }
                _ => {}
            }
        }
    }

    fn acknowledged(&mut self, ack: &Ack) -> Result<()> {
        ensure!(!ack.gap, "the hub lacks something that was sent: {ack:?}");
        let journal = if ack.key.lane == Lane::Urgent { &mut self.urgent } else { &mut self.routine };
        ensure!(ack.key == journal.key && ack.committed <= journal.head, "an ack of something else: {ack:?}");
        let news = ack.committed.saturating_sub(journal.acked);
        journal.acked += news;
        self.tally.entries.fetch_add(news, Ordering::Relaxed);
        if ack.key.lane == Lane::Urgent {
            self.tally.presses.fetch_add(news, Ordering::Relaxed);
            if self.tally.noting.load(Ordering::Relaxed) {
                let took = clock::now().duration_since(journal.sent_at);
                self.tally.press_to_ack.lock().unwrap_or_else(PoisonError::into_inner).add(took);
            }
        }
        Ok(())
    }

    /// As much of the routine lane as a batch holds, and the presses that belong to it.
    fn send_round(&mut self) -> Result<()> {
        self.send(Lane::Routine, u64::MAX)?;
        let presses = (self.routine.head / ROUTINE_PER_PRESS).saturating_sub(self.urgent.head);
        self.send(Lane::Urgent, presses)?;
        if clock::now() >= self.beat_at {
            self.beat_at += BEAT_EVERY;
            self.beat()?;
        }
        Ok(())
    }

    fn send(&mut self, lane: Lane, entries_max: u64) -> Result<()> {
        let journal = if lane == Lane::Urgent { &self.urgent } else { &self.routine };
        let (mut buffer, mut body) = ([0; BATCH_BYTES_MAX], [0; ENTRY_BODY_BYTES_MAX]);
        let first = journal.head + 1;
        // The head is at least what follows in the batch; a gateway that comes back has much more.
        let head = first + entries_max.min(u64::from(u16::MAX)) - 1;
        let mut batch = BatchWriter::new(&mut buffer, journal.key, first, head)?;
        let mut sequence = first;
        while sequence - first < entries_max {
            let (kind, length) = self.write(lane, sequence, &mut body)?;
            let entry = EntryView {
                sequence,
                boot_id: self.boot_id,
                wall_ms: clock::utc_ms(),
                mono_ms: clock::now().duration_since(self.started).as_millis() as u64,
                kind,
                body: &body[..length],
            };
            if !batch.push(&entry)? {
                break;
            }
            sequence += 1;
        }
        let payload = batch.finish().to_vec();
        self.client.try_publish(self.topics[0].clone(), payload, PublishOptions::at_least_once())?;
        let journal = if lane == Lane::Urgent { &mut self.urgent } else { &mut self.routine };
        journal.head = sequence - 1;
        journal.sent_at = clock::now();
        Ok(())
    }

    /// The body of an entry: devices press and report in turn.
    fn write(&self, lane: Lane, sequence: Sequence, body: &mut [u8]) -> Result<(u16, usize)> {
        let index = sequence as usize % self.devices.len();
        let (device, family, heard_ms) = (self.devices[index], Family::Zigbee2mqtt, clock::utc_ms());
        let name = Some("button in the yard");
        if lane == Lane::Urgent {
            let (trigger, battery_percent) = (Trigger::Sos, Some(100));
            let press =
                Press { device, family, trigger, source_key: None, heard_ms, replayed: false, name, battery_percent };
            return Ok((Press::KIND, press.emit(body)?));
        }
        let link_quality = Some((100 + sequence % 50) as u8);
        let heard = Supervision::heard(device, family, heard_ms);
        let supervision = Supervision { name, battery_percent: Some(100), link_quality, ..heard };
        Ok((Supervision::KIND, supervision.emit(body)?))
    }

    fn beat(&mut self) -> Result<()> {
        let streams = [self.urgent.state(), self.routine.state()];
        let beat = Beat {
            boot_id: self.boot_id,
            uptime_ms: clock::now().duration_since(self.started).as_millis() as u64,
            wall_ms: clock::utc_ms(),
            version: env!("CARGO_PKG_VERSION"),
            streams: Streams::new(&streams),
            streams_held: streams.len() as u32,
            journal: JournalGauges::default(),
            lan_connected: true,
            devices_count: self.devices.len() as u32,
            clock_nonce: None,
        };
        let mut buffer = [0; 4096];
        let length = beat.emit(&mut buffer)?;
        let payload = buffer[..length].to_vec();
        self.client.try_publish(self.topics[2].clone(), payload, PublishOptions::at_most_once())?;
        Ok(())
    }
}

fn random() -> Result<u64> {
    getrandom::u64().context("the system gives no random numbers")
}
