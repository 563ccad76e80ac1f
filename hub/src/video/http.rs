//! The routes of cameras: see them, enter, change and delete them.

use std::collections::{BTreeSet, HashSet};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::address::{Address, Credentials};
use super::camera::{self, CameraCreate, CameraKind, CameraPatch, Settings};
use super::report::settle;
use super::store::{self, Recorder, label};
use super::view::{self, Camera, CameraView};
use super::{VideoRoom, changed};
use crate::audit;
use crate::clock;
use crate::fault;
use crate::ids::{self, CameraId, RecorderId, RegionCode, SiteId};
use crate::live;
use crate::store::Transaction;
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Most cameras of one site. Four times the sixteen that a village is planned for.
const CAMERAS_PER_SITE_MAX: i64 = 64;

/// The routes of cameras.
pub(super) fn routes() -> OpenApiRouter<VideoRoom> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(change, delete))
}

#[derive(Debug, Deserialize, IntoParams)]
struct CameraQuery {
    /// Only this site's.
    #[param(value_type = Option<String>)]
    site_id: Option<SiteId>,
}

/// Cameras, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
struct CameraPage {
    /// Sequence of the change log at which this was read.
    sequence: i64,
    /// By site and name.
    cameras: Vec<CameraView>,
}

/// The cameras of the viewer's region.
#[utoipa::path(get, path = "/api/v1/cameras", operation_id = "list_cameras", tag = "video", params(CameraQuery),
    responses(
    (status = OK, body = CameraPage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Query(query): Query<CameraQuery>,
) -> Result<Json<CameraPage>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let cameras = view::cameras(&mut snapshot, clock::utc_ms(), &viewer.region, query.site_id.as_ref()).await?;
    Ok(Json(CameraPage { sequence, cameras: cameras.into_iter().map(|camera| camera.view).collect() }))
}

