//! Something is broken, or is whole again.

use minicbor::{Decode, Encode};

use super::{TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;

/// Something is broken, or is whole again. One fault is open per source and code, however often it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fault<'a> {
    /// What is broken: a device key, `lan`, `journal`, `clock`.
    #[b(1)]
    pub source: &'a str,
    /// How it is broken: one of [`code`], or a word that is not known here.
    #[b(2)]
    pub code: &'a str,
    /// What was seen, as a sentence for the log.
    #[b(3)]
    pub detail: &'a str,
    /// `true`: it is broken. `false`: it is whole again.
    #[n(4)]
    pub active: bool,
}

/// The codes of the faults that a gateway tells.
pub mod code {
    /// A message of a device that is known could not be read; it carried no alarm.
    pub const PAYLOAD_UNREADABLE: &str = "payload.unreadable";
    /// The gateway lost the village's broker.
    pub const LAN_DISCONNECTED: &str = "lan.disconnected";
    /// The journal is full and drops routine entries.
    pub const JOURNAL_FULL: &str = "journal.full";
    /// A device keeps its alarm raised, so that its next press cannot be seen.
    pub const DEVICE_STUCK: &str = "device.stuck";
    /// The village's radio server has lost a device.
    pub const DEVICE_UNAVAILABLE: &str = "device.unavailable";
    /// The village's radio server stopped.
    pub const BRIDGE_OFFLINE: &str = "bridge.offline";
    /// The gateway was ordered something that it does not carry out; the detail says why.
    pub const ORDER_REFUSED: &str = "order.refused";
    /// The gateway's wall clock jumped or disagrees with its peers.
    pub const CLOCK_OFF: &str = "clock.off";
}

impl<'a> Fault<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 4;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("fault", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = Fault {
            source: clip(self.source, TEXT_BYTES_MAX),
            code: clip(self.code, TEXT_BYTES_MAX),
            detail: clip(self.detail, TEXT_BYTES_MAX),
            active: self.active,
        };
        cbor::emit("fault", &clipped, buffer)
    }
}
