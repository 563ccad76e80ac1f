//! People: who they are, how they log in, and what a request must look like before anybody reads it.
//!
//! A password (Argon2id) buys a session: 32 random bytes in a cookie, of which only the SHA-256 is stored, for twelve
//! hours. [`authenticate`] turns the cookie of a request into the [`Viewer`](crate::viewer::Viewer) that other rooms
//! ask for; [`guard`] stands before it and turns away requests for foreign hosts and from foreign pages. A session ends
//! when its person logs out, or when someone changes their password, role or region, or disables them; what streams
//! then looks again ([`Identity::recheck`]).

mod account;
mod cookie;
mod guard;
mod http;
pub mod limit;
mod login;
mod own_password;
mod password;
mod peer;
mod session;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use tokio::sync::watch;

use crate::store::Store;
use password::Passwords;

pub use account::{User, create_first_administrator};
pub use guard::{AllowedHosts, guard};
pub use http::routes;
pub use peer::{Secure, remote_address};
pub use session::{authenticate, session_ms};

// Rooms above this one know the viewer from here; those below it (regions, the audit trail) from where it is written.
pub use crate::viewer::{Right, Role, Viewer};

/// What the identity room works on; cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    store: Store,
    passwords: Passwords,
    sessions_ended: watch::Sender<u64>,
    https_port: u16,
}

impl Identity {
    /// The room over a store; `https_port` is where browsers reach the hub by HTTPS.
    pub fn new(store: Store, https_port: u16) -> Self {
        Self { store, passwords: Passwords::new(), sessions_ended: watch::Sender::new(0), https_port }
    }
}

/// Removes sessions that have ended and failures that no longer count. Returns how many rows went. Call it hourly.
///
/// # Errors
/// The database's.
pub async fn expire(store: &Store, now_ms: i64) -> Result<u64, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let sessions = store::expire_sessions(&mut transaction, now_ms).await?;
    let attempts = limit::expire(&mut transaction, now_ms).await?;
    transaction.commit().await?;
    Ok(sessions + attempts)
}
