//! The one place here that reads a clock: these programs run in real time, beside the real programs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// UTC in milliseconds, for what is written into messages.
pub fn utc_ms() -> i64 {
    utc_us() / 1000
}

/// UTC in microseconds, by which cameras send their pictures.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn utc_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    i64::try_from(since.as_micros()).expect("the year is not 292,000")
}

/// Lets time pass until then: for devices that speak by the clock.
pub async fn until(instant: Instant) {
    tokio::time::sleep_until(instant.into()).await;
}

/// Lets time pass. Only for the steps between two looks at a condition, and for devices that speak at intervals.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
