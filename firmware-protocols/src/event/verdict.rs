//! What became of an order.

use minicbor::{Decode, Encode};

use super::{TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;
use crate::order::NAME_BYTES_MAX;

/// What the gateway's judge said to an order that sounds something, or ends something that sounds. It is committed before the
/// order is carried out. What an order that was refused claims of itself was not proved: its issuer may be anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verdict<'a> {
    /// The broadcast that it concerns, if that could be read.
    #[b(1)]
    pub broadcast: Option<&'a str>,
    /// Who gave the order, as it claims; empty if that could not be read.
    #[b(2)]
    pub issuer: &'a str,
    /// The issuer's number of it, as it claims; 0 if that could not be read.
    #[n(3)]
    pub counter: u64,
    /// `obeyed`, or the name of the refusal, such as `foreign_key`, `stale`, `night`.
    #[b(4)]
    pub verdict: &'a str,
    /// The refusal with its values, as a sentence.
    #[b(5)]
    pub detail: &'a str,
    /// When it was judged, in UTC milliseconds of the gateway's clock.
    #[n(6)]
    pub at_ms: i64,
    /// The order's kind.
    #[n(7)]
    pub kind: u16,
}

impl<'a> Verdict<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 10;

    /// The verdict on an order that is carried out. Every other verdict is a refusal.
    pub const OBEYED: &'static str = "obeyed";

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("verdict", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = Verdict {
            broadcast: self.broadcast.map(|broadcast| clip(broadcast, NAME_BYTES_MAX)),
            issuer: clip(self.issuer, NAME_BYTES_MAX),
            verdict: clip(self.verdict, NAME_BYTES_MAX),
            detail: clip(self.detail, TEXT_BYTES_MAX),
            ..*self
        };
        cbor::emit("verdict", &clipped, buffer)
    }
}
