//! Buttons, byte for byte as their networks' servers publish them. Written from the servers' documentation, not from our
//! codecs: this is what the codecs are held to.

use serde_json::{Value, json};

/// What somebody did to a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// The call for help of an SOS button.
    Sos,
    /// One short press.
    Single,
    /// Two.
    Double,
    /// A long one.
    Long,
}

impl std::str::FromStr for Press {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sos" => Ok(Self::Sos),
            "single" => Ok(Self::Single),
            "double" => Ok(Self::Double),
            "long" => Ok(Self::Long),
            other => anyhow::bail!("{other:?} is not a press; allowed: sos, single, double, long"),
        }
    }
}

/// What a device's network publishes on the village's broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
}

impl Message {
    /// A message with a JSON payload.
    pub fn json(topic: impl Into<String>, payload: &Value) -> Self {
        Self { topic: topic.into(), payload: payload.to_string().into_bytes(), retain: false }
    }

    /// The same, to be kept by the broker.
    #[must_use]
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }
}

/// A TS0215A_sos behind Zigbee2MQTT.
#[derive(Clone, Debug)]
pub struct ZigbeeButton {
    /// Its IEEE address, which stays.
    pub address: u64,
    /// Its friendly name, which may change.
    pub name: String,
}

impl ZigbeeButton {
    /// How the system knows it.
    pub fn key(&self) -> String {
        format!("zigbee:0x{:016x}", self.address)
    }

    /// What Zigbee2MQTT publishes when it is pressed.
    pub fn press(&self, press: Press) -> Message {
        let action = match press {
            Press::Sos => "emergency",
            Press::Single => "single",
            Press::Double => "double",
            Press::Long => "hold",
        };
        self.says(&json!({ "action": action, "battery": 100, "linkquality": 120 }))
    }

    /// Its routine report.
    pub fn supervision(&self, battery_percent: u8) -> Message {
        self.says(&json!({ "battery": battery_percent, "linkquality": 118 }))
    }

    /// Any report of its own.
    pub fn says(&self, payload: &Value) -> Message {
        Message::json(format!("zigbee2mqtt/{}", self.name), payload)
    }

    /// Whether Zigbee2MQTT can reach it.
    pub fn availability(&self, online: bool) -> Message {
        let state = if online { "online" } else { "offline" };
        Message::json(format!("zigbee2mqtt/{}/availability", self.name), &json!({ "state": state })).retained()
    }

    fn directory_entry(&self) -> Value {
        json!({
            "ieee_address": format!("0x{:016x}", self.address),
            "type": "EndDevice",
            "network_address": self.address & 0xffff,
            "supported": true,
            "friendly_name": self.name,
            "power_source": "Battery",
            "manufacturer": "_TZ3000_4fsgukof",
            "model_id": "TS0215A",
            "interview_completed": true,
            "definition": { "model": "TS0215A_sos", "vendor": "Tuya", "description": "SOS button" },
        })
    }
}

/// What Zigbee2MQTT keeps on the broker about itself and its devices.
pub fn zigbee_bridge(buttons: &[ZigbeeButton]) -> Vec<Message> {
    let coordinator = json!({
        "ieee_address": "0x00124b0024c0ffee",
        "type": "Coordinator",
        "network_address": 0,
        "supported": true,
        "friendly_name": "Coordinator",
        "definition": null,
    });
    let devices: Value =
        std::iter::once(coordinator).chain(buttons.iter().map(ZigbeeButton::directory_entry)).collect();
    let mut messages = vec![
        Message::json("zigbee2mqtt/bridge/state", &json!({ "state": "online" })).retained(),
        Message::json("zigbee2mqtt/bridge/devices", &devices).retained(),
    ];
    messages.extend(buttons.iter().map(|button| button.availability(true)));
    messages
}

