//! Follow this configuration.

use minicbor::{Decode, Encode};

use crate::Error;
use crate::cbor;

/// Follow the configuration whose SHA-256 the order names as its content: fetch it, check it, put it in the place of the
/// present one. The newest order counts, by its counter; the revision is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ConfigurationOrder {
    /// Which edition of the site's configuration it is, counted from 1.
    #[n(1)]
    pub revision: u64,
    /// How long the document is, in bytes.
    #[n(2)]
    pub bytes: u64,
}

impl ConfigurationOrder {
    /// The kind of an order with this body.
    pub const KIND: u16 = 1;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        cbor::parse("configuration order", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("configuration order", self, buffer)
    }
}
