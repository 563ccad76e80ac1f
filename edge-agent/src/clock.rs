//! The only reader of clocks in the gateway.
//!
//! Everything else takes the time as an argument, so that rules can be tested in virtual time. Two kinds of time leave this
//! room and are never mixed: monotonic milliseconds since the program started, for deadlines, and UTC milliseconds, for
//! records. UTC may be wrong (a gateway without a battery wakes up in 1970); nothing that decides whether a press is kept looks
//! at it.

#![expect(clippy::disallowed_methods, reason = "this is the one place that reads clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A copyable handle to the machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting monotonic time at zero, now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Monotonic milliseconds since [`Clock::start`].
    #[must_use]
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// UTC as milliseconds since 1970, as the machine believes it; negative before 1970.
    #[must_use]
    pub fn utc_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Returns once [`Clock::mono_ms`] has reached `deadline_ms`; never, for `None`.
    pub async fn until(&self, deadline_ms: Option<u64>) {
        match deadline_ms {
            Some(deadline_ms) => {
                let deadline = self.started + Duration::from_millis(deadline_ms);
                tokio::time::sleep_until(deadline.into()).await;
            }
            None => std::future::pending().await,
        }
    }
}
