//! Who is connected, and the decisions of the embedded broker: pure of rmqtt, except for the name of a session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rmqtt::types::Id;

use crate::broker::Gate;
use crate::broker::counters::Counters;
use crate::broker::inbox::{Inbox, Place};

/// Everything that the hooks share.
pub(super) struct House {
    pub(super) inbox: Inbox,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) counters: Arc<Counters>,
    connections: RwLock<HashMap<String, Arc<Connection>>>,
    closing: AtomicBool,
}

/// The connection that speaks for a site now.
pub(super) struct Connection {
    session: Id,
    pub(super) place: Arc<Place>,
    /// Messages queued for it or not acknowledged by it.
    outstanding: AtomicUsize,
    /// Its certificate was revoked; whatever it still says is not heard.
    revoked: AtomicBool,
}

impl House {
    pub(super) fn new(inbox: Inbox, gate: Arc<dyn Gate>, counters: Arc<Counters>) -> Self {
        Self { inbox, gate, counters, connections: RwLock::default(), closing: AtomicBool::new(false) }
    }

    /// A session has begun. It takes over from an older one of the same site, whose end is then no news.
    pub(super) fn arrived(&self, session: Id) {
        let site = session.client_id.to_string();
        let Some(place) = self.inbox.place(&site) else { return };
        let connection = Arc::new(Connection {
            session,
            place: Arc::clone(&place),
            outstanding: AtomicUsize::new(0),
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
    /// Takes room for one message on its way; `false` when there is none.
    pub(super) fn reserve(&self, outstanding_max: usize) -> bool {
        let more = |outstanding| (outstanding < outstanding_max).then_some(outstanding + 1);
        self.outstanding.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives it back. A message that was meant for the connection before this one has no room here; then nothing changes.
    pub(super) fn release(&self) {
        let _ = self
            .outstanding
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |outstanding| outstanding.checked_sub(1));
    }

    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}
