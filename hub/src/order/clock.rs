//! Gateways that ask what time it is, and their answers.
//!
//! The question is a number in a heartbeat; the answer is an urgent order with that number, so it is signed, and no older than
//! the question. It names the last urgent counter that the root and each key of its regions gave out, if the site has everything urgent: a gateway whose disk
//! was set back then refuses what somebody kept of its former orders. Routine orders are named no floor, because a gateway
//! whose disk was set back is sent those again on purpose.

use std::collections::HashMap;
use std::time::Duration;

use tongluo_protocols::id::Lane;
use tongluo_protocols::order::{ClockAnswer, FLOORS_MAX, Floor, List, Nonce, ROOT};

use super::{NewOrder, Orders, key, last_counter};
use crate::clock;
use crate::ids::SiteId;
use crate::store::Store;

/// A gateway takes no answer that comes later.
const VALID_MS: i64 = 60_000;
/// Rest after the database failed; gateways ask again.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Answers for as long as the hub runs.
pub async fn answer_clocks(store: Store, orders: Orders) {
    loop {
        let questions = orders.outbox.questions().await;
        if let Err(error) = answer(&store, &orders, &questions).await {
            tracing::error!(%error, "Gateways cannot be told the time; they ask again");
            clock::pause(REST_AFTER_FAILURE).await;
        }
    }
}

/// Answers all who ask in one transaction.
pub(super) async fn answer(
    store: &Store,
    orders: &Orders,
    questions: &HashMap<SiteId, Nonce>,
) -> Result<(), sqlx::Error> {
    let mut transaction = store.begin().await?;
    for (site, nonce) in questions {
        let has_everything = !orders.outbox.waits(&mut transaction, site, Lane::Urgent).await?;
        let last = last_counter(&mut transaction, Lane::Urgent).await?.filter(|_| has_everything);
        let delegated = match has_everything {
            true => key::counters(&mut transaction, site, i64::from(Lane::Urgent.number())).await?,
            false => Vec::new(),
        };
        let counter = |last: i64| u64::try_from(last).unwrap_or(0);
        let delegated = delegated.iter().map(|(issuer, last)| (issuer.as_str(), counter(*last)));
        let floors: Vec<Floor<'_>> = last
            .map(|last| (ROOT, last))
            .into_iter()
            .chain(delegated)
            .map(|(issuer, counter)| Floor { issuer, lane: Lane::Urgent, counter })
            .take(FLOORS_MAX)
            .collect();
        let now_ms = clock::utc_ms();
        let answer = ClockAnswer { nonce: *nonce, site: site.as_str(), utc_ms: now_ms, floors: List::new(&floors) };
        let mut body = [0; ClockAnswer::BYTES_MAX];
        let length = answer.emit(&mut body).expect("a buffer of this length takes any answer");
        let order = NewOrder {
            kind: ClockAnswer::KIND,
            lane: Lane::Urgent,
            valid_ms: VALID_MS,
            sound: None,
            content: None,
            body: &body[..length],
        };
        orders.give(&mut transaction, now_ms, site, &order).await?;
    }
    transaction.commit().await?;
    questions.keys().for_each(|site| orders.wake(site));
    Ok(())
}
