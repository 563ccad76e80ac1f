//! Takes what was committed through the gate and to its room.

use tongluo_protocols::event::{Event, Fault, code};
use tongluo_protocols::id::{Lane, StreamKey};
use tongluo_protocols::order::{AlarmWord, Body, Order};

use super::gate::{Arrived, Gate, Refusal};
use crate::alarm::Words;
use crate::event_body;
use crate::fleet::Identity;
use crate::fleet::desired::{Following, Wanted};
use crate::journal::{Draft, Entry, Fact, Journal, OrderMemory, OrderState};

/// The rooms that carry out orders.
pub(crate) struct Rooms {
    /// Configurations.
    pub(crate) following: Following,
    /// People's words about alarms.
    pub(crate) words: Words,
}

/// Where orders are taken in.
pub(crate) struct Desk {
    gate: Gate,
    journal: Journal,
    rooms: Rooms,
    /// What earlier runs have not finished.
    unfinished: Vec<(StreamKey, Entry, OrderState)>,
}

impl Desk {
    /// A desk for an enrolled gateway; `memory` is what the journal knows of orders.
    pub(crate) fn new(
        identity: &Identity,
        memory: OrderMemory,
        journal: Journal,
        rooms: Rooms,
    ) -> anyhow::Result<Self> {
        let OrderMemory { unfinished, floors } = memory;
        let gate = Gate::new(&identity.order_key, &identity.site_id, floors)?;
        Ok(Self { gate, journal, rooms, unfinished })
    }

    /// Takes up what earlier runs have left unfinished. Before anything new is taken.
    pub(crate) async fn resume(&mut self) {
        for (key, entry, state) in std::mem::take(&mut self.unfinished) {
            self.take_in(key, &entry, state == OrderState::Admitted).await;
        }
    }

    /// Takes in what has just been committed.
    pub(crate) async fn take(&mut self, key: StreamKey, entries: &[Entry]) {
        for entry in entries {
            self.take_in(key, entry, false).await;
        }
    }

    async fn take_in(&mut self, key: StreamKey, entry: &Entry, admitted_before: bool) {
        let arrived = Arrived { kind: entry.kind, lane: key.lane, body: &entry.body, admitted_before };
        let region_code = self.rooms.following.region_code();
        let admitted = self.gate.admit(&region_code, None, arrived).and_then(|order| {
            let asked = asked(key, entry, &order)?;
            if self.gate.taken(&order) { Ok((order, asked)) } else { Err(Refusal::UnknownIssuer) }
        });
        match admitted {
            Ok((order, asked)) => {
                let floor = Fact::OrderFloor(order.issuer.to_owned(), order.lane, order.counter);
                self.journal.remember_lazily(floor);
                let state = |state| Fact::Order(key, entry.sequence, state);
                match asked {
                    Asked::Follow(wanted) => {
                        // The floor goes to disk with this, or before.
                        let _ = self.journal.remember(state(OrderState::Admitted)).await;
                        self.rooms.following.want(wanted);
                    }
                    // Said twice it is no less true.
                    Asked::Tell(word) => {
                        self.rooms.words.pass(&word);
                        let _ = self.journal.remember(state(OrderState::Done)).await;
                    }
                }
            }
            Err(refusal) => {
                self.tell(key, entry, refusal);
                let _ = self.journal.remember(Fact::Order(key, entry.sequence, OrderState::Refused)).await;
            }
        }
    }

    /// Tells the hub that an order is not carried out, and why.
    fn tell(&self, key: StreamKey, entry: &Entry, refusal: Refusal) {
        tracing::warn!(order.kind = entry.kind, order.refusal = %refusal, "an order is not carried out");
        let detail = format!("order {}/{} of kind {}: {refusal}", key.epoch, entry.sequence, entry.kind);
        let fault = Fault { source: "order", code: code::ORDER_REFUSED, detail: &detail, active: true };
        let event = Event::Fault(fault);
        let draft = Draft {
            lane: Lane::Routine,
            kind: event.kind(),
            body: event_body(&event),
            source: None,
            facts: Vec::new(),
        };
        drop(self.journal.append(draft));
    }
}

/// What an order asks for.
enum Asked<'a> {
    Follow(Wanted),
    Tell(AlarmWord<'a>),
}

/// What an order asks of the rooms that there are.
fn asked<'a>(key: StreamKey, entry: &Entry, order: &Order<'a>) -> Result<Asked<'a>, Refusal> {
    let malformed = Refusal::Unreadable(tongluo_protocols::Error::Malformed { what: "an order's body", at: 0 });
    match order.body().map_err(Refusal::Unreadable)? {
        Body::Configuration(configuration) => Ok(Asked::Follow(Wanted {
            revision: configuration.revision,
            content: order.content.ok_or(malformed)?,
            bytes: configuration.bytes,
            place: (key, entry.sequence),
        })),
        Body::AlarmWord(word) => Ok(Asked::Tell(word)),
        Body::Broadcast(_) | Body::Stop(_) | Body::Delegation(_) | Body::ClockAnswer(_) | Body::Unknown => {
            Err(Refusal::UnknownKind)
        }
    }
}
