//! Sites, claims and certificates in the database. (Views of them are in `view.rs`, devices and presence in their own.)

use sqlx::{AnyConnection, AnyPool};

use super::authority::{Issued, Revoked};
use super::claim::{CLAIM_MS, Claim};
use crate::ids::{GatewayId, RegionCode, SiteId};

/// How long claims that nobody used are remembered, to tell a late technician "expired" instead of "wrong".
const UNUSED_CLAIM_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// A new site.
pub(super) struct NewSite<'a> {
    pub(super) id: &'a SiteId,
    pub(super) name: &'a str,
    pub(super) region: &'a RegionCode,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
}

pub(super) async fn insert_site(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &NewSite<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into site (id, name, region_code, latitude, longitude, created_ms) values ($1, $2, $3, $4, $5, $6)",
    )
    .persistent(false) // positions may be null: see `store`
    .bind(site.id.as_str())
    .bind(site.name)
    .bind(site.region.as_str())
    .bind(site.latitude)
    .bind(site.longitude)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Changes what is given and leaves the rest.
pub(super) async fn update_site(
    connection: &mut AnyConnection,
    id: &SiteId,
    name: Option<&str>,
    latitude: Option<f64>,
    longitude: Option<f64>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update site set name = coalesce($2, name), latitude = coalesce($3, latitude), \
         longitude = coalesce($4, longitude) where id = $1",
    )
    .persistent(false) // positions may be null: see `store`
    .bind(id.as_str())
    .bind(name)
    .bind(latitude)
    .bind(longitude)
    .execute(connection)
    .await?;
    Ok(())
}

/// The region of a site, whose row is held until the transaction ends: what concerns one site happens one by one.
pub(super) async fn hold_site(connection: &mut AnyConnection, id: &str) -> Result<Option<RegionCode>, sqlx::Error> {
    let region: Option<String> = sqlx::query_scalar("update site set name = name where id = $1 returning region_code")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(region.map(RegionCode::from_known))
}

pub(super) async fn insert_claim(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &str,
    site: &SiteId,
    code_sha256: &[u8; 32],
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from claim where site_id = $1 and used_ms is null and expires_ms < $2")
        .bind(site.as_str())
        .bind(now_ms - UNUSED_CLAIM_KEPT_MS)
        .execute(&mut *connection)
        .await?;
    sqlx::query("insert into claim (id, site_id, code_sha256, created_ms, expires_ms) values ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(site.as_str())
        .bind(code_sha256.to_vec())
        .bind(now_ms)
        .bind(now_ms + CLAIM_MS)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes back every claim of a site that was not used. Returns how many were still open.
pub(super) async fn withdraw_claims(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
) -> Result<u64, sqlx::Error> {
    let result = sqlx::query(
        "update claim set withdrawn_ms = $2 \
         where site_id = $1 and used_ms is null and withdrawn_ms is null and expires_ms > $2",
    )
    .bind(site.as_str())
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(result.rows_affected())
}

pub(super) async fn claim_by_code(
    connection: &mut AnyConnection,
    code_sha256: &[u8; 32],
) -> Result<Option<Claim>, sqlx::Error> {
    type Row = (String, String, i64, Option<i64>, Option<Vec<u8>>, Option<String>);
    let row: Option<Row> = sqlx::query_as(
        "select id, site_id, expires_ms, withdrawn_ms, key_sha256, certificate_serial from claim where code_sha256 = $1",
    )
    .bind(code_sha256.to_vec())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(id, site_id, expires_ms, withdrawn_ms, key_sha256, serial)| Claim {
        id,
        site_id,
        expires_ms,
        withdrawn_ms,
        used: key_sha256.zip(serial),
    }))
}

pub(super) async fn use_claim(
    connection: &mut AnyConnection,
    now_ms: i64,
    id: &str,
    key_sha256: &[u8; 32],
    serial: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("update claim set used_ms = $2, key_sha256 = $3, certificate_serial = $4 where id = $1")
        .bind(id)
        .bind(now_ms)
        .bind(key_sha256.to_vec())
        .bind(serial)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_certificate(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    gateway: &GatewayId,
    issued: &Issued,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into certificate (serial, site_id, gateway_id, pem, issued_ms, expires_ms) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(issued.serial.as_str())
    .bind(site.as_str())
    .bind(gateway.as_str())
    .bind(issued.pem.as_str())
    .bind(now_ms)
    .bind(issued.expires_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Revokes the live certificate of a site. Returns its gateway; `None`: there was no live one.
pub(super) async fn revoke(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    reason: &str,
) -> Result<Option<GatewayId>, sqlx::Error> {
    let gateway: Option<String> = sqlx::query_scalar(
        "update certificate set revoked_ms = $2, revoke_reason = $3 \
         where site_id = $1 and revoked_ms is null returning gateway_id",
    )
    .bind(site.as_str())
    .bind(now_ms)
    .bind(reason)
    .fetch_optional(connection)
    .await?;
    Ok(gateway.map(GatewayId::from_known))
}

/// Gateway and PEM of a certificate that is still live.
pub(super) async fn live_certificate(
    connection: &mut AnyConnection,
    serial: &str,
) -> Result<Option<(GatewayId, String)>, sqlx::Error> {
    let row: Option<(String, String)> =
        sqlx::query_as("select gateway_id, pem from certificate where serial = $1 and revoked_ms is null")
            .bind(serial)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(gateway, pem)| (GatewayId::from_known(gateway), pem)))
}

pub(super) async fn live_serials(reader: &AnyPool) -> Result<Vec<(SiteId, String)>, sqlx::Error> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select site_id, serial from certificate where revoked_ms is null").fetch_all(reader).await?;
    Ok(rows.into_iter().map(|(site, serial)| (SiteId::from_known(site), serial)).collect())
}

pub(super) async fn live_serial(reader: &AnyPool, site: &SiteId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select serial from certificate where site_id = $1 and revoked_ms is null")
        .bind(site.as_str())
        .fetch_optional(reader)
        .await
}

/// Every certificate that was revoked before it expired.
pub(super) async fn revoked(reader: &AnyPool, now_ms: i64) -> Result<Vec<Revoked>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select serial, revoked_ms from certificate where revoked_ms is not null and expires_ms > $1 order by revoked_ms",
    )
    .bind(now_ms)
    .fetch_all(reader)
    .await?;
    Ok(rows.into_iter().map(|(serial, revoked_ms)| Revoked { serial, revoked_ms }).collect())
}
