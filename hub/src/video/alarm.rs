//! `GET /api/v1/alarms/{id}/video`: the cameras that see an alarm's place, and what they saw of its presses.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use sqlx::{AnyConnection, Row};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::VideoRoom;
use super::configuration::{candidates, place};
use super::evidence::{self, AWAITED_MS, EvidenceView};
use super::nearest::{Point, nearest};
use super::view::{self, CameraView};
use crate::clock;
use crate::ids::{AlarmId, DeviceId, EvidenceId, RegionCode, SiteId};
use crate::live;
use crate::viewer::Viewer;
use crate::web::{Problem, ProblemDocument};

/// The part of a clip before the press, and after it.
const CLIP_BEFORE_MS: i64 = 30_000;
const CLIP_AFTER_MS: i64 = 60_000;

/// The room's route.
pub(super) fn routes() -> OpenApiRouter<VideoRoom> {
    OpenApiRouter::new().routes(routes!(video))
}

/// What cameras show and saw of an alarm, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
struct AlarmVideo {
    /// Sequence of the change log at which this was read.
    sequence: i64,
    /// The nearest, at most two, the nearest first. One at a home opens only while the alarm does.
    cameras: Vec<CameraView>,
    /// Of the newest press first.
    evidence: Vec<EvidenceView>,
}

/// What is asked about.
struct Alarm {
    site: SiteId,
    region: RegionCode,
    device: Option<DeviceId>,
    at: Option<Point>,
    is_open: bool,
    newest_press: Option<(String, i64, i64)>,
}

/// The cameras of an alarm and what they saw.
#[utoipa::path(get, path = "/api/v1/alarms/{id}/video", operation_id = "alarm_video", tag = "video",
    params(("id" = String, Path)), responses(
    (status = OK, body = AlarmVideo),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn video(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<AlarmId>,
) -> Result<Json<AlarmVideo>, Problem> {
    let now_ms = clock::utc_ms();
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let alarm = alarm(&mut snapshot, &id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&alarm.region)?;
    let cameras = cameras_of(&mut snapshot, now_ms, &alarm).await?;
    let stored = evidence::of_alarm(&mut snapshot, &id).await?;
    let mut evidence: Vec<EvidenceView> = stored.into_iter().map(|stored| stored.view).collect();
    let awaited = awaited(now_ms, &id, &alarm, &cameras, &evidence);
    evidence.splice(0..0, awaited);
    Ok(Json(AlarmVideo { sequence, cameras, evidence }))
}

async fn cameras_of(
    connection: &mut AnyConnection,
    now_ms: i64,
    alarm: &Alarm,
) -> Result<Vec<CameraView>, sqlx::Error> {
    let site_at = place(connection, &alarm.site).await?.and_then(|place| place.at);
    let cameras = view::cameras(connection, now_ms, &alarm.region, Some(&alarm.site)).await?;
    let views: Vec<&CameraView> = cameras.iter().map(|camera| &camera.view).collect();
    // When the alarm is over its household's camera is closed: it is not offered.
    let device = alarm.device.as_ref().filter(|_| alarm.is_open);
    let ids = nearest(device, alarm.at.or(site_at), &candidates(site_at, &views));
    Ok(ids.iter().filter_map(|id| views.iter().find(|view| view.id == *id).map(|view| (*view).clone())).collect())
}

/// What the gateway has not told of the newest press yet, while that is no wonder.
fn awaited(
    now_ms: i64,
    id: &AlarmId,
    alarm: &Alarm,
    cameras: &[CameraView],
    told: &[EvidenceView],
) -> Vec<EvidenceView> {
    let Some((press_id, occurred_ms, received_ms)) = &alarm.newest_press else { return Vec::new() };
    if now_ms - received_ms > AWAITED_MS {
        return Vec::new();
    }
    let kinds =
        [("snapshot", *occurred_ms, *occurred_ms), ("clip", occurred_ms - CLIP_BEFORE_MS, occurred_ms + CLIP_AFTER_MS)];
    let mut awaited = Vec::new();
    for camera in cameras {
        for (kind, from_ms, to_ms) in kinds {
            let is_told =
                |one: &EvidenceView| one.camera_id == camera.id && one.kind == kind && one.press_id == *press_id;
            if told.iter().any(is_told) {
                continue;
            }
            awaited.push(EvidenceView {
                id: EvidenceId::from_known(format!("awaited-{press_id}-{}-{kind}", camera.id)),
                site_id: alarm.site.clone(),
                region_code: alarm.region.clone(),
                alarm_id: Some(id.clone()),
                press_id: press_id.clone(),
                camera_id: camera.id.clone(),
                camera_name: camera.name.clone(),
                kind: kind.to_owned(),
                state: "awaited".to_owned(),
                reason: None,
                from_ms,
                to_ms,
                bytes: None,
                sha256: None,
                media_type: None,
                received_ms: None,
            });
        }
    }
    awaited
}

async fn alarm(connection: &mut AnyConnection, id: &AlarmId) -> Result<Option<Alarm>, sqlx::Error> {
    let row = sqlx::query(
        "select a.site_id, a.region_code, a.device_id, a.state, d.latitude, d.longitude \
         from alarm a left join device d on d.id = a.device_id where a.id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let newest_press: Option<(String, i64, i64)> = sqlx::query_as(
        "select press_id, occurred_ms, received_ms from press where alarm_id = $1 \
         order by received_ms desc, press_id desc limit 1",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(Some(Alarm {
        site: SiteId::from_known(row.try_get::<String, _>("site_id")?),
        region: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
        device: row.try_get::<Option<String>, _>("device_id")?.map(DeviceId::from_known),
        at: Point::known(row.try_get("latitude")?, row.try_get("longitude")?),
        is_open: row.try_get::<String, _>("state")? != "closed",
        newest_press,
    }))
}
