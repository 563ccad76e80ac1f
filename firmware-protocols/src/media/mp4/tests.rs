//! What is written here, as FFmpeg reads it: the same pictures at the same times as in FFmpeg's own file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::string::{String, ToString as _};
use std::vec::Vec;
use std::{format, fs, vec};

use mp4_atom::{Any, Atom as _, Codec as SampleEntry, DecodeMaybe as _, StszSamples};
use proptest::prelude::*;

use super::super::{Codec, SoundCodec};
use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tongluo-mp4-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{program} complains: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One second of a test picture at 25 frames a second, with two B-frames and a keyframe every ten frames.
fn encoded(folder: &Folder, codec: Codec) -> PathBuf {
    let path = folder.0.join("encoded.mp4");
    let encoder = match codec {
        Codec::H264 => &["libx264"][..],
        Codec::H265 => &["libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1"],
    };
    let source =
        ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=size=128x96:rate=25:duration=1", "-bf", "2", "-g", "10"];
    let file = ["-video_track_timescale", "90000", path.to_str().unwrap()];
    run("ffmpeg", &[&source[..], &["-c:v"], encoder, &file].concat());
    path
}

/// A sample as it lies in an ordinary file of FFmpeg's.
struct Owned {
    data: Vec<u8>,
    duration_90k: u32,
    composition_90k: i32,
    key: bool,
}

/// FFmpeg's file taken apart with the library alone, so that our own reader is not its own judge.
fn taken_apart(path: &Path) -> (Track, Vec<Owned>) {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut moov = None;
    while let Some(any) = Any::decode_maybe(&mut rest).unwrap() {
        if let Any::Moov(found) = any {
            moov = Some(found);
        }
    }
    let trak = moov.unwrap().trak.remove(0);
    let stbl = trak.mdia.minf.stbl;
    let mut parameters = Vec::new();
    let (codec, visual) = match &stbl.stsd.codecs[0] {
        SampleEntry::Avc1(entry) => {
            entry.avcc.encode_body(&mut parameters).unwrap();
            (Codec::H264, entry.visual.clone())
        }
        SampleEntry::Hvc1(entry) => {
            entry.hvcc.encode_body(&mut parameters).unwrap();
            (Codec::H265, entry.visual.clone())
        }
        other => panic!("{other:?}"),
    };
    let StszSamples::Different { sizes } = stbl.stsz.samples else { panic!("sizes") };
    let offsets = stbl.stco.unwrap().entries;
    assert_eq!(offsets.len(), 1, "FFmpeg writes a lone track as one chunk");
    let mut at = offsets[0] as usize;
    let durations = stbl.stts.entries.iter().flat_map(|e| vec![e.sample_delta; e.sample_count as usize]);
    let compositions = stbl.ctts.unwrap().entries;
    let compositions = compositions.iter().flat_map(|e| vec![e.sample_offset as i32; e.sample_count as usize]);
    let keys = stbl.stss.unwrap().entries;
    let samples =
        sizes.iter().zip(durations).zip(compositions).enumerate().map(|(index, ((size, duration), shift))| {
            at += *size as usize;
            let data = bytes[at - *size as usize..at].to_vec();
            Owned { data, duration_90k: duration, composition_90k: shift, key: keys.contains(&(index as u32 + 1)) }
        });
    let samples = samples.collect();
    (Track { codec, parameters, width: visual.width, height: visual.height, sound: None }, samples)
}

fn borrowed(samples: &[Owned]) -> Vec<Sample<'_>> {
    samples
        .iter()
        .map(|sample| Sample {
            data: &sample.data,
            duration_90k: sample.duration_90k,
            composition_90k: sample.composition_90k,
            key: sample.key,
        })
        .collect()
}

/// The hash of each decoded picture, in the order shown.
fn pictures(path: &Path) -> Vec<String> {
    let text = run("ffmpeg", &["-v", "error", "-i", path.to_str().unwrap(), "-f", "framemd5", "-"]);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit(' ').next().unwrap().to_string())
        .collect()
}

