//! Something that may be an alarm and cannot be read: kept whole and shown to people, never dropped.

use minicbor::{Decode, Encode};

use super::{TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;

/// The longest payload that is kept whole, in bytes. Of a longer one the front is kept and `truncated` is set.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// The longest topic that is kept whole, in bytes. A longer one is clipped.
pub const TOPIC_BYTES_MAX: usize = 1024;

/// A message from the village's devices that no codec understood, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnknownAlarm<'a> {
    /// Who sent it: a device key where one could be read, else the topic.
    #[b(1)]
    pub source: &'a str,
    /// The topic it came on.
    #[b(2)]
    pub topic: &'a str,
    /// What it said, byte by byte.
    #[cbor(b(3), with = "minicbor::bytes")]
    pub payload: &'a [u8],
    /// Whether `payload` is only the front of it.
    #[n(4)]
    pub truncated: bool,
    /// Why it could not be read.
    #[b(5)]
    pub reason: &'a str,
    /// When the gateway heard it, in UTC milliseconds of the gateway's clock.
    #[n(6)]
    pub heard_ms: i64,
}

impl<'a> UnknownAlarm<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 2;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("unknown alarm", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took. Text is clipped; of a payload above
    /// [`PAYLOAD_BYTES_MAX`] the front is written, and flagged.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = UnknownAlarm {
            source: clip(self.source, TEXT_BYTES_MAX),
            topic: clip(self.topic, TOPIC_BYTES_MAX),
            payload: &self.payload[..self.payload.len().min(PAYLOAD_BYTES_MAX)],
            truncated: self.truncated || self.payload.len() > PAYLOAD_BYTES_MAX,
            reason: clip(self.reason, TEXT_BYTES_MAX),
            heard_ms: self.heard_ms,
        };
        cbor::emit("unknown alarm", &clipped, buffer)
    }
}
