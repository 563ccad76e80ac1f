//! What the devices of a village say, one file per family.
//!
//! A message comes from the village's broker as a topic and a payload, and becomes a [`Reading`]. What a reading means can
//! depend on what the device said before, and on whether the broker only repeats an old message: that is the part of
//! [`Memory`], a small pure machine.
//!
//! ```text
//! topic, payload ── parse ──▶ Reading::Report ── Memory::judge ──▶ Verdict::{Press, UnknownAlarm, Alive}
//! ```
//!
//! The codecs follow one rule: **what may be a call for help is never dropped.** A payload that cannot be read, an action that
//! is not known, a LoRaWAN device without a codec: each becomes an unknown alarm, which keeps the message whole and is shown
//! to people. What is understood and calls for nothing proves that the device is alive.

use core::fmt;

use crate::event::{Family, Trigger};
use crate::id::DeviceKey;

pub mod chirpstack;
pub mod dragino_pb01;
pub mod json;
mod memory;
pub mod milesight_ws101;
pub mod speaker;
pub mod zigbee2mqtt;

pub use memory::{Memory, Verdict};

/// Reads a message of the village's broker. A topic that belongs to no family is [`Reading::Ignored`].
pub fn parse<'a>(topic: &'a str, payload: &'a [u8]) -> Reading<'a> {
    if topic.starts_with(zigbee2mqtt::TOPIC_PREFIX) {
        zigbee2mqtt::parse(topic, payload)
    } else if topic.starts_with(chirpstack::TOPIC_PREFIX) {
        chirpstack::parse(topic, payload)
    } else {
        Reading::Ignored
    }
}

/// What a message of the village's broker says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading<'a> {
    /// A device spoke: [`Memory::judge`] says whether it calls for help.
    Report(Report<'a>),
    /// A radio server says whether it can reach a device.
    Availability {
        /// The device.
        device: DeviceRef<'a>,
        /// Whether it can be reached.
        available: bool,
    },
    /// Zigbee2MQTT lists its devices: which name belongs to which address.
    Directory(zigbee2mqtt::Directory<'a>),
    /// A radio server says whether it runs.
    Bridge {
        /// Whether it runs.
        online: bool,
    },
    /// Nothing for us: commands to devices, answers, logs.
    Ignored,
    /// A device spoke, and what it said cannot be read: an unknown alarm.
    Unreadable {
        /// The device, if it could be made out.
        device: Option<DeviceRef<'a>>,
        /// Why it cannot be read, as a phrase.
        reason: &'static str,
    },
}

/// A device, as its message names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRef<'a> {
    /// By what cannot be renamed.
    Key(DeviceKey),
    /// By its friendly name in Zigbee2MQTT, to be looked up in the [`zigbee2mqtt::Directory`].
    Name(&'a str),
}

/// What a device said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report<'a> {
    /// Who said it.
    pub device: DeviceRef<'a>,
    /// Which codec understood it.
    pub family: Family,
    /// What the device is called there, if the message says so.
    pub name: Option<json::Text<'a>>,
    /// What was done to the device.
    pub action: Action<'a>,
    /// Whether it keeps an SOS raised. Only the change to `true` calls for help.
    pub sos: Option<bool>,
    /// The device's own id of this message.
    pub source_key: Option<SourceKey<'a>>,
    /// How full the battery is, 0 to 100.
    pub battery_percent: Option<u8>,
    /// The battery's voltage.
    pub battery_mv: Option<u16>,
    /// Whether the device says that its battery is low.
    pub battery_low: Option<bool>,
    /// Zigbee's link quality, 0 to 255.
    pub link_quality: Option<u8>,
    /// The strength of the radio signal where it was heard best.
    pub rssi_dbm: Option<i16>,
    /// Whether somebody is tampering with it.
    pub tamper: Option<bool>,
}

impl<'a> Report<'a> {
    /// A report that says nothing but who made it.
    pub const fn of(device: DeviceRef<'a>, family: Family) -> Self {
        Self {
            device,
            family,
            name: None,
            action: Action::None,
            sos: None,
            source_key: None,
            battery_percent: None,
            battery_mv: None,
            battery_low: None,
            link_quality: None,
            rssi_dbm: None,
            tamper: None,
        }
    }
}

/// What was done to a device, as one message tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Nothing: a routine message.
    None,
    /// It was pressed.
    Pressed(Trigger<'a>),
    /// Something was done, and we do not know what: an unknown alarm.
    Unknown {
        /// Why it is not known, as a phrase.
        reason: &'static str,
    },
}

/// A LoRaWAN device's own id of a message: the same once more is the same message. As text
/// `{devEui}/{fCnt}/{deduplicationId}`.
///
/// The frame counter alone would not do: it starts again when a device joins anew, and the press that follows would be taken
/// for an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceKey<'a> {
    /// The device's `DevEUI`.
    pub dev_eui: u64,
    /// The frame counter.
    pub frame_count: u32,
    /// The id that `ChirpStack` gives to each frame it has taken.
    pub deduplication_id: json::Text<'a>,
}

impl fmt::Display for SourceKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}/{}", self.dev_eui, self.frame_count, self.deduplication_id)
    }
}

/// The number that at most sixteen hexadecimal digits say.
fn hex_u64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests;
