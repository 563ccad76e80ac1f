//! What cameras saw of presses: rows that come through the ledger, content that comes on its own.
//!
//! A gateway tells of each picture and clip of a press when it is settled (`saved`, it lies in the village; `missing`, there
//! is none). The content follows by its SHA-256, sometimes days later, sometimes before the row; from then on the row is
//! `ready`. Rows are kept for as long as their content, and a while longer as `expired`, so that a page can say what there was.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use tongluo_protocols::content::ContentHash;
use tongluo_protocols::event::{Evidence, EvidenceState};
use utoipa::ToSchema;

use super::camera::CameraKind;
use super::view;
use crate::content;
use crate::ids::{self, AlarmId, CameraId, EvidenceId, RegionCode, SiteId};
use crate::live::Draft;

/// Longest reason that is stored, in characters.
const REASON_CHARS_MAX: usize = 200;
/// Most rows that are shown of one alarm: two cameras and two kinds of each of fifty presses.
const SHOWN_MAX: i64 = 200;
/// How long a gateway is given before its silence about a press is no longer called "awaited": a clip ends a minute after
/// the press, and an outage delays what follows.
pub(super) const AWAITED_MS: i64 = 15 * 60 * 1000;
/// The latest moment at which a row goes, whatever the configuration says: a year.
const KEPT_MS_MAX: i64 = 366 * DAY_MS;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A word about evidence as the ledger hands it over.
#[derive(Clone, Copy, Debug)]
pub struct HeardEvidence<'a> {
    /// Whose gateway says it.
    pub site_id: &'a SiteId,
    /// The site's region.
    pub region: &'a RegionCode,
    /// What it says.
    pub evidence: Evidence<'a>,
}

/// What a camera saw of a press. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EvidenceView {
    /// Opaque; of what is awaited a name that nothing opens.
    pub id: EvidenceId,
    /// Where.
    pub site_id: SiteId,
    /// That site's region.
    pub region_code: RegionCode,
    /// The alarm that the press belongs to; null while the press itself is still on its way.
    pub alarm_id: Option<AlarmId>,
    /// The press.
    pub press_id: String,
    /// The camera, which may have been deleted since.
    pub camera_id: CameraId,
    /// What it was called then.
    pub camera_name: String,
    /// `snapshot` or `clip`; others may come.
    pub kind: String,
    /// `awaited`, `saved` (in the village), `ready` (at the hub), `missing` or `expired`.
    pub state: String,
    /// Why it is missing, or less than was asked for.
    pub reason: Option<String>,
    /// Beginning of what it shows, the gateway's clock.
    pub from_ms: i64,
    /// End of what it shows.
    pub to_ms: i64,
    /// How many bytes the content has.
    pub bytes: Option<i64>,
    /// SHA-256 of the content, hexadecimal.
    pub sha256: Option<String>,
    /// `image/jpeg` or `video/mp4`.
    pub media_type: Option<String>,
    /// When the content was at the hub.
    pub received_ms: Option<i64>,
}

impl EvidenceView {
    /// The change-log entry that says "this is how it is now".
    pub(super) fn draft(&self) -> Draft {
        Draft {
            kind: "evidence",
            region: self.region_code.clone(),
            subject: self.id.to_string(),
            body: serde_json::to_value(self).expect("a view is plain data"),
        }
    }
}

