//! Reading the trail.

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store;
use crate::ids::RegionCode;
use crate::store::Store;
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Lines in a page unless asked otherwise.
const PAGE_LINES: i64 = 100;
/// Most lines in a page: what a person scrolls through, and what fits one answer.
const PAGE_LINES_MAX: i64 = 500;

/// What the trail's route works on.
#[derive(Clone)]
pub struct AuditRoom {
    /// Where the trail is.
    pub store: Store,
}

/// One line of the trail.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Sorts by time.
    pub id: String,
    /// When, UTC.
    pub at_ms: i64,
    /// User name, `gateway:<site>`, or `system`.
    pub actor: String,
    /// A thing and a verb, e.g. `alarm.close`.
    pub action: String,
    /// Id of what was acted on.
    pub subject: String,
    /// Where it belongs.
    pub region_code: RegionCode,
    /// `done` or `refused`.
    pub outcome: String,
    /// What makes the line understandable; may be empty.
    pub detail: String,
}

/// A page of the trail, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    /// The lines.
    pub entries: Vec<AuditEntry>,
    /// Ask again with `after` set to this; null at the end.
    pub next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct AuditQuery {
    /// Continue below this id.
    after: Option<String>,
    /// Lines wanted, 1–500; default 100.
    limit: Option<i64>,
}

/// The trail's routes.
pub fn routes() -> OpenApiRouter<AuditRoom> {
    OpenApiRouter::new().routes(routes!(list_audit))
}

/// The audit trail of the viewer's region, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery), responses(
    (status = OK, body = AuditPage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list_audit(
    State(room): State<AuditRoom>,
    viewer: Viewer,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    viewer.may(Right::AuditRead)?;
    let limit = query.limit.unwrap_or(PAGE_LINES).clamp(1, PAGE_LINES_MAX);
    let mut entries = store::list(&room.store, &viewer.region, query.after.as_deref(), limit + 1).await?;
    let more = i64::try_from(entries.len()).is_ok_and(|found| found > limit);
    if more {
        entries.pop();
    }
    let next = if more { entries.last().map(|entry| entry.id.clone()) } else { None };
    Ok(Json(AuditPage { entries, next }))
}
