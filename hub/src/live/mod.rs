//! The change log, and the streams on which pages follow it.
//!
//! Every change that a page shows is appended to `event` inside the transaction that makes it. Its sequence comes from
//! a counter row which the transaction then holds until it commits, so that sequence order is commit order on both
//! databases and a reader who has seen *n* has seen everything below *n*. Take the counter last: whoever holds it makes
//! every other writer wait.
//!
//! [`Live`] reads the log's tail once and fans it out to all open streams (`http.rs`), each of which checks rights event
//! by event.

mod http;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};

use crate::ids::RegionCode;
use crate::store::Store;

pub use http::{LiveRoom, routes};
pub use store::{append, append_with, current, expire};

/// Events that a stream may fall behind before it reads the log itself. At 300 presses a second this is three seconds.
const TAIL_EVENTS_MAX: usize = 1_024;
/// How often the tail looks without being told: another hub on the same PostgreSQL does not notify this one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause after the database failed to answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Open streams of the whole hub. A county's staff with several pages each is some hundreds; each stream costs about 20 kB.
const STREAMS_MAX: usize = 4_000;

/// A change to be written to the log.
#[derive(Clone, Debug)]
pub struct Draft {
    /// `alarm`, `site`, `device`, `fault`, `camera`, `evidence`, `export`, `speaker` or `notice`.
    pub kind: &'static str,
    /// Who may see it: people of this region and of those above it.
    pub region: RegionCode,
    /// Id of what changed.
    pub subject: String,
    /// What changed, whole, as the page gets it.
    pub body: serde_json::Value,
}

/// A change as it stands in the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Position in the log, from 1.
    pub sequence: i64,
    /// `alarm`, `site`, `device`, `fault`, `camera`, `evidence`, `export`, `speaker` or `notice`.
    pub kind: String,
    /// Who may see it.
    pub region: RegionCode,
    /// JSON text.
    pub body: String,
}

/// The tail of the change log, shared by all streams.
#[derive(Clone, Debug)]
pub struct Live {
    store: Store,
    tail: broadcast::Sender<Arc<Event>>,
    newest: watch::Sender<i64>,
    wake: Arc<Notify>,
    streams: Arc<AtomicUsize>,
}

/// A place among the open streams, given back when dropped.
#[derive(Debug)]
struct StreamSeat(Arc<AtomicUsize>);

impl Drop for StreamSeat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Live {
    /// A tail that starts at the log's end. Nothing moves until [`Live::run`] does.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(store: Store) -> Result<Self, sqlx::Error> {
        let newest = current(&mut *store.reader().acquire().await?).await?;
        Ok(Self {
            store,
            tail: broadcast::Sender::new(TAIL_EVENTS_MAX),
            newest: watch::Sender::new(newest),
            wake: Arc::new(Notify::new()),
            streams: Arc::new(AtomicUsize::new(0)),
        })
    }

    /// Says that a transaction with events has committed.
    pub fn notify(&self) {
        self.wake.notify_one();
    }

    /// The newest sequence that the tail has passed on.
    pub fn newest(&self) -> i64 {
        *self.newest.borrow()
    }

    /// Open streams now.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Passes new events on, for ever.
    pub async fn run(self) {
        loop {
            match store::after(self.store.reader(), self.newest(), TAIL_EVENTS_MAX).await {
                Ok(events) => {
                    let read_all = events.len() < TAIL_EVENTS_MAX;
                    self.pass_on(events);
                    if read_all {
                        // A time-out is as good as a notice: either way the loop looks again.
                        let _ = tokio::time::timeout(LOOK_EVERY, self.wake.notified()).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "The change log cannot be read; pages wait");
                    crate::clock::pause(RETRY_AFTER).await;
                }
            }
        }
    }

    fn pass_on(&self, events: Vec<Event>) {
        for event in events {
            let sequence = event.sequence;
            // An error means that nobody is watching, which is fine.
            let _ = self.tail.send(Arc::new(event));
            self.newest.send_replace(sequence);
        }
    }

    fn take_seat(&self) -> Option<StreamSeat> {
        let taken = self.streams.fetch_add(1, Ordering::Relaxed);
        let seat = StreamSeat(Arc::clone(&self.streams));
        (taken < STREAMS_MAX).then_some(seat)
    }
}