/// Takes words about evidence, in order, inside the ledger's transaction. They are few: some for each press. Returns what to
/// append to the change log.
///
/// # Errors
/// The database's.
pub async fn take_evidence(
    connection: &mut AnyConnection,
    now_ms: i64,
    heard: &[HeardEvidence<'_>],
) -> Result<Vec<Draft>, sqlx::Error> {
    let cameras: Vec<&str> = heard.iter().map(|heard| heard.evidence.camera).collect();
    let known: HashMap<CameraId, (SiteId, String, bool)> = view::some(connection, now_ms, &cameras)
        .await?
        .into_iter()
        .map(|camera| {
            let view = camera.view;
            (view.id, (view.site_id, view.name, view.kind == CameraKind::Home))
        })
        .collect();
    let mut drafts = Vec::new();
    for heard in heard {
        let camera = CameraId::from_known(heard.evidence.camera);
        // A camera that was deleted since keeps its id for a name; nobody knows any more that it was not at a home.
        let (name, is_home) = known
            .get(&camera)
            .filter(|(site, ..)| site == heard.site_id)
            .map_or((camera.to_string(), true), |(_, name, is_home)| (name.clone(), *is_home));
        let id = upsert(connection, now_ms, heard, (&name, is_home)).await?;
        let Some(id) = id else { continue };
        if let Some(sha256) = evidence_hash(heard) {
            // Kept from now on, even if it comes later; and it may be here already.
            content::link(connection, &sha256, &subject(&id), now_ms + KEPT_MS_MAX).await?;
            settle_rows(connection, Some(&sha256.to_string()), 1).await?;
        }
        drafts.extend(one(connection, &id).await?.map(|evidence| evidence.view.draft()));
    }
    Ok(drafts)
}

/// Writes a row, or what is new of it. `None`: nothing is.
async fn upsert(
    connection: &mut AnyConnection,
    now_ms: i64,
    heard: &HeardEvidence<'_>,
    (name, is_home): (&str, bool),
) -> Result<Option<EvidenceId>, sqlx::Error> {
    let evidence = &heard.evidence;
    let sha256 = evidence.sha256.map(|sha256| ContentHash::new(sha256).to_string());
    // Whoever says "saved" without a hash has nothing that could ever arrive.
    let is_saved = evidence.state == EvidenceState::Saved && sha256.is_some();
    let reason: Option<String> =
        evidence.reason.map(|reason| reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect());
    // What is there already is never taken back by a repeated or older word.
    let id: Option<String> = sqlx::query_scalar(
        "insert into evidence (id, site_id, region_code, press_id, camera_id, camera_name, home, kind, state, reason, \
         sha256, bytes, media_type, from_ms, to_ms, told_ms, expires_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         on conflict (site_id, press_id, camera_id, kind) do update set state = excluded.state, \
         reason = excluded.reason, sha256 = excluded.sha256, bytes = excluded.bytes, \
         media_type = excluded.media_type, from_ms = excluded.from_ms, to_ms = excluded.to_ms \
         where evidence.state = 'missing' and excluded.state = 'saved' returning id",
    )
    .bind(ids::sortable(now_ms))
    .bind(heard.site_id.as_str())
    .bind(heard.region.as_str())
    .bind(evidence.press.to_string())
    .bind(evidence.camera)
    .bind(name)
    .bind(i64::from(is_home))
    .bind(evidence.kind.name())
    .bind(if is_saved { "saved" } else { "missing" })
    .bind(reason)
    .bind(sha256)
    .bind(evidence.bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)))
    .bind(evidence.media_type)
    .bind(evidence.from_ms)
    .bind(evidence.to_ms)
    .bind(now_ms)
    .bind(now_ms + KEPT_MS_MAX)
    .fetch_optional(connection)
    .await?;
    Ok(id.map(EvidenceId::from_known))
}

fn evidence_hash(heard: &HeardEvidence<'_>) -> Option<ContentHash> {
    heard.evidence.sha256.filter(|_| heard.evidence.state == EvidenceState::Saved).map(ContentHash::new)
}

/// Under which a row keeps its content.
fn subject(id: &EvidenceId) -> String {
    format!("evidence/{id}")
}

/// Makes rows ready whose content is whole at the hub: of one content, or, for `None`, of any. Returns what to append to the
/// change log; at most `limit` rows at once.
pub(super) async fn settle(
    connection: &mut AnyConnection,
    sha256: Option<&str>,
    limit: i64,
) -> Result<Vec<Draft>, sqlx::Error> {
    let ids = settle_rows(connection, sha256, limit).await?;
    drafts(connection, &ids).await
}

