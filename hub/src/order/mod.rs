//! Orders: what the hub has its gateways do, signed with the county's root key, or with the key of the region that alone hears it.
//!
//! An order is given inside the transaction that decided it: its counter is taken, it is signed and appended to the outbox of
//! its site, and either all of that is true after the commit or nothing is. `link` sends it. The counter is
//! `max(last + 1, UTC ms)` for the issuer in the lane, so that it grows over restarts and over a restored backup alike.
//! `clock.rs` answers gateways that ask what time it is; `key.rs` keeps the regions' keys, and `http.rs` shows and ends them.

mod clock;
mod http;
mod key;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use sqlx::AnyConnection;
use tongluo_protocols::id::{ContentId, Lane};
use tongluo_protocols::order::{Algorithm, Delegation, List, ORDER_BYTES_MAX, Order, ROOT, Sound, Target, Targets};

use crate::fleet::Authority;
use crate::ids::{RegionCode, SiteId};
use crate::link::Outbox;
use crate::seal::Seal;

pub use clock::answer_clocks;
pub use http::{OrderRoom, routes};
use key::{Delegated, Scope};

/// Who gives orders; clones share the keys and the outbox.
#[derive(Clone, Debug)]
pub struct Orders {
    authority: Arc<Authority>,
    seal: Seal,
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
    /// Orders in the name of this authority, by this outbox; regions' keys are stored under this seal.
    pub fn new(authority: Arc<Authority>, seal: Seal, outbox: Outbox) -> Self {
        Self { authority, seal, outbox }
    }

    /// Gives an order of the root's to a site, inside the caller's transaction. It leaves after the commit, at [`Orders::wake`].
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
        let counter = next_counter(connection, now_ms, ROOT, order.lane).await?;
        self.append(connection, now_ms, site, (ROOT, counter, self.authority.order_key()), order).await
    }

    /// Gives an order that is to be heard in `reach` and nowhere else, with the narrowest key that may; otherwise like
    /// [`Orders::give`]. Before the first order of a key the gateway is told of it.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Panics
    /// The order is longer than one may be, which is the caller's mistake.
    pub async fn give_locally(
        &self,
        connection: &mut AnyConnection,
        now_ms: i64,
        (site, reach): (&SiteId, &RegionCode),
        order: &NewOrder<'_>,
    ) -> Result<(), sqlx::Error> {
        let Some(scope) = order.sound.and_then(|sound| Scope::of(reach.as_str(), sound.class)) else {
            return self.give(connection, now_ms, site, order).await;
        };
        let delegated = key::current(connection, &self.seal, now_ms, scope).await?;
        // Its own counter is held before the root's, always: two that wait for each other would wait for ever.
        let counter = next_counter(connection, now_ms, &delegated.issuer, order.lane).await?;
        if !key::is_told(connection, now_ms, site, &delegated).await? {
            self.delegate(connection, now_ms, site, (scope, order.lane), &delegated).await?;
            key::tell(connection, now_ms, site, &delegated).await?;
        }
        self.append(connection, now_ms, site, (&delegated.issuer, counter, &delegated.key), order).await
    }

    /// Has no gateway obey a region's keys any more. The next order there draws another. Returns the sites that
    /// are told, to be woken after the commit.
    ///
    /// # Errors
    /// The database's.
    pub async fn withdraw(
        &self,
        connection: &mut AnyConnection,
        now_ms: i64,
        region: &RegionCode,
    ) -> Result<Vec<SiteId>, sqlx::Error> {
        let scope = Scope { region: region.as_str(), classes: &[] };
        let mut told = Vec::new();
        for (issuer, sites) in key::end(connection, now_ms, region).await? {
            // A name is withdrawn by giving it to a key whose secret nobody keeps, and whose time is over.
            let nobody = Delegated { issuer, key: key::secret(), not_before_ms: 0, not_after_ms: now_ms - 1 };
            for site in sites {
                self.delegate(connection, now_ms, &site, (scope, Lane::Urgent), &nobody).await?;
                told.push(site);
            }
        }
        Ok(told)
    }

    /// Tells a gateway, as the root, what a key may order from now on.
    async fn delegate(
        &self,
        connection: &mut AnyConnection,
        now_ms: i64,
        site: &SiteId,
        (scope, lane): (Scope<'_>, Lane),
        delegated: &Delegated,
    ) -> Result<(), sqlx::Error> {
        let regions = [scope.region];
        let delegation = Delegation {
            issuer: &delegated.issuer,
            algorithm: Algorithm::Ed25519.number(),
            key: delegated.key.verifying_key().to_bytes(),
            regions: List::new(&regions),
            classes: List::new(scope.classes),
            not_before_ms: delegated.not_before_ms,
            not_after_ms: delegated.not_after_ms,
        };
        let mut body = [0; DELEGATION_BYTES_MAX];
        let length = delegation.emit(&mut body).expect("a delegation of one region fits");
        let order = NewOrder {
            kind: Delegation::KIND,
            lane,
            // A withdrawal is as true in a year, when a gateway that was away comes back.
            valid_ms: (delegated.not_after_ms - now_ms).max(WITHDRAWN_FOR_MS),
            sound: None,
            content: None,
            body: &body[..length],
        };
        self.give(connection, now_ms, site, &order).await
    }

    async fn append(
        &self,
        connection: &mut AnyConnection,
        now_ms: i64,
        site: &SiteId,
        (issuer, counter, key): (&str, u64, &SigningKey),
        order: &NewOrder<'_>,
    ) -> Result<(), sqlx::Error> {
        let targets = [Target::Site(site.as_str())];
        let signed = Order {
            kind: order.kind,
            issuer,
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
        let length = signed.sign(key, &mut buffer).expect("an order within its limits");
        self.outbox.append(connection, now_ms, site, order.lane, order.kind, &buffer[..length]).await
    }

    /// Has what was ordered of a site sent, after the commit.
    pub fn wake(&self, site: &SiteId) {
        self.outbox.wake(site);
    }
}

/// A gateway's clock may be behind the hub's by so much and still obey at once.
const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// A gateway that was away for so long is enrolled anew.
const WITHDRAWN_FOR_MS: i64 = 366 * 24 * 3_600_000;
/// A delegation of one region and every class there is takes less.
const DELEGATION_BYTES_MAX: usize = 256;

/// Takes an issuer's next counter in a lane. The row is held until the caller commits.
async fn next_counter(
    connection: &mut AnyConnection,
    now_ms: i64,
    issuer: &str,
    lane: Lane,
) -> Result<u64, sqlx::Error> {
    let last: i64 = sqlx::query_scalar(
        "insert into order_counter (issuer, lane, last) values ($1, $2, $3) \
         on conflict (issuer, lane) do update set last = case when order_counter.last >= excluded.last \
         then order_counter.last + 1 else excluded.last end returning last",
    )
    .bind(issuer)
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
