//! A county's gateways on one thread, each with its own connection and certificate and no more memory than that needs: what is
//! to be seen is the hub, which shares the machine with them.
//!
//! They dial, subscribe, send heartbeats, and press when they are told to; a batch that is not acknowledged is sent again, as real
//! gateways do. A blackout ends all connections at once; then all dial at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use rumqttc::{Connect, LastWill, Packet, PubAck, Publish, QoS, Subscribe, SubscribeFilter};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tongluo_protocols::event::{Beat, Family, JournalGauges, Press, StreamState, Streams, Trigger};
use tongluo_protocols::id::{BootId, DeviceKey, Epoch, Lane, Sequence, StreamKey};
use tongluo_protocols::link::{Ack, BATCH_BYTES_MAX, BatchWriter, ENTRY_BODY_BYTES_MAX, EntryView};
use tongluo_tests::clock;

use crate::gateways::Enrolled;
use crate::report::Samples;

/// Handshakes at once: enough to keep the hub busy, few enough that none waits for its time-out.
const HANDSHAKES: usize = 256;
/// Open files beside the connections.
const OTHER_FILES: u64 = 100;
/// As real gateways.
const BEAT_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_S: u16 = 60;
/// A batch that was not acknowledged for so long is sent again, as real gateways do.
const RESEND_AFTER: Duration = Duration::from_secs(2);
const PACKET_BYTES_MAX: usize = BATCH_BYTES_MAX + 4096;
/// A refused dial is repeated after this.
const REDIAL_AFTER: Duration = Duration::from_millis(200);

/// What all gateways together have got.
#[derive(Default)]
struct Tally {
    connected: AtomicUsize,
    refused: AtomicU64,
    pressed: AtomicU64,
    acked: AtomicU64,
    press_to_ack: Mutex<Samples>,
    changed: Notify,
}

/// The gateways, on a thread of their own until this is dropped.
pub(crate) struct Crowd {
    tally: Arc<Tally>,
    lit: watch::Sender<bool>,
    presses: Vec<mpsc::UnboundedSender<Instant>>,
}

