//! The media connection's messages: known bytes, limits, properties; decode times; NAL units.

use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;

use super::*;

fn sent(message: &GatewayMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; message.encoded_len()];
    assert_eq!(message.emit(&mut buffer), Ok(buffer.len()));
    buffer
}

fn ordered(message: &HubMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; message.encoded_len()];
    assert_eq!(message.emit(&mut buffer), Ok(buffer.len()));
    buffer
}

#[test]
fn known_bytes_of_a_frame() {
    let frame =
        FrameView { stream: 7, key: true, decode_90k: 0x0102, composition_90k: -1, captured_ms: 0x0304, data: b"xy" };
    let bytes = sent(&GatewayMessage::Frame(frame));
    let expected = [
        &[2, 0, 0, 0, 7, 1][..],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 0, 3, 4],
        b"xy",
    ]
    .concat();
    assert_eq!(bytes, expected);
    assert_eq!(GatewayMessage::parse(&bytes), Ok(GatewayMessage::Frame(frame)));
}

#[test]
fn known_bytes_of_leases() {
    let wanted = [
        Lease { stream: 1, camera: "gate", quality: Quality::Main },
        Lease { stream: 2, camera: "c2", quality: Quality::Sub },
    ];
    let mut buffer = [0; Leases::BYTES_MAX];
    let leases = Leases::write(&wanted, &mut buffer).unwrap();
    let bytes = ordered(&HubMessage::Leases(leases));
    let expected = [&[65, 2, 0, 0, 0, 1, 0, 4][..], b"gate", &[0, 0, 0, 2, 1, 2], b"c2"].concat();
    assert_eq!(bytes, expected);
    let Ok(HubMessage::Leases(leases)) = HubMessage::parse(&bytes) else { panic!("no leases") };
    assert!(leases.iter().eq(wanted));
    assert_eq!(HubMessage::parse(&[65, 0]), Ok(HubMessage::Leases(Leases::NONE)));
}

#[test]
fn every_message_of_a_gateway_goes_both_ways_and_not_when_it_is_short() {
    let track = GatewayMessage::Track { stream: 1, codec: Codec::H265, width: 1920, height: 1080, parameters: b"hvcC" };
    // How many bytes from the end may be missing without being missed: payloads and texts run to the end.
    for (message, open_end) in [
        (track, 4),
        (GatewayMessage::Stopped { stream: 1, reason: "unreachable" }, 11),
        (GatewayMessage::Answer { request: 2, body: b"{}" }, 2),
        (GatewayMessage::Init { request: 2, rfc6381: "avc1.640028", data: b"ftyp" }, 4),
        (GatewayMessage::Fragment { request: 2, wall_ms: -3, duration_ms: 2000, data: b"moof" }, 4),
        (GatewayMessage::Gap { request: 2, from_ms: 1, to_ms: 2 }, 0),
        (GatewayMessage::End { request: 2, reason: "" }, 0),
        (
            GatewayMessage::SoundTrack {
                stream: 1,
                codec: SoundCodec::Aac,
                rate_hz: 16_000,
                channels: 1,
                parameters: b"\x14\x08",
            },
            2,
        ),
        (GatewayMessage::Sound { stream: 1, decode_90k: 1 << 40, duration_90k: 3_600, data: b"piece" }, 5),
    ] {
        let bytes = sent(&message);
        assert_eq!(GatewayMessage::parse(&bytes), Ok(message));
        for length in 0..bytes.len() - open_end {
            assert!(GatewayMessage::parse(&bytes[..length]).is_err(), "{length} bytes of {message:?} were taken");
        }
        assert!(matches!(message.emit(&mut vec![0; bytes.len() - 1]), Err(Error::Full { .. })));
    }
}

#[test]
fn every_message_of_the_hub_goes_both_ways_and_not_when_it_is_short() {
    for (message, open_end) in [
        (HubMessage::Ask { request: 9, body: b"{}" }, 2),
        (HubMessage::Fetch { request: 9, camera: "gate", quality: Quality::Sub, from_ms: 1, to_ms: 2 }, 0),
        (HubMessage::More { request: 9, bytes: 65_536 }, 0),
        (HubMessage::Cancel { request: 9 }, 0),
    ] {
        let bytes = ordered(&message);
        assert_eq!(HubMessage::parse(&bytes), Ok(message));
        for length in 0..bytes.len() - open_end {
            assert!(HubMessage::parse(&bytes[..length]).is_err(), "{length} bytes of {message:?} were taken");
        }
        if open_end == 0 {
            assert!(HubMessage::parse(&[&bytes[..], b"\0"].concat()).is_err(), "trailing bytes were taken");
        }
    }
}

