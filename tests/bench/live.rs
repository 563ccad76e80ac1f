//! Live pictures: from the camera's clock to the screen, as a browser sees it.
//!
//! A camera whose pictures carry their own time, a real gateway, a real hub, and Chromium with the pages' own player, which
//! reads the time off what it shows (`tests/browser/live-bench.mjs`). What the browser itself adds is part of the figure: that is
//! what a person sees. Presses that are made while a hundred watch stand beside those that are made while nobody does: video
//! never delays an alarm.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tongluo_tests::api::Api;
use tongluo_tests::devices::{Camera, Plan, Recipe};
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::scene::Folder;
use tongluo_tests::village::{Village, text};
use tongluo_tests::{child, clock, wait};

use crate::Size;
use crate::gateways::VILLAGE;
use crate::presses::Presses;
use crate::report::{Goal, Report};
use crate::viewers::Viewers;

/// How many watch the same camera while presses are made.
const CROWD: usize = 100;
/// How long the picture is watched beside them.
const CROWD_S: u64 = 15;
/// How long the line is silent in the part before.
const GAP: Duration = Duration::from_millis(200);

struct Scene {
    hub: Hub,
    api: Api,
    village: Village,
}

/// Measures live pictures of a 720p camera, of a 1080p camera and of one whose keyframes are 10 s apart.
///
/// # Errors
/// A program does not do what it should.
pub(crate) async fn measure(folder: &Folder, size: Size, report: &mut Report) -> Result<()> {
    let live = folder.inside("live")?;
    let mut hub = Hub::init(&live.join("hub"), HubPlan::new()?)?;
    hub.serve().await?;
    let api = hub.administrator().await?;
    let village = Village::start(&live.join("village"), &api, "live", VILLAGE).await?;
    let mut scene = Scene { hub, api, village };

    let hd = scene.camera(Recipe::HD).await?;
    steady(&scene, &hd.1, size, report).await.context("one viewer")?;
    gap(&mut scene, &hd.1, report).await.context("a gap")?;
    crowd(&scene, &hd.1, size, report).await.context("a crowd")?;
    for (recipe, key, goal) in [
        (Recipe::MAIN, "live.first_picture_1080_ms.p95", 400.0),
        (Recipe { gop_frames: 250, ..Recipe::HD }, "live.first_picture_gop10_ms.p95", 700.0),
    ] {
        let camera = scene.camera(recipe).await?;
        let seen = scene.watch(json!({ "camera": camera.1, "seconds": 0, "starts": size.watch_starts })).await?;
        report.add(key.replace("p95", "p50"), figure(&seen, "/first_picture_ms/p50")?);
        report.judge(key, figure(&seen, "/first_picture_ms/p95")?, Goal::AtMost(goal));
    }
    scene.village.gateway.stop().await?;
    scene.hub.stop().await
}

/// One viewer, many beginnings, and a while of watching.
async fn steady(scene: &Scene, camera: &str, size: Size, report: &mut Report) -> Result<()> {
    let seen = scene.watch(json!({ "camera": camera, "seconds": size.watch_s, "starts": size.watch_starts })).await?;
    report.add("live.first_picture_ms.p50", figure(&seen, "/first_picture_ms/p50")?);
    report.judge("live.first_picture_ms.p95", figure(&seen, "/first_picture_ms/p95")?, Goal::AtMost(250.0));
    report.add("live.latency_ms.p50", figure(&seen, "/latency_ms/p50")?);
    report.judge("live.latency_ms.p95", figure(&seen, "/latency_ms/p95")?, Goal::AtMost(80.0));
    let minutes = size.watch_s as f64 / 60.0;
    report.judge("live.stalls_per_min", figure(&seen, "/stalls")? / minutes, Goal::AtMost(0.0));
    Ok(())
}

/// The gateway is stopped for a moment, as a bad line stops it: the picture may stand still for that long and no longer.
async fn gap(scene: &mut Scene, camera: &str, report: &mut Report) -> Result<()> {
    let pid = scene.village.gateway.running()?.pid();
    let gap = async {
        clock::pause(Duration::from_secs(9)).await;
        child::signal(pid, "STOP")?;
        clock::pause(GAP).await;
        child::signal(pid, "CONT")
    };
    let (seen, gap) = tokio::join!(scene.watch(json!({ "camera": camera, "seconds": 16 })), gap);
    gap?;
    let still_ms = figure(&seen?, "/longest_still_ms")?;
    report.judge("live.still_after_gap_200_ms", still_ms, Goal::AtMost(600.0));
    Ok(())
}

