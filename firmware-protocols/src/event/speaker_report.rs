//! How a loudspeaker is: proof of life, and what is wrong with it.

use minicbor::{Decode, Encode};

use super::{TEXT_BYTES_MAX, clip, word};
use crate::Error;
use crate::cbor;
use crate::order::NAME_BYTES_MAX;

/// How one loudspeaker is. Told when it changes, and every ten minutes while it does not: one of which nothing is heard for
/// longer than that is not known to be well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SpeakerReport<'a> {
    /// The loudspeaker, by the id that the configuration gives it.
    #[b(1)]
    pub speaker: &'a str,
    /// What is so.
    #[b(2)]
    pub state: SpeakerState<'a>,
    /// Since when it is so, in UTC milliseconds of the gateway's clock.
    #[n(3)]
    pub since_ms: i64,
    /// When it last proved that it is alive, in UTC milliseconds of the gateway's clock. `None`: not since the gateway
    /// started.
    #[n(4)]
    pub heard_ms: Option<i64>,
    /// What was seen, as a sentence for the technician.
    #[b(5)]
    pub detail: &'a str,
    /// The loudest that it is allowed here, 0 to 100.
    #[n(6)]
    pub volume_percent: u8,
    /// The broadcast that it plays now.
    #[b(7)]
    pub playing: Option<&'a str>,
}

impl<'a> SpeakerReport<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 11;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("speaker report", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = SpeakerReport {
            speaker: clip(self.speaker, NAME_BYTES_MAX),
            state: SpeakerState::from_name(clip(self.state.name(), TEXT_BYTES_MAX)),
            detail: clip(self.detail, TEXT_BYTES_MAX),
            playing: self.playing.map(|broadcast| clip(broadcast, NAME_BYTES_MAX)),
            ..*self
        };
        cbor::emit("speaker report", &clipped, buffer)
    }
}

word! {
    /// What is so with a loudspeaker.
    SpeakerState {
        /// It answers, and nothing is wrong with it.
        Ok = "ok",
        /// The gateway has just begun to ask it.
        Starting = "starting",
        /// It does not answer.
        Silent = "silent",
        /// It answers with another key than the one that was entered.
        Refused = "refused",
        /// It cannot play.
        Failed = "failed",
    }
}

impl SpeakerState<'_> {
    /// Whether somebody has to mend something. A word that is not known here is taken to be a fault.
    pub const fn is_fault(&self) -> bool {
        !matches!(self, Self::Ok | Self::Starting)
    }
}
