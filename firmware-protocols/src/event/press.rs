//! One activation of a device that calls for help.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;
use crate::id::DeviceKey;

/// Somebody pressed a button. The alarm that people handle is made of presses by the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Press<'a> {
    /// The device, by what cannot be renamed.
    #[n(1)]
    pub device: DeviceKey,
    /// What sort of device it is.
    #[n(2)]
    pub family: Family,
    /// What was done to the device.
    #[b(3)]
    pub trigger: Trigger<'a>,
    /// The device's own id of this event, such as `24e124535b316056/1042` (`DevEUI` and frame counter), if its family has
    /// one: the same key again is the same press.
    #[b(4)]
    pub source_key: Option<&'a str>,
    /// When the gateway heard it, in UTC milliseconds of the gateway's clock.
    #[n(5)]
    pub heard_ms: i64,
    /// Whether the broker handed it over later than it was published, so that nobody knows how old it is.
    #[n(6)]
    pub replayed: bool,
    /// What the device is called in the village, if it has a name there. It can change at any time.
    #[b(7)]
    pub name: Option<&'a str>,
    /// How full the battery is, 0 to 100.
    #[n(8)]
    pub battery_percent: Option<u8>,
}

impl<'a> Press<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 1;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("press", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = Press {
            trigger: Trigger::from_name(clip(self.trigger.name(), TEXT_BYTES_MAX)),
            source_key: self.source_key.map(|key| clip(key, TEXT_BYTES_MAX)),
            name: self.name.map(|name| clip(name, TEXT_BYTES_MAX)),
            ..*self
        };
        cbor::emit("press", &clipped, buffer)
    }
}

/// What was done to a device, in the words that devices use. On the wire it is that word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger<'a> {
    /// The one thing that an SOS button can do (`sos`, `emergency`).
    Sos,
    /// Pressed once, shortly.
    Single,
    /// Pressed twice.
    Double,
    /// Pressed long.
    Long,
    /// Held down.
    Hold,
    /// A word that this code does not know.
    Other(&'a str),
}

impl<'a> Trigger<'a> {
    /// The trigger with this name.
    pub fn from_name(name: &'a str) -> Self {
        match name {
            "sos" => Self::Sos,
            "single" => Self::Single,
            "double" => Self::Double,
            "long" => Self::Long,
            "hold" => Self::Hold,
            other => Self::Other(other),
        }
    }

    /// Its name on the wire, in storage and in logs.
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Sos => "sos",
            Self::Single => "single",
            Self::Double => "double",
            Self::Long => "long",
            Self::Hold => "hold",
            Self::Other(name) => name,
        }
    }
}

impl<C> Encode<C> for Trigger<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(self.name())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Trigger<'b> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.str().map(Self::from_name)
    }
}

/// What sort of device speaks: which codec understood it. On the wire a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Any Zigbee device behind Zigbee2MQTT.
    Zigbee2mqtt,
    /// A LoRaWAN device behind ChirpStack whose own codec we lack.
    Chirpstack,
    /// Milesight WS101, a LoRaWAN button.
    MilesightWs101,
    /// Dragino PB01, a LoRaWAN button.
    DraginoPb01,
    /// A family that this code does not know.
    Unknown(u16),
}

impl Family {
    /// The family with this number.
    pub const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Zigbee2mqtt,
            2 => Self::Chirpstack,
            3 => Self::MilesightWs101,
            4 => Self::DraginoPb01,
            number => Self::Unknown(number),
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Zigbee2mqtt => 1,
            Self::Chirpstack => 2,
            Self::MilesightWs101 => 3,
            Self::DraginoPb01 => 4,
            Self::Unknown(number) => number,
        }
    }

    /// Its name in storage, on pages and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zigbee2mqtt => "zigbee2mqtt",
            Self::Chirpstack => "chirpstack",
            Self::MilesightWs101 => "milesight_ws101",
            Self::DraginoPb01 => "dragino_pb01",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl<C> Encode<C> for Family {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.u16(self.number())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Family {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.u16().map(Self::from_number)
    }
}
