//! Takes in what came down, and hands it on.

use std::sync::Arc;

use tokio::sync::watch;
use tongluo_protocols::event::{Event, Fault, Verdict, code};
use tongluo_protocols::id::{ContentId, Lane, StreamKey};
use tongluo_protocols::order::{AlarmWord, Body, Broadcast, ClockAnswer, Delegation, Nonce, Order, SignedOrder, Stop};

use super::gate::{Arrived, Gate};
use super::time::Time;
use super::{Refusal, gate};
use crate::alarm::Words;
use crate::broadcast::{self, Bench, Broadcasts, Confirmed, ConfirmedTime, Ordered, Place};
use crate::clock::Clock;
use crate::event_body;
use crate::fleet::Identity;
use crate::fleet::desired::{Following, Wanted};
use crate::journal::{Draft, Entry, Fact, Journal, OrderMemory, OrderState};

/// Orders that wait until it is certain what time it is. More are refused.
const HELD_MAX: usize = 64;
/// Orders that wait until somebody says whose they are: as many as several hubs order of a village while a delegation is under
/// way. More are refused.
const HELD_UNKNOWN_MAX: usize = 16;
/// So long they wait: several heartbeats, each of which asks for the time, and several attempts to send a batch.
const HELD_MS_MAX: u64 = 120_000;

/// The rooms that carry out orders.
pub(crate) struct Rooms {
    /// Configurations.
    pub(crate) following: Following,
    /// People's words about alarms.
    pub(crate) words: Words,
    /// What is heard.
    pub(crate) broadcasts: Broadcasts,
}

/// Where orders are taken in.
pub(crate) struct Desk {
    gate: Gate,
    clock: Clock,
    time: Time,
    confirmed: watch::Sender<Option<Confirmed>>,
    journal: Journal,
    rooms: Rooms,
    /// What earlier runs have not finished.
    unfinished: Vec<(StreamKey, Entry, OrderState)>,
    /// What is judged once more is known.
    held: Vec<Held>,
    /// Where each delegation's order stands: it is finished when another takes its place.
    delegations: Vec<(String, Place)>,
}

/// An order that waits.
struct Held {
    key: StreamKey,
    entry: Entry,
    look: Look,
    /// Why it is refused if it waits for too long.
    lacks: Refusal,
}

/// How an order came to be looked at.
#[derive(Clone, Copy)]
struct Look {
    state: OrderState,
    /// Since when it waits, or now.
    since_ms: u64,
}

