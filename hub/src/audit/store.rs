//! The trail's SQL.

use sqlx::AnyConnection;

use super::{AuditEntry, Record};
use crate::ids::RegionCode;
use crate::store::Store;

/// Most lines removed in one transaction, so that a purge never holds up an alarm.
const PURGE_LINES_MAX: i64 = 5_000;

pub(super) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    now_ms: i64,
    record: &Record,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit (id, at_ms, actor, action, subject, region_code, outcome, detail) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(now_ms)
    .bind(record.actor.as_str())
    .bind(record.action)
    .bind(record.subject.as_str())
    .bind(record.region.as_str())
    .bind(record.outcome.as_str())
    .bind(record.detail.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Lines of a region, newest first, beginning below `after`.
pub(super) async fn list(
    store: &Store,
    region: &RegionCode,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    type Row = (String, i64, String, String, String, String, String, String);
    let rows: Vec<Row> = sqlx::query_as(
        "select id, at_ms, actor, action, subject, region_code, outcome, detail from audit \
         where region_code >= $1 and region_code < $2 and id < $3 order by id desc limit $4",
    )
    .bind(region.as_str())
    .bind(region.end())
    // Ids are lower-case hexadecimal: "g" stands above all of them.
    .bind(after.unwrap_or("g"))
    .bind(limit)
    .fetch_all(store.reader())
    .await?;
    let entry = |(id, at_ms, actor, action, subject, region_code, outcome, detail): Row| AuditEntry {
        id,
        at_ms,
        actor,
        action,
        subject,
        region_code: RegionCode::from_known(region_code),
        outcome,
        detail,
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// Removes lines written before `before_ms`, and the oldest beyond `lines_max`.
pub(super) async fn expire(store: &Store, before_ms: i64, lines_max: i64) -> Result<u64, sqlx::Error> {
    // The id at the bound: everything below it is surplus. Ids sort by time.
    let surplus: Option<(String,)> = sqlx::query_as("select id from audit order by id desc limit 1 offset $1")
        .bind(lines_max)
        .fetch_optional(store.reader())
        .await?;
    let surplus = surplus.map_or(String::new(), |(id,)| id);
    let mut removed = 0;
    loop {
        let mut transaction = store.begin().await?;
        let count = sqlx::query(
            "delete from audit where id in (select id from audit where at_ms < $1 or id <= $2 order by id limit $3)",
        )
        .bind(before_ms)
        .bind(surplus.as_str())
        .bind(PURGE_LINES_MAX)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        transaction.commit().await?;
        removed += count;
        if count == 0 {
            return Ok(removed);
        }
    }
}
