//! Proof of life: what a device said about itself.

use minicbor::{Decode, Encode};

use super::{Family, TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;
use crate::id::DeviceKey;

/// What a device said about itself. `None` everywhere means that it said nothing about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Supervision<'a> {
    /// The device, by what cannot be renamed.
    #[n(1)]
    pub device: DeviceKey,
    /// What sort of device it is.
    #[n(2)]
    pub family: Family,
    /// What the device is called in the village.
    #[b(3)]
    pub name: Option<&'a str>,
    /// How full the battery is, 0 to 100.
    #[n(4)]
    pub battery_percent: Option<u8>,
    /// The battery's voltage.
    #[n(5)]
    pub battery_mv: Option<u16>,
    /// Whether the device itself says that its battery is low.
    #[n(6)]
    pub battery_low: Option<bool>,
    /// Zigbee's link quality, 0 to 255.
    #[n(7)]
    pub link_quality: Option<u8>,
    /// The strength of the radio signal at the gateway that heard it best.
    #[n(8)]
    pub rssi_dbm: Option<i16>,
    /// Whether somebody is tampering with it.
    #[n(9)]
    pub tamper: Option<bool>,
    /// Whether the village's radio server takes it to be there.
    #[n(10)]
    pub available: Option<bool>,
    /// When the gateway heard it, in UTC milliseconds of the gateway's clock.
    #[n(11)]
    pub heard_ms: i64,
}

impl<'a> Supervision<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 3;

    /// Nothing but that the device was heard.
    pub const fn heard(device: DeviceKey, family: Family, heard_ms: i64) -> Self {
        Self {
            device,
            family,
            name: None,
            battery_percent: None,
            battery_mv: None,
            battery_low: None,
            link_quality: None,
            rssi_dbm: None,
            tamper: None,
            available: None,
            heard_ms,
        }
    }

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("supervision", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = Supervision { name: self.name.map(|name| clip(name, TEXT_BYTES_MAX)), ..*self };
        cbor::emit("supervision", &clipped, buffer)
    }
}
