//! How far a loudspeaker has come with a broadcast.

use minicbor::{Decode, Encode};

use super::{TEXT_BYTES_MAX, clip, word};
use crate::Error;
use crate::cbor;
use crate::order::NAME_BYTES_MAX;

/// How far one loudspeaker has come with one broadcast. Told on each change, at most once a second for each loudspeaker; the
/// last one is always told, also when the gateway was killed in between. A later report takes the place of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PlayReport<'a> {
    /// The broadcast, by the id that its order gives it.
    #[b(1)]
    pub broadcast: &'a str,
    /// The loudspeaker, by the id that the configuration gives it.
    #[b(2)]
    pub speaker: &'a str,
    /// How far it has come.
    #[b(3)]
    pub state: PlayState<'a>,
    /// How often it was played to its end.
    #[n(4)]
    pub times: u8,
    /// How much of it was played, all times together. Whether that was heard, nobody measured.
    #[n(5)]
    pub played_ms: u32,
    /// Why, as a sentence; empty where there is nothing to say.
    #[b(6)]
    pub detail: &'a str,
    /// When this was so, in UTC milliseconds of the gateway's clock.
    #[n(7)]
    pub at_ms: i64,
}

impl<'a> PlayReport<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 9;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("play report", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = PlayReport {
            broadcast: clip(self.broadcast, NAME_BYTES_MAX),
            speaker: clip(self.speaker, NAME_BYTES_MAX),
            state: PlayState::from_name(clip(self.state.name(), TEXT_BYTES_MAX)),
            detail: clip(self.detail, TEXT_BYTES_MAX),
            ..*self
        };
        cbor::emit("play report", &clipped, buffer)
    }
}

word! {
    /// How far a loudspeaker has come with a broadcast.
    PlayState {
        /// It will play as soon as it can: it is away, or something goes before it.
        Waiting = "waiting",
        /// The sound is on its way to the village, or to the loudspeaker.
        Fetching = "fetching",
        /// The first sample has left.
        Playing = "playing",
        /// All of it was played, as often as it was ordered.
        Played = "played",
        /// It was broken off and does not go on: something came before it, or the gateway was killed.
        Interrupted = "interrupted",
        /// It could not be played, or not to its end.
        Failed = "failed",
        /// Its time was over before it could be played.
        Expired = "expired",
        /// Somebody stopped it.
        Stopped = "stopped",
        /// The gateway's judge did not let it.
        Refused = "refused",
    }
}

impl PlayState<'_> {
    /// Whether nothing more will come of it. A word that is not known here may yet be followed by another.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Played | Self::Interrupted | Self::Failed | Self::Expired | Self::Stopped | Self::Refused)
    }
}
