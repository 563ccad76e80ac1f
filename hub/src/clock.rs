//! The only file of the hub that reads a clock.
//!
//! Everything else takes the time as an argument, so that each rule can be tried at any hour. Records carry UTC
//! milliseconds, which a step of the clock may move backwards; waiting uses monotonic time, which it may not.
#![expect(clippy::disallowed_methods, reason = "this is the one place that reads clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// UTC now, in milliseconds since 1970. A clock before 1970 reads as 0.
pub fn utc_ms() -> i64 {
    #[cfg(test)]
    if let Some(stopped_ms) = testing::stopped_ms() {
        return stopped_ms;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A point in monotonic time, for measuring durations.
pub fn instant() -> Instant {
    Instant::now()
}

/// Waits; for pauses between retries and for periodic work only.
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A clock that stands still, for rules that count seconds on a machine that may be slow.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::Cell;

    thread_local! {
        static STOPPED_MS: Cell<Option<i64>> = const { Cell::new(None) };
    }

    /// UTC stands still on this thread, which is one test's, from now on.
    pub(crate) fn stop() {
        let now_ms = super::utc_ms();
        STOPPED_MS.set(Some(now_ms));
    }

    pub(super) fn stopped_ms() -> Option<i64> {
        STOPPED_MS.get()
    }
}
