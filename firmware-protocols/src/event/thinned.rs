//! The journal was full and dropped routine entries. Presses are never thinned.

use minicbor::{Decode, Encode};

use crate::Error;
use crate::cbor;
use crate::id::{Epoch, Sequence};

/// The journal was full and dropped routine entries before they could be uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Thinned {
    /// The life of the journal whose routine stream was thinned.
    #[n(1)]
    pub epoch: Epoch,
    /// The first sequence among those dropped.
    #[n(2)]
    pub from: Sequence,
    /// The last sequence among those dropped.
    #[n(3)]
    pub to: Sequence,
    /// The kind of the entries that were dropped; 0 where they were of several kinds.
    #[n(4)]
    pub kind: u16,
    /// How many were dropped.
    #[n(5)]
    pub count: u64,
}

impl Thinned {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 6;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        cbor::parse("thinned", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("thinned", self, buffer)
    }
}
