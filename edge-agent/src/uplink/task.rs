//! The task between the sender machine, the journal and the connection to the hub.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rumqttc::{LastWill, MqttOptions, Publish, QoS, Transport};
use tokio::sync::{mpsc, watch};
use tongluo_protocols::id::{Sequence, StreamKey};
use tongluo_protocols::link::{Ack, BATCH_BYTES_MAX, BatchWriter, Sender, SenderConfig, SenderInput, SenderOutput};

use super::Topics;
use super::beat::{BEAT_MS, beat};
use super::down::Down;
use super::follow::Following;
use crate::clock::Clock;
use crate::fleet::{Identity, tls};
use crate::journal::Journal;
use crate::media::Calls;
use crate::mqtt::{self, Client, Connection, Happened};
use crate::order::Desk;

/// Shorter than the pause between beats, so that a quiet connection is really asked whether it lives: the client restarts this
/// timer whenever it sends anything.
const KEEP_ALIVE: Duration = Duration::from_secs(8);

/// How long the hub's broker may take nothing of ours before it is dialled again: a batch crosses even a poor mobile line in a few
/// seconds, and each one that is taken counts anew.
const TAKE_TIMEOUT_MS: u64 = 30_000;

/// Batches handed to the client and not yet taken by the broker. Four urgent ones and one routine one are the machine's own
/// bound; twice as many mean that the broker has stopped taking.
const IN_FLIGHT_MAX: u32 = 10;

/// The longest message from the hub: a batch and its topic, with room to spare.
const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 4096;

/// Messages that arrived and were not looked at yet. The hub sends one batch at a time.
const INBOX_MAX: usize = 64;

/// How long the farewell may take when the program ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// What other rooms know about the gateway's health; shown in each beat.
#[derive(Default)]
pub(crate) struct Vitals {
    pub(crate) lan_connected: Cell<bool>,
    pub(crate) devices_count: Cell<u32>,
    /// Whether there is a line to the county; for those who answer a press.
    pub(crate) hub_connected: watch::Sender<bool>,
}

/// The uplink of an enrolled gateway.
pub(crate) struct Uplink {
    clock: Clock,
    journal: Journal,
    vitals: Rc<Vitals>,
    topics: Topics,
    client: Client,
    sender: Sender,
    following: Following,
    down: Down,
    desk: Desk,
    calls: Calls,
    connected: bool,
    beat_at_ms: Option<u64>,
    /// Whether the present absence of the hub was logged.
    absence_told: bool,
}

