//! Zigbee devices behind Zigbee2MQTT.
//!
//! | Topic                              | Says                                                              |
//! | ---------------------------------- | ----------------------------------------------------------------- |
//! | `zigbee2mqtt/<name>`               | what a device said: an object of attributes                       |
//! | `zigbee2mqtt/<name>/availability`  | whether it can be reached                                         |
//! | `zigbee2mqtt/bridge/devices`       | the list of devices: which name belongs to which address          |
//! | `zigbee2mqtt/bridge/state`         | whether Zigbee2MQTT runs                                          |
//! | `…/set`, `…/get`, `…/set/<x>`, other `bridge/…` | nothing for us                                       |
//!
//! A name may hold `/` and be changed at any time, so devices are known by their IEEE address. An unnamed device has its
//! address for a name.
//!
//! Calls for help: `action` of `emergency` or `sos` (TS0215A_sos, TS0601_sos), of `single`, `double`, `long` or `hold`
//! (buttons), and `sos` that changes to `true` (Feibit SEB01ZB). There is no event id.

use super::json::{self, Text, Value};
use super::{Action, DeviceRef, Reading, Report};
use crate::event::{Family, Trigger};
use crate::id::DeviceKey;

/// How the topics begin.
pub const TOPIC_PREFIX: &str = "zigbee2mqtt/";

/// Reads a message of Zigbee2MQTT.
pub fn parse<'a>(topic: &'a str, payload: &'a [u8]) -> Reading<'a> {
    let Some(path) = topic.strip_prefix(TOPIC_PREFIX) else {
        return Reading::Ignored;
    };
    if let Some(topic) = path.strip_prefix("bridge/") {
        return bridge(topic, payload);
    }
    if path.is_empty() || path == "bridge" || is_command(path) {
        return Reading::Ignored;
    }
    match path.strip_suffix("/availability") {
        Some(name) => availability(device_named(name), payload),
        None => report(device_named(path), payload),
    }
}

/// Zigbee2MQTT's list of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory<'a>(Value<'a>);

/// One device in the [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// The device.
    pub key: DeviceKey,
    /// Its friendly name, which stands in topics.
    pub name: Text<'a>,
    /// The model by which Zigbee2MQTT knows it, such as `TS0215A_sos`; `None` for one that it does not know.
    pub model: Option<Text<'a>>,
}

impl<'a> Directory<'a> {
    /// The devices, without the coordinator. An entry that has no address or no name is passed over.
    pub fn entries(&self) -> impl Iterator<Item = DirectoryEntry<'a>> + use<'a> {
        self.0.elements().filter_map(|entry| {
            let is_coordinator = entry.get("type")?.as_text()? == "Coordinator";
            let name = entry.get("friendly_name")?.as_text()?;
            let key = ieee_key(entry.get("ieee_address")?.as_text()?)?;
            let model = entry.get("definition").and_then(|definition| definition.get("model")?.as_text());
            (!is_coordinator).then_some(DirectoryEntry { key, name, model })
        })
    }
}

fn bridge<'a>(topic: &str, payload: &'a [u8]) -> Reading<'a> {
    match topic {
        "devices" => match json::parse(payload) {
            Ok(list) if list.as_written().starts_with('[') => Reading::Directory(Directory(list)),
            _ => Reading::Unreadable { device: None, reason: "the list of Zigbee devices is not a JSON array" },
        },
        "state" => match is_online(payload) {
            Some(online) => Reading::Bridge { online },
            None => {
                Reading::Unreadable { device: None, reason: "the state of Zigbee2MQTT is neither online nor offline" }
            }
        },
        _ => Reading::Ignored,
    }
}

fn availability<'a>(device: DeviceRef<'a>, payload: &[u8]) -> Reading<'a> {
    match is_online(payload) {
        Some(available) => Reading::Availability { device, available },
        None => Reading::Unreadable { device: Some(device), reason: "the availability is neither online nor offline" },
    }
}

fn report<'a>(device: DeviceRef<'a>, payload: &'a [u8]) -> Reading<'a> {
    // An empty message is how a retained one is deleted.
    if payload.is_empty() {
        return Reading::Ignored;
    }
    let Some(attributes) = json::parse(payload).ok().filter(Value::is_object) else {
        return Reading::Unreadable { device: Some(device), reason: "not a JSON object" };
    };
    // Told only where `include_device_information` is set; it saves looking the name up.
    let told = attributes.get("device").and_then(|told| ieee_key(told.get("ieeeAddr")?.as_text()?));
    let whole = |name: &str, max: i64| attributes.get(name).and_then(|value| value.as_whole(0, max));
    let truth = |name: &str| attributes.get(name).and_then(|value| value.as_bool());
    Reading::Report(Report {
        action: action(attributes.get("action")),
        sos: truth("sos"),
        battery_percent: whole("battery", 100).map(|percent| percent as u8),
        battery_mv: whole("voltage", u16::MAX.into()).map(|millivolts| millivolts as u16),
        battery_low: truth("battery_low"),
        link_quality: whole("linkquality", 255).map(|quality| quality as u8),
        tamper: truth("tamper"),
        ..Report::of(told.map_or(device, DeviceRef::Key), Family::Zigbee2mqtt)
    })
}

/// An empty action or `null` says that an action is over.
fn action<'a>(value: Option<Value<'a>>) -> Action<'a> {
    let Some(value) = value.filter(|value| value.as_written() != "null") else {
        return Action::None;
    };
    let Some(name) = value.as_text() else {
        return Action::Unknown { reason: "an action that is not a string" };
    };
    const KNOWN: [(&str, Trigger<'static>); 6] = [
        ("emergency", Trigger::Sos),
        ("sos", Trigger::Sos),
        ("single", Trigger::Single),
        ("double", Trigger::Double),
        ("long", Trigger::Long),
        ("hold", Trigger::Hold),
    ];
    match KNOWN.iter().find(|(known, _)| name == *known) {
        Some((_, trigger)) => Action::Pressed(*trigger),
        None if name == "" => Action::None,
        None => Action::Unknown { reason: "an action that is not known" },
    }
}

/// `{"state":"online"}`, and `online` as older versions say it.
fn is_online(payload: &[u8]) -> Option<bool> {
    let state = match payload {
        b"online" | b"offline" => Text::plain(core::str::from_utf8(payload).ok()?),
        _ => json::parse(payload).ok()?.get("state")?.as_text()?,
    };
    if state == "online" {
        return Some(true);
    }
    (state == "offline").then_some(false)
}

/// Whether somebody speaks **to** a device: the last part, or the last but one, is `set` or `get`.
fn is_command(path: &str) -> bool {
    let is_verb = |part: &str| matches!(part, "set" | "get");
    path.rsplit_once('/').is_some_and(|(before, last)| {
        is_verb(last) || before.rsplit_once('/').is_some_and(|(_, last_but_one)| is_verb(last_but_one))
    })
}

fn device_named(name: &str) -> DeviceRef<'_> {
    ieee_key(Text::plain(name)).map_or(DeviceRef::Name(name), DeviceRef::Key)
}

/// The key of an IEEE address as Zigbee2MQTT writes it: `0x` and sixteen digits.
fn ieee_key(text: Text<'_>) -> Option<DeviceKey> {
    let mut buffer = [0; 18];
    let bytes = text.copied(&mut buffer)?;
    let digits = bytes.strip_prefix(b"0x").filter(|digits| digits.len() == 16)?;
    super::hex_u64(digits).map(DeviceKey::zigbee)
}
