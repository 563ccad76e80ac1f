//! What a loudspeaker lets out while several things are to be heard at it; and that nothing is heard which is not what was ordered.
//!
//! What each play was is told by its samples, so that one that was broken off is known by its beginning.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tongluo_tests::api::Api;
use tongluo_tests::button::{LorawanButton, Press};
use tongluo_tests::horn::{Horn, samples_of, tone};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::text;
use tongluo_tests::wait;

use crate::answer::{choose, turned_down, voices};
use crate::house::{House, Store, VILLAGE, alarm_of, lorawan, zigbee};

/// Long enough to be broken off on a slow machine, short enough to be heard twice.
const TONE_MS: u32 = 4_000;
const PITCH_HZ: u32 = 1_600;
const SIREN_S: u32 = 3;
const CHIME_MS: u32 = 2_000;
/// The shortest time for which an order may be given, and how long its end may take to be told.
const VALID_FOR_S: u32 = 60;
const LAST_WORD_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn what_is_more_urgent_breaks_off_what_is_less_and_both_are_heard() {
    play("heard", precedence);
}

/// A notice sounds; a siren breaks it off; a household that is told the truth meanwhile is told it after the siren, and then the
/// notice begins again. What the neighbours are asked is heard, too.
async fn precedence(folder: &Folder) -> Result<()> {
    let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
    let (village, mut lan) = house.village(folder, "village", VILLAGE).await?;
    let horn = Horn::enter(&house.api, folder.path(), &village, "horn-1").await?;
    let gateway = folder.path().join("village/gateway");
    lan.press(&lorawan().press(Press::Single, 1)).await?;
    alarm_of(&house.api, &lorawan().key(), "an alarm", |_| true).await?;
    choose(&house.api, &gateway, &zigbee().key(), json!({ "kind": "siren", "siren_s": SIREN_S, "everywhere": true }))
        .await?;
    choose(&house.api, &gateway, &lorawan().key(), json!({ "speaks": true, "speaker_ids": [horn.id] })).await?;

    let sound = bring(&house.api, PITCH_HZ).await?;
    let (tone, _) = samples_of(&find(house.hub.folder(), &sound)?)?;
    let ear = Ear { horn: &horn, gateway: &gateway, tone: turned_down(&tone) };
    let notice = order(&house.api, &sound, json!({})).await?;
    // The chime before it is the first.
    ear.wait_for("the notice to be heard", |heard| heard.len() == 2).await?;
    lan.press(&zigbee().press(Press::Sos)).await?;
    ear.wait_for("the siren to be heard", |heard| heard.len() == 3).await?;
    lan.press(&lorawan().press(Press::Single, 2)).await?;
    horn.wait_until_quiet(5).await?;
    let heard = ear.heard()?;
    let siren = format!("{} ms of its own", SIREN_S * 1_000);
    let chime = format!("{CHIME_MS} ms of its own");
    ensure!(heard == [&*chime, "a part of the notice", &siren, "sent", "the notice"], "{heard:?}");
    wait::until("the hub to be told that the notice was heard", async || {
        let detail = house.api.get(&format!("/api/v1/notices/{notice}")).await?;
        Ok((detail["speakers"][0]["state"] == "played").then_some(()))
    })
    .await?;

    let neighbour = LorawanButton { dev_eui: lorawan().dev_eui + 1, ..lorawan() };
    lan.press(&neighbour.press(Press::Single, 1)).await?;
    alarm_of(&house.api, &neighbour.key(), "an alarm", |_| true).await?;
    choose(&house.api, &gateway, &neighbour.key(), json!({ "kind": "neighbours", "speaker_ids": [horn.id] })).await?;
    lan.press(&neighbour.press(Press::Single, 2)).await?;
    horn.wait_until_quiet(6).await?;
    let heard = ear.heard()?;
    ensure!(heard[5..] == ["neighbours, and again"], "{heard:?}");
    Ok(())
}

#[test]
fn what_is_not_what_was_ordered_is_not_heard() {
    play("changed", changed);
}

