//! What other rooms have to say in the village's own network, over the field's connection.

use rumqttc::QoS;
use tokio::sync::watch;

use crate::mqtt::{Client, Session};

/// Messages that may wait for the village's broker to take them; beyond, nothing more is said until it does. A few times what a
/// village says at once.
const UNTAKEN_MAX: u32 = 256;

/// Publishes to the village's network, while there is a connection.
#[derive(Clone)]
pub(crate) struct Teller {
    pub(super) client: Client,
    /// The present connection, while there is one.
    pub(super) line: watch::Receiver<Option<Session>>,
}

impl Teller {
    /// Says something. Without a connection nobody hears it: whoever wants it heard says it again on the next ([`Teller::joined`]).
    pub(crate) fn say(&self, topic: &str, payload: Vec<u8>) {
        if self.line.borrow().is_some() && self.client.untaken_count() < UNTAKEN_MAX {
            drop(self.client.publish(topic, payload, QoS::AtLeastOnce));
        }
    }

    /// Returns at each new connection. Never, once the field is gone.
    pub(crate) async fn joined(&mut self) {
        loop {
            if self.line.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if self.line.borrow_and_update().is_some() {
                return;
            }
        }
    }
}
