//! A notice is heard once, or it is said that it was not, whoever dies and whenever.
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
/// Long enough for something else to come before its end.
const LONG_TONE_MS: u32 = 6_000;
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
    /// The chime is heard, and nothing of the notice.
    Chiming,
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
    let moments = [Moment::Judged, Moment::Fetching, Moment::Begun, Moment::Chiming, Moment::Playing, Moment::Finished];
    for moment in moments {
        scene.die_at(moment).await.with_context(|| format!("killed at {moment:?}"))?;
    }

    // One that was over before the gateway was stopped in good order is over for good.
    scene.hear().await?;
    scene.village.gateway.stop().await?;
    scene.village.gateway.run()?;
    scene.village.wait_until_online(&scene.house.api).await?;

    // Orders are taken up in their order: with this one heard, nothing of before comes any more.
    scene.hear().await?;
    scene.ensure_no_second_beginning().await
}

#[test]
fn nothing_begins_twice_when_hub_or_loudspeaker_die_or_the_gateway_while_one_is_stopped_or_broken_off() {
    play("voice-others", others);
}

async fn others(folder: &Folder) -> Result<()> {
    let mut scene = Scene::open(folder).await?;
    scene.hub_dies().await.context("the hub was killed when it had said that it is sent")?;
    scene.loudspeaker_dies().await.context("a loudspeaker lost its power while it played")?;
    scene.dies_while_it_is_stopped().await.context("the gateway was killed while a notice was stopped")?;
    scene.dies_while_one_is_broken_off().await.context("the gateway was killed while danger was heard")?;
    scene.hear().await?;
    scene.ensure_no_second_beginning().await
}

/// A village with two loudspeakers, and both its lines to the county.
struct Scene {
    house: House,
    village: Village,
    horns: [Horn; 2],
    line: Line,
    media: Line,
    journal: std::path::PathBuf,
    /// How many notices were sent: each has a tone of its own.
    sent: u32,
}

