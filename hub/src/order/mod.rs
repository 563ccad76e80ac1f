//! Orders: what the hub has its gateways do, signed with the county's root key.
//!
//! An order is given inside the transaction that decided it: its counter is taken, it is signed and appended to the outbox of
//! its site, and either all of that is true after the commit or nothing is. `link` sends it. The counter is
//! `max(last + 1, UTC ms)` for the issuer in the lane, so that it grows over restarts and over a restored backup alike.
//! `clock.rs` answers gateways that ask what time it is.

mod clock;

use std::sync::Arc;

use sqlx::AnyConnection;
use tongluo_protocols::id::{ContentId, Lane};
use tongluo_protocols::order::{ORDER_BYTES_MAX, Order, ROOT, Sound, Target, Targets};

use crate::fleet::Authority;
use crate::ids::SiteId;
use crate::link::Outbox;

pub use clock::answer_clocks;

/// Who gives orders; clones share the key and the outbox.
#[derive(Clone, Debug)]
pub struct Orders {
    authority: Arc<Authority>,
    outbox: Outbox,
}

/// What is to be ordered of one site.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// What the body is.
    pub kind: u16,
    /// Urgent for what sounds or answers, routine for the rest.
    pub lane: Lane,
    /// For how long it may be obeyed, in milliseconds from now.
    pub valid_ms: i64,
    /// What it may sound like.
    pub sound: Option<Sound>,
    /// The content that it refers to.
    pub content: Option<ContentId>,
    /// What is to be done.
    pub body: &'a [u8],
}

impl Orders {
    /// Orders in the name of this authority, by this outbox.
    pub fn new(authority: Arc<Authority>, outbox: Outbox) -> Self {
        Self { authority, outbox }
    }

    /// Gives an order to a site, inside the caller's transaction. It leaves after the commit, at [`Orders::wake`].
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Panics
    /// The order is longer than one may be, which is the caller's mistake.
    pub async fn give(
        &self,
        connection: &mut AnyConnection,
        now_ms: i64,
        site: &SiteId,
        order: &NewOrder<'_>,
    ) -> Result<(), sqlx::Error> {
        let counter = next_counter(connection, now_ms, order.lane).await?;
        let targets = [Target::Site(site.as_str())];
        let signed = Order {
            kind: order.kind,
            issuer: ROOT,
            lane: order.lane,
            counter,
            not_before_ms: now_ms.saturating_sub(CLOCK_TOLERANCE_MS),
            not_after_ms: now_ms.saturating_add(order.valid_ms),
            targets: Targets::new(&targets),
            sound: order.sound,
            content: order.content,
            body: order.body,
        };
        let mut buffer = [0; ORDER_BYTES_MAX];
        let length = signed.sign(self.authority.order_key(), &mut buffer).expect("an order within its limits");
        self.outbox.append(connection, now_ms, site, order.lane, order.kind, &buffer[..length]).await
    }

    /// Has what was ordered of a site sent, after the commit.
    pub fn wake(&self, site: &SiteId) {
        self.outbox.wake(site);
    }
}

/// A gateway's clock may be behind the hub's by so much and still obey at once.
const CLOCK_TOLERANCE_MS: i64 = 60_000;

/// Takes the root's next counter in a lane. The row is held until the caller commits.
async fn next_counter(connection: &mut AnyConnection, now_ms: i64, lane: Lane) -> Result<u64, sqlx::Error> {
    let last: i64 = sqlx::query_scalar(
        "insert into order_counter (issuer, lane, last) values ($1, $2, $3) \
         on conflict (issuer, lane) do update set last = case when order_counter.last >= excluded.last \
         then order_counter.last + 1 else excluded.last end returning last",
    )
    .bind(ROOT)
    .bind(i64::from(lane.number()))
    .bind(now_ms.max(1))
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(last).expect("counters begin at 1"))
}

/// The last counter that the root gave out in a lane, if it gave any.
async fn last_counter(connection: &mut AnyConnection, lane: Lane) -> Result<Option<u64>, sqlx::Error> {
    let last: Option<i64> = sqlx::query_scalar("select last from order_counter where issuer = $1 and lane = $2")
        .bind(ROOT)
        .bind(i64::from(lane.number()))
        .fetch_optional(connection)
        .await?;
    Ok(last.and_then(|last| u64::try_from(last).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::each_store;

    #[tokio::test]
    async fn counters_grow_whatever_the_clock_does() {
        each_store(async |store| {
            let mut transaction = store.begin().await.unwrap();
            let mut counters = Vec::new();
            for (now_ms, lane) in [
                (5_000, Lane::Urgent),
                (5_000, Lane::Urgent),
                (1_000, Lane::Urgent),
                (9_000, Lane::Urgent),
                (-1, Lane::Routine),
            ] {
                counters.push(next_counter(&mut transaction, now_ms, lane).await.unwrap());
            }
            assert_eq!(counters, [5_000, 5_001, 5_002, 9_000, 1]);
            assert_eq!(last_counter(&mut transaction, Lane::Urgent).await.unwrap(), Some(9_000));
        })
        .await;
    }
}
