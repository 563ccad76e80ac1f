//! Cameras that misbehave, as the county sees them: each fault has its name within its time, and passes by itself.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tongluo_tests::api::Api;
use tongluo_tests::devices::{Camera, Fault, Microphone, Mishap, Plan};
use tongluo_tests::hub::HubPlan;
use tongluo_tests::mosquitto::Login;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::{Village, text};
use tongluo_tests::{clock, wait};

use crate::house::{House, OTHER_VILLAGE, Store, VILLAGE};

/// Within this a fault has its name, and after this it is gone: a gateway waits 10 s for pictures, tries again after 30 s at most,
/// and needs up to 110 s to be sure that a picture is frozen. Doubled, for a machine that is building something else.
const FAULT_PATIENCE: Duration = Duration::from_secs(220);

/// Enters a camera as a technician does; gives its id.
pub(crate) async fn enter(api: &Api, site_id: &str, name: &str, camera: &Camera) -> Result<String> {
    let login = camera.login().context("a camera with a password")?;
    let entered = api
        .post(
            "/api/v1/cameras",
            json!({
                "site_id": site_id,
                "name": name,
                "url": camera.url("main"),
                "sub_url": camera.url("sub"),
                "username": login.username,
                "password": login.password,
                "record": "main",
                "audio": camera.microphone().is_some(),
                "bytes_max": 64 << 20,
            }),
        )
        .await?;
    assert!(!entered.to_string().contains(&login.password), "the password is never shown again");
    text(&entered, "id")
}

/// A camera as the hub has it.
pub(crate) async fn camera_of(api: &Api, id: &str) -> Result<Value> {
    let cameras = api.list("/api/v1/cameras", "cameras").await?;
    cameras.into_iter().find(|camera| camera["id"] == id).with_context(|| format!("no camera {id}"))
}

/// Waits until the hub says that a camera is in a state.
pub(crate) async fn until_state(api: &Api, id: &str, wanted: &str) -> Result<Value> {
    wait::until_within(FAULT_PATIENCE, &format!("the camera to be {wanted}"), async || {
        let camera = camera_of(api, id).await?;
        // Told only if it is the last look.
        let is_wanted = camera["state"]["name"] == wanted;
        Ok(Some(is_wanted.then(|| camera.clone()).with_context(|| format!("it is {}", camera["state"]))?))
    })
    .await
}

/// Whether an open fault of this kind stands at the camera.
async fn has_fault(api: &Api, camera_id: &str, state: &str) -> Result<bool> {
    let faults = api.list("/api/v1/faults", "faults").await?;
    let (code, source) = (format!("camera.{state}"), format!("camera:{camera_id}"));
    Ok(faults.iter().any(|fault| fault["code"] == code.as_str() && fault["source"] == source.as_str()))
}

#[test]
fn each_fault_of_a_camera_has_its_name_and_passes() {
    play("camera-faults", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let village = Village::start(&folder.path().join("village"), api, "village", VILLAGE).await?;
        // All at once, each at a camera of its own: what takes its time takes it once.
        let faults = [
            (Fault::Unreachable, "unreachable"),
            (Fault::Silent, "unreachable"),
            (Fault::NoSuchStream, "no_such_stream"),
            (Fault::Unsupported, "unsupported"),
            (Fault::Stall, "no_frames"),
            (Fault::Black, "black"),
            (Fault::Frozen, "frozen"),
        ];
        let mut cameras = Vec::new();
        for (fault, state) in faults {
            let camera = Camera::start(Plan::tiny()).await?;
            let id = enter(api, &village.site_id, &format!("{fault:?}"), &camera).await?;
            cameras.push((camera, id, fault, state));
        }
        for (_, id, _, _) in &cameras {
            let ok = until_state(api, id, "ok").await?;
            assert_eq!(ok["main"], json!({ "codec": "h264", "width": 320, "height": 180 }), "{ok}");
        }
        for (camera, _, fault, _) in &cameras {
            camera.set(*fault).await?;
        }
        for (_, id, fault, state) in &cameras {
            until_state(api, id, state).await.with_context(|| format!("after {fault:?}"))?;
            assert!(has_fault(api, id, state).await?, "{fault:?} is a fault that somebody owns");
        }
        for (camera, ..) in &cameras {
            camera.set(Fault::None).await?;
        }
        for (_, id, fault, state) in &cameras {
            until_state(api, id, "ok").await.with_context(|| format!("after {fault:?} passed"))?;
            assert!(!has_fault(api, id, state).await?, "the fault after {fault:?} is over");
        }
        Ok(())
    });
}

