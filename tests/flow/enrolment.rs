//! How a gateway gets in, and how it is kept out: claims, revocation, and other sites' topics.

use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::json;
use sqlx::Connection;
use tongluo_tests::api::Api;
use tongluo_tests::button::Press;
use tongluo_tests::hub::HubPlan;
use tongluo_tests::mosquitto::Login;
use tongluo_tests::rogue::Rogue;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::{Gateway, Village, claim, text};

use crate::house::{House, OTHER_VILLAGE, Store, VILLAGE, alarm_of, zigbee};

/// Long enough for a message on loopback to arrive if it were let through.
const SILENCE: Duration = Duration::from_secs(2);

/// More wrong codes than anybody mistypes.
const GUESSES_MAX: usize = 20;

#[test]
fn only_one_who_was_invited_gets_in_and_only_to_its_own_topics() {
    play("enrolment", story);
}

async fn story(folder: &Folder) -> Result<()> {
    let house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
    let (village, mut lan) = house.village(folder, "village", VILLAGE).await?;
    let (other, _other_lan) = house.village(folder, "other", OTHER_VILLAGE).await?;

    a_gateway_keeps_to_its_own_topics(&house.api, &village, &other).await?;
    claims_serve_once_and_end(folder, &house).await?;
    the_revoked_stay_out(folder, &house.api, &village).await?;
    lan.press(&zigbee().press(Press::Sos)).await?;
    let alarm = alarm_of(&house.api, &zigbee().key(), "the press after a new box was enrolled", |_| true).await?;
    assert_eq!(alarm["site_id"], village.site_id.as_str());
    guessing_is_slowed_down(folder, &house, &other.site_id).await
}

/// With a village's own, valid certificate.
async fn a_gateway_keeps_to_its_own_topics(api: &Api, village: &Village, other: &Village) -> Result<()> {
    let (mine, theirs) = (village.gateway.identity()?, &other.site_id);
    let will = format!("tl/1/{theirs}/state");
    assert!(Rogue::connect(&mine, Some(&will)).await.is_err(), "a will on another site's topic is refused");

    // The same certificate and client id once more: whoever comes later is the one. The real gateway will be back.
    let mut rogue = Rogue::connect(&mine, None).await?;
    for filter in [format!("tl/1/{theirs}/#"), "tl/1/#".to_owned(), "#".to_owned(), format!("tl/1/{theirs}/up/ack")] {
        rogue.subscribe(&filter).await?;
    }
    for leaf in ["state", "up", "beat", "down/ack"] {
        rogue.publish(&format!("tl/1/{theirs}/{leaf}"), "{\"online\":false}").await?;
    }
    // The other gateway beats and reports all the while, and is answered.
    assert_eq!(rogue.hears(SILENCE).await, None, "nothing of another site is heard");
    drop(rogue);
    let site = api.get(&format!("/api/v1/sites/{theirs}")).await?;
    assert_eq!(site["gateway"]["online"], true, "nobody says of another that it is gone: {site}");
    village.wait_until_online(api).await
}

async fn claims_serve_once_and_end(folder: &Folder, house: &House) -> Result<()> {
    let api = &house.api;
    let site = api.post("/api/v1/sites", json!({ "name": "third", "region_code": VILLAGE })).await?;
    let site_id = text(&site, "id")?;
    let box_of = |name: &str| Gateway::configure(&folder.path().join(name), 1883, &no_login());
    let (first, second) = (box_of("first")?, box_of("second")?);

    let invitation = claim(api, &site_id).await?;
    first.enrol(&invitation).await?;
    let identity = first.identity()?;
    first.enrol(&invitation).await?;
    assert_eq!(first.identity()?["gateway_id"], identity["gateway_id"], "the same box may ask again");
    refused(&second, &invitation, "a used claim").await?;

    let withdrawn = claim(api, &site_id).await?;
    api.ask(Method::DELETE, &format!("/api/v1/sites/{site_id}/claims"), None).await?.success("claims")?;
    refused(&second, &withdrawn, "a withdrawn claim").await?;

    let expired = claim(api, &site_id).await?;
    let mut ledger = sqlx::SqliteConnection::connect(&house.hub.ledger_address()).await?;
    sqlx::query("update claim set expires_ms = 1 where used_ms is null").execute(&mut ledger).await?;
    ledger.close().await?;
    refused(&second, &expired, "an expired claim").await?;

    let (front, fingerprint) = expired.split_once("&ca=").expect("a claim names the hub's CA");
    let other_fingerprint: String = fingerprint.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
    refused(&second, &format!("{front}&ca={other_fingerprint}"), "a hub that is not the one of the claim").await?;
    second.enrol(&claim(api, &site_id).await?).await
}

async fn refused(gateway: &Gateway, claim: &str, what: &str) -> Result<()> {
    let said = gateway.enrol(claim).await.expect_err(what).to_string();
    assert!(gateway.identity().is_err(), "{what} gave an identity");
    assert!(said.contains("tongluo-edge") && !said.contains("panicked"), "{what} is refused with a sentence: {said}");
    Ok(())
}

async fn the_revoked_stay_out(folder: &Folder, api: &Api, village: &Village) -> Result<()> {
    let revoked = village.gateway.identity()?;
    let path = format!("/api/v1/sites/{}/revoke", village.site_id);
    api.post(&path, json!({ "reason": "被盗" })).await?;
    village.wait_until_offline(api).await?;
    assert!(Rogue::connect(&revoked, None).await.is_err(), "a revoked certificate does not connect");

    // The box that takes its place reads the same village's broker.
    let login = std::fs::read_to_string(folder.path().join("village/gateway-password"))?;
    let login = Login { username: "gateway".to_owned(), password: login };
    let mut successor = Gateway::configure(&folder.path().join("successor"), village.mosquitto.port(), &login)?;
    successor.enrol(&claim(api, &village.site_id).await?).await?;
    assert!(Rogue::connect(&revoked, None).await.is_err(), "nor after another box was enrolled");
    successor.run()?;
    village.wait_until_online(api).await?;
    // It serves until the end of the story.
    std::mem::forget(successor);
    Ok(())
}

/// Last, because afterwards this address is kept waiting.
async fn guessing_is_slowed_down(folder: &Folder, house: &House, site_id: &str) -> Result<()> {
    let invitation = claim(&house.api, site_id).await?;
    let (front, rest) = invitation.split_once("&code=").expect("a claim has a code");
    let guess = format!("{front}&code=AAAA2222{}", &rest[8..]);
    let stranger = Gateway::configure(&folder.path().join("stranger"), 1883, &no_login())?;
    for _ in 0..GUESSES_MAX {
        let said = stranger.enrol(&guess).await.expect_err("a guess").to_string();
        if said.contains("Too many attempts") {
            return Ok(());
        }
        assert!(said.contains("refused the code"), "{said}");
    }
    bail!("{GUESSES_MAX} guesses were answered without delay")
}

fn no_login() -> Login {
    Login { username: "nobody".to_owned(), password: "nothing".to_owned() }
}