impl Crowd {
    /// Prepares them; nobody dials yet.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn new(gateways: Vec<Enrolled>, port: u16) -> Result<Self> {
        let files = rlimit::increase_nofile_limit(u64::MAX)?;
        let needed = gateways.len() as u64 + OTHER_FILES;
        ensure!(files >= needed, "the system lets this program hold {files} files open, {needed} are needed");
        let tally = Arc::new(Tally::default());
        let (lit, is_lit) = watch::channel(false);
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let (mut presses, mut members) = (Vec::new(), Vec::new());
        for (number, enrolled) in gateways.into_iter().enumerate() {
            let (press, told) = mpsc::unbounded_channel();
            presses.push(press);
            members.push(Member::new(number, enrolled, port, told, Arc::clone(&tally))?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("crowd".to_owned()).spawn(move || {
            runtime.block_on(async {
                for member in members {
                    tokio::spawn(member.run(is_lit.clone(), Arc::clone(&handshakes)));
                }
                let mut until_dropped = is_lit;
                while until_dropped.changed().await.is_ok() {}
            });
        })?;
        Ok(Self { tally, lit, presses })
    }

    /// Lets all dial at once; answers how long it took until each was connected and subscribed.
    ///
    /// # Errors
    /// Not all are within `patience`.
    pub(crate) async fn connect(&self, patience: Duration) -> Result<Duration> {
        let begun = clock::now();
        self.lit.send_replace(true);
        self.reaches(&self.tally.connected, self.presses.len(), patience).await?;
        Ok(clock::now().duration_since(begun))
    }

    /// Ends all connections at once, without a farewell.
    ///
    /// # Errors
    /// They do not end within `patience`.
    pub(crate) async fn darken(&self, patience: Duration) -> Result<()> {
        self.lit.send_replace(false);
        let dark = async {
            while self.tally.connected.load(Ordering::Relaxed) > 0 {
                self.tally.changed.notified().await;
            }
        };
        tokio::time::timeout(patience, dark).await.context("connections do not end")
    }

    /// Presses so many a second for so long, each at another gateway, whether or not earlier ones have been acknowledged; then waits
    /// for the last acknowledgement.
    ///
    /// # Errors
    /// Some are not acknowledged within `patience`.
    pub(crate) async fn storm(&self, per_s: u32, seconds: u32, patience: Duration) -> Result<Samples> {
        *self.tally.press_to_ack.lock().unwrap_or_else(PoisonError::into_inner) = Samples::default();
        let begun = clock::now();
        let step = Duration::from_secs(1) / per_s;
        for number in 0..per_s * seconds {
            let due = begun + step * number;
            // Even an empty pause lasts until the timer's next millisecond: a storm that is late must not pause at all.
            let early = due.saturating_duration_since(clock::now());
            if !early.is_zero() {
                clock::pause(early).await;
            }
            self.tally.pressed.fetch_add(1, Ordering::Relaxed);
            let gateway = &self.presses[number as usize % self.presses.len()];
            gateway.send(due).ok().context("a gateway has ended")?;
        }
        let all_acked = async {
            while self.tally.acked.load(Ordering::Relaxed) < self.tally.pressed.load(Ordering::Relaxed) {
                self.tally.changed.notified().await;
            }
        };
        let (pressed, acked) = (&self.tally.pressed, &self.tally.acked);
        let waited = tokio::time::timeout(patience, all_acked).await;
        waited.with_context(|| format!("{acked:?} of {pressed:?} presses were acknowledged"))?;
        Ok(self.tally.press_to_ack.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Presses so far; each has been acknowledged when a storm has ended.
    pub(crate) fn pressed(&self) -> u64 {
        self.tally.pressed.load(Ordering::Relaxed)
    }

    /// How often the hub did not let a gateway in.
    pub(crate) fn refused(&self) -> u64 {
        self.tally.refused.load(Ordering::Relaxed)
    }

    async fn reaches(&self, count: &AtomicUsize, goal: usize, patience: Duration) -> Result<()> {
        let reached = async {
            while count.load(Ordering::Relaxed) < goal {
                self.tally.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(patience, reached).await;
        waited.with_context(|| format!("{count:?} of {goal} gateways are connected"))
    }
}

/// One gateway.
struct Member {
    enrolled: Enrolled,
    port: u16,
    topics: [String; 4],
    told: mpsc::UnboundedReceiver<Instant>,
    tally: Arc<Tally>,
    device: DeviceKey,
    boot_id: BootId,
    key: StreamKey,
    started: Instant,
    /// When its heartbeat falls, so that a county's are spread evenly.
    phase: Duration,
    head: Sequence,
    acked: Sequence,
    /// When presses that are not acknowledged were made, by sequence.
    pressed_at: HashMap<Sequence, Instant>,
    next_pkid: u16,
}

impl Member {
    fn new(
        number: usize,
        enrolled: Enrolled,
        port: u16,
        told: mpsc::UnboundedReceiver<Instant>,
        tally: Arc<Tally>,
    ) -> Result<Self> {
        let random = || getrandom::u64().context("the system gives no random numbers");
        let topics = ["up", "up/ack", "beat", "state"].map(|leaf| format!("tl/1/{}/{leaf}", enrolled.site_id));
        Ok(Self {
            enrolled,
            port,
            topics,
            told,
            tally,
            device: DeviceKey::zigbee(number as u64),
            boot_id: BootId::from_random(random()?),
            key: StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(random()?) },
            started: clock::now(),
            phase: Duration::from_millis(random()? % BEAT_EVERY.as_millis() as u64),
            head: 0,
            acked: 0,
            pressed_at: HashMap::new(),
            next_pkid: 0,
        })
    }

    /// Lives through light and dark, until the crowd is dropped.
    async fn run(mut self, mut is_lit: watch::Receiver<bool>, handshakes: Arc<Semaphore>) {
        while is_lit.wait_for(|lit| *lit).await.is_ok() {
            let permit = handshakes.acquire().await;
            let dialled = self.dial().await;
            drop(permit);
            let Ok(stream) = dialled else {
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
                clock::pause(REDIAL_AFTER).await;
                continue;
            };
            self.tally.connected.fetch_add(1, Ordering::Relaxed);
            self.tally.changed.notify_one();
            tokio::select! {
                // A connection that the hub ends is dialled anew.
                _ = self.live(stream) => {}
                _ = is_lit.wait_for(|lit| !*lit) => {}
            }
            self.tally.connected.fetch_sub(1, Ordering::Relaxed);
            self.tally.changed.notify_one();
        }
    }

    /// Connects, subscribes, says that it is on line, and waits until that was answered.
    async fn dial(&mut self) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        socket.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.enrolled.tls));
        let mut stream = connector.connect("127.0.0.1".try_into()?, socket).await?;
        let [_, up_ack, _, state] = &self.topics;
        let mut connect = Connect::new(self.enrolled.site_id.clone());
        connect.keep_alive = KEEP_ALIVE_S;
        connect.last_will = Some(LastWill::new(state, r#"{"online":false}"#, QoS::AtLeastOnce, true));
        let mut subscribe = Subscribe::new_many([SubscribeFilter::new(up_ack.clone(), QoS::AtLeastOnce)]);
        subscribe.pkid = 1;
        let mut output = BytesMut::new();
        write(&Packet::Connect(connect), &mut output)?;
        write(&Packet::Subscribe(subscribe), &mut output)?;
        stream.write_all(&output).await?;
        let mut input = BytesMut::with_capacity(64);
        loop {
            ensure!(stream.read_buf(&mut input).await? > 0, "the hub ended the connection");
            while let Ok(packet) = Packet::read(&mut input, PACKET_BYTES_MAX) {
                match packet {
                    Packet::ConnAck(ack) => {
                        ensure!(ack.code == rumqttc::ConnectReturnCode::Success, "refused: {ack:?}")
                    }
                    Packet::SubAck(_) => return Ok(stream),
                    _ => {}
                }
            }
        }
    }

    /// Beats, presses when told, and takes acknowledgements, until the connection ends.
    async fn live(&mut self, mut stream: TlsStream<TcpStream>) -> Result<()> {
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        self.beat(&mut output)?;
        self.send(&mut output)?;
        let mut beat_at = clock::now() + self.phase;
        let mut resend_at = clock::now() + RESEND_AFTER;
        loop {
            stream.write_all(&output).await?;
            output.clear();
            let (now, wakes_at) = (clock::now(), if self.acked < self.head { beat_at.min(resend_at) } else { beat_at });
            tokio::select! {
                read = stream.read_buf(&mut input) => {
                    ensure!(read? > 0, "the hub ended the connection");
                    self.take(&mut input, &mut output)?;
                }
                Some(at) = self.told.recv() => {
                    self.head += 1;
                    self.pressed_at.insert(self.head, at);
                    self.send(&mut output)?;
                    resend_at = clock::now() + RESEND_AFTER;
                }
                () = clock::pause(wakes_at.saturating_duration_since(now)) => {
                    if clock::now() >= beat_at {
                        beat_at += BEAT_EVERY;
                        self.beat(&mut output)?;
                    }
                    if clock::now() >= resend_at {
                        resend_at = clock::now() + RESEND_AFTER;
                        self.send(&mut output)?;
                    }
                }
            }
        }
    }

    fn take(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<()> {
        while let Ok(packet) = Packet::read(input, PACKET_BYTES_MAX) {
            let Packet::Publish(publish) = packet else { continue };
            if publish.qos == QoS::AtLeastOnce {
                write(&Packet::PubAck(PubAck::new(publish.pkid)), output)?;
            }
            let ack = Ack::parse(&publish.payload)?;
            ensure!(ack.key == self.key && ack.committed <= self.head, "an ack of something else: {ack:?}");
            let now = clock::now();
            for sequence in self.acked + 1..=ack.committed {
                let at = self.pressed_at.remove(&sequence).context("a press was acknowledged that was not made")?;
                let mut samples = self.tally.press_to_ack.lock().unwrap_or_else(PoisonError::into_inner);
                samples.add(now.duration_since(at));
                self.tally.acked.fetch_add(1, Ordering::Relaxed);
                self.tally.changed.notify_one();
            }
            self.acked = self.acked.max(ack.committed);
        }
        Ok(())
    }

    /// Sends every press that is not acknowledged.
    fn send(&mut self, output: &mut BytesMut) -> Result<()> {
        if self.acked == self.head {
            return Ok(());
        }
        let (mut buffer, mut body) = ([0; BATCH_BYTES_MAX], [0; ENTRY_BODY_BYTES_MAX]);
        let mut batch = BatchWriter::new(&mut buffer, self.key, self.acked + 1, self.head)?;
        for sequence in self.acked + 1..=self.head {
            let press = Press {
                device: self.device,
                family: Family::Zigbee2mqtt,
                trigger: Trigger::Sos,
                source_key: None,
                heard_ms: clock::utc_ms(),
                replayed: false,
                name: Some("button in the yard"),
                battery_percent: Some(100),
            };
            let length = press.emit(&mut body)?;
            let entry = EntryView {
                sequence,
                boot_id: self.boot_id,
                wall_ms: clock::utc_ms(),
                mono_ms: self.uptime_ms(),
                kind: Press::KIND,
                body: &body[..length],
            };
            if !batch.push(&entry)? {
                break;
            }
        }
        let payload = batch.finish().to_vec();
        self.next_pkid = self.next_pkid % u16::MAX + 1;
        let publish = Publish::new(self.topics[0].clone(), QoS::AtLeastOnce, payload);
        write(&Packet::Publish(Publish { pkid: self.next_pkid, ..publish }), output)
    }

    fn beat(&self, output: &mut BytesMut) -> Result<()> {
        let streams = [StreamState { key: self.key, oldest: 1, head: self.head }];
        let beat = Beat {
            boot_id: self.boot_id,
            uptime_ms: self.uptime_ms(),
            wall_ms: clock::utc_ms(),
            version: env!("CARGO_PKG_VERSION"),
            streams: Streams::new(&streams[..usize::from(self.head > 0)]),
            streams_held: u32::from(self.head > 0),
            journal: JournalGauges::default(),
            lan_connected: true,
            devices_count: 1,
            clock_nonce: None,
        };
        let mut buffer = [0; 4096];
        let length = beat.emit(&mut buffer)?;
        write(&Packet::Publish(Publish::new(self.topics[2].clone(), QoS::AtMostOnce, &buffer[..length])), output)
    }

    fn uptime_ms(&self) -> u64 {
        clock::now().duration_since(self.started).as_millis() as u64
    }
}

fn write(packet: &Packet, output: &mut BytesMut) -> Result<()> {
    packet.write(output, PACKET_BYTES_MAX)?;
    Ok(())
}
