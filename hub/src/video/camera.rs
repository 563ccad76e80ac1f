//! What people say of a camera: the words for it, and the forms in which they enter and change it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::address::{Address, Credentials, Refusal};
use crate::ids::{DeviceId, SiteId};
use crate::web::Problem;

/// Most characters of a camera's or a place's name.
const NAME_CHARS_MAX: usize = 80;
/// Most devices of one household. A flat has a few buttons; a care home is a facility.
const HOUSEHOLD_DEVICES_MAX: usize = 32;
/// How long a village keeps recordings, unless somebody says otherwise. A week: at 4 Mbit/s that is 300 GB a camera, and
/// [`BYTES_DEFAULT`] ends it earlier.
const DAYS_DEFAULT: u16 = 7;
/// Longest time to keep recordings; what must be kept longer is exported with a reason.
const DAYS_MAX: u16 = 365;
/// How much of a village's disk a camera takes, unless somebody says otherwise: 64 GiB.
const BYTES_DEFAULT: i64 = 64 << 30;
/// Least: 16 MiB, half a minute of a busy main stream. Less would be none.
const BYTES_MIN: i64 = 16 << 20;
/// Most: 16 TiB, the largest disk that a village may have.
const BYTES_MAX: i64 = 16 << 40;
/// How many streams a recorder gives at once, unless somebody says otherwise: live and recording, main and sub.
const SESSIONS_DEFAULT: u8 = 4;
/// Most; large recorders give 128.
const SESSIONS_MAX: u8 = 128;

/// Where a camera looks, and so who may open it and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CameraKind {
    /// At a road or a square.
    #[default]
    Public,
    /// In a building that serves the public: a clinic, a care home, the village office.
    Facility,
    /// At a home: opens only during an alarm of its household's devices, and only while the household consents.
    Home,
}

impl CameraKind {
    /// As stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Facility => "facility",
            Self::Home => "home",
        }
    }

    /// The kind of a stored name. Whatever is not known is treated as a home: nobody opens it by mistake.
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "public" => Self::Public,
            "facility" => Self::Facility,
            _ => Self::Home,
        }
    }
}

/// What the village keeps of a camera's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordPolicy {
    /// Nothing but what belongs to an alarm.
    Off,
    /// The main stream.
    Main,
    /// The sub stream.
    Sub,
}

impl RecordPolicy {
    /// As stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Main => "main",
            Self::Sub => "sub",
        }
    }

    /// The policy of a stored name; nothing is recorded by mistake.
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "main" => Self::Main,
            "sub" => Self::Sub,
            _ => Self::Off,
        }
    }
}

/// A text that must not be shown: a password on its way in. Its debug form says that there is one, and no more.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub(super) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

/// A camera to be entered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraCreate {
    /// Whose gateway reaches it.
    pub(super) site_id: SiteId,
    /// 1–80 characters.
    pub(super) name: String,
    /// `rtsp://host[:port]/path` of its main stream. Credentials in it are taken out, sealed and never shown again.
    pub(super) url: Secret,
    /// Of its smaller stream: the same, or only the path.
    pub(super) sub_url: Option<Secret>,
    /// Of the recorder; wins over one in the address. Absent: the recorder's stay.
    pub(super) username: Option<String>,
    /// Of the recorder.
    pub(super) password: Option<Secret>,
    /// How many streams the recorder gives at once: 1–128, default 4.
    pub(super) sessions_max: Option<u8>,
    /// Default `public`.
    pub(super) kind: Option<CameraKind>,
    /// At most 80 characters.
    pub(super) place: Option<String>,
    /// WGS 84 degrees.
    pub(super) latitude: Option<f64>,
    /// WGS 84 degrees.
    pub(super) longitude: Option<f64>,
    /// Where it looks: 0–359, clockwise from north.
    pub(super) direction_degrees: Option<i64>,
    /// Default `main`; of a home camera `off`, which it must be.
    pub(super) record: Option<RecordPolicy>,
    /// 1–365; default 7.
    pub(super) days_max: Option<u16>,
    /// 16 MiB–16 TiB; default 64 GiB.
    pub(super) bytes_max: Option<i64>,
    /// Whether its sound is recorded, too; default no.
    pub(super) audio: Option<bool>,
    /// Of a home camera: the devices of its household, of the same site.
    pub(super) household_device_ids: Option<Vec<DeviceId>>,
}

