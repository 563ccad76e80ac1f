//! A camera's microphone that hears nothing: G.711 A-law, which whoever wants only pictures must leave alone.

use std::time::{Duration, Instant};

use super::packet::Sender;

/// The static payload type of G.711 A-law (RFC 3551).
const PAYLOAD_TYPE: u8 = 8;
/// Between two packets.
const EVERY: Duration = Duration::from_millis(40);
/// Samples, and bytes, of a packet at 8 kHz.
const SAMPLES: u32 = 320;
/// Zero, in A-law.
const ZERO: u8 = 0xd5;

/// Its media description.
pub(crate) const DESCRIPTION: &str = "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:track2\r\n";

/// Sound being sent.
#[derive(Debug)]
pub(crate) struct Silence {
    sender: Sender,
    due: Instant,
    timestamp: u32,
}

impl Silence {
    pub(crate) fn new(sender: Sender, now: Instant) -> Self {
        Self { sender, due: now, timestamp: sender.ssrc }
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

    /// Writes a packet if one is due.
    pub(crate) fn emit(&mut self, now: Instant, to: &mut Vec<u8>) {
        if now < self.due {
            return;
        }
        to.extend([b'$', self.sender.channel]);
        to.extend(u16::try_from(12 + SAMPLES).expect("a small packet").to_be_bytes());
        to.extend([0x80, PAYLOAD_TYPE]);
        to.extend(self.sender.sequence.to_be_bytes());
        to.extend(self.timestamp.to_be_bytes());
        to.extend(self.sender.ssrc.to_be_bytes());
        to.extend([ZERO; SAMPLES as usize]);
        self.sender.sequence = self.sender.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(SAMPLES);
        self.due += EVERY;
    }
}
