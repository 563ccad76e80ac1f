//! What cameras saw of a press reaches the county whole: thirty seconds before it and sixty after, with its hash, over a line
//! that holds and over one that was cut from before the press until after the last picture.
//!
//! The clip itself takes a minute and a half, so both lines are tried at once, in two villages.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tongluo_tests::button::Press;
use tongluo_tests::devices::{Camera, Microphone, Plan, Recipe, face};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::lan::Lan;
use tongluo_tests::line::Line;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::{Village, text};
use tongluo_tests::{clock, wait};

use crate::cameras::{camera_of, enter};
use crate::exports::sounds;
use crate::house::{House, OTHER_VILLAGE, Store, VILLAGE, alarm_of, zigbee};

/// A clip reaches so far back from its press, and so far on.
const BEFORE_MS: i64 = 30_000;
const AFTER_MS: i64 = 60_000;
/// A clip begins at a keyframe, of which these cameras have one every 400 ms, and ends with a picture; a fragment is a group.
const CUT_MS_MAX: i64 = 2_000;
/// From what the gateway calls a moment to what the camera's clock showed then: what encoding and the way take at least. The gateway's
/// times are those of the quickest pictures, so a busy machine changes little.
const AGE_MS_MAX: i64 = 1_000;
/// With three B-frames a camera's pictures are on the way up to four of them before their turn.
const EARLY_MS_MAX: i64 = 160;
/// A snapshot shows a moment so near to its press, on either side …
const SNAPSHOT_MS_MAX: i64 = 1_000;
/// … and is at the county so soon; twice that on a machine that is building something else.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);
/// For the clip's end to come, and for everything to be brought up by a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn evidence_comes_up_whole_also_after_a_line_that_was_cut() {
    play("evidence", story);
}

async fn story(folder: &Folder) -> Result<()> {
    let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
    let plan = house.hub.plan();
    let lines = [Line::to(plan.mqtt_port).await?, Line::to(plan.media_port).await?];
    let mut near = Scene::begin(&house, folder, "near", VILLAGE, Recipe::TINY_H265, None).await?;
    let mut far = Scene::begin(&house, folder, "far", OTHER_VILLAGE, Recipe::TINY_OPEN_GOP, Some(&lines)).await?;
    let begun_ms = clock::utc_ms();
    wait::until_within(PATIENCE, "thirty seconds to be recorded", async || {
        Ok((clock::utc_ms() > begun_ms + BEFORE_MS).then_some(()))
    })
    .await?;

    lines.iter().for_each(Line::cut);
    far.village.wait_until_offline(&house.api).await?;
    for scene in [&mut near, &mut far] {
        scene.lan.press(&zigbee().press(Press::Sos)).await?;
    }
    let pressed_ms = clock::utc_ms();
    let alarm = near.alarm(&house).await?;
    near.until_shown(&house, &alarm, "snapshot", SNAPSHOT_PATIENCE).await?;
    wait::until_within(PATIENCE, "the last picture", async || {
        Ok((clock::utc_ms() > pressed_ms + AFTER_MS + CUT_MS_MAX).then_some(()))
    })
    .await?;
    let elsewhere = house.api.open_alarms().await?;
    ensure!(elsewhere.len() == 1, "nothing comes through a line that is cut: {elsewhere:?}");
    lines.iter().for_each(Line::mend);

    near.whole(&house, folder, &alarm).await.context("over the line that holds")?;
    let alarm = far.alarm(&house).await?;
    far.whole(&house, folder, &alarm).await.context("over the line that was cut")
}

/// A village with two cameras and a button.
struct Scene {
    village: Village,
    lan: Lan,
    _cameras: [Camera; 2],
    ids: [String; 2],
    recipe: Recipe,
}

impl Scene {
    /// Begins one whose cameras are being recorded, the second one after a recipe; `lines` stand between its gateway and the
    /// hub's two ports.
    async fn begin(
        house: &House,
        folder: &Folder,
        name: &str,
        region_code: &str,
        recipe: Recipe,
        lines: Option<&[Line; 2]>,
    ) -> Result<Self> {
        let (mut village, lan) = house.village(folder, name, region_code).await?;
        if let Some([mqtt, media]) = lines {
            village.gateway.stop().await?;
            village.wait_until_offline(&house.api).await?;
            village.gateway.reroute(mqtt.port(), media.port())?;
            village.gateway.run()?;
            village.wait_until_online(&house.api).await?;
        }
        // One of them hears something; the other one speaks H.265.
        let hears = Plan { microphone: Some(Microphone::Tone), ..Plan::tiny() };
        let cameras = [Camera::start(hears).await?, Camera::start(Plan::new(recipe, Recipe::TINY_SUB)).await?];
        let first = enter(&house.api, &village.site_id, "first", &cameras[0]).await?;
        let second = enter(&house.api, &village.site_id, "second", &cameras[1]).await?;
        for id in [&first, &second] {
            wait::until_within(PATIENCE, "the camera to be recorded", async || {
                let camera = camera_of(&house.api, id).await?;
                let is_recorded = camera["state"]["name"] == "ok" && camera["recorded_from_ms"].is_i64();
                // Told only if it is the last look.
                Ok(Some(is_recorded.then_some(()).with_context(|| format!("it is {camera}"))?))
            })
            .await?;
        }
        Ok(Self { village, lan, _cameras: cameras, ids: [first, second], recipe })
    }

