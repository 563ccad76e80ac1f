//! Let this be heard, and: be silent.

use minicbor::{Decode, Encode};

use super::List;
use super::number::known_number;
use crate::Error;
use crate::cbor;

/// The most loudspeakers that one order names; who needs more names none, which means all.
pub const SPEAKERS_MAX: usize = 64;

/// Let the content of the order be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Broadcast<'a> {
    /// The broadcast's name: the same name is the same broadcast, which is started once. At most 64 bytes.
    #[b(1)]
    pub id: &'a str,
    /// What sort of sound the content is, such as `audio/ogg`.
    #[b(2)]
    pub media_type: &'a str,
    /// How long the content is, in bytes.
    #[n(3)]
    pub bytes: u64,
    /// Which loudspeakers, by their ids; none of them named means all of the village.
    #[b(4)]
    pub speakers: List<'a, &'a str, SPEAKERS_MAX>,
    /// How often it is heard, at least once.
    #[n(5)]
    pub times: u8,
    /// How long it is silent in between, in milliseconds.
    #[n(6)]
    pub pause_ms: u32,
    /// What it comes before, and after.
    #[n(7)]
    pub priority: Priority,
    /// What becomes of it when something comes before it.
    #[n(8)]
    pub interrupted: Interrupted,
    /// Whether a chime goes before it.
    #[n(9)]
    pub chime: bool,
    /// How loud, 0 to 100; never louder than the order's ceiling.
    #[n(10)]
    pub volume_percent: u8,
    /// How long the content sounds once, in milliseconds, so that the order's longest length can be judged beforehand.
    #[n(11)]
    pub content_ms: u32,
    /// The region that the whole of it was given for, by its digits: this order may be one of many.
    #[b(12)]
    pub reach: &'a str,
    /// How many people stand behind it. Beyond one village it takes two.
    #[n(13)]
    pub persons: u8,
}

/// Be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stop<'a> {
    /// Which broadcast; `None`: all that sounds and all that waits.
    #[b(1)]
    pub id: Option<&'a str>,
}

/// What comes before what, the greater before the lesser. On the wire a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A programme that runs by the clock.
    Programme,
    /// A notice.
    Notice,
    /// Somebody speaks now.
    Live,
    /// What a press sets off.
    AlarmVoice,
    /// Danger.
    Emergency,
}

/// What becomes of a sound when a greater one comes. On the wire a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interrupted {
    /// It is over.
    Drop,
    /// It goes on where it was.
    Resume,
    /// It begins again.
    Restart,
}

impl<'a> Broadcast<'a> {
    /// The kind of an order with this body.
    pub const KIND: u16 = 2;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("broadcast", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("broadcast", self, buffer)
    }

    /// How long it sounds at most: each time, and the pauses in between.
    pub const fn whole_ms(&self) -> u64 {
        let times = self.times as u64;
        times * self.content_ms as u64 + times.saturating_sub(1) * self.pause_ms as u64
    }
}

impl<'a> Stop<'a> {
    /// The kind of an order with this body.
    pub const KIND: u16 = 3;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("stop", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("stop", self, buffer)
    }
}

known_number!(Priority, "a priority is 1 to 5", Programme = 1, Notice = 2, Live = 3, AlarmVoice = 4, Emergency = 5);
known_number!(Interrupted, "what becomes of an interrupted sound is 0 to 2", Drop = 0, Resume = 1, Restart = 2);
