//! The demo's eyes: a recorder with two channels in each village, on GStreamer's RTSP server, entered as a technician would;
//! and whatever camera the person at the terminal has.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tongluo_tests::api::Api;
use tongluo_tests::devices::{Ambience, Picture, Recipe, View};
use tongluo_tests::gst::{GstRecorder, Stream};
use tongluo_tests::village::text;

/// What a demo's recordings may take of the disk, per camera.
const RECORDED_BYTES_MAX: u64 = 256 << 20;

/// A camera of the demo: a channel of its village's recorder.
#[derive(Debug)]
struct DemoCamera {
    id: &'static str,
    village: usize,
    /// Number of the recorder's channel, from 1.
    channel: u8,
    view: View,
    /// `None`: it has no microphone.
    ambience: Option<Ambience>,
    name: &'static str,
    place: &'static str,
    latitude: f64,
    longitude: f64,
    direction_degrees: u16,
}

/// One near each of the buttons. The square's, where a notice would say so, is entered with its sound; the others without, as is usual.
const CAMERAS: [DemoCamera; 4] = [
    DemoCamera {
        id: "camera-1",
        village: 0,
        channel: 1,
        view: View::Gate,
        ambience: None,
        name: "村东路口",
        place: "初徐村东头路口灯杆",
        latitude: 33.2056,
        longitude: 113.8737,
        direction_degrees: 60,
    },
    DemoCamera {
        id: "camera-2",
        village: 0,
        channel: 2,
        view: View::Square,
        ambience: Some(Ambience::Square),
        name: "文化广场",
        place: "初徐村文化广场南侧",
        latitude: 33.2045,
        longitude: 113.8717,
        direction_degrees: 10,
    },
    DemoCamera {
        id: "camera-3",
        village: 1,
        channel: 1,
        view: View::Clinic,
        ambience: None,
        name: "卫生室院内",
        place: "海眼村卫生室大门内侧",
        latitude: 33.0955,
        longitude: 113.7428,
        direction_degrees: 100,
    },
    DemoCamera {
        id: "camera-4",
        village: 1,
        channel: 2,
        view: View::Dam,
        ambience: None,
        name: "水库大坝",
        place: "海眼村水库大坝北端",
        latitude: 33.0985,
        longitude: 113.7401,
        direction_degrees: 200,
    },
];

impl DemoCamera {
    /// Paths as on a recorder: the channel's number, then 01 for the main and 02 for the sub stream.
    fn path(&self, stream: u8) -> String {
        format!("Streaming/Channels/{}0{stream}", self.channel)
    }

    fn streams(&self) -> [Stream; 2] {
        let picture = Picture::Village(self.view);
        [(1, Recipe::HD), (2, Recipe::SUB)].map(|(stream, recipe)| Stream {
            path: self.path(stream),
            recipe: Recipe { picture, seconds: 20, ..recipe },
            ambience: self.ambience,
        })
    }
}

/// Starts the recorder of a village.
///
/// # Errors
/// Its files cannot be made, or GStreamer does not start.
pub(crate) async fn recorder(folder: &Path, village: usize) -> Result<GstRecorder> {
    let mine = CAMERAS.iter().filter(|camera| camera.village == village);
    let streams: Vec<_> = mine.flat_map(DemoCamera::streams).collect();
    GstRecorder::start(folder, &streams).await.context("the village's cameras")
}

/// Enters the cameras of a village; gives what the register says of them.
///
/// # Errors
/// The hub refuses.
pub(crate) async fn enter(api: &Api, recorder: &GstRecorder, village: usize, site_id: &str) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    for camera in CAMERAS.iter().filter(|camera| camera.village == village) {
        let (url, login) = (recorder.url(&camera.path(1)), recorder.login());
        let body = json!({
            "site_id": site_id,
            "name": camera.name,
            "url": url,
            "sub_url": recorder.url(&camera.path(2)),
            "username": login.username,
            "password": login.password,
            "kind": "public",
            "place": camera.place,
            "latitude": camera.latitude,
            "longitude": camera.longitude,
            "direction_degrees": camera.direction_degrees,
            "record": "main",
            "audio": camera.ambience.is_some(),
            "days_max": 1,
            "bytes_max": RECORDED_BYTES_MAX,
        });
        let entered = api.post("/api/v1/cameras", body).await?;
        entries.push(entry(camera.id, &entered, site_id, &url)?);
    }
    Ok(entries)
}

/// Enters the user's own cameras, at the first village.
///
/// # Errors
/// The hub refuses the address.
pub(crate) async fn enter_own(api: &Api, urls: &[String], site_id: &str) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    for (number, url) in urls.iter().enumerate() {
        let id = format!("own-{}", number + 1);
        let name = format!("自带摄像机 {}", number + 1);
        let body = json!({ "site_id": site_id, "name": name, "url": url, "record": "main", "days_max": 1,
            "bytes_max": RECORDED_BYTES_MAX, "latitude": 33.2051, "longitude": 113.8724 });
        let entered = api.post("/api/v1/cameras", body).await.context("the camera given with --camera")?;
        // As the hub shows it: without the password.
        let shown = text(&entered, "url")?;
        entries.push(entry(&id, &entered, site_id, &shown)?);
    }
    Ok(entries)
}

fn entry(id: &str, entered: &Value, site_id: &str, url: &str) -> Result<Value> {
    Ok(json!({ "id": id, "name": text(entered, "name")?, "site": site_id, "camera": text(entered, "id")?, "url": url }))
}
