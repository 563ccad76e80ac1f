//! Who is connected, and the decisions of the embedded broker: pure of rmqtt, except for the name of a session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rmqtt::types::Id;

use crate::broker::Gate;
use crate::broker::counters::Counters;
use crate::broker::inbox::{Inbox, Place};

/// Messages on their way to one gateway, queued or unacknowledged. Beyond this `publish` drops and says so.
pub(super) const OUTSTANDING_MAX: usize = 64;

/// Payload bytes on their way to all gateways, likewise: one message of 16 KiB to each gateway of the stress county, and
/// some. It bounds what a county of gateways that take nothing can make the hub hold.
const OUTSTANDING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Everything that the hooks share.
pub(super) struct House {
    pub(super) inbox: Inbox,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) counters: Arc<Counters>,
    connections: RwLock<HashMap<String, Arc<Connection>>>,
    closing: AtomicBool,
    /// Payload bytes on their way to all gateways.
    outstanding_bytes: Arc<AtomicUsize>,
}

/// The connection that speaks for a site now.
pub(super) struct Connection {
    session: Id,
    pub(super) place: Arc<Place>,
    outstanding: Mutex<Outstanding>,
    /// The house's sum.
    outstanding_bytes: Arc<AtomicUsize>,
    /// Its certificate was revoked; whatever it still says is not heard.
    revoked: AtomicBool,
}

/// What is queued for a gateway or not acknowledged by it.
#[derive(Default)]
struct Outstanding {
    messages: usize,
    bytes: usize,
}

impl House {
    pub(super) fn new(inbox: Inbox, gate: Arc<dyn Gate>, counters: Arc<Counters>) -> Self {
        Self {
            inbox,
            gate,
            counters,
            connections: RwLock::default(),
            closing: AtomicBool::new(false),
            outstanding_bytes: Arc::default(),
        }
    }

    /// A session has begun. It takes over from an older one of the same site, whose end is then no news.
    pub(super) fn arrived(&self, session: Id) {
        let site = session.client_id.to_string();
        let Some(place) = self.inbox.place(&site) else { return };
        let connection = Arc::new(Connection {
            session,
            place: Arc::clone(&place),
            outstanding: Mutex::default(),
            outstanding_bytes: Arc::clone(&self.outstanding_bytes),
            revoked: AtomicBool::new(false),
        });
        self.counters.connects.add();
        // Presence is told under the lock, so that it is told in the order in which the connections changed.
        let mut connections = self.connections.write().unwrap_or_else(PoisonError::into_inner);
        connections.insert(site, connection);
        self.inbox.presence(&place, true);
    }

    /// A session has ended.
    pub(super) fn left(&self, session: &Id) {
        let mut connections = self.connections.write().unwrap_or_else(PoisonError::into_inner);
        let site: &str = &session.client_id;
        if connections.get(site).is_some_and(|connection| connection.session == *session)
            && let Some(connection) = connections.remove(site)
        {
            self.inbox.presence(&connection.place, false);
        }
    }

    /// The connection that speaks for a site.
    pub(super) fn connection(&self, site: &str) -> Option<Arc<Connection>> {
        self.connections.read().unwrap_or_else(PoisonError::into_inner).get(site).map(Arc::clone)
    }

    /// The connection that is this session, unless another has taken over.
    pub(super) fn connection_of(&self, session: &Id) -> Option<Arc<Connection>> {
        self.connection(&session.client_id).filter(|connection| connection.session == *session)
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

impl Connection {
    /// Takes room for one message of so many bytes on its way; `false` when there is none.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let mut outstanding = self.outstanding();
        let before = self.outstanding_bytes.fetch_add(bytes, Ordering::Relaxed);
        if outstanding.messages >= OUTSTANDING_MAX || before + bytes > OUTSTANDING_BYTES_MAX {
            self.outstanding_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        outstanding.messages += 1;
        outstanding.bytes += bytes;
        true
    }

    /// Gives it back. A message that was meant for the connection before this one has no room here; then nothing changes.
    pub(super) fn release(&self, bytes: usize) {
        let mut outstanding = self.outstanding();
        let Some(messages) = outstanding.messages.checked_sub(1) else { return };
        let bytes = bytes.min(outstanding.bytes);
        outstanding.messages = messages;
        outstanding.bytes -= bytes;
        self.outstanding_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let bytes = self.outstanding().bytes;
        self.outstanding_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::inbox::{Arrival, Arrivals};
    use crate::ids::SiteId;

    struct Open;

    impl Gate for Open {
        fn allows(&self, _site: &SiteId, _serial: &[u8]) -> bool {
            true
        }
    }

    fn house() -> (House, Arrivals) {
        let counters = Arc::new(Counters::default());
        let (inbox, arrivals) = Inbox::new(16, Arc::clone(&counters));
        (House::new(inbox, Arc::new(Open), counters), arrivals)
    }

    fn session(port: u16) -> Id {
        let remote = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        Id::new(1, 1, None, Some(remote), "a".into(), None)
    }

    #[tokio::test]
    async fn the_end_of_a_session_that_was_taken_over_is_no_news() {
        let (house, mut arrivals) = house();
        let site = || SiteId::from_known("a");
        house.arrived(session(1));
        house.arrived(session(2));
        house.left(&session(1));
        assert!(house.connection_of(&session(1)).is_none() && house.connection_of(&session(2)).is_some());
        assert_eq!(house.counters.read().online, 1);
        house.left(&session(2));
        let expected =
            [Arrival::Online { site: site() }, Arrival::Online { site: site() }, Arrival::Offline { site: site() }];
        for arrival in expected {
            assert_eq!(arrivals.try_recv(), Some(arrival));
        }
        assert_eq!((arrivals.try_recv(), house.counters.read().online), (None, 0));
    }

    #[tokio::test]
    async fn what_is_on_its_way_is_bounded_per_gateway_and_in_all() {
        let (house, _arrivals) = house();
        house.arrived(session(1));
        let connection = house.connection("a").unwrap();
        for _ in 0..OUTSTANDING_MAX {
            assert!(connection.reserve(1));
        }
        assert!(!connection.reserve(1), "one more than a gateway may have");
        for _ in 0..OUTSTANDING_MAX + 1 {
            connection.release(1);
        }
        assert!(connection.reserve(OUTSTANDING_BYTES_MAX), "room came back");
        assert!(!connection.reserve(1), "one byte more than all may have");
        house.left(&session(1));
        drop(connection);
        house.arrived(session(2));
        assert!(house.connection("a").unwrap().reserve(OUTSTANDING_BYTES_MAX), "a connection that ends gives all back");
    }
}
