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
    #[cfg(test)]
    course: Option<&'static testing::Course>,
}

impl Clock {
    /// Starts counting monotonic time at zero, now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            #[cfg(test)]
            course: None,
        }
    }

    /// Monotonic milliseconds since [`Clock::start`].
    #[must_use]
    pub fn mono_ms(&self) -> u64 {
        #[cfg(test)]
        if let Some(course) = self.course {
            return course.now_ms();
        }
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// UTC as milliseconds since 1970, as the machine believes it; negative before 1970.
    #[must_use]
    pub fn utc_ms(&self) -> i64 {
        #[cfg(test)]
        if let Some(course) = self.course {
            return course.utc_ms();
        }
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Returns once [`Clock::mono_ms`] has reached `deadline_ms`; never, for `None`.
    pub async fn until(&self, deadline_ms: Option<u64>) {
        #[cfg(test)]
        if let (Some(course), Some(deadline_ms)) = (self.course, deadline_ms) {
            return course.until(deadline_ms).await;
        }
        match deadline_ms {
            Some(deadline_ms) => {
                let deadline = self.started + Duration::from_millis(deadline_ms);
                tokio::time::sleep_until(deadline.into()).await;
            }
            None => std::future::pending().await,
        }
    }
}

/// Time that runs as fast as the machine can follow it.
#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Poll, Waker};

    use super::{Clock, Instant};

    /// How often everything that can go on may go on before time does: enough for a whole exchange of an RTSP request over
    /// loopback, each half of which needs a look at the sockets.
    const ROUNDS: u32 = 16;

    /// Virtual time, and who waits for it. Stands still while anything else can go on.
    #[derive(Debug)]
    pub(crate) struct Course {
        utc_start_ms: i64,
        now_ms: AtomicU64,
        waiters: AtomicU64,
        waiting: Mutex<BTreeMap<(u64, u64), Waker>>,
    }

    impl Clock {
        /// A clock in virtual time, which [`Course::run`] moves. It is never freed: clocks are copied freely.
        pub(crate) fn start_virtual(utc_start_ms: i64) -> (Self, &'static Course) {
            let course = Course {
                utc_start_ms,
                now_ms: AtomicU64::new(0),
                waiters: AtomicU64::new(0),
                waiting: Mutex::default(),
            };
            let course: &'static Course = Box::leak(Box::new(course));
            (Self { started: Instant::now(), course: Some(course) }, course)
        }
    }

    impl Course {
        pub(super) fn now_ms(&self) -> u64 {
            self.now_ms.load(Ordering::Relaxed)
        }

        pub(super) fn utc_ms(&self) -> i64 {
            self.utc_start_ms + self.now_ms().cast_signed()
        }

        pub(super) async fn until(&self, deadline_ms: u64) {
            let mut waiter = Waiter { course: self, key: None };
            std::future::poll_fn(|context| {
                waiter.forget();
                if self.now_ms() >= deadline_ms {
                    return Poll::Ready(());
                }
                let key = (deadline_ms, self.waiters.fetch_add(1, Ordering::Relaxed));
                self.waiting.lock().unwrap().insert(key, context.waker().clone());
                waiter.key = Some(key);
                Poll::Pending
            })
            .await;
        }

        /// Moves time from one deadline to the next, whenever nothing else can go on. Runs beside what is tried, on the
        /// same thread.
        pub(crate) async fn run(&self) {
            loop {
                for _ in 0..ROUNDS {
                    tokio::task::yield_now().await;
                }
                let next = self.waiting.lock().unwrap().first_key_value().map(|((deadline_ms, _), _)| *deadline_ms);
                let Some(next_ms) = next else { continue };
                self.now_ms.fetch_max(next_ms, Ordering::Relaxed);
                let mut waiting = self.waiting.lock().unwrap();
                while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= next_ms) {
                    first.remove().wake();
                }
            }
        }

        /// How many timers are running.
        pub(crate) fn timers(&self) -> usize {
            self.waiting.lock().unwrap().len()
        }
    }

    /// Takes its waker back when nobody waits any more.
    struct Waiter<'a> {
        course: &'a Course,
        key: Option<(u64, u64)>,
    }

    impl Waiter<'_> {
        fn forget(&mut self) {
            if let Some(key) = self.key.take() {
                self.course.waiting.lock().unwrap().remove(&key);
            }
        }
    }

    impl Drop for Waiter<'_> {
        fn drop(&mut self) {
            self.forget();
        }
    }
}
