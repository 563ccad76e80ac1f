//! What cameras hear, where somebody decided that it is kept.
//!
//! ```text
//! session ─► Heard ─► Microphone (line, FLAC) ─► pieces, which ride on the next picture
//! ```
//!
//! Sound has no way of its own: its pieces belong to the picture that comes after them, and go wherever that goes: into the ring,
//! the recorder's groups, evidence, to viewers. What drops a picture drops its sound, what counts bytes counts both. A camera
//! whose sound is off has no microphone here, and pays nothing. Sound never costs a picture: what cannot be taken is left out
//! and said.
//!
//! | File   | What it knows                                                                      |
//! | ------ | ---------------------------------------------------------------------------------- |
//! | `line` | where pieces stand on the pictures' time line; silence where nothing came (pure)   |
//! | `g711` | G.711 → samples                                                                    |
//! | `flac` | samples → FLAC, which browsers play                                                |

mod flac;
mod g711;
mod line;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use retina::client::{Described, Session};
use retina::codec::ParametersRef;
use tongluo_protocols::media::mp4::Sound;
use tongluo_protocols::media::{SOUND_CHANNELS_MAX, SOUND_RATES_HZ, SoundCodec};

use g711::Law;
pub(super) use line::Pictures;
use line::{Line, Verdict};

/// Pieces that one picture carries: 20 s in packets of 20 ms, which is longer than a session waits for a keyframe.
pub(super) const PIECES_MAX: usize = 1_000;

/// … and their bytes: a quarter of a megabyte fits a message of the media connection beside the largest picture.
const PIECES_BYTES_MAX: usize = 256 * 1024;

/// A microphone that sends nothing for so long is broken rather than one that leaves out silence.
const DEAD_MS: u64 = 60_000;

/// AAC-LC among the object types of ISO/IEC 14496-3.
const AAC_LC: u8 = 2;

/// Samples of an AAC frame.
const AAC_FRAME_SAMPLES: u32 = 1_024;

/// Frames of AAC-LC in which nothing sounds, for one channel and for two, at any rate: the shortest that FFmpeg writes.
const AAC_SILENCE: [&[u8]; 2] = [b"\x01\x18\x20\x07", b"\x21\x10\x04\x60\x8c\x1c"];

/// What a camera sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Format {
    /// What becomes of it.
    pub(super) sound: Sound,
    /// `None`: it is taken as it is.
    law: Option<Law>,
}

impl Format {
    fn g711(law: Law, rate_hz: u32) -> Self {
        Self { sound: Sound { codec: SoundCodec::Flac, rate_hz, channels: 1, parameters: Vec::new() }, law: Some(law) }
    }
}

/// A piece as it came.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// The camera's time stamp in ticks of 90 kHz.
    pub(super) stamp_90k: i64,
    /// Monotonic.
    pub(super) arrived_ms: u64,
    /// Samples of one channel.
    pub(super) samples: u32,
    /// An AAC frame, or as many bytes of G.711 as there are samples.
    pub(super) data: Bytes,
}

/// A piece of sound on its stream's time line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    /// When it begins; where the piece before it ends.
    pub(crate) decode_90k: u64,
    /// How long it sounds, in ticks.
    pub(crate) duration_90k: u32,
    /// An AAC or FLAC frame.
    pub(crate) data: Bytes,
}

