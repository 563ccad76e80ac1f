//! Keys that order beside the root's, each for one region: drawn when they are first needed, sealed at rest, replaced before
//! their time is over, and withdrawn when somebody says so.
//!
//! What goes to one village is signed with that village's key, and what stays in one township and is no danger with the
//! township's, so that an order can never do more than its region, even if the program around it errs. All else is the
//! root's: what reaches further, danger beyond one village, tests, stops, and every order that sounds nothing.
//!
//! A region has two names for its keys, which take turns: the key before goes on being believed until its time is over, so
//! that what was ordered with it and waits somewhere is not refused because a newer key came. Gateways are told of a key by an
//! order of the root's that goes before the first order of its own, in the same lane and transaction.

use ed25519_dalek::SigningKey;
use sqlx::{AnyConnection, Row as _};
use tongluo_protocols::order::Class;

use crate::audit;
use crate::ids::{RegionCode, SiteId};
use crate::seal::Seal;

/// For how long a key may order.
const LIFETIME_MS: i64 = 90 * DAY_MS;
/// A key with less time than this is replaced by the next order. Longer than any order of it is valid.
const RENEW_MS: i64 = 30 * DAY_MS;
/// From when on a key counts, before now: a gateway's clock may be behind.
const BEFORE_MS: i64 = 3_600_000;
/// For so long a gateway counts as told. Less than the week for which the outbox keeps what a gateway whose disk was set back,
/// or a new one in the place of another, is sent again.
const TOLD_FOR_MS: i64 = 6 * DAY_MS;
const DAY_MS: i64 = 24 * 3_600_000;
/// What a region's two names end with.
const TURNS: [&str; 2] = ["-a", "-b"];

/// For which region, and which classes, a key may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) classes: &'static [Class],
}

impl<'a> Scope<'a> {
    /// The narrowest scope whose key may order something of this class that was given for this region. `None`: only the root.
    pub(super) fn of(reach: &'a str, class: Class) -> Option<Self> {
        const SCOPES: [(usize, &[Class]); 2] = [(12, &[Class::Daily, Class::Emergency]), (9, &[Class::Daily])];
        let (digits, classes) = SCOPES.into_iter().find(|(digits, _)| reach.len() >= *digits)?;
        classes.contains(&class).then_some(Self { region: &reach[..digits], classes })
    }

    fn region_code(&self) -> RegionCode {
        RegionCode::from_known(self.region)
    }
}

/// A key that may order now.
pub(super) struct Delegated {
    pub(super) issuer: String,
    pub(super) key: SigningKey,
    pub(super) not_before_ms: i64,
    pub(super) not_after_ms: i64,
}

/// The key of a scope: the present one, or one that is drawn now.
pub(super) async fn current(
    connection: &mut AnyConnection,
    seal: &Seal,
    now_ms: i64,
    scope: Scope<'_>,
) -> Result<Delegated, sqlx::Error> {
    if let Some(present) = usable(connection, seal, now_ms, scope.region).await? {
        return Ok(present);
    }
    draw(connection, seal, now_ms, scope).await?;
    // Whoever drew one at the same time was first; then that is the key.
    usable(connection, seal, now_ms, scope.region).await?.ok_or(sqlx::Error::RowNotFound)
}

/// The region's key with the most time left, if that is enough and its secret opens.
async fn usable(
    connection: &mut AnyConnection,
    seal: &Seal,
    now_ms: i64,
    region: &str,
) -> Result<Option<Delegated>, sqlx::Error> {
    let row = sqlx::query(
        "select issuer, key, not_before_ms, not_after_ms from order_key where region_code = $1 and not_after_ms > $2 \
         order by not_after_ms desc limit 1",
    )
    .bind(region)
    .bind(now_ms + RENEW_MS)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (issuer, sealed): (String, Vec<u8>) = (row.try_get("issuer")?, row.try_get("key")?);
    let secret = seal.unseal(&label(&issuer), &sealed).ok().and_then(|secret| <[u8; 32]>::try_from(secret).ok());
    if let Some(secret) = secret {
        let (not_before_ms, not_after_ms) = (row.try_get("not_before_ms")?, row.try_get("not_after_ms")?);
        return Ok(Some(Delegated { issuer, key: SigningKey::from_bytes(&secret), not_before_ms, not_after_ms }));
    }
    tracing::error!(order.issuer = issuer, "An order key cannot be opened; another takes its place");
    sqlx::query("delete from order_key where issuer = $1").bind(issuer).execute(connection).await?;
    Ok(None)
}

