use super::*;

#[test]
fn parameter_sets_come_out_with_start_codes() {
    let avc = [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 2, 0x67, 0x64, 1, 0, 1, 0x68];
    assert_eq!(parameter_sets(Codec::H264, &avc).unwrap(), [0, 0, 0, 1, 0x67, 0x64, 0, 0, 0, 1, 0x68]);
    let mut hevc = vec![1; 22];
    hevc.extend_from_slice(&[2, 0x20, 0, 1, 0, 1, 0x40, 0x21, 0, 2, 0, 1, 0x42, 0, 1, 0x44]);
    let sets = parameter_sets(Codec::H265, &hevc).unwrap();
    assert_eq!(sets, [0, 0, 0, 1, 0x40, 0, 0, 0, 1, 0x42, 0, 0, 0, 1, 0x44]);
}

#[test]
fn parameter_sets_that_end_early_are_refused() {
    let avc = [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 2, 0x67, 0x64, 1, 0, 1, 0x68];
    for cut in 0..avc.len() {
        assert!(parameter_sets(Codec::H264, &avc[..cut]).is_err(), "cut at {cut}");
    }
    assert!(parameter_sets(Codec::H265, &[0xff; 30]).is_err());
}

#[test]
fn random_bytes_give_a_reason_and_no_picture() {
    prepare().unwrap();
    let mut state = 7_u32;
    for length in [0, 1, 4, 9, 100, 5_000] {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let mut pictures = Vec::new();
        for part in [&bytes[..], &bytes[..length / 2]] {
            pictures.extend_from_slice(&(part.len() as u32 + 4).to_be_bytes());
            pictures.extend_from_slice(&(part.len() as u32).to_be_bytes());
            pictures.extend_from_slice(part);
        }
        for codec in [Codec::H264, Codec::H265] {
            let parameters = [1, 0x64, 0, 0x28, 0xff, 0xe0, 0];
            let task = tongluo_protocols::media::decoder::Task::Judge;
            let request = Request { task, codec, parameters: &parameters, pictures: &pictures };
            assert!(decode(&request, false).is_err(), "{codec:?}, {length} bytes");
        }
    }
}

/// A grey picture with one bright corner.
fn corner(bright: u8) -> Video {
    let mut frame = Video::new(Pixel::YUV420P, 640, 360);
    for plane in 0..3 {
        frame.data_mut(plane).fill(if plane == 0 { 16 } else { 128 });
    }
    let stride = frame.stride(0);
    for y in 0..40 {
        frame.data_mut(0)[y * stride..y * stride + 40].fill(bright);
    }
    frame
}

#[test]
fn black_is_dark_and_even_and_any_change_changes_the_checksum() {
    let black = looks(&corner(16));
    assert_eq!((black.mean, black.spread), (16, 0));
    let lit = looks(&corner(200));
    assert!(lit.mean < 24 && lit.spread > 150, "{lit:?}: a lamp in the night is not black");
    assert_ne!(black.checksum, looks(&corner(17)).checksum);
    assert_eq!(black.checksum, looks(&corner(16)).checksum);
}

#[test]
fn a_jpeg_is_as_small_as_it_is_asked_to_be() {
    prepare().unwrap();
    let frame = corner(200);
    let whole = jpeg(&frame, 4_000, 1_000_000).unwrap();
    assert_eq!((&whole[..2], &whole[whole.len() - 2..]), (&b"\xff\xd8"[..], &b"\xff\xd9"[..]));
    let small = jpeg(&frame, 160, 1_000_000).unwrap();
    assert!(small.len() < whole.len(), "{} and {}", small.len(), whole.len());
    assert!(jpeg(&frame, 4_000, 100).is_err());
}

/// Length-prefixed NAL units of an encoder's output with start codes.
fn length_prefixed(annex_b: &[u8]) -> Vec<u8> {
    let starts: Vec<usize> =
        (0..annex_b.len().saturating_sub(2)).filter(|at| annex_b[*at..].starts_with(&[0, 0, 1])).collect();
    let mut out = Vec::new();
    for (i, start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).map_or(annex_b.len(), |next| *next);
        let mut nal = &annex_b[start + 3..end];
        while let [front @ .., 0] = nal {
            nal = front;
        }
        out.extend_from_slice(&(nal.len() as u32).to_be_bytes());
        out.extend_from_slice(nal);
    }
    out
}

/// Pictures that get brighter, as a camera would send them: parameter sets in front of the first.
fn encoded(name: &str, count: u8) -> Vec<u8> {
    let codec = encoder::find_by_name(name).expect("Debian's libavcodec has it");
    let mut encoder = Context::new_with_codec(codec).encoder().video().unwrap();
    encoder.set_width(640);
    encoder.set_height(360);
    encoder.set_format(Pixel::YUV420P);
    encoder.set_time_base(Rational(1, 25));
    encoder.set_max_b_frames(0);
    let options = [("preset", "ultrafast"), ("tune", "zerolatency"), ("x265-params", "log-level=none")];
    let options = options.into_iter().filter(|(key, _)| *key != "x265-params" || name == "libx265");
    let mut encoder = encoder.open_with(options.collect()).unwrap();
    let (mut pictures, mut packet) = (Vec::new(), Packet::empty());
    let mut take = |encoder: &mut encoder::video::Encoder| {
        while encoder.receive_packet(&mut packet).is_ok() {
            let picture = length_prefixed(packet.data().unwrap());
            pictures.extend_from_slice(&(picture.len() as u32).to_be_bytes());
            pictures.extend_from_slice(&picture);
        }
    };
    for i in 0..count {
        let mut frame = corner(60 + i * 40);
        frame.set_pts(Some(i.into()));
        encoder.send_frame(&frame).unwrap();
        take(&mut encoder);
    }
    encoder.send_eof().unwrap();
    take(&mut encoder);
    pictures
}

#[test]
fn what_an_encoder_made_is_seen() {
    prepare().unwrap();
    for (name, codec, empty) in
        [("libx264", Codec::H264, &[1, 0, 0, 0, 0, 0, 0][..]), ("libx265", Codec::H265, &[0; 23])]
    {
        let pictures = encoded(name, 4);
        let task = tongluo_protocols::media::decoder::Task::Judge;
        let request = Request { task, codec, parameters: empty, pictures: &pictures };
        let first = looks(&decode(&request, true).unwrap());
        let last = decode(&request, false).unwrap();
        assert_eq!((last.width(), last.height()), (640, 360), "{name}");
        assert!(
            looks(&last).spread > first.spread + 50,
            "{name}: {first:?} and {:?}: the newest is the answer",
            looks(&last)
        );
        assert_eq!(looks(&decode(&request, true).unwrap()), first, "{name}: the same again");
        assert!(jpeg(&last, 320, 100_000).unwrap().len() > 500, "{name}");
    }
}
