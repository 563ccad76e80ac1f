//! What a gateway keeps of its cameras: whole after `kill -9`, and gone before a press would be when the disk is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tongluo_tests::api::Api;
use tongluo_tests::button::Press;
use tongluo_tests::devices::{Camera, Fault, Plan, Recipe, face};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::play;
use tongluo_tests::village::Village;
use tongluo_tests::{child, clock, wait};

use crate::cameras::{enter, until_state, village_with_camera};
use crate::house::{House, Store, VILLAGE, alarm_of, zigbee};

/// What is recorded before the gateway is killed.
const RECORDED: Duration = Duration::from_secs(6);

/// A fragment of this camera is a GOP of 400 ms: what a killed gateway may lose, and what its index may lack while it runs.
const FRAGMENT_MS: i64 = 400;

/// Between two pictures that this camera sends, on a machine that is busy; after that it has stopped.
const QUIET_US: i64 = 500_000;

/// The index grows when a fragment was written. So long after that the camera stops: not a whole number of fragments, lest one has
/// just been written again.
const AFTERWARDS_MS: i64 = 1_300;

/// What a gateway has read it writes within this: far less than the 8 s without a picture after which it ends a session, and writes
/// the group that is under way as well.
const WRITTEN: Duration = Duration::from_secs(4);

/// Index and files may differ by the fragment in which an answer falls.
const DIFFERENCE_MS_MAX: i64 = 1_500;

/// A disk of the camera's own: enough for a short while of recording.
const DISK: &str = "48m";

#[test]
fn a_killed_gateway_loses_a_fragment_at_most_and_finds_the_rest_again() {
    play("recording-kill", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let (mut village, camera, id) = village_with_camera(&house, folder).await?;
        let recordings = folder.path().join("village/gateway/recordings");
        let begun_ms = recorded_ms(&house.api, &id, 0).await?.0;
        wait::until("some seconds to be recorded", async || {
            let (from_ms, to_ms) = recorded_ms(&house.api, &id, 0).await?;
            Ok((to_ms - from_ms > RECORDED.as_millis() as i64).then_some(()))
        })
        .await?;

        let grown_ms = clock::utc_ms();
        wait::until("pictures beyond the last fragment", async || {
            Ok((clock::utc_ms() > grown_ms + AFTERWARDS_MS).then_some(()))
        })
        .await?;

        // From here on nothing is on its way: what it sent before, the gateway has, and has written but for one group.
        camera.set(Fault::Stall).await?;
        let (last_number, last_us) = until_quiet(&camera).await?;
        wait::until_within(WRITTEN, "all but a fragment to be in the index", async || {
            let (_, to_ms) = recorded_ms(&house.api, &id, begun_ms).await?;
            let lacks_ms = last_us / 1_000 - to_ms;
            Ok(Some((lacks_ms <= FRAGMENT_MS).then_some(()).with_context(|| format!("{lacks_ms} ms are not there"))?))
        })
        .await?;
        village.gateway.kill()?;
        let killed_ms = clock::utc_us() / 1_000;
        let mut lost = Recipe::TINY.frames();
        let mut seconds = 0.0;
        for file in movies(&recordings)? {
            seconds += face::probe(&file)?;
            let newest = face::read_whole(&file, Recipe::TINY)?.last().copied().context("a film without pictures")?;
            let frames = Recipe::TINY.frames();
            lost = lost.min((last_number + frames - newest) % frames);
        }
        assert!(lost <= Recipe::TINY.gop_frames, "{lost} pictures were lost");

        camera.set(Fault::None).await?;
        village.gateway.run()?;
        village.wait_until_online(&house.api).await?;
        let spans = spans(&house.api, &id, begun_ms, killed_ms).await?;
        let indexed_ms: i64 = spans.iter().map(|(from_ms, to_ms)| to_ms - from_ms).sum();
        let on_disk_ms = (seconds * 1000.0) as i64;
        assert!((indexed_ms - on_disk_ms).abs() < DIFFERENCE_MS_MAX, "{spans:?} of {on_disk_ms} ms");
        until_state(&house.api, &id, "ok").await?;
        wait::until("recording to go on", async || {
            Ok((recorded_ms(&house.api, &id, killed_ms).await?.1 > clock::utc_ms() - 10_000).then_some(()))
        })
        .await
    });
}

/// Waits until a camera sends no more, and gives the last picture that it sent and when.
async fn until_quiet(camera: &Camera) -> Result<(u32, i64)> {
    wait::until("the camera to send no more", async || {
        let last = camera.last_sent("main").context("it sent nothing")?;
        Ok((clock::utc_us() > last.1 + QUIET_US).then_some(last))
    })
    .await
}

