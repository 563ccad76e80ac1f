//! What has fallen silent, and what is heard again: one rule for all that proves its life by reports through a gateway.

use sqlx::{AnyConnection, AssertSqlSafe};

use crate::store::{chunks, parameters};

/// What reports for itself, by its table, which has `site_id`, `created_ms`, `reported_ms` and `stale`.
#[derive(Clone, Copy, Debug)]
pub enum Reporting {
    /// Cameras.
    Camera,
    /// Loudspeakers.
    Speaker,
}

/// One whose silence began or ended.
#[derive(Clone, Debug)]
pub struct Turned {
    /// Which.
    pub id: String,
    /// It has fallen silent while its gateway is on line: somebody has to find out why.
    pub is_silent: bool,
    /// It was silent, and is heard again.
    pub was_silent: bool,
}

impl Reporting {
    const fn table(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Speaker => "speaker",
        }
    }
}

/// Marks what has turned since it was last marked, at most so many rows, in the order of their ids: silent is what has not
/// reported since `believed_since_ms`, and what has reported through a gateway that is off line now.
///
/// # Errors
/// The database's.
pub async fn turn(
    connection: &mut AnyConnection,
    what: Reporting,
    believed_since_ms: i64,
    rows_max: i64,
) -> Result<Vec<Turned>, sqlx::Error> {
    let table = what.table();
    // Made of literals only.
    let sql = format!(
        "select r.id, r.stale, coalesce(p.online, 0) from {table} r left join presence p on p.site_id = r.site_id \
         where r.stale <> case when (r.reported_ms is not null and coalesce(p.online, 0) = 0) \
         or coalesce(r.reported_ms, r.created_ms) < $1 then 1 else 0 end order by r.id limit $2"
    );
    let changed: Vec<(String, i64, i64)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(believed_since_ms).bind(rows_max).fetch_all(&mut *connection).await?;
    for chunk in chunks(&changed) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let sql = format!("update {table} set stale = 1 - stale where id in (values {wanted})");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (id, ..) in chunk {
            query = query.bind(id);
        }
        query.execute(&mut *connection).await?;
    }
    let turned = |(id, stale, online)| Turned { id, is_silent: stale == 0 && online != 0, was_silent: stale != 0 };
    Ok(changed.into_iter().map(turned).collect())
}