/// What to change of a camera; absent fields stay, an empty text clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraPatch {
    /// 1–80 characters.
    pub(super) name: Option<String>,
    /// As when it was entered. On another host, credentials have to be given again.
    pub(super) url: Option<Secret>,
    /// As when it was entered; empty: it has none.
    pub(super) sub_url: Option<Secret>,
    /// Of the recorder, for all its cameras.
    pub(super) username: Option<String>,
    /// Of the recorder, for all its cameras.
    pub(super) password: Option<Secret>,
    /// Of the recorder: 1–128.
    pub(super) sessions_max: Option<u8>,
    /// A home camera stays one: to make it public it is deleted and entered anew.
    pub(super) kind: Option<CameraKind>,
    /// At most 80 characters.
    pub(super) place: Option<String>,
    /// WGS 84 degrees.
    pub(super) latitude: Option<f64>,
    /// WGS 84 degrees.
    pub(super) longitude: Option<f64>,
    /// 0–359; −1: it looks all around.
    pub(super) direction_degrees: Option<i64>,
    /// Of a home camera only `off`.
    pub(super) record: Option<RecordPolicy>,
    /// 1–365.
    pub(super) days_max: Option<u16>,
    /// 16 MiB–16 TiB.
    pub(super) bytes_max: Option<i64>,
    /// Whether its sound is recorded, too.
    pub(super) audio: Option<bool>,
    /// Of a home camera: the devices of its household, of the same site.
    pub(super) household_device_ids: Option<Vec<DeviceId>>,
    /// Of a home camera: the household consents, or no longer does.
    pub(super) consent: Option<bool>,
}

/// What is stored of a camera that people decide, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) kind: CameraKind,
    pub(super) main_path: String,
    pub(super) sub_path: Option<String>,
    pub(super) place: Option<String>,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
    pub(super) direction_degrees: Option<i64>,
    pub(super) record: RecordPolicy,
    pub(super) days_max: u16,
    pub(super) bytes_max: i64,
    pub(super) audio: bool,
    pub(super) household: Vec<DeviceId>,
    pub(super) consent_ms: Option<i64>,
}

/// An address as given in a form: with the credentials that stood in it or in their own fields.
pub(super) fn address(url: &Secret, username: Option<&str>, password: Option<&Secret>) -> Result<Address, Problem> {
    let mut address = Address::parse(&url.0).map_err(|refusal| refusal.problem("url"))?;
    if let Some(given) = credentials(username, password)? {
        address.credentials = Some(given);
    }
    Ok(address)
}

/// Credentials as given in their own fields. `None`: not given.
pub(super) fn credentials(username: Option<&str>, password: Option<&Secret>) -> Result<Option<Credentials>, Problem> {
    let username = username.unwrap_or_default().trim();
    let password = password.map_or("", |password| password.0.as_str());
    if username.is_empty() && password.is_empty() {
        return Ok(None);
    }
    if username.is_empty() {
        return Err(Problem::invalid("username", "填了密码就要填用户名", "a password needs a user name"));
    }
    let given = Credentials { username: username.to_owned(), password: password.to_owned() };
    if !given.are_bounded() {
        return Err(Refusal::CredentialsTooLong.problem("password"));
    }
    Ok(Some(given))
}

