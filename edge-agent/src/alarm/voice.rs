//! What an alarm sounds like: the siren that every loudspeaker has, and voices.
//!
//! Voices come from the hub with the configuration, and are fetched in advance; until then, and when the line has never been
//! there, those built in here speak. They were spoken by espeak-ng at the loudness of all our speech. None says that people
//! are coming, and none names anybody.

use std::io::Write as _;
use std::path::Path;

use tongluo_protocols::configuration::{Configuration, Response, ResponseKind};
use tongluo_protocols::device::speaker::Sound;
use tongluo_protocols::id::{ContentId, DeviceKey};

use super::machine::{Effect, SIREN_AGE_MS_MAX, Truth};
use super::{Voice, VoiceKind};
use crate::speaker::{Play, Sounds, What};

/// The neighbours are asked so often, with a pause in between.
const NEIGHBOURS_TIMES: u8 = 2;
const NEIGHBOURS_GAP_MS: u32 = 2_000;
/// Alarms are as loud as their loudspeakers are allowed.
const VOLUME_PERCENT: u8 = 100;
/// A siren of no chosen length.
const SIREN_S: u8 = 30;
/// Neighbours who are asked later would come for something that has passed.
const NEIGHBOURS_WITHIN_MS: u32 = 60_000;
/// A truth that has waited longer says nothing true any more.
const TRUTH_WITHIN_MS: u32 = 30_000;

/// A voice that is built in.
struct BuiltIn {
    name: &'static str,
    sha256: &'static str,
    bytes: &'static [u8],
}

/// Samples of 16 bits at 8,000 a second.
const BYTES_PER_MS: u64 = 16;
const HEADER_BYTES: u64 = 44;

const BUILT_IN: [BuiltIn; 4] = [
    // 已发出，正在叫人
    BuiltIn {
        name: "sent",
        sha256: "24a5a7435137dff8fbcb072a9eda9b12bacc305c2a213b7f3cd93658ee4cbf79",
        bytes: include_bytes!("../../sounds/sent.wav"),
    },
    // 已有人接警
    BuiltIn {
        name: "taken",
        sha256: "e0055beb6d84dc3044909dea81dc14991f9bc9f82e6d4f3b07a095bcdfa3ca2c",
        bytes: include_bytes!("../../sounds/taken.wav"),
    },
    // 无人应答，请拨打110或120
    BuiltIn {
        name: "nobody",
        sha256: "f424aafa67a31c51518ae7b60bf616a57bc7fbd1b3e066c424af31f5c9b1a4f4",
        bytes: include_bytes!("../../sounds/nobody.wav"),
    },
    // 附近有人按下求助按钮，请邻居去看一看
    BuiltIn {
        name: "neighbours",
        sha256: "551721d87228823210e82e9bca55a7c8912ca78331d24b7b2a438daf9b9345c1",
        bytes: include_bytes!("../../sounds/neighbours.wav"),
    },
];

/// Puts the built-in voices beside the others, where loudspeakers find them.
///
/// # Errors
/// When the disk refuses.
pub(super) fn unpack(folder: &Path) -> std::io::Result<()> {
    for voice in &BUILT_IN {
        let path = folder.join(voice.sha256);
        if path.metadata().is_ok_and(|facts| facts.len() == voice.bytes.len() as u64) {
            continue;
        }
        let mut file = std::fs::File::create(path)?;
        file.write_all(voice.bytes)?;
    }
    Ok(())
}

/// What a press of this device sets off.
pub(super) fn effect(configuration: &Configuration, sounds: &Sounds, device: DeviceKey) -> Effect {
    let Some(response) = configuration.response_of(device.as_str()) else { return Effect::default() };
    let sounds_ms = match response.kind {
        ResponseKind::Silent => 0,
        ResponseKind::Neighbours => {
            let whole_ms =
                voice(configuration, sounds, "neighbours", NEIGHBOURS_TIMES).map_or(0, |what| what.whole_ms());
            u32::try_from(whole_ms).unwrap_or(0)
        }
        ResponseKind::Siren => siren_ms(response),
    };
    Effect { sounds_ms, speaks: response.speaks }
}

/// What calls people after a press: a siren for so long, or a voice.
pub(super) fn call(configuration: &Configuration, sounds: &Sounds, device: DeviceKey, left_ms: u32) -> Option<Voice> {
    let response = configuration.response_of(device.as_str())?;
    let (what, within_ms) = match response.kind {
        ResponseKind::Silent => return None,
        ResponseKind::Neighbours => {
            (voice(configuration, sounds, "neighbours", NEIGHBOURS_TIMES)?, NEIGHBOURS_WITHIN_MS)
        }
        ResponseKind::Siren => (What::BuiltIn { sound: Sound::Siren, length_ms: left_ms }, left_ms),
    };
    let play = play(configuration, response, alarm_name(device), what);
    Some(Voice { device, kind: VoiceKind::Call, play, within_ms })
}

/// A truth, spoken.
pub(super) fn truth(configuration: &Configuration, sounds: &Sounds, device: DeviceKey, truth: &Truth) -> Option<Voice> {
    let response = configuration.response_of(device.as_str())?;
    let what = voice(configuration, sounds, truth.name(), 1)?;
    // Another name for each truth: what is said is not the same play as what was said before.
    let play = play(configuration, response, format!("{}/{}", alarm_name(device), truth.name()), what);
    Some(Voice { device, kind: VoiceKind::Truth, play, within_ms: TRUTH_WITHIN_MS })
}

