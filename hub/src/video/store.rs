//! SQL of recorders and cameras. (Views of them are in `view.rs`.)

use sqlx::{AnyConnection, Row};

use super::address::Place;
use super::camera::Settings;
use super::health;
use crate::ids::{CameraId, DeviceId, RecorderId, RegionCode, SiteId};
use crate::store::insert_rows;

/// A recorder's address and what opens it.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    pub(super) id: RecorderId,
    pub(super) place: Place,
    /// Sealed under [`label`].
    pub(super) credentials: Option<Vec<u8>>,
    pub(super) sessions_max: i64,
}

/// The label under which a recorder's credentials are sealed.
pub(super) fn label(id: &RecorderId) -> String {
    format!("recorder/{id}")
}

/// The region of a site, whose row is held until the transaction ends: what concerns one site happens one by one.
pub(super) async fn hold_site(connection: &mut AnyConnection, id: &SiteId) -> Result<Option<RegionCode>, sqlx::Error> {
    let region: Option<String> = sqlx::query_scalar("update site set name = name where id = $1 returning region_code")
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(region.map(RegionCode::from_known))
}

/// Every recorder of a site.
pub(super) async fn recorders(connection: &mut AnyConnection, site: &SiteId) -> Result<Vec<Recorder>, sqlx::Error> {
    let rows =
        sqlx::query("select id, host, port, credentials, sessions_max from recorder where site_id = $1 order by id")
            .bind(site.as_str())
            .fetch_all(connection)
            .await?;
    rows.iter()
        .map(|row| {
            let host = row.try_get("host")?;
            let port = u16::try_from(row.try_get::<i64, _>("port")?).unwrap_or(0);
            Ok(Recorder {
                id: RecorderId::from_known(row.try_get::<String, _>("id")?),
                place: Place { host, port },
                credentials: row.try_get("credentials")?,
                sessions_max: row.try_get("sessions_max")?,
            })
        })
        .collect()
}

/// Writes a recorder, new or not.
pub(super) async fn save_recorder(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    recorder: &Recorder,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into recorder (id, site_id, host, port, credentials, sessions_max, created_ms) \
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do update set \
         credentials = excluded.credentials, sessions_max = excluded.sessions_max",
    )
    .bind(recorder.id.as_str())
    .bind(site.as_str())
    .bind(recorder.place.host.as_str())
    .bind(i64::from(recorder.place.port))
    .bind(recorder.credentials.clone())
    .bind(recorder.sessions_max)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the recorders of a site that have no camera any more, and with them their credentials.
pub(super) async fn remove_idle_recorders(connection: &mut AnyConnection, site: &SiteId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from recorder where site_id = $1 \
         and not exists (select 1 from camera where camera.recorder_id = recorder.id)",
    )
    .bind(site.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// How many cameras a site has.
pub(super) async fn count(connection: &mut AnyConnection, site: &SiteId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from camera where site_id = $1").bind(site.as_str()).fetch_one(connection).await
}

/// Writes a new camera.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    now_ms: i64,
    (id, site, recorder): (&CameraId, &SiteId, &RecorderId),
    settings: &Settings,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into camera (id, site_id, recorder_id, name, kind, main_path, record, days_max, bytes_max, audio, \
         created_ms, revision, state, state_since_ms, state_detail, stale) \
         values ($1, $2, $3, $4, $5, $6, 'off', 1, 0, 0, $7, 0, $8, $7, '', 0)",
    )
    .bind(id.as_str())
    .bind(site.as_str())
    .bind(recorder.as_str())
    .bind(settings.name.as_str())
    .bind(settings.kind.as_str())
    .bind(settings.main_path.as_str())
    .bind(now_ms)
    .bind(health::NEW)
    .execute(&mut *connection)
    .await?;
    update(connection, id, recorder, settings).await
}

/// Writes what people decided of a camera.
pub(super) async fn update(
    connection: &mut AnyConnection,
    id: &CameraId,
    recorder: &RecorderId,
    settings: &Settings,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update camera set recorder_id = $2, name = $3, kind = $4, main_path = $5, sub_path = $6, place = $7, \
         latitude = $8, longitude = $9, direction_degrees = $10, record = $11, days_max = $12, bytes_max = $13, \
         audio = $14, consent_ms = $15, revision = revision + 1 where id = $1",
    )
    .persistent(false) // positions may be null: see `store`
    .bind(id.as_str())
    .bind(recorder.as_str())
    .bind(settings.name.as_str())
    .bind(settings.kind.as_str())
    .bind(settings.main_path.as_str())
    .bind(settings.sub_path.as_deref())
    .bind(settings.place.as_deref())
    .bind(settings.latitude)
    .bind(settings.longitude)
    .bind(settings.direction_degrees)
    .bind(settings.record.as_str())
    .bind(i64::from(settings.days_max))
    .bind(settings.bytes_max)
    .bind(i64::from(settings.audio))
    .bind(settings.consent_ms)
    .execute(&mut *connection)
    .await?;
    sqlx::query("delete from camera_household where camera_id = $1")
        .bind(id.as_str())
        .execute(&mut *connection)
        .await?;
    insert_rows(connection, "camera_household (camera_id, device_id)", 2, "", &settings.household, |query, device| {
        query.bind(id.as_str().to_owned()).bind(device.as_str())
    })
    .await?;
    Ok(())
}

/// Whether all of the devices are of the site.
pub(super) async fn are_devices_of(
    connection: &mut AnyConnection,
    site: &SiteId,
    devices: &[DeviceId],
) -> Result<bool, sqlx::Error> {
    for device in devices {
        let found: Option<i64> = sqlx::query_scalar("select 1 from device where id = $1 and site_id = $2")
            .bind(device.as_str())
            .bind(site.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        if found.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a camera. What it saw of presses stays.
pub(super) async fn delete(connection: &mut AnyConnection, id: &CameraId) -> Result<(), sqlx::Error> {
    for sql in ["delete from camera_household where camera_id = $1", "delete from camera where id = $1"] {
        sqlx::query(sql).bind(id.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}