impl Uplink {
    /// Prepares the connection that the identity describes.
    pub(crate) fn new(
        identity: &Identity,
        journal: Journal,
        desk: Desk,
        vitals: Rc<Vitals>,
        calls: Calls,
        clock: Clock,
    ) -> anyhow::Result<(Self, Connection)> {
        let topics = Topics::of(&identity.site_id);
        let mut options = MqttOptions::new(identity.site_id.clone(), (identity.mqtt_host.clone(), identity.mqtt_port));
        let tls = tls::mutual(identity, clock)?;
        options.set_transport(Transport::tls_with_config(tls.into()));
        // The journal is the session: whatever the broker kept for us would only come twice.
        options.set_clean_session(true);
        options.set_last_will(LastWill::new(&topics.state, r#"{"online":false}"#, QoS::AtLeastOnce, true));
        options.set_max_packet_size(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
        mqtt::keep_alive(&mut options, KEEP_ALIVE);
        let (client, connection) = Connection::new(options, clock, TAKE_TIMEOUT_MS);
        let uplink = Self {
            clock,
            journal,
            vitals,
            topics,
            client,
            sender: Sender::new(SenderConfig::default()),
            following: Following::default(),
            down: Down::default(),
            desk,
            calls,
            connected: false,
            beat_at_ms: None,
            absence_told: false,
        };
        Ok((uplink, connection))
    }

    /// Works until `stop` is set, then says farewell.
    pub(crate) async fn run(mut self, mut connection: Connection, mut stop: watch::Receiver<bool>) {
        let (events, mut inbox) = mpsc::channel(INBOX_MAX);
        let poll = tokio::task::spawn_local(async move {
            while let Some(happened) = connection.next().await {
                if events.send(happened).await.is_err() {
                    break;
                }
            }
        });
        self.desk.resume().await;
        let shelf = self.journal.shelf().clone();
        loop {
            self.follow().await;
            tokio::select! {
                happened = inbox.recv() => match happened {
                    Some(happened) => self.happened(happened).await,
                    None => break,
                },
                () = shelf.changed() => {}
                () = self.clock.until(self.sender.next_deadline()) => {
                    self.sender.handle(self.clock.mono_ms(), SenderInput::Tick);
                }
                () = self.clock.until(self.beat_at_ms) => self.beat(),
                _ = stop.wait_for(|stop| *stop) => {
                    self.farewell();
                    // The client closes the connection once everything is out.
                    drop(self.client);
                    inbox.close();
                    let _ = tokio::time::timeout(FAREWELL, poll).await;
                    return;
                }
            }
        }
    }

    async fn happened(&mut self, happened: Happened) {
        let now_ms = self.clock.mono_ms();
        match happened {
            Happened::Connected { .. } => {
                tracing::info!("connected to the hub");
                self.connected = true;
                self.vitals.hub_connected.send_replace(true);
                self.absence_told = false;
                self.greet();
                self.sender.handle(now_ms, SenderInput::Connected);
            }
            Happened::Disconnected { reason } => {
                if !std::mem::replace(&mut self.absence_told, true) {
                    tracing::warn!(
                        hub.reason = reason,
                        "the hub cannot be reached: presses are kept here and sent later"
                    );
                }
                self.connected = false;
                self.vitals.hub_connected.send_if_modified(|connected| std::mem::replace(connected, false));
                self.beat_at_ms = None;
                self.sender.handle(now_ms, SenderInput::Disconnected);
            }
            Happened::Message(publish) => self.message(publish).await,
            Happened::Subscribed { granted: true } => {}
            Happened::Subscribed { granted: false } => {
                tracing::error!("the hub's broker refuses this gateway its own topics: nothing will be acknowledged");
            }
        }
    }

    /// First things on a new connection: who we are, what we want to hear, how we are.
    fn greet(&mut self) {
        for topic in [&self.topics.up_ack, &self.topics.down, &self.topics.call] {
            self.client.subscribe([topic.as_str()]);
        }
        let state = format!(r#"{{"online":true,"boot":"{}"}}"#, self.journal.boot_id());
        self.publish_state(state);
        self.beat();
    }

    fn publish_state(&self, state: String) {
        let _ = self.client.publish_retained(&self.topics.state, state);
    }

    fn beat(&mut self) {
        let payload = beat(self.clock, &self.journal, &self.sender, &self.vitals, self.desk.question());
        let _ = self.client.publish(&self.topics.beat, payload, QoS::AtMostOnce);
        self.beat_at_ms = Some(self.clock.mono_ms() + BEAT_MS);
    }

    fn farewell(&mut self) {
        if self.connected {
            self.publish_state(r#"{"online":false}"#.to_owned());
            self.client.disconnect(Some(FAREWELL));
        } else {
            self.client.disconnect(None);
        }
    }

    async fn message(&mut self, publish: Publish) {
        let topic = publish.topic.as_ref();
        if topic == self.topics.up_ack.as_bytes() {
            match Ack::parse(&publish.payload) {
                Ok(ack) => self.sender.handle(self.clock.mono_ms(), SenderInput::Acked(ack)),
                Err(error) => tracing::warn!(up.error = %error, "an acknowledgement of the hub's cannot be read"),
            }
        } else if topic == self.topics.call.as_bytes() {
            self.calls.pass(&publish.payload);
        } else if topic == self.topics.down.as_bytes()
            && let Some((ack, orders)) = self.down.take(&self.journal, &publish.payload).await
        {
            let mut buffer = vec![0; Ack::BYTES_MAX];
            let length = ack.emit(&mut buffer).expect("a buffer of this length takes any ack");
            buffer.truncate(length);
            let _ = self.client.publish(&self.topics.down_ack, buffer, QoS::AtLeastOnce);
            self.desk.take(ack.key, &orders).await;
        }
    }

    /// Tells the machine what is new in the journal, and does what it asks for.
    async fn follow(&mut self) {
        let streams = self.journal.shelf().streams();
        self.following.update(&mut self.sender, self.clock.mono_ms(), &streams);
        while let Some(output) = self.sender.poll() {
            match output {
                SenderOutput::Send { key, from } => {
                    let through = self.send(key, from).await;
                    self.sender.handle(self.clock.mono_ms(), SenderInput::Sent { key, through });
                }
                SenderOutput::Committed { key, through } => self.journal.acked(key, through),
            }
        }
    }

    /// Publishes one batch; answers the last sequence in it, `from - 1` if there was nothing to send or no room to.
    async fn send(&mut self, key: StreamKey, from: Sequence) -> Sequence {
        let nothing = from - 1;
        if self.client.untaken_count() >= IN_FLIGHT_MAX {
            return nothing;
        }
        let Some(stream) = self.sender.streams().find(|state| state.key == key) else {
            return nothing;
        };
        let entries = self.journal.read(key, from).await;
        let mut buffer = vec![0; BATCH_BYTES_MAX];
        let mut batch = BatchWriter::new(&mut buffer, key, stream.oldest, stream.head)
            .expect("a buffer of this length takes any batch");
        for entry in &entries {
            match batch.push(&entry.view()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(up.error = %error, up.sequence = entry.sequence, "an entry cannot be sent");
                    break;
                }
            }
        }
        let through = batch.last().unwrap_or(nothing);
        let payload = batch.finish().to_vec();
        self.client.publish(&self.topics.up, payload, QoS::AtLeastOnce).map_or(nothing, |_| through)
    }
}