/// Codec, pictures, keyframes and presentation times as ffprobe lists them; times counted from the first.
fn listed(path: &Path) -> (String, usize, Vec<i64>) {
    let entries = ["-v", "error", "-select_streams", "v", "-of", "csv=p=0"];
    let probe = |show: &str| run("ffprobe", &[&entries[..], &["-show_entries", show, path.to_str().unwrap()]].concat());
    let codec = probe("stream=codec_name,width,height").trim().to_string();
    let packets = probe("packet=pts,flags");
    let keys = packets.lines().filter(|line| line.contains('K')).count();
    let mut times: Vec<i64> = packets.lines().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    times.sort_unstable();
    let first = times[0];
    (codec, keys, times.into_iter().map(|time| time - first).collect())
}

#[test]
fn ffmpeg_sees_the_same_pictures_in_fragments_and_in_a_movie() {
    for codec in [Codec::H264, Codec::H265] {
        let folder = Folder::new(codec.as_str());
        let original = encoded(&folder, codec);
        let (track, samples) = taken_apart(&original);
        assert_eq!((samples.len(), track.codec), (25, codec));
        for sample in &samples {
            assert_eq!(is_random_access(codec, &sample.data), sample.key);
        }
        let samples = borrowed(&samples);

        let fragmented = folder.0.join("fragmented.mp4");
        let mut bytes = init_segment(&track).unwrap();
        let mut decode_90k = 1 << 33;
        for (sequence, sample) in (1..).zip(&samples) {
            bytes.extend(fragment(sequence, decode_90k, std::slice::from_ref(sample)).unwrap());
            decode_90k += u64::from(sample.duration_90k);
        }
        fs::write(&fragmented, &bytes).unwrap();
        let whole = folder.0.join("movie.mp4");
        fs::write(&whole, movie(&track, &samples).unwrap()).unwrap();

        let expected = (pictures(&original), listed(&original));
        assert_eq!(expected.0.len(), 25);
        assert_eq!((pictures(&whole), listed(&whole)), expected, "the movie");
        assert_eq!((pictures(&fragmented), listed(&fragmented)), expected, "the fragments");
        let duration = run(
            "ffprobe",
            &["-v", "error", "-of", "csv=p=0", "-show_entries", "format=duration", whole.to_str().unwrap()],
        );
        assert_eq!(duration.trim(), "1.000000");
    }
}

#[test]
fn a_movie_has_its_index_in_front() {
    let folder = Folder::new("index");
    let (track, samples) = taken_apart(&encoded(&folder, Codec::H264));
    let bytes = movie(&track, &borrowed(&samples)).unwrap();
    let place = |name: &[u8]| bytes.windows(4).position(|four| four == name).unwrap();
    assert!(place(b"moov") < place(b"mdat"));
}

#[test]
fn a_movie_says_what_it_is_where_players_look() {
    let folder = Folder::new("label");
    let (track, samples) = taken_apart(&encoded(&folder, Codec::H264));
    let mut writer = MovieWriter::new(track);
    for sample in &samples {
        writer.push(MovieSample {
            bytes: sample.data.len() as u32,
            duration_90k: sample.duration_90k,
            composition_90k: sample.composition_90k,
            key: sample.key,
        });
    }
    let description = "摄像机：村口\n原因：\"核对\"".to_string();
    writer.label(MovieLabel { description: description.clone(), taken_ms: 1_700_000_000_999 });
    let mut bytes = writer.header().unwrap();
    samples.iter().for_each(|sample| bytes.extend_from_slice(&sample.data));
    let path = folder.0.join("labelled.mp4");
    fs::write(&path, bytes).unwrap();
    let tag = |name: &str| {
        let show = format!("format_tags={name}");
        let text = ["-v", "error", "-of", "default=nw=1:nk=1", "-show_entries", &show, path.to_str().unwrap()];
        run("ffprobe", &text).trim().to_string()
    };
    assert_eq!(tag("description"), description);
    assert_eq!(tag("creation_time"), "2023-11-14T22:13:20.000000Z");
    assert_eq!(pictures(&path).len(), 25);
}

