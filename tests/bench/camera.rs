//! What a camera costs the village's gateway, beside what ffmpeg takes for the same, and what a press pays for it: nothing.
//!
//! Cameras of 1080p25 with 4 Mbit/s ([`tongluo_tests::devices`], a process of its own) are recorded by a real gateway, first a few,
//! then more; what it takes above its rest is divided among them. Between, presses are made as in [`crate::alarm`]: their times
//! with so many cameras stand beside those without any (the law that video never delays an alarm). The peer is `ffmpeg -c copy`
//! of the same cameras, one process for each as one runs it, recorded for the same time before the gateway sees them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tongluo_tests::api::Api;
use tongluo_tests::child::{self, Child};
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::scene::Folder;
use tongluo_tests::village::{Village, text};
use tongluo_tests::{clock, wait};

use crate::gateways::VILLAGE;
use crate::presses::Presses;
use crate::report::{Goal, Report};
use crate::{Size, process};

/// Sixty-four files have to be begun, and at first encoded, on a machine that does all of this at once.
const CAMERAS_PATIENCE: Duration = Duration::from_secs(180);
/// Recorded before anything is measured: connections are made and files begun.
const SETTLE: Duration = Duration::from_secs(5);
/// What a camera's recordings may take of the disk here.
const RECORDED_BYTES_MAX: u64 = 256 << 20;

/// Measures at each number of cameras.
///
/// # Errors
/// A program does not do what it should.
pub(crate) async fn measure(folder: &Folder, size: Size, report: &mut Report) -> Result<()> {
    let most = *size.cameras.last().context("at least one number of cameras")?;
    let (_cameras, urls) = cameras(folder.path(), most).await?;
    let mut hub = Hub::init(&folder.path().join("hub-cameras"), HubPlan::new()?)?;
    hub.serve().await?;
    let api = hub.administrator().await?;
    let mut village = Village::start(&folder.inside("village-cameras")?, &api, "cameras", VILLAGE).await?;
    let mut presses = Presses::begin(&hub, &village).await?;
    clock::pause(Duration::from_secs(size.idle_s)).await;
    let rest = Taken::by(&[village.gateway.running()?.pid()])?;
    let alone = presses.make(size.presses).await.context("presses without cameras")?;
    report.add("alarm.press_to_commit_ms.p99.no_cameras", alone.ms(0.99));

    let mut entered: Vec<String> = Vec::new();
    for count in size.cameras {
        let peer = ffmpeg(folder, &urls[..*count], size.camera_s).await.context("ffmpeg -c copy")?;
        for url in &urls[entered.len()..*count] {
            entered.push(enter(&api, &village.site_id, url).await?);
        }
        until_all_recorded(&api, &entered).await?;
        clock::pause(SETTLE).await;
        let pid = village.gateway.running()?.pid();
        let ours = Taken::during(&[pid], Duration::from_secs(size.camera_s)).await?;
        let with = presses.make(size.presses).await.with_context(|| format!("presses beside {count} cameras"))?;

        let each = *count as f64;
        let cpu = ours.cpu_percent / each;
        let goal = Some(Goal::AtMost(peer.cpu_percent / each / 2.0));
        report.add(format!("peer.ffmpeg_copy.cpu_percent.{count}"), peer.cpu_percent / each);
        report.add(format!("peer.ffmpeg_copy.rss_kb.{count}"), peer.rss_kb / each);
        report.compare(format!("camera.cpu_percent.{count}"), cpu, goal, "ffmpeg", peer.cpu_percent / each);
        let rss_kb = (ours.rss_kb - rest.rss_kb).max(0.0) / each;
        let goal = Some(Goal::AtMost(2_500.0));
        report.compare(format!("camera.rss_kb.{count}"), rss_kb, goal, "ffmpeg", peer.rss_kb / each);
        let key = format!("alarm.press_to_commit_ms.p99.{count}_cameras");
        report.compare(key, with.ms(0.99), None, "no cameras", alone.ms(0.99));
    }
    village.gateway.stop().await?;
    hub.stop().await
}

