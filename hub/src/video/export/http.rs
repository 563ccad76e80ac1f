//! The routes of exports: ask for one, see how far it is, cancel it, fetch its file.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use tongluo_protocols::content::ContentHash;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, ExportView, Stored, Wanted};
use super::task::Job;
use super::{SPAN_MS_MAX, SPAN_MS_MIN};
use crate::audit::{self, Record};
use crate::clock;
use crate::ids::{self, CameraId, ExportId};
use crate::live;
use crate::video::file_look::{FileKind, FileLook};
use crate::video::{VideoRoom, access};
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Longest reason, in characters: as an audit line holds.
const REASON_CHARS_MAX: usize = 500;
/// A gateway's clock may be so far ahead of the hub's; beyond it a stretch lies in the future, where nothing is recorded.
const AHEAD_MS_MAX: i64 = 5_000;

/// The routes of exports.
pub(in crate::video) fn routes() -> OpenApiRouter<VideoRoom> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(list))
        .routes(routes!(one, cancel))
        .routes(routes!(file))
}

/// A stretch to be taken out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExportCreate {
    /// UTC milliseconds of the gateway's clock; the film begins with the keyframe before it.
    from_ms: i64,
    /// At most half an hour later, and not in the future.
    to_ms: i64,
    /// Why; goes into the file and the audit trail.
    reason: String,
}

impl ExportCreate {
    fn checked(self, now_ms: i64) -> Result<Wanted, Problem> {
        let Self { from_ms, to_ms, reason } = self;
        let span_ms = to_ms.checked_sub(from_ms);
        if from_ms < 0 || !span_ms.is_some_and(|span_ms| (SPAN_MS_MIN..=SPAN_MS_MAX).contains(&span_ms)) {
            let (zh, en) = ("应比 from_ms 晚 1 秒至 30 分钟", "it must be after from_ms, by 1 second to 30 minutes");
            return Err(Problem::invalid("to_ms", zh, en));
        }
        if to_ms > now_ms + AHEAD_MS_MAX {
            return Err(Problem::invalid("to_ms", "不能在将来", "it must not lie in the future"));
        }
        let reason = reason.trim();
        let length = reason.chars().count();
        if length == 0 || length > REASON_CHARS_MAX || reason.chars().any(|c| c.is_control() && c != '\n') {
            return Err(Problem::invalid("reason", "请写明原因，最多 500 字", "say why, in at most 500 characters"));
        }
        Ok(Wanted { from_ms, to_ms, reason: reason.to_owned() })
    }
}

