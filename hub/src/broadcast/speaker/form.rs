//! The forms in which people enter and change loudspeakers.

use serde::Deserialize;
use utoipa::ToSchema;

use super::view::SpeakerKind;
use crate::ids::SiteId;
use crate::web::{Problem, form};

/// How loud a loudspeaker may be, unless somebody says otherwise.
const VOLUME_PERCENT_DEFAULT: u8 = 80;
/// Longest warm-up of an amplifier: valves take some seconds.
const WARM_UP_MS_MAX: u16 = 10_000;
/// Longest serial or name of a sound card. The serial becomes a part of a topic.
const DEVICE_BYTES_MAX: usize = 64;
/// Length of a loudspeaker's key, in bytes.
pub(super) const KEY_BYTES: usize = 32;

/// A loudspeaker's key on its way in: 64 hexadecimal digits. Its debug form says that there is one, and no more.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub(super) struct KeyText(String);

impl std::fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyText")
    }
}

/// A loudspeaker to be entered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SpeakerCreate {
    /// Whose gateway commands it.
    pub(super) site_id: SiteId,
    /// 1–80 characters.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: SpeakerKind,
    /// Of an MQTT loudspeaker: the key on its label, 64 hexadecimal digits. Absent: the hub draws one and answers it, once.
    pub(super) key: Option<KeyText>,
    /// Of an MQTT loudspeaker: its serial (letters, digits, `-`, `_`). Of a line-out: the sound card as ALSA calls it; empty
    /// or absent: the gateway's default.
    pub(super) device: Option<String>,
    /// At most 80 characters.
    pub(super) place: Option<String>,
    /// WGS 84 degrees.
    pub(super) latitude: Option<f64>,
    /// WGS 84 degrees.
    pub(super) longitude: Option<f64>,
    /// Never louder than this: 0–100, default 80.
    pub(super) volume_percent: Option<u8>,
    /// How long its amplifier takes until it is heard: 0–10,000, default 0.
    pub(super) warm_up_ms: Option<u16>,
}

/// What to change of a loudspeaker; absent fields stay, an empty place clears it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SpeakerPatch {
    /// 1–80 characters.
    pub(super) name: Option<String>,
    /// As when it was entered.
    pub(super) key: Option<KeyText>,
    /// As when it was entered.
    pub(super) device: Option<String>,
    /// At most 80 characters.
    pub(super) place: Option<String>,
    /// WGS 84 degrees.
    pub(super) latitude: Option<f64>,
    /// WGS 84 degrees.
    pub(super) longitude: Option<f64>,
    /// 0–100.
    pub(super) volume_percent: Option<u8>,
    /// 0–10,000.
    pub(super) warm_up_ms: Option<u16>,
}

/// What is stored of a loudspeaker that people decide, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) kind: SpeakerKind,
    pub(super) device: String,
    pub(super) place: Option<String>,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
    pub(super) volume_percent: u8,
    pub(super) warm_up_ms: u16,
}

impl KeyText {
    /// The key's bytes.
    pub(super) fn bytes(&self) -> Result<[u8; KEY_BYTES], Problem> {
        let digits = self.0.trim().to_ascii_lowercase();
        let mut key = [0; KEY_BYTES];
        // A key is written as the hash of a content is: 64 hexadecimal digits.
        let read = tongluo_protocols::content::ContentHash::parse(&digits).ok_or_else(|| {
            Problem::invalid("key", "应为标签上的 64 位十六进制数", "it is the 64 hexadecimal digits on the label")
        })?;
        key.copy_from_slice(read.as_bytes());
        Ok(key)
    }
}

impl SpeakerCreate {
    /// What is stored of it.
    pub(super) fn settings(&self) -> Result<Settings, Problem> {
        let settings = Settings {
            name: form::name("name", &self.name)?,
            kind: self.kind,
            device: self.device.as_deref().unwrap_or_default().trim().to_owned(),
            place: form::optional_name("place", self.place.as_deref().unwrap_or_default())?,
            latitude: self.latitude,
            longitude: self.longitude,
            volume_percent: self.volume_percent.unwrap_or(VOLUME_PERCENT_DEFAULT),
            warm_up_ms: self.warm_up_ms.unwrap_or(0),
        };
        settings.checked()
    }
}

impl SpeakerPatch {
    /// What is stored afterwards.
    pub(super) fn settings(&self, known: Settings) -> Result<Settings, Problem> {
        let place = self.place.as_deref().map(|place| form::optional_name("place", place)).transpose()?;
        let settings = Settings {
            name: self.name.as_deref().map(|name| form::name("name", name)).transpose()?.unwrap_or(known.name),
            kind: known.kind,
            device: self.device.as_deref().map_or(known.device, |device| device.trim().to_owned()),
            place: place.unwrap_or(known.place),
            latitude: self.latitude.or(known.latitude),
            longitude: self.longitude.or(known.longitude),
            volume_percent: self.volume_percent.unwrap_or(known.volume_percent),
            warm_up_ms: self.warm_up_ms.unwrap_or(known.warm_up_ms),
        };
        settings.checked()
    }

    /// The names of the fields that are given, for the audit trail.
    pub(super) fn named(&self) -> String {
        let given = [
            ("name", self.name.is_some()),
            ("key", self.key.is_some()),
            ("device", self.device.is_some()),
            ("place", self.place.is_some()),
            ("latitude", self.latitude.is_some()),
            ("longitude", self.longitude.is_some()),
            ("volume_percent", self.volume_percent.is_some()),
            ("warm_up_ms", self.warm_up_ms.is_some()),
        ];
        given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    }
}

impl Settings {
    fn checked(self) -> Result<Self, Problem> {
        form::position(self.latitude, self.longitude)?;
        if self.volume_percent > 100 {
            return Err(Problem::invalid("volume_percent", "应在 0 到 100 之间", "it must be from 0 to 100"));
        }
        if self.warm_up_ms > WARM_UP_MS_MAX {
            return Err(Problem::invalid("warm_up_ms", "最长 10000 毫秒", "at most 10,000 milliseconds"));
        }
        let is_short = self.device.len() <= DEVICE_BYTES_MAX;
        let is_taken = match self.kind {
            SpeakerKind::Mqtt => {
                !self.device.is_empty() && self.device.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            }
            SpeakerKind::LineOut => self.device.bytes().all(|byte| byte.is_ascii_graphic()),
        };
        if !is_short || !is_taken {
            return Err(Problem::invalid(
                "device",
                "网络喇叭填标签上的序列号（字母、数字、- 和 _，最多 64 位）；网关自带音频口填声卡名，可不填",
                "of a network loudspeaker the serial on its label (letters, digits, - and _, at most 64); of the gateway's own \
                 line-out the sound card's name, or nothing",
            ));
        }
        Ok(self)
    }
}
