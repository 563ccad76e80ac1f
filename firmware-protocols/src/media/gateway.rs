//! What a gateway says on the media connection.

use super::bytes::{Reader, Writer, check_text};
use super::{Codec, REASON_BYTES_MAX, SoundCodec};
use crate::Error;

const TRACK: u8 = 1;
const FRAME: u8 = 2;
const STOPPED: u8 = 3;
const ANSWER: u8 = 4;
const INIT: u8 = 5;
const FRAGMENT: u8 = 6;
const GAP: u8 = 7;
const END: u8 = 8;
const SOUND_TRACK: u8 = 9;
const SOUND: u8 = 10;

/// The bit of a frame's flags that says that a decoder can begin with it.
const FLAG_KEY: u8 = 1;

/// The longest name of a codec, as RFC 6381 writes it.
const RFC6381_BYTES_MAX: usize = 64;

/// One picture of a live stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameView<'a> {
    /// The hub's number for the stream.
    pub stream: u32,
    /// Whether a decoder can begin with it.
    pub key: bool,
    /// When it is decoded, in ticks of 1/90000 s; never backwards within a track.
    pub decode_90k: u64,
    /// How much later it is shown; negative where a camera's own times are odd.
    pub composition_90k: i32,
    /// When the gateway received it, in UTC milliseconds of its own clock.
    pub captured_ms: i64,
    /// NAL units, each after its length in four bytes.
    pub data: &'a [u8],
}

/// A message from a gateway to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayMessage<'a> {
    /// What the frames of a stream are from now on. Comes before its first frame, and again when the camera changes.
    Track {
        /// The hub's number for the stream.
        stream: u32,
        /// How pictures are encoded.
        codec: Codec,
        /// Picture width in pixels.
        width: u16,
        /// Picture height in pixels.
        height: u16,
        /// The body of an `avcC` or `hvcC` box.
        parameters: &'a [u8],
    },
    /// One picture.
    Frame(FrameView<'a>),
    /// The stream's next track has sound, and what it is. A track without this before it has none.
    SoundTrack {
        /// The hub's number for the stream.
        stream: u32,
        /// How it is encoded.
        codec: SoundCodec,
        /// Samples a second.
        rate_hz: u32,
        /// One or two.
        channels: u8,
        /// AAC: the AudioSpecificConfig; FLAC: nothing.
        parameters: &'a [u8],
    },
    /// A piece of sound. It belongs to the frame that comes next; pieces follow each other without a hole.
    Sound {
        /// The hub's number for the stream.
        stream: u32,
        /// When it begins, on the frames' time line.
        decode_90k: u64,
        /// How long it sounds.
        duration_90k: u32,
        /// One AAC or FLAC frame.
        data: &'a [u8],
    },
    /// A stream that the hub wants does not flow, and why; it may flow later.
    Stopped {
        /// The hub's number for the stream.
        stream: u32,
        /// One of the camera states, and words for a technician after a colon.
        reason: &'a str,
    },
    /// The answer to an [`Ask`](super::HubMessage::Ask).
    Answer {
        /// Which question.
        request: u32,
        /// JSON, or the bytes that were asked for.
        body: &'a [u8],
    },
    /// The beginning of what a [`Fetch`](super::HubMessage::Fetch) asked for; comes again where the recording's form changes.
    Init {
        /// Which request.
        request: u32,
        /// The codec as RFC 6381 names it.
        rfc6381: &'a str,
        /// `ftyp` and `moov`.
        data: &'a [u8],
    },
    /// A piece of recording.
    Fragment {
        /// Which request.
        request: u32,
        /// When it begins, in UTC milliseconds of the gateway's clock.
        wall_ms: i64,
        /// How long it is.
        duration_ms: u32,
        /// `moof` and `mdat`; decode times count from [`FETCH_LEAD_MS`](super::FETCH_LEAD_MS) before the request's `from_ms`.
        data: &'a [u8],
    },
    /// Nothing was recorded in this time.
    Gap {
        /// Which request.
        request: u32,
        /// From, UTC milliseconds.
        from_ms: i64,
        /// To, UTC milliseconds.
        to_ms: i64,
    },
    /// Nothing more comes for a request.
    End {
        /// Which request.
        request: u32,
        /// Why; empty if all of it was sent.
        reason: &'a str,
    },
    /// Of a kind that is not known here.
    Unknown {
        /// The kind byte.
        kind: u8,
        /// What follows it.
        body: &'a [u8],
    },
}

