//! Regions over HTTP: walking down the tree, and importing it.

use axum::Json;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::import::{self, ImportRefused};
use super::store;
use crate::audit;
use crate::clock;
use crate::ids::RegionCode;
use crate::store::Store;
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// What the region routes work on.
#[derive(Clone)]
pub struct RegionRoom {
    /// Where the regions are.
    pub store: Store,
}

/// A place.
#[derive(Debug, Serialize, ToSchema)]
pub struct Region {
    /// National statistical code.
    pub code: RegionCode,
    /// As people write it.
    pub name: String,
    /// `county`, `township`, `village`, `group` or `grid`.
    pub level: String,
    /// The place above; null for the county.
    pub parent: Option<RegionCode>,
}

/// Places, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegionPage {
    /// Sequence of the change log at which this was read.
    pub sequence: i64,
    /// The places, by code.
    pub regions: Vec<Region>,
}

/// What an import did.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportResult {
    /// Places that were not known.
    pub added: u64,
    /// Places that got another name.
    pub changed: u64,
    /// Places that were as imported.
    pub unchanged: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
struct RegionQuery {
    /// List the places directly below this one; without it, the viewer's own place.
    #[param(value_type = Option<String>)]
    parent: Option<RegionCode>,
}

/// The region routes.
pub fn routes() -> OpenApiRouter<RegionRoom> {
    OpenApiRouter::new()
        .routes(routes!(list_regions))
        .merge(OpenApiRouter::new().routes(routes!(import_regions)).layer(DefaultBodyLimit::max(import::BYTES_MAX)))
}

/// The places directly below one, or the viewer's own.
#[utoipa::path(get, path = "/api/v1/regions", tag = "region", params(RegionQuery), responses(
    (status = OK, body = RegionPage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list_regions(
    State(room): State<RegionRoom>,
    viewer: Viewer,
    Query(query): Query<RegionQuery>,
) -> Result<Json<RegionPage>, Problem> {
    let region = query.parent.as_ref().unwrap_or(&viewer.region);
    viewer.require_region(region)?;
    let mut snapshot = room.store.snapshot().await?;
    let sequence = crate::live::current(&mut snapshot).await?;
    let regions = store::list(&mut snapshot, region, query.parent.is_some()).await?;
    Ok(Json(RegionPage { sequence, regions }))
}

/// Add and rename places from a CSV with the header `code,name,level,parent`: all of it, or nothing.
#[utoipa::path(post, path = "/api/v1/regions/import", tag = "region",
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = OK, body = ImportResult),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
    )
)]
async fn import_regions(
    State(room): State<RegionRoom>,
    viewer: Viewer,
    text: String,
) -> Result<Json<ImportResult>, Problem> {
    viewer.may(Right::RegionManage)?;
    let now_ms = clock::utc_ms();
    let rows = import::parse(&text).map_err(refused)?;
    if rows.iter().any(|row| !viewer.sees(&row.code)) {
        return Err(Problem::forbidden());
    }
    let mut transaction = room.store.begin().await?;
    let result = store::import(&mut transaction, &rows).await?.map_err(refused)?;
    let line = audit::Record::done(&viewer, "region.import", viewer.region.as_str(), &viewer.region)
        .detail(format!("added {}, renamed {}", result.added, result.changed));
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    Ok(Json(result))
}

fn refused(refused: ImportRefused) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "region.import_refused",
        format!("导入被拒绝，什么都没有改变：{}。", refused.chinese()),
        format!("The import was refused and nothing was changed: {}.", refused.english()),
    )
}
