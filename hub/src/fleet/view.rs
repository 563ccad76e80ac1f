//! Sites and devices as the pages see them, whole: in lists, in answers, and in the change log.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use utoipa::ToSchema;

use super::response::{self, ResponseView};
use crate::ids::{DeviceId, GatewayId, RegionCode, SiteId, SpeakerId};
use crate::live::Draft;
use crate::store::{chunks, parameters};

/// A place where a gateway is installed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SiteView {
    /// Opaque; CN of its certificates.
    pub id: SiteId,
    /// As people call it.
    pub name: String,
    /// Where it belongs.
    pub region_code: RegionCode,
    /// That region's name.
    pub region_name: String,
    /// WGS 84 degrees; null until someone stood there.
    pub latitude: Option<f64>,
    /// WGS 84 degrees.
    pub longitude: Option<f64>,
    /// When it was created.
    pub created_ms: i64,
    /// The box that fills it now; null before the first enrolment and after a revocation.
    pub gateway: Option<GatewayView>,
    /// Devices heard there.
    pub devices_count: i64,
    /// Alarms that are not closed.
    pub open_alarms: i64,
    /// Faults that are not cleared.
    pub open_faults: i64,
    /// The claim that waits for a gateway, if any.
    pub claim: Option<OpenClaim>,
}

/// The box that fills a site.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GatewayView {
    /// Opaque; O of its certificate.
    pub id: GatewayId,
    /// Hexadecimal.
    pub certificate_serial: String,
    /// When it was enrolled.
    pub enrolled_ms: i64,
    /// When its certificate ends.
    pub certificate_expires_ms: i64,
    /// Whether the broker holds its connection.
    pub online: bool,
    /// Since when; null when it was never connected.
    pub online_changed_ms: Option<i64>,
    /// Its last word of any kind, at most ten seconds old.
    pub last_heard_ms: Option<i64>,
    /// Of its program.
    pub version: Option<String>,
    /// When this run of it began, by the hub's clock.
    pub boot_ms: Option<i64>,
    /// Entries of its journal that are not in the ledger yet.
    pub journal_pending: Option<i64>,
    /// Whether it reaches its village broker.
    pub lan_connected: Option<bool>,
}

/// A claim that waits for a gateway. Its code was shown once and is not known any more.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OpenClaim {
    /// Opaque.
    pub id: String,
    /// When it ends.
    pub expires_ms: i64,
}

/// Something heard in a village.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeviceView {
    /// Opaque.
    pub id: DeviceId,
    /// Who hears it.
    pub site_id: SiteId,
    /// That site's name.
    pub site_name: String,
    /// That site's region.
    pub region_code: RegionCode,
    /// What cannot be renamed, e.g. `zigbee:0x00158d0001a2b3c4`.
    pub key: String,
    /// What it speaks, e.g. `zigbee`.
    pub family: String,
    /// `button` or `unknown`.
    pub kind: String,
    /// Given by a person.
    pub name: Option<String>,
    /// What its own network calls it.
    pub reported_name: Option<String>,
    /// Where it is.
    pub place: Option<String>,
    /// WGS 84 degrees.
    pub latitude: Option<f64>,
    /// WGS 84 degrees.
    pub longitude: Option<f64>,
    /// When it was first heard.
    pub first_heard_ms: i64,
    /// When it last proved to be alive; at most a minute old in lists, ten in the change log.
    pub last_heard_ms: i64,
    /// 0–100; null: it never said.
    pub battery_percent: Option<i64>,
    /// As its network measures it; for Zigbee 0–255.
    pub link_quality: Option<i64>,
    /// Whether its network reaches it; null: it does not say.
    pub available: Option<bool>,
    /// Whether its case was opened; null: it does not say.
    pub tamper: Option<bool>,
    /// What a press of it sets off in its village.
    pub response: ResponseView,
}

impl SiteView {
    /// The change-log entry that says "this is how the site is now".
    pub fn draft(&self) -> Draft {
        Draft {
            kind: "site",
            region: self.region_code.clone(),
            subject: self.id.to_string(),
            body: serde_json::to_value(self).expect("a view is plain data"),
        }
    }
}

impl DeviceView {
    /// The change-log entry that says "this is how the device is now".
    pub fn draft(&self) -> Draft {
        Draft {
            kind: "device",
            region: self.region_code.clone(),
            subject: self.id.to_string(),
            body: serde_json::to_value(self).expect("a view is plain data"),
        }
    }
}

