//! SQL of faults.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use utoipa::ToSchema;

use super::Report;
use crate::ids::{DeviceId, FaultId, RegionCode, SiteId, sortable};
use crate::store::{chunks, parameters};

/// Whether a fault still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultState {
    /// It stands.
    Open,
    /// It is over.
    Cleared,
}

/// A fault as the pages see it. Times are UTC milliseconds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FaultView {
    /// Opaque.
    pub id: FaultId,
    /// Where.
    pub site_id: SiteId,
    /// The site's name.
    pub site_name: String,
    /// The site's region.
    pub region_code: RegionCode,
    /// The device, when it is one.
    pub device_id: Option<DeviceId>,
    /// Device key, or the part of the gateway or hub.
    pub source: String,
    /// What kind, e.g. `journal.lost`.
    pub code: String,
    /// What exactly.
    pub detail: String,
    /// Whether it still stands.
    pub state: FaultState,
    /// How often it was reported.
    pub count: i64,
    /// Since when: its first report, or earlier where that is known.
    pub first_ms: i64,
    /// Latest report.
    pub last_ms: i64,
    /// When it was over.
    pub cleared_ms: Option<i64>,
    /// Who said so; null when it cleared itself.
    pub cleared_by: Option<String>,
    /// In their words.
    pub cleared_note: Option<String>,
}

/// Opens a fault or counts a repeat; returns its id.
pub(super) async fn open_or_repeat(
    connection: &mut AnyConnection,
    now_ms: i64,
    report: &Report,
    detail: &str,
    since_ms: i64,
) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(
        "insert into fault (id, site_id, region_code, device_id, source, code, detail, state, count, first_ms, last_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, 'open', 1, $9, $8) \
         on conflict (site_id, source, code) where state = 'open' \
         do update set count = fault.count + 1, last_ms = excluded.last_ms, detail = excluded.detail returning id",
    )
    .bind(sortable(now_ms))
    .bind(report.site_id.as_str())
    .bind(report.region.as_str())
    .bind(report.device_id.as_ref().map(DeviceId::as_str))
    .bind(report.source.as_str())
    .bind(report.code.as_str())
    .bind(detail)
    .bind(now_ms)
    .bind(since_ms)
    .fetch_one(connection)
    .await
}

/// Source and code of each open fault of some sources.
pub(super) async fn open_of(
    connection: &mut AnyConnection,
    sources: &[(&SiteId, String)],
) -> Result<HashSet<(String, String)>, sqlx::Error> {
    let mut open = HashSet::new();
    for chunk in chunks(sources) {
        let wanted = parameters(connection, chunk.len(), 2);
        // Made of literals and numbers only.
        let mut query = sqlx::query_as(AssertSqlSafe(format!(
            "with wanted (of_site, of_source) as (values {wanted}) select f.source, f.code from wanted \
             join fault f on f.site_id = of_site and f.source = of_source and f.state = 'open'"
        )));
        for (site, source) in chunk {
            query = query.bind(site.as_str()).bind(source.as_str());
        }
        open.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(open)
}

/// Clears the open fault of a source that says it is over; returns its id, if there was one.
pub(super) async fn clear_by_source(
    connection: &mut AnyConnection,
    now_ms: i64,
    report: &Report,
    detail: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "update fault set state = 'cleared', cleared_ms = $4, last_ms = $4, detail = case when $5 = '' then detail \
         else $5 end where site_id = $1 and source = $2 and code = $3 and state = 'open' returning id",
    )
    .bind(report.site_id.as_str())
    .bind(report.source.as_str())
    .bind(report.code.as_str())
    .bind(now_ms)
    .bind(detail)
    .fetch_optional(connection)
    .await
}

/// Clears every open fault of a source that is no more; returns their ids.
pub(super) async fn clear_all_of_source(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    source: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "update fault set state = 'cleared', cleared_ms = $3, last_ms = $3 \
         where site_id = $1 and source = $2 and state = 'open' returning id",
    )
    .bind(site.as_str())
    .bind(source)
    .bind(now_ms)
    .fetch_all(connection)
    .await
}

/// Clears an open fault on a person's word. False when it was not open any more.
pub(super) async fn clear_by_person(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &str,
    by: &str,
    note: &str,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query(
        "update fault set state = 'cleared', cleared_ms = $2, cleared_by = $3, cleared_note = $4 \
         where id = $1 and state = 'open'",
    )
    .bind(id)
    .bind(now_ms)
    .bind(by)
    .bind(note)
    .execute(connection)
    .await?;
    Ok(result.rows_affected() == 1)
}

macro_rules! select_views {
    ($rest:literal) => {
        concat!(
            "select f.id, f.site_id, s.name as site_name, f.region_code, f.device_id, f.source, f.code, f.detail, \
             f.state, f.count, f.first_ms, f.last_ms, f.cleared_ms, f.cleared_by, f.cleared_note \
             from fault f join site s on s.id = f.site_id ",
            $rest
        )
    };
}

/// One fault, wherever it is.
pub(super) async fn one(connection: &mut AnyConnection, id: &str) -> Result<Option<FaultView>, sqlx::Error> {
    sqlx::query(select_views!("where f.id = $1"))
        .bind(id)
        .fetch_optional(connection)
        .await?
        .map(|row| from_row(&row))
        .transpose()
}

/// Faults of a region in one state, latest first, at most `limit`.
pub(super) async fn list(
    connection: &mut AnyConnection,
    region: &RegionCode,
    state: FaultState,
    limit: i64,
) -> Result<Vec<FaultView>, sqlx::Error> {
    let rows = sqlx::query(select_views!(
        "where f.state = $1 and f.region_code >= $2 and f.region_code < $3 order by f.last_ms desc, f.id desc limit $4"
    ))
    .bind(match state {
        FaultState::Open => "open",
        FaultState::Cleared => "cleared",
    })
    .bind(region.as_str())
    .bind(region.end())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &AnyRow) -> Result<FaultView, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let maybe_text = |column| row.try_get::<Option<String>, _>(column);
    Ok(FaultView {
        id: FaultId::from_known(text("id")?),
        site_id: SiteId::from_known(text("site_id")?),
        site_name: text("site_name")?,
        region_code: RegionCode::from_known(text("region_code")?),
        device_id: maybe_text("device_id")?.map(DeviceId::from_known),
        source: text("source")?,
        code: text("code")?,
        detail: text("detail")?,
        state: if text("state")? == "open" { FaultState::Open } else { FaultState::Cleared },
        count: row.try_get("count")?,
        first_ms: row.try_get("first_ms")?,
        last_ms: row.try_get("last_ms")?,
        cleared_ms: row.try_get("cleared_ms")?,
        cleared_by: maybe_text("cleared_by")?,
        cleared_note: maybe_text("cleared_note")?,
    })
}