/// What there is to do for an order.
enum Errand<'a> {
    Follow(Wanted),
    Time(ClockAnswer<'a>),
    Believe(Delegation<'a>),
    Answer(AlarmWord<'a>),
    Hear(Ordered),
    Silence(Stop<'a>),
    /// It is judged once the time is certain.
    Hold,
}

impl Desk {
    /// A desk for an enrolled gateway; `memory` is what the journal knows of orders.
    pub(crate) fn new(
        identity: &Identity,
        memory: OrderMemory,
        journal: Journal,
        rooms: Rooms,
        clock: Clock,
        confirmed: watch::Sender<Option<Confirmed>>,
    ) -> anyhow::Result<Self> {
        let OrderMemory { unfinished, floors } = memory;
        let gate = Gate::new(&identity.order_key, &identity.site_id, floors)?;
        let (time, held, delegations) = (Time::default(), Vec::new(), Vec::new());
        Ok(Self { gate, clock, time, confirmed, journal, rooms, unfinished, held, delegations })
    }

    /// Takes up what earlier runs have left unfinished. Before anything new is taken.
    pub(crate) async fn resume(&mut self) {
        let mut is_awaited = false;
        for (key, entry, state) in std::mem::take(&mut self.unfinished) {
            is_awaited |= self.take_one(key, &entry, self.look(state)).await;
        }
        self.take_held(is_awaited).await;
    }

    /// Takes in what has just been committed. What waits for some of it goes after all of it: it came earlier, and was ordered
    /// later.
    pub(crate) async fn take(&mut self, key: StreamKey, entries: &[Entry]) {
        let mut is_awaited = false;
        for entry in entries {
            is_awaited |= self.take_one(key, entry, self.look(OrderState::Waiting)).await;
        }
        self.take_held(is_awaited).await;
    }

    /// What the next heartbeat is to ask, if anything; and a look at the machine's clock.
    pub(crate) fn question(&mut self) -> Option<Nonce> {
        self.look_at_clock();
        self.refuse_held();
        self.time.question(self.clock.mono_ms(), || {
            let mut nonce = Nonce([0; Nonce::BYTES]);
            getrandom::fill(&mut nonce.0).expect("the system gives random numbers");
            nonce
        })
    }

    /// Takes what waits once more, if something came that it may have waited for.
    async fn take_held(&mut self, is_awaited: bool) {
        if is_awaited {
            for Held { key, entry, look, .. } in std::mem::take(&mut self.held) {
                self.take_one(key, &entry, look).await;
            }
        }
    }

    fn look(&self, state: OrderState) -> Look {
        Look { state, since_ms: self.clock.mono_ms() }
    }

    /// Takes in one; answers whether others may have waited for it: it told the time, or whom to believe.
    async fn take_one(&mut self, key: StreamKey, entry: &Entry, look: Look) -> bool {
        let counted = look.state != OrderState::Waiting;
        let arrived = Arrived { kind: entry.kind, lane: key.lane, body: &entry.body, counted };
        let region_code = self.rooms.following.region_code();
        // What was admitted was judged: whether it is still in time is its room's to know.
        let utc_ms = self.time.utc_ms(self.clock.mono_ms()).filter(|_| look.state != OrderState::Admitted);
        let admitted = self.gate.admit(&region_code, utc_ms, arrived).map_err(Refusal::Gate).and_then(|order| {
            let errand = self.errand((key, entry), &order, look.state)?;
            if self.gate.taken(&order) { Ok((order, errand)) } else { Err(gate::Refusal::TooManyIssuers.into()) }
        });
        match admitted {
            Ok((order, errand)) => return self.do_errand(key, entry, &order, errand, look).await,
            // Nothing was believed of it, its counter neither: after a restart it is looked at as if it had just come.
            Err(lacks) if self.may_be_told_whose(entry, &lacks) => {
                self.held.push(Held { key, entry: entry.clone(), look, lacks });
            }
            Err(refusal) => self.refuse(key, entry, &refusal).await,
        }
        false
    }

    /// Whether the key of an order may still be told of: with two hubs, or one that was started anew, it may come in another
    /// stream, and streams do not wait for one another.
    fn may_be_told_whose(&self, entry: &Entry, refusal: &Refusal) -> bool {
        let unknown = Refusal::Gate(gate::Refusal::UnknownIssuer);
        let waiting = self.held.iter().filter(|held| held.lacks == unknown).count();
        *refusal == unknown && matches!(entry.kind, Broadcast::KIND | Stop::KIND) && waiting < HELD_UNKNOWN_MAX
    }

    /// What an order asks, and of whom.
    fn errand<'a>(
        &self,
        (key, entry): (StreamKey, &Entry),
        order: &Order<'a>,
        state: OrderState,
    ) -> Result<Errand<'a>, Refusal> {
        match order.body().map_err(gate::Refusal::Unreadable)? {
            Body::Configuration(configuration) => Ok(Errand::Follow(Wanted {
                revision: configuration.revision,
                content: order.content.ok_or(malformed())?,
                bytes: configuration.bytes,
                place: (key, entry.sequence),
            })),
            Body::ClockAnswer(answer) => Ok(Errand::Time(answer)),
            Body::Delegation(delegation) => Ok(Errand::Believe(delegation)),
            Body::AlarmWord(word) => Ok(Errand::Answer(word)),
            Body::Stop(stop) => Ok(Errand::Silence(stop)),
            Body::Broadcast(broadcast) => self.judged(order, &broadcast, state),
            Body::Unknown => Err(gate::Refusal::UnknownKind.into()),
        }
    }

    fn judged<'a>(
        &self,
        order: &Order<'a>,
        broadcast: &Broadcast<'a>,
        state: OrderState,
    ) -> Result<Errand<'a>, Refusal> {
        let configuration = self.rooms.following.present();
        if state != OrderState::Admitted {
            let utc_ms = self.time.utc_ms(self.clock.mono_ms());
            if utc_ms.is_none() && self.held.len() < HELD_MAX {
                return Ok(Errand::Hold);
            }
            let known = self.rooms.broadcasts.is_known(broadcast.id);
            let regions = self.gate.regions_of(order.issuer);
            broadcast::judge(order, broadcast, Bench { configuration: &configuration, utc_ms, regions, known })?;
        }
        let content = order.content.ok_or(malformed())?;
        let all = || configuration.speakers.iter().map(|speaker| speaker.id.clone()).collect();
        let named: Vec<String> = broadcast.speakers.iter().map(str::to_owned).collect();
        let speakers = if named.is_empty() { all() } else { named };
        Ok(Errand::Hear(ordered(order, broadcast, content, speakers)))
    }

    /// Has an order carried out that was admitted; answers whether others may have waited for it.
    async fn do_errand(
        &mut self,
        key: StreamKey,
        entry: &Entry,
        order: &Order<'_>,
        errand: Errand<'_>,
        look: Look,
    ) -> bool {
        let place = (key, entry.sequence);
        let state = |state| Fact::Order(key, entry.sequence, state);
        let floor = Fact::OrderFloor(order.issuer.to_owned(), order.lane, order.counter);
        self.journal.remember_lazily(floor);
        match errand {
            Errand::Follow(wanted) => {
                // The floor goes to disk with this, or before.
                let _ = self.journal.remember(state(OrderState::Admitted)).await;
                self.rooms.following.want(wanted);
            }
            // Said twice it is no less true.
            Errand::Answer(word) => {
                self.rooms.words.pass(&word);
                let _ = self.journal.remember(state(OrderState::Done)).await;
            }
            Errand::Time(answer) => {
                let is_answered = self.hear_time(&answer);
                let _ = self.journal.remember(state(OrderState::Done)).await;
                return is_answered;
            }
            Errand::Believe(delegation) => match self.gate.delegate(order.counter, &delegation) {
                // It counts for as long as it is not finished, and is found again at each start.
                Ok(()) => {
                    let _ = self.journal.remember(state(OrderState::Admitted)).await;
                    self.overtake(delegation.issuer, place);
                    return true;
                }
                Err(refusal) => {
                    let _ = self.refuse(key, entry, &refusal.into()).await;
                }
            },
            Errand::Hold => {
                let _ = self.journal.remember(state(OrderState::Held)).await;
                let look = Look { state: OrderState::Held, ..look };
                let lacks = broadcast::Refusal::ClockUnconfirmed.into();
                self.held.push(Held { key, entry: entry.clone(), look, lacks });
            }
            Errand::Hear(ordered) => {
                if look.state != OrderState::Admitted {
                    self.say(Some(&ordered.name), entry, Some(order), Ok(()), state(OrderState::Admitted)).await;
                }
                self.rooms.broadcasts.begin(ordered, place).await;
            }
            Errand::Silence(stop) => {
                self.drop_held(stop.id).await;
                if look.state != OrderState::Admitted {
                    self.say(stop.id, entry, Some(order), Ok(()), state(OrderState::Admitted)).await;
                }
                self.rooms.broadcasts.stop(stop.id, place).await;
            }
        }
        false
    }

    fn hear_time(&mut self, answer: &ClockAnswer<'_>) -> bool {
        if !self.time.answered(self.clock.mono_ms(), answer) {
            tracing::debug!("the time was told to a question that nobody asks any more");
            return false;
        }
        tracing::info!(clock.utc_ms = answer.utc_ms, "the hub confirmed what time it is");
        for floor in answer.floors.iter() {
            self.gate.raise(floor);
            self.journal.remember_lazily(Fact::OrderFloor(floor.issuer.to_owned(), floor.lane, floor.counter));
        }
        let at_mono_ms = self.clock.mono_ms();
        let confirmed = self.time.utc_ms(at_mono_ms).map(|utc_ms| Confirmed { utc_ms, at_mono_ms });
        self.confirmed.send_replace(confirmed);
        self.look_at_clock();
        true
    }

    /// Tells the hub when the machine's clock has gone wrong, and when it is right again.
    fn look_at_clock(&mut self) {
        let Some(news) = self.time.judge(self.clock.mono_ms(), self.clock.utc_ms()) else { return };
        let detail = format!("the gateway's clock is {} s ahead of the hub's", news.ahead_ms / 1_000);
        let fault = Fault { source: "clock", code: code::CLOCK_OFF, detail: &detail, active: news.off };
        drop(self.journal.append(draft(Lane::Routine, &Event::Fault(fault), Vec::new())));
    }

    /// A delegation took the place of another of its name.
    fn overtake(&mut self, issuer: &str, place: Place) {
        if let Some(at) = self.delegations.iter().position(|(name, old)| name == issuer && *old != place) {
            let (_, (key, sequence)) = self.delegations.swap_remove(at);
            self.journal.remember_lazily(Fact::Order(key, sequence, OrderState::Done));
        }
        self.delegations.push((issuer.to_owned(), place));
    }

    /// Refuses what has waited too long for somebody to say what time it is, or whose it is.
    fn refuse_held(&mut self) {
        let now_ms = self.clock.mono_ms();
        let tired = self.held.extract_if(.., |held| now_ms.saturating_sub(held.look.since_ms) > HELD_MS_MAX);
        for held in tired.collect::<Vec<_>>() {
            drop(self.refuse(held.key, &held.entry, &held.lacks));
        }
    }

    /// Refuses what waits and was stopped.
    async fn drop_held(&mut self, id: Option<&str>) {
        let meant = |entry: &Entry| id.is_none_or(|id| broadcast_of(entry).as_deref() == Some(id));
        for held in self.held.extract_if(.., |held| meant(&held.entry)).collect::<Vec<_>>() {
            self.refuse(held.key, &held.entry, &broadcast::Refusal::Stopped.into()).await;
        }
    }

    /// Tells the hub that an order is not carried out, and why; on disk when that returns.
    fn refuse(&self, key: StreamKey, entry: &Entry, refusal: &Refusal) -> impl Future<Output = ()> + use<> {
        tracing::warn!(order.kind = entry.kind, order.refusal = %refusal, "an order is not carried out");
        let done = Fact::Order(key, entry.sequence, OrderState::Refused);
        let said: std::pin::Pin<Box<dyn Future<Output = ()>>> = if matches!(entry.kind, Broadcast::KIND | Stop::KIND) {
            let claimed = SignedOrder::parse(&entry.body).ok();
            let claimed = claimed.as_ref().map(SignedOrder::claimed);
            Box::pin(self.say(broadcast_of(entry).as_deref(), entry, claimed, Err(refusal), done))
        } else {
            let detail = format!("order {}/{} of kind {}: {refusal}", key.epoch, entry.sequence, entry.kind);
            let fault = Fault { source: "order", code: code::ORDER_REFUSED, detail: &detail, active: true };
            let receipt = self.journal.append(draft(Lane::Routine, &Event::Fault(fault), vec![done]));
            Box::pin(async move { drop(receipt.await) })
        };
        said
    }

    /// Journals a verdict together with how far its order has got; on disk when that returns.
    fn say(
        &self,
        broadcast: Option<&str>,
        entry: &Entry,
        order: Option<&Order<'_>>,
        verdict: Result<(), &Refusal>,
        fact: Fact,
    ) -> impl Future<Output = ()> + use<> {
        let detail = verdict.err().map(ToString::to_string).unwrap_or_default();
        let event = Event::Verdict(Verdict {
            broadcast,
            issuer: order.map_or("", |order| order.issuer),
            counter: order.map_or(0, |order| order.counter),
            verdict: verdict.map_or_else(Refusal::name, |()| Verdict::OBEYED),
            detail: &detail,
            at_ms: self.time.utc_ms(self.clock.mono_ms()).unwrap_or_else(|| self.clock.utc_ms()),
            kind: entry.kind,
        });
        // A refusal waits behind nothing: somebody believes that the village hears.
        let lane = if verdict.is_ok() { Lane::Routine } else { Lane::Urgent };
        let receipt = self.journal.append(draft(lane, &event, vec![fact]));
        async move { drop(receipt.await) }
    }
}