/// A notice that was sent.
struct Notice {
    id: String,
    pitch_hz: u32,
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
        Ok(Self { house, village, horns, line, media, journal: home.join("gateway/journal.sqlite-wal"), sent: 0 })
    }

    /// A notice to which nothing happens.
    async fn hear(&mut self) -> Result<()> {
        let notice = self.send("notice", TONE_MS).await?;
        let words = self.last_words(&notice).await?;
        ensure!(words == ["played", "played"], "nothing stood in its way, and they are {words:?}");
        Ok(())
    }

    /// The order is in the ledger, and may or may not have left.
    async fn hub_dies(&mut self) -> Result<()> {
        let notice = self.send("notice", TONE_MS).await?;
        self.house.hub.kill()?;
        self.house.hub.serve().await?;
        let words = self.last_words(&notice).await?;
        ensure!(words == ["played", "played"] && self.beginnings(&notice)? == [1, 1], "they are {words:?}");
        Ok(())
    }

    /// One that was heard in part is not heard again, and it is said; the other is not disturbed.
    async fn loudspeaker_dies(&mut self) -> Result<()> {
        let notice = self.send("notice", LONG_TONE_MS).await?;
        self.wait_for_beginning(&notice).await?;
        self.horns[0].switch_off();
        self.horns[0].switch_on()?;
        let words = self.last_words(&notice).await?;
        ensure!(words == ["failed", "played"] && self.beginnings(&notice)? == [1, 1], "they are {words:?}");
        Ok(())
    }

    /// A stop is not forgotten, and what it ended does not begin again.
    async fn dies_while_it_is_stopped(&mut self) -> Result<()> {
        let notice = self.send("notice", LONG_TONE_MS).await?;
        self.wait_for_beginning(&notice).await?;
        self.house.api.post(&format!("/api/v1/notices/{}/stop", notice.id), json!({})).await?;
        self.village.gateway.kill()?;
        self.village.gateway.run()?;
        let words = self.last_words(&notice).await?;
        let is_true = |word: &String| word == "stopped" || word == "interrupted";
        ensure!(words.iter().all(is_true) && self.beginnings(&notice)? == [1, 1], "they are {words:?}");
        self.ensure_cut_short(&notice).await
    }

    /// What waits to go on is interrupted like what sounds: nobody knows any more how far it came.
    async fn dies_while_one_is_broken_off(&mut self) -> Result<()> {
        let notice = self.send("notice", LONG_TONE_MS).await?;
        self.wait_for_beginning(&notice).await?;
        let danger = self.send("emergency", LONG_TONE_MS).await?;
        self.wait_for_beginning(&danger).await?;
        self.village.gateway.kill()?;
        self.village.gateway.run()?;
        for one in [&notice, &danger] {
            let words = self.last_words(one).await?;
            ensure!(words == ["interrupted"; 2] && self.beginnings(one)? == [1, 1], "they are {words:?}");
            self.ensure_cut_short(one).await?;
        }
        Ok(())
    }

    /// Nothing of it sounds any more, and it was not heard to its end.
    async fn ensure_cut_short(&self, notice: &Notice) -> Result<()> {
        for horn in &self.horns {
            horn.wait_until_quiet(0).await?;
            for ((play, _), pitch_hz) in horn.heard()?.into_iter().zip(horn.pitches_hz()?) {
                let (samples, rate_hz) = horn.samples(play)?;
                let is_whole = samples.len() as u64 * 1_000 >= u64::from(rate_hz) * u64::from(LONG_TONE_MS);
                ensure!(pitch_hz != notice.pitch_hz || !is_whole, "it was heard to its end");
            }
        }
        Ok(())
    }

    async fn ensure_no_second_beginning(&self) -> Result<()> {
        for horn in &self.horns {
            horn.wait_until_quiet(0).await?;
            let (chimes, mut tones): (Vec<u32>, Vec<u32>) =
                horn.pitches_hz()?.into_iter().partition(|pitch_hz| *pitch_hz == CHIME_HZ);
            tones.sort_unstable();
            ensure!(tones.windows(2).all(|pair| pair[0] != pair[1]), "a second beginning: {tones:?}");
            ensure!(chimes.len() <= self.sent as usize, "a second chime: {chimes:?}");
        }
        Ok(())
    }

    /// Sends a notice of one tone, has the gateway die at that moment, and looks at what came of it after its next start.
    async fn die_at(&mut self, moment: Moment) -> Result<()> {
        match moment {
            // It cannot come further than that.
            Moment::Judged | Moment::Fetching => self.media.cut(),
            // Nobody has noticed yet that this one has no power.
            Moment::Begun => self.horns[0].switch_off(),
            Moment::Chiming | Moment::Playing | Moment::Finished => {}
        }
        let notice = self.send("notice", TONE_MS).await?;
        self.wait_for(moment, &notice).await?;
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
        let beginnings = self.beginnings(&notice)?;
        let is_right = match moment {
            // Nothing had begun, so it has its chance.
            Moment::Judged | Moment::Fetching => words == ["played", "played"] && beginnings == [1, 1],
            Moment::Begun => words == ["interrupted", "interrupted"] && beginnings[0] == 0 && beginnings[1] <= 1,
            Moment::Chiming => words == ["interrupted", "interrupted"] && beginnings == [0, 0],
            // On a slow machine it may have come to its end, and been told.
            Moment::Playing | Moment::Finished => {
                let is_true = |word: &String| word == "interrupted" || word == "played";
                words.iter().all(is_true) && beginnings == [1, 1]
            }
        };
        ensure!(is_right, "the hub was told {words:?}, and {beginnings:?} times it began");
        Ok(())
    }

    async fn wait_for(&self, moment: Moment, notice: &Notice) -> Result<()> {
        let speaker = &self.horns[0].id;
        match moment {
            Moment::Judged => self.wait_for_disk(&[notice.id.as_bytes(), b"obeyed"]).await,
            Moment::Fetching => {
                wait::until("the gateway to say that it fetches", async || {
                    Ok(self.states(notice).await?.iter().all(|state| state == "fetching").then_some(()))
                })
                .await
            }
            // A row of the table of what has begun, as it stands on the disk.
            Moment::Begun => self.wait_for_disk(&[format!("{}{speaker}begun", notice.id).as_bytes()]).await,
            Moment::Chiming => {
                wait::until("both loudspeakers to chime", async || Ok(self.are_chiming()?.then_some(()))).await
            }
            Moment::Playing => self.wait_for_beginning(notice).await,
            Moment::Finished => {
                self.wait_for_beginning(notice).await?;
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

    async fn wait_for_beginning(&self, notice: &Notice) -> Result<()> {
        wait::until("both loudspeakers to have begun", async || {
            Ok((!self.beginnings(notice)?.contains(&0)).then_some(()))
        })
        .await
    }

    /// Whether a chime sounds at both loudspeakers now.
    fn are_chiming(&self) -> Result<bool> {
        let is_chiming = |horn: &Horn| Ok(horn.sounds_now()? && horn.pitches_hz()?.last() == Some(&CHIME_HZ));
        self.horns.iter().map(is_chiming).try_fold(true, |all, one: Result<bool>| Ok(all && one?))
    }

    /// How often each loudspeaker has begun a notice.
    fn beginnings(&self, notice: &Notice) -> Result<[usize; 2]> {
        let [first, second] = &self.horns;
        let of = |horn: &Horn| {
            Ok::<_, anyhow::Error>(
                horn.pitches_hz()?.into_iter().filter(|pitch_hz| *pitch_hz == notice.pitch_hz).count(),
            )
        };
        Ok([of(first)?, of(second)?])
    }

    /// Sends a notice of one tone, which no other has, to all loudspeakers.
    async fn send(&mut self, level: &str, length_ms: u32) -> Result<Notice> {
        self.sent += 1;
        // The first pitch is the chime's.
        let pitch_hz = (self.sent + 1) * PITCH_STEP_HZ;
        let sound = self.house.api.bring("/api/v1/sounds", "audio/wav", tone(pitch_hz, length_ms)?).await?;
        let notice = json!({
            "region_code": VILLAGE, "sound_sha256": sound["sha256"], "level": level, "title": format!("{pitch_hz} Hz"),
        });
        let id = text(&self.house.api.post("/api/v1/notices", notice).await?, "id")?;
        Ok(Notice { id, pitch_hz })
    }

    /// Waits until nothing more is to be said of any loudspeaker; gives what was said, in their order.
    async fn last_words(&self, notice: &Notice) -> Result<Vec<String>> {
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
    async fn states(&self, notice: &Notice) -> Result<Vec<String>> {
        let detail = self.house.api.get(&format!("/api/v1/notices/{}", notice.id)).await?;
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
