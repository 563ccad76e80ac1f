//! The bounded way in: what gateways say, queued for the link without ever making the broker wait.
//!
//! Three bounds hold at once: messages of one site, messages of all, and bytes of all. Beyond any of them a message is
//! dropped and counted, and its gateway sends it again, because only the link's own acknowledgement counts. The bound per
//! site keeps one gateway that floods from taking the others' places. Presence is different: it is never dropped. When
//! the queue is full a site's latest presence is owed, and paid as soon as there is room.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use super::counters::Counters;
use super::topic::UpLeaf;
use crate::ids::SiteId;

/// Messages of one site that may wait for the link. A gateway's urgent window is 512 entries, two to forty batches;
/// beyond this the site's messages are dropped.
pub(super) const SITE_WAITING_MAX: usize = 64;

/// Arrivals that may wait for the link: a county of 13,215 gateways that all say something in the same instant.
/// Beyond this messages are dropped and presence is owed.
pub(super) const WAITING_MAX: usize = 16_384;

/// Payload bytes that may wait for the link. Beyond this messages are dropped.
pub(super) const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sites that one broker remembers. Only certificates of the hub's own CA make new ones; beyond this their messages are
/// dropped and their connections refused.
const SITES_MAX: usize = 65_536;

/// Something a gateway said or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message. Its payload is as it came, at most [`super::PAYLOAD_BYTES_MAX`] long.
    Message {
        /// Who said it, proved by its certificate.
        site: SiteId,
        /// On which of its topics.
        leaf: UpLeaf,
        /// What.
        payload: Bytes,
    },
    /// The site has connected. Comes again without an `Offline` between when a new connection takes over from an old one.
    Online {
        /// Which site.
        site: SiteId,
    },
    /// The site's last connection has ended, or (external) cannot be known any more.
    Offline {
        /// Which site.
        site: SiteId,
    },
}

/// The receiving end, for the link. Ends (`None`) after the broker was shut down.
#[derive(Debug)]
pub struct Arrivals {
    queue: mpsc::Receiver<Waiting>,
    buffer: Vec<Waiting>,
}

impl Arrivals {
    /// Waits for the next arrival. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Arrival> {
        self.queue.recv().await.map(Waiting::taken)
    }

    /// Waits for at least one arrival, then takes up to `limit` of those that are there, appending them to `into`.
    /// Returns how many; 0 at the end. Cancel-safe.
    pub async fn recv_many(&mut self, into: &mut Vec<Arrival>, limit: usize) -> usize {
        let count = self.queue.recv_many(&mut self.buffer, limit).await;
        into.extend(self.buffer.drain(..).map(Waiting::taken));
        count
    }

    /// An arrival that is already there.
    pub fn try_recv(&mut self) -> Option<Arrival> {
        self.queue.try_recv().ok().map(Waiting::taken)
    }
}

/// An arrival in the queue with the room that it takes there.
#[derive(Debug)]
struct Waiting {
    arrival: Arrival,
    room: Option<Room>,
}

impl Waiting {
    fn taken(self) -> Arrival {
        drop(self.room);
        self.arrival
    }
}

/// A message's share of the bounds, given back when it is dropped.
#[derive(Debug)]
struct Room {
    place: Arc<Place>,
    counters: Arc<Counters>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.place.waiting.fetch_sub(1, Ordering::Relaxed);
        self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
        self.counters.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What the inbox keeps about one site.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) site: SiteId,
    waiting: AtomicUsize,
    presence: Mutex<Presence>,
}

#[derive(Debug, Default)]
struct Presence {
    online: bool,
    /// The link has not been told `online` yet.
    owed: bool,
}