impl<'a> GatewayMessage<'a> {
    /// Reads a message, which must be all of `bytes`.
    ///
    /// # Errors
    /// What is too short, too long, or has a value that is not allowed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("a media message of a gateway", bytes)?;
        let kind = reader.u8()?;
        let message = match kind {
            TRACK => {
                reader = reader.named("a track");
                Self::Track {
                    stream: reader.u32()?,
                    codec: Codec::from_number(reader.u8()?)?,
                    width: reader.u16()?,
                    height: reader.u16()?,
                    parameters: reader.rest(),
                }
            }
            FRAME => {
                reader = reader.named("a frame");
                Self::Frame(FrameView {
                    stream: reader.u32()?,
                    key: reader.u8()? & FLAG_KEY != 0,
                    decode_90k: reader.u64()?,
                    composition_90k: reader.i32()?,
                    captured_ms: reader.i64()?,
                    data: reader.rest(),
                })
            }
            STOPPED => {
                reader = reader.named("a stream's end");
                Self::Stopped { stream: reader.u32()?, reason: reader.rest_text(REASON_BYTES_MAX)? }
            }
            ANSWER => Self::Answer { request: reader.u32()?, body: reader.rest() },
            INIT => {
                reader = reader.named("the beginning of a recording");
                let request = reader.u32()?;
                let length = usize::from(reader.u8()?);
                Self::Init { request, rfc6381: reader.text(length)?, data: reader.rest() }
            }
            FRAGMENT => {
                reader = reader.named("a fragment");
                Self::Fragment {
                    request: reader.u32()?,
                    wall_ms: reader.i64()?,
                    duration_ms: reader.u32()?,
                    data: reader.rest(),
                }
            }
            GAP => {
                reader = reader.named("a gap");
                Self::Gap { request: reader.u32()?, from_ms: reader.i64()?, to_ms: reader.i64()? }
            }
            END => {
                reader = reader.named("a recording's end");
                Self::End { request: reader.u32()?, reason: reader.rest_text(REASON_BYTES_MAX)? }
            }
            SOUND_TRACK => {
                reader = reader.named("a track of sound");
                Self::SoundTrack {
                    stream: reader.u32()?,
                    codec: SoundCodec::from_number(reader.u8()?)?,
                    rate_hz: reader.u32()?,
                    channels: reader.u8()?,
                    parameters: reader.rest(),
                }
            }
            SOUND => {
                reader = reader.named("a piece of sound");
                Self::Sound {
                    stream: reader.u32()?,
                    decode_90k: reader.u64()?,
                    duration_90k: reader.u32()?,
                    data: reader.rest(),
                }
            }
            _ => Self::Unknown { kind, body: reader.rest() },
        };
        reader.end()?;
        Ok(message)
    }

    /// How many bytes [`GatewayMessage::emit`] writes.
    pub fn encoded_len(&self) -> usize {
        1 + match self {
            Self::Track { parameters, .. } => 4 + 1 + 2 + 2 + parameters.len(),
            Self::Frame(frame) => 4 + 1 + 8 + 4 + 8 + frame.data.len(),
            Self::SoundTrack { parameters, .. } => 4 + 1 + 4 + 1 + parameters.len(),
            Self::Sound { data, .. } => 4 + 8 + 4 + data.len(),
            Self::Stopped { reason, .. } | Self::End { reason, .. } => 4 + reason.len(),
            Self::Answer { body, .. } => 4 + body.len(),
            Self::Init { rfc6381, data, .. } => 4 + 1 + rfc6381.len() + data.len(),
            Self::Fragment { data, .. } => 4 + 8 + 4 + data.len(),
            Self::Gap { .. } => 4 + 8 + 8,
            Self::Unknown { body, .. } => body.len(),
        }
    }

    /// Writes the message to the front of `buffer` and answers how many bytes it took.
    ///
    /// # Errors
    /// A buffer that is too short, or a text or a message that is too long.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut writer = Writer::new("a media message", buffer, self.encoded_len())?;
        match *self {
            Self::Track { stream, codec, width, height, parameters } => {
                writer.u8(TRACK).u32(stream).u8(codec.number());
                writer.put(&width.to_be_bytes()).put(&height.to_be_bytes()).put(parameters)
            }
            Self::Frame(frame) => {
                writer.u8(FRAME).u32(frame.stream).u8(u8::from(frame.key) * FLAG_KEY);
                writer.put(&frame.decode_90k.to_be_bytes()).put(&frame.composition_90k.to_be_bytes());
                writer.i64(frame.captured_ms).put(frame.data)
            }
            Self::Stopped { stream, reason } => {
                check_text("a reason", reason, REASON_BYTES_MAX)?;
                writer.u8(STOPPED).u32(stream).put(reason.as_bytes())
            }
            Self::Answer { request, body } => writer.u8(ANSWER).u32(request).put(body),
            Self::Init { request, rfc6381, data } => {
                check_text("a codec's name", rfc6381, RFC6381_BYTES_MAX)?;
                writer.u8(INIT).u32(request).short_text(rfc6381).put(data)
            }
            Self::Fragment { request, wall_ms, duration_ms, data } => {
                writer.u8(FRAGMENT).u32(request).i64(wall_ms).u32(duration_ms).put(data)
            }
            Self::Gap { request, from_ms, to_ms } => writer.u8(GAP).u32(request).i64(from_ms).i64(to_ms),
            Self::End { request, reason } => {
                check_text("a reason", reason, REASON_BYTES_MAX)?;
                writer.u8(END).u32(request).put(reason.as_bytes())
            }
            Self::SoundTrack { stream, codec, rate_hz, channels, parameters } => {
                writer.u8(SOUND_TRACK).u32(stream).u8(codec.number()).u32(rate_hz).u8(channels).put(parameters)
            }
            Self::Sound { stream, decode_90k, duration_90k, data } => {
                writer.u8(SOUND).u32(stream).put(&decode_90k.to_be_bytes()).u32(duration_90k).put(data)
            }
            Self::Unknown { kind, body } => writer.u8(kind).put(body),
        };
        Ok(writer.length())
    }
}
