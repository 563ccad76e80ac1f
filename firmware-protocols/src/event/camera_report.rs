//! How a camera is: proof of life, and which of the things that can be wrong with it is wrong.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;

/// The longest camera id, in bytes. Ids are the hub's, opaque ASCII; a gateway repeats them.
pub const CAMERA_ID_BYTES_MAX: usize = 64;

/// How one camera is. Told when it changes, and every ten minutes while it does not: a camera of which nothing is heard for
/// longer than that is not known to be well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CameraReport<'a> {
    /// The camera, by the id that its configuration gives it.
    #[b(1)]
    pub camera: &'a str,
    /// The worst of what is so.
    #[b(2)]
    pub state: CameraState<'a>,
    /// Since when it is so, in UTC milliseconds of the gateway's clock.
    #[n(3)]
    pub since_ms: i64,
    /// What was seen, as a sentence for the technician. Never holds an address's credentials.
    #[b(4)]
    pub detail: &'a str,
    /// What the main stream carries. `None`: not seen yet.
    #[b(5)]
    pub main: Option<StreamFacts<'a>>,
    /// What the sub stream carries. `None`: there is none, or it was not seen yet.
    #[b(6)]
    pub sub: Option<StreamFacts<'a>>,
    /// The beginning of the oldest recording. `None`: nothing is recorded.
    #[n(7)]
    pub recorded_from_ms: Option<i64>,
    /// How many bytes its recordings take.
    #[n(8)]
    pub recorded_bytes: Option<u64>,
    /// When the last frame came, in UTC milliseconds of the gateway's clock. `None`: none came since the gateway started.
    #[n(9)]
    pub last_frame_ms: Option<i64>,
    /// When this was so, in UTC milliseconds of the gateway's clock.
    #[n(10)]
    pub heard_ms: i64,
}

/// What one stream of a camera carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StreamFacts<'a> {
    /// `h264`, `h265`, or a word that is not known here.
    #[b(1)]
    pub codec: &'a str,
    /// In pixels.
    #[n(2)]
    pub width: u16,
    /// In pixels.
    #[n(3)]
    pub height: u16,
}

impl<'a> CameraReport<'a> {
    /// The kind of an entry with this body.
    pub const KIND: u16 = 7;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("camera report", bytes)
    }

    /// Writes the body into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let clipped = CameraReport {
            camera: clip(self.camera, CAMERA_ID_BYTES_MAX),
            state: CameraState::from_name(clip(self.state.name(), TEXT_BYTES_MAX)),
            detail: clip(self.detail, TEXT_BYTES_MAX),
            main: self.main.map(StreamFacts::clipped),
            sub: self.sub.map(StreamFacts::clipped),
            ..*self
        };
        cbor::emit("camera report", &clipped, buffer)
    }
}

impl StreamFacts<'_> {
    fn clipped(self) -> Self {
        Self { codec: clip(self.codec, TEXT_BYTES_MAX), ..self }
    }
}

/// What is so with a camera. On the wire it is a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CameraState<'a> {
    /// Frames come, and nothing is wrong with them.
    Ok,
    /// The gateway has just begun to ask it.
    Starting,
    /// Nothing answers at its address.
    Unreachable,
    /// It does not take the credentials, or takes no further session.
    Refused,
    /// It answers, and has no stream of this name.
    NoSuchStream,
    /// Its stream is of a codec that is not understood.
    Unsupported,
    /// It plays, and no frame comes.
    NoFrames,
    /// The same picture comes again and again.
    Frozen,
    /// The picture is black.
    Black,
    /// Frames come, and a stretch of them was not recorded.
    RecordingGap,
    /// Its clock disagrees with the gateway's.
    ClockOff,
    /// There is no room to record it.
    DiskFull,
    /// A word that this code does not know.
    Other(&'a str),
}

impl<'a> CameraState<'a> {
    /// Every state that has a name here, well ones first.
    pub const ALL: [CameraState<'static>; 12] = [
        CameraState::Ok,
        CameraState::Starting,
        CameraState::Unreachable,
        CameraState::Refused,
        CameraState::NoSuchStream,
        CameraState::Unsupported,
        CameraState::NoFrames,
        CameraState::Frozen,
        CameraState::Black,
        CameraState::RecordingGap,
        CameraState::ClockOff,
        CameraState::DiskFull,
    ];

    /// The state with this name.
    pub fn from_name(name: &'a str) -> Self {
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Other(name))
    }

    /// Its name on the wire, in storage and on pages.
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Ok => "ok",
            Self::Starting => "starting",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::NoSuchStream => "no_such_stream",
            Self::Unsupported => "unsupported",
            Self::NoFrames => "no_frames",
            Self::Frozen => "frozen",
            Self::Black => "black",
            Self::RecordingGap => "recording_gap",
            Self::ClockOff => "clock_off",
            Self::DiskFull => "disk_full",
            Self::Other(name) => name,
        }
    }

    /// Whether somebody has to mend something. A word that is not known here is taken to be a fault.
    pub const fn is_fault(&self) -> bool {
        !matches!(self, Self::Ok | Self::Starting)
    }
}

impl<C> Encode<C> for CameraState<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(self.name())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for CameraState<'b> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.str().map(Self::from_name)
    }
}
