//! LoRaWAN devices behind ChirpStack v4, in its JSON encoding.
//!
//! `application/<application>/device/<devEui>/event/<kind>`: an `up` carries a frame of the device, which the codec of its
//! family reads; `join` and `status` prove that it is alive; the rest (`ack`, `txack`, `log`, `location`, `integration`)
//! tells about the server. The device is known by the `DevEUI` of the topic, which must be that of the payload.
//!
//! A frame does not say what device sent it, so the family is told by port and form: port 85 is Milesight's, and 8 bytes on
//! port 2 are a Dragino PB01's. ChirpStack leaves members out that are zero or empty.

use base64ct::{Base64, Encoding};

use super::json::{self, Value};
use super::{Action, DeviceRef, Reading, Report, SourceKey};
use super::{dragino_pb01, milesight_ws101};
use crate::event::Family;
use crate::id::DeviceKey;

/// How the topics begin.
pub const TOPIC_PREFIX: &str = "application/";

/// The longest payload of a LoRaWAN frame in bytes (Regional Parameters), and in base64.
const FRAME_BYTES_MAX: usize = 242;
const FRAME_BASE64_MAX: usize = FRAME_BYTES_MAX.div_ceil(3) * 4;

/// Reads a message of `ChirpStack`.
pub fn parse<'a>(topic: &'a str, payload: &'a [u8]) -> Reading<'a> {
    let mut parts = topic.split('/');
    let mut next = || parts.next().unwrap_or_default();
    let ("application", _, "device", dev_eui, "event", kind) = (next(), next(), next(), next(), next(), next()) else {
        return Reading::Ignored;
    };
    let Some(dev_eui) = super::hex_u64(dev_eui.as_bytes()).filter(|_| dev_eui.len() == 16) else {
        return Reading::Unreadable { device: None, reason: "a topic whose DevEUI is not 16 hexadecimal digits" };
    };
    let device = DeviceRef::Key(DeviceKey::lorawan(dev_eui));
    let unreadable = |reason| Reading::Unreadable { device: Some(device), reason };
    if !matches!(kind, "up" | "join" | "status") {
        return Reading::Ignored;
    }
    let Some(event) = json::parse(payload).ok().filter(Value::is_object) else {
        return unreadable("not a JSON object");
    };
    let information = event.get("deviceInfo");
    let told = information.and_then(|info| info.get("devEui")?.as_text());
    if told.and_then(|told| super::hex_u64(told.copied(&mut [0; 16])?)).is_some_and(|told| told != dev_eui) {
        return unreadable("the DevEUI of the payload is not that of the topic");
    }
    let mut report = Report {
        name: information.and_then(|info| info.get("deviceName")?.as_text()),
        rssi_dbm: rssi_dbm(&event),
        ..Report::of(device, Family::Chirpstack)
    };
    match kind {
        "up" => up(&event, dev_eui, &mut report),
        // ChirpStack says 254 parts of 100; a device on mains power says nothing about a battery.
        "status" => report.battery_percent = percent(event.get("batteryLevel")),
        _ => {}
    }
    Reading::Report(report)
}

fn up<'a>(event: &Value<'a>, dev_eui: u64, report: &mut Report<'a>) {
    let number = |name: &str| event.get(name).and_then(|value| value.as_whole(0, u32::MAX.into())).unwrap_or(0);
    report.source_key = event.get("deduplicationId").and_then(|id| id.as_text()).map(|deduplication_id| SourceKey {
        dev_eui,
        frame_count: number("fCnt") as u32,
        deduplication_id,
    });
    let mut buffer = [0; FRAME_BASE64_MAX];
    match frame(event, &mut buffer) {
        Some([]) => {}
        Some(frame) => read_frame(number("fPort"), frame, report),
        None => report.action = Action::Unknown { reason: "a frame that is not base64, or too long" },
    }
}

/// Hands the frame to the codec that its port and form tell.
fn read_frame(port: i64, frame: &[u8], report: &mut Report<'_>) {
    match (port, frame.len()) {
        // Port 0 carries commands of the LoRaWAN protocol itself.
        (0, _) => {}
        (milesight_ws101::PORT, _) => milesight_ws101::read(frame, report),
        (dragino_pb01::PORT, dragino_pb01::FRAME_BYTES) => dragino_pb01::read(frame, report),
        (dragino_pb01::PORT_STATUS, dragino_pb01::STATUS_BYTES) => dragino_pb01::read_status(frame, report),
        _ => report.action = Action::Unknown { reason: "a LoRaWAN frame for which there is no codec" },
    }
}

/// The frame's bytes; empty if it has none.
fn frame<'b>(event: &Value<'_>, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let data = match event.get("data") {
        None => return Some(&[]),
        Some(data) if data.as_written() == "null" => return Some(&[]),
        Some(data) => data.as_text()?,
    };
    Base64::decode_in_place(data.copied(buffer)?).ok()
}

/// The strength at the gateway that heard it best.
fn rssi_dbm(event: &Value<'_>) -> Option<i16> {
    let heard = event.get("rxInfo")?;
    let strengths =
        heard.elements().filter_map(|gateway| gateway.get("rssi")?.as_whole(i16::MIN.into(), i16::MAX.into()));
    strengths.max().map(|strength| strength as i16)
}

fn percent(value: Option<Value<'_>>) -> Option<u8> {
    value?.as_whole(0, 100).map(|percent| percent as u8)
}