#[test]
fn a_camera_survives_what_passes_by_itself() {
    play("camera-mishaps", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let village = Village::start(&folder.path().join("village"), api, "village", VILLAGE).await?;
        let camera = Camera::start(Plan { microphone: Some(Microphone::Tone), ..Plan::tiny() }).await?;
        let id = enter(api, &village.site_id, "mishaps", &camera).await?;
        until_state(api, &id, "ok").await?;
        for mishap in [Mishap::Jump(3_600_000), Mishap::Jump(-7_200_000), Mishap::Forget, Mishap::Reset] {
            let plays = camera.counts().plays;
            camera.suffer(mishap);
            // What ends sessions must be followed by another one; what does not may be.
            let ends = matches!(mishap, Mishap::Forget | Mishap::Reset);
            lives_after(api, &id, &camera, plays + u64::from(ends))
                .await
                .with_context(|| format!("after {mishap:?}"))?;
        }
        for fault in [Fault::OtherParameters, Fault::Loss(40), Fault::Garbage, Fault::Slow(Duration::from_secs(1))] {
            camera.set(fault).await?;
            clock::pause(Duration::from_secs(3)).await;
            camera.set(Fault::None).await?;
            lives_after(api, &id, &camera, 1).await.with_context(|| format!("after {fault:?}"))?;
        }
        assert!(camera.sessions() <= 2, "one session for each stream that is wanted, and no stale ones");
        Ok(())
    });
}

#[test]
fn sound_that_cannot_be_taken_is_said_and_costs_no_picture() {
    play("camera-sound", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let village = Village::start(&folder.path().join("village"), api, "village", VILLAGE).await?;
        let mut cameras = Vec::new();
        for (microphone, said) in [
            (Microphone::Foreign, "set the camera to AAC or G.711"),
            (Microphone::Garbage, "it is left out for a while"),
            (Microphone::Mute, ""),
        ] {
            let camera = Camera::start(Plan { microphone: Some(microphone), ..Plan::tiny() }).await?;
            let id = enter(api, &village.site_id, &format!("{microphone:?}"), &camera).await?;
            cameras.push((camera, id, said));
        }
        for (_camera, id, said) in &cameras {
            wait::until_within(FAULT_PATIENCE, &format!("a camera that is well and says {said:?}"), async || {
                let known = camera_of(api, id).await?;
                let detail = known["state"]["detail"].as_str().unwrap_or_default().to_owned();
                let is_so = known["state"]["name"] == "ok" && detail.contains(said);
                Ok(Some(is_so.then_some(()).with_context(|| format!("it is {}", known["state"]))?))
            })
            .await?;
        }
        Ok(())
    });
}

/// Waits until the camera has been played so often, is being played, and is well, or has but a gap in its recording.
async fn lives_after(api: &Api, id: &str, camera: &Camera, plays_min: u64) -> Result<()> {
    wait::until_within(FAULT_PATIENCE, "the camera to live on", async || {
        let known = camera_of(api, id).await?;
        let is_well = matches!(known["state"]["name"].as_str(), Some("ok" | "recording_gap"));
        let lives = is_well && camera.sessions() > 0 && camera.counts().plays >= plays_min;
        Ok(Some(lives.then_some(()).with_context(|| format!("it is {known}"))?))
    })
    .await
}