fn malformed() -> gate::Refusal {
    gate::Refusal::Unreadable(tongluo_protocols::Error::Malformed { what: "an order's body", at: 0 })
}

fn ordered(order: &Order<'_>, broadcast: &Broadcast<'_>, content: ContentId, speakers: Vec<String>) -> Ordered {
    Ordered {
        name: Arc::from(broadcast.id),
        priority: broadcast.priority,
        interrupted: broadcast.interrupted,
        speakers,
        content,
        bytes: broadcast.bytes,
        length_ms: broadcast.content_ms,
        times: broadcast.times,
        gap_ms: broadcast.pause_ms,
        chime: broadcast.chime,
        volume_percent: broadcast.volume_percent,
        not_after_ms: order.not_after_ms,
    }
}

/// The broadcast that an entry claims to concern.
fn broadcast_of(entry: &Entry) -> Option<String> {
    let signed = SignedOrder::parse(&entry.body).ok()?;
    match signed.claimed().body().ok()? {
        Body::Broadcast(broadcast) => Some(broadcast.id.to_owned()),
        Body::Stop(stop) => stop.id.map(str::to_owned),
        _ => None,
    }
}

fn draft(lane: Lane, event: &Event<'_>, facts: Vec<Fact>) -> Draft {
    Draft { lane, kind: event.kind(), body: event_body(event), source: None, facts }
}

/// The time, for rooms that may begin nothing without it, and who tells it.
pub(crate) fn confirmed_time() -> (watch::Sender<Option<Confirmed>>, ConfirmedTime) {
    watch::channel(None)
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
