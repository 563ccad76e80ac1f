//! Devices: made by being heard, then named and placed by a person.
//!
//! Hearing is the hub's most frequent write, so it writes little: what a page shows, when it changed; that a device
//! still lives, once a minute in the table and once every ten minutes in the change log.

use std::collections::BTreeSet;

use sqlx::AnyConnection;
use tongluo_protocols::id::DeviceKey;

use super::response::ResponseView;
use super::view::{self, DeviceView, House};
use crate::ids::{self, DeviceId, RegionCode, SiteId};
use crate::live::Draft;
use crate::store::Writes;

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
    pub key: DeviceKey,
    /// What it speaks.
    pub family: &'static str,
    /// `button` once it pressed, else `unknown`.
    pub kind: &'static str,
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

impl DeviceHeard<'_> {
    fn known_by(&self) -> (&SiteId, &str) {
        (self.site_id, self.key.as_str())
    }
}

/// What hearing devices came to.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The device of each word, in their order; `None`: the site has as many as it may have, and this one is not kept.
    pub devices: Vec<Option<HeardDevice>>,
    /// To be appended to the change log: each device of which there is something to tell, as it is now.
    pub drafts: Vec<Draft>,
}

/// A device that was heard, as far as whoever takes its word has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardDevice {
    /// Opaque.
    pub id: DeviceId,
    /// Given by a person, else as its own network calls it.
    pub name: Option<String>,
    /// Where it is.
    pub place: Option<String>,
}

/// A device before and after it was heard, however often.
struct Change {
    /// `None`: it is new.
    before: Option<DeviceView>,
    after: DeviceView,
}

/// Takes note of devices, in the order in which they were heard: adds those that are new and what changed to the transaction's
/// writes.
///
/// # Errors
/// The database's.
pub async fn heard(
    connection: &mut AnyConnection,
    now_ms: i64,
    words: &[DeviceHeard<'_>],
    writes: &mut Writes,
) -> Result<Heard, sqlx::Error> {
    if words.is_empty() {
        return Ok(Heard { devices: Vec::new(), drafts: Vec::new() });
    }
    let mut keys: Vec<(&SiteId, &str)> = words.iter().map(DeviceHeard::known_by).collect();
    keys.sort_unstable();
    keys.dedup();
    let place =
        |site: &SiteId, key: &str| keys.binary_search(&(site, key)).expect("every key that is asked for is there");
    let mut changes: Vec<Option<Change>> = keys.iter().map(|_| None).collect();
    for device in view::devices_by_key(&mut *connection, &keys).await? {
        let place = place(&device.site_id, &device.key);
        changes[place] = Some(Change { after: device.clone(), before: Some(device) });
    }
    let houses: BTreeSet<&SiteId> =
        keys.iter().zip(&changes).filter(|(_, change)| change.is_none()).map(|((site, _), _)| *site).collect();
    let mut houses = view::houses(&mut *connection, &houses.into_iter().collect::<Vec<_>>()).await?;
    let mut devices = Vec::with_capacity(words.len());
    for heard in words {
        let change = &mut changes[place(heard.site_id, heard.key.as_str())];
        if change.is_none() {
            *change = houses.get_mut(heard.site_id).and_then(|house| first_heard(now_ms, heard, house));
        }
        devices.push(change.as_mut().map(|change| {
            change.after = merged(&change.after, heard);
            change.after.heard_device()
        }));
    }
    let changes: Vec<Change> = changes.into_iter().flatten().filter(Change::is_to_be_written).collect();
    write(writes, &changes);
    let drafts = changes.iter().filter(|change| change.is_to_be_told()).map(|change| change.after.draft()).collect();
    Ok(Heard { devices, drafts })
}

/// A device that was never heard before; `None`: its site has as many as it may have.
fn first_heard(now_ms: i64, heard: &DeviceHeard<'_>, house: &mut House) -> Option<Change> {
    if house.devices >= DEVICES_PER_SITE_MAX {
        return None;
    }
    house.devices += 1;
    let after = DeviceView {
        id: DeviceId::from_known(ids::sortable(now_ms)),
        site_id: heard.site_id.clone(),
        site_name: house.name.clone(),
        region_code: heard.region.clone(),
        key: heard.key.to_string(),
        family: heard.family.to_owned(),
        kind: heard.kind.to_owned(),
        name: None,
        reported_name: None,
        place: None,
        latitude: None,
        longitude: None,
        first_heard_ms: heard.heard_ms,
        last_heard_ms: heard.heard_ms,
        battery_percent: None,
        link_quality: None,
        available: None,
        tamper: None,
        response: ResponseView::default(),
    };
    Some(Change { before: None, after })
}

impl DeviceView {
    fn heard_device(&self) -> HeardDevice {
        let name = self.name.as_ref().or(self.reported_name.as_ref());
        HeardDevice { id: self.id.clone(), name: name.cloned(), place: self.place.clone() }
    }
}

impl Change {
    /// Link quality flickers with every message: it is written along with other news, and is none itself.
    fn is_news(&self) -> bool {
        let told = |device: &DeviceView| DeviceView { last_heard_ms: 0, link_quality: None, ..device.clone() };
        self.before.as_ref().is_none_or(|before| told(before) != told(&self.after))
    }

    fn is_to_be_written(&self) -> bool {
        let heard_ms = self.before.as_ref().map_or(0, |before| before.last_heard_ms);
        self.after.last_heard_ms - heard_ms >= HEARD_WRITTEN_MS || self.is_news()
    }

    /// Of those that are written.
    fn is_to_be_told(&self) -> bool {
        let heard_ms = self.before.as_ref().map_or(0, |before| before.last_heard_ms);
        self.after.last_heard_ms / HEARD_TOLD_MS != heard_ms / HEARD_TOLD_MS || self.is_news()
    }
}

fn write(writes: &mut Writes, changes: &[Change]) {
    writes.insert(
        "device (id, site_id, key, family, kind, reported_name, first_heard_ms, last_heard_ms, battery_percent, \
         link_quality, available, tamper)",
        12,
        "on conflict (id) do update set kind = excluded.kind, reported_name = excluded.reported_name, \
         last_heard_ms = excluded.last_heard_ms, battery_percent = excluded.battery_percent, \
         link_quality = excluded.link_quality, available = excluded.available, tamper = excluded.tamper",
        changes,
        |values, Change { after, .. }| {
            values
                .bind(after.id.as_str())
                .bind(after.site_id.as_str())
                .bind(after.key.as_str())
                .bind(after.family.as_str())
                .bind(after.kind.as_str())
                .bind(after.reported_name.as_deref())
                .bind(after.first_heard_ms)
                .bind(after.last_heard_ms)
                .bind(after.battery_percent)
                .bind(after.link_quality)
                .bind(after.available.map(i64::from))
                .bind(after.tamper.map(i64::from))
        },
    );
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
    .persistent(false) // positions may be null: see `store`
    .bind(id.as_str())
    .bind(change.name.as_deref())
    .bind(change.place.as_deref())
    .bind(change.latitude)
    .bind(change.longitude)
    .execute(connection)
    .await?;
    Ok(())
}
