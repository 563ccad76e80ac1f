//! The exports' tables, and an export as the pages see it.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use tongluo_protocols::content::ContentHash;
use utoipa::ToSchema;

use super::film::Finished;
use super::{KEPT_MS, Turn};
use crate::content;
use crate::ids::{CameraId, ExportId, RegionCode, SiteId};
use crate::live::Draft;
use crate::video::access::CameraAccess;
use crate::viewer::Viewer;

/// Most exports in one list, the newest first.
const LISTED_MAX: i64 = 100;
/// For how long the row of an export is kept after its file: who took what out is worth knowing for longer. A year.
const ROW_KEPT_MS: i64 = 365 * 24 * 3600 * 1000;

/// A stretch without pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ExportGap {
    /// UTC milliseconds of the gateway's clock.
    pub from_ms: i64,
    /// UTC milliseconds of the gateway's clock.
    pub to_ms: i64,
}

/// A stretch of a recording that somebody took out, or is taking. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ExportView {
    /// Opaque; sorts by time.
    pub id: ExportId,
    /// Where.
    pub site_id: SiteId,
    /// That site's region.
    pub region_code: RegionCode,
    /// The camera, which may have been deleted since.
    pub camera_id: CameraId,
    /// What it was called then.
    pub camera_name: String,
    /// `running`, `ready`, `failed`, `cancelled` or `expired` (the file is kept no longer).
    pub state: String,
    /// How far it is.
    pub progress_percent: i64,
    /// The beginning that was asked for; the film begins with the keyframe before it.
    pub from_ms: i64,
    /// The end that was asked for.
    pub to_ms: i64,
    /// What of that was not recorded, or did not go in; the film goes on without it.
    pub gaps: Vec<ExportGap>,
    /// Why the film ends early: `too_large` or `other_form`; null: it does not.
    pub shortened: Option<String>,
    /// Why it was taken out.
    pub reason: String,
    /// Who asked for it.
    pub requested_by: String,
    /// How many bytes the file has.
    pub bytes: Option<i64>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: Option<String>,
    /// Why it failed, as a stable word: `gateway_offline`, `line_lost`, `timed_out`, `not_allowed`, `not_recorded`, `interrupted`, `no_room`;
    /// others may come.
    pub failure: Option<String>,
    /// When it was asked for.
    pub created_ms: i64,
    /// When the file goes.
    pub expires_ms: i64,
}

impl ExportView {
    /// The change-log entry that says "this is how it is now".
    pub(super) fn draft(&self) -> Draft {
        Draft {
            kind: "export",
            region: self.region_code.clone(),
            subject: self.id.to_string(),
            body: serde_json::to_value(self).expect("a view is plain data"),
        }
    }
}

/// A row, with what is not shown of it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) view: ExportView,
    /// Whether it is of a camera at a home.
    pub(super) is_home: bool,
}

/// What somebody asks for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) reason: String,
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    now_ms: i64,
    turn: &Turn,
    (viewer, camera): (&Viewer, &CameraAccess),
    wanted: &Wanted,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into export (id, site_id, region_code, camera_id, camera_name, home, quality, from_ms, to_ms, reason, \
         requested_by, account_id, state, progress_percent, created_ms, expires_ms) \
         values ($1, $2, $3, $4, $5, $6, 'main', $7, $8, $9, $10, $11, 'running', 0, $12, $13)",
    )
    .bind(turn.id.as_str())
    .bind(camera.site_id.as_str())
    .bind(camera.region.as_str())
    .bind(camera.camera_id.as_str())
    .bind(&camera.name)
    .bind(i64::from(camera.is_home))
    .bind(wanted.from_ms)
    .bind(wanted.to_ms)
    .bind(&wanted.reason)
    .bind(&viewer.display_name)
    .bind(viewer.account_id.as_str())
    .bind(now_ms)
    .bind(now_ms + KEPT_MS)
    .execute(connection)
    .await?;
    Ok(())
}

/// How far it is. What was cancelled meanwhile stays so.
pub(super) async fn progress(connection: &mut AnyConnection, id: &ExportId, percent: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update export set progress_percent = $2 where id = $1 and state = 'running'")
        .bind(id.as_str())
        .bind(percent)
        .execute(connection)
        .await?;
    Ok(())
}

/// It is whole: its content is kept from now on. `false`: it was cancelled meanwhile.
pub(super) async fn ready(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &ExportId,
    film: &Finished,
) -> Result<bool, sqlx::Error> {
    let gaps = serde_json::to_string(&film.gaps).expect("pairs of numbers are plain data");
    let updated = sqlx::query(
        "update export set state = 'ready', progress_percent = 100, bytes = $2, sha256 = $3, gaps = $4, \
         shortened = $5, expires_ms = $6 where id = $1 and state = 'running'",
    )
    .bind(id.as_str())
    .bind(i64::try_from(film.bytes).unwrap_or(i64::MAX))
    .bind(film.hash.to_string())
    .bind(gaps)
    .bind(film.shortened.map(|why| why.name()))
    .bind(now_ms + KEPT_MS)
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() == 0 {
        return Ok(false);
    }
    content::link(connection, &film.hash, &subject(id), now_ms + KEPT_MS).await?;
    Ok(true)
}