/// A Milesight WS101 or a Dragino PB01 behind ChirpStack v4.
#[derive(Clone, Debug)]
pub struct LorawanButton {
    /// Its DevEUI, which stays.
    pub dev_eui: u64,
    /// What ChirpStack calls it.
    pub name: String,
    /// Which of the two it is.
    pub model: LorawanModel,
}

/// The models whose frames are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LorawanModel {
    /// Milesight WS101, port 85.
    Ws101,
    /// Dragino PB01, port 2.
    Pb01,
}

impl LorawanButton {
    /// How the system knows it.
    pub fn key(&self) -> String {
        format!("lorawan:{:016x}", self.dev_eui)
    }

    /// What ChirpStack publishes when it is pressed. The same frame number gives the same message: so a network server
    /// repeats itself, and so a device repeats a confirmed frame that was not answered.
    pub fn press(&self, press: Press, frame: u32) -> Message {
        match self.model {
            LorawanModel::Ws101 => {
                let code = match press {
                    Press::Single => 0x01,
                    Press::Sos | Press::Long => 0x02,
                    Press::Double => 0x03,
                };
                self.uplink(frame, 85, &[0xff, 0x2e, code])
            }
            LorawanModel::Pb01 => self.uplink(frame, 2, &[0x0c, 0xe4, 0x00, 0x01, 0x00, 0xfa, 0x01, 0xf4]),
        }
    }

    /// Its routine report: a full battery.
    pub fn supervision(&self, frame: u32) -> Message {
        match self.model {
            LorawanModel::Ws101 => self.uplink(frame, 85, &[0x01, 0x75, 0x64]),
            LorawanModel::Pb01 => self.uplink(frame, 2, &[0x0c, 0xe4, 0x00, 0x00, 0x00, 0xfa, 0x01, 0xf4]),
        }
    }

    /// Any frame.
    pub fn uplink(&self, frame: u32, port: u8, data: &[u8]) -> Message {
        let dev_eui = format!("{:016x}", self.dev_eui);
        let application = "52f14cd4-c6f1-4fbd-8f87-4025e1d49242";
        let event = json!({
            "deduplicationId": self.deduplication_id(frame),
            "time": "2026-11-23T08:00:00.000000000+00:00",
            "deviceInfo": {
                "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
                "tenantName": "village",
                "applicationId": application,
                "applicationName": "buttons",
                "deviceProfileName": match self.model { LorawanModel::Ws101 => "WS101", LorawanModel::Pb01 => "PB01" },
                "deviceName": self.name,
                "devEui": dev_eui,
                "tags": {},
            },
            "devAddr": "01ab34cd",
            "adr": true,
            "dr": 5,
            "fCnt": frame,
            "fPort": port,
            "confirmed": true,
            "data": base64(data),
            "rxInfo": [{ "gatewayId": "24e124fffef0a1b2", "uplinkId": frame, "rssi": -57, "snr": 9.5 }],
            "txInfo": { "frequency": 470_300_000 },
        });
        Message::json(format!("application/{application}/device/{dev_eui}/event/up"), &event)
    }

    /// What ChirpStack calls this frame: a UUID.
    pub fn deduplication_id(&self, frame: u32) -> String {
        let low = self.dev_eui & 0xffff_ffff_ffff;
        format!("{frame:08x}-{:04x}-4000-8000-{low:012x}", self.dev_eui >> 48)
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(number >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes), text);
        }
        assert_eq!(base64(&[0xff, 0x2e, 0x01]), "/y4B");
    }

    #[test]
    fn a_frame_is_known_by_device_and_number() {
        let button = |dev_eui| LorawanButton { dev_eui, name: "b".to_owned(), model: LorawanModel::Ws101 };
        assert_eq!(button(1).press(Press::Sos, 7), button(1).press(Press::Sos, 7));
        assert_ne!(button(1).deduplication_id(7), button(1).deduplication_id(8));
        assert_ne!(button(1).deduplication_id(7), button(2).deduplication_id(7));
    }
}
