//! What the microphone makes, as FFmpeg hears it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::Bytes;
use tongluo_protocols::media::SoundCodec;

use super::{AAC_SILENCE, Heard, Microphone, PIECES_MAX, Pictures, flac, format};

/// What `ffmpeg` writes of what it reads, both through pipes. It may complain of nothing.
pub(super) fn ffmpeg(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg is needed for this test");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    output.stdout
}

/// A tone of a quarter of the loudest, at 8 kHz.
pub(super) fn tone(pitch_hz: u32, count: u32) -> Vec<i16> {
    let at = |i: u32| (f64::from(i * pitch_hz) / 8_000.0 * std::f64::consts::TAU).sin() * 8_192.0;
    (0..count).map(|i| at(i) as i16).collect()
}

/// The samples of FLAC frames, as FFmpeg decodes them.
pub(super) fn decoded_flac(frames: &[Vec<u8>], rate_hz: u32) -> Vec<i16> {
    let mut file = b"fLaC\x80\0\0\x22\0\x10\x10\0\0\0\0\0\0\0".to_vec();
    let facts = u64::from(rate_hz) << 44 | 15 << 36;
    file.extend(facts.to_be_bytes());
    file.extend([0; 16]);
    file.extend(frames.concat());
    let raw = ffmpeg(&["-err_detect", "crccheck+explode", "-f", "flac", "-i", "-", "-f", "s16le", "-"], &file);
    raw.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

fn pictures(newest_90k: i64) -> Pictures {
    Pictures { offset_90k: 0, newest_90k, passed_ms: 20 }
}

#[test]
fn codecs_are_taken_or_refused_with_what_to_do() {
    let aac = [0x14, 0x08];
    assert_eq!(format("mpeg4-generic", 16_000, 1, &aac).unwrap().sound.codec, SoundCodec::Aac);
    assert_eq!(format("pcma", 8_000, 1, &[]).unwrap().sound.rfc6381(), "flac");
    assert_eq!(format("pcmu", 16_000, 1, &[]).unwrap().sound.rate_hz, 16_000);
    let high_efficiency = [0x2b, 0x09];
    for (codec, rate_hz, channels, parameters, what) in [
        ("g726-32", 8_000, 1, &[][..], "set the camera to AAC or G.711"),
        ("opus", 48_000, 2, &[], "set the camera to AAC or G.711"),
        ("pcma", 8_000, 2, &[], "one channel"),
        ("pcma", 7_000, 1, &[], "7000 Hz"),
        ("mpeg4-generic", 16_000, 6, &aac, "unusual"),
        ("mpeg4-generic", 16_000, 1, &[], "unusual"),
        ("mpeg4-generic", 16_000, 1, &high_efficiency, "unusual"),
    ] {
        let refused = format(codec, rate_hz, channels, parameters).unwrap_err();
        assert!(refused.contains(what), "{codec}: {refused}");
    }
}

#[test]
fn a_tone_in_g711_comes_out_as_the_same_tone_with_silence_where_packets_were_lost() {
    // FFmpeg is the camera: its A-law of a tone.
    let wanted: Vec<u8> = tone(440, 16_000).iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let coded = ffmpeg(&["-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "-", "-f", "alaw", "-"], &wanted);
    let mut microphone = Microphone::new(format("pcma", 8_000, 1, &[]).unwrap(), 0);
    let mut frames = Vec::new();
    let mut end_90k = 0;
    for (i, packet) in (0_i64..).zip(coded.chunks(320)) {
        for piece in microphone.with_picture(i.unsigned_abs() * 3_600) {
            assert_eq!(piece.decode_90k, end_90k, "no hole");
            end_90k += u64::from(piece.duration_90k);
            frames.push(piece.data.to_vec());
        }
        // Half a second of it is lost.
        if !(20..33).contains(&i) {
            let heard = Heard {
                stamp_90k: i * 3_600,
                arrived_ms: 40 * i.unsigned_abs(),
                samples: 320,
                data: packet.to_vec().into(),
            };
            microphone.hear(&heard, pictures(i * 3_600));
        }
    }
    let samples = decoded_flac(&frames, 8_000);
    assert!(samples.len() >= 320 * 49, "{} samples", samples.len());
    let rms = |from: usize, to: usize| {
        let sum: f64 = samples[from..to].iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (sum / (to - from) as f64).sqrt()
    };
    for (from, to) in [(0, 20 * 320), (33 * 320, 49 * 320)] {
        assert!((5_700.0..5_900.0).contains(&rms(from, to)), "level {} from {from} to {to}", rms(from, to));
        let rises = samples[from..to].windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        let pitch_hz = rises * 8_000 / (to - from);
        assert!((437..=443).contains(&pitch_hz), "{pitch_hz} Hz from {from} to {to}");
    }
    assert_eq!(rms(20 * 320, 33 * 320), 0.0, "silence where nothing came");
    let bytes: usize = frames.iter().map(Vec::len).sum();
    assert!(bytes < samples.len() * 3 / 2, "{bytes} bytes for {} samples", samples.len());
}

#[test]
fn the_silence_of_aac_is_silent_at_every_rate() {
    for channels in [1_u8, 2] {
        let frame = AAC_SILENCE[usize::from(channels - 1)];
        for (index, rate_hz) in [(11_u8, 8_000), (8, 16_000), (4, 44_100), (3, 48_000)] {
            let bytes = 7 + frame.len();
            let header = [
                0xff,
                0xf1,
                1 << 6 | index << 2 | channels >> 2,
                (channels & 3) << 6,
                (bytes >> 3) as u8,
                ((bytes & 7) << 5) as u8 | 0x1f,
                0xfc,
            ];
            let stream = [&header[..], frame].concat().repeat(10);
            let raw = ffmpeg(&["-f", "aac", "-i", "-", "-f", "s16le", "-"], &stream);
            assert_eq!(raw.len(), 10 * 1_024 * 2 * usize::from(channels), "{channels} channels of {rate_hz} Hz");
            assert!(raw.iter().all(|byte| *byte == 0), "{channels} channels of {rate_hz} Hz are heard");
        }
    }
}

#[test]
fn aac_is_passed_on_untouched_and_its_holes_are_whole_frames() {
    let mut microphone = Microphone::new(format("mpeg4-generic", 16_000, 1, &[0x14, 0x08]).unwrap(), 0);
    let mut pieces = Vec::new();
    for i in 0_i64..200 {
        pieces.extend(microphone.with_picture(i.unsigned_abs() * 5_760));
        if !(50..120).contains(&i) {
            let data = Bytes::from(vec![i as u8; 40]);
            let arrived_ms = 64 * i.unsigned_abs();
            microphone.hear(&Heard { stamp_90k: i * 5_760, arrived_ms, samples: 1_024, data }, pictures(i * 5_760));
        }
    }
    assert!(pieces.windows(2).all(|pair| pair[0].decode_90k + u64::from(pair[0].duration_90k) == pair[1].decode_90k));
    assert!(pieces.iter().all(|piece| piece.duration_90k == 5_760));
    let (silent, heard): (Vec<_>, Vec<_>) = pieces.iter().partition(|piece| piece.data == AAC_SILENCE[0]);
    assert_eq!((silent.len(), heard.len()), (70, 129));
    assert_eq!(pieces[130].data, vec![130; 40], "what was heard stands where it belongs");
}

#[test]
fn without_pictures_sound_is_bounded_and_a_dead_microphone_is_called_so() {
    let mut microphone = Microphone::new(format("pcmu", 8_000, 1, &[]).unwrap(), 0);
    assert!(!microphone.is_dead(59_999) && microphone.is_dead(60_000));
    let heard = |i: u64| Heard {
        stamp_90k: i.cast_signed() * 1_800,
        arrived_ms: i * 20,
        samples: 160,
        data: Bytes::from_static(&[0x80; 160]),
    };
    for i in 0..100 {
        microphone.hear(&heard(i), pictures(0));
    }
    assert_eq!(microphone.with_picture(0), [], "nothing before the first picture");
    for i in 0..10_000 {
        microphone.hear(&heard(i), Pictures { offset_90k: 0, newest_90k: 0, passed_ms: 20 * i.cast_signed() });
        assert!(microphone.pieces.len() <= PIECES_MAX);
    }
    assert!(!microphone.is_dead(200_000));
    assert!(flac::frame(&[0; flac::FRAME_SAMPLES_MAX], 8_000, 0).len() < 24);
}
