//! Exports: stretches of recordings that somebody takes out of a village, as one file that any player opens.
//!
//! Recordings stay where they were made; an export is the exception, so it wants a right, a reason, and leaves its lines in the
//! audit trail: asked, how it ended, each download. A task of its own ([`task`]) fetches the stretch through the relay as far as
//! the village's line gives it, writes the pictures as they are into an MP4 with its index in front ([`film`]), and keeps it as
//! content under its SHA-256 for a week. The pictures are not decoded, so nothing is burnt into them: who took them out, when and
//! why stands in the file's own description, in the row, and in the audit trail; the hash says that the file is the one.
//!
//! What a person may take out is what [`access`](super::access()) lets them see; while it runs, that is asked again.

mod film;
mod http;
mod store;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::ids::{ExportId, SiteId};

pub(super) use http::routes;
pub(super) use store::{expire, interrupt};

/// The longest stretch of one export: half an hour. What lasted longer is taken out in parts.
const SPAN_MS_MAX: i64 = 30 * 60 * 1000;
/// The shortest.
const SPAN_MS_MIN: i64 = 1_000;
/// For how long a finished export is kept here: long enough to be fetched and handed over.
const KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
/// Exports of the whole hub at once: each writes as fast as a village's line gives.
const RUNNING_MAX: usize = 8;
/// Exports of one site at once: its line carries an alarm's live pictures, too.
const RUNNING_PER_SITE_MAX: usize = 1;

/// The exports that are being made in this process, and how to stop them.
#[derive(Clone, Debug, Default)]
pub struct Exports(Arc<Mutex<HashMap<ExportId, Running>>>);

#[derive(Debug)]
struct Running {
    site: SiteId,
    stop: watch::Sender<bool>,
}

/// The place of one export that is being made; given up when dropped.
#[derive(Debug)]
struct Turn {
    exports: Exports,
    id: ExportId,
    stop: watch::Receiver<bool>,
}

impl Exports {
    /// Takes a place. `None`: there are as many as may be.
    fn begin(&self, id: &ExportId, site: &SiteId) -> Option<Turn> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_site = running.values().filter(|one| one.site == *site).count();
        if running.len() >= RUNNING_MAX || of_site >= RUNNING_PER_SITE_MAX {
            return None;
        }
        let (sender, stop) = watch::channel(false);
        running.insert(id.clone(), Running { site: site.clone(), stop: sender });
        Some(Turn { exports: self.clone(), id: id.clone(), stop })
    }

    /// Stops one, if it is being made.
    fn stop(&self, id: &ExportId) {
        if let Some(running) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            running.stop.send_replace(true);
        }
    }
}

impl Turn {
    /// Returns when the export is to be stopped.
    async fn stopped(&mut self) {
        if self.stop.wait_for(|stop| *stop).await.is_err() {
            // The sender lies in the map until this turn is dropped.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.exports.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
