//! People: who they are, how they log in, and what a request must look like before anybody reads it.
//!
//! A password (Argon2id) buys a session: 32 random bytes in a cookie, of which only the SHA-256 is stored, for twelve
//! hours. [`authenticate`] turns the cookie of a request into the [`Viewer`](crate::viewer::Viewer) that other rooms
//! ask for; [`guard`] stands before it and turns away requests for foreign hosts and from foreign pages. A session ends
//! when its person logs out, or when someone changes their password, role or region, or disables them; what streams
//! then looks again ([`Identity::recheck`]).

mod cookie;
pub mod guard;
mod http;
pub mod limit;
mod login;
mod password;
mod peer;
mod session;
mod store;

use tokio::sync::watch;

use crate::store::Store;

pub use guard::{AllowedHosts, guard};
pub use http::routes;
pub use login::create_first_administrator;
pub use peer::{Secure, remote_address};
pub use session::{SESSION_MS, authenticate};

// Rooms above this one know the viewer from here; those below it (regions, the audit trail) from where it is written.
pub use crate::viewer::{Right, Role, Viewer};

/// What the identity room works on; cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    store: Store,
    sessions_ended: watch::Sender<u64>,
}

impl Identity {
    /// The room over a store.
    pub fn new(store: Store) -> Self {
        Self { store, sessions_ended: watch::Sender::new(0) }
    }
}