/// Enter a camera. Its recorder is found by its address or made; credentials are sealed and never shown again.
#[utoipa::path(post, path = "/api/v1/cameras", operation_id = "create_camera", tag = "video",
    request_body = CameraCreate, responses(
    (status = CREATED, body = CameraView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Json(request): Json<CameraCreate>,
) -> Result<(StatusCode, Json<CameraView>), Problem> {
    viewer.may(Right::SiteManage)?;
    let address = camera::address(&request.url, request.username.as_deref(), request.password.as_ref())?;
    let settings = request.settings(&address)?;
    let sessions_max = request.sessions_max()?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let site = &request.site_id;
    let region = held_site(&mut transaction, &viewer, site).await?;
    if store::count(&mut transaction, site).await? >= CAMERAS_PER_SITE_MAX {
        return Err(too_many());
    }
    check_household(&mut transaction, site, &settings).await?;
    // Without a word of its own the limit of a recorder that is known already stays.
    let sessions_max = (request.sessions_max.is_some(), sessions_max);
    let recorder = room.recorder(&mut transaction, now_ms, site, &address, sessions_max).await?;
    let id = CameraId::from_known(ids::opaque());
    store::hold_recorders(&mut transaction, &[&recorder]).await?;
    store::insert(&mut transaction, now_ms, (&id, site, &recorder), &settings).await?;
    let faults = resettle(&mut transaction, now_ms, &[&recorder]).await?;
    let line = audit::Record::done(&viewer, "camera.create", id.as_str(), &region).detail(settings.kind.as_str());
    audit::record(&mut transaction, now_ms, line).await?;
    let view = room.finish(transaction, now_ms, &id, faults).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Change a camera; absent fields stay.
#[utoipa::path(patch, path = "/api/v1/cameras/{id}", operation_id = "change_camera", tag = "video",
    params(("id" = String, Path)), request_body = CameraPatch, responses(
    (status = OK, body = CameraView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn change(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<CameraId>,
    Json(patch): Json<CameraPatch>,
) -> Result<Json<CameraView>, Problem> {
    viewer.may(Right::SiteManage)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let (camera, region) = held_camera(&mut transaction, &viewer, &id, now_ms).await?;
    let site = &camera.view.site_id;
    let (address, settings) = patched(&patch, &camera, now_ms)?;
    check_household(&mut transaction, site, &settings).await?;
    let sessions_max = patch.sessions_max()?;
    let sessions_max = (sessions_max.is_some(), sessions_max.unwrap_or(4));
    let recorder = room.recorder(&mut transaction, now_ms, site, &address, sessions_max).await?;
    store::hold_recorders(&mut transaction, &[&recorder]).await?;
    store::update(&mut transaction, &id, &recorder, &settings).await?;
    let faults = resettle(&mut transaction, now_ms, &[&camera.view.recorder_id, &recorder]).await?;
    store::remove_idle_recorders(&mut transaction, site).await?;
    let line = audit::Record::done(&viewer, "camera.change", id.as_str(), &region).detail(patch.named());
    audit::record(&mut transaction, now_ms, line).await?;
    if settings.consent_ms.is_some() != camera.view.consent_ms.is_some() {
        let action = if settings.consent_ms.is_some() { "camera.consent" } else { "camera.consent_withdrawn" };
        audit::record(&mut transaction, now_ms, audit::Record::done(&viewer, action, id.as_str(), &region)).await?;
    }
    Ok(Json(room.finish(transaction, now_ms, &id, faults).await?))
}

/// Delete a camera. What it saw of presses stays until it expires.
#[utoipa::path(delete, path = "/api/v1/cameras/{id}", operation_id = "delete_camera", tag = "video",
    params(("id" = String, Path)), responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn delete(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<CameraId>,
) -> Result<StatusCode, Problem> {
    viewer.may(Right::SiteManage)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let (camera, region) = held_camera(&mut transaction, &viewer, &id, now_ms).await?;
    let site = &camera.view.site_id;
    store::delete(&mut transaction, &id).await?;
    let mut drafts = fault::clear_source(&mut transaction, now_ms, site, &super::fault_source(&id)).await?;
    drafts.extend(resettle(&mut transaction, now_ms, &[&camera.view.recorder_id]).await?);
    store::remove_idle_recorders(&mut transaction, site).await?;
    let line = audit::Record::done(&viewer, "camera.delete", id.as_str(), &region).detail(camera.view.kind.as_str());
    audit::record(&mut transaction, now_ms, line).await?;
    drafts.push(CameraView { deleted: true, ..camera.view.clone() }.draft());
    changed(&mut transaction, now_ms, site).await?;
    live::append(&mut transaction, now_ms, &drafts).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok(StatusCode::NO_CONTENT)
}

impl VideoRoom {
    /// The recorder at an address, found or made; credentials and limit are changed where they are given.
    async fn recorder(
        &self,
        connection: &mut AnyConnection,
        now_ms: i64,
        site: &SiteId,
        address: &Address,
        (is_limit_given, sessions_max): (bool, u8),
    ) -> Result<RecorderId, Problem> {
        let known = store::recorders(connection, site).await?.into_iter().find(|known| known.place == address.place);
        let is_new = known.is_none();
        let mut recorder = known.unwrap_or_else(|| Recorder {
            id: RecorderId::from_known(ids::opaque()),
            place: address.place.clone(),
            credentials: None,
            sessions_max: i64::from(sessions_max),
        });
        if is_limit_given {
            recorder.sessions_max = i64::from(sessions_max);
        }
        if let Some(given) = &address.credentials {
            recorder.credentials = Some(self.sealed(&recorder.id, given));
        }
        if is_new || is_limit_given || address.credentials.is_some() {
            store::save_recorder(connection, now_ms, site, &recorder).await?;
        }
        Ok(recorder.id)
    }

    fn sealed(&self, recorder: &RecorderId, credentials: &Credentials) -> Vec<u8> {
        let plain = serde_json::to_vec(credentials).expect("two texts are plain data");
        self.seal.seal(&label(recorder), &plain)
    }

    /// Tells everybody how a camera is now, and what else became another, and commits.
    async fn finish(
        &self,
        mut transaction: Transaction,
        now_ms: i64,
        id: &CameraId,
        mut drafts: Vec<live::Draft>,
    ) -> Result<CameraView, Problem> {
        let camera = view::camera(&mut transaction, now_ms, id).await?.ok_or_else(Problem::not_found)?;
        changed(&mut transaction, now_ms, &camera.view.site_id).await?;
        drafts.push(camera.view.draft());
        live::append(&mut transaction, now_ms, &drafts).await?;
        transaction.commit().await?;
        self.live.notify();
        Ok(camera.view)
    }
}

/// The camera's address and settings after the change.
fn patched(patch: &CameraPatch, camera: &Camera, now_ms: i64) -> Result<(Address, Settings), Problem> {
    let mut known = camera.settings();
    let address = match &patch.url {
        Some(url) => camera::address(url, patch.username.as_deref(), patch.password.as_ref())?,
        None => Address {
            place: camera.recorder.clone(),
            path: known.main_path.clone(),
            credentials: camera::credentials(patch.username.as_deref(), patch.password.as_ref())?,
        },
    };
    known.main_path.clone_from(&address.path);
    if let Some(sub_url) = &patch.sub_url {
        known.sub_path = camera::sub_path(sub_url, &address)?;
    }
    Ok((address, patch.settings(now_ms, known)?))
}

async fn check_household(connection: &mut AnyConnection, site: &SiteId, settings: &Settings) -> Result<(), Problem> {
    if settings.kind != CameraKind::Home || store::are_devices_of(connection, site, &settings.household).await? {
        return Ok(());
    }
    let (zh, en) = ("其中有不属于这个站点的设备", "not all of these are devices of this site");
    Err(Problem::invalid("household_device_ids", zh, en))
}

/// Locks a site's row, if the viewer may know of it.
async fn held_site(connection: &mut AnyConnection, viewer: &Viewer, site: &SiteId) -> Result<RegionCode, Problem> {
    let region = store::hold_site(connection, site).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&region)?;
    Ok(region)
}

/// Locks the row of a camera's site, if the viewer may know of it, and reads the camera.
async fn held_camera(
    connection: &mut AnyConnection,
    viewer: &Viewer,
    id: &CameraId,
    now_ms: i64,
) -> Result<(Camera, RegionCode), Problem> {
    let found = view::camera(connection, now_ms, id).await?.ok_or_else(Problem::not_found)?;
    let region = held_site(connection, viewer, &found.view.site_id).await?;
    // Read again: between the first look and the lock somebody may have changed or deleted it.
    let camera = view::camera(connection, now_ms, id).await?.ok_or_else(Problem::not_found)?;
    store::hold_recorders(connection, &[&camera.view.recorder_id]).await?;
    Ok((camera, region))
}

/// What is a recorder's trouble and what its cameras' depends on which cameras it has.
async fn resettle(
    connection: &mut AnyConnection,
    now_ms: i64,
    recorders: &[&RecorderId],
) -> Result<Vec<live::Draft>, sqlx::Error> {
    let distinct: BTreeSet<&RecorderId> = recorders.iter().copied().collect();
    settle(connection, now_ms, &Vec::from_iter(distinct), &HashSet::new()).await
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "camera.too_many",
        "这个站点的摄像机已达上限（64 路），什么都没有改变。",
        "This site has as many cameras as it may have (64). Nothing was changed.",
    )
}
