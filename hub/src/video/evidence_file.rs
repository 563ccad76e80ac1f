//! `GET /api/v1/evidence/{id}/file`: a picture or a clip of a press, whole or in ranges. Each look is in the audit trail, once however
//! many ranges it takes.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tongluo_protocols::content::ContentHash;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::evidence::{self, Stored};
use super::file_look::{FileKind, FileLook};
use super::{VideoRoom, access};
use crate::ids::EvidenceId;
use crate::viewer::Viewer;
use crate::web::{Problem, ProblemDocument};

/// The room's route.
pub(super) fn routes() -> OpenApiRouter<VideoRoom> {
    OpenApiRouter::new().routes(routes!(file))
}

/// A picture or a clip of a press; `Range` is understood.
#[utoipa::path(get, path = "/api/v1/evidence/{id}/file", operation_id = "evidence_file", tag = "video",
    params(("id" = String, Path)), responses(
    (status = OK, description = "image/jpeg or video/mp4", content_type = "application/octet-stream", body = Vec<u8>),
    (status = PARTIAL_CONTENT, description = "The range that was asked for", content_type = "application/octet-stream",
        body = Vec<u8>),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn file(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<EvidenceId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let stored = {
        let mut connection = room.store.reader().acquire().await?;
        let stored = evidence::one(&mut connection, &id).await?.ok_or_else(Problem::not_found)?;
        viewer.require_region(&stored.view.region_code)?;
        access::of_evidence(&mut connection, &viewer, stored.is_home, &stored.view.camera_id).await?;
        stored
    };
    let hash = ready(&stored)?;
    let stat = room.content.stat(&hash).await?.ok_or_else(not_here)?;
    let answer = room.content.answer(&hash, &stat, &headers).await?;
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let view = &stored.view;
    let detail = format!("kind={} camera={}", view.kind, view.camera_id);
    let about = (view.id.as_str(), &view.region_code);
    let look = FileLook::begin(&room.store, &viewer, FileKind::Evidence, about, detail).await?;
    Ok(look.during(answer))
}

fn ready(stored: &Stored) -> Result<ContentHash, Problem> {
    if stored.view.state != "ready" {
        return Err(not_here());
    }
    stored.view.sha256.as_deref().and_then(ContentHash::parse).ok_or_else(not_here)
}

fn not_here() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "evidence.not_here",
        "这份录像或图片还没有传到县里，或已超过保存期限。",
        "This picture or clip has not reached the county yet, or is kept no longer.",
    )
}