/// The sending end, for the broker's implementations.
#[derive(Clone, Debug)]
pub(super) struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` once closed.
    queue: RwLock<Option<mpsc::Sender<Waiting>>>,
    places: RwLock<HashMap<SiteId, Arc<Place>>>,
    debts: Mutex<VecDeque<Arc<Place>>>,
    debt_added: Notify,
    counters: Arc<Counters>,
    payer: Mutex<Option<AbortHandle>>,
}

impl Inbox {
    /// A queue with room for `waiting_max` arrivals. Must be called within a runtime: presence that could not be told at
    /// once is told by a task.
    pub(super) fn new(waiting_max: usize, counters: Arc<Counters>) -> (Self, Arrivals) {
        let (sender, receiver) = mpsc::channel(waiting_max);
        let shared = Arc::new(Shared {
            queue: RwLock::new(Some(sender.clone())),
            places: RwLock::default(),
            debts: Mutex::default(),
            debt_added: Notify::new(),
            counters,
            payer: Mutex::default(),
        });
        let payer = tokio::spawn(pay_debts(Arc::clone(&shared), sender));
        *lock(&shared.payer) = Some(payer.abort_handle());
        (Self(shared), Arrivals { queue: receiver, buffer: Vec::new() })
    }

    /// The place of a site. `None` when there are too many sites.
    pub(super) fn place(&self, site: &str) -> Option<Arc<Place>> {
        let site = SiteId::from_known(site);
        if let Some(place) = self.0.places.read().unwrap_or_else(PoisonError::into_inner).get(&site) {
            return Some(Arc::clone(place));
        }
        let mut places = self.0.places.write().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= SITES_MAX && !places.contains_key(&site) {
            return None;
        }
        let place = places.entry(site).or_insert_with_key(|site| {
            Arc::new(Place { site: site.clone(), waiting: AtomicUsize::new(0), presence: Mutex::default() })
        });
        Some(Arc::clone(place))
    }

    /// Queues a message, or drops and counts it. The payload is copied: a slice of a read buffer would keep the whole
    /// buffer alive and make the bound on bytes a lie.
    pub(super) fn message(&self, place: &Arc<Place>, leaf: UpLeaf, payload: &[u8]) {
        let counters = &self.0.counters;
        let Some(room) = self.room(place, payload.len()) else {
            counters.received_dropped.add();
            return;
        };
        let arrival = Arrival::Message { site: place.site.clone(), leaf, payload: Bytes::copy_from_slice(payload) };
        match self.try_send(Waiting { arrival, room: Some(room) }) {
            Sent::Done => counters.received.add(),
            Sent::Full | Sent::Closed => counters.received_dropped.add(),
        }
    }

    /// Tells the link that a site came or went: at once if there is room, else as soon as there is. Of several changes
    /// that could not be told at once, the last is.
    pub(super) fn presence(&self, place: &Arc<Place>, online: bool) {
        let mut presence = lock(&place.presence);
        if online != presence.online {
            if online {
                self.0.counters.online.fetch_add(1, Ordering::Relaxed);
            } else {
                self.0.counters.online.fetch_sub(1, Ordering::Relaxed);
            }
        }
        presence.online = online;
        if presence.owed {
            return;
        }
        if matches!(self.try_send(place.presence_arrival(online)), Sent::Full) {
            presence.owed = true;
            lock(&self.0.debts).push_back(Arc::clone(place));
            self.0.debt_added.notify_one();
        }
    }

    /// All sites that were last said to be on line.
    pub(super) fn online(&self) -> Vec<Arc<Place>> {
        let places = self.0.places.read().unwrap_or_else(PoisonError::into_inner);
        places.values().filter(|place| place.is_online()).map(Arc::clone).collect()
    }

    /// Takes nothing more; the receiver ends after what is queued.
    pub(super) fn close(&self) {
        self.0.queue.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payer) = lock(&self.0.payer).take() {
            payer.abort();
        }
    }

    fn room(&self, place: &Arc<Place>, bytes: usize) -> Option<Room> {
        let counters = &self.0.counters;
        // Taken before they are checked, so that threads that race cannot pass the bound together; given back on drop.
        let waiting = place.waiting.fetch_add(1, Ordering::Relaxed);
        counters.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting_bytes = counters.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { place: Arc::clone(place), counters: Arc::clone(counters), bytes };
        (waiting < SITE_WAITING_MAX && waiting_bytes + bytes <= WAITING_BYTES_MAX).then_some(room)
    }

    fn try_send(&self, waiting: Waiting) -> Sent {
        let queue = self.0.queue.read().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_send(waiting)) {
            Some(Ok(())) => Sent::Done,
            Some(Err(TrySendError::Full(_))) => Sent::Full,
            Some(Err(TrySendError::Closed(_))) | None => Sent::Closed,
        }
    }
}

enum Sent {
    Done,
    Full,
    Closed,
}

impl Place {
    /// Whether the site was last said to be on line.
    pub(super) fn is_online(&self) -> bool {
        lock(&self.presence).online
    }

    fn presence_arrival(&self, online: bool) -> Waiting {
        let site = self.site.clone();
        let arrival = if online { Arrival::Online { site } } else { Arrival::Offline { site } };
        Waiting { arrival, room: None }
    }
}

async fn pay_debts(shared: Arc<Shared>, queue: mpsc::Sender<Waiting>) {
    loop {
        shared.debt_added.notified().await;
        while let Some(place) = { lock(&shared.debts).pop_front() } {
            let Ok(permit) = queue.reserve().await else { return };
            let mut presence = lock(&place.presence);
            presence.owed = false;
            permit.send(place.presence_arrival(presence.online));
        }
    }
}

/// Nothing panics while these are held, and a presence or a counter is never half written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(waiting_max: usize) -> (Inbox, Arrivals, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let (inbox, arrivals) = Inbox::new(waiting_max, Arc::clone(&counters));
        (inbox, arrivals, counters)
    }

    fn site_of(arrival: Option<Arrival>) -> String {
        match arrival.expect("an arrival") {
            Arrival::Message { site, .. } => site.to_string(),
            Arrival::Online { site } => format!("+{site}"),
            Arrival::Offline { site } => format!("-{site}"),
        }
    }

    #[tokio::test]
    async fn one_site_cannot_take_the_others_places() {
        let (inbox, mut arrivals, counters) = inbox(WAITING_MAX);
        let loud = inbox.place("loud").unwrap();
        for _ in 0..SITE_WAITING_MAX + 5 {
            inbox.message(&loud, UpLeaf::Up, b"x");
        }
        inbox.message(&inbox.place("quiet").unwrap(), UpLeaf::Up, b"y");
        let stats = counters.read();
        assert_eq!((stats.received_dropped, stats.waiting), (5, SITE_WAITING_MAX + 1));

        for _ in 0..SITE_WAITING_MAX {
            assert_eq!(site_of(arrivals.recv().await), "loud");
        }
        assert_eq!(site_of(arrivals.recv().await), "quiet");
        assert_eq!((counters.read().waiting, counters.read().waiting_bytes), (0, 0));
        inbox.message(&loud, UpLeaf::Up, b"x");
        assert_eq!(site_of(arrivals.recv().await), "loud", "room that was given back can be taken again");
    }

    #[tokio::test]
    async fn bytes_are_bounded_over_all_sites() {
        let (inbox, arrivals, counters) = inbox(WAITING_MAX);
        let payload = vec![0; 65_536];
        for index in 0..1_100 {
            inbox.message(&inbox.place(&format!("g{}", index / 50)).unwrap(), UpLeaf::Up, &payload);
        }
        assert_eq!(counters.read().waiting_bytes, WAITING_BYTES_MAX);
        assert_eq!(counters.read().received_dropped, 1_100 - 1_024);
        drop(arrivals);
        assert_eq!(counters.read().waiting_bytes, 0);
    }

    #[tokio::test]
    async fn presence_survives_a_full_queue_and_the_last_word_counts() {
        let (inbox, mut arrivals, counters) = inbox(2);
        let (a, b) = (inbox.place("a").unwrap(), inbox.place("b").unwrap());
        inbox.message(&a, UpLeaf::Beat, b"");
        inbox.message(&b, UpLeaf::Beat, b"");
        inbox.message(&b, UpLeaf::Beat, b"");
        inbox.presence(&a, true);
        inbox.presence(&a, false);
        inbox.presence(&b, true);
        assert_eq!((counters.read().received_dropped, counters.read().online), (1, 1));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(site_of(arrivals.recv().await));
        }
        assert_eq!(seen, ["a", "b", "-a", "+b"]);
        inbox.presence(&b, false);
        assert_eq!(site_of(arrivals.recv().await), "-b");
    }

    #[tokio::test]
    async fn the_end_comes_after_what_was_queued() {
        let (inbox, mut arrivals, _) = inbox(4);
        let place = inbox.place("a").unwrap();
        inbox.presence(&place, true);
        inbox.close();
        inbox.message(&place, UpLeaf::Up, b"late");
        assert_eq!(site_of(arrivals.recv().await), "+a");
        assert_eq!(arrivals.recv().await, None);
    }
}
