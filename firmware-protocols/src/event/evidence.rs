//! What a camera saw of a press: that a picture or a clip of it lies in the village, or never will.

use minicbor::{Decode, Encode};

use super::{CAMERA_ID_BYTES_MAX, TEXT_BYTES_MAX, clip, word};
use crate::Error;
use crate::cbor;
use crate::id::PressId;

/// One picture or clip of one press by one camera. Several belong to a press; each is told when it is settled. Its content
/// travels on its own, as a file that is named by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Evidence<'a> {
    /// The press that it belongs to.
    #[n(1)]
    pub press: PressId,
    /// The camera, by the id that its configuration gives it.
    #[b(2)]
    pub camera: &'a str,
    /// What it is.
    #[b(3)]
    pub kind: EvidenceKind<'a>,
    /// Whether there is any.
    #[b(4)]
    pub state: EvidenceState<'a>,
    /// Why there is none, or why it is less than was asked for, as a sentence.
    #[b(5)]
    pub reason: Option<&'a str>,
    /// SHA-256 of the content. `None`: there is none.
    #[cbor(n(6), with = "hash", has_nil)]
    pub sha256: Option<[u8; 32]>,
    /// How many bytes the content has.
    #[n(7)]
    pub bytes: Option<u64>,
    /// `image/jpeg` or `video/mp4`.
    #[b(8)]
    pub media_type: Option<&'a str>,
    /// The beginning of what it shows, in UTC milliseconds of the gateway's clock.
    #[n(9)]
    pub from_ms: i64,
    /// The end of what it shows; of a snapshot the same as `from_ms`.
    #[n(10)]
    pub to_ms: i64,
}

impl<'a> Evidence<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 8;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("evidence", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = Evidence {
            camera: clip(self.camera, CAMERA_ID_BYTES_MAX),
            kind: EvidenceKind::from_name(clip(self.kind.name(), TEXT_BYTES_MAX)),
            state: EvidenceState::from_name(clip(self.state.name(), TEXT_BYTES_MAX)),
            reason: self.reason.map(|reason| clip(reason, TEXT_BYTES_MAX)),
            media_type: self.media_type.map(|media_type| clip(media_type, TEXT_BYTES_MAX)),
            ..*self
        };
        cbor::emit("evidence", &clipped, buffer)
    }
}

/// SHA-256 as a byte string of 32 bytes, which may be absent.
mod hash {
    use minicbor::bytes::{DecodeBytes, EncodeBytes};
    use minicbor::decode::{self as decoding, Decoder};
    use minicbor::encode::{self as encoding, Encoder};

    type Hash = Option<[u8; 32]>;

    pub(super) fn encode<C, W: encoding::Write>(
        hash: &Hash,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encoding::Error<W::Error>> {
        hash.encode_bytes(e, context)
    }

    pub(super) fn decode<'b, C>(d: &mut Decoder<'b>, context: &mut C) -> Result<Hash, decoding::Error> {
        Hash::decode_bytes(d, context)
    }

    pub(super) const fn is_nil(hash: &Hash) -> bool {
        hash.is_none()
    }

    #[expect(clippy::unnecessary_wraps, reason = "the derived code asks whether an absent value is allowed: it is")]
    pub(super) const fn nil() -> Option<Hash> {
        Some(None)
    }
}

word! {
    /// What evidence is.
    EvidenceKind {
        /// One picture, of the moment of the press.
        Snapshot = "snapshot",
        /// A stretch of video around the press.
        Clip = "clip",
    }
}

word! {
    /// Whether there is evidence.
    EvidenceState {
        /// It lies in the village, whole, and is on its way.
        Saved = "saved",
        /// There is none, and there will be none.
        Missing = "missing",
    }
}