/// Many viewers of one camera: presses as quick as before, one upload, nobody left out, the picture as young.
async fn crowd(scene: &Scene, camera: &str, size: Size, report: &mut Report) -> Result<()> {
    let mut presses = Presses::begin(&scene.hub, &scene.village).await?;
    let alone = presses.make(size.presses).await.context("presses while nobody watches")?;
    let path = format!("/api/v1/cameras/{camera}/live?quality=main");
    let viewers = Viewers::gather(scene.hub.url(), scene.hub.administrator_login(), &path, CROWD).await?;
    wait::until("each viewer to be sent pictures", async || {
        Ok(viewers.pictures().iter().all(|count| *count > 25).then_some(()))
    })
    .await?;
    let before = viewers.pictures();
    let with = presses.make(size.presses).await.context("presses while many watch")?;
    let uploads = scene.metric("tongluo_hub_video_uploads").await?;
    let seen = scene.watch(json!({ "camera": camera, "seconds": CROWD_S })).await?;
    let sent = viewers.pictures().into_iter().zip(before).map(|(after, before)| (after - before) as f64);
    let (fewest, most) = sent.fold((f64::INFINITY, 0.0_f64), |(few, many), count| (few.min(count), many.max(count)));

    report.judge("live.uploads_per_camera", uploads, Goal::AtMost(1.0));
    report.add("live.crowd_100.latency_ms.p95", figure(&seen, "/latency_ms/p95")?);
    report.judge("live.crowd_100.pictures_share_min", fewest / most, Goal::AtLeast(0.98));
    report.add("alarm.press_to_commit_ms.p99.nobody_watches", alone.ms(0.99));
    let key = "alarm.press_to_commit_ms.p99.100_watch";
    report.compare(key, with.ms(0.99), None, "nobody", alone.ms(0.99));
    Ok(())
}

impl Scene {
    /// A camera in the village, entered at the hub, and how it was: the camera itself and its id.
    async fn camera(&self, recipe: Recipe) -> Result<(Camera, String)> {
        let camera = Camera::start(Plan::new(recipe, Recipe::SUB)).await?;
        let entered = json!({
            "site_id": self.village.site_id,
            "name": format!("{}×{}", recipe.width, recipe.height),
            "url": camera.url_with_login("main"),
            "sub_url": camera.url_with_login("sub"),
            "record": "off",
        });
        let id = text(&self.api.post("/api/v1/cameras", entered).await?, "id")?;
        wait::until("the camera to be well", async || {
            let list = self.api.get(&format!("/api/v1/cameras?site_id={}", self.village.site_id)).await?;
            let cameras = list["cameras"].as_array().context("no list of cameras")?;
            let state =
                cameras.iter().find(|camera| camera["id"] == id.as_str()).map(|camera| &camera["state"]["name"]);
            Ok(state.is_some_and(|state| state == "ok").then_some(()))
        })
        .await?;
        Ok((camera, id))
    }

    /// What the browser saw.
    async fn watch(&self, mut wish: Value) -> Result<Value> {
        let (username, password) = self.hub.administrator_login();
        wish["url"] = self.hub.url().into();
        wish["username"] = username.into();
        wish["password"] = password.into();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("browser/live-bench.mjs");
        let output = tokio::process::Command::new("node")
            .arg(script)
            .arg(wish.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("node cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the browser failed: {said}");
        let seen: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("the browser said {said}"))?;
        let is_watching = wish["seconds"].as_u64().unwrap_or(0) > 0;
        ensure!(!is_watching || seen["latency_ms"]["pictures"].as_u64() > Some(0), "the browser saw nothing: {seen}");
        Ok(seen)
    }

    async fn metric(&self, name: &str) -> Result<f64> {
        let answer = reqwest::Client::builder().no_proxy().build()?.get(format!("{}/metrics", self.hub.url()));
        let text = answer.send().await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no figure {name}"))?.trim().parse().context("a figure is a number")
    }
}

fn figure(seen: &Value, pointer: &str) -> Result<f64> {
    seen.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer} in {seen}"))
}