/// The path of the smaller stream: of the same recorder, so only its path is of interest. `None`: there is none.
pub(super) fn sub_path(url: &Secret, main: &Address) -> Result<Option<String>, Problem> {
    let text = url.0.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let whole = if text.starts_with('/') { format!("rtsp://same-recorder{text}") } else { text.to_owned() };
    let sub = Address::parse(&whole).map_err(|refusal| refusal.problem("sub_url"))?;
    if !text.starts_with('/') && sub.place != main.place {
        return Err(Problem::invalid(
            "sub_url",
            "子码流应与主码流在同一台设备上（地址和端口相同）",
            "the sub stream must be of the same device as the main stream (same host and port)",
        ));
    }
    Ok(Some(sub.path))
}

impl CameraCreate {
    /// What is stored of it; `main` is its address, taken apart.
    pub(super) fn settings(&self, main: &Address) -> Result<Settings, Problem> {
        let kind = self.kind.unwrap_or_default();
        let record_default = if kind == CameraKind::Home { RecordPolicy::Off } else { RecordPolicy::Main };
        let settings = Settings {
            name: text("name", &self.name)?,
            kind,
            main_path: main.path.clone(),
            sub_path: self.sub_url.as_ref().map(|url| sub_path(url, main)).transpose()?.flatten(),
            place: self.place.as_deref().map(|place| optional_text("place", place)).transpose()?.flatten(),
            latitude: self.latitude,
            longitude: self.longitude,
            direction_degrees: self.direction_degrees,
            record: self.record.unwrap_or(record_default),
            days_max: self.days_max.unwrap_or(DAYS_DEFAULT),
            bytes_max: self.bytes_max.unwrap_or(BYTES_DEFAULT),
            audio: self.audio.unwrap_or(false),
            household: distinct(self.household_device_ids.clone().unwrap_or_default()),
            consent_ms: None,
        };
        settings.checked()
    }

    /// How many streams its recorder gives.
    pub(super) fn sessions_max(&self) -> Result<u8, Problem> {
        checked_sessions(self.sessions_max.unwrap_or(SESSIONS_DEFAULT))
    }
}

impl CameraPatch {
    /// What is stored afterwards. The address has been dealt with by the caller and stands in `known` already.
    pub(super) fn settings(&self, now_ms: i64, known: Settings) -> Result<Settings, Problem> {
        if let Some(kind) = self.kind.filter(|kind| *kind != known.kind && known.kind == CameraKind::Home) {
            return Err(Problem::invalid(
                "kind",
                "住户摄像机不能改成其他类型；请删除后重新录入",
                &format!("a home camera cannot become {}; delete it and enter it anew", kind.as_str()),
            ));
        }
        let place = self.place.as_deref().map(|place| optional_text("place", place)).transpose()?;
        let direction = self.direction_degrees.map(|degrees| (degrees != -1).then_some(degrees));
        let settings = Settings {
            name: self.name.as_deref().map(|name| text("name", name)).transpose()?.unwrap_or(known.name),
            kind: self.kind.unwrap_or(known.kind),
            place: place.unwrap_or(known.place),
            latitude: self.latitude.or(known.latitude),
            longitude: self.longitude.or(known.longitude),
            direction_degrees: direction.unwrap_or(known.direction_degrees),
            record: self.record.unwrap_or(known.record),
            days_max: self.days_max.unwrap_or(known.days_max),
            bytes_max: self.bytes_max.unwrap_or(known.bytes_max),
            audio: self.audio.unwrap_or(known.audio),
            household: self.household_device_ids.clone().map_or(known.household, distinct),
            consent_ms: match self.consent {
                None => known.consent_ms,
                Some(true) => known.consent_ms.or(Some(now_ms)),
                Some(false) => None,
            },
            ..known
        };
        settings.checked()
    }