async fn settle_rows(
    connection: &mut AnyConnection,
    sha256: Option<&str>,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    // An empty text is no content's name.
    sqlx::query_scalar(
        "update evidence set state = 'ready', \
         received_ms = (select c.received_ms from content c where c.sha256 = evidence.sha256) \
         where id in (select e.id from evidence e join content c on c.sha256 = e.sha256 \
         where e.state = 'saved' and ($1 = '' or e.sha256 = $1) order by e.id limit $2) returning id",
    )
    .bind(sha256.unwrap_or_default())
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Marks rows that were told of more than so many days ago, and gives up their contents; rows of more than a year ago go.
/// Returns what to append to the change log; at most `limit` rows at once.
pub(super) async fn expire(
    connection: &mut AnyConnection,
    now_ms: i64,
    days_kept: u16,
    limit: i64,
) -> Result<Vec<Draft>, sqlx::Error> {
    sqlx::query("delete from evidence where expires_ms <= $1").bind(now_ms).execute(&mut *connection).await?;
    let ids: Vec<String> = sqlx::query_scalar(
        "update evidence set state = 'expired' where id in (select id from evidence \
         where state <> 'expired' and told_ms < $1 order by id limit $2) returning id",
    )
    .bind(now_ms - i64::from(days_kept) * DAY_MS)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    for id in &ids {
        content::unlink(connection, &subject(&EvidenceId::from_known(id.as_str()))).await?;
    }
    drafts(connection, &ids).await
}

async fn drafts(connection: &mut AnyConnection, ids: &[String]) -> Result<Vec<Draft>, sqlx::Error> {
    let mut drafts = Vec::with_capacity(ids.len());
    for id in ids {
        drafts.extend(one(connection, &EvidenceId::from_known(id.as_str())).await?.map(|stored| stored.view.draft()));
    }
    Ok(drafts)
}

/// A row, with what is not shown of it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) view: EvidenceView,
    /// Whether it is of a camera at a home.
    pub(super) is_home: bool,
}

macro_rules! select_evidence {
    ($rest:literal) => {
        concat!(
            "select e.id, e.site_id, e.region_code, p.alarm_id, e.press_id, e.camera_id, e.camera_name, e.home, e.kind, ",
            "e.state, e.reason, e.sha256, e.bytes, e.media_type, e.from_ms, e.to_ms, e.received_ms from evidence e ",
            "left join press p on p.site_id = e.site_id and p.press_id = e.press_id ",
            $rest
        )
    };
}

/// One row. `None`: there is none.
pub(super) async fn one(connection: &mut AnyConnection, id: &EvidenceId) -> Result<Option<Stored>, sqlx::Error> {
    let row = sqlx::query(select_evidence!("where e.id = $1")).bind(id.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(from_row).transpose()
}

/// What cameras saw of an alarm's presses, the newest press first.
pub(super) async fn of_alarm(connection: &mut AnyConnection, alarm: &AlarmId) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = sqlx::query(select_evidence!(
        "where p.alarm_id = $1 order by p.received_ms desc, e.press_id desc, e.camera_id, e.kind desc limit $2"
    ))
    .bind(alarm.as_str())
    .bind(SHOWN_MAX)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &AnyRow) -> Result<Stored, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let view = EvidenceView {
        id: EvidenceId::from_known(text("id")?),
        site_id: SiteId::from_known(text("site_id")?),
        region_code: RegionCode::from_known(text("region_code")?),
        alarm_id: row.try_get::<Option<String>, _>("alarm_id")?.map(AlarmId::from_known),
        press_id: text("press_id")?,
        camera_id: CameraId::from_known(text("camera_id")?),
        camera_name: text("camera_name")?,
        kind: text("kind")?,
        state: text("state")?,
        reason: row.try_get("reason")?,
        from_ms: row.try_get("from_ms")?,
        to_ms: row.try_get("to_ms")?,
        bytes: row.try_get("bytes")?,
        sha256: row.try_get("sha256")?,
        media_type: row.try_get("media_type")?,
        received_ms: row.try_get("received_ms")?,
    };
    Ok(Stored { view, is_home: row.try_get::<i64, _>("home")? != 0 })
}
