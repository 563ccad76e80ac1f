//! SQL of recorders and cameras. (Views of them are in `view.rs`.)

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::address::Place;
use super::camera::Settings;
use super::health;
use super::recorder::{Channel, Channels};
use crate::ids::{CameraId, DeviceId, RecorderId, RegionCode, SiteId};
use crate::store::{chunks, insert_rows, parameters};

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

/// Holds the rows of recorders until the transaction ends: what their channels' faults are is decided once at a time. Whoever
/// changes a camera holds its recorder first, so that nobody waits for who waits for them.
pub(super) async fn hold_recorders(connection: &mut AnyConnection, ids: &[&RecorderId]) -> Result<(), sqlx::Error> {
    for chunk in chunks(ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let mut query =
            sqlx::query(AssertSqlSafe(format!("update recorder set host = host where id in (values {wanted})")));
        for id in chunk {
            query = query.bind(id.as_str());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Recorders with what their channels last said. One that has no camera any more is there all the same.
pub(super) async fn channels(
    connection: &mut AnyConnection,
    ids: &[&RecorderId],
) -> Result<Vec<Channels>, sqlx::Error> {
    let mut found: BTreeMap<String, Channels> = BTreeMap::new();
    for chunk in chunks(ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "with wanted (of_id) as (values {wanted}) \
             select r.id as recorder_id, r.host, r.port, r.site_id, s.region_code, c.id, c.name, c.state, \
             c.state_since_ms, c.state_detail, \
             case when c.kind = 'home' and c.consent_ms is null then 0 else 1 end as is_told \
             from wanted join recorder r on r.id = of_id join site s on s.id = r.site_id \
             left join camera c on c.recorder_id = r.id order by r.id, c.id"
        )));
        for id in chunk {
            query = query.bind(id.as_str());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let recorder: String = row.try_get("recorder_id")?;
            let channels = match found.entry(recorder) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let channels = channels_from(&row)?;
                    new.insert(channels)
                }
            };
            channels.cameras.extend(channel_from(&row)?);
        }
    }
    Ok(found.into_values().collect())
}

fn channels_from(row: &AnyRow) -> Result<Channels, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let port = u16::try_from(row.try_get::<i64, _>("port")?).unwrap_or(0);
    Ok(Channels {
        recorder: RecorderId::from_known(text("recorder_id")?),
        place: Place { host: text("host")?, port },
        site_id: SiteId::from_known(text("site_id")?),
        region_code: RegionCode::from_known(text("region_code")?),
        cameras: Vec::new(),
    })
}

fn channel_from(row: &AnyRow) -> Result<Option<Channel>, sqlx::Error> {
    let Some(id) = row.try_get::<Option<String>, _>("id")? else { return Ok(None) };
    Ok(Some(Channel {
        id: CameraId::from_known(id),
        name: row.try_get("name")?,
        state: row.try_get("state")?,
        since_ms: row.try_get("state_since_ms")?,
        detail: row.try_get("state_detail")?,
        is_told: row.try_get::<i64, _>("is_told")? != 0,
    }))
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
