//! Devices: made by being heard, then named and placed by a person.
//!
//! Hearing is the hub's most frequent write, so it writes little: what a page shows, when it changed; that a device
//! still lives, once a minute in the table and once every ten minutes in the change log.

use sqlx::AnyConnection;

use super::view::{self, DeviceView};
use crate::ids::{self, DeviceId, RegionCode, SiteId};
use crate::live::Draft;

/// How old the table's "last heard" may be.
const HEARD_WRITTEN_MS: i64 = 60 * 1000;
/// How old the change log's "last heard" may be.
const HEARD_TOLD_MS: i64 = 10 * 60 * 1000;
/// Most devices of a site: ten times a large village's. A gateway that names more is broken or hostile; what its
/// surplus devices press is an alarm all the same, only without a device.
pub(super) const DEVICES_PER_SITE_MAX: i64 = 2_000;
/// Most characters of what a network calls a device; more is cut.
const REPORTED_NAME_CHARS_MAX: usize = 100;

/// A device was heard.
#[derive(Clone, Copy, Debug)]
pub struct DeviceHeard<'a> {
    /// By whose gateway.
    pub site_id: &'a SiteId,
    /// That site's region.
    pub region: &'a RegionCode,
    /// What cannot be renamed.
    pub key: &'a str,
    /// What it speaks.
    pub family: &'a str,
    /// `button` once it pressed, else `unknown`.
    pub kind: &'a str,
    /// What its network calls it; `None`: not said this time.
    pub reported_name: Option<&'a str>,
    /// 0–100; `None`: not said this time.
    pub battery_percent: Option<i64>,
    /// `None`: not said this time.
    pub link_quality: Option<i64>,
    /// `None`: not said this time.
    pub available: Option<bool>,
    /// `None`: not said this time.
    pub tamper: Option<bool>,
    /// When, by the hub's clock.
    pub heard_ms: i64,
}

/// What hearing a device came to.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The device; `None`: the site has as many as it may have, and this one is not kept.
    pub id: Option<DeviceId>,
    /// To be appended to the change log, when there is something to tell.
    pub draft: Option<Draft>,
}

/// Takes note of a device: makes it when it is new, writes what changed.
///
/// # Errors
/// The database's.
pub async fn heard(connection: &mut AnyConnection, now_ms: i64, heard: &DeviceHeard<'_>) -> Result<Heard, sqlx::Error> {
    match view::device_by_key(&mut *connection, heard.site_id, heard.key).await? {
        Some(known) => heard_again(connection, &known, heard).await,
        None => heard_first(connection, now_ms, heard).await,
    }
}

async fn heard_first(
    connection: &mut AnyConnection,
    now_ms: i64,
    heard: &DeviceHeard<'_>,
) -> Result<Heard, sqlx::Error> {
    let count: i64 = sqlx::query_scalar("select count(*) from device where site_id = $1")
        .bind(heard.site_id.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if count >= DEVICES_PER_SITE_MAX {
        return Ok(Heard { id: None, draft: None });
    }
    let id = DeviceId::from_known(ids::sortable(now_ms));
    sqlx::query(
        "insert into device (id, site_id, key, family, kind, reported_name, first_heard_ms, last_heard_ms, \
         battery_percent, link_quality, available, tamper) \
         values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11)",
    )
    .bind(id.as_str())
    .bind(heard.site_id.as_str())
    .bind(heard.key)
    .bind(heard.family)
    .bind(heard.kind)
    .bind(heard.reported_name.map(cut))
    .bind(heard.heard_ms)
    .bind(heard.battery_percent)
    .bind(heard.link_quality)
    .bind(heard.available.map(i64::from))
    .bind(heard.tamper.map(i64::from))
    .execute(&mut *connection)
    .await?;
    let view = view::device(connection, &id).await?;
    Ok(Heard { id: Some(id), draft: view.map(|view| view.draft()) })
}

async fn heard_again(
    connection: &mut AnyConnection,
    known: &DeviceView,
    heard: &DeviceHeard<'_>,
) -> Result<Heard, sqlx::Error> {
    let now = merged(known, heard);
    let id = Some(known.id.clone());
    // Link quality flickers with every message: it is written along with other news, and is none itself.
    let told = |device: &DeviceView| DeviceView { last_heard_ms: 0, link_quality: None, ..device.clone() };
    let is_news = told(&now) != told(known);
    if !is_news && now.last_heard_ms - known.last_heard_ms < HEARD_WRITTEN_MS {
        return Ok(Heard { id, draft: None });
    }
    sqlx::query(
        "update device set kind = $2, reported_name = $3, last_heard_ms = $4, battery_percent = $5, link_quality = $6, \
         available = $7, tamper = $8 where id = $1",
    )
    .bind(now.id.as_str())
    .bind(now.kind.as_str())
    .bind(now.reported_name.as_deref())
    .bind(now.last_heard_ms)
    .bind(now.battery_percent)
    .bind(now.link_quality)
    .bind(now.available.map(i64::from))
    .bind(now.tamper.map(i64::from))
    .execute(connection)
    .await?;
    let is_due = now.last_heard_ms / HEARD_TOLD_MS != known.last_heard_ms / HEARD_TOLD_MS;
    Ok(Heard { id, draft: (is_news || is_due).then(|| now.draft()) })
}

/// The device after it was heard. What it did not say stays; what has pressed once is a button for good.
fn merged(known: &DeviceView, heard: &DeviceHeard<'_>) -> DeviceView {
    DeviceView {
        kind: if heard.kind == "button" { heard.kind.to_owned() } else { known.kind.clone() },
        reported_name: heard.reported_name.map(cut).or_else(|| known.reported_name.clone()),
        last_heard_ms: known.last_heard_ms.max(heard.heard_ms),
        battery_percent: heard.battery_percent.or(known.battery_percent),
        link_quality: heard.link_quality.or(known.link_quality),
        available: heard.available.or(known.available),
        tamper: heard.tamper.or(known.tamper),
        ..known.clone()
    }
}

fn cut(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(REPORTED_NAME_CHARS_MAX).collect()
}

/// What a person changes of a device. `None` leaves a field; an empty text clears it.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceChange {
    pub(super) name: Option<String>,
    pub(super) place: Option<String>,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
}

pub(super) async fn change(
    connection: &mut AnyConnection,
    id: &DeviceId,
    change: &DeviceChange,
) -> Result<(), sqlx::Error> {
    // nullif after coalesce: an empty text clears, an absent one leaves.
    sqlx::query(
        "update device set name = nullif(coalesce($2, name), ''), place = nullif(coalesce($3, place), ''), \
         latitude = coalesce($4, latitude), longitude = coalesce($5, longitude) where id = $1",
    )
    .bind(id.as_str())
    .bind(change.name.as_deref())
    .bind(change.place.as_deref())
    .bind(change.latitude)
    .bind(change.longitude)
    .execute(connection)
    .await?;
    Ok(())
}
