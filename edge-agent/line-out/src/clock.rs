//! The only reader of a clock in this program.

#![expect(clippy::disallowed_methods, reason = "this is the one place that reads a clock")]

use std::time::{Duration, Instant};

/// Now, on the monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets time pass.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
