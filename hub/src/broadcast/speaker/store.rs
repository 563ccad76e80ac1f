//! SQL of loudspeakers. (Views of them are in `view.rs`.)

use sqlx::AnyConnection;

use super::form::Settings;
use super::view::NEW;
use crate::ids::{RegionCode, SiteId, SpeakerId};

/// The label under which a loudspeaker's key is sealed.
pub(in crate::broadcast) fn label(id: &SpeakerId) -> String {
    format!("speaker/{id}")
}

/// The region of a site, whose row is held until the transaction ends: what concerns one site happens one by one.
pub(super) async fn hold_site(connection: &mut AnyConnection, id: &SiteId) -> Result<Option<RegionCode>, sqlx::Error> {
    let region: Option<String> = sqlx::query_scalar("update site set name = name where id = $1 returning region_code")
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(region.map(RegionCode::from_known))
}

/// How many loudspeakers a site has.
pub(super) async fn count(connection: &mut AnyConnection, site: &SiteId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from speaker where site_id = $1")
        .bind(site.as_str())
        .fetch_one(connection)
        .await
}

/// Whether another loudspeaker of the site has this device.
pub(super) async fn is_device_taken(
    connection: &mut AnyConnection,
    site: &SiteId,
    id: &SpeakerId,
    settings: &Settings,
) -> Result<bool, sqlx::Error> {
    let other: Option<i64> =
        sqlx::query_scalar("select 1 from speaker where site_id = $1 and kind = $2 and device = $3 and id <> $4")
            .bind(site.as_str())
            .bind(settings.kind.as_str())
            .bind(settings.device.as_str())
            .bind(id.as_str())
            .fetch_optional(connection)
            .await?;
    Ok(other.is_some())
}

/// Writes a new loudspeaker.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &SpeakerId,
    site: &SiteId,
    settings: &Settings,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into speaker (id, site_id, name, kind, device, volume_percent, warm_up_ms, created_ms, revision, state, \
         state_since_ms, state_detail, stale) values ($1, $2, '', $3, $4, 0, 0, $5, 0, $6, $5, '', 0)",
    )
    .bind(id.as_str())
    .bind(site.as_str())
    .bind(settings.kind.as_str())
    .bind(settings.device.as_str())
    .bind(now_ms)
    .bind(NEW)
    .execute(&mut *connection)
    .await?;
    update(connection, id, settings).await
}

/// Writes what people decided of a loudspeaker.
pub(super) async fn update(
    connection: &mut AnyConnection,
    id: &SpeakerId,
    settings: &Settings,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update speaker set name = $2, device = $3, place = $4, latitude = $5, longitude = $6, volume_percent = $7, \
         warm_up_ms = $8, revision = revision + 1 where id = $1",
    )
    .persistent(false) // positions may be null: see `store`
    .bind(id.as_str())
    .bind(settings.name.as_str())
    .bind(settings.device.as_str())
    .bind(settings.place.as_deref())
    .bind(settings.latitude)
    .bind(settings.longitude)
    .bind(i64::from(settings.volume_percent))
    .bind(i64::from(settings.warm_up_ms))
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps a loudspeaker's key, sealed.
pub(super) async fn save_key(
    connection: &mut AnyConnection,
    id: &SpeakerId,
    sealed: Vec<u8>,
) -> Result<(), sqlx::Error> {
    sqlx::query("update speaker set key = $2 where id = $1").bind(id.as_str()).bind(sealed).execute(connection).await?;
    Ok(())
}

/// Removes a loudspeaker. What it played stays.
pub(super) async fn delete(connection: &mut AnyConnection, id: &SpeakerId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from speaker where id = $1").bind(id.as_str()).execute(connection).await?;
    Ok(())
}
