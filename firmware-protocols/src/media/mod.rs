//! The media connection: one WebSocket that a gateway opens to the hub when it is called, for pictures up and orders for
//! pictures down; and the MP4 in which pictures are kept and shown.
//!
//! It is binary. A message is one kind byte, a fixed header (big endian), and a payload; `docs/protocol.md` lists them.
//! Pictures never travel over MQTT: what does is the call, which is a [`HubMessage::Leases`] on `tl/1/{site}/call`.
//!
//! | File             | What it turns into meaning                                                    |
//! | ---------------- | ----------------------------------------------------------------------------- |
//! | `gateway`        | what a gateway says: tracks, frames, answers, recordings                      |
//! | `hub`            | what the hub says: which streams it wants, what it asks, how much it can take |
//! | `decode_order`   | presentation times in decode order → times that a decoder can be fed with     |
//! | `decoder`        | a gateway's pipe to its decoding helper                                       |
//! | `nal`            | where a decoder can begin, looked up in the bytes themselves                  |
//! | `mp4`            | init segments, fragments and whole movies (feature `mp4`)                     |
//!
//! No input panics. A kind that is not known is kept as such, so that a newer peer is understood as far as possible.

mod bytes;
mod decode_order;
pub mod decoder;
mod gateway;
mod hub;
#[cfg(feature = "mp4")]
pub mod mp4;
mod nal;
#[cfg(test)]
mod tests;

use crate::Error;

pub use decode_order::{DecodeOrder, REORDER_FRAMES_MAX, Times};
pub use gateway::{FrameView, GatewayMessage};
pub use hub::{HubMessage, Lease, Leases};
pub use nal::{LengthPrefixed, is_random_access};

/// The longest message. A keyframe of a 4K camera has about 1 MB; what is longer is not sent.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest id of a camera, in bytes of ASCII.
pub const CAMERA_ID_BYTES_MAX: usize = 64;

/// The longest text that says why something ended.
pub const REASON_BYTES_MAX: usize = 256;

/// Streams that one set of leases can name: more than the cameras of a gateway, in both qualities.
pub const LEASES_MAX: usize = 64;

/// How long a lease holds without being repeated, in milliseconds.
pub const LEASE_MS: u64 = 10_000;

/// How often the hub repeats its leases, in milliseconds: two repetitions may get lost.
pub const LEASE_REPEAT_MS: u64 = 3_000;

/// A fetched fragment's decode time counts from so many milliseconds before the fetch's `from`, because what is fetched begins
/// with the keyframe before it.
pub const FETCH_LEAD_MS: i64 = 60_000;

/// Ticks per second of every media time here.
pub const TIMESCALE: u32 = 90_000;

/// How a camera's pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264, also called AVC.
    H264,
    /// H.265, also called HEVC.
    H265,
}

impl Codec {
    /// As on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
        }
    }

    /// As pages and records name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
        }
    }

    /// The codec of a number on the wire.
    ///
    /// # Errors
    /// A number that stands for no codec known here.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::H264),
            2 => Ok(Self::H265),
            _ => Err(Error::Refused { what: "a codec is 1 (H.264) or 2 (H.265)", found: u64::from(number) }),
        }
    }
}

/// How a camera's sound is encoded where it is kept and shown. What a camera sends as G.711 becomes FLAC in the village.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SoundCodec {
    /// AAC, as the camera sent it.
    Aac,
    /// FLAC, 16 bits.
    Flac,
}

impl SoundCodec {
    /// As on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Aac => 1,
            Self::Flac => 2,
        }
    }

    /// The codec of a number on the wire.
    ///
    /// # Errors
    /// A number that stands for no codec known here.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::Aac),
            2 => Ok(Self::Flac),
            _ => Err(Error::Refused { what: "a sound's codec is 1 (AAC) or 2 (FLAC)", found: u64::from(number) }),
        }
    }
}

/// The rates of sound that cameras have.
pub const SOUND_RATES_HZ: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// The most channels of sound.
pub const SOUND_CHANNELS_MAX: u8 = 2;

/// The longest FLAC frame, in samples of one channel; longer packets become several.
pub const SOUND_FRAME_SAMPLES_MAX: u16 = 4_096;

/// Which of a camera's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quality {
    /// The large picture.
    Main,
    /// The small picture, for tiles and narrow lines.
    Sub,
}

impl Quality {
    /// As on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Main => 0,
            Self::Sub => 1,
        }
    }

    /// As pages and records name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Sub => "sub",
        }
    }

    /// The quality of a name. `None`: no such quality.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "main" => Some(Self::Main),
            "sub" => Some(Self::Sub),
            _ => None,
        }
    }

    /// The quality of a number on the wire.
    ///
    /// # Errors
    /// A number that stands for no quality.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Main),
            1 => Ok(Self::Sub),
            _ => Err(Error::Refused { what: "a quality is 0 (main) or 1 (sub)", found: u64::from(number) }),
        }
    }
}
