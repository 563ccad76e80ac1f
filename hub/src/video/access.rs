//! Who may see anything of a camera, and when: the one door that every route of live pictures, recordings and exports
//! goes through.
//!
//! 1. The camera lies in the viewer's region; otherwise it does not exist.
//! 2. A camera at a home opens only while its household consents, and only while an alarm of one of the household's
//!    devices is open. When either ends, so does whatever was opened: streams ask again every few seconds.
//!
//! What such a camera saw of a press is kept as evidence, which outlives the alarm: it opens for those who handle alarms,
//! as long as the household has not withdrawn its consent ([`of_evidence`]).

use axum::http::StatusCode;
use sqlx::{AnyConnection, Row};

use super::camera::CameraKind;
use crate::ids::{CameraId, RegionCode, SiteId};
use crate::viewer::{Right, Viewer};
use crate::web::Problem;

/// A camera that the viewer may see now.
#[derive(Clone, Debug)]
pub struct CameraAccess {
    /// Which.
    pub camera_id: CameraId,
    /// Whose gateway reaches it.
    pub site_id: SiteId,
    /// Where it is.
    pub region: RegionCode,
    /// As people call it.
    pub name: String,
    /// Whether it is at a home.
    pub is_home: bool,
    /// Whether it has a smaller stream.
    pub has_sub: bool,
}

/// Lets the viewer to a camera, as things are now.
///
/// # Errors
/// "Not found" outside the viewer's region; `camera.home_closed` and `camera.no_consent` for a camera at a home; the
/// database's.
pub async fn access(
    connection: &mut AnyConnection,
    viewer: &Viewer,
    camera_id: &CameraId,
) -> Result<CameraAccess, Problem> {
    let row = sqlx::query(
        "select c.site_id, c.name, c.kind, c.sub_path, c.consent_ms, s.region_code, \
         (select count(*) from camera_household h join alarm a on a.device_id = h.device_id \
          where h.camera_id = c.id and a.state <> 'closed') as household_alarms \
         from camera c join site s on s.id = c.site_id where c.id = $1",
    )
    .bind(camera_id.as_str())
    .fetch_optional(connection)
    .await?
    .ok_or_else(Problem::not_found)?;
    let region = RegionCode::from_known(row.try_get::<String, _>("region_code")?);
    viewer.require_region(&region)?;
    let is_home = CameraKind::from_name(&row.try_get::<String, _>("kind")?) == CameraKind::Home;
    if is_home && row.try_get::<Option<i64>, _>("consent_ms")?.is_none() {
        return Err(no_consent());
    }
    if is_home && row.try_get::<i64, _>("household_alarms")? == 0 {
        return Err(home_closed());
    }
    Ok(CameraAccess {
        camera_id: camera_id.clone(),
        site_id: SiteId::from_known(row.try_get::<String, _>("site_id")?),
        region,
        name: row.try_get("name")?,
        is_home,
        has_sub: row.try_get::<Option<String>, _>("sub_path")?.is_some(),
    })
}

/// Whether the viewer may open what a camera saw: evidence, or an export that is finished. Its region was checked before.
///
/// # Errors
/// "Forbidden" and `camera.no_consent` for a camera at a home; the database's.
pub(super) async fn of_evidence(
    connection: &mut AnyConnection,
    viewer: &Viewer,
    is_home: bool,
    camera_id: &CameraId,
) -> Result<(), Problem> {
    if !is_home {
        return Ok(());
    }
    viewer.may(Right::AlarmHandle)?;
    let consent: Option<Option<i64>> = sqlx::query_scalar("select consent_ms from camera where id = $1")
        .bind(camera_id.as_str())
        .fetch_optional(connection)
        .await?;
    // With the camera its consent is gone.
    if consent.flatten().is_some() { Ok(()) } else { Err(no_consent()) }
}

fn home_closed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "camera.home_closed",
        "这是住户的摄像机，只有这户人家有未结警情时才能打开。",
        "This camera is at a home. It opens only while an alarm of that household is open.",
    )
}

fn no_consent() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "camera.no_consent",
        "这是住户的摄像机，住户没有同意，或已撤回同意。",
        "This camera is at a home, and the household does not consent.",
    )
}
