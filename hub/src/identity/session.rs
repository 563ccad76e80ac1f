//! Sessions: from a cookie to the person behind it, and how a session ends.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{Identity, cookie, peer, store};
use crate::clock;
use crate::viewer::{Role, Viewer};
use crate::web::Problem;

/// How long a session lasts at a desk that others share: a long shift, so that nobody is logged out in the middle of an alarm.
const SHIFT_MS: i64 = 12 * 3600 * 1000;
/// How long it lasts for a village head, on a phone that is theirs: whoever has to call out danger must not have to remember a
/// password first. Whoever loses the phone changes the password elsewhere, which ends every other session, or has it changed.
const OWN_PHONE_MS: i64 = 30 * 24 * 3600 * 1000;

/// How long a session of this role lasts, in milliseconds.
#[must_use]
pub const fn session_ms(role: Role) -> i64 {
    match role {
        Role::VillageHead => OWN_PHONE_MS,
        _ => SHIFT_MS,
    }
}

/// Layer that finds the [`Viewer`] by the session cookie and puts them into the request. Without a good cookie the
/// request goes on without a viewer; the routes that need one refuse it.
pub async fn authenticate(State(identity): State<Identity>, mut request: Request, next: Next) -> Response {
    let secure = peer::is_secure(request.extensions(), request.headers());
    if let Some(token) = cookie::token(request.headers(), secure) {
        match store::viewer(identity.store.reader(), &hash(&token), clock::utc_ms()).await {
            Ok(Some(viewer)) => {
                request.extensions_mut().insert(viewer);
            }
            Ok(None) => {}
            Err(error) => return Problem::from(error).into_response(),
        }
    }
    next.run(request).await
}

/// What is stored of a token. One round of SHA-256 is enough for 32 random bytes.
pub(super) fn hash(token: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Identity {
    /// Looks at a viewer's session again: the person as they are now, or `None` when the session has ended. For what
    /// lives longer than a request.
    ///
    /// # Errors
    /// The database's.
    pub async fn recheck(&self, viewer: &Viewer, now_ms: i64) -> Result<Option<Viewer>, sqlx::Error> {
        store::viewer(self.store.reader(), &viewer.session_sha256, now_ms).await
    }

    /// Changes whenever sessions end in this process. Streams wait on it to [`recheck`](Self::recheck) at once; they
    /// also look at each beat, because another process or the clock may end a session too.
    pub fn sessions_ended(&self) -> watch::Receiver<u64> {
        self.sessions_ended.subscribe()
    }

    /// Tells streams to look at their sessions.
    pub(super) fn tell_sessions_ended(&self) {
        self.sessions_ended.send_modify(|count| *count += 1);
    }
}