#[test]
fn what_is_not_allowed_is_refused() {
    let mut track =
        sent(&GatewayMessage::Track { stream: 1, codec: Codec::H264, width: 1, height: 1, parameters: b"" });
    track[5] = 3;
    assert!(matches!(GatewayMessage::parse(&track), Err(Error::Refused { found: 3, .. })), "an unknown codec");
    let unheard_of = [9, 0, 0, 0, 1, 3, 0, 0, 0, 1, 1];
    assert!(matches!(GatewayMessage::parse(&unheard_of), Err(Error::Refused { found: 3, .. })), "an unknown sound");

    let not_text = [&[8, 0, 0, 0, 1][..], &[0xff]].concat();
    assert!(matches!(GatewayMessage::parse(&not_text), Err(Error::Malformed { .. })), "a reason that is no text");
    let long_text = [&[8, 0, 0, 0, 1][..], &[b'a'; REASON_BYTES_MAX + 1]].concat();
    assert!(matches!(GatewayMessage::parse(&long_text), Err(Error::TooLarge { .. })), "a long reason");
    let long = GatewayMessage::End { request: 1, reason: &"a".repeat(REASON_BYTES_MAX + 1) };
    assert!(matches!(long.emit(&mut [0; 1024]), Err(Error::TooLarge { .. })));

    assert!(GatewayMessage::parse(&vec![2; MESSAGE_BYTES_MAX + 1]).is_err(), "a message that is too long");
    assert!(GatewayMessage::parse(&[]).is_err() && HubMessage::parse(&[]).is_err(), "nothing");

    for camera in ["", "a b", "门", &"a".repeat(CAMERA_ID_BYTES_MAX + 1)] {
        let lease = Lease { stream: 1, camera, quality: Quality::Main };
        assert!(Leases::write(&[lease], &mut [0; 1024]).is_err(), "{camera:?} was written");
        let mut bytes = vec![65, 1, 0, 0, 0, 1, 0, camera.len() as u8];
        bytes.extend_from_slice(camera.as_bytes());
        assert!(HubMessage::parse(&bytes).is_err(), "{camera:?} was read");
    }
    let lease = Lease { stream: 1, camera: "c", quality: Quality::Main };
    assert!(Leases::write(&vec![lease; LEASES_MAX + 1], &mut [0; 8192]).is_err());
    assert!(HubMessage::parse(&[65, LEASES_MAX as u8 + 1]).is_err());
    assert!(HubMessage::parse(&[65, 1]).is_err(), "a set that lacks what it counts");
}

#[test]
fn unknown_kinds_are_kept() {
    for kind in [0, 11, 64, 70, 255] {
        let bytes = [kind, 1, 2];
        let from_gateway = GatewayMessage::Unknown { kind, body: &[1, 2] };
        assert_eq!(GatewayMessage::parse(&bytes), Ok(from_gateway));
        assert_eq!(sent(&from_gateway), bytes);
        let from_hub = HubMessage::Unknown { kind, body: &[1, 2] };
        assert_eq!(HubMessage::parse(&bytes), Ok(from_hub));
        assert_eq!(ordered(&from_hub), bytes);
    }
}

fn nals(first_bytes: &[u8]) -> Vec<u8> {
    first_bytes.iter().flat_map(|&first| [0, 0, 0, 2, first, 0xaa]).collect()
}

#[test]
fn a_decoder_begins_at_idr_pictures_and_at_every_irap_picture() {
    for (codec, first_bytes, begins) in [
        (Codec::H264, &[0x67, 0x68, 0x65][..], true),
        (Codec::H264, &[0x06, 0x41], false),
        (Codec::H264, &[0x41, 0x65], false),
        (Codec::H264, &[0x67], false),
        (Codec::H265, &[19 << 1], true),
        (Codec::H265, &[32 << 1, 33 << 1, 34 << 1, 21 << 1], true),
        (Codec::H265, &[16 << 1], true),
        (Codec::H265, &[22 << 1], false),
        (Codec::H265, &[1 << 1], false),
        (Codec::H265, &[], false),
    ] {
        assert_eq!(is_random_access(codec, &nals(first_bytes)), begins, "{codec:?} {first_bytes:?}");
    }
    assert!(!is_random_access(Codec::H264, &[0, 0, 0, 9, 0x65]), "a NAL unit that is cut short");
}

/// Decode times of pictures whose presentation times are given in frames of 40 ms.
fn decoded(depth: usize, frames: &[i64]) -> Vec<(i64, i64)> {
    let mut order = DecodeOrder::new(depth);
    let first = order.clone().push(frames[0] * 3_600);
    let origin = first.decode_90k as i64 + i64::from(first.composition_90k) - frames[0] * 3_600;
    frames
        .iter()
        .map(|frame| {
            let times = order.push(frame * 3_600);
            let decode = times.decode_90k as i64 - origin;
            (decode, decode + i64::from(times.composition_90k))
        })
        .collect()
}

