//! A notice is heard once, or it is said that it was not, whenever the gateway dies.
//!
//! Each broadcast has a tone of its own, so that what a loudspeaker let out says whose beginning it was. The moments of death are
//! those of the gateway's work, seen in what it writes, says and has played: not times.

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;
use serde_json::{Value, json};
use tongluo_tests::horn::{CHIME_HZ, Horn, PITCH_STEP_HZ, tone};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::line::Line;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::{Village, text};
use tongluo_tests::{ports, wait};

use crate::house::{House, Store, VILLAGE};

/// Long enough to die in, short enough to wait for.
const TONE_MS: u32 = 800;
/// How many notices the story sends.
const BROADCASTS: usize = 7;
/// States after which nothing more is said of a loudspeaker.
const LAST_WORDS: [&str; 6] = ["played", "interrupted", "failed", "refused", "expired", "stopped"];

/// When the gateway is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The verdict is on its disk.
    Judged,
    /// It fetches the sound, and has said so.
    Fetching,
    /// It is on its disk that the broadcast begins; the first loudspeaker has let out nothing.
    Begun,
    /// The first samples have been heard.
    Playing,
    /// Everything was heard, and nobody was told.
    Finished,
}

#[test]
fn whenever_the_gateway_dies_no_loudspeaker_begins_twice_and_none_is_silent_without_a_word() {
    play("voice", story);
}

async fn story(folder: &Folder) -> Result<()> {
    let mut scene = Scene::open(folder).await?;
    let moments = [Moment::Judged, Moment::Fetching, Moment::Begun, Moment::Playing, Moment::Finished];
    for (number, moment) in (2..).zip(moments) {
        scene.die_at(moment, number * PITCH_STEP_HZ).await.with_context(|| format!("killed at {moment:?}"))?;
    }

    // One that was over before the gateway was stopped in good order is over for good.
    let notice = scene.send(7 * PITCH_STEP_HZ).await?;
    ensure!(scene.last_words(&notice).await? == ["played", "played"], "nothing stood in its way");
    scene.village.gateway.stop().await?;
    scene.village.gateway.run()?;
    scene.village.wait_until_online(&scene.house.api).await?;

    // Orders are taken up in their order: with this one heard, nothing of before comes any more.
    let notice = scene.send(8 * PITCH_STEP_HZ).await?;
    ensure!(scene.last_words(&notice).await? == ["played", "played"], "nothing stood in its way");
    for horn in &scene.horns {
        horn.wait_until_quiet(0).await?;
        let (chimes, mut tones): (Vec<u32>, Vec<u32>) =
            horn.pitches_hz()?.into_iter().partition(|pitch_hz| *pitch_hz == CHIME_HZ);
        tones.sort_unstable();
        ensure!(tones.windows(2).all(|pair| pair[0] != pair[1]), "a second beginning: {tones:?}");
        ensure!(chimes.len() <= BROADCASTS, "a second chime: {chimes:?}");
    }
    Ok(())
}

/// A village with two loudspeakers, and both its lines to the county.
struct Scene {
    house: House,
    village: Village,
    horns: [Horn; 2],
    line: Line,
    media: Line,
    journal: std::path::PathBuf,
}

impl Scene {
    async fn open(folder: &Folder) -> Result<Self> {
        let (mqtt_port, media_port) = (ports::free()?, ports::free()?);
        let (line, media) = (Line::to(mqtt_port).await?, Line::to(media_port).await?);
        let (mqtt_public_port, media_public_port) = (Some(line.port()), Some(media.port()));
        let plan = HubPlan { mqtt_port, mqtt_public_port, media_port, media_public_port, ..HubPlan::new()? };
        let house = House::new(folder, Store::Sqlite, plan).await?;
        let home = folder.path().join("village");
        let village = Village::start(&home, &house.api, "village", VILLAGE).await?;
        let horns = [
            Horn::enter(&house.api, &home, &village, "horn-1").await?,
            Horn::enter(&house.api, &home, &village, "horn-2").await?,
        ];
        Ok(Self { house, village, horns, line, media, journal: home.join("gateway/journal.sqlite-wal") })
    }

