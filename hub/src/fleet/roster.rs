//! Which certificate each site lives under, in memory: the broker asks at every connection.
//!
//! It is read from the ledger when the hub starts and after each change, never edited in place, so that it cannot come
//! to differ from what was committed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, broadcast};

use super::authority::{Authority, serial_bytes};
use super::store;
use crate::ids::SiteId;
use crate::store::Store;

/// Notices that a slow listener may fall behind. Revocations come by hand, one at a time; a listener that lags must look
/// at every session again.
const NOTICES_MAX: usize = 1_024;

/// The live certificates.
#[derive(Clone, Debug)]
pub struct Roster {
    live: Arc<RwLock<HashMap<SiteId, Vec<u8>>>>,
    /// Changes follow one another, or an older reading could replace a newer one.
    changing: Arc<Mutex<()>>,
    revoked: broadcast::Sender<SiteId>,
}

impl Roster {
    /// Reads the live certificates from the ledger.
    ///
    /// # Errors
    /// The database's.
    pub async fn load(store: &Store) -> Result<Self, sqlx::Error> {
        let live = store::live_serials(store.reader()).await?;
        let live = live.into_iter().filter_map(|(site, serial)| Some((site, serial_bytes(&serial)?))).collect();
        Ok(Self {
            live: Arc::new(RwLock::new(live)),
            changing: Arc::new(Mutex::new(())),
            revoked: broadcast::Sender::new(NOTICES_MAX),
        })
    }

    /// Whether `serial` (big-endian) is the one live certificate of `site`.
    pub fn allows(&self, site: &SiteId, serial: &[u8]) -> bool {
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.get(site).is_some_and(|live| live == &serial[zeros..])
    }

    /// Sites whose certificate was revoked or replaced, as it happens: whoever is connected under them must go. After
    /// `Lagged`, ask [`Roster::allows`] for every connection.
    pub fn revocations(&self) -> broadcast::Receiver<SiteId> {
        self.revoked.subscribe()
    }

    /// Takes over what was committed for a site, writes the revocation list, and tells those who hold connections.
    pub(crate) async fn changed(&self, store: &Store, authority: &Arc<Authority>, site: &SiteId, now_ms: i64) {
        let _turn = self.changing.lock().await;
        match store::live_serial(store.reader(), site).await {
            Ok(serial) => self.set(site, serial.as_deref().and_then(serial_bytes)),
            Err(error) => {
                // Nobody is let in rather than somebody who was revoked; a restart reads the ledger anew.
                self.set(site, None);
                tracing::error!(site.id = %site, %error, "The live certificate of a site cannot be read; it is locked out until the hub restarts");
            }
        }
        // No listener is fine: the broker may be somebody else's.
        let _ = self.revoked.send(site.clone());
        if let Err(error) = write_revocation_list(store, authority, now_ms).await {
            tracing::error!(
                error = format!("{error:#}"),
                "The revocation list cannot be written; an external broker does not know of the last revocation"
            );
        }
    }

    fn set(&self, site: &SiteId, serial: Option<Vec<u8>>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        match serial {
            Some(serial) => live.insert(site.clone(), serial),
            None => live.remove(site),
        };
    }
}

/// Writes the list of revoked certificates for an external broker, from the ledger. Call it at each start, too.
///
/// # Errors
/// The database's, or the folder cannot be written.
pub async fn write_revocation_list(store: &Store, authority: &Arc<Authority>, now_ms: i64) -> anyhow::Result<()> {
    let revoked = store::revoked(store.reader(), now_ms).await?;
    let authority = Arc::clone(authority);
    tokio::task::spawn_blocking(move || authority.write_revocations(&revoked, now_ms)).await?
}