/// It ended without a file, as `failed` or `cancelled`. `false`: it had ended before.
pub(super) async fn ended(
    connection: &mut AnyConnection,
    id: &ExportId,
    state: &str,
    failure: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query("update export set state = $2, failure = $3 where id = $1 and state = 'running'")
        .bind(id.as_str())
        .bind(state)
        .bind(failure)
        .execute(connection)
        .await?;
    Ok(updated.rows_affected() > 0)
}

/// Gives up the file of one that is ready. `false`: it has none.
pub(super) async fn give_up(connection: &mut AnyConnection, id: &ExportId) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query("update export set state = 'expired' where id = $1 and state = 'ready'")
        .bind(id.as_str())
        .execute(&mut *connection)
        .await?;
    content::unlink(connection, &subject(id)).await?;
    Ok(updated.rows_affected() > 0)
}

/// Those that another life of this hub was making: nobody goes on with them. Returns what to append to the change log.
///
/// # Errors
/// The database's.
pub(in crate::video) async fn interrupt(connection: &mut AnyConnection) -> Result<Vec<Draft>, sqlx::Error> {
    let ids = sqlx::query_scalar(
        "update export set state = 'failed', failure = 'interrupted' where state = 'running' returning id",
    )
    .fetch_all(&mut *connection)
    .await?;
    drafts(connection, ids).await
}

/// Gives up files that were kept long enough; rows go a year later. Returns what to append to the change log; at most `limit`
/// rows at once.
///
/// # Errors
/// The database's.
pub(in crate::video) async fn expire(
    connection: &mut AnyConnection,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<Draft>, sqlx::Error> {
    sqlx::query("delete from export where expires_ms < $1 and state <> 'running'")
        .bind(now_ms - ROW_KEPT_MS)
        .execute(&mut *connection)
        .await?;
    let ids: Vec<String> = sqlx::query_scalar(
        "update export set state = 'expired' where id in (select id from export \
         where state = 'ready' and expires_ms <= $1 order by id limit $2) returning id",
    )
    .bind(now_ms)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    for id in &ids {
        content::unlink(connection, &subject(&ExportId::from_known(id.as_str()))).await?;
    }
    drafts(connection, ids).await
}

async fn drafts(connection: &mut AnyConnection, ids: Vec<String>) -> Result<Vec<Draft>, sqlx::Error> {
    let mut drafts = Vec::with_capacity(ids.len());
    for id in ids {
        drafts.extend(one(connection, &ExportId::from_known(id)).await?.map(|stored| stored.view.draft()));
    }
    Ok(drafts)
}

/// Under which an export keeps its content.
fn subject(id: &ExportId) -> String {
    format!("export/{id}")
}

/// One row. `None`: there is none.
pub(super) async fn one(connection: &mut AnyConnection, id: &ExportId) -> Result<Option<Stored>, sqlx::Error> {
    let row = sqlx::query("select * from export where id = $1").bind(id.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(from_row).transpose()
}

/// The newest in a region, of one camera or of all.
pub(super) async fn list(
    connection: &mut AnyConnection,
    region: &RegionCode,
    camera: Option<&CameraId>,
) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = sqlx::query(
        "select * from export where region_code >= $1 and region_code < $2 and ($3 = '' or camera_id = $3) \
         order by id desc limit $4",
    )
    .bind(region.as_str())
    .bind(region.end())
    .bind(camera.map_or("", CameraId::as_str))
    .bind(LISTED_MAX)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &AnyRow) -> Result<Stored, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let gaps: Option<String> = row.try_get("gaps")?;
    let gaps: Vec<(i64, i64)> = gaps.and_then(|gaps| serde_json::from_str(&gaps).ok()).unwrap_or_default();
    let sha256: Option<String> = row.try_get("sha256")?;
    let view = ExportView {
        id: ExportId::from_known(text("id")?),
        site_id: SiteId::from_known(text("site_id")?),
        region_code: RegionCode::from_known(text("region_code")?),
        camera_id: CameraId::from_known(text("camera_id")?),
        camera_name: text("camera_name")?,
        state: text("state")?,
        progress_percent: row.try_get("progress_percent")?,
        from_ms: row.try_get("from_ms")?,
        to_ms: row.try_get("to_ms")?,
        gaps: gaps.into_iter().map(|(from_ms, to_ms)| ExportGap { from_ms, to_ms }).collect(),
        shortened: row.try_get("shortened")?,
        reason: text("reason")?,
        requested_by: text("requested_by")?,
        bytes: row.try_get("bytes")?,
        sha256: sha256.filter(|hash| ContentHash::parse(hash).is_some()),
        failure: row.try_get("failure")?,
        created_ms: row.try_get("created_ms")?,
        expires_ms: row.try_get("expires_ms")?,
    };
    Ok(Stored { is_home: row.try_get::<i64, _>("home")? != 0, view })
}