    /// Sends a notice of one tone, has the gateway die at that moment, and looks at what came of it after its next start.
    async fn die_at(&mut self, moment: Moment, pitch_hz: u32) -> Result<()> {
        match moment {
            // It cannot come further than that.
            Moment::Judged | Moment::Fetching => self.media.cut(),
            // Nobody has noticed yet that this one has no power.
            Moment::Begun => self.horns[0].switch_off(),
            Moment::Playing | Moment::Finished => {}
        }
        let notice = self.send(pitch_hz).await?;
        self.wait_for(moment, &notice, pitch_hz).await?;
        self.village.gateway.kill()?;

        self.media.mend();
        self.line.mend();
        self.horns[0].switch_on()?;
        self.village.gateway.run()?;
        let words = self.last_words(&notice).await?;
        for horn in &self.horns {
            horn.wait_until_quiet(0).await?;
            horn.wait_until_heard_of(&self.house.api).await?;
        }
        let beginnings = [self.beginnings(0, pitch_hz)?, self.beginnings(1, pitch_hz)?];
        let is_right = match moment {
            // Nothing had begun, so it has its chance.
            Moment::Judged | Moment::Fetching => words == ["played", "played"] && beginnings == [1, 1],
            Moment::Begun => words == ["interrupted", "interrupted"] && beginnings[0] == 0 && beginnings[1] <= 1,
            // On a slow machine it may have come to its end, and been told.
            Moment::Playing | Moment::Finished => {
                let is_true = |word: &String| word == "interrupted" || word == "played";
                words.iter().all(is_true) && beginnings == [1, 1]
            }
        };
        ensure!(is_right, "the hub was told {words:?}, and {beginnings:?} times it began");
        Ok(())
    }

    async fn wait_for(&self, moment: Moment, notice: &str, pitch_hz: u32) -> Result<()> {
        let speaker = &self.horns[0].id;
        match moment {
            Moment::Judged => self.wait_for_disk(&[notice.as_bytes(), b"obeyed"]).await,
            Moment::Fetching => {
                wait::until("the gateway to say that it fetches", async || {
                    Ok(self.states(notice).await?.iter().all(|state| state == "fetching").then_some(()))
                })
                .await
            }
            // A row of the table of what has begun, as it stands on the disk.
            Moment::Begun => self.wait_for_disk(&[format!("{notice}{speaker}begun").as_bytes()]).await,
            Moment::Playing => self.wait_for_beginning(pitch_hz).await,
            Moment::Finished => {
                self.wait_for_beginning(pitch_hz).await?;
                self.line.cut();
                for horn in &self.horns {
                    horn.wait_until_quiet(0).await?;
                }
                Ok(())
            }
        }
    }

    /// Waits until the gateway's journal holds these bytes, each close behind the one before.
    async fn wait_for_disk(&self, words: &[&[u8]]) -> Result<()> {
        wait::until("the gateway to have written it down", async || {
            let journal = std::fs::read(&self.journal)?;
            Ok(memmem::find_iter(&journal, words[0]).any(|at| follow(&journal[at..], words)).then_some(()))
        })
        .await
    }

    async fn wait_for_beginning(&self, pitch_hz: u32) -> Result<()> {
        wait::until("both loudspeakers to have begun", async || {
            Ok((self.beginnings(0, pitch_hz)? > 0 && self.beginnings(1, pitch_hz)? > 0).then_some(()))
        })
        .await
    }

    /// How often a loudspeaker has begun this tone.
    fn beginnings(&self, horn: usize, pitch_hz: u32) -> Result<usize> {
        Ok(self.horns[horn].pitches_hz()?.into_iter().filter(|pitch| *pitch == pitch_hz).count())
    }

    /// Sends a notice of one tone to all loudspeakers; gives its id.
    async fn send(&self, pitch_hz: u32) -> Result<String> {
        let sound = self.house.api.bring("/api/v1/sounds", "audio/wav", tone(pitch_hz, TONE_MS)?).await?;
        let notice = json!({
            "region_code": VILLAGE, "sound_sha256": sound["sha256"], "level": "notice", "title": format!("{pitch_hz} Hz"),
        });
        text(&self.house.api.post("/api/v1/notices", notice).await?, "id")
    }

    /// Waits until nothing more is to be said of any loudspeaker; gives what was said, in their order.
    async fn last_words(&self, notice: &str) -> Result<Vec<String>> {
        wait::until("the last word of every loudspeaker", async || {
            let states = self.states(notice).await?;
            let is_over = states.iter().all(|state| LAST_WORDS.contains(&state.as_str()));
            // Told only if it is the last look.
            ensure!(is_over, "they are {states:?}");
            Ok(Some(states))
        })
        .await
    }

    /// How a notice stands at each loudspeaker.
    async fn states(&self, notice: &str) -> Result<Vec<String>> {
        let detail = self.house.api.get(&format!("/api/v1/notices/{notice}")).await?;
        let speakers = detail["speakers"].as_array().context("no loudspeakers")?;
        let state = |horn: &Horn| {
            let found = speakers.iter().find(|one: &&Value| one["speaker_id"] == *horn.id);
            text(found.with_context(|| format!("{} is not of it", horn.id))?, "state")
        };
        self.horns.iter().map(state).collect()
    }
}

/// Whether the words follow one another at the beginning of these bytes, with some others in between.
fn follow(bytes: &[u8], words: &[&[u8]]) -> bool {
    const NEAR_BYTES: usize = 200;
    let mut rest = &bytes[..bytes.len().min(NEAR_BYTES)];
    words.iter().all(|word| match memmem::find(rest, word) {
        Some(at) => {
            rest = &rest[at + word.len()..];
            true
        }
        None => false,
    })
}
