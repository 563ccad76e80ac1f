//! Pictures as MP4 (ISO/IEC 14496-12), which browsers, players and archives read: init segments and fragments for what
//! flows, whole movies for what is kept.
//!
//! One video track, and one of sound where a camera's sound is wanted; 90,000 ticks a second, samples as the camera encoded
//! them. What is written here is written for live
//! pictures, too: the duration of a movie that is not over is nowhere claimed (`mvhd` 0, no `mehd`), because a browser
//! shows a movie of unknown length with the least delay.

mod fragment;
mod movie;
mod read;
mod sound;
#[cfg(test)]
mod tests;
mod track;

pub use fragment::{fragment, fragment_with_sound, retime};
pub use movie::{MovieLabel, MovieSample, MovieWriter, movie};
pub use read::{Fragment, Fragments, ReadSample, ReadSound, Samples, fragments, read_init};
pub use sound::{Sound, SoundSample};
pub use track::{Track, init_segment};

pub use super::{DecodeOrder, Times, is_random_access};

/// The number of the pictures' track.
const TRACK_ID: u32 = 1;
/// The number of the sound's.
const SOUND_TRACK_ID: u32 = 2;

/// Sample flags of a picture with which a decoder can begin: it depends on no other.
const FLAGS_KEY: u32 = 0x0200_0000;
/// Sample flags of any other picture: it depends on others, and is no sync sample.
const FLAGS_DELTA: u32 = 0x0101_0000;
/// The bit among sample flags that says "no sync sample".
const FLAG_NOT_SYNC: u32 = 0x0001_0000;

/// Why an MP4 could not be written or read.
#[derive(Debug)]
pub enum Mp4Error {
    /// The camera's parameters are no `avcC` or `hvcC` record.
    Parameters(mp4_atom::Error),
    /// A box is not as it should be.
    Box(mp4_atom::Error),
    /// Not of the form that this code writes, and why.
    Foreign(&'static str),
    /// Longer than an MP4 of this form can be.
    TooLarge,
}

impl core::fmt::Display for Mp4Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Parameters(error) => write!(f, "the camera's parameters are not as they should be: {error}"),
            Self::Box(error) => write!(f, "the MP4 is not as it should be: {error}"),
            Self::Foreign(why) => write!(f, "the MP4 is not of the form that is written here: {why}"),
            Self::TooLarge => write!(f, "the MP4 would be longer than 4 GiB"),
        }
    }
}

impl core::error::Error for Mp4Error {}

/// One picture to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// NAL units, each after its length in four bytes.
    pub data: &'a [u8],
    /// How long it is shown, in ticks.
    pub duration_90k: u32,
    /// How much later than decoded it is shown, in ticks.
    pub composition_90k: i32,
    /// Whether a decoder can begin with it.
    pub key: bool,
}

impl Sample<'_> {
    fn flags(&self) -> u32 {
        if self.key { FLAGS_KEY } else { FLAGS_DELTA }
    }
}
