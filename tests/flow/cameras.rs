//! Cameras that misbehave, as the county sees them: each fault has its name within its time, and passes by itself.

use std::time::{Duration, Instant};

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
use crate::recordings::spans;

/// A machine that is building something else takes so many times as long.
const BUSY: u32 = 2;

/// Within this a camera is as a story wants it, where nothing is said of how soon: a gap in a recording is shown for a minute after the
/// last one.
const STATE_PATIENCE: Duration = Duration::from_secs(90);

/// Pauses after failures are 20 s at most, and a first picture takes little.
const RECOVERY: Duration = Duration::from_secs(25);

/// What only a changed configuration could mend is tried again every two minutes.
const HOPELESS_RECOVERY: Duration = Duration::from_secs(125);

/// The longest hole that the jump of a camera's clock may leave: none is needed.
const JUMP_HOLE_MS_MAX: i64 = 2_000;

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
    until_state_within(STATE_PATIENCE * BUSY, api, id, wanted).await
}

/// As [`until_state`], with a limit of its own.
async fn until_state_within(limit: Duration, api: &Api, id: &str, wanted: &str) -> Result<Value> {
    wait::until_within(limit, &format!("the camera to be {wanted}"), async || {
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
        // All at once, each at a camera of its own: what takes its time takes it once. (What it is called, within so many seconds,
        // and after it has passed, is well again within so long.) A gateway waits 5 s for an answer, 8 s for a picture, and looks at
        // pictures every half minute, at a suspicious one more often.
        let faults = [
            (Fault::Unreachable, "unreachable", 15, RECOVERY),
            (Fault::Silent, "unreachable", 20, RECOVERY),
            (Fault::NoSuchStream, "no_such_stream", 15, HOPELESS_RECOVERY),
            (Fault::Unsupported, "unsupported", 15, HOPELESS_RECOVERY),
            (Fault::Stall, "no_frames", 20, RECOVERY),
            (Fault::Black, "black", 75, RECOVERY),
            (Fault::Frozen, "frozen", 120, RECOVERY),
        ];
        let mut cameras = Vec::new();
        for (fault, ..) in &faults {
            let camera = Camera::start(Plan::tiny()).await?;
            let id = enter(api, &village.site_id, &format!("{fault:?}"), &camera).await?;
            cameras.push((camera, id));
        }
        for (_, id) in &cameras {
            let ok = until_state(api, id, "ok").await?;
            assert_eq!(ok["main"], json!({ "codec": "h264", "width": 320, "height": 180 }), "{ok}");
        }
        let begun = set_all(&cameras, faults.map(|(fault, ..)| fault)).await?;
        for ((_, id), (fault, state, named_s, _)) in cameras.iter().zip(faults) {
            let limit = left(begun, Duration::from_secs(named_s));
            until_state_within(limit, api, id, state).await.with_context(|| format!("after {fault:?}"))?;
            assert!(has_fault(api, id, state).await?, "{fault:?} is a fault that somebody owns");
        }
        let passed = set_all(&cameras, faults.map(|_| Fault::None)).await?;
        for ((_, id), (fault, state, _, recovery)) in cameras.iter().zip(faults) {
            let limit = left(passed, recovery);
            until_state_within(limit, api, id, "ok").await.with_context(|| format!("after {fault:?} passed"))?;
            assert!(!has_fault(api, id, state).await?, "the fault after {fault:?} is over");
        }
        Ok(())
    });
}

/// Sets a fault at each camera, and tells since when the last one has it.
async fn set_all(cameras: &[(Camera, String)], faults: impl IntoIterator<Item = Fault>) -> Result<Instant> {
    for ((camera, _), fault) in cameras.iter().zip(faults) {
        camera.set(fault).await?;
    }
    Ok(clock::now())
}

/// What is left of a limit that counts from a moment.
fn left(since: Instant, limit: Duration) -> Duration {
    (limit * BUSY).saturating_sub(clock::now() - since)
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
        until_recorded_beyond(api, &id, clock::utc_ms()).await?;

        for mishap in [Mishap::Jump(3_600_000), Mishap::Jump(-7_200_000)] {
            let (plays, before_ms) = (camera.counts().plays, clock::utc_ms());
            camera.suffer(mishap);
            let spans = until_recorded_beyond(api, &id, clock::utc_ms()).await?;
            let hole_ms = longest_hole_ms(&spans, before_ms - 1_000);
            assert!(hole_ms <= JUMP_HOLE_MS_MAX, "{hole_ms} ms are missing after {mishap:?}: {spans:?}");
            assert_eq!(camera.counts().plays, plays, "{mishap:?} ends no session");
        }
        for mishap in [Mishap::Forget, Mishap::Reset] {
            let plays = camera.counts().plays;
            camera.suffer(mishap);
            until_played(&camera, plays + 1).await.with_context(|| format!("after {mishap:?}"))?;
            until_recorded_beyond(api, &id, clock::utc_ms()).await.with_context(|| format!("after {mishap:?}"))?;
        }
        for (fault, width) in [(Fault::OtherParameters, 240), (Fault::None, 320)] {
            camera.set(fault).await?;
            until_width(api, &id, width).await.with_context(|| format!("under {fault:?}"))?;
            until_recorded_beyond(api, &id, clock::utc_ms()).await.with_context(|| format!("under {fault:?}"))?;
        }
        camera.set(Fault::Loss(40)).await?;
        until_recorded_beyond(api, &id, clock::utc_ms()).await.context("under loss")?;
        camera.set(Fault::Garbage).await?;
        until_state(api, &id, "unreachable").await.context("under garbage")?;
        let plays = camera.counts().plays;
        camera.set(Fault::Slow(Duration::from_secs(1))).await?;
        until_played(&camera, plays + 1).await.context("slowly")?;
        until_recorded_beyond(api, &id, clock::utc_ms()).await.context("slowly")?;
        camera.set(Fault::None).await?;
        until_recorded_beyond(api, &id, clock::utc_ms()).await.context("after all")?;
        assert!(camera.sessions() <= 2, "one session for each stream that is wanted, and no stale ones");
        Ok(())
    });
}