#[test]
fn codecs_are_named_as_browsers_ask_for_them() {
    let folder = Folder::new("names");
    let (h264, _) = taken_apart(&encoded(&folder, Codec::H264));
    let name = h264.rfc6381().unwrap();
    assert!(name.starts_with("avc1.") && name.len() == 11, "{name}");
    // ISO/IEC 14496-15, E.3: main profile, level 3.1, progressive, without the zero bytes of constraints at the end.
    let mut parameters =
        vec![1, 1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0];
    let mut h265 = Track { codec: Codec::H265, parameters: parameters.clone(), width: 1, height: 1, sound: None };
    assert_eq!(h265.rfc6381().unwrap(), "hvc1.1.6.L93.B0");
    parameters[1] = 0x22;
    h265.parameters = parameters;
    assert_eq!(h265.rfc6381().unwrap(), "hvc1.2.6.H93.B0");
}

#[test]
fn what_was_written_is_read_back_up_to_the_last_whole_fragment() {
    let folder = Folder::new("read");
    let (track, samples) = taken_apart(&encoded(&folder, Codec::H265));
    let samples = borrowed(&samples);
    let init = init_segment(&track).unwrap();
    let mut bytes = init.clone();
    bytes.extend(fragment(1, 500, &samples[..10]).unwrap());
    let second = bytes.len();
    bytes.extend(fragment(2, 36_500, &samples[10..12]).unwrap());

    let (read, length) = read_init(&bytes).unwrap();
    assert_eq!((&read, length), (&track, init.len()));
    assert!(read_init(&init[..init.len() - 1]).is_err());

    let mut all = fragments(&bytes[length..]);
    let first = all.next().unwrap().unwrap();
    assert_eq!((first.decode_90k, first.duration_90k), (500, 36_000));
    let expected: Vec<_> = (0..)
        .zip(&samples[..10])
        .map(|(index, &sample)| ReadSample { decode_90k: 500 + index * 3_600, sample })
        .collect();
    assert!(first.samples().eq(expected));
    assert_eq!(all.next().unwrap().unwrap().samples().count(), 2);
    assert!(all.next().is_none());

    for cut in second..bytes.len() {
        let mut cut_short = fragments(&bytes[length..cut]);
        assert_eq!(cut_short.by_ref().filter(|fragment| fragment.is_ok()).count(), 1, "cut at {cut}");
        assert_eq!(length + cut_short.position(), second);
    }
}

#[test]
fn a_fragment_moves_in_time_and_nothing_else_changes() {
    let sample = Sample { data: b"picture", duration_90k: 3_600, composition_90k: -5, key: true };
    let mut moved = fragment(3, 7, &[sample]).unwrap();
    retime(&mut moved, u64::MAX - 1).unwrap();
    assert_eq!(moved, fragment(3, u64::MAX - 1, &[sample]).unwrap());
    for foreign in [&b""[..], b"moof", b"\0\0\0\x08moof", b"\0\0\0\0free", b"\0\0\0\x09moof\0"] {
        assert!(retime(&mut foreign.to_vec(), 0).is_err(), "{foreign:?} was moved");
    }
}

