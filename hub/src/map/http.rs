//! The map over HTTP.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store;
use crate::ids::{CameraId, DeviceId, RegionCode, SiteId};
use crate::live;
use crate::store::Store;
use crate::viewer::Viewer;
use crate::web::{Problem, ProblemDocument};

/// Most rows of each kind in one map: a site in each of 13,215 grids, and room. A county with more is told so.
const ROWS_MAX: usize = 20_000;

/// What the room needs of the hub.
#[derive(Clone, Debug)]
pub struct MapRoom {
    /// Where everything is.
    pub store: Store,
}

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<MapRoom> {
    OpenApiRouter::new().routes(routes!(read))
}

/// A site: id, name, region's code, latitude, longitude (WGS 84; null until someone stood there), whether its gateway is
/// on line (1, 0; null: no gateway), open alarms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct MapSite(
    pub(super) SiteId,
    pub(super) String,
    pub(super) RegionCode,
    pub(super) Option<f64>,
    pub(super) Option<f64>,
    pub(super) Option<i64>,
    pub(super) i64,
);

/// A device with a place of its own: id, site's id, kind, name, latitude, longitude.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct MapDevice(
    pub(super) DeviceId,
    pub(super) SiteId,
    pub(super) String,
    pub(super) String,
    pub(super) f64,
    pub(super) f64,
);

/// A camera: id, site's id, kind, name, latitude, longitude (its site's, where it has none), direction in degrees from
/// north (null: not known), state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct MapCamera(
    pub(super) CameraId,
    pub(super) SiteId,
    pub(super) String,
    pub(super) String,
    pub(super) f64,
    pub(super) f64,
    pub(super) Option<i64>,
    pub(super) String,
);

/// The map of the viewer's region, in rows as short as they can be.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct MapView {
    /// The change log's sequence at which this was read.
    sequence: i64,
    /// GeoJSON MultiPolygon of the county (or of the smallest region that has one); null: none was imported.
    #[schema(value_type = Option<Object>)]
    outline: Option<serde_json::Value>,
    /// Sites, placed or not: id, name, region's code, latitude, longitude (null until someone stood there), on line (1, 0;
    /// null: no gateway), open alarms.
    #[schema(value_type = Vec<(String, String, String, Option<f64>, Option<f64>, Option<i64>, i64)>)]
    sites: Vec<MapSite>,
    /// Devices that have a place of their own: id, site's id, kind, name, latitude, longitude.
    #[schema(value_type = Vec<(String, String, String, String, f64, f64)>)]
    devices: Vec<MapDevice>,
    /// Cameras of which it is known where they are: id, site's id, kind, name, latitude, longitude (its site's, where it
    /// has none), direction in degrees from north (null: not known), state.
    #[schema(value_type = Vec<(String, String, String, String, f64, f64, Option<i64>, String)>)]
    cameras: Vec<MapCamera>,
    /// True when there are more than 20,000 of a kind and the rest was left out.
    truncated: bool,
}

/// The outline of the county, and what stands where in the viewer's region.
#[utoipa::path(
    get, path = "/api/v1/map", operation_id = "read_map", tag = "map",
    responses((status = 200, body = MapView), (status = 401, body = ProblemDocument))
)]
async fn read(State(room): State<MapRoom>, viewer: Viewer) -> Result<Json<MapView>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let outline = store::outline(&mut snapshot, &viewer.region).await?;
    // One more than is shown tells whether there are more.
    let limit = i64::try_from(ROWS_MAX).expect("a small number") + 1;
    let mut sites = store::sites(&mut snapshot, &viewer.region, limit).await?;
    let mut devices = store::devices(&mut snapshot, &viewer.region, limit).await?;
    let mut cameras = store::cameras(&mut snapshot, &viewer.region, limit).await?;
    let truncated = sites.len().max(devices.len()).max(cameras.len()) > ROWS_MAX;
    sites.truncate(ROWS_MAX);
    devices.truncate(ROWS_MAX);
    cameras.truncate(ROWS_MAX);
    Ok(Json(MapView { sequence, outline, sites, devices, cameras, truncated }))
}
