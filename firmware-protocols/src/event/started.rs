//! The gateway's program started.

use minicbor::{Decode, Encode};

use super::{TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;
use crate::id::BootId;

/// The gateway's program started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Started<'a> {
    /// The version of the program.
    #[b(1)]
    pub version: &'a str,
    /// This run of it.
    #[n(2)]
    pub boot_id: BootId,
    /// What it was configured to do, as a line for the log, without secrets.
    #[b(3)]
    pub configuration: &'a str,
}

impl<'a> Started<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 5;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("started", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = Started {
            version: clip(self.version, TEXT_BYTES_MAX),
            boot_id: self.boot_id,
            configuration: clip(self.configuration, TEXT_BYTES_MAX),
        };
        cbor::emit("started", &clipped, buffer)
    }
}