/// A sound that was changed at the county, and one that was changed in the village, each at its own length.
async fn changed(folder: &Folder) -> Result<()> {
    let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
    let (village, _lan) = house.village(folder, "village", VILLAGE).await?;
    let horn = Horn::enter(&house.api, folder.path(), &village, "horn-1").await?;
    let sounds = folder.path().join("village/gateway/sounds");

    let at_county = bring(&house.api, PITCH_HZ).await?;
    change(&find(house.hub.folder(), &at_county)?)?;
    let first = order(&house.api, &at_county, json!({ "valid_for_s": VALID_FOR_S })).await?;

    let in_village = bring(&house.api, 2 * PITCH_HZ).await?;
    let held = sounds.join(&in_village);
    std::fs::copy(find(house.hub.folder(), &in_village)?, &held)?;
    change(&held)?;
    let second = order(&house.api, &in_village, json!({})).await?;

    for notice in [second, first] {
        let (state, reason) = wait::until_within(LAST_WORD_WITHIN, "the last word of the loudspeaker", async || {
            let detail = house.api.get(&format!("/api/v1/notices/{notice}")).await?;
            let word = (text(&detail["speakers"][0], "state")?, text(&detail["speakers"][0], "reason")?);
            Ok((word.0 == "failed").then_some(word))
        })
        .await?;
        ensure!(reason.contains("another hash"), "it {state}: {reason}");
    }
    // The chime is the loudspeaker's own, and comes before it fetches anything.
    let heard = horn.heard()?.len();
    ensure!(heard <= 1, "{heard} sounds were heard, and one chime at most was what was ordered");
    Ok(())
}

/// What a loudspeaker let out, in words.
struct Ear<'a> {
    horn: &'a Horn,
    gateway: &'a Path,
    /// The notice as it should be heard.
    tone: Vec<i16>,
}

impl Ear<'_> {
    async fn wait_for(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Result<()> {
        wait::until(what, async || {
            let heard = self.heard()?;
            // Told only if it is the last look.
            ensure!(wanted(&heard), "heard was {heard:?}");
            Ok(Some(()))
        })
        .await
    }

    /// Each play, in its order.
    fn heard(&self) -> Result<Vec<String>> {
        self.horn.heard()?.into_iter().map(|(play, _)| self.what(play)).collect()
    }

    fn what(&self, play: u64) -> Result<String> {
        let (samples, rate_hz) = self.horn.samples(play)?;
        if samples == self.tone {
            return Ok("the notice".to_owned());
        }
        if self.tone.starts_with(&samples) {
            return Ok("a part of the notice".to_owned());
        }
        for (name, voice) in voices(self.gateway)? {
            if samples == voice {
                return Ok(name.to_owned());
            }
            if samples.len() > 2 * voice.len() && samples.starts_with(&voice) && samples.ends_with(&voice) {
                return Ok(format!("{name}, and again"));
            }
        }
        Ok(format!("{} ms of its own", samples.len() as u64 * 1_000 / u64::from(rate_hz)))
    }
}

/// Brings the hub a tone; gives the hash of what it made of it.
async fn bring(api: &Api, pitch_hz: u32) -> Result<String> {
    text(&api.bring("/api/v1/sounds", "audio/wav", tone(pitch_hz, TONE_MS)?).await?, "sha256")
}

/// Sends a notice of a sound to the village; gives its id.
async fn order(api: &Api, sha256: &str, more: Value) -> Result<String> {
    let mut notice = json!({ "region_code": VILLAGE, "sound_sha256": sha256, "level": "notice", "title": "a tone" });
    let more = more.as_object().context("more about a notice")?.clone();
    notice.as_object_mut().context("a notice")?.extend(more);
    text(&api.post("/api/v1/notices", notice).await?, "id")
}

/// The file of a content somewhere in a folder.
fn find(folder: &Path, sha256: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(&folder)? {
            let path = file?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == sha256) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no {sha256} in {}", folder.display())
}

/// Changes one sample.
fn change(path: &Path) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    *bytes.last_mut().context("an empty sound")? ^= 1;
    Ok(std::fs::write(path, bytes)?)
}
