//! What comes out of an export as a player sees it: H.264 and H.265, with sound and without. FFmpeg makes the recording and
//! judges the film.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tongluo_protocols::media::mp4::{Sample, Sound, SoundSample, Track, fragment_with_sound};
use tongluo_protocols::media::{Codec, GatewayMessage, SoundCodec};

use super::export::{FROM_MS, Gateway};
use super::*;

/// So many pictures a second, each second a group of its own.
const PICTURES_PER_SECOND: usize = 5;
const PICTURE_90K: u32 = 18_000;
/// A second, in ticks.
const SECOND_90K: u64 = 90_000;
/// A frame of AAC at 8 kHz: 1,024 samples, in ticks.
const SOUND_90K: u32 = 11_520;
/// AAC-LC, 8 kHz, one channel (ISO/IEC 14496-3, AudioSpecificConfig).
const AAC_8K_MONO: [u8; 2] = [0x15, 0x88];

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tongluo-film-{}", crate::ids::opaque()));
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
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{program} {arguments:?}: {complaints}");
    String::from_utf8(output.stdout).unwrap()
}

/// Ten seconds of something, each frame a fragment of its own: the file's header, and the frames.
fn encoded(folder: &Folder, source: &str, encoder: &[&str]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let path = folder.0.join("encoded.mp4");
    let input = ["-v", "error", "-y", "-f", "lavfi", "-i", source, "-t", "10"];
    let output = ["-movflags", "frag_every_frame+empty_moov", path.to_str().unwrap()];
    run("ffmpeg", &[&input[..], encoder, &output].concat());
    let bytes = fs::read(path).unwrap();
    let (mut header, mut frames) = (Vec::new(), Vec::new());
    for (name, body) in boxes(&bytes) {
        match name {
            b"moov" => header = body.to_vec(),
            b"mdat" => frames.push(body.to_vec()),
            _ => {}
        }
    }
    (header, frames)
}

/// The boxes of a file, one after another: name and body.
fn boxes(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while let Some((header, _)) = bytes.split_at_checked(8) {
        let length = u32::from_be_bytes(header[..4].try_into().unwrap()) as usize;
        found.push((&header[4..], &bytes[8..length]));
        bytes = &bytes[length..];
    }
    found
}

/// The body of the box of this name, wherever it stands.
fn body_of<'a>(bytes: &'a [u8], name: &[u8]) -> &'a [u8] {
    let at = bytes.windows(4).position(|window| window == name).expect("there is such a box");
    let length = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    &bytes[at + 4..at - 4 + length]
}

/// What a village has on its disk.
struct Recording {
    track: Track,
    pictures: Vec<Vec<u8>>,
    sounds: Vec<Vec<u8>>,
}

impl Recording {
    fn new(codec: Codec, with_sound: bool) -> Self {
        let folder = Folder::new();
        let (encoder, record): (&[&str], &[u8]) = match codec {
            Codec::H264 => (&["-c:v", "libx264", "-bf", "0", "-g", "5"], b"avcC"),
            Codec::H265 => {
                let parameters = "log-level=none:info=0:keyint=5:min-keyint=5:scenecut=0:bframes=0:open-gop=0";
                (&["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", parameters], b"hvcC")
            }
        };
        let (header, pictures) = encoded(&folder, "testsrc=size=64x48:rate=5", encoder);
        let parameters = body_of(&header, record).to_vec();
        let (mut sound, mut sounds) = (None, Vec::new());
        if with_sound {
            let parameters = AAC_8K_MONO.to_vec();
            sound = Some(Sound { codec: SoundCodec::Aac, rate_hz: 8_000, channels: 1, parameters });
            sounds = encoded(&folder, "sine=frequency=440:sample_rate=8000", &["-c:a", "aac"]).1;
        }
        Self { track: Track { codec, parameters, width: 64, height: 48, sound }, pictures, sounds }
    }

    /// One second of it, as its gateway sends it.
    fn second(&self, number: usize) -> Vec<u8> {
        let pictures: Vec<_> = self.pictures[number * PICTURES_PER_SECOND..][..PICTURES_PER_SECOND]
            .iter()
            .enumerate()
            .map(|(at, data)| Sample { data, duration_90k: PICTURE_90K, composition_90k: 0, key: at == 0 })
            .collect();
        let begins_90k = number as u64 * SECOND_90K;
        let first = begins_90k.div_ceil(u64::from(SOUND_90K));
        let after = (begins_90k + SECOND_90K).div_ceil(u64::from(SOUND_90K));
        let piece = |at: u64| SoundSample {
            data: self.sounds.get(at as usize).map_or(&[], Vec::as_slice),
            duration_90k: SOUND_90K,
        };
        let sounds: Vec<_> = (first..after).map(piece).filter(|piece| !piece.data.is_empty()).collect();
        let sound_90k = (first * u64::from(SOUND_90K)).cast_signed();
        fragment_with_sound(1, begins_90k, &pictures, sound_90k, &sounds).unwrap()
    }
}

/// Codec, how it is marked, and how many frames are decoded, of each track.
fn decoded(film: &Path) -> String {
    let entries = "stream=codec_name,codec_tag_string,nb_read_frames";
    let told = run(
        "ffprobe",
        &["-v", "error", "-count_frames", "-show_entries", entries, "-of", "csv=p=0", film.to_str().unwrap()],
    );
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_film_plays_whatever_the_camera_encoded() {
    let folder = Folder::new();
    for (codec, with_sound, expected) in [
        (Codec::H264, false, "h264,avc1,50"),
        (Codec::H264, true, "h264,avc1,50 aac,mp4a,79"),
        (Codec::H265, false, "hevc,hvc1,50"),
        (Codec::H265, true, "hevc,hvc1,50 aac,mp4a,79"),
    ] {
        let recording = Recording::new(codec, with_sound);
        each_store(async |store| {
            let village = Village::new(&store).await;
            let camera = village.camera().await;
            let mut gateway = Gateway::connect(&village);
            let path = village.export_ten_seconds(&camera).await;
            let request = gateway.asked().await;
            gateway.init(request, &recording.track);
            for second in 0..10 {
                let wall_ms = FROM_MS + second as i64 * 1_000;
                let data = recording.second(second);
                gateway.say(GatewayMessage::Fragment { request, wall_ms, duration_ms: 1_000, data: &data });
            }
            let export = village.until(&path, "ready").await;
            assert_eq!((&export["gaps"], &export["shortened"]), (&json!([]), &Value::Null), "{codec:?}");
            let film = folder.0.join("film.mp4");
            fs::write(&film, village.file(&path).await.1).unwrap();
            assert_eq!(decoded(&film), expected, "{codec:?}");
            let record: &[u8] = if codec == Codec::H265 { b"hvcC" } else { b"avcC" };
            let bytes = fs::read(&film).unwrap();
            assert!(
                body_of(&bytes, record) == recording.track.parameters,
                "what a decoder must know is what the camera said"
            );
        })
        .await;
    }
}