/// Take a stretch of a recording out of its village, as an MP4 with its hash. Made in the background; look at it with its id, or
/// follow events of kind `export`.
#[utoipa::path(post, path = "/api/v1/cameras/{id}/exports", operation_id = "create_export", tag = "video",
    params(("id" = String, Path)), request_body = ExportCreate, responses(
    (status = CREATED, body = ExportView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(camera_id): Path<CameraId>,
    Json(request): Json<ExportCreate>,
) -> Result<(StatusCode, Json<ExportView>), Problem> {
    viewer.may(Right::RecordingExport)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let camera = access::access(&mut transaction, &viewer, &camera_id).await?;
    let wanted = request.checked(now_ms)?;
    let id = ExportId::from_known(ids::sortable(now_ms));
    let turn = room.exports.begin(&id, &camera.site_id).ok_or_else(too_many)?;
    store::insert(&mut transaction, now_ms, &turn, (&viewer, &camera), &wanted).await?;
    let detail = format!("export={id} from_ms={} to_ms={} {}", wanted.from_ms, wanted.to_ms, wanted.reason);
    let line = Record::done(&viewer, "recording.export", camera_id.as_str(), &camera.region).detail(detail);
    audit::record(&mut transaction, now_ms, line).await?;
    let export = store::one(&mut transaction, &id).await?.ok_or_else(Problem::not_found)?.view;
    live::append(&mut transaction, now_ms, &[export.draft()]).await?;
    transaction.commit().await?;
    room.live.notify();
    let job = Job { room, viewer, export: export.clone(), turn };
    tokio::spawn(job.run());
    Ok((StatusCode::CREATED, Json(export)))
}

#[derive(Debug, Deserialize, IntoParams)]
struct ExportQuery {
    /// Only this camera's.
    #[param(value_type = Option<String>)]
    camera_id: Option<CameraId>,
}

/// Exports, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
struct ExportPage {
    /// Sequence of the change log at which this was read.
    sequence: i64,
    /// The newest first; at most 100.
    exports: Vec<ExportView>,
}

/// What was taken out in the viewer's region.
#[utoipa::path(get, path = "/api/v1/exports", operation_id = "list_exports", tag = "video", params(ExportQuery),
    responses(
    (status = OK, body = ExportPage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Query(query): Query<ExportQuery>,
) -> Result<Json<ExportPage>, Problem> {
    viewer.may(Right::RecordingExport)?;
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let exports = store::list(&mut snapshot, &viewer.region, query.camera_id.as_ref()).await?;
    Ok(Json(ExportPage { sequence, exports: exports.into_iter().map(|stored| stored.view).collect() }))
}

/// One export: how far it is, what is missing of it, its hash.
#[utoipa::path(get, path = "/api/v1/exports/{id}", operation_id = "export", tag = "video",
    params(("id" = String, Path)), responses(
    (status = OK, body = ExportView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn one(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<ExportId>,
) -> Result<Json<ExportView>, Problem> {
    viewer.may(Right::RecordingExport)?;
    let mut connection = room.store.reader().acquire().await?;
    Ok(Json(held(&mut connection, &viewer, &id).await?.view))
}

/// Cancel an export that is being made, or give up the file of one that is ready.
#[utoipa::path(delete, path = "/api/v1/exports/{id}", operation_id = "cancel_export", tag = "video",
    params(("id" = String, Path)), responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn cancel(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<ExportId>,
) -> Result<StatusCode, Problem> {
    viewer.may(Right::RecordingExport)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let region = held(&mut transaction, &viewer, &id).await?.view.region_code;
    let action = if store::ended(&mut transaction, &id, "cancelled", None).await? {
        "export.cancel"
    } else if store::give_up(&mut transaction, &id).await? {
        "export.delete"
    } else {
        return Err(over());
    };
    audit::record(&mut transaction, now_ms, Record::done(&viewer, action, id.as_str(), &region)).await?;
    let now = held(&mut transaction, &viewer, &id).await?.view;
    live::append(&mut transaction, now_ms, &[now.draft()]).await?;
    transaction.commit().await?;
    room.live.notify();
    room.exports.stop(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// The film of an export that is ready; `Range` is understood. Each download is in the audit trail.
#[utoipa::path(get, path = "/api/v1/exports/{id}/file", operation_id = "export_file", tag = "video",
    params(("id" = String, Path)), responses(
    (status = OK, description = "video/mp4", content_type = "application/octet-stream", body = Vec<u8>),
    (status = PARTIAL_CONTENT, description = "The range that was asked for", content_type = "application/octet-stream",
        body = Vec<u8>),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn file(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<ExportId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    viewer.may(Right::RecordingExport)?;
    let Stored { view, is_home } = {
        let mut connection = room.store.reader().acquire().await?;
        let stored = held(&mut connection, &viewer, &id).await?;
        access::of_evidence(&mut connection, &viewer, stored.is_home, &stored.view.camera_id).await?;
        stored
    };
    let hash = view.sha256.as_deref().filter(|_| view.state == "ready").and_then(ContentHash::parse);
    let hash = hash.ok_or_else(not_here)?;
    let stat = room.content.stat(&hash).await?.ok_or_else(not_here)?;
    let mut answer = room.content.answer(&hash, &stat, &headers).await?;
    if !answer.status().is_success() {
        return Ok(answer);
    }
    // Ids are ASCII letters, digits and hyphens.
    let name =
        HeaderValue::from_str(&format!("attachment; filename=\"tongluo-{id}.mp4\"")).map_err(Problem::internal)?;
    answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    let detail = format!("camera={} home={}", view.camera_id, u8::from(is_home));
    let about = (view.id.as_str(), &view.region_code);
    let look = FileLook::begin(&room.store, &viewer, FileKind::Export, about, detail).await?;
    Ok(look.during(answer))
}

/// An export of the viewer's region.
async fn held(connection: &mut AnyConnection, viewer: &Viewer, id: &ExportId) -> Result<Stored, Problem> {
    let stored = store::one(connection, id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&stored.view.region_code)?;
    Ok(stored)
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "export.too_many",
        "这个站点正在导出另一段录像，或全县导出太多。请等它完成后再试。",
        "Another recording of this site is being exported, or too many in the county. Try again when it is done.",
    )
}

fn over() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "export.over",
        "这次导出已经结束，没有可取消的，也没有可删除的文件。",
        "This export is over: there is nothing to cancel and no file to delete.",
    )
}

fn not_here() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "export.not_here",
        "这次导出还没有完成，或文件已超过保存期限。",
        "This export is not finished, or its file is kept no longer.",
    )
}