/// Waits until a camera that was played so often is being played.
async fn until_played(camera: &Camera, plays_min: u64) -> Result<()> {
    wait::until_within(RECOVERY * BUSY, "the camera to be played again", async || {
        Ok((camera.counts().plays >= plays_min && camera.sessions() > 0).then_some(()))
    })
    .await
}

/// Waits until the hub knows that the main stream is so wide.
async fn until_width(api: &Api, id: &str, width: u32) -> Result<()> {
    wait::until_within(RECOVERY * BUSY, &format!("pictures of {width} pixels"), async || {
        let main = camera_of(api, id).await?["main"].clone();
        Ok(Some((main["width"] == width).then_some(()).with_context(|| format!("they are {main}"))?))
    })
    .await
}

/// Waits until something was recorded that was taken after a moment, and gives the spans of the last minute.
async fn until_recorded_beyond(api: &Api, id: &str, after_ms: i64) -> Result<Vec<(i64, i64)>> {
    wait::until_within(RECOVERY * BUSY, "something new to be recorded", async || {
        let now_ms = clock::utc_ms();
        let spans = spans(api, id, now_ms - 60_000, now_ms).await?;
        let is_beyond = spans.last().is_some_and(|(_, to_ms)| *to_ms > after_ms + 1_000);
        Ok(Some(is_beyond.then(|| spans.clone()).with_context(|| format!("since {after_ms} there is {spans:?}"))?))
    })
    .await
}

/// The longest time after a moment in which nothing was recorded, up to the last span.
fn longest_hole_ms(spans: &[(i64, i64)], from_ms: i64) -> i64 {
    let mut reaches_ms = from_ms;
    let mut hole_ms = 0;
    for (from_ms, to_ms) in spans {
        hole_ms = hole_ms.max(from_ms - reaches_ms);
        reaches_ms = reaches_ms.max(*to_ms);
    }
    hole_ms
}

#[test]
fn a_wrong_clock_and_a_lossy_network_are_faults_while_they_last() {
    play("camera-clock", async |folder| {
        let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
        let api = &house.api;
        let village = Village::start(&folder.path().join("village"), api, "village", VILLAGE).await?;
        let (wrong, lossy) = (Camera::start(Plan::tiny()).await?, Camera::start(Plan::tiny()).await?);
        let wrong_id = enter(api, &village.site_id, "wrong", &wrong).await?;
        let lossy_id = enter(api, &village.site_id, "lossy", &lossy).await?;
        for id in [&wrong_id, &lossy_id] {
            until_state(api, id, "ok").await?;
        }
        wrong.suffer(Mishap::Clock(60_000));
        lossy.set(Fault::Loss(20)).await?;
        for (id, state, detail) in
            [(&wrong_id, "clock_off", "s ahead"), (&lossy_id, "recording_gap", "pictures were lost on the way")]
        {
            // A camera tells its time every five seconds; a loss shows at the next keyframe.
            let known = until_state_within(Duration::from_secs(10) * BUSY, api, id, state).await?;
            let said = known["state"]["detail"].as_str().unwrap_or_default();
            assert!(said.contains(detail), "{known}");
            assert!(has_fault(api, id, state).await?, "{state} is a fault that somebody owns");
        }
        wrong.suffer(Mishap::Clock(0));
        lossy.set(Fault::None).await?;
        for (id, state, limit_s) in [(&wrong_id, "clock_off", 10), (&lossy_id, "recording_gap", 70)] {
            until_state_within(Duration::from_secs(limit_s) * BUSY, api, id, "ok").await?;
            assert!(!has_fault(api, id, state).await?, "{state} is over");
        }
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
            wait::until_within(
                STATE_PATIENCE * BUSY,
                &format!("a camera that is well and says {said:?}"),
                async || {
                    let known = camera_of(api, id).await?;
                    let detail = known["state"]["detail"].as_str().unwrap_or_default().to_owned();
                    let is_so = known["state"]["name"] == "ok" && detail.contains(said);
                    Ok(Some(is_so.then_some(()).with_context(|| format!("it is {}", known["state"]))?))
                },
            )
            .await?;
        }
        Ok(())
    });
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
