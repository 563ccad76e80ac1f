//! Access units cut into RTP packets (RFC 6184 for H.264, RFC 7798 for H.265), framed for RTSP's own connection (RFC 2326
//! §10.12). Cut once, when a file is loaded: to send a unit is to copy it and fill in four fields of each packet.

use memchr::memmem;

use super::recipe::Codec;

/// The dynamic payload type of all our video.
pub const PAYLOAD_TYPE: u8 = 96;

/// What a packet carries, as cameras cut them for Ethernet even where they send through TCP.
const PAYLOAD_BYTES_MAX: usize = 1_400;
/// `$`, channel, length.
const FRAME_BYTES: usize = 4;
/// An RTP header without extensions.
const HEADER_BYTES: usize = 12;
/// Before each NAL unit of a file.
const START_CODE: [u8; 3] = [0, 0, 1];
/// Set on the last packet of an access unit.
const MARKER: u8 = 0x80;

/// The packets of one access unit, one behind the other, with blank fields.
#[derive(Debug)]
pub struct Packets {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// What is filled in when packets are sent.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Channel of the connection.
    pub channel: u8,
    /// The sender's number.
    pub ssrc: u32,
    /// Sequence number of the next packet.
    pub sequence: u16,
}

impl Packets {
    /// Cuts an access unit.
    pub fn cut(codec: Codec, nals: &[&[u8]]) -> Self {
        let mut packets = Self { bytes: Vec::new(), starts: Vec::new() };
        for nal in nals {
            if nal.len() <= PAYLOAD_BYTES_MAX {
                packets.add(&[], nal);
            } else {
                packets.fragment(codec, nal);
            }
        }
        if let Some(last) = packets.starts.last() {
            packets.bytes[last + FRAME_BYTES + 1] |= MARKER;
        }
        packets
    }

    fn fragment(&mut self, codec: Codec, nal: &[u8]) {
        const START: u8 = 0x80;
        const END: u8 = 0x40;
        let (header, kind, rest) = match codec {
            // FU-A, type 28.
            Codec::H264 => (vec![nal[0] & 0xe0 | 28], nal[0] & 0x1f, &nal[1..]),
            // Fragmentation unit, type 49.
            Codec::H265 => (vec![nal[0] & 0x81 | 49 << 1, nal[1]], nal[0] >> 1 & 0x3f, &nal[2..]),
        };
        let pieces = rest.chunks(PAYLOAD_BYTES_MAX - header.len() - 1);
        let last = pieces.len() - 1;
        for (index, piece) in pieces.enumerate() {
            let ends = if index == 0 { START } else { 0 } | if index == last { END } else { 0 };
            let mut before = header.clone();
            before.push(kind | ends);
            self.add(&before, piece);
        }
    }

    fn add(&mut self, before: &[u8], payload: &[u8]) {
        let length = u16::try_from(HEADER_BYTES + before.len() + payload.len()).expect("cut to less than 64 KiB");
        self.starts.push(self.bytes.len());
        self.bytes.extend([b'$', 0]);
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend([0x80, PAYLOAD_TYPE]);
        self.bytes.extend([0; HEADER_BYTES - 2]);
        self.bytes.extend(before);
        self.bytes.extend(payload);
    }

    /// Appends the packets to `to`, filled in. Those that `is_lost` are left out; their numbers are used up all the same.
    /// Answers how many packets and bytes of payload were sent.
    pub fn emit(
        &self,
        to: &mut Vec<u8>,
        sender: &mut Sender,
        timestamp: u32,
        mut is_lost: impl FnMut() -> bool,
    ) -> (u32, u32) {
        let (mut count, mut payload_bytes) = (0, 0);
        for (index, start) in self.starts.iter().enumerate() {
            let end = self.starts.get(index + 1).copied().unwrap_or(self.bytes.len());
            let sequence = sender.sequence;
            sender.sequence = sequence.wrapping_add(1);
            if is_lost() {
                continue;
            }
            let at = to.len();
            to.extend_from_slice(&self.bytes[*start..end]);
            to[at + 1] = sender.channel;
            to[at + 6..at + 8].copy_from_slice(&sequence.to_be_bytes());
            to[at + 8..at + 12].copy_from_slice(&timestamp.to_be_bytes());
            to[at + 12..at + 16].copy_from_slice(&sender.ssrc.to_be_bytes());
            count += 1;
            payload_bytes += u32::try_from(end - start - FRAME_BYTES - HEADER_BYTES).expect("cut to less than 64 KiB");
        }
        (count, payload_bytes)
    }
}

/// The NAL units of an access unit in Annex B form.
pub fn nals(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start(unit);
    std::iter::from_fn(move || {
        let here = rest?;
        let end = memmem::find(here, &START_CODE).unwrap_or(here.len());
        rest = after_start(&here[end..]);
        // The zero of a four-byte start code, or trailing zeros, belong to nobody.
        let length = here[..end].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&here[..length])
    })
    .filter(|nal| nal.len() > 2)
}

fn after_start(bytes: &[u8]) -> Option<&[u8]> {
    memmem::find(bytes, &START_CODE).map(|at| &bytes[at + START_CODE.len()..])
}

fn kind(codec: Codec, nal: &[u8]) -> u8 {
    match codec {
        Codec::H264 => nal[0] & 0x1f,
        Codec::H265 => nal[0] >> 1 & 0x3f,
    }
}

/// Delimiters, and an encoder's remarks about itself, are left out, as cameras do.
pub fn is_worth_sending(codec: Codec, nal: &[u8]) -> bool {
    match codec {
        Codec::H264 => !matches!(kind(codec, nal), 6 | 9 | 12),
        Codec::H265 => !matches!(kind(codec, nal), 35 | 38 | 39 | 40),
    }
}

/// VPS, SPS and PPS.
pub fn is_parameter_set(codec: Codec, nal: &[u8]) -> bool {
    match codec {
        Codec::H264 => matches!(kind(codec, nal), 7 | 8),
        Codec::H265 => matches!(kind(codec, nal), 32..=34),
    }
}

/// Slices of a picture with which decoding can begin.
pub fn is_key(codec: Codec, nal: &[u8]) -> bool {
    match codec {
        Codec::H264 => kind(codec, nal) == 5,
        Codec::H265 => matches!(kind(codec, nal), 16..=21),
    }
}
