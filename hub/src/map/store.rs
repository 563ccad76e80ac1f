//! What the map reads.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::http::{MapCamera, MapDevice, MapSite};
use crate::ids::{CameraId, DeviceId, RegionCode, SiteId};

/// Writes a region's outline, unless it has one.
pub(super) async fn keep_outline(
    connection: &mut AnyConnection,
    region: &RegionCode,
    geometry: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into outline (region_code, geometry) values ($1, $2) on conflict (region_code) do nothing")
        .bind(region.as_str())
        .bind(geometry.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The smallest outline that holds a region: its own, or that of a place above it.
pub(super) async fn outline(connection: &mut AnyConnection, region: &RegionCode) -> Result<Option<Value>, sqlx::Error> {
    let text: Option<String> = sqlx::query_scalar(
        "select geometry from outline where region_code = substr($1, 1, length(region_code)) \
         order by length(region_code) desc limit 1",
    )
    .bind(region.as_str())
    .fetch_optional(connection)
    .await?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))).transpose()
}

/// The sites of a region, placed or not, by region and name; at most `limit`.
pub(super) async fn sites(
    connection: &mut AnyConnection,
    region: &RegionCode,
    limit: i64,
) -> Result<Vec<MapSite>, sqlx::Error> {
    sqlx::query(
        "select s.id, s.name, s.region_code, s.latitude, s.longitude, \
         case when c.serial is null then null else coalesce(p.online, 0) end as online, \
         coalesce(a.open_alarms, 0) as open_alarms \
         from site s left join certificate c on c.site_id = s.id and c.revoked_ms is null \
         left join presence p on p.site_id = s.id \
         left join (select site_id, count(*) as open_alarms from alarm where state <> 'closed' group by site_id) a \
         on a.site_id = s.id \
         where s.region_code >= $1 and s.region_code < $2 order by s.region_code, s.name, s.id limit $3",
    )
    .bind(region.as_str())
    .bind(region.end())
    .bind(limit)
    .try_map(|row: AnyRow| {
        Ok(MapSite(
            SiteId::from_known(row.try_get::<String, _>("id")?),
            row.try_get("name")?,
            RegionCode::from_known(row.try_get::<String, _>("region_code")?),
            row.try_get("latitude")?,
            row.try_get("longitude")?,
            row.try_get("online")?,
            row.try_get("open_alarms")?,
        ))
    })
    .fetch_all(connection)
    .await
}

/// The devices of a region that have a place of their own; at most `limit`.
pub(super) async fn devices(
    connection: &mut AnyConnection,
    region: &RegionCode,
    limit: i64,
) -> Result<Vec<MapDevice>, sqlx::Error> {
    sqlx::query(
        "select d.id, d.site_id, d.kind, coalesce(d.name, d.reported_name, d.key) as name, d.latitude, d.longitude \
         from device d join site s on s.id = d.site_id \
         where s.region_code >= $1 and s.region_code < $2 and d.latitude is not null and d.longitude is not null \
         order by d.site_id, d.first_heard_ms, d.id limit $3",
    )
    .bind(region.as_str())
    .bind(region.end())
    .bind(limit)
    .try_map(|row: AnyRow| {
        Ok(MapDevice(
            DeviceId::from_known(row.try_get::<String, _>("id")?),
            SiteId::from_known(row.try_get::<String, _>("site_id")?),
            row.try_get("kind")?,
            row.try_get("name")?,
            row.try_get("latitude")?,
            row.try_get("longitude")?,
        ))
    })
    .fetch_all(connection)
    .await
}

/// The cameras of a region of which it is known where they are; at most `limit`. What was reported of one is not
/// believed while its gateway is off line or silent about it.
pub(super) async fn cameras(
    connection: &mut AnyConnection,
    region: &RegionCode,
    limit: i64,
) -> Result<Vec<MapCamera>, sqlx::Error> {
    sqlx::query(
        "select c.id, c.site_id, c.kind, c.name, coalesce(c.latitude, s.latitude) as latitude, \
         coalesce(c.longitude, s.longitude) as longitude, c.direction_degrees, \
         case when c.stale = 1 or (c.reported_ms is not null and coalesce(p.online, 0) = 0) then 'stale' else c.state end \
         as state \
         from camera c join site s on s.id = c.site_id left join presence p on p.site_id = c.site_id \
         where s.region_code >= $1 and s.region_code < $2 and coalesce(c.latitude, s.latitude) is not null \
         and coalesce(c.longitude, s.longitude) is not null order by c.site_id, c.name, c.id limit $3",
    )
    .bind(region.as_str())
    .bind(region.end())
    .bind(limit)
    .try_map(|row: AnyRow| {
        Ok(MapCamera(
            CameraId::from_known(row.try_get::<String, _>("id")?),
            SiteId::from_known(row.try_get::<String, _>("site_id")?),
            row.try_get("kind")?,
            row.try_get("name")?,
            row.try_get("latitude")?,
            row.try_get("longitude")?,
            row.try_get("direction_degrees")?,
            row.try_get("state")?,
        ))
    })
    .fetch_all(connection)
    .await
}
