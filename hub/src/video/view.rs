//! A camera as the pages see it, whole: in lists, in answers, and in the change log. Never with credentials.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use utoipa::ToSchema;

use super::address::Place;
use super::camera::{CameraKind, RecordPolicy, Settings};
use super::health::{self, Heard};
use crate::ids::{CameraId, DeviceId, RecorderId, RegionCode, SiteId};
use crate::live::Draft;
use crate::store::{chunks, parameters};

/// A camera. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CameraView {
    /// Opaque.
    pub id: CameraId,
    /// Whose gateway reaches it.
    pub site_id: SiteId,
    /// That site's name.
    pub site_name: String,
    /// That site's region.
    pub region_code: RegionCode,
    /// What answers at its address; cameras of one recorder share its credentials and its sessions.
    pub recorder_id: RecorderId,
    /// As people call it.
    pub name: String,
    /// Where it looks, and so who may open it and when.
    pub kind: CameraKind,
    /// Where it is.
    pub place: Option<String>,
    /// WGS 84 degrees; null: where its site is.
    pub latitude: Option<f64>,
    /// WGS 84 degrees.
    pub longitude: Option<f64>,
    /// Where it looks, clockwise from north; null: all around, or nobody said.
    pub direction_degrees: Option<i64>,
    /// Address of its main stream, without credentials.
    pub url: String,
    /// Address of its smaller stream; null: it has none.
    pub sub_url: Option<String>,
    /// Whether the recorder's credentials are known.
    pub has_credentials: bool,
    /// How many streams the recorder gives at once.
    pub sessions_max: i64,
    /// What the village keeps of it.
    pub record: RecordPolicy,
    /// For how many days at most.
    pub days_max: i64,
    /// In how many bytes at most.
    pub bytes_max: i64,
    /// Whether its sound is recorded, too.
    pub audio: bool,
    /// Of a home camera: the devices during whose alarm it opens.
    pub household_device_ids: Vec<DeviceId>,
    /// Of a home camera: since when its household consents; null: it does not.
    pub consent_ms: Option<i64>,
    /// How it is.
    pub state: CameraStateView,
    /// What its main stream carries; null: not seen yet.
    pub main: Option<StreamView>,
    /// What its smaller stream carries; null: there is none, or it was not seen yet.
    pub sub: Option<StreamView>,
    /// When its last frame came, the gateway's clock.
    pub last_frame_ms: Option<i64>,
    /// Where its recordings begin, the gateway's clock; null: there are none.
    pub recorded_from_ms: Option<i64>,
    /// How many bytes its recordings take.
    pub recorded_bytes: Option<i64>,
    /// When the hub last heard of it.
    pub reported_ms: Option<i64>,
    /// Grows with each change by a person.
    pub revision: i64,
    /// True in the change log's last word of a camera that was deleted; never in lists.
    pub deleted: bool,
}

/// How a camera is, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CameraStateView {
    /// `ok`, `starting`, `unreachable`, `refused`, `no_such_stream`, `unsupported`, `no_frames`, `frozen`, `black`,
    /// `recording_gap`, `clock_off`, `disk_full` as its gateway says; `new`: it has not said anything yet; `stale`: nobody
    /// knows, because the gateway is off line or has been silent about it. Others may come.
    pub name: String,
    /// Since when: the gateway's clock, of `stale` and `new` the hub's.
    pub since_ms: i64,
    /// What was seen, for the technician; of `stale` how it last was.
    pub detail: String,
}

/// What a stream carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StreamView {
    /// `h264` or `h265`; others may come.
    pub codec: String,
    /// In pixels.
    pub width: i64,
    /// In pixels.
    pub height: i64,
}

impl CameraView {
    /// The change-log entry that says "this is how the camera is now".
    pub fn draft(&self) -> Draft {
        Draft {
            kind: "camera",
            region: self.region_code.clone(),
            subject: self.id.to_string(),
            body: serde_json::to_value(self).expect("a view is plain data"),
        }
    }
}

/// A camera with what is not shown of it.
#[derive(Clone, Debug)]
pub(super) struct Camera {
    pub(super) view: CameraView,
    /// Where its recorder is.
    pub(super) recorder: Place,
    /// Path and query, with placeholders for credentials.
    pub(super) main_path: String,
    pub(super) sub_path: Option<String>,
    /// As last reported, whether or not that is still believed.
    pub(super) reported_state: String,
    /// Of the newest report, the gateway's clock.
    pub(super) heard_ms: Option<i64>,
    /// Whether the pages were told that nobody knows how it is.
    pub(super) told_stale: bool,
}