// One select for every list and every single view; `$1` is now, which decides whether a claim is still open.
macro_rules! select_sites {
    ($rest:literal) => {
        concat!(
            "select s.id, s.name, s.region_code, r.name as region_name, s.latitude, s.longitude, s.created_ms, ",
            "c.gateway_id, c.serial, c.issued_ms, c.expires_ms, ",
            "p.online, p.online_changed_ms, p.last_heard_ms, p.version, p.boot_ms, p.journal_pending, p.lan_connected, ",
            "(select count(*) from device d where d.site_id = s.id) as devices_count, ",
            "(select count(*) from alarm a where a.site_id = s.id and a.state <> 'closed') as open_alarms, ",
            "(select count(*) from fault f where f.site_id = s.id and f.state = 'open') as open_faults, ",
            "k.id as claim_id, k.expires_ms as claim_expires_ms ",
            "from site s join region r on r.code = s.region_code ",
            "left join certificate c on c.site_id = s.id and c.revoked_ms is null ",
            "left join presence p on p.site_id = s.id ",
            "left join claim k on k.site_id = s.id and k.used_ms is null and k.withdrawn_ms is null and k.expires_ms > $1 ",
            $rest
        )
    };
}

macro_rules! select_devices {
    ($rest:literal) => {
        concat!(
            "select d.id, d.site_id, s.name as site_name, s.region_code, d.key, d.family, d.kind, d.name, ",
            "d.reported_name, d.place, d.latitude, d.longitude, d.first_heard_ms, d.last_heard_ms, d.battery_percent, ",
            "d.link_quality, d.available, d.tamper, dr.response, dr.speaks, dr.siren_s, dr.everywhere ",
            "from device d join site s on s.id = d.site_id left join device_response dr on dr.device_id = d.id ",
            $rest
        )
    };
}

/// One site. `None`: there is no such site.
///
/// # Errors
/// The database's.
pub async fn site(connection: &mut AnyConnection, now_ms: i64, id: &SiteId) -> Result<Option<SiteView>, sqlx::Error> {
    sqlx::query(select_sites!("where s.id = $2"))
        .bind(now_ms)
        .bind(id.as_str())
        .try_map(read_site)
        .fetch_optional(connection)
        .await
}

/// The sites of a region, by name.
pub(super) async fn sites(
    connection: &mut AnyConnection,
    now_ms: i64,
    region: &RegionCode,
) -> Result<Vec<SiteView>, sqlx::Error> {
    sqlx::query(select_sites!("where s.region_code >= $2 and s.region_code < $3 order by s.region_code, s.name, s.id"))
        .bind(now_ms)
        .bind(region.as_str())
        .bind(region.end())
        .try_map(read_site)
        .fetch_all(connection)
        .await
}

/// The sites whose gateway counts as connected.
pub(super) async fn sites_online(connection: &mut AnyConnection, now_ms: i64) -> Result<Vec<SiteView>, sqlx::Error> {
    sqlx::query(select_sites!("where p.online = 1 order by s.id"))
        .bind(now_ms)
        .try_map(read_site)
        .fetch_all(connection)
        .await
}

/// One device. `None`: there is no such device.
///
/// # Errors
/// The database's.
pub async fn device(connection: &mut AnyConnection, id: &DeviceId) -> Result<Option<DeviceView>, sqlx::Error> {
    let found = sqlx::query(select_devices!("where d.id = $1"))
        .bind(id.as_str())
        .try_map(read_device)
        .fetch_all(&mut *connection)
        .await?;
    Ok(with_speakers(connection, found).await?.pop())
}

/// The devices for which a loudspeaker was chosen.
pub(super) async fn devices_with_speaker(
    connection: &mut AnyConnection,
    speaker: &SpeakerId,
) -> Result<Vec<DeviceView>, sqlx::Error> {
    let found = sqlx::query(select_devices!(
        "join device_response_speaker rs on rs.device_id = d.id where rs.speaker_id = $1 order by d.id"
    ))
    .bind(speaker.as_str())
    .try_map(read_device)
    .fetch_all(&mut *connection)
    .await?;
    with_speakers(connection, found).await
}

/// Those of the devices that exist, each known by its site and key.
pub(super) async fn devices_by_key(
    connection: &mut AnyConnection,
    keys: &[(&SiteId, &str)],
) -> Result<Vec<DeviceView>, sqlx::Error> {
    let mut found = Vec::with_capacity(keys.len());
    for chunk in chunks(keys) {
        let wanted = parameters(connection, chunk.len(), 2);
        let select = select_devices!("join wanted on d.site_id = wanted.of_site and d.key = wanted.of_key");
        // Made of literals and numbers only.
        let mut query =
            sqlx::query(AssertSqlSafe(format!("with wanted (of_site, of_key) as (values {wanted}) {select}")));
        for (site, key) in chunk {
            query = query.bind(site.as_str()).bind(*key);
        }
        found.extend(query.try_map(read_device).fetch_all(&mut *connection).await?);
    }
    with_speakers(connection, found).await
}

/// What has to be known of a site before it gets another device.
pub(super) struct House {
    /// The site's name.
    pub(super) name: String,
    /// Devices that it has.
    pub(super) devices: i64,
}

