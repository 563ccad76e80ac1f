//! The task between the village's broker, the machine and the journal.

use std::rc::Rc;
use std::time::Duration;

use rumqttc::{AckMode, MqttOptions, Publish, QoS};
use tokio::sync::{mpsc, watch};
use tongluo_protocols::event::code;

use super::confirm::{Committing, Confirmer, Pressed};
use super::machine::{Effect, Machine, Message, Now, REDELIVERY, fault};
use super::replay::{MARK_TOPIC, Replay};
use super::tell::Teller;
use crate::clock::Clock;
use crate::config::LanConfig;
use crate::journal::{Fact, Journal, Memory};
use crate::mqtt::{self, Client, Connection, Happened, Session};
use crate::uplink::Vitals;

/// Our name at the village's broker. It must not change: under it the broker keeps messages while we are away.
const CLIENT_ID: &str = "tongluo-edge";

/// What is listened to: Zigbee2MQTT with everything below it, `ChirpStack`'s events, and our own mark.
const SUBSCRIPTIONS: [&str; 3] = ["zigbee2mqtt/#", "application/+/device/+/event/+", MARK_TOPIC];

/// The longest message that is read: Zigbee2MQTT's list of a thousand devices has some megabytes. A longer one closes the
/// connection, so a village's broker should refuse it (`message_size_limit`).
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long confirmations may wait for the village's broker, which is one hop away, before it is dialled again.
const TAKE_TIMEOUT_MS: u64 = 5_000;

/// The village's network is local: a broker that is silent for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long the broker may be away before that is a fault: restarts are none.
const ABSENCE_MS: u64 = 5_000;

/// The field: listens to the village's broker.
pub(crate) struct Field {
    clock: Clock,
    journal: Journal,
    vitals: Rc<Vitals>,
    machine: Machine,
    client: Client,
    /// Messages whose entries are being committed, in the order in which they came.
    committing: mpsc::UnboundedSender<Committing>,
    /// The present connection, while there is one, for those who answer on it.
    line: watch::Sender<Option<Session>>,
    replay: Replay,
    away_since_ms: Option<u64>,
    /// Whether the hub knows the broker as away; `None` before it was told anything.
    told_away: Option<bool>,
    absence_told: bool,
}

impl Field {
    /// Prepares the connection to the village's broker.
    pub(crate) fn new(
        config: &LanConfig,
        credentials: Option<(String, String)>,
        journal: Journal,
        memory: Memory,
        vitals: Rc<Vitals>,
        clock: Clock,
    ) -> (Self, Connection, Confirmer) {
        let mut options = MqttOptions::new(CLIENT_ID, (config.host.clone(), config.port));
        // The broker keeps messages for us while we are away, and until we acknowledge them.
        options.set_clean_session(false);
        options.set_ack_mode(AckMode::Manual);
        options.set_max_packet_size(MESSAGE_BYTES_MAX, 64 * 1024);
        if let Some((username, password)) = credentials {
            options.set_credentials(username, password);
        }
        mqtt::keep_alive(&mut options, KEEP_ALIVE);
        let (client, connection) = Connection::new(options, clock, TAKE_TIMEOUT_MS);
        let (committing, inbox) = mpsc::unbounded_channel();
        let (line, follow) = watch::channel(None);
        let confirmer = Confirmer::new(inbox, client.clone(), follow, clock);
        let field = Self {
            machine: Machine::new(config.supervision_interval_s, memory),
            clock,
            journal,
            vitals,
            client,
            committing,
            line,
            replay: Replay::default(),
            away_since_ms: None,
            told_away: None,
            absence_told: false,
        };
        field.count_devices();
        (field, connection, confirmer)
    }

    /// For rooms that have something to say in the village's network.
    pub(crate) fn teller(&self) -> Teller {
        Teller { client: self.client.clone(), line: self.line.subscribe() }
    }