impl Camera {
    /// What people decided of it.
    pub(super) fn settings(&self) -> Settings {
        let view = &self.view;
        Settings {
            name: view.name.clone(),
            kind: view.kind,
            main_path: self.main_path.clone(),
            sub_path: self.sub_path.clone(),
            place: view.place.clone(),
            latitude: view.latitude,
            longitude: view.longitude,
            direction_degrees: view.direction_degrees,
            record: view.record,
            days_max: u16::try_from(view.days_max).unwrap_or(u16::MAX),
            bytes_max: view.bytes_max,
            audio: view.audio,
            household: view.household_device_ids.clone(),
            consent_ms: view.consent_ms,
        }
    }
}

macro_rules! select_cameras {
    ($rest:literal) => {
        concat!(
            "select c.id, c.site_id, s.name as site_name, s.region_code, c.recorder_id, r.host, r.port, r.sessions_max, ",
            "case when r.credentials is null then 0 else 1 end as has_credentials, c.name, c.kind, c.main_path, ",
            "c.sub_path, c.place, c.latitude, c.longitude, c.direction_degrees, c.record, c.days_max, c.bytes_max, ",
            "c.audio, c.consent_ms, c.created_ms, c.revision, c.state, c.state_since_ms, c.state_detail, c.main_codec, ",
            "c.main_width, c.main_height, c.sub_codec, c.sub_width, c.sub_height, c.recorded_from_ms, ",
            "c.recorded_bytes, c.last_frame_ms, c.heard_ms, c.reported_ms, c.stale, p.online, p.online_changed_ms ",
            "from camera c join site s on s.id = c.site_id join recorder r on r.id = c.recorder_id ",
            "left join presence p on p.site_id = c.site_id ",
            $rest
        )
    };
}

/// One camera. `None`: there is no such camera.
pub(super) async fn camera(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &CameraId,
) -> Result<Option<Camera>, sqlx::Error> {
    let row =
        sqlx::query(select_cameras!("where c.id = $1")).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    let mut camera = from_row(&row, now_ms)?;
    let households =
        sqlx::query("select camera_id, device_id from camera_household where camera_id = $1 order by device_id")
            .bind(id.as_str())
            .fetch_all(connection)
            .await?;
    camera.view.household_device_ids = members(&households)?.remove(id).unwrap_or_default();
    Ok(Some(camera))
}

/// Those of the cameras that exist, in no order, without their households.
pub(super) async fn some(
    connection: &mut AnyConnection,
    now_ms: i64,
    ids: &[&str],
) -> Result<Vec<Camera>, sqlx::Error> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in chunks(ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        let select = select_cameras!("where c.id in (values ");
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!("{select}{wanted})")));
        for id in chunk {
            query = query.bind(*id);
        }
        for row in query.fetch_all(&mut *connection).await? {
            found.push(from_row(&row, now_ms)?);
        }
    }
    Ok(found)
}

/// The households of cameras, as far as they have any.
pub(super) async fn households(
    connection: &mut AnyConnection,
    cameras: &[&str],
) -> Result<HashMap<CameraId, Vec<DeviceId>>, sqlx::Error> {
    let mut rows = Vec::new();
    for chunk in chunks(cameras) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "select camera_id, device_id from camera_household where camera_id in (values {wanted}) order by device_id"
        )));
        for camera in chunk {
            query = query.bind(*camera);
        }
        rows.extend(query.fetch_all(&mut *connection).await?);
    }
    members(&rows)
}

