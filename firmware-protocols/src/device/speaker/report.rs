//! What a speaker tells its gateway.

use minicbor::{Decode, Encode};

use crate::Error;
use crate::cbor;
use crate::event::{TEXT_BYTES_MAX, clip};

/// What a speaker tells its gateway. The number is the first element of the body's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Report<'a> {
    /// The answer to an ask: proof of life.
    #[n(1)]
    Alive(#[b(0)] Alive<'a>),
    /// How far a play has come.
    #[n(2)]
    Progress(#[b(0)] Progress<'a>),
}

/// A speaker is alive, and in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Alive<'a> {
    /// From the ask that this answers.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub challenge: [u8; 16],
    /// Name and version of its program.
    #[b(2)]
    pub firmware: &'a str,
    /// How long its program has been running.
    #[n(3)]
    pub uptime_s: u32,
    /// What it is playing.
    #[n(4)]
    pub playing: Option<u64>,
    /// Counter of the last command that it obeyed in this session; `None`: of none yet. A gateway that has started again
    /// goes on from there.
    #[n(5)]
    pub obeyed: Option<u64>,
}

/// How far a play has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Progress<'a> {
    /// Which play.
    #[n(1)]
    pub play: u64,
    /// How far.
    #[n(2)]
    pub state: State,
    /// How much sound went to the amplifier so far, all times together.
    #[n(3)]
    pub played_ms: u32,
    /// How often it was played to its end.
    #[n(4)]
    pub times: u8,
    /// Why it failed, as a sentence.
    #[b(5)]
    pub detail: Option<&'a str>,
}

/// How far a play has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum State {
    /// The sound is being fetched.
    #[n(1)]
    Fetching,
    /// The first sample has left.
    #[n(2)]
    Started,
    /// All of it was played, as often as it was asked for.
    #[n(3)]
    Finished,
    /// It was stopped by a command.
    #[n(4)]
    Stopped,
    /// Another play took its place.
    #[n(5)]
    Replaced,
    /// It could not be played, or not to its end.
    #[n(6)]
    Failed,
}

impl State {
    /// Whether nothing more will come of this play.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Fetching | Self::Started)
    }
}

impl<'a> Report<'a> {
    /// Reads the body of a message, which must be all of `bytes`.
    ///
    /// # Errors
    /// When it is no report that is known.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("a speaker's report", bytes)
    }

    /// Writes the body into `buffer`, its texts clipped, and answers how many bytes it took.
    ///
    /// # Errors
    /// When the buffer has no room for it.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = match *self {
            Self::Alive(alive) => Report::Alive(Alive { firmware: clip(alive.firmware, TEXT_BYTES_MAX), ..alive }),
            Self::Progress(progress) => Report::Progress(Progress {
                detail: progress.detail.map(|detail| clip(detail, TEXT_BYTES_MAX)),
                ..progress
            }),
        };
        cbor::emit("a speaker's report", &clipped, buffer)
    }
}