    /// Listens until `stop` is set.
    pub(crate) async fn run(mut self, mut connection: Connection, mut stop: watch::Receiver<bool>) {
        loop {
            // Stopping abandons the poll half-way, which is safe only because nothing is polled after it.
            let happened = tokio::select! {
                happened = connection.next() => happened,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match happened {
                Some(Happened::Connected { session_present }) => self.connected(connection.session(), session_present),
                Some(Happened::Disconnected { reason }) => self.disconnected(&reason),
                Some(Happened::Message(publish)) => {
                    self.message(&publish, connection.session());
                    self.journal.has_room().await;
                }
                Some(Happened::Subscribed { granted: true }) => tracing::info!("the village's devices are listened to"),
                Some(Happened::Subscribed { granted: false }) => {
                    tracing::error!("the village's broker refuses the devices' topics: let this user read them");
                }
                None => return,
            }
        }
    }

    fn connected(&mut self, session: Session, session_present: bool) {
        tracing::info!(lan.session_present = session_present, "connected to the village's broker");
        self.client.subscribe(SUBSCRIPTIONS);
        self.line.send_replace(Some(session));
        self.vitals.lan_connected.set(true);
        self.away_since_ms = None;
        self.absence_told = false;
        if session_present {
            let mark = mark();
            // Behind the subscription and at its quality of service, so that it comes in the order of everything else.
            drop(self.client.publish(MARK_TOPIC, mark.as_str(), QoS::AtLeastOnce));
            self.replay.returned(self.clock.mono_ms(), mark);
        } else {
            // A broker that has forgotten us counts its messages anew: equal numbers mean nothing any more.
            self.replay.began();
            self.journal.remember_lazily(Fact::SettledAll(REDELIVERY));
        }
        self.tell_away(false);
    }

    fn disconnected(&mut self, reason: &str) {
        let now_ms = self.clock.mono_ms();
        self.line.send_replace(None);
        self.vitals.lan_connected.set(false);
        let since_ms = *self.away_since_ms.get_or_insert(now_ms);
        if !std::mem::replace(&mut self.absence_told, true) {
            tracing::warn!(lan.reason = reason, "the village's broker cannot be reached: no device is heard");
        }
        if now_ms.saturating_sub(since_ms) >= ABSENCE_MS {
            self.tell_away(true);
        }
    }

    fn tell_away(&mut self, away: bool) {
        if self.told_away.replace(away) == Some(away) {
            return;
        }
        let detail = if away { "the village's broker cannot be reached" } else { "the village's broker is connected" };
        if let Effect::Append(draft) = fault("lan", code::LAN_DISCONNECTED, detail, away) {
            drop(self.journal.append(draft));
        }
    }

    fn message(&mut self, publish: &Publish, session: Session) {
        let now = Now { wall_ms: self.clock.utc_ms(), mono_ms: self.clock.mono_ms() };
        let topic = String::from_utf8_lossy(&publish.topic);
        if topic == MARK_TOPIC {
            self.replay.heard(&publish.payload);
        }
        let message = Message {
            topic: &topic,
            payload: &publish.payload,
            retained: publish.retain,
            redelivered: publish.dup,
            replayed: publish.dup || self.replay.may_be_kept(now.mono_ms),
            packet_id: publish.pkid,
        };
        let ack = self.client.prepare_ack(publish).map(|ack| (ack, session));
        let mut committing = Committing { entries: Vec::new(), facts: Vec::new(), press: None, ack };
        for effect in self.machine.handle(now, &message) {
            match effect {
                Effect::Press { draft, device, source_key } => {
                    let receipt = self.journal.append(draft);
                    committing.press = Some(Pressed { receipt, device, source_key });
                }
                Effect::Append(draft) => {
                    committing.entries.push(self.journal.append(draft));
                }
                Effect::Remember(fact) => committing.facts.push(self.journal.remember(fact)),
            }
        }
        self.count_devices();
        // Nobody waits for the entries of a message that needs neither an acknowledgement nor a confirmation.
        if committing.ack.is_some() || committing.press.is_some() {
            let _ = self.committing.send(committing);
        }
    }

    fn count_devices(&self) {
        let count = u32::try_from(self.machine.devices_count()).unwrap_or(u32::MAX);
        self.vitals.devices_count.set(count);
    }
}

/// A word that nobody else says.
fn mark() -> String {
    format!("{:016x}", getrandom::u64().expect("the system gives random numbers"))
}