/// Draws a key under the name whose turn it is, unless somebody else just did. The secrets before it are of no more use.
async fn draw(connection: &mut AnyConnection, seal: &Seal, now_ms: i64, scope: Scope<'_>) -> Result<(), sqlx::Error> {
    let before: Option<(String, i64)> = sqlx::query_as(
        "select issuer, not_after_ms from order_key where region_code = $1 order by not_after_ms desc limit 1",
    )
    .bind(scope.region)
    .fetch_optional(&mut *connection)
    .await?;
    // On PostgreSQL another may have drawn and committed since the caller looked. One that has not committed yet is waited for
    // below, at the row that both want.
    if before.as_ref().is_some_and(|(_, not_after_ms)| *not_after_ms > now_ms + RENEW_MS) {
        return Ok(());
    }
    let turn = usize::from(before.is_some_and(|(issuer, _)| issuer.ends_with(TURNS[0])));
    let issuer = format!("{}{}", scope.region, TURNS[turn]);
    let drawn = sqlx::query(
        "insert into order_key (issuer, region_code, key, not_before_ms, not_after_ms) values ($1, $2, $3, $4, $5) \
         on conflict (issuer) do update set key = excluded.key, not_before_ms = excluded.not_before_ms, \
         not_after_ms = excluded.not_after_ms where order_key.not_after_ms <= $6",
    )
    .bind(issuer.as_str())
    .bind(scope.region)
    .bind(seal.seal(&label(&issuer), secret().as_bytes()))
    .bind(now_ms - BEFORE_MS)
    .bind(now_ms + LIFETIME_MS)
    .bind(now_ms + RENEW_MS)
    .execute(&mut *connection)
    .await?;
    if drawn.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("update order_key set key = $3 where region_code = $1 and issuer <> $2")
        .bind(scope.region)
        .bind(issuer.as_str())
        .bind(Vec::<u8>::new())
        .execute(&mut *connection)
        .await?;
    let line = audit::Record::done_by("system", "order_key.draw", issuer, &scope.region_code());
    audit::record(connection, now_ms, line.detail(format!("{} days", LIFETIME_MS / DAY_MS))).await
}

/// Whether a site's gateway has to be told of a key, now that it is to order there.
pub(super) async fn is_told(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    delegated: &Delegated,
) -> Result<bool, sqlx::Error> {
    let told: Option<i64> = sqlx::query_scalar(
        "select told_ms from delegation where site_id = $1 and issuer = $2 and not_after_ms = $3 and told_ms > $4",
    )
    .bind(site.as_str())
    .bind(delegated.issuer.as_str())
    .bind(delegated.not_after_ms)
    .bind(now_ms - TOLD_FOR_MS)
    .fetch_optional(connection)
    .await?;
    Ok(told.is_some())
}

/// Writes down that a site's gateway was told.
pub(super) async fn tell(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    delegated: &Delegated,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into delegation (site_id, issuer, not_after_ms, told_ms) values ($1, $2, $3, $4) \
         on conflict (site_id, issuer) do update set not_after_ms = excluded.not_after_ms, told_ms = excluded.told_ms",
    )
    .bind(site.as_str())
    .bind(delegated.issuer.as_str())
    .bind(delegated.not_after_ms)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a region's keys. Returns under which names, and which sites believe each of them.
pub(super) async fn end(
    connection: &mut AnyConnection,
    now_ms: i64,
    region: &RegionCode,
) -> Result<Vec<(String, Vec<SiteId>)>, sqlx::Error> {
    let issuers: Vec<String> = sqlx::query_scalar(
        "update order_key set key = $3, not_after_ms = $2 where region_code = $1 and not_after_ms > $2 returning issuer",
    )
    .bind(region.as_str())
    .bind(now_ms)
    .bind(Vec::<u8>::new())
    .fetch_all(&mut *connection)
    .await?;
    let mut ended = Vec::new();
    for issuer in issuers {
        let sites: Vec<String> = sqlx::query_scalar("delete from delegation where issuer = $1 returning site_id")
            .bind(issuer.as_str())
            .fetch_all(&mut *connection)
            .await?;
        ended.push((issuer, sites.into_iter().map(SiteId::from_known).collect()));
    }
    Ok(ended)
}

/// The issuers of which a site was told, with the last counter that each gave out in a lane.
pub(super) async fn counters(
    connection: &mut AnyConnection,
    site: &SiteId,
    lane: i64,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query(
        "select c.issuer, c.last from order_counter c join delegation d on d.issuer = c.issuer \
         where d.site_id = $1 and c.lane = $2 order by c.issuer",
    )
    .bind(site.as_str())
    .bind(lane)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("issuer")?, row.try_get("last")?))).collect()
}

/// A new secret.
///
/// # Panics
/// The operating system has no randomness to give; nothing secure can be done then.
pub(super) fn secret() -> SigningKey {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("the operating system gives randomness");
    SigningKey::from_bytes(&secret)
}

