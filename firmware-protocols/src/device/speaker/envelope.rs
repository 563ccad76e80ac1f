//! The envelope of every message between a gateway and its speaker.
//!
//! ```text
//! version  1 byte   1
//! session  16 bytes drawn by the speaker at its start; zero in an ask
//! counter  8 bytes  big endian, rising within a session and direction
//! body     CBOR
//! tag      16 bytes the front of HMAC-SHA256(key, direction ‖ length of id ‖ id ‖ all of the above)
//! ```
//!
//! The direction (`D` to the speaker, `U` from it) and the id are not sent: they are in the topic. They are authenticated, so
//! no message can be turned round or handed to another speaker.

use core::fmt;

use hmac::{Hmac, Mac as _};
use minicbor::{Decoder, Encoder, decode, encode};
use sha2::Sha256;

use super::MESSAGE_BYTES_MAX;
use crate::Error;

/// The form of the envelope.
const VERSION: u8 = 1;
/// Version, session and counter.
const HEAD_BYTES: usize = 1 + 16 + 8;
/// Half of a SHA-256 is what RFC 2104 allows to be cut off; a guess succeeds once in 2^128.
const TAG_BYTES: usize = 16;
/// What an envelope adds to its body.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// What a gateway and one speaker share, and nobody else has.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key as it is printed on the speaker's label.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl<C> minicbor::Encode<C> for Key {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Key {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let key = d.bytes()?.try_into();
        key.map(Self).map_err(|_| decode::Error::message("a loudspeaker's key has 32 bytes").at(at))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// One life of a speaker's program: random bytes, drawn at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session(pub [u8; 16]);

impl Session {
    /// What stands in an ask, before the gateway knows the session.
    pub const NONE: Self = Self([0; 16]);
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the gateway.
    ToSpeaker,
    /// From the speaker.
    FromSpeaker,
}

impl Direction {
    const fn letter(self) -> u8 {
        match self {
            Self::ToSpeaker => b'D',
            Self::FromSpeaker => b'U',
        }
    }
}

/// A message whose tag is right. Whether it is new is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// The speaker's life that it belongs to.
    pub session: Session,
    /// Its place in that life and direction.
    pub counter: u64,
    /// CBOR.
    pub body: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Checks a message of the speaker `id`.
    ///
    /// # Errors
    /// When it is too short or too long, of another version, or its tag is not the one that the key gives.
    pub fn open(key: &Key, direction: Direction, id: &str, bytes: &'a [u8]) -> Result<Self, Error> {
        const WHAT: &str = "a speaker's message";
        if bytes.len() < OVERHEAD_BYTES {
            return Err(Error::Malformed { what: WHAT, at: bytes.len() });
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge { what: WHAT, found: bytes.len(), max: MESSAGE_BYTES_MAX });
        }
        if bytes[0] != VERSION {
            return Err(Error::Version { what: WHAT, found: u64::from(bytes[0]) });
        }
        let (signed, tag) = bytes.split_at(bytes.len() - TAG_BYTES);
        let verified = mac(key, direction, id, signed).verify_truncated_left(tag);
        verified.map_err(|_| Error::Malformed { what: "the tag of a speaker's message", at: signed.len() })?;
        let mut session = [0; 16];
        session.copy_from_slice(&signed[1..17]);
        let mut counter = [0; 8];
        counter.copy_from_slice(&signed[17..HEAD_BYTES]);
        let counter = u64::from_be_bytes(counter);
        Ok(Self { session: Session(session), counter, body: &signed[HEAD_BYTES..] })
    }

    /// Writes the message into `buffer` and answers how many bytes it took.
    ///
    /// # Errors
    /// When the buffer has no room for it, or it is longer than [`MESSAGE_BYTES_MAX`].
    pub fn emit(&self, key: &Key, direction: Direction, id: &str, buffer: &mut [u8]) -> Result<usize, Error> {
        const WHAT: &str = "a speaker's message";
        let (signed, length) = (HEAD_BYTES + self.body.len(), OVERHEAD_BYTES + self.body.len());
        if length > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge { what: WHAT, found: length, max: MESSAGE_BYTES_MAX });
        }
        let capacity = buffer.len();
        let message = buffer.get_mut(..length).ok_or(Error::Full { what: WHAT, capacity })?;
        message[0] = VERSION;
        message[1..17].copy_from_slice(&self.session.0);
        message[17..HEAD_BYTES].copy_from_slice(&self.counter.to_be_bytes());
        message[HEAD_BYTES..signed].copy_from_slice(self.body);
        let tag = mac(key, direction, id, &message[..signed]).finalize().into_bytes();
        message[signed..].copy_from_slice(&tag[..TAG_BYTES]);
        Ok(length)
    }
}

fn mac(key: &Key, direction: Direction, id: &str, signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    // The length keeps an id and what follows it apart. Longer ids than 255 bytes do not pass `is_id`.
    mac.update(&[direction.letter(), u8::try_from(id.len()).unwrap_or(u8::MAX)]);
    mac.update(id.as_bytes());
    mac.update(signed);
    mac
}
