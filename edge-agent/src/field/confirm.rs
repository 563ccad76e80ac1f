//! What follows a commit: the press is confirmed to its button, and its message is acknowledged to the village's broker.
//!
//! In this order, and each only after the one before: a message that the broker was told to forget, and whose confirmation never
//! arrived, would leave its button dark for good. So the message stays the broker's until the broker has **taken** the
//! confirmation; if the connection or the gateway ends before that, the message comes again, is found in the journal, and is
//! confirmed with the same press id.

use std::cell::Cell;

use rumqttc::{ManualAck, PublishNotice, QoS};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tongluo_protocols::id::{DeviceKey, PressId};

use crate::clock::Clock;
use crate::journal::Receipt;
use crate::mqtt::{Client, Session};

/// Where a press is confirmed to its button.
const CONFIRMED_TOPIC: &str = "tongluo/confirmed";

/// How many confirmations may be owed for messages of QoS 0, which nobody hands over again: a broker's absence of half a minute
/// during a flood. Above, a press is kept but its button is not told. Those for messages of QoS 1 need no bound of ours: there are
/// never more of them than the broker has in flight (mosquitto 20, none more than 65,535).
const UNACKNOWLEDGED_OWED_MAX: usize = 1_024;

/// A message whose entries are being committed.
pub(super) struct Committing {
    pub(super) entries: Vec<oneshot::Receiver<Receipt>>,
    pub(super) facts: Vec<oneshot::Receiver<()>>,
    pub(super) press: Option<Pressed>,
    pub(super) ack: Option<(ManualAck, Session)>,
}

/// The press in it.
pub(super) struct Pressed {
    pub(super) receipt: oneshot::Receiver<Receipt>,
    pub(super) device: DeviceKey,
    pub(super) source_key: Option<String>,
}

/// The message on `tongluo/confirmed`.
#[derive(Serialize)]
struct Confirmed<'a> {
    press: String,
    device: &'a str,
    source_key: Option<&'a str>,
    at_ms: i64,
}

/// A message that is on disk, and what is still to be said about it.
struct Owed {
    confirmation: Option<Confirmation>,
    ack: Option<(ManualAck, Session)>,
}

/// A confirmation, and the broker's answer to it if it was handed in.
struct Confirmation {
    payload: Vec<u8>,
    notice: Option<PublishNotice>,
}

/// Waits for commits, one message after the other, and then tells: the button, and the broker.
pub(crate) struct Confirmer {
    inbox: mpsc::UnboundedReceiver<Committing>,
    client: Client,
    /// The present connection, while there is one.
    line: watch::Receiver<Option<Session>>,
    clock: Clock,
    /// Confirmations that are owed for messages of QoS 0.
    unacknowledged_owed: Cell<usize>,
}

impl Confirmer {
    pub(super) fn new(
        inbox: mpsc::UnboundedReceiver<Committing>,
        client: Client,
        line: watch::Receiver<Option<Session>>,
        clock: Clock,
    ) -> Self {
        Self { inbox, client, line, clock, unacknowledged_owed: Cell::default() }
    }

    /// Works until the field or the journal is gone. What was not told by then stays with the broker.
    pub(crate) async fn run(mut self) {
        let (owe, mut owed) = mpsc::unbounded_channel();
        let mut inbox = std::mem::replace(&mut self.inbox, mpsc::unbounded_channel().1);
        let confirmer = &self;
        let confirm = async {
            while let Some(committing) = inbox.recv().await {
                match confirmer.committed(committing).await {
                    Some(message) => drop(owe.send(message)),
                    None => return,
                }
            }
        };
        let acknowledge = async {
            while let Some(message) = owed.recv().await {
                if confirmer.settle(message).await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = confirm => {}
            () = acknowledge => {}
        }
    }

    /// Confirms a message's press as soon as it is on disk, then waits for the rest of it. `None`: the journal is closing.
    async fn committed(&self, committing: Committing) -> Option<Owed> {
        let mut confirmation = None;
        if let Some(Pressed { receipt, device, source_key }) = committing.press {
            let receipt = receipt.await.ok()?;
            if let Some(press_id) = receipt.press_id() {
                let repeated = matches!(receipt, Receipt::Repeated(..));
                tracing::info!(press.id = %press_id, press.repeated = repeated, device.key = %device, "a press is on disk");
                confirmation = self.confirm(press_id, device, source_key.as_deref(), committing.ack.is_some());
            }
        }
        for entry in committing.entries {
            entry.await.ok()?;
        }
        for fact in committing.facts {
            fact.await.ok()?;
        }
        Some(Owed { confirmation, ack: committing.ack })
    }

    fn confirm(
        &self,
        press_id: PressId,
        device: DeviceKey,
        source_key: Option<&str>,
        is_acknowledged: bool,
    ) -> Option<Confirmation> {
        if !is_acknowledged {
            if self.unacknowledged_owed.get() >= UNACKNOWLEDGED_OWED_MAX {
                tracing::warn!(press.id = %press_id, "the village's broker does not take confirmations: the button is not told");
                return None;
            }
            self.unacknowledged_owed.set(self.unacknowledged_owed.get() + 1);
        }
        let confirmed =
            Confirmed { press: press_id.to_string(), device: device.as_str(), source_key, at_ms: self.clock.utc_ms() };
        let payload = serde_json::to_vec(&confirmed).expect("texts and a number always serialize");
        let notice = self.line.borrow().and_then(|_| self.hand_in(&payload));
        Some(Confirmation { payload, notice })
    }

    /// Sees a message through: its confirmation taken, then itself acknowledged. `None`: the field is gone.
    async fn settle(&self, message: Owed) -> Option<()> {
        if let Some(confirmation) = message.confirmation {
            self.see_taken(confirmation).await?;
            if message.ack.is_none() {
                self.unacknowledged_owed.set(self.unacknowledged_owed.get() - 1);
            }
        }
        // An acknowledgement of an earlier connection could fall on another message.
        if let Some((ack, session)) = message.ack
            && *self.line.borrow() == Some(session)
        {
            self.client.acknowledge(ack);
        }
        Some(())
    }

    /// Returns once the broker has taken the confirmation, over as many connections as that needs.
    async fn see_taken(&self, mut confirmation: Confirmation) -> Option<()> {
        let mut line = self.line.clone();
        loop {
            if let Some(notice) = confirmation.notice.take()
                && notice.wait_completion_async().await.is_ok()
            {
                return Some(());
            }
            line.wait_for(Option::is_some).await.ok()?;
            confirmation.notice = Some(self.hand_in(&confirmation.payload)?);
        }
    }

    fn hand_in(&self, payload: &[u8]) -> Option<PublishNotice> {
        self.client.publish(CONFIRMED_TOPIC, payload, QoS::AtLeastOnce)
    }
}
