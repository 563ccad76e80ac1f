//! How often something may be tried, and the table that remembers it over restarts.
//!
//! A try is counted before it is known to have failed, in a transaction that holds its row, so that many at once count
//! as many; a try that succeeded is given back. Beyond the free ones each further try closes the door for twice as
//! long, up to a ceiling of minutes: guessing becomes hopeless while a person who mistyped waits seconds.

use sqlx::AnyConnection;

use crate::store::Store;
use crate::web::Problem;

/// Rows untouched for this long are forgotten by [`expire`].
const KEPT_MS: i64 = 24 * 3600 * 1000;
/// The first closed door; doubles with each further try.
const FIRST_WAIT_MS: i64 = 1_000;

/// How often something may be tried.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Tries in a window that cost nothing.
    pub free: i64,
    /// Longest time for which the door stays closed.
    pub wait_ms_max: i64,
    /// The count starts anew after so long.
    pub window_ms: i64,
}

/// What is known of earlier tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    failures: i64,
    window_ms: i64,
    blocked_until_ms: Option<i64>,
}

impl Tries {
    /// Whether there was no failure in the current window.
    pub(super) fn is_clean(&self) -> bool {
        self.failures == 0
    }

    /// How long the door stays closed. `None`: it is open.
    pub(super) fn wait_ms(&self, now_ms: i64) -> Option<i64> {
        self.blocked_until_ms.map(|until_ms| until_ms - now_ms).filter(|wait_ms| *wait_ms > 0)
    }
}

impl Limit {
    /// Tries as they count now: those of an old window are forgotten. A clock that was set back counts as a new window.
    fn current(&self, tries: Tries, now_ms: i64) -> Tries {
        let age_ms = now_ms - tries.window_ms;
        if (0..self.window_ms).contains(&age_ms) { tries } else { Tries { window_ms: now_ms, ..Tries::default() } }
    }

    /// The tries after one more.
    fn counted(&self, tries: Tries, now_ms: i64) -> Tries {
        let failures = tries.failures + 1;
        let beyond = failures - self.free;
        let blocked_until_ms = (beyond > 0).then(|| {
            let doublings = u32::try_from(beyond - 1).unwrap_or(u32::MAX).min(30);
            now_ms + (FIRST_WAIT_MS << doublings).min(self.wait_ms_max)
        });
        Tries { failures, blocked_until_ms, ..tries }
    }
}

/// Reads the tries of a subject and holds its row until the transaction ends.
///
/// # Errors
/// The database's.
pub(super) async fn hold(
    connection: &mut AnyConnection,
    now_ms: i64,
    subject: &str,
    limit: &Limit,
) -> Result<Tries, sqlx::Error> {
    let (failures, window_ms, blocked_until_ms): (i64, i64, Option<i64>) = sqlx::query_as(
        "insert into attempt (subject, failures, window_ms) values ($1, 0, $2) \
         on conflict (subject) do update set failures = attempt.failures \
         returning failures, window_ms, blocked_until_ms",
    )
    .bind(subject)
    .bind(now_ms)
    .fetch_one(connection)
    .await?;
    Ok(limit.current(Tries { failures, window_ms, blocked_until_ms }, now_ms))
}

/// Counts one more try of a subject whose row is held.
pub(super) async fn count(
    connection: &mut AnyConnection,
    now_ms: i64,
    subject: &str,
    limit: &Limit,
    held: Tries,
) -> Result<(), sqlx::Error> {
    let tries = limit.counted(held, now_ms);
    sqlx::query("update attempt set failures = $2, window_ms = $3, blocked_until_ms = $4 where subject = $1")
        .bind(subject)
        .bind(tries.failures)
        .bind(tries.window_ms)
        .bind(tries.blocked_until_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts a try, or refuses it with "too many" and the time to wait.
///
/// # Errors
/// Too many tries; or the database's.
pub async fn admit(store: &Store, now_ms: i64, subject: &str, limit: &Limit) -> Result<(), Problem> {
    let mut transaction = store.begin().await?;
    let tries = hold(&mut transaction, now_ms, subject, limit).await?;
    if let Some(wait_ms) = tries.wait_ms(now_ms) {
        return Err(too_many(wait_ms));
    }
    count(&mut transaction, now_ms, subject, limit, tries).await?;
    transaction.commit().await?;
    Ok(())
}

/// Gives back a try that succeeded. An attacker's own successes thus never wipe out their failures.
///
/// # Errors
/// The database's.
pub async fn give_back(connection: &mut AnyConnection, subject: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update attempt set failures = failures - 1, blocked_until_ms = null where subject = $1 and failures > 0",
    )
    .bind(subject)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets every try of a subject.
pub(super) async fn forget(connection: &mut AnyConnection, subject: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from attempt where subject = $1").bind(subject).execute(connection).await?;
    Ok(())
}

/// Removes what no longer counts. Returns how many rows went.
///
/// # Errors
/// The database's.
pub(super) async fn expire(connection: &mut AnyConnection, now_ms: i64) -> Result<u64, sqlx::Error> {
    let result =
        sqlx::query("delete from attempt where window_ms < $1").bind(now_ms - KEPT_MS).execute(connection).await?;
    Ok(result.rows_affected())
}

/// "Too many tries", with the time to wait rounded up to seconds.
pub(super) fn too_many(wait_ms: i64) -> Problem {
    let seconds = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1_000).max(1);
    Problem::new(
        axum::http::StatusCode::TOO_MANY_REQUESTS,
        "too_many_attempts",
        format!("尝试次数太多，请 {seconds} 秒后再试。"),
        format!("Too many attempts. Try again in {seconds} seconds."),
    )
    .retry_after_s(seconds)
}

/// Names an address for counting: an IPv6 household or server has a whole /64 to itself.
pub fn address_subject(prefix: &str, address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(address) => format!("{prefix}:{address}"),
        std::net::IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{prefix}:{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { free: 3, wait_ms_max: 10_000, window_ms: 60_000 };

    #[test]
    fn the_door_closes_longer_each_time_but_never_beyond_the_ceiling() {
        let mut tries = LIMIT.current(Tries::default(), 0);
        let mut waits = Vec::new();
        for now_ms in 0..10 {
            tries = LIMIT.counted(LIMIT.current(tries, now_ms), now_ms);
            waits.push(tries.wait_ms(now_ms).unwrap_or(0));
        }
        assert_eq!(waits, [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn a_new_window_forgets_and_so_does_a_clock_set_back() {
        let closed = Tries { failures: 9, window_ms: 100_000, blocked_until_ms: Some(160_000) };
        assert_eq!(LIMIT.current(closed, 159_999), closed);
        assert!(LIMIT.current(closed, 160_000).is_clean());
        assert!(LIMIT.current(closed, 99_999).is_clean());
    }

    #[test]
    fn a_household_on_ipv6_counts_as_one() {
        let subject = |text: &str| address_subject("login-from", text.parse().unwrap());
        assert_eq!(subject("2001:db8::1"), subject("2001:db8::ffff:1"));
        assert_ne!(subject("2001:db8::1"), subject("2001:db8:0:1::1"));
        assert_eq!(subject("192.0.2.7"), "login-from:192.0.2.7");
    }
}
