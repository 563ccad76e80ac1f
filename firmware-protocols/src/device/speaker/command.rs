//! What a gateway tells its speaker.

use minicbor::{Decode, Encode};

use super::URL_BYTES_MAX;
use crate::Error;
use crate::cbor;

/// What a gateway tells its speaker. The number is the first element of the body's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command<'a> {
    /// Answer with [`Alive`](super::Alive) and this challenge. Taken in any session: an answer harms nobody.
    #[n(1)]
    Ask(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]),
    /// Fetch a sound and keep it, so that it can be played at once later.
    #[n(2)]
    Keep(#[b(0)] Keep<'a>),
    /// Play a sound that was kept, or fetch it first.
    #[n(3)]
    Play(#[b(0)] Play<'a>),
    /// Sound what every speaker has built in.
    #[n(4)]
    Ring(#[n(0)] Ring),
    /// Stop this play, or whatever is playing.
    #[n(5)]
    Stop(#[n(0)] Option<u64>),
}

/// A sound, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Keep<'a> {
    /// Where the gateway serves it: `http://…`, at most [`URL_BYTES_MAX`] bytes.
    #[b(1)]
    pub url: &'a str,
    /// SHA-256 of its bytes. A speaker plays nothing else, wherever it came from.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
    /// How many bytes it has.
    #[n(3)]
    pub bytes: u32,
}

/// A sound to be played now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Play<'a> {
    /// Names this play in reports. The same number again is the same play and does not start it again.
    #[n(1)]
    pub play: u64,
    /// What to play.
    #[b(2)]
    pub sound: Keep<'a>,
    /// How often, 1 to 20.
    #[n(3)]
    pub times: u8,
    /// Silence between two times.
    #[n(4)]
    pub gap_ms: u32,
    /// Of the speaker's own greatest volume, 0 to 100.
    #[n(5)]
    pub volume_percent: u8,
    /// How far into the sound its first time begins: where it was when something greater came. 0 if it is not sent.
    #[n(6)]
    #[cbor(default)]
    pub from_ms: u32,
}

/// Sounds that every speaker has built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Sound {
    /// Two calm tones before a notice.
    #[n(1)]
    Chime,
    /// The alarm.
    #[n(2)]
    Siren,
    /// A tone for technicians: 1 kHz.
    #[n(3)]
    Test,
}

/// A built-in sound for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ring {
    /// Names this play in reports.
    #[n(1)]
    pub play: u64,
    /// Which.
    #[n(2)]
    pub sound: Sound,
    /// How long, at most [`Ring::LENGTH_MS_MAX`]; the speaker ends by itself.
    #[n(3)]
    pub length_ms: u32,
    /// Of the speaker's own greatest volume, 0 to 100.
    #[n(4)]
    pub volume_percent: u8,
}

impl Ring {
    /// No siren sounds longer than a minute.
    pub const LENGTH_MS_MAX: u32 = 60_000;
}

impl<'a> Command<'a> {
    /// Reads the body of a message, which must be all of `bytes`.
    ///
    /// # Errors
    /// When it is no command that is known, or a value in it is not allowed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let command: Self = cbor::parse("a speaker's command", bytes)?;
        command.check()?;
        Ok(command)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    ///
    /// # Errors
    /// When the buffer has no room for it, or a value in it is not allowed.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        cbor::emit("a speaker's command", self, buffer)
    }

    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Ask(_) | Self::Stop(_) => Ok(()),
            Self::Keep(keep) => keep.check(),
            Self::Play(play) => {
                play.sound.check()?;
                within("a sound is played 1 to 20 times", play.times.into(), 1..=20)?;
                within("a volume is 0 to 100", play.volume_percent.into(), 0..=100)?;
                within("a gap is at most 60,000 ms", play.gap_ms.into(), 0..=60_000)
            }
            Self::Ring(ring) => {
                within("a volume is 0 to 100", ring.volume_percent.into(), 0..=100)?;
                within("a built-in sound lasts 1 to 60,000 ms", ring.length_ms.into(), 1..=Ring::LENGTH_MS_MAX.into())
            }
        }
    }
}

impl Keep<'_> {
    fn check(&self) -> Result<(), Error> {
        if self.url.len() > URL_BYTES_MAX {
            return Err(Error::TooLarge { what: "a sound's address", found: self.url.len(), max: URL_BYTES_MAX });
        }
        if !self.url.starts_with("http://") {
            return Err(Error::Malformed { what: "a sound's address", at: 0 });
        }
        Ok(())
    }
}

fn within(what: &'static str, found: u64, allowed: core::ops::RangeInclusive<u64>) -> Result<(), Error> {
    if allowed.contains(&found) { Ok(()) } else { Err(Error::Refused { what, found }) }
}