/// Under which label a key's secret half is sealed.
fn label(issuer: &str) -> String {
    format!("order-key/{issuer}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Barrier;

    use super::*;
    use crate::seal;
    use crate::store::testing::{VILLAGE, add_site, each_location, each_store};
    use crate::store::{Store, StoreLocation};

    const NOW_MS: i64 = 1_795_363_200_000;
    /// How long a busy machine may take until one transaction waits for another.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// How many transactions of this database wait for a row that another holds.
    const WAITING: &str =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

    fn scope(region: &str) -> Scope<'_> {
        Scope::of(region, Class::Daily).unwrap()
    }

    async fn current_of(store: &Store, seal: &Seal, region: &str) -> Delegated {
        let mut transaction = store.begin().await.unwrap();
        let key = current(&mut transaction, seal, NOW_MS, scope(region)).await.unwrap();
        transaction.commit().await.unwrap();
        key
    }

    async fn assert_one(store: &Store, region: &str) {
        let issuers: Vec<String> = sqlx::query_scalar("select issuer from order_key where region_code = $1")
            .bind(region)
            .fetch_all(store.reader())
            .await
            .unwrap();
        assert_eq!(issuers, [format!("{region}-a")], "one key won");
        let drawn: i64 =
            sqlx::query_scalar("select count(*) from audit where action = 'order_key.draw' and region_code = $1")
                .bind(region)
                .fetch_one(store.reader())
                .await
                .unwrap();
        assert_eq!(drawn, 1);
    }

    /// Two looked and found none; the second draws after the first has committed.
    #[tokio::test]
    async fn a_key_that_was_drawn_a_moment_ago_is_not_drawn_again() {
        each_store(async |store| {
            add_site(&store, "site1").await;
            let seal = seal::for_test();
            let first = current_of(&store, &seal, VILLAGE).await;
            let mut transaction = store.begin().await.unwrap();
            draw(&mut transaction, &seal, NOW_MS + 1, scope(VILLAGE)).await.unwrap();
            transaction.commit().await.unwrap();
            let second = current_of(&store, &seal, VILLAGE).await;
            assert_eq!((&second.issuer, second.key.to_bytes()), (&first.issuer, first.key.to_bytes()));
            assert_one(&store, VILLAGE).await;
        })
        .await;
    }

    /// Two hubs on one PostgreSQL, with the same seal; with SQLite there is one hub, and it writes one thing at a time.
    async fn two_hubs(test: impl AsyncFn(Store, Store, Seal)) {
        each_location(async |location| {
            if matches!(location, StoreLocation::Sqlite(_)) {
                return;
            }
            let (one, other) = (Store::open(&location).await.unwrap(), Store::open(&location).await.unwrap());
            add_site(&one, "site1").await;
            test(one.clone(), other.clone(), seal::for_test()).await;
            one.close().await;
            other.close().await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_hub_that_draws_while_another_has_not_committed_waits_and_uses_the_others_key() {
        two_hubs(async |one, other, seal| {
            let mut transaction = one.begin().await.unwrap();
            let first = current(&mut transaction, &seal, NOW_MS, scope(VILLAGE)).await.unwrap();
            let second = tokio::spawn(async move { current_of(&other, &seal, VILLAGE).await });
            let waits = async {
                while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(one.reader()).await.unwrap() == 0 {
                    assert!(!second.is_finished(), "the second hub waits for the first");
                    crate::clock::pause(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(PATIENCE, waits).await.expect("the second hub comes as far as the row that both want");
            transaction.commit().await.unwrap();
            let second = second.await.unwrap();
            assert_eq!((&second.issuer, second.key.to_bytes()), (&first.issuer, first.key.to_bytes()));
            assert_one(&one, VILLAGE).await;
        })
        .await;
    }

    #[tokio::test]
    async fn two_hubs_that_draw_at_the_same_moment_agree_on_one_key() {
        two_hubs(async |one, other, seal| {
            for number in 0..40 {
                let region = format!("411728102{number:03}");
                let moment = Arc::new(Barrier::new(2));
                let hubs = [one.clone(), other.clone()].map(|store| {
                    let (region, moment, seal) = (region.clone(), Arc::clone(&moment), seal.clone());
                    tokio::spawn(async move {
                        moment.wait().await;
                        current_of(&store, &seal, &region).await
                    })
                });
                let mut keys = Vec::new();
                for hub in hubs {
                    keys.push(hub.await.unwrap());
                }
                assert_eq!(keys[0].issuer, keys[1].issuer);
                assert_eq!(keys[0].key.to_bytes(), keys[1].key.to_bytes());
                assert_one(&one, &region).await;
            }
        })
        .await;
    }
}
