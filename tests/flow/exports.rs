//! A stretch of a recording, taken out of its village: a file that any player opens, as long as it was asked for, and that says
//! who took it and why.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tongluo_tests::api::Api;
use tongluo_tests::devices::{Ambience, Recipe, TONE_HZ, TONE_RMS, face};
use tongluo_tests::gst::{GstRecorder, Stream};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::text;
use tongluo_tests::{child, wait};

use crate::cameras::village_with_camera;
use crate::house::{House, Store};
use crate::recordings::recorded_ms;

/// What is taken out.
const SPAN_MS: i64 = 6_000;

/// From where on, after the begin of the recording: what a session begins with is one fragment, longer than a group.
const AFTER_MS: i64 = 2_000;

/// A film begins with the keyframe before and ends with a picture; this camera's groups last 400 ms.
const LENGTH_ERROR_S_MAX: f64 = 0.5;

#[test]
fn a_stretch_of_a_recording_is_taken_out_with_a_reason_and_a_hash() {
    play("export", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let (village, _camera, id) = village_with_camera(&house, folder).await?;
        let (_recorder, stranger) = gstreamers_camera(api, folder, &village.site_id).await?;
        let films = folder.inside("film")?;

        let film = films.join("export.mp4");
        let (path, export) = take_out(api, &id, &film).await?;
        assert_eq!(export["reason"], "派出所书面调取");
        let seconds = face::probe(&film)?;
        let error_s = (seconds - SPAN_MS as f64 / 1_000.0).abs();
        assert!(error_s < LENGTH_ERROR_S_MAX, "{seconds} s were taken out");
        face::read_whole(&film, Recipe::TINY)?;
        sounds(&film, "flac")?;
        let hash = child::output("sha256sum", Command::new("sha256sum").arg(&film))?;
        assert_eq!(hash.split_whitespace().next(), export["sha256"].as_str());
        let mut ffprobe = Command::new("ffprobe");
        ffprobe
            .args(["-v", "error", "-show_entries", "format_tags=description,creation_time", "-of", "json"])
            .arg(&film);
        let said = child::output("ffprobe", &mut ffprobe)?;
        for told in ["派出所书面调取", "导出人", "creation_time"] {
            assert!(said.contains(told), "the file says {told}: {said}");
        }
        let lines = api.list("/api/v1/audit", "entries").await?;
        for action in ["recording.export", "export.ready", "export.open"] {
            assert!(lines.iter().any(|line| line["action"] == action), "{action} is in the audit trail");
        }
        let film = films.join("stranger.mp4");
        take_out(api, &stranger, &film).await?;
        sounds(&film, "aac")?;
        assert_eq!(api.ask(Method::DELETE, &path, None).await?.status, StatusCode::NO_CONTENT);
        assert!(api.bytes(&format!("{path}/file")).await.is_err(), "its file is given up");
        Ok(())
    });
}

/// A camera with AAC, on a server that is none of ours, entered with its sound.
async fn gstreamers_camera(api: &Api, folder: &Folder, site_id: &str) -> Result<(GstRecorder, String)> {
    let stream = Stream { path: "main".to_owned(), recipe: Recipe::TINY, ambience: Some(Ambience::Tone) };
    let recorder = GstRecorder::start(folder.path(), &[stream]).await?;
    let login = recorder.login();
    let entered = json!({
        "site_id": site_id,
        "name": "stranger",
        "url": recorder.url("main"),
        "username": login.username,
        "password": login.password,
        "record": "main",
        "audio": true,
        "bytes_max": 64 << 20,
    });
    let id = text(&api.post("/api/v1/cameras", entered).await?, "id")?;
    Ok((recorder, id))
}

/// Takes six seconds out of what a camera has recorded; gives the export and its path.
pub(crate) async fn take_out(api: &Api, camera: &str, film: &Path) -> Result<(String, Value)> {
    let from_ms = wait::until("some seconds to be recorded", async || {
        let (from_ms, to_ms) = recorded_ms(api, camera, 0).await?;
        Ok((to_ms - from_ms > SPAN_MS + AFTER_MS + 1_000).then_some(from_ms + AFTER_MS))
    })
    .await?;
    let wanted = json!({ "from_ms": from_ms, "to_ms": from_ms + SPAN_MS, "reason": "派出所书面调取" });
    let asked = api.post(&format!("/api/v1/cameras/{camera}/exports"), wanted).await?;
    let path = format!("/api/v1/exports/{}", text(&asked, "id")?);
    let export = until_ready(api, &path).await?;
    assert_eq!(export["gaps"], json!([]), "{export}");
    std::fs::write(film, api.bytes(&format!("{path}/file")).await?)?;
    Ok((path, export))
}

/// The tone that the camera hears is in a film, as high and as loud as it was, from its beginning to its end.
pub(crate) fn sounds(film: &Path, codec: &str) -> Result<()> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]).arg(film);
    assert_eq!(child::output("ffprobe", &mut ffprobe)?.split_whitespace().collect::<Vec<_>>(), ["h264", codec]);
    let raw = film.with_extension("s16");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-v", "error", "-y", "-i"])
        .arg(film)
        .args(["-vn", "-ar", "8000", "-ac", "1", "-f", "s16le"])
        .arg(&raw);
    let said = child::output("ffmpeg", &mut ffmpeg)?;
    assert_eq!(said.trim(), "", "{}", film.display());
    let bytes = std::fs::read(&raw)?;
    let samples: Vec<f64> = bytes.as_chunks().0.iter().map(|pair| f64::from(i16::from_le_bytes(*pair))).collect();
    let seconds = face::probe(film)?;
    let heard_s = samples.len() as f64 / 8_000.0;
    assert!((heard_s - seconds).abs() < LENGTH_ERROR_S_MAX, "{heard_s} s of sound in {seconds} s of film");
    // Without the edges, where a piece may have been left out.
    for second in samples[2_000..samples.len() - 2_000].chunks_exact(8_000) {
        let level = (second.iter().map(|sample| sample * sample).sum::<f64>() / 8_000.0).sqrt();
        let rises = second.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        assert!((level / TONE_RMS - 1.0).abs() < 0.05, "a level of {level}");
        assert!(rises.abs_diff(TONE_HZ as usize) <= 3, "{rises} Hz");
    }
    Ok(())
}

async fn until_ready(api: &Api, path: &str) -> Result<Value> {
    wait::until("the export to be ready", async || {
        let export = api.get(path).await?;
        assert!(matches!(export["state"].as_str(), Some("running" | "ready")), "{export}");
        Ok((export["state"] == "ready").then_some(export))
    })
    .await
}