/// Those of the sites that exist.
pub(super) async fn houses(
    connection: &mut AnyConnection,
    sites: &[&SiteId],
) -> Result<HashMap<SiteId, House>, sqlx::Error> {
    let mut found = HashMap::with_capacity(sites.len());
    for chunk in chunks(sites) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "select s.id, s.name, (select count(*) from device d where d.site_id = s.id) as devices \
             from site s where s.id in (values {wanted})"
        )));
        for site in chunk {
            query = query.bind(site.as_str());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let house = House { name: row.try_get("name")?, devices: row.try_get("devices")? };
            found.insert(SiteId::from_known(row.try_get::<String, _>("id")?), house);
        }
    }
    Ok(found)
}

/// The devices of a region, or of one site in it.
pub(super) async fn devices(
    connection: &mut AnyConnection,
    region: &RegionCode,
    site: Option<&SiteId>,
) -> Result<Vec<DeviceView>, sqlx::Error> {
    let rows = match site {
        Some(site) => sqlx::query(select_devices!(
            "where s.region_code >= $1 and s.region_code < $2 and s.id = $3 order by d.first_heard_ms, d.id"
        ))
        .bind(region.as_str())
        .bind(region.end())
        .bind(site.as_str()),
        None => sqlx::query(select_devices!(
            "where s.region_code >= $1 and s.region_code < $2 order by s.id, d.first_heard_ms, d.id"
        ))
        .bind(region.as_str())
        .bind(region.end()),
    };
    let found = rows.try_map(read_device).fetch_all(&mut *connection).await?;
    with_speakers(connection, found).await
}

/// Adds which loudspeakers were chosen. Most devices are silent, and cost nothing here: this lies on the way of every press.
async fn with_speakers(
    connection: &mut AnyConnection,
    mut devices: Vec<DeviceView>,
) -> Result<Vec<DeviceView>, sqlx::Error> {
    let naming: Vec<&DeviceId> =
        devices.iter().filter(|device| device.response.names_speakers()).map(|device| &device.id).collect();
    let mut chosen = response::speakers_of(connection, &naming).await?;
    for device in &mut devices {
        device.response.speaker_ids = chosen.remove(&device.id).unwrap_or_default();
    }
    Ok(devices)
}

fn read_site(row: AnyRow) -> Result<SiteView, sqlx::Error> {
    let flag = |value: Option<i64>| value.map(|value| value != 0);
    let gateway = match row.try_get::<Option<String>, _>("gateway_id")? {
        None => None,
        Some(id) => Some(GatewayView {
            id: GatewayId::from_known(id),
            certificate_serial: row.try_get("serial")?,
            enrolled_ms: row.try_get("issued_ms")?,
            certificate_expires_ms: row.try_get("expires_ms")?,
            online: flag(row.try_get("online")?).unwrap_or(false),
            online_changed_ms: row.try_get("online_changed_ms")?,
            last_heard_ms: row.try_get("last_heard_ms")?,
            version: row.try_get("version")?,
            boot_ms: row.try_get("boot_ms")?,
            journal_pending: row.try_get("journal_pending")?,
            lan_connected: flag(row.try_get("lan_connected")?),
        }),
    };
    let claim_id: Option<String> = row.try_get("claim_id")?;
    let claim_expires_ms: Option<i64> = row.try_get("claim_expires_ms")?;
    Ok(SiteView {
        id: SiteId::from_known(row.try_get::<String, _>("id")?),
        name: row.try_get("name")?,
        region_code: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
        region_name: row.try_get("region_name")?,
        latitude: row.try_get("latitude")?,
        longitude: row.try_get("longitude")?,
        created_ms: row.try_get("created_ms")?,
        gateway,
        devices_count: row.try_get("devices_count")?,
        open_alarms: row.try_get("open_alarms")?,
        open_faults: row.try_get("open_faults")?,
        claim: claim_id.zip(claim_expires_ms).map(|(id, expires_ms)| OpenClaim { id, expires_ms }),
    })
}

fn read_device(row: AnyRow) -> Result<DeviceView, sqlx::Error> {
    let flag = |value: Option<i64>| value.map(|value| value != 0);
    Ok(DeviceView {
        id: DeviceId::from_known(row.try_get::<String, _>("id")?),
        site_id: SiteId::from_known(row.try_get::<String, _>("site_id")?),
        site_name: row.try_get("site_name")?,
        region_code: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
        key: row.try_get("key")?,
        family: row.try_get("family")?,
        kind: row.try_get("kind")?,
        name: row.try_get("name")?,
        reported_name: row.try_get("reported_name")?,
        place: row.try_get("place")?,
        latitude: row.try_get("latitude")?,
        longitude: row.try_get("longitude")?,
        first_heard_ms: row.try_get("first_heard_ms")?,
        last_heard_ms: row.try_get("last_heard_ms")?,
        battery_percent: row.try_get("battery_percent")?,
        link_quality: row.try_get("link_quality")?,
        available: flag(row.try_get("available")?),
        tamper: flag(row.try_get("tamper")?),
        response: ResponseView::stored(
            row.try_get::<Option<String>, _>("response")?.as_deref(),
            row.try_get("speaks")?,
            row.try_get("siren_s")?,
            row.try_get("everywhere")?,
        ),
    })
}
