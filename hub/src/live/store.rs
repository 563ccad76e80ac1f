//! SQL of the change log.

use sqlx::{AnyConnection, AnyPool, Row};

use super::{Draft, Event};
use crate::ids::RegionCode;
use crate::store::Writes;

/// Events kept for streams that resume. At 13,215 gateways' busiest hour this is minutes, on a calm day a week; a
/// stream that comes back later is told to start over (`reset`).
const EVENTS_KEPT: i64 = 100_000;

/// Appends changes to the log, in order, and holds the counter until the transaction commits. Call it last. With nothing
/// to append it does nothing, so that nobody waits for nothing.
///
/// # Errors
/// The database's.
pub async fn append(connection: &mut AnyConnection, now_ms: i64, drafts: &[Draft]) -> Result<(), sqlx::Error> {
    let mut writes = Writes::new(connection);
    append_with(&mut writes, now_ms, drafts);
    writes.run(connection).await?;
    Ok(())
}

/// Like [`append`], as the last of a transaction's writes.
pub fn append_with(writes: &mut Writes, now_ms: i64, drafts: &[Draft]) {
    if drafts.is_empty() {
        return;
    }
    let count = i64::try_from(drafts.len()).expect("a transaction's events fit in memory");
    writes.add("update counter set value = value + ", 1, "where name = 'event'", &[count], |values, count| {
        values.bind(*count)
    });
    let placed: Vec<(i64, &Draft)> = (0..count).rev().zip(drafts).collect();
    writes.add(
        "with fresh (before_last, at_ms, kind, region_code, subject, body) as (values ",
        6,
        ") insert into event (sequence, at_ms, kind, region_code, subject, body) \
         select counter.value - before_last, at_ms, kind, region_code, subject, body from fresh \
         join counter on counter.name = 'event'",
        &placed,
        |values, (before_last, draft)| {
            values
                .bind(*before_last)
                .bind(now_ms)
                .bind(draft.kind)
                .bind(draft.region.as_str())
                .bind(draft.subject.as_str())
                .bind(draft.body.to_string())
        },
    );
}

/// The sequence of the newest committed event as this connection sees it; 0 for an empty log. Lists are answered with
/// it, read in the same snapshot, so that a page may follow from there without a gap.
///
/// # Errors
/// The database's.
pub async fn current(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select value from counter where name = 'event'").fetch_one(connection).await
}

/// The oldest sequence still held; one above the newest when the log is empty.
pub(super) async fn oldest(pool: &AnyPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce((select min(sequence) from event), (select value + 1 from counter where name = 'event'))",
    )
    .fetch_one(pool)
    .await
}

/// Up to `limit` events after `sequence`, in order.
pub(super) async fn after(pool: &AnyPool, sequence: i64, limit: usize) -> Result<Vec<Event>, sqlx::Error> {
    let rows = sqlx::query(
        "select sequence, kind, region_code, body from event where sequence > $1 order by sequence limit $2",
    )
    .bind(sequence)
    .bind(i64::try_from(limit).expect("limits are small constants"))
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Event {
                sequence: row.try_get("sequence")?,
                kind: row.try_get("kind")?,
                region: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
                body: row.try_get("body")?,
            })
        })
        .collect()
}

/// Forgets events beyond the newest 100,000. Returns how many.
///
/// # Errors
/// The database's.
pub async fn expire(connection: &mut AnyConnection) -> Result<u64, sqlx::Error> {
    let newest = current(connection).await?;
    let result =
        sqlx::query("delete from event where sequence <= $1").bind(newest - EVENTS_KEPT).execute(connection).await?;
    Ok(result.rows_affected())
}