/// What processes take of the machine.
#[derive(Clone, Copy)]
struct Taken {
    cpu_percent: f64,
    rss_kb: f64,
}

impl Taken {
    /// Their memory now.
    fn by(pids: &[u32]) -> Result<Self> {
        let rss_kb = pids.iter().map(|pid| process::rss_kb(*pid)).sum::<Result<f64>>()?;
        Ok(Self { cpu_percent: 0.0, rss_kb })
    }

    /// Their share of a core during so long, and their memory at its end.
    async fn during(pids: &[u32], duration: Duration) -> Result<Self> {
        let cpu = || pids.iter().map(|pid| process::cpu(*pid)).sum::<Result<Duration>>();
        let (begun, before) = (clock::now(), cpu()?);
        clock::pause(duration).await;
        let used = cpu()?.saturating_sub(before);
        let share = used.as_secs_f64() / clock::now().duration_since(begun).as_secs_f64();
        Ok(Self { cpu_percent: share * 100.0, ..Self::by(pids)? })
    }
}

/// Starts the cameras in a process of their own; gives their addresses.
async fn cameras(folder: &Path, count: usize) -> Result<(Child, Vec<String>)> {
    let mut command = child::leashed(child::program("tongluo-camera")?);
    command.args(["--cameras", &count.to_string(), "--no-login"]);
    let log = folder.join("cameras.log");
    let mut cameras = Child::spawn("tongluo-camera", &log, command)?;
    let said: Value = wait::until_within(CAMERAS_PATIENCE, "the cameras to listen", async || {
        cameras.check()?;
        Ok(std::fs::read_to_string(&log)?.lines().find_map(|line| serde_json::from_str(line).ok()))
    })
    .await?;
    let list = said["cameras"].as_array().context("no cameras in what tongluo-camera says")?;
    let urls = list.iter().map(|camera| text(camera, "main")).collect::<Result<_>>()?;
    Ok((cameras, urls))
}

/// Records the cameras by ffmpeg, one process for each.
async fn ffmpeg(folder: &Folder, urls: &[String], seconds: u64) -> Result<Taken> {
    let to = folder.inside("ffmpeg")?;
    let mut recorders = Vec::new();
    for (number, url) in urls.iter().enumerate() {
        let mut command = child::leashed("ffmpeg");
        command.args(["-nostdin", "-loglevel", "error", "-y", "-rtsp_transport", "tcp", "-i", url, "-c", "copy"]);
        command.args(["-f", "segment", "-segment_time", "60"]).arg(to.join(format!("{number}-%d.mp4")));
        recorders.push(Child::spawn("ffmpeg", &folder.path().join("ffmpeg.log"), command)?);
    }
    let pids: Vec<u32> = recorders.iter().map(Child::pid).collect();
    wait::until_within(CAMERAS_PATIENCE, "ffmpeg to write", async || {
        let files = std::fs::read_dir(&to)?.count();
        Ok((files >= urls.len()).then_some(()))
    })
    .await?;
    clock::pause(SETTLE).await;
    let taken = Taken::during(&pids, Duration::from_secs(seconds)).await?;
    for recorder in &mut recorders {
        recorder.check()?;
        recorder.kill()?;
    }
    std::fs::remove_dir_all(to)?;
    Ok(taken)
}

async fn enter(api: &Api, site_id: &str, url: &str) -> Result<String> {
    let body =
        json!({ "site_id": site_id, "name": url, "url": url, "record": "main", "bytes_max": RECORDED_BYTES_MAX });
    text(&api.post("/api/v1/cameras", body).await?, "id")
}

async fn until_all_recorded(api: &Api, ids: &[String]) -> Result<()> {
    wait::until_within(CAMERAS_PATIENCE, "all cameras to be recorded", async || {
        let cameras = api.list("/api/v1/cameras", "cameras").await?;
        let is_well = |id: &String| cameras.iter().any(|camera| camera["id"] == *id && camera["state"]["name"] == "ok");
        let well = ids.iter().filter(|id| is_well(id)).count();
        ensure!(well == ids.len(), "{well} of {} are", ids.len());
        Ok(Some(()))
    })
    .await
}