    /// The alarm of this village's button.
    async fn alarm(&self, house: &House) -> Result<Value> {
        alarm_of(&house.api, &zigbee().key(), "the alarm", |alarm| alarm["site_id"] == self.village.site_id.as_str())
            .await
    }

    /// Waits until both cameras' evidence of a kind is at the hub.
    async fn until_shown(&self, house: &House, alarm: &Value, kind: &str, limit: Duration) -> Result<Vec<Value>> {
        let path = format!("/api/v1/alarms/{}/video", text(alarm, "id")?);
        wait::until_within(limit, &format!("a {kind} of both cameras"), async || {
            let evidence = house.api.list(&path, "evidence").await?;
            let ready: Vec<Value> =
                evidence.iter().filter(|one| one["kind"] == kind && one["state"] == "ready").cloned().collect();
            let has = |id: &String| ready.iter().any(|one| one["camera_id"] == id.as_str());
            ensure!(self.ids.iter().all(has), "there is {evidence:?}");
            Ok(Some(ready))
        })
        .await
    }

    /// Everything of the press is at the hub, and is what it says.
    async fn whole(&self, house: &House, folder: &Folder, alarm: &Value) -> Result<()> {
        let pressed_ms = alarm["occurred_ms"].as_i64().context("an alarm occurred at some time")?;
        for snapshot in self.until_shown(house, alarm, "snapshot", PATIENCE).await? {
            let file = content(house, folder, &snapshot).await?;
            let numbers = face::read_file(&file, 1)?;
            let taken_ms = snapshot["from_ms"].as_i64().context("a snapshot was taken at some time")?;
            let after_ms = taken_ms - pressed_ms;
            ensure!(after_ms.abs() <= SNAPSHOT_MS_MAX, "{after_ms} ms after the press: {snapshot}");
            let number = numbers.first().copied().flatten().context("there is no clock in its picture")?;
            ensure!(is_of(number, taken_ms), "{number} is of another time than {snapshot} says");
        }
        for clip in self.until_shown(house, alarm, "clip", PATIENCE).await? {
            let moment = |name: &str| clip[name].as_i64().with_context(|| format!("no {name} in {clip}"));
            let (from_ms, to_ms) = (moment("from_ms")? - pressed_ms, moment("to_ms")? - pressed_ms);
            ensure!((-BEFORE_MS - CUT_MS_MAX..=-BEFORE_MS).contains(&from_ms), "from {from_ms} ms: {clip}");
            ensure!((AFTER_MS - CUT_MS_MAX..=AFTER_MS + CUT_MS_MAX).contains(&to_ms), "to {to_ms} ms: {clip}");
            ensure!(clip["reason"].is_null(), "nothing is missing in {clip}");
            let file = content(house, folder, &clip).await?;
            let length_ms = (face::probe(&file)? * 1_000.0) as i64;
            ensure!((length_ms - (to_ms - from_ms)).abs() < CUT_MS_MAX, "{length_ms} ms long: {clip}");
            if clip["camera_id"] == self.ids[0].as_str() {
                sounds(&file, "flac").with_context(|| format!("the sound of {clip}"))?;
            } else {
                ensure!(face::look(&file)?.codec == "hevc", "it comes as it was recorded: {clip}");
            }
            let numbers = face::read_whole(&file, self.recipe).with_context(|| clip.to_string())?;
            ensure!(is_of(numbers[0], moment("from_ms")?), "it begins elsewhere than {clip} says");
        }
        Ok(())
    }
}

/// Whether a picture is of a moment, which may be rounded down. All cameras here count alike.
fn is_of(number: u32, at_ms: i64) -> bool {
    let age_ms = |at_ms: i64| Recipe::TINY.age_us(number, (at_ms + 1) * 1_000) / 1_000;
    // Ages count from nothing to the length of the film, and then anew.
    (0..EARLY_MS_MAX + AGE_MS_MAX).contains(&age_ms(at_ms + EARLY_MS_MAX))
}

/// Fetches what a row of evidence stands for, and looks whether it is that.
async fn content(house: &House, folder: &Folder, row: &Value) -> Result<std::path::PathBuf> {
    let bytes = house.api.bytes(&format!("/api/v1/evidence/{}/file", text(row, "id")?)).await?;
    let hash = Sha256::digest(&bytes).iter().fold(String::new(), |all, byte| format!("{all}{byte:02x}"));
    ensure!(row["sha256"] == hash.as_str() && row["bytes"] == json!(bytes.len()), "{hash} is not what {row} says");
    let file = Path::join(folder.path(), hash);
    std::fs::write(&file, bytes)?;
    Ok(file)
}