/// One second of a tone in AAC frames of 64 ms, as a camera sends them.
fn spoken(folder: &Folder) -> (PathBuf, Sound, Vec<Vec<u8>>) {
    let path = folder.0.join("spoken.aac");
    let source = ["-v", "error", "-y", "-f", "lavfi", "-i", "sine=440:duration=1:sample_rate=16000", "-ac", "1"];
    run("ffmpeg", &[&source[..], &["-c:a", "aac", "-f", "adts", path.to_str().unwrap()]].concat());
    let bytes = fs::read(&path).unwrap();
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while let Some((header, _)) = rest.split_first_chunk::<7>() {
        let length = usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5] >> 5);
        frames.push(rest[7..length].to_vec());
        rest = &rest[length..];
    }
    // ISO/IEC 14496-3: AAC-LC, 16 kHz, one channel.
    let sound = Sound { codec: SoundCodec::Aac, rate_hz: 16_000, channels: 1, parameters: vec![0x14, 0x08] };
    (path, sound, frames)
}

fn pieces(frames: &[Vec<u8>]) -> Vec<SoundSample<'_>> {
    frames.iter().map(|data| SoundSample { data, duration_90k: 5_760 }).collect()
}

#[test]
fn sound_beside_the_pictures_is_what_ffmpeg_hears() {
    let folder = Folder::new("sound");
    let (mut track, samples) = taken_apart(&encoded(&folder, Codec::H264));
    let (spoken, sound, frames) = spoken(&folder);
    let (samples, pieces) = (borrowed(&samples), pieces(&frames));
    track.sound = Some(sound);
    assert!(track.rfc6381().unwrap().ends_with(",mp4a.40.2"));

    let mut flowing = init_segment(&track).unwrap();
    flowing.extend(fragment_with_sound(1, 90_000, &samples[..10], 90_000, &pieces[..6]).unwrap());
    flowing.extend(fragment_with_sound(2, 126_000, &samples[10..], 90_000 + 6 * 5_760, &pieces[6..]).unwrap());
    let mut writer = MovieWriter::new(track.clone());
    let mut bytes = Vec::new();
    for (at, sample) in (0_i64..).zip(&samples) {
        let length = sample.data.len() as u32;
        let Sample { duration_90k, composition_90k, key, .. } = *sample;
        writer.push(MovieSample { bytes: length, duration_90k, composition_90k, key });
        bytes.extend(sample.data);
        // They take turns as they come.
        for (number, piece) in (0_i64..).zip(&pieces).filter(|(number, _)| (number * 5_760 / 3_600).min(24) == at) {
            assert!(writer.push_sound(piece.data.len() as u32, number * 5_760, piece.duration_90k));
            bytes.extend(piece.data);
        }
    }
    assert!(!writer.push_sound(1, 0, 5_760), "the movie is further");
    let whole = [writer.header().unwrap(), bytes].concat();

    let samples_of = |path: &str| run("ffmpeg", &["-v", "error", "-i", path, "-map", "0:a", "-f", "md5", "-"]);
    for (name, bytes) in [("flowing.mp4", flowing), ("whole.mp4", whole)] {
        let path = folder.0.join(name);
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let streams = run("ffprobe", &["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", path]);
        assert_eq!(streams.split_whitespace().collect::<Vec<_>>(), ["h264", "aac"], "{name}");
        assert_eq!(samples_of(path), samples_of(spoken.to_str().unwrap()), "{name}");
        run("ffmpeg", &["-v", "error", "-i", path, "-map", "0:v", "-f", "null", "-"]);
    }
}

