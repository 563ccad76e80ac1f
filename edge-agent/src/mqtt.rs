//! An MQTT connection that comes back by itself: the only place that knows the client library.
//!
//! What the library cannot be relied upon for is not asked of it. It keeps nothing over a restart; after a broker had come back
//! with a session of before, its window of unacknowledged messages was once seen to stay shut for ever. So nothing of ours outlives its
//! connection: what the broker had not taken is handed back as failed, and whoever wanted it said says it again; acknowledgements
//! belong to the connection that their message came on ([`Session`]); and a broker that takes nothing of ours for some time is left
//! and dialled again. Its poll is cancelled only where the connection is given up: one task polls it and does nothing else.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, ManualAck, MqttOptions, NetworkOptions, Publish,
    PublishNotice, PublishOptions, QoS, SubscribeFilterInput, SubscribeReasonCode,
};
use tokio::sync::Notify;

use crate::clock::Clock;

/// The first and the longest pause before connecting again.
const PAUSE_MS_MIN: u64 = 200;
const PAUSE_MS_MAX: u64 = 5_000;

/// A connection that lived for less is taken for another failed attempt: two programs that share a client id would otherwise
/// throw each other out as fast as they can.
const LIVED_MS_MIN: u64 = 2_000;

/// How long the broker may take to accept a connection, on a slow mobile line.
const CONNECT_TIMEOUT_S: u64 = 10;

/// Which connection, counted from the program's start. An acknowledgement must not outlive the connection of its message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Session(u64);

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum Happened {
    /// Connected; whether the broker still knew us.
    Connected { session_present: bool },
    /// The connection, or an attempt at one, failed.
    Disconnected { reason: String },
    /// A message arrived.
    Message(Publish),
    /// The broker answered a subscription: whether it grants it.
    Subscribed { granted: bool },
}

/// The half of a connection that speaks. Copies speak on the same connection.
#[derive(Clone)]
pub(crate) struct Client {
    client: AsyncClient,
    untaken: Rc<Untaken>,
}

impl Client {
    /// Publishes. At QoS 1 the notice comes true once the broker has taken the message, and fails when the connection ends before.
    /// `None` once the connection was closed by us.
    pub(crate) fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>, qos: QoS) -> Option<PublishNotice> {
        self.hand_in(topic, payload.into(), qos, false)
    }

    /// Publishes what the broker keeps, to tell it to whoever comes later.
    pub(crate) fn publish_retained(&self, topic: &str, payload: impl Into<Vec<u8>>) -> Option<PublishNotice> {
        self.hand_in(topic, payload.into(), QoS::AtLeastOnce, true)
    }

    fn hand_in(&self, topic: &str, payload: Vec<u8>, qos: QoS, retained: bool) -> Option<PublishNotice> {
        let options = PublishOptions::new(qos).retain(retained);
        let notice = self.client.try_publish_tracked(topic, payload, options).ok()?;
        if qos != QoS::AtMostOnce {
            self.untaken.add();
        }
        Some(notice)
    }

    /// How many publications of QoS 1 the broker has not taken yet.
    pub(crate) fn untaken_count(&self) -> u32 {
        self.untaken.count.get()
    }

    /// Subscribes at QoS 1; the answer is [`Happened::Subscribed`].
    pub(crate) fn subscribe<const N: usize>(&self, filters: [&str; N]) {
        let filters = filters.map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce));
        // Fails only for a connection that we have closed.
        let _ = self.client.try_subscribe_many(filters);
    }

    /// What acknowledges a message, `None` if nobody waits for that.
    pub(crate) fn prepare_ack(&self, message: &Publish) -> Option<ManualAck> {
        self.client.prepare_ack(message)
    }

    /// Acknowledges a message of the present connection.
    pub(crate) fn acknowledge(&self, ack: ManualAck) {
        let _ = self.client.try_manual_ack(ack);
    }

    /// Ends the connection for good: at once, or after what was published has been taken, but within `farewell`.
    pub(crate) fn disconnect(&self, farewell: Option<Duration>) {
        let _ = match farewell {
            Some(farewell) => self.client.try_disconnect_with_timeout(farewell),
            None => self.client.try_disconnect_now(),
        };
    }
}

/// What was published at QoS 1 and not yet taken by the broker.
struct Untaken {
    clock: Clock,
    count: Cell<u32>,
    /// When the broker last took something, or the waiting began.
    since_ms: Cell<u64>,
    begun: Notify,
}

impl Untaken {
    fn add(&self) {
        if self.count.get() == 0 {
            self.restart();
            self.begun.notify_one();
        }
        self.count.set(self.count.get() + 1);
    }

    fn taken(&self) {
        self.count.set(self.count.get().saturating_sub(1));
        self.restart();
    }

    fn restart(&self) {
        self.since_ms.set(self.clock.mono_ms());
    }

    /// Returns once something has been waiting, and nothing was taken, for so long.
    async fn stalled(&self, timeout_ms: u64) {
        loop {
            if self.count.get() == 0 {
                self.begun.notified().await;
                continue;
            }
            let until_ms = self.since_ms.get() + timeout_ms;
            if self.clock.mono_ms() >= until_ms {
                return;
            }
            self.clock.until(Some(until_ms)).await;
        }
    }
}

/// The half of a connection that is polled.
pub(crate) struct Connection {
    eventloop: EventLoop,
    clock: Clock,
    untaken: Rc<Untaken>,
    take_timeout_ms: u64,
    session: Session,
    connected_at_ms: Option<u64>,
    /// What was read on a connection before it was lost.
    last_words: VecDeque<Publish>,
    lost: Option<String>,
    pause_ms: u64,
    wait_until_ms: Option<u64>,
}

