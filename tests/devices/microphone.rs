//! A camera's microphone: G.711 A-law in which a tone sounds, or what a gateway cannot take.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use super::packet::Sender;

/// The tone that it hears.
pub const TONE_HZ: u32 = 440;

/// The tone's level as the root of its mean square: a quarter of the loudest.
pub const TONE_RMS: f64 = 8_192.0 / std::f64::consts::SQRT_2;

/// The static payload type of G.711 A-law (RFC 3551), and a dynamic one.
const PCMA: u8 = 8;
const DYNAMIC: u8 = 97;
/// Between two packets.
const EVERY: Duration = Duration::from_millis(40);
/// Samples, and bytes, of a packet at 8 kHz.
const SAMPLES: u32 = 320;
const RATE_HZ: u32 = 8_000;

/// What a camera hears, and how it says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Microphone {
    /// A tone, in A-law.
    Tone,
    /// Announced, and never heard.
    Mute,
    /// In a codec that nobody takes (G.726).
    Foreign,
    /// Announced as AAC; what comes is none.
    Garbage,
}

impl Microphone {
    /// Its media description.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Tone | Self::Mute => "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:track2\r\n",
            Self::Foreign => "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 G726-32/8000\r\na=control:track2\r\n",
            Self::Garbage => {
                "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\na=fmtp:97 streamtype=5;profile-level-id=1;\
                 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408\r\na=control:track2\r\n"
            }
        }
    }

    fn payload(self, timestamp: u32) -> Vec<u8> {
        match self {
            Self::Garbage => vec![0xff; SAMPLES as usize],
            _ => (0..SAMPLES).map(|i| a_law(tone(timestamp % RATE_HZ + i))).collect(),
        }
    }
}

/// The tone at a sample. One second holds whole periods, so that it goes on evenly wherever the count began.
fn tone(at: u32) -> i16 {
    let phase = f64::from(at % RATE_HZ * TONE_HZ % RATE_HZ) / f64::from(RATE_HZ);
    ((phase * TAU).sin() * 8_192.0) as i16
}

/// ITU-T G.711, A-law: thirteen bits become a sign, three bits of exponent and four of mantissa.
fn a_law(sample: i16) -> u8 {
    let (sign, size) = if sample >= 0 { (0x80, sample >> 4) } else { (0, !sample >> 4) };
    let exponent = (size >> 4).checked_ilog2().map_or(0, |bits| bits + 1);
    let mantissa = if exponent == 0 { size } else { size >> (exponent - 1) };
    (sign | (exponent as u8) << 4 | (mantissa & 0x0f) as u8) ^ 0x55
}

/// Sound being sent.
#[derive(Debug)]
pub(crate) struct Hearing {
    microphone: Microphone,
    sender: Sender,
    due: Instant,
    timestamp: u32,
}

impl Hearing {
    pub(crate) fn new(microphone: Microphone, sender: Sender, now: Instant) -> Self {
        // A count that begins anew within the test would break the tone.
        Self { microphone, sender, due: now, timestamp: sender.ssrc / 2 / RATE_HZ * RATE_HZ }
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn sender(&self) -> Sender {
        self.sender
    }

    pub(crate) fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Writes a packet if one is due. `jump_ms` moves its time stamps as it moves the pictures'.
    pub(crate) fn emit(&mut self, now: Instant, jump_ms: i64, to: &mut Vec<u8>) {
        if now < self.due {
            return;
        }
        if self.microphone != Microphone::Mute {
            let jump = (jump_ms * i64::from(RATE_HZ / 1_000)) as u32;
            to.extend([b'$', self.sender.channel]);
            to.extend(u16::try_from(12 + SAMPLES).expect("a small packet").to_be_bytes());
            to.extend([0x80, if self.microphone == Microphone::Tone { PCMA } else { DYNAMIC }]);
            to.extend(self.sender.sequence.to_be_bytes());
            to.extend(self.timestamp.wrapping_add(jump).to_be_bytes());
            to.extend(self.sender.ssrc.to_be_bytes());
            to.extend(self.microphone.payload(self.timestamp));
            self.sender.sequence = self.sender.sequence.wrapping_add(1);
        }
        self.timestamp = self.timestamp.wrapping_add(SAMPLES);
        self.due += EVERY;
    }
}