/// What an alarm's sound is called.
pub(super) fn alarm_name(device: DeviceKey) -> String {
    format!("alarm/{device}")
}

fn play(configuration: &Configuration, response: &Response, name: String, what: What) -> Play {
    let all = || configuration.speakers.iter().map(|speaker| speaker.id.clone()).collect();
    let speakers = if response.speakers.is_empty() { all() } else { response.speakers.clone() };
    Play { name: name.into(), speakers, what, volume_percent: VOLUME_PERCENT }
}

fn siren_ms(response: &Response) -> u32 {
    let seconds = if response.siren_s == 0 { SIREN_S } else { response.siren_s.min(Response::SIREN_S_MAX) };
    (u32::from(seconds) * 1_000).min(u32::try_from(SIREN_AGE_MS_MAX).unwrap_or(u32::MAX))
}

/// The hub's voice of this name if it is at hand, or else the one that is built in.
fn voice(configuration: &Configuration, sounds: &Sounds, name: &str, times: u8) -> Option<What> {
    let gap_ms = NEIGHBOURS_GAP_MS;
    if let Some(sound) = configuration.sound(name).filter(|sound| sounds.has(sound.content)) {
        let (content, bytes, length_ms) = (sound.content, sound.bytes, sound.content_ms);
        return Some(What::File { content, bytes, length_ms, times, gap_ms, from_ms: 0 });
    }
    let built_in = BUILT_IN.iter().find(|voice| voice.name == name)?;
    let bytes = built_in.bytes.len() as u64;
    let content: ContentId = built_in.sha256.parse().ok()?;
    let length_ms = u32::try_from((bytes - HEADER_BYTES) / BYTES_PER_MS).ok()?;
    Some(What::File { content, bytes, length_ms, times, gap_ms, from_ms: 0 })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};
    use tongluo_protocols::configuration::ANY_DEVICE;

    use super::*;
    use crate::testing::TempDir;

    fn configuration(kind: ResponseKind, siren_s: u8, speakers: &[&str]) -> Configuration {
        let speakers = speakers.iter().map(|id| (*id).to_owned()).collect();
        let response = Response { device: ANY_DEVICE.to_owned(), kind, speaks: true, speakers, siren_s };
        Configuration { responses: vec![response], ..Configuration::default() }
    }

    fn sounds(dir: &TempDir) -> Sounds {
        Sounds::at(dir.path())
    }

    #[test]
    fn what_is_built_in_has_the_hash_under_which_it_is_served() {
        let dir = TempDir::new("voices");
        unpack(dir.path()).unwrap();
        for voice in &BUILT_IN {
            assert_eq!(ContentId(Sha256::digest(voice.bytes).into()).to_string(), voice.sha256, "{}", voice.name);
            assert_eq!(std::fs::read(dir.path().join(voice.sha256)).unwrap(), voice.bytes);
            assert_eq!(&voice.bytes[..4], b"RIFF");
        }
    }

    #[test]
    fn a_device_of_which_nothing_is_said_sets_nothing_off() {
        let (dir, device) = (TempDir::new("quiet"), DeviceKey::zigbee(1));
        assert_eq!(effect(&Configuration::default(), &sounds(&dir), device), Effect::default());
        let silent = configuration(ResponseKind::Silent, 60, &[]);
        assert_eq!(effect(&silent, &sounds(&dir), device), Effect { sounds_ms: 0, speaks: true });
        assert_eq!(call(&silent, &sounds(&dir), device, 9), None);
    }

    #[test]
    fn a_siren_lasts_a_minute_at_most_and_sounds_where_it_was_chosen() {
        let (dir, device) = (TempDir::new("siren"), DeviceKey::zigbee(1));
        let long = configuration(ResponseKind::Siren, 255, &["s1"]);
        assert_eq!(effect(&long, &sounds(&dir), device).sounds_ms, 60_000);
        let Voice { play, within_ms, .. } = call(&long, &sounds(&dir), device, 12_000).unwrap();
        assert_eq!(within_ms, 12_000, "whatever goes before it, it ends a minute after its press");
        assert_eq!((play.speakers, &*play.name), (vec!["s1".to_owned()], "alarm/zigbee:0x0000000000000001"));
        assert_eq!(play.what, What::BuiltIn { sound: Sound::Siren, length_ms: 12_000 });
    }

    #[test]
    fn the_hubs_voice_speaks_once_it_is_at_hand() {
        let (dir, device) = (TempDir::new("at-hand"), DeviceKey::zigbee(1));
        let mut configuration = configuration(ResponseKind::Neighbours, 0, &[]);
        let content = ContentId([9; 32]);
        configuration.sounds = vec![tongluo_protocols::configuration::NamedSound {
            name: "sent".to_owned(),
            content,
            bytes: 4,
            content_ms: 1_234,
        }];
        let length_ms = || match truth(&configuration, &sounds(&dir), device, &Truth::Sent).unwrap().play.what {
            What::File { length_ms, .. } => length_ms,
            What::BuiltIn { .. } => 0,
        };
        assert_eq!(length_ms(), 2_962);
        std::fs::write(dir.path().join(content.to_string()), b"RIFF").unwrap();
        assert_eq!(length_ms(), 1_234);
    }
}
