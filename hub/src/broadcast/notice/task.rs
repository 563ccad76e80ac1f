//! What happens to notices by themselves: nobody said yes, their time is over, or they were kept long enough.

use sqlx::AnyConnection;

use super::machine::{Level, SECOND_MS};
use super::{report, store, view};
use crate::broadcast::KEPT_MS;
use crate::ids::NoticeId;
use crate::live;
use crate::store::Store;

/// Most notices of one transaction.
pub(in crate::broadcast) const NOTICES_MAX: i64 = 64;
/// How long after a notice's last possible sound its reports are waited for.
const REPORTS_MS: i64 = 5 * 60 * 1000;
/// What stands beside a loudspeaker of which nothing was reported.
const UNREPORTED: &str = "unreported";

/// Ends notices that nobody confirmed, and those of which nothing more can come. Returns how many.
pub(in crate::broadcast) async fn settle(store: &Store, now_ms: i64) -> Result<i64, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let ids: Vec<String> = sqlx::query_scalar(
        "select id from notice where settled = 0 and ((state = 'waiting_for_second' and created_ms < $1) \
         or (state in ('sent', 'stopped') and valid_until_ms + duration_ms * times + gap_ms * (times - 1) < $2)) \
         order by id limit $3",
    )
    .bind(now_ms - SECOND_MS)
    .bind(now_ms - REPORTS_MS)
    .bind(NOTICES_MAX)
    .fetch_all(&mut *transaction)
    .await?;
    if ids.is_empty() {
        return Ok(0);
    }
    for id in &ids {
        let id = NoticeId::from_known(id.as_str());
        let Some(mut notice) = store::load(&mut transaction, &id).await? else { continue };
        if notice.course.give_up(now_ms) {
            store::save(&mut transaction, &notice).await?;
            store::save_unanswered(&mut transaction, &id).await?;
        } else {
            close_unreported(&mut transaction, &id).await?;
        }
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let sent: Vec<&str> = sent_among(&mut transaction, &ids).await?;
    report::settle(&mut transaction, &sent).await?;
    let drafts: Vec<_> = view::some(&mut transaction, &ids).await?.iter().map(view::NoticeView::draft).collect();
    live::append(&mut transaction, now_ms, &drafts).await?;
    transaction.commit().await?;
    Ok(ids.len() as i64)
}

async fn sent_among<'a>(connection: &mut AnyConnection, ids: &[&'a str]) -> Result<Vec<&'a str>, sqlx::Error> {
    let mut sent = Vec::with_capacity(ids.len());
    for id in ids {
        let found: Option<i64> = sqlx::query_scalar("select 1 from notice where id = $1 and settled = 0")
            .bind(*id)
            .fetch_optional(&mut *connection)
            .await?;
        if found.is_some() {
            sent.push(*id);
        }
    }
    Ok(sent)
}

/// Says of each loudspeaker that should have said something by now that it did not. A report that comes later still counts.
async fn close_unreported(connection: &mut AnyConnection, id: &NoticeId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update notice_speaker set detail = $2, state = case when state = 'playing' then 'failed' \
         when (select state from notice where id = $1) = 'stopped' then 'stopped' else 'expired' end \
         where notice_id = $1 and state not in ('played', 'interrupted', 'failed', 'refused', 'expired', 'stopped')",
    )
    .bind(id.as_str())
    .bind(UNREPORTED)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes notices that were kept long enough. Returns how many.
pub(in crate::broadcast) async fn expire(store: &Store, now_ms: i64) -> Result<i64, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let ids: Vec<String> = sqlx::query_scalar(
        "select id from notice where (created_ms < $1 or (level = $2 and created_ms < $3)) order by id limit $4",
    )
    .bind(now_ms - KEPT_MS)
    .bind(Level::Test.name())
    .bind(now_ms - TEST_KEPT_MS)
    .bind(NOTICES_MAX)
    .fetch_all(&mut *transaction)
    .await?;
    for id in &ids {
        for sql in ["delete from notice_speaker where notice_id = $1", "delete from notice where id = $1"] {
            sqlx::query(sql).bind(id.as_str()).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await?;
    Ok(ids.len() as i64)
}

/// A technician's test is of interest until the site is accepted.
const TEST_KEPT_MS: i64 = 30 * 24 * 3_600_000;
