//! The demo's voices: six loudspeakers in the first village and two in the second, which keep our protocol and write what they play
//! to WAV files; entered as a technician would, by the serial and the key on their labels.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tongluo_protocols::device::speaker::Key;
use tongluo_tests::api::Api;
use tongluo_tests::devices::speaker::{Speaker, SpeakerPlan};
use tongluo_tests::village::{Village, text};

/// A loudspeaker of the demo.
#[derive(Debug)]
struct DemoSpeaker {
    /// Its serial, as on its label.
    serial: &'static str,
    village: usize,
    name: &'static str,
    place: &'static str,
    latitude: f64,
    longitude: f64,
    volume_percent: u8,
}

const SPEAKERS: [DemoSpeaker; 8] = [
    speaker("horn-1", 0, "村委会楼顶", "初徐村委会三楼平台", (33.2051, 113.8724), 85),
    speaker("horn-2", 0, "村东路口", "初徐村东头路口电线杆", (33.2056, 113.8737), 80),
    speaker("horn-3", 0, "文化广场", "初徐村文化广场舞台左侧", (33.2046, 113.8718), 80),
    speaker("horn-4", 0, "西头小桥", "初徐村西头桥北灯杆", (33.2049, 113.8699), 80),
    speaker("horn-5", 0, "南地机井房", "初徐村南地机井房屋檐", (33.2033, 113.8722), 75),
    speaker("horn-6", 0, "老年活动中心", "初徐村老年活动中心大门上方", (33.2062, 113.8715), 70),
    speaker("horn-7", 1, "海眼村委会", "海眼村委会门前旗杆", (33.0958, 113.7422), 80),
    speaker("horn-8", 1, "水库大坝", "海眼村水库大坝南端", (33.0980, 113.7400), 90),
];

const fn speaker(
    serial: &'static str,
    village: usize,
    name: &'static str,
    place: &'static str,
    (latitude, longitude): (f64, f64),
    volume_percent: u8,
) -> DemoSpeaker {
    DemoSpeaker { serial, village, name, place, latitude, longitude, volume_percent }
}

/// Switches on the loudspeakers of a village and enters them; gives them, and what the register says of each. What they play is
/// in `speakers/<serial>` of the village's folder.
///
/// # Errors
/// A folder cannot be made, or the hub refuses.
pub(crate) async fn start(
    api: &Api,
    folder: &Path,
    village: &Village,
    number: usize,
) -> Result<(Vec<Speaker>, Vec<Value>)> {
    let (mut speakers, mut entries) = (Vec::new(), Vec::new());
    for one in SPEAKERS.iter().filter(|one| one.village == number) {
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("random bytes of the operating system")?;
        let folder = folder.join("speakers").join(one.serial);
        let plan = SpeakerPlan {
            id: one.serial.to_owned(),
            key: Key::new(key),
            broker_port: village.mosquitto.port(),
            login: village.devices_login.clone(),
            folder: folder.clone(),
        };
        speakers.push(Speaker::start(plan)?);
        let entered = api.post("/api/v1/speakers", one.form(&village.site_id, &hex(&key))).await.context(one.serial)?;
        entries.push(json!({
            "id": one.serial,
            "name": one.name,
            "site": village.site_id,
            "speaker": text(&entered, "id")?,
            "plays": folder.display().to_string(),
        }));
    }
    Ok((speakers, entries))
}

impl DemoSpeaker {
    fn form(&self, site_id: &str, key: &str) -> Value {
        json!({
            "site_id": site_id,
            "name": self.name,
            "kind": "mqtt",
            "device": self.serial,
            "key": key,
            "place": self.place,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "volume_percent": self.volume_percent,
        })
    }
}

/// The key as a label has it.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes what is written to it");
        text
    })
}
