//! What several tests of this room need.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tongluo_protocols::media::Codec;
use tongluo_protocols::media::mp4::Track;

use super::ring::Frame;

/// UTC milliseconds of picture 0.
pub(super) const START_MS: i64 = 1_764_000_000_000;

/// The sequence parameter set of a real stream: x264, 320 × 240, baseline.
pub(super) const SPS: [u8; 24] =
    *b"\x67\x42\xc0\x0d\xd9\x01\x41\xfb\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x42\xa4\x80";

/// Its picture parameter set.
pub(super) const PPS: [u8; 5] = *b"\x68\xcb\x83\xcb\x20";

/// The track of that stream.
pub(super) fn track() -> Arc<Track> {
    let parameters =
        [&[1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1, 0, SPS.len() as u8][..], &SPS, &[1, 0, PPS.len() as u8], &PPS];
    Arc::new(Track { codec: Codec::H264, parameters: parameters.concat(), width: 320, height: 240, sound: None })
}

/// Pictures of a camera with 25 a second and a keyframe every `group`; their bytes are not decodable.
pub(super) fn frames(track: &Arc<Track>, numbers: Range<u64>, group: u64) -> Vec<Arc<Frame>> {
    numbers.map(|i| frame(track, i, group)).collect()
}

/// One of them.
pub(super) fn frame(track: &Arc<Track>, i: u64, group: u64) -> Arc<Frame> {
    let key = i.is_multiple_of(group);
    let mut data = vec![0, 0, 0, 60, if key { 0x65 } else { 0x41 }];
    data.resize(64, i.to_be_bytes()[7] | 1);
    Arc::new(Frame {
        track: track.clone(),
        key,
        decode_90k: 1_000 + i * 3_600,
        composition_90k: 0,
        captured_ms: START_MS + i.cast_signed() * 40,
        data: Bytes::from(data),
        sound: Vec::new(),
    })
}
