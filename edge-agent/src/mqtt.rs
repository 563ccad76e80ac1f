//! An MQTT connection that comes back by itself: the only place that knows the client library.
//!
//! What the library cannot be relied upon for is not asked of it. It keeps nothing over a restart, and it forgets unsent
//! requests when a broker has lost its session; so the journal sends again on a timer, and acknowledgements belong to the
//! connection that their message came on ([`Session`]). Its poll is never cancelled half-way: one task polls a connection and
//! does nothing else.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, Publish, SubscribeReasonCode,
};

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
    /// The broker took one of our messages.
    Taken,
    /// The broker answered a subscription: whether it grants it.
    Subscribed { granted: bool },
}

/// The half of a connection that is polled.
pub(crate) struct Connection {
    eventloop: EventLoop,
    clock: Clock,
    session: Session,
    connected_at_ms: Option<u64>,
    pause_ms: u64,
    wait_until_ms: Option<u64>,
}

impl Connection {
    /// Prepares a connection; nothing happens before [`Connection::next`].
    pub(crate) fn new(options: MqttOptions, clock: Clock) -> (AsyncClient, Self) {
        // The channel is unbounded here because both users bound what they put in: an acknowledgement per message that the
        // broker has in flight, and a counted number of publications.
        let (client, mut eventloop) = AsyncClient::builder(options).unbounded().build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        eventloop.set_network_options(network);
        let connection = Self {
            eventloop,
            clock,
            session: Session::default(),
            connected_at_ms: None,
            pause_ms: PAUSE_MS_MIN,
            wait_until_ms: None,
        };
        (client, connection)
    }

    /// The present connection.
    pub(crate) fn session(&self) -> Session {
        self.session
    }

    /// What happens next. `None` once the connection was closed by us.
    pub(crate) async fn next(&mut self) -> Option<Happened> {
        if let Some(until_ms) = self.wait_until_ms.take() {
            self.clock.until(Some(until_ms)).await;
        }
        loop {
            match self.eventloop.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(ack))) => {
                    self.session.0 += 1;
                    self.connected_at_ms = Some(self.clock.mono_ms());
                    return Some(Happened::Connected { session_present: ack.session_present });
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => return Some(Happened::Message(publish)),
                Ok(Event::Incoming(Incoming::PubAck(_))) => return Some(Happened::Taken),
                Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                    let granted = ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_)));
                    return Some(Happened::Subscribed { granted });
                }
                Ok(_) => {}
                Err(ConnectionError::RequestsDone) => return None,
                Err(error) => {
                    self.session.0 += 1;
                    self.pause();
                    return Some(Happened::Disconnected { reason: describe(&error) });
                }
            }
        }
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
