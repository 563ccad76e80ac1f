//! What bad input gets: kept, shown, or refused by name; never dropped, never a panic.

use std::process::Command;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tongluo_tests::api::Api;
use tongluo_tests::button::{LorawanButton, Message, Press};
use tongluo_tests::child;
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::wait;

use crate::house::{House, OTHER_VILLAGE, Store, VILLAGE, alarm_of, lorawan, zigbee};

#[test]
fn bad_input_is_kept_or_refused_and_hurts_nobody() {
    play("bad-input", story);
}

async fn story(folder: &Folder) -> Result<()> {
    let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
    let (mut village, mut lan) = house.village(folder, "village", VILLAGE).await?;

    let stranger = LorawanButton { dev_eui: 0x0102_0304_0506_0708, ..lorawan() };
    for message in [
        // A LoRaWAN device whose frames nobody can read.
        stranger.uplink(1, 200, b"help"),
        // A known device that says something new.
        zigbee().says(&json!({ "action": "hexagon_pressed_thrice" })),
        // Nobody's device; not JSON; not text; deep; large.
        Message::json("zigbee2mqtt/nobody-knows-me", &json!({ "action": "emergency" })),
        raw("application/a/device/not-a-number/event/up", b"{}"),
        raw(&format!("zigbee2mqtt/{}", zigbee().name), b"{\"action\":"),
        raw(&format!("zigbee2mqtt/{}", zigbee().name), &[0xff, 0xfe, 0x00]),
        raw("zigbee2mqtt/deep", "[".repeat(50_000).as_bytes()),
        raw("zigbee2mqtt/large", &vec![b'x'; 300_000]),
        raw("zigbee2mqtt/bridge/devices", b"[{}, 7, null]"),
        raw("zigbee2mqtt/", b""),
    ] {
        lan.publish(&message).await?;
    }
    for device in [stranger.key(), zigbee().key()] {
        // It stands beside the device's own alarm, so that neither hides the other.
        let source = format!("unknown:{device}");
        let alarm = alarm_of(&house.api, &source, "an unknown alarm", |alarm| alarm["kind"] == "unknown").await?;
        assert_eq!(alarm["sounding"], true, "{alarm}");
    }
    wait::until("the call of a device that nobody knows to be shown", async || {
        let alarms = house.api.open_alarms().await?;
        let calls = |alarm: &&serde_json::Value| {
            alarm["source"].as_str().is_some_and(|source| source.contains("nobody-knows-me"))
        };
        Ok(alarms.iter().find(calls).map(|_| ()))
    })
    .await?;
    // After all that the gateway and the hub are the ones that were started, and work.
    lan.press(&lorawan().press(Press::Sos, 1)).await?;
    alarm_of(&house.api, &lorawan().key(), "a press after all that", |alarm| alarm["kind"] == "sos").await?;
    village.gateway.running()?.check()?;

    requests(&house).await?;
    configurations(folder)
}

fn raw(topic: &str, payload: &[u8]) -> Message {
    Message { topic: topic.to_owned(), payload: payload.to_vec(), retain: false }
}

/// Each is a problem document, and changes nothing.
async fn requests(house: &House) -> Result<()> {
    let password = tongluo_tests::secret();
    let head = json!({
        "username": "head",
        "display_name": "村主任",
        "password": password,
        "role": "village_head",
        "region_code": OTHER_VILLAGE,
    });
    house.api.post("/api/v1/users", head).await?;
    let head = Api::log_in(&house.hub.url(), "head", &password).await?;
    let stranger = Api::new(&house.hub.url())?;
    let alarms = house.api.open_alarms().await?;
    let close = format!("/api/v1/alarms/{}/close", alarms[0]["id"].as_str().unwrap_or_default());
    let reason = json!({ "reason": "test" });

    let table = [
        (&stranger, Method::GET, "/api/v1/alarms", None, StatusCode::UNAUTHORIZED),
        (&stranger, Method::POST, close.as_str(), Some(reason.clone()), StatusCode::UNAUTHORIZED),
        (&head, Method::POST, close.as_str(), Some(reason), StatusCode::NOT_FOUND),
        (&head, Method::GET, "/api/v1/audit", None, StatusCode::FORBIDDEN),
        (
            &house.api,
            Method::POST,
            close.as_str(),
            Some(json!({ "reason": "bored" })),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (&house.api, Method::GET, "/api/v1/nothing", None, StatusCode::NOT_FOUND),
    ];
    for (who, method, path, body, expected) in table {
        let answer = who.ask(method.clone(), path, body.clone()).await?;
        assert_eq!(answer.status, expected, "{method} {path} {body:?}: {}", answer.body);
        for member in ["type", "title", "status", "code"] {
            assert!(!answer.body[member].is_null(), "{method} {path} answers without {member}: {}", answer.body);
        }
    }
    assert_eq!(house.api.open_alarms().await?, alarms, "nothing changed");
    forged_requests(house, &close).await
}

/// What another site's page could make a browser send.
async fn forged_requests(house: &House, close: &str) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}{close}", house.hub.url());
    let forged = client.post(&url).header("origin", "https://elsewhere.example").json(&json!({ "reason": "test" }));
    assert_eq!(forged.send().await?.status(), StatusCode::FORBIDDEN);
    let elsewhere = client.get(format!("{}/healthz", house.hub.url())).header("host", "elsewhere.example");
    assert!(elsewhere.send().await?.status().is_client_error(), "a name that is not the hub's");
    Ok(())
}

/// A wrong configuration is refused at the start, by key and value, with what is allowed.
fn configurations(folder: &Folder) -> Result<()> {
    let table = [
        ("tongluo-hub", "serve", "colour = \"red\"", &["colour", "data_dir"][..]),
        ("tongluo-hub", "serve", "[http]\nplain = \"0.0.0.0:8080\"", &["http.plain", "0.0.0.0:8080", "loopback"]),
        ("tongluo-edge", "run", "[lan]\nport = 70000", &["port", "70000", "65535"]),
        ("tongluo-edge", "run", "[weather]", &["weather"]),
    ];
    for (program, verb, text, words) in table {
        let config = folder.path().join("wrong.toml");
        std::fs::write(&config, text)?;
        let mut command = Command::new(child::program(program)?);
        let said = child::output(program, command.arg(verb).arg("--config").arg(&config)).expect_err(text).to_string();
        for word in words {
            assert!(said.contains(word), "{program} of {text:?} says {said:?}, without {word:?}");
        }
    }
    Ok(())
}