#[test]
fn sound_is_read_back_and_moves_with_the_pictures() {
    let folder = Folder::new("sound-read");
    let (mut track, samples) = taken_apart(&encoded(&folder, Codec::H265));
    let samples = borrowed(&samples);
    let flac = Sound { codec: SoundCodec::Flac, rate_hz: 8_000, channels: 1, parameters: Vec::new() };
    track.sound = Some(flac);
    let init = init_segment(&track).unwrap();
    assert_eq!(read_init(&init).unwrap(), (track.clone(), init.len()));

    let data: Vec<Vec<u8>> = (0..4).map(|i| vec![i; 30]).collect();
    let pieces = pieces(&data);
    let mut bytes = fragment_with_sound(1, 90_000, &samples[..2], 80_000, &pieces).unwrap();
    let read = |bytes: &[u8]| {
        let fragment = fragments(bytes).next().unwrap().unwrap();
        assert_eq!(fragment.samples().count(), 2);
        assert!(fragment.sound().map(|piece| piece.sample.data.to_vec()).eq(data.clone()));
        let times = fragment.sound().map(|piece| piece.decode_90k).collect::<Vec<_>>();
        (fragment.decode_90k, times)
    };
    assert_eq!(read(&bytes), (90_000, vec![80_000, 85_760, 91_520, 97_280]));
    retime(&mut bytes, 20_000).unwrap();
    assert_eq!(read(&bytes), (20_000, vec![10_000, 15_760, 21_520, 27_280]));
    // Before zero there is no time: what begins there is cut short, and the rest stands where it belongs.
    retime(&mut bytes, 3_000).unwrap();
    assert_eq!(read(&bytes).1[2..], [4_520, 10_280]);
    let early = fragment_with_sound(1, 0, &samples[..2], -7_000, &pieces).unwrap();
    assert_eq!(read(&early), (0, vec![0, 1, 4_520, 10_280]));
}

#[test]
fn sound_that_is_none_is_refused() {
    let folder = Folder::new("sound-none");
    let (track, _) = taken_apart(&encoded(&folder, Codec::H264));
    let aac = Sound { codec: SoundCodec::Aac, rate_hz: 16_000, channels: 1, parameters: vec![0x14, 0x08] };
    for wrong in [
        Sound { rate_hz: 7, ..aac.clone() },
        Sound { rate_hz: u32::MAX, ..aac.clone() },
        Sound { channels: 0, ..aac.clone() },
        Sound { channels: 255, ..aac.clone() },
        Sound { parameters: Vec::new(), ..aac.clone() },
        Sound { parameters: vec![0x14], ..aac },
    ] {
        let track = Track { sound: Some(wrong.clone()), ..track.clone() };
        assert!(init_segment(&track).is_err(), "{wrong:?} was taken");
    }
}

#[test]
fn parameters_that_are_none_are_refused() {
    // An unknown version, and a record of which one parameter set is longer than the record.
    let avcc = [&[2; 40][..], &[1, 100, 0, 40, 0xff, 0xe1, 0, 9, 0x67]];
    let cut_short = [&[1; 22][..], &[1, 0x20, 0, 1, 0, 9, 0x40]].concat();
    let hvcc = [&[1; 22][..], &cut_short];
    for (codec, wrong) in [(Codec::H264, avcc), (Codec::H265, hvcc)] {
        for parameters in [&b""[..], &[1, 2, 3]].into_iter().chain(wrong) {
            let track = Track { codec, parameters: parameters.to_vec(), width: 1, height: 1, sound: None };
            assert!(init_segment(&track).is_err(), "{codec:?} {parameters:?} was taken");
            assert!(track.rfc6381().is_err());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        fragments(&bytes).for_each(drop);
        let _ = read_init(&bytes);
        let _ = retime(&mut bytes.clone(), 0);
    }

    #[test]
    fn no_damage_panics(at: prop::sample::Index, byte: u8) {
        let sample = Sample { data: b"picture", duration_90k: 3_600, composition_90k: 0, key: true };
        let mut bytes = fragment(1, 2, &[sample, sample]).unwrap();
        let piece = SoundSample { data: b"piece", duration_90k: 1_800 };
        bytes.extend(fragment_with_sound(2, 7_202, &[sample], 7_000, &[piece, piece]).unwrap());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for fragment in fragments(&bytes).flatten() {
            fragment.samples().for_each(drop);
            fragment.sound().for_each(drop);
        }
        let second = bytes.len() / 2;
        let _ = retime(&mut bytes[second..], 0);
        let _ = retime(&mut bytes, 0);
    }
}
