//! Silence of loudspeakers, which lists show by themselves, told to pages that are open.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::report::report;
use super::view::{self, BELIEVED_MS};
use crate::fault;
use crate::live::{self, Draft};
use crate::store::{Store, chunks, parameters};

/// The fault of a loudspeaker whose gateway is on line and says nothing of it.
pub(super) const UNHEARD: &str = "unheard";
/// Most loudspeakers of one transaction. After a blackout of the whole county there are thousands; presses go in between.
pub(in crate::broadcast) const ROWS_MAX: i64 = 256;

/// Tells the pages of loudspeakers that have fallen silent since they were last told, and of those that are heard again. Of
/// one that is silent while its gateway is on line somebody has to find out why: that is a fault. Returns how many.
pub(in crate::broadcast) async fn notice_silence(store: &Store, now_ms: i64) -> Result<i64, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let changed: Vec<(String, i64, i64)> = sqlx::query_as(
        "select sp.id, sp.stale, coalesce(p.online, 0) from speaker sp left join presence p on p.site_id = sp.site_id \
         where sp.stale <> case when (sp.reported_ms is not null and coalesce(p.online, 0) = 0) \
         or coalesce(sp.reported_ms, sp.created_ms) < $1 then 1 else 0 end order by sp.id limit $2",
    )
    .bind(now_ms - BELIEVED_MS)
    .bind(ROWS_MAX)
    .fetch_all(&mut *transaction)
    .await?;
    if changed.is_empty() {
        return Ok(0);
    }
    let ids: Vec<&str> = changed.iter().map(|(id, ..)| id.as_str()).collect();
    turn_over(&mut transaction, &ids).await?;
    let mut drafts: Vec<Draft> = Vec::new();
    for speaker in view::some(&mut transaction, now_ms, &ids).await? {
        let before = changed.iter().find(|(id, ..)| id == speaker.view.id.as_str());
        let is_silent = before.is_some_and(|(_, stale, online)| *stale == 0 && *online != 0);
        let was_silent = before.is_some_and(|(_, stale, _)| *stale != 0);
        if is_silent || was_silent {
            let fault = report(&speaker.view, UNHEARD, "", is_silent);
            drafts.extend(fault::take(&mut transaction, now_ms, &fault).await?);
        }
        drafts.push(speaker.view.draft());
    }
    live::append(&mut transaction, now_ms, &drafts).await?;
    transaction.commit().await?;
    Ok(changed.len() as i64)
}

async fn turn_over(connection: &mut AnyConnection, ids: &[&str]) -> Result<(), sqlx::Error> {
    for chunk in chunks(ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let sql = format!("update speaker set stale = 1 - stale where id in (values {wanted})");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in chunk {
            query = query.bind(*id);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