/// The stream to set up, and what it carries; or why there is none to be taken, as a sentence.
pub(super) fn choose(session: &Session<Described>) -> Result<(usize, Format), String> {
    let mut why = "no sound: the camera sends none".to_owned();
    for (index, stream) in session.streams().iter().enumerate().filter(|(_, stream)| stream.media() == "audio") {
        let channels = stream.channels().map_or(1, u16::from);
        let parameters = match stream.parameters() {
            Some(ParametersRef::Audio(parameters)) => parameters.extra_data(),
            _ => &[],
        };
        match format(stream.encoding_name(), stream.clock_rate_hz(), channels, parameters) {
            Ok(format) => return Ok((index, format)),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

fn format(codec: &str, rate_hz: u32, channels: u16, parameters: &[u8]) -> Result<Format, String> {
    if !SOUND_RATES_HZ.contains(&rate_hz) {
        return Err(format!("no sound: {rate_hz} Hz is no rate that is taken"));
    }
    let channels = u8::try_from(channels).ok().filter(|channels| (1..=SOUND_CHANNELS_MAX).contains(channels));
    match (codec, channels) {
        ("pcma", Some(1)) => Ok(Format::g711(Law::A, rate_hz)),
        ("pcmu", Some(1)) => Ok(Format::g711(Law::Mu, rate_hz)),
        ("mpeg4-generic", Some(channels)) if is_plain_aac(parameters) => {
            let sound = Sound { codec: SoundCodec::Aac, rate_hz, channels, parameters: parameters.to_vec() };
            Ok(Format { sound, law: None })
        }
        ("pcma" | "pcmu" | "mpeg4-generic", _) => {
            Err("no sound: the camera sends it in an unusual form; set it to plain AAC (LC) or to G.711, one channel"
                .to_owned())
        }
        _ => Err(format!("no sound: its codec is {codec}; set the camera to AAC or G.711")),
    }
}

/// AAC-LC in frames of 1024 samples.
fn is_plain_aac(config: &[u8]) -> bool {
    config.len() >= 2 && config[0] >> 3 == AAC_LC && config[1] & 0b100 == 0
}

/// One stream's microphone; lives as long as the stream's sound keeps its form.
pub(super) struct Microphone {
    format: Format,
    line: Line,
    /// The number of the next FLAC sample.
    position: u64,
    pieces: Vec<Piece>,
    pieces_bytes: usize,
    heard_at_ms: u64,
}

impl Microphone {
    pub(super) fn new(format: Format, now_ms: u64) -> Self {
        let line = Line::new(format.sound.rate_hz);
        Self { format, line, position: 0, pieces: Vec::new(), pieces_bytes: 0, heard_at_ms: now_ms }
    }

    pub(super) const fn format(&self) -> &Format {
        &self.format
    }

    /// A session began, or the camera's clock jumped.
    pub(super) fn untie(&mut self) {
        self.line.untie();
    }

    /// Takes a piece; `pictures` is what the last picture says about the moment when it came.
    pub(super) fn hear(&mut self, heard: &Heard, pictures: Pictures) {
        self.heard_at_ms = heard.arrived_ms;
        if let Verdict::After { silence } = self.line.judge(heard.stamp_90k, heard.samples.into(), pictures) {
            self.silence(silence);
            match self.format.law {
                None => self.put(heard.samples, heard.data.clone()),
                Some(law) => self.speak(law, &heard.data),
            }
        }
    }

    /// What goes with the picture that is decoded at this time.
    pub(super) fn with_picture(&mut self, decode_90k: u64) -> Vec<Piece> {
        let lacks = self.line.picture(i64::try_from(decode_90k).unwrap_or(i64::MAX));
        self.silence(lacks);
        self.pieces_bytes = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Whether nothing came for so long that somebody should look.
    pub(super) fn is_dead(&self, now_ms: u64) -> bool {
        self.line.is_silent() && now_ms >= self.heard_at_ms + DEAD_MS
    }

    fn speak(&mut self, law: Law, bytes: &[u8]) {
        for bytes in bytes.chunks(flac::FRAME_SAMPLES_MAX) {
            let samples: Vec<i16> = bytes.iter().map(|byte| law.decode(*byte)).collect();
            self.encode(&samples);
        }
    }

    fn silence(&mut self, samples: u64) {
        let mut left = usize::try_from(samples).unwrap_or(usize::MAX);
        if self.format.law.is_none() {
            let frame = AAC_SILENCE[usize::from(self.format.sound.channels - 1)];
            for _ in 0..left / AAC_FRAME_SAMPLES as usize {
                self.put(AAC_FRAME_SAMPLES, Bytes::from_static(frame));
            }
            return;
        }
        while left > 0 {
            let count = left.min(flac::FRAME_SAMPLES_MAX);
            self.encode(&[0; flac::FRAME_SAMPLES_MAX][..count]);
            left -= count;
        }
    }

    fn encode(&mut self, samples: &[i16]) {
        let frame = flac::frame(samples, self.format.sound.rate_hz, self.position);
        self.position += samples.len() as u64;
        self.put(samples.len() as u32, frame.into());
    }

    /// Puts a piece where the line ends. Without a picture that would take them, or with more than it could carry, the oldest go.
    fn put(&mut self, samples: u32, data: Bytes) {
        let Some(begins_90k) = self.line.end_90k() else { return };
        self.line.grow(samples.into());
        let ends_90k = self.line.end_90k().unwrap_or(begins_90k);
        // Before the first picture's time there is nothing.
        let Ok(decode_90k) = u64::try_from(begins_90k) else { return };
        let duration_90k = u32::try_from(ends_90k - begins_90k).unwrap_or(u32::MAX);
        self.pieces_bytes += data.len();
        self.pieces.push(Piece { decode_90k, duration_90k, data });
        while self.pieces.len() > PIECES_MAX || self.pieces_bytes > PIECES_BYTES_MAX {
            self.pieces_bytes -= self.pieces.remove(0).data.len();
        }
    }
}
