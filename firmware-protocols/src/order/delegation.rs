//! Somebody else may order, too.

use minicbor::{Decode, Encode};

use super::{Class, List};
use crate::Error;
use crate::cbor;

/// The most regions of one delegation.
pub const REGIONS_MAX: usize = 16;

/// The most classes of one delegation.
pub const CLASSES_MAX: usize = 8;

/// The length of a public key in bytes, of every algorithm so far.
pub const KEY_BYTES: usize = 32;

/// From now on the holder of this key may order what it is allowed here, and nothing else. Only the root delegates. A later
/// delegation under the same name takes the place of this one; one whose time is over withdraws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delegation<'a> {
    /// The name under which the holder issues orders. Never [`ROOT`](super::ROOT).
    #[b(1)]
    pub issuer: &'a str,
    /// The number of the key's algorithm.
    #[n(2)]
    pub algorithm: i64,
    /// The public key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub key: [u8; KEY_BYTES],
    /// For which regions it may order: the digits of their codes.
    #[b(4)]
    pub regions: List<'a, &'a str, REGIONS_MAX>,
    /// For which classes it may order. Who may order at all may stop what is in its regions.
    #[b(5)]
    pub classes: List<'a, Class, CLASSES_MAX>,
    /// From when on the key counts, UTC milliseconds.
    #[n(6)]
    pub not_before_ms: i64,
    /// Until when the key counts, UTC milliseconds.
    #[n(7)]
    pub not_after_ms: i64,
}

impl<'a> Delegation<'a> {
    /// The kind of an order with this body.
    pub const KIND: u16 = 4;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("delegation", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("delegation", self, buffer)
    }
}
