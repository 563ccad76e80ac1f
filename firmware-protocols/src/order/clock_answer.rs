//! What time it is.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{List, NAME_BYTES_MAX};
use crate::Error;
use crate::cbor;
use crate::id::{Lane, Sequence};

/// The number that a gateway draws for its question. Never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; Self::BYTES]);

impl Nonce {
    /// Its length.
    pub const BYTES: usize = 16;
}

impl<C> Encode<C> for Nonce {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Nonce {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        d.bytes()?.try_into().map(Self).map_err(|_| decode::Error::message("a nonce has 16 bytes").at(at))
    }
}

/// The most counters that one answer names: both lanes of the root and of 31 delegations.
pub const FLOORS_MAX: usize = 64;

/// The answer to a gateway that asked what time it is. The nonce is the gateway's own and new, so the answer is no older than
/// the question; that is what makes the clock believable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClockAnswer<'a> {
    /// The number that the gateway drew.
    #[n(1)]
    pub nonce: Nonce,
    /// The site that asked.
    #[b(2)]
    pub site: &'a str,
    /// UTC when the answer was signed, in milliseconds.
    #[n(3)]
    pub utc_ms: i64,
    /// The counters that were given out already, so that an old order is not new to a gateway whose disk forgot it.
    #[b(4)]
    pub floors: List<'a, Floor<'a>, FLOORS_MAX>,
}

/// The counter of the last order that an issuer gave in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Floor<'a> {
    /// Whose.
    #[b(0)]
    pub issuer: &'a str,
    /// In which lane.
    #[n(1)]
    pub lane: Lane,
    /// Orders of the past have this counter or a lesser one.
    #[n(2)]
    pub counter: Sequence,
}

impl<'a> ClockAnswer<'a> {
    /// The kind of an order with this body.
    pub const KIND: u16 = 5;

    /// The longest that the body can get, in bytes, with names that are as long as they may be.
    pub const BYTES_MAX: usize = 64 + NAME_BYTES_MAX + FLOORS_MAX * (NAME_BYTES_MAX + 14);

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("clock answer", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("clock answer", self, buffer)
    }
}