#[test]
fn a_disk_that_does_not_answer_stops_video_and_not_a_press_and_says_so() {
    play("recording-slow", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let (village, mut lan) = house.village(folder, "village", VILLAGE).await?;
        let camera = Camera::start(Plan::tiny()).await?;
        let id = enter(&house.api, &village.site_id, "slow", &camera).await?;
        until_state(&house.api, &id, "ok").await?;
        recorded_ms(&house.api, &id, 0).await?;
        // Somebody holds the recorder's catalogue: whatever it asks of it takes seconds and fails. Another form of the picture makes
        // it ask, for that begins another file.
        let mut catalogue =
            rusqlite::Connection::open(folder.path().join("village/gateway/recordings/catalogue.sqlite"))?;
        let held = catalogue.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
        camera.set(Fault::OtherParameters).await?;
        until_state(&house.api, &id, "recording_gap").await?;
        lan.press(&zigbee().press(Press::Sos)).await?;
        alarm_of(&house.api, &zigbee().key(), "a press beside a disk that does not answer", |_| true).await?;
        held.rollback()?;
        let free_ms = clock::utc_ms();
        wait::until("recording to go on", async || {
            Ok((recorded_ms(&house.api, &id, free_ms).await?.1 > free_ms + 1_000).then_some(()))
        })
        .await?;
        until_state(&house.api, &id, "ok").await?;
        Ok(())
    });
}

#[test]
fn a_full_disk_stops_video_and_not_a_press_and_says_so() {
    play("recording-full", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let own_disk = OwnDisk::mount(&folder.inside("disk")?)?;
        // Without the right to mount, a gateway that must leave a terabyte free finds every disk full: the same code decides.
        let keep_free_mib = if own_disk.is_some() { 16 } else { 1 << 20 };
        let recordings = folder.path().join("disk");
        let config = format!(
            "\n[camera]\nfolder = {:?}\nbudget_mib = 4096\nkeep_free_mib = {keep_free_mib}\n",
            recordings.display().to_string()
        );
        let place = folder.path().join("village");
        let village = Village::start_with(&place, &house.api, "village", VILLAGE, &config).await?;
        let mut lan = village.lan("networks").await?;
        lan.publish_all(&tongluo_tests::button::zigbee_bridge(&[zigbee()])).await?;
        let camera = Camera::start(Plan::tiny()).await?;
        let id = enter(&house.api, &village.site_id, "full", &camera).await?;
        if own_disk.is_some() {
            until_state(&house.api, &id, "ok").await?;
            fill(&recordings)?;
        }
        until_state(&house.api, &id, "disk_full").await?;
        lan.press(&zigbee().press(Press::Sos)).await?;
        alarm_of(&house.api, &zigbee().key(), "a press beside a full disk", |_| true).await?;
        if own_disk.is_some() {
            std::fs::remove_file(recordings.join(BALLAST))?;
            until_state(&house.api, &id, "ok").await?;
        }
        drop(village);
        drop(own_disk);
        Ok(())
    });
}

const BALLAST: &str = "ballast";

/// Writes until nothing more fits.
fn fill(folder: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(folder.join(BALLAST))?;
    let megabyte = vec![0; 1 << 20];
    for _ in 0..1_000 {
        if file.write_all(&megabyte).is_err() {
            return Ok(());
        }
    }
    anyhow::bail!("the disk is larger than it was made")
}

/// A small disk in memory, unmounted when dropped.
struct OwnDisk(PathBuf);

impl OwnDisk {
    /// `None`: this user may not mount.
    fn mount(at: &Path) -> Result<Option<Self>> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "tmpfs"]).arg(at);
        Ok(command.output()?.status.success().then(|| Self(at.to_owned())))
    }
}

impl Drop for OwnDisk {
    fn drop(&mut self) {
        // Lazily: a gateway may still be ending. What stays behind is 48 MB of memory, until the machine's restart.
        let _ = child::output("umount", Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

/// The spans that a gateway says it has recorded.
pub(crate) async fn spans(api: &Api, camera: &str, from_ms: i64, to_ms: i64) -> Result<Vec<(i64, i64)>> {
    let path = format!("/api/v1/cameras/{camera}/recordings?from_ms={from_ms}&to_ms={to_ms}");
    let spans = api.list(&path, "spans").await?;
    let number = |span: &Value, name: &str| span[name].as_i64().with_context(|| format!("no {name} in {span}"));
    spans.iter().map(|span| Ok((number(span, "from_ms")?, number(span, "to_ms")?))).collect()
}

/// The first and the last moment of what was recorded since `since_ms`.
pub(crate) async fn recorded_ms(api: &Api, camera: &str, since_ms: i64) -> Result<(i64, i64)> {
    wait::until("something to be recorded", async || {
        let now_ms = clock::utc_ms();
        let spans = spans(api, camera, since_ms.max(now_ms - 3_600_000), now_ms).await?;
        Ok(spans.first().zip(spans.last()).map(|(first, last)| (first.0, last.1)))
    })
    .await
}

/// The movies below a folder.
pub(crate) fn movies(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "mp4") {
                found.push(path);
            }
        }
    }
    ensure!(!found.is_empty(), "no movie below {}", folder.display());
    found.sort();
    Ok(found)
}