/// The cameras of a region, or of one site in it, by site and name.
pub(super) async fn cameras(
    connection: &mut AnyConnection,
    now_ms: i64,
    region: &RegionCode,
    site: Option<&SiteId>,
) -> Result<Vec<Camera>, sqlx::Error> {
    // An empty text is no site's id.
    let site = site.map_or("", SiteId::as_str);
    let rows = sqlx::query(select_cameras!(
        "where s.region_code >= $1 and s.region_code < $2 and ($3 = '' or c.site_id = $3) \
         order by s.region_code, s.name, c.site_id, c.name, c.id"
    ))
    .bind(region.as_str())
    .bind(region.end())
    .bind(site)
    .fetch_all(&mut *connection)
    .await?;
    let households = sqlx::query(
        "select h.camera_id, h.device_id from camera_household h join camera c on c.id = h.camera_id \
         join site s on s.id = c.site_id where s.region_code >= $1 and s.region_code < $2 \
         and ($3 = '' or c.site_id = $3) order by h.device_id",
    )
    .bind(region.as_str())
    .bind(region.end())
    .bind(site)
    .fetch_all(connection)
    .await?;
    let mut households = members(&households)?;
    rows.iter()
        .map(|row| {
            let mut camera = from_row(row, now_ms)?;
            camera.view.household_device_ids = households.remove(&camera.view.id).unwrap_or_default();
            Ok(camera)
        })
        .collect()
}

fn members(rows: &[AnyRow]) -> Result<HashMap<CameraId, Vec<DeviceId>>, sqlx::Error> {
    let mut households: HashMap<CameraId, Vec<DeviceId>> = HashMap::new();
    for row in rows {
        let camera = CameraId::from_known(row.try_get::<String, _>("camera_id")?);
        let device = DeviceId::from_known(row.try_get::<String, _>("device_id")?);
        households.entry(camera).or_default().push(device);
    }
    Ok(households)
}

fn from_row(row: &AnyRow, now_ms: i64) -> Result<Camera, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let recorder = Place { host: text("host")?, port: u16::try_from(row.try_get::<i64, _>("port")?).unwrap_or(0) };
    let (main_path, sub_path) = (text("main_path")?, row.try_get::<Option<String>, _>("sub_path")?);
    let heard = Heard {
        state: text("state")?,
        since_ms: row.try_get("state_since_ms")?,
        detail: text("state_detail")?,
        created_ms: row.try_get("created_ms")?,
        reported_ms: row.try_get("reported_ms")?,
        online: row.try_get::<Option<i64>, _>("online")?.is_some_and(|online| online != 0),
        online_changed_ms: row.try_get("online_changed_ms")?,
    };
    let view = CameraView {
        id: CameraId::from_known(text("id")?),
        site_id: SiteId::from_known(text("site_id")?),
        site_name: text("site_name")?,
        region_code: RegionCode::from_known(text("region_code")?),
        recorder_id: RecorderId::from_known(text("recorder_id")?),
        name: text("name")?,
        kind: CameraKind::from_name(&text("kind")?),
        place: row.try_get("place")?,
        latitude: row.try_get("latitude")?,
        longitude: row.try_get("longitude")?,
        direction_degrees: row.try_get("direction_degrees")?,
        url: recorder.url(&main_path),
        sub_url: sub_path.as_deref().map(|path| recorder.url(path)),
        has_credentials: row.try_get::<i64, _>("has_credentials")? != 0,
        sessions_max: row.try_get("sessions_max")?,
        record: RecordPolicy::from_name(&text("record")?),
        days_max: row.try_get("days_max")?,
        bytes_max: row.try_get("bytes_max")?,
        audio: row.try_get::<i64, _>("audio")? != 0,
        household_device_ids: Vec::new(),
        consent_ms: row.try_get("consent_ms")?,
        state: health::shown(now_ms, &heard),
        main: stream(row, ["main_codec", "main_width", "main_height"])?,
        sub: stream(row, ["sub_codec", "sub_width", "sub_height"])?,
        last_frame_ms: row.try_get("last_frame_ms")?,
        recorded_from_ms: row.try_get("recorded_from_ms")?,
        recorded_bytes: row.try_get("recorded_bytes")?,
        reported_ms: heard.reported_ms,
        revision: row.try_get("revision")?,
        deleted: false,
    };
    Ok(Camera {
        view,
        recorder,
        main_path,
        sub_path,
        reported_state: heard.state,
        heard_ms: row.try_get("heard_ms")?,
        told_stale: row.try_get::<i64, _>("stale")? != 0,
    })
}

fn stream(row: &AnyRow, [codec, width, height]: [&str; 3]) -> Result<Option<StreamView>, sqlx::Error> {
    let Some(codec) = row.try_get::<Option<String>, _>(codec)? else { return Ok(None) };
    let (width, height) = (row.try_get::<Option<i64>, _>(width)?, row.try_get::<Option<i64>, _>(height)?);
    Ok(Some(StreamView { codec, width: width.unwrap_or(0), height: height.unwrap_or(0) }))
}
