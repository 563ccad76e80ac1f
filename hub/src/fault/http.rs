//! Faults on the pages: see them, and say that one is mended.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, FaultState, FaultView};
use crate::audit;
use crate::clock;
use crate::live::{self, Live};
use crate::store::Store;
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Most faults in one answer. A county with more has one cause behind them; the page says that there are more.
const FAULTS_MAX: i64 = 1_000;
/// Longest note, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// What the room needs of the hub.
#[derive(Clone, Debug)]
pub struct FaultRoom {
    /// The ledger's tables.
    pub store: Store,
    /// To be told of changes.
    pub live: Live,
}

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<FaultRoom> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(clear))
}

#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// `open` (the default) or `cleared`.
    #[param(inline)]
    state: Option<FaultState>,
}

/// Faults of the viewer's region.
#[derive(Debug, Serialize, ToSchema)]
struct FaultList {
    /// The change log's sequence at which this was read.
    sequence: i64,
    /// Latest first; at most 1,000.
    faults: Vec<FaultView>,
}

/// Faults of the viewer's region.
#[utoipa::path(
    get, path = "/api/v1/faults", operation_id = "list_faults", tag = "fault", params(ListQuery),
    responses((status = 200, body = FaultList), (status = 401, body = ProblemDocument))
)]
async fn list(
    State(room): State<FaultRoom>,
    viewer: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<FaultList>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let state = query.state.unwrap_or(FaultState::Open);
    let faults = store::list(&mut snapshot, &viewer.region, state, FAULTS_MAX).await?;
    Ok(Json(FaultList { sequence, faults }))
}

/// What was done about a fault.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClearRequest {
    /// In the person's words; 1 to 500 characters.
    note: String,
}

/// Say that a fault is mended. If it is not, the next report opens a new one.
#[utoipa::path(
    post, path = "/api/v1/faults/{id}/clear", tag = "fault", params(("id" = String, Path)), request_body = ClearRequest,
    responses(
        (status = 200, body = FaultView),
        (status = 403, body = ProblemDocument),
        (status = 404, body = ProblemDocument),
        (status = 409, description = "It is cleared already", body = ProblemDocument),
        (status = 422, description = "The note is missing or too long", body = ProblemDocument),
    )
)]
async fn clear(
    State(room): State<FaultRoom>,
    viewer: Viewer,
    Path(id): Path<String>,
    Json(request): Json<ClearRequest>,
) -> Result<Json<FaultView>, Problem> {
    viewer.may(Right::SiteManage)?;
    let note = request.note.trim();
    if note.is_empty() || note.chars().count() > NOTE_CHARS_MAX {
        return Err(Problem::invalid(
            "note",
            "请用 1 到 500 字写明做了什么",
            "say what was done, in 1 to 500 characters",
        ));
    }
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let fault = store::one(&mut transaction, &id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&fault.region_code)?;
    if !store::clear_by_person(&mut transaction, now_ms, &id, &viewer.display_name, note).await? {
        return Err(already_cleared());
    }
    let record = audit::Record::done(&viewer, "fault.clear", id.as_str(), &fault.region_code);
    audit::record(&mut transaction, now_ms, record).await?;
    let draft = super::draft(&mut transaction, &id).await?;
    live::append(&mut transaction, now_ms, &[draft]).await?;
    let view = store::one(&mut transaction, &id).await?.ok_or_else(Problem::not_found)?;
    transaction.commit().await?;
    room.live.notify();
    Ok(Json(view))
}

fn already_cleared() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "fault.already_cleared",
        "这个故障已经消除，什么都没有改变。",
        "This fault is cleared already; nothing was changed.",
    )
}