#[test]
fn without_reordering_a_picture_is_decoded_when_it_is_shown() {
    let times = decoded(0, &[0, 1, 2, 5, 6]);
    assert_eq!(times, [0, 1, 2, 5, 6].map(|frame| (frame * 3_600, frame * 3_600)));
}

#[test]
fn with_b_frames_decode_times_run_behind_by_the_depth() {
    // I P B B P B B, the usual two B-frames: each is overtaken by one later picture.
    let times = decoded(1, &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8]);
    let decode: Vec<_> = times.iter().map(|(decode, _)| decode / 3_600).collect();
    let shown: Vec<_> = times.iter().map(|(_, shown)| shown / 3_600).collect();
    assert_eq!(decode, [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(shown, [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]);
}

#[test]
fn the_depth_is_learned_and_the_times_are_even_from_then_on() {
    let frames: Vec<i64> = (0..20).flat_map(|group| [3, 1, 2].map(|frame| group * 3 + frame)).collect();
    let times = decoded(0, &frames);
    for pair in times[9..].windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, 3_600, "bunched decode times: {times:?}");
    }
    assert!(times.iter().skip(9).all(|(decode, shown)| decode <= shown));
}

#[test]
fn equal_and_backward_times_cost_a_tick() {
    let times = decoded(0, &[0, 1, 1, 2]);
    assert_eq!(times[2].0, times[1].0 + 1);
    assert_eq!(times[3].1, 2 * 3_600);
}

#[test]
fn a_camera_that_counts_anew_leaves_neither_hole_nor_step() {
    for jump in [-1_000_000, 1_000_000, 1 << 40] {
        let times = decoded(0, &[0, 1, 2, jump, jump + 1, jump + 2]);
        assert_eq!(times.iter().map(|(_, shown)| shown / 3_600).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5], "{jump}");
    }
}

proptest! {
    #[test]
    fn decode_times_only_grow(depth in 0usize..40, times in vec_of(any::<i64>(), 1..200)) {
        let mut order = DecodeOrder::new(depth);
        let mut last = 0;
        for time in times {
            let decode = order.push(time).decode_90k;
            prop_assert!(decode > last);
            last = decode;
        }
    }

    #[test]
    fn small_steps_never_panic_and_stay_near(steps in vec_of(-20_000i64..30_000, 1..300)) {
        let mut order = DecodeOrder::new(0);
        let (mut presentation, mut last) = (0, 0);
        for step in steps {
            presentation += step;
            let times = order.push(presentation);
            prop_assert!(times.decode_90k > last);
            last = times.decode_90k;
        }
    }

    #[test]
    fn round_trip_of_a_frame(stream: u32, key: bool, decode_90k: u64, composition_90k: i32, captured_ms: i64, data: Vec<u8>) {
        let frame = FrameView { stream, key, decode_90k, composition_90k, captured_ms, data: &data };
        let bytes = sent(&GatewayMessage::Frame(frame));
        prop_assert_eq!(GatewayMessage::parse(&bytes), Ok(GatewayMessage::Frame(frame)));
    }

    #[test]
    fn round_trip_of_leases(wanted in vec_of((any::<u32>(), "[!-~]{1,64}", any::<bool>()), 0..=LEASES_MAX)) {
        let wanted: Vec<(u32, String, bool)> = wanted;
        let leases: Vec<_> = wanted
            .iter()
            .map(|(stream, camera, is_sub)| Lease {
                stream: *stream,
                camera,
                quality: if *is_sub { Quality::Sub } else { Quality::Main },
            })
            .collect();
        let mut buffer = [0; Leases::BYTES_MAX];
        let bytes = ordered(&HubMessage::Leases(Leases::write(&leases, &mut buffer).unwrap()));
        let Ok(HubMessage::Leases(read)) = HubMessage::parse(&bytes) else { panic!("no leases") };
        prop_assert!(read.iter().eq(leases));
    }

    #[test]
    fn no_bytes_panic(kind in prop_oneof![0u8..10, 64u8..71, any::<u8>()], rest: Vec<u8>) {
        let bytes = [&[kind][..], &rest].concat();
        let _ = GatewayMessage::parse(&bytes);
        if let Ok(HubMessage::Leases(leases)) = HubMessage::parse(&bytes) {
            leases.iter().for_each(drop);
        }
        is_random_access(Codec::H265, &bytes);
    }
}
