//! What sounds in the village: its loudspeakers, what a press sets off, sounds at hand, the night.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::number::number;
use crate::device::speaker::Key;
use crate::id::ContentId;

/// A loudspeaker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Speaker {
    /// Its name everywhere; opaque, ASCII, at most 64 bytes.
    #[n(1)]
    pub id: String,
    /// What people call it.
    #[n(2)]
    pub name: String,
    /// How it is reached.
    #[n(3)]
    pub kind: SpeakerKind,
    /// Of one on the village's broker: its serial number, which is part of its topics. Of the gateway's own line-out: ALSA's
    /// name of it, or empty for the default.
    #[n(4)]
    #[cbor(default)]
    pub device: String,
    /// What it shares with its gateway; only one on the village's broker has any.
    #[n(5)]
    pub key: Option<Key>,
    /// The loudest that it is allowed, 0 to 100, whatever an order says.
    #[n(6)]
    pub volume_percent: u8,
    /// How long its amplifier takes before it can be heard, in milliseconds.
    #[n(7)]
    #[cbor(default)]
    pub warm_up_ms: u16,
}

/// What a press of a device sets off in the village, beside its light.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Response {
    /// The device's key, or [`ANY_DEVICE`](super::ANY_DEVICE).
    #[n(1)]
    pub device: String,
    /// Who is to hear of it.
    #[n(2)]
    pub kind: ResponseKind,
    /// Whether what becomes of the press is spoken, too.
    #[n(3)]
    #[cbor(default)]
    pub speaks: bool,
    /// The loudspeakers that sound, by their ids; none of them named means all.
    #[n(4)]
    #[cbor(default)]
    pub speakers: Vec<String>,
    /// How long the siren sounds, in seconds; it ends after [`Response::SIREN_S_MAX`] in any case.
    #[n(5)]
    #[cbor(default)]
    pub siren_s: u8,
}

impl Response {
    /// No siren sounds longer than a minute.
    pub const SIREN_S_MAX: u8 = 60;
}

/// A sound that is to be at hand before it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NamedSound {
    /// What it is for: `sent`, `taken`, `nobody`, `siren`, `chime`, `tone`.
    #[n(1)]
    pub name: String,
    /// Its file.
    #[n(2)]
    pub content: ContentId,
    /// How long the file is, in bytes.
    #[n(3)]
    pub bytes: u64,
    /// How long it sounds, in milliseconds.
    #[n(4)]
    pub content_ms: u32,
}

/// The hours in which nothing but danger may be heard, in minutes of the village's clock (UTC+8). It may go past midnight; it
/// begins with its first minute and ends before its last. The same minute twice: there is no night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Night {
    /// The first minute, 0 to 1,439.
    #[n(1)]
    pub from_minute: u16,
    /// The first minute of the day after it, 0 to 1,439.
    #[n(2)]
    pub to_minute: u16,
}

impl Night {
    /// All of China keeps one time.
    const OFFSET_MS: i64 = 8 * 3_600_000;
    const DAY_MINUTES: i64 = 24 * 60;

    /// Whether it is night at a time in UTC milliseconds.
    pub fn is_at(self, utc_ms: i64) -> bool {
        let minute = utc_ms.saturating_add(Self::OFFSET_MS).div_euclid(60_000).rem_euclid(Self::DAY_MINUTES);
        let (from, to) = (i64::from(self.from_minute), i64::from(self.to_minute));
        if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }
}

impl Default for Night {
    /// From ten in the evening to six in the morning.
    fn default() -> Self {
        Self { from_minute: 22 * 60, to_minute: 6 * 60 }
    }
}

number! {
    /// How a loudspeaker is reached. One of an unknown kind is asked for on the village's broker, where nothing answers.
    SpeakerKind {
        /// Our own, on the village's MQTT broker.
        Mqtt = 1,
        /// The gateway's sound card, with an amplifier behind it.
        LineOut = 2
    } else Mqtt
}

number! {
    /// Who is to hear of a press. What is unknown is silent.
    #[derive(Default)]
    ResponseKind {
        /// Nobody but those who are called.
        #[default]
        Silent = 1,
        /// The neighbours: a voice.
        Neighbours = 2,
        /// Everybody: a siren.
        Siren = 3
    } else Silent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_night_goes_past_midnight_and_ends_in_the_morning() {
        // 2026-11-23T00:00 in the village.
        let midnight_ms = 1_795_363_200_000;
        let at = |hour: i64, minute: i64| midnight_ms + (hour * 60 + minute) * 60_000;
        let night = Night::default();
        for (hour, minute, expected) in
            [(0, 0, true), (5, 59, true), (6, 0, false), (12, 0, false), (21, 59, false), (22, 0, true), (47, 59, true)]
        {
            assert_eq!(night.is_at(at(hour, minute)), expected, "{hour}:{minute:02}");
        }
        let noon = Night { from_minute: 12 * 60, to_minute: 13 * 60 };
        assert!(noon.is_at(at(12, 30)) && !noon.is_at(at(13, 0)) && !noon.is_at(at(0, 0)));
        let none = Night { from_minute: 7, to_minute: 7 };
        assert!(!none.is_at(at(0, 7)));
        for utc_ms in [i64::MIN, -1, i64::MAX] {
            let _ = night.is_at(utc_ms); // No time panics.
        }
    }
}
