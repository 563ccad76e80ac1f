//! A loudspeaker of a village, entered at the hub as a technician would, whose power can be taken; and which sounds it let out.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use tongluo_protocols::device::speaker::Key;

use crate::api::Api;
use crate::devices::speaker::{Line, Speaker, SpeakerPlan, diary};
use crate::village::{Village, text};
use crate::wait;

/// As loud as each may be.
pub const VOLUME_PERCENT: i32 = 80;
/// Samples a second of [`tone`].
const RATE_HZ: u32 = 16_000;
/// Tones of stories are this far apart, so that even a few milliseconds of one tell which it is. The lowest is the pitch of the
/// chime before a notice ([`CHIME_HZ`]).
pub const PITCH_STEP_HZ: u32 = 800;
/// What the chime counts as, whole or broken off.
pub const CHIME_HZ: u32 = PITCH_STEP_HZ;

/// A virtual loudspeaker that the hub knows.
#[derive(Debug)]
pub struct Horn {
    /// The hub's id of it.
    pub id: String,
    plan: SpeakerPlan,
    power: Option<Speaker>,
}

impl Horn {
    /// Switches on a loudspeaker of this serial, enters it at the hub, and waits until its gateway hears it.
    ///
    /// # Errors
    /// The hub refuses, or the gateway does not hear it.
    pub async fn enter(api: &Api, folder: &Path, village: &Village, serial: &str) -> Result<Self> {
        let key = "2a".repeat(32);
        let plan = SpeakerPlan {
            id: serial.to_owned(),
            key: Key::new([0x2a; 32]),
            broker_port: village.mosquitto.port(),
            login: village.devices_login.clone(),
            folder: folder.join(serial),
        };
        let power = Some(Speaker::start(plan.clone())?);
        let form = json!({
            "site_id": village.site_id, "name": serial, "kind": "mqtt", "device": serial, "key": key,
            "volume_percent": VOLUME_PERCENT,
        });
        let id = text(&api.post("/api/v1/speakers", form).await?, "id")?;
        let horn = Self { id, plan, power };
        horn.wait_until_heard_of(api).await?;
        Ok(horn)
    }

    /// Waits until the hub says that it is well.
    ///
    /// # Errors
    /// It does not.
    pub async fn wait_until_heard_of(&self, api: &Api) -> Result<()> {
        wait::until(&format!("the loudspeaker {} to be heard of", self.plan.id), async || {
            let speakers = api.list("/api/v1/speakers", "speakers").await?;
            Ok(speakers.iter().find(|one| one["id"] == *self.id && one["state"] == "ok").map(drop))
        })
        .await
    }

    /// Takes its power.
    pub fn switch_off(&mut self) {
        self.power = None;
    }

    /// Gives it power, as if nothing had been.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn switch_on(&mut self) -> Result<()> {
        if self.power.is_none() {
            self.power = Some(Speaker::start(self.plan.clone())?);
        }
        Ok(())
    }

    /// What it has written down so far.
    ///
    /// # Errors
    /// That cannot be read.
    pub fn diary(&self) -> Result<Vec<Line>> {
        diary(&self.plan.folder)
    }

    /// The plays that were heard so far, in their order, with the moment of their first sample in UTC microseconds.
    ///
    /// # Errors
    /// That cannot be read.
    pub fn heard(&self) -> Result<Vec<(u64, i64)>> {
        let heard = |line| match line {
            Line::Heard { play, at_us } => Some((play, at_us)),
            Line::Ended { .. } => None,
        };
        Ok(self.diary()?.into_iter().filter_map(heard).collect())
    }

    /// Waits until nothing sounds any more, and at least `count` plays were heard.
    ///
    /// # Errors
    /// It goes on, or fewer come.
    pub async fn wait_until_quiet(&self, count: usize) -> Result<()> {
        wait::until(&format!("{} to have let out {count} sounds", self.plan.id), async || {
            let is_quiet = self.heard()?.len() >= count && !self.sounds_now()?;
            Ok(is_quiet.then_some(()))
        })
        .await
    }

    /// Whether something is heard that has not ended. What lost its power in the middle counts until something else is heard.
    ///
    /// # Errors
    /// What it has written down cannot be read.
    pub fn sounds_now(&self) -> Result<bool> {
        let last = self.diary()?.into_iter().next_back();
        Ok(matches!(last, Some(Line::Heard { .. })))
    }

    /// The samples of a play, and how many there are a second.
    ///
    /// # Errors
    /// There is no such file.
    pub fn samples(&self, play: u64) -> Result<(Vec<i16>, u32)> {
        samples_of(&self.plan.folder.join(format!("{play}.wav")))
    }

    /// Of each play that was heard which [`tone`] it was, by its pitch.
    ///
    /// # Errors
    /// What it played cannot be read.
    pub fn pitches_hz(&self) -> Result<Vec<u32>> {
        let pitch = |(play, _)| {
            let (samples, rate_hz) = self.samples(play)?;
            Ok(pitch_hz(&samples, rate_hz))
        };
        self.heard()?.into_iter().map(pitch).collect()
    }
}

/// The samples of a WAV file, and how many there are a second.
///
/// # Errors
/// There is no such file.
pub fn samples_of(path: &Path) -> Result<(Vec<i16>, u32)> {
    let wav = hound::WavReader::open(path).with_context(|| format!("no {}", path.display()))?;
    let rate_hz = wav.spec().sample_rate;
    Ok((wav.into_samples::<i16>().collect::<Result<_, _>>()?, rate_hz))
}

/// A WAV file of one pure tone.
///
/// # Errors
/// Never in practice: it is written to memory.
pub fn tone(pitch_hz: u32, length_ms: u32) -> Result<Vec<u8>> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::new());
    let mut wav = hound::WavWriter::new(&mut file, spec)?;
    for at in 0..RATE_HZ * length_ms / 1_000 {
        let turns = f64::from(at) * f64::from(pitch_hz) / f64::from(RATE_HZ);
        wav.write_sample(((turns * std::f64::consts::TAU).sin() * 8_000.0) as i16)?;
    }
    wav.finalize()?;
    Ok(file.into_inner())
}

/// The nearest multiple of [`PITCH_STEP_HZ`], by how often the sound passes through zero.
fn pitch_hz(samples: &[i16], rate_hz: u32) -> u32 {
    let passes = samples.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    let pitch_hz = passes as f64 / 2.0 * f64::from(rate_hz) / samples.len().max(1) as f64;
    (pitch_hz / f64::from(PITCH_STEP_HZ)).round() as u32 * PITCH_STEP_HZ
}