    /// The names of the fields that it changes, for the audit trail; never their values.
    pub(super) fn named(&self) -> String {
        let names = [
            ("name", self.name.is_some()),
            ("url", self.url.is_some()),
            ("sub_url", self.sub_url.is_some()),
            ("credentials", self.username.is_some() || self.password.is_some()),
            ("sessions_max", self.sessions_max.is_some()),
            ("kind", self.kind.is_some()),
            ("place", self.place.is_some()),
            ("position", self.latitude.is_some() || self.longitude.is_some()),
            ("direction_degrees", self.direction_degrees.is_some()),
            ("record", self.record.is_some()),
            ("days_max", self.days_max.is_some()),
            ("bytes_max", self.bytes_max.is_some()),
            ("audio", self.audio.is_some()),
            ("household_device_ids", self.household_device_ids.is_some()),
            ("consent", self.consent.is_some()),
        ];
        let given: Vec<&str> = names.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect();
        given.join(", ")
    }

    /// How many streams its recorder gives, if that is to change.
    pub(super) fn sessions_max(&self) -> Result<Option<u8>, Problem> {
        self.sessions_max.map(checked_sessions).transpose()
    }
}

impl Settings {
    fn checked(self) -> Result<Self, Problem> {
        let is_home = self.kind == CameraKind::Home;
        let refused = |field, zh, en| Err(Problem::invalid(field, zh, en));
        // Not a number lies in no range.
        if self.latitude.is_some_and(|degrees| !(-90.0..=90.0).contains(&degrees)) {
            return refused("latitude", "应在 -90 到 90 度之间", "it must be from -90 to 90 degrees");
        }
        if self.longitude.is_some_and(|degrees| !(-180.0..=180.0).contains(&degrees)) {
            return refused("longitude", "应在 -180 到 180 度之间", "it must be from -180 to 180 degrees");
        }
        if self.direction_degrees.is_some_and(|degrees| !(0..360).contains(&degrees)) {
            return refused("direction_degrees", "应在 0 到 359 度之间", "it must be from 0 to 359 degrees");
        }
        if !(1..=DAYS_MAX).contains(&self.days_max) {
            return refused("days_max", "应在 1 到 365 天之间", "it must be from 1 to 365 days");
        }
        if !(BYTES_MIN..=BYTES_MAX).contains(&self.bytes_max) {
            return refused("bytes_max", "应在 16 MiB 到 16 TiB 之间", "it must be from 16 MiB to 16 TiB");
        }
        if self.record == RecordPolicy::Sub && self.sub_path.is_none() {
            return refused("record", "没有子码流可录", "there is no sub stream to record");
        }
        if is_home && self.record != RecordPolicy::Off {
            return refused("record", "住户摄像机不连续录像", "a home camera is not recorded continuously");
        }
        if is_home && self.audio {
            return refused("audio", "住户摄像机不录声音", "the sound of a home camera is not recorded");
        }
        if !is_home && !self.household.is_empty() {
            return refused("household_device_ids", "只有住户摄像机才填", "only a home camera has a household");
        }
        if self.household.len() > HOUSEHOLD_DEVICES_MAX {
            return refused("household_device_ids", "最多 32 个设备", "at most 32 devices");
        }
        if !is_home && self.consent_ms.is_some() {
            return refused("consent", "只有住户摄像机才需要同意", "only a home camera needs consent");
        }
        Ok(self)
    }
}

fn checked_sessions(sessions: u8) -> Result<u8, Problem> {
    if (1..=SESSIONS_MAX).contains(&sessions) {
        return Ok(sessions);
    }
    Err(Problem::invalid("sessions_max", "应在 1 到 128 之间", "it must be from 1 to 128"))
}

fn distinct(mut ids: Vec<DeviceId>) -> Vec<DeviceId> {
    ids.sort();
    ids.dedup();
    ids
}

fn text(field: &'static str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    if value.is_empty() {
        return Err(Problem::invalid(field, "不能为空", "it must not be empty"));
    }
    if value.chars().count() > NAME_CHARS_MAX || value.chars().any(char::is_control) {
        return Err(Problem::invalid(field, "最多 80 个字，不能换行", "at most 80 characters on one line"));
    }
    Ok(value.to_owned())
}

fn optional_text(field: &'static str, value: &str) -> Result<Option<String>, Problem> {
    if value.trim().is_empty() { Ok(None) } else { text(field, value).map(Some) }
}