#[test]
fn a_changed_password_is_refused_without_locking_the_camera_until_the_new_one_is_given() {
    play("camera-password", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let village = Village::start(&folder.path().join("village"), api, "village", VILLAGE).await?;
        let camera = Camera::start(Plan::tiny()).await?;
        let id = enter(api, &village.site_id, "password", &camera).await?;
        until_state(api, &id, "ok").await?;
        let changed = Login { username: "admin".to_owned(), password: tongluo_tests::secret() };
        camera.change_login(changed.clone());
        until_state(api, &id, "refused").await?;
        let wrong_passwords = camera.counts().wrong_passwords;
        let new = json!({ "username": changed.username, "password": changed.password });
        api.patch(&format!("/api/v1/cameras/{id}"), new).await?;
        until_state(api, &id, "ok").await?;
        assert!(wrong_passwords < 3, "{wrong_passwords} wrong passwords");
        assert_eq!(camera.counts().locked_out, 0, "people still get in");
        Ok(())
    });
}

#[test]
fn a_village_head_sees_no_other_villages_camera() {
    play("camera-rights", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let village = Village::start(&folder.path().join("village"), api, "village", VILLAGE).await?;
        let camera = Camera::start(Plan::tiny()).await?;
        let id = enter(api, &village.site_id, "rights", &camera).await?;
        until_state(api, &id, "ok").await?;
        let stranger = person(&house, "stranger", "village_head", OTHER_VILLAGE).await?;
        assert_eq!(stranger.list("/api/v1/cameras", "cameras").await?, Vec::<Value>::new());
        let span = format!("from_ms={}&to_ms={}", clock::utc_ms() - 10_000, clock::utc_ms());
        let live = format!("/api/v1/cameras/{id}/live?quality=sub");
        let playback = format!("/api/v1/cameras/{id}/playback?{span}");
        for path in [&live, &playback] {
            assert_eq!(api.web_socket(path).await?, StatusCode::SWITCHING_PROTOCOLS, "{path}");
            assert_eq!(stranger.web_socket(path).await?, StatusCode::NOT_FOUND, "{path}");
        }
        let recordings = stranger.ask(Method::GET, &format!("/api/v1/cameras/{id}/recordings?{span}"), None).await?;
        assert_eq!(recordings.status, StatusCode::NOT_FOUND, "{recordings:?}");
        for (method, path) in [
            (Method::PATCH, format!("/api/v1/cameras/{id}")),
            (Method::DELETE, format!("/api/v1/cameras/{id}")),
            (Method::POST, format!("/api/v1/cameras/{id}/exports")),
        ] {
            let body = json!({ "from_ms": clock::utc_ms() - 10_000, "to_ms": clock::utc_ms(), "reason": "看看" });
            let body = if method == Method::PATCH { json!({ "name": "mine" }) } else { body };
            let answer = stranger.ask(method, &path, Some(body)).await?;
            assert!(answer.status.is_client_error() && answer.status != StatusCode::UNAUTHORIZED, "{path}: {answer:?}");
        }
        assert_eq!(camera_of(api, &id).await?["name"], "rights", "nothing was changed");
        Ok(())
    });
}

/// A browser in which somebody new is logged in.
async fn person(house: &House, username: &str, role: &str, region_code: &str) -> Result<Api> {
    let password = tongluo_tests::secret();
    let person = json!({ "username": username, "display_name": username, "password": password, "role": role,
        "region_code": region_code });
    house.api.post("/api/v1/users", person).await?;
    Api::log_in(&house.hub.url(), username, &password).await
}

/// Used by the stories of recordings, too.
pub(crate) async fn village_with_camera(house: &House, folder: &Folder) -> Result<(Village, Camera, String)> {
    let village = Village::start(&folder.path().join("village"), &house.api, "village", VILLAGE).await?;
    let camera = Camera::start(Plan { microphone: Some(Microphone::Tone), ..Plan::tiny() }).await?;
    let id = enter(&house.api, &village.site_id, "recorded", &camera).await?;
    until_state(&house.api, &id, "ok").await?;
    Ok((village, camera, id))
}