impl Connection {
    /// Prepares a connection; nothing happens before [`Connection::next`]. A broker that takes nothing for `take_timeout_ms` is left
    /// and dialled again.
    pub(crate) fn new(options: MqttOptions, clock: Clock, take_timeout_ms: u64) -> (Client, Self) {
        // The channel is unbounded here because both users bound what they put in: an acknowledgement per message that the
        // broker has in flight, and a counted number of publications.
        let (client, mut eventloop) = AsyncClient::builder(options).unbounded().build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        eventloop.set_network_options(network);
        let (count, since_ms) = (Cell::default(), Cell::default());
        let untaken = Rc::new(Untaken { clock, count, since_ms, begun: Notify::new() });
        let connection = Self {
            eventloop,
            clock,
            untaken: untaken.clone(),
            take_timeout_ms,
            session: Session::default(),
            connected_at_ms: None,
            last_words: VecDeque::new(),
            lost: None,
            pause_ms: PAUSE_MS_MIN,
            wait_until_ms: None,
        };
        (Client { client, untaken }, connection)
    }

    /// The present connection.
    pub(crate) fn session(&self) -> Session {
        self.session
    }

    /// What happens next. `None` once the connection was closed by us.
    pub(crate) async fn next(&mut self) -> Option<Happened> {
        if let Some(happened) = self.last_word() {
            return Some(happened);
        }
        if let Some(until_ms) = self.wait_until_ms.take() {
            self.clock.until(Some(until_ms)).await;
        }
        loop {
            let polled = tokio::select! {
                polled = self.eventloop.poll() => polled,
                () = self.untaken.stalled(self.take_timeout_ms), if self.connected_at_ms.is_some() => {
                    return self.lose(self.describe_stall());
                }
            };
            match polled {
                Ok(Event::Incoming(Incoming::ConnAck(ack))) => {
                    self.session.0 += 1;
                    self.connected_at_ms = Some(self.clock.mono_ms());
                    self.untaken.restart();
                    return Some(Happened::Connected { session_present: ack.session_present });
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => return Some(Happened::Message(publish)),
                Ok(Event::Incoming(Incoming::PubAck(_))) => self.untaken.taken(),
                Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                    let granted = ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_)));
                    return Some(Happened::Subscribed { granted });
                }
                Ok(_) => {}
                Err(ConnectionError::RequestsDone) => return None,
                Err(error) => return self.lose(describe(&error)),
            }
        }
    }

    /// Gives the connection up, with everything that the library remembers of it. Messages that were read and that the broker will
    /// not hand over again come first.
    fn lose(&mut self, reason: String) -> Option<Happened> {
        let unread = std::mem::take(&mut self.eventloop.state.events);
        self.last_words = unread.into_iter().filter_map(unacknowledged_message).collect();
        self.eventloop.clean();
        self.eventloop.reset_session_state();
        self.untaken.count.set(0);
        self.pause();
        self.lost = Some(reason);
        self.last_word()
    }

    /// What is still to be told of a connection that was lost; last, that it was.
    fn last_word(&mut self) -> Option<Happened> {
        if let Some(publish) = self.last_words.pop_front() {
            return Some(Happened::Message(publish));
        }
        let reason = self.lost.take()?;
        self.session.0 += 1;
        Some(Happened::Disconnected { reason })
    }

    fn describe_stall(&self) -> String {
        let state = self.eventloop.diagnostics();
        format!(
            "it took none of {} messages for {} ms ({} in flight, {} queued, collision: {})",
            self.untaken.count.get(),
            self.take_timeout_ms,
            state.outbound.inflight,
            state.queues.pending_len,
            state.outbound.collision,
        )
    }

    /// Decides how long to wait before the next attempt: doubling, with jitter, so that a village's worth of gateways does not
    /// come back in step.
    fn pause(&mut self) {
        let now_ms = self.clock.mono_ms();
        let lived = self.connected_at_ms.take().is_some_and(|at_ms| now_ms.saturating_sub(at_ms) >= LIVED_MS_MIN);
        if lived {
            self.pause_ms = PAUSE_MS_MIN;
        }
        let random = getrandom::u64().expect("the system gives random numbers");
        self.wait_until_ms = Some(now_ms + jittered(self.pause_ms, random));
        self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS_MAX);
    }
}

/// Between the shortest pause and the given one, evenly.
fn jittered(pause_ms: u64, random: u64) -> u64 {
    PAUSE_MS_MIN + random % (pause_ms - PAUSE_MS_MIN + 1)
}

/// A message that nobody will hand over again.
fn unacknowledged_message(event: Event) -> Option<Publish> {
    match event {
        Event::Incoming(Incoming::Publish(publish)) if publish.qos == QoS::AtMostOnce => Some(publish),
        _ => None,
    }
}

/// The error in one line, with its causes.
fn describe(error: &ConnectionError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Keep-alive for a connection, in whole seconds.
pub(crate) fn keep_alive(options: &mut MqttOptions, keep_alive: Duration) {
    options.set_keep_alive(u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_their_bounds() {
        for random in [0, 1, 12_345, u64::MAX] {
            for pause_ms in [PAUSE_MS_MIN, 800, PAUSE_MS_MAX] {
                let wait_ms = jittered(pause_ms, random);
                assert!((PAUSE_MS_MIN..=pause_ms).contains(&wait_ms), "{wait_ms} of {pause_ms}");
            }
        }
    }
}
