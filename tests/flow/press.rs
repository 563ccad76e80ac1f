//! One press, from the button to the county's queue, and everything people then do with it.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tongluo_tests::button::Press;
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::text;

use crate::house::{House, Store, VILLAGE, alarm_of, lorawan, zigbee};

#[test]
fn a_press_becomes_an_alarm_that_people_take_and_close_on_sqlite() {
    play("press-sqlite", async |folder| story(folder, Store::Sqlite).await);
}

#[test]
fn a_press_becomes_an_alarm_that_people_take_and_close_on_postgres() {
    play("press-postgres", async |folder| story(folder, Store::Postgres).await);
}

async fn story(folder: &Folder, store: Store) -> Result<()> {
    let mut house = House::new(folder, store, HubPlan::new()?).await?;
    let (village, mut lan) = house.village(folder, "village", VILLAGE).await?;
    let api = house.api.clone();
    let mut events = api.events(None).await?;
    let zigbee_key = zigbee().key();

    // A Zigbee press: a new alarm, in the list and on the stream.
    let confirmed = lan.press(&zigbee().press(Press::Sos)).await?;
    assert_eq!(confirmed.device, zigbee_key);
    let event = events.next_that(|event| event.kind == "alarm").await?;
    let alarm = alarm_of(&api, &zigbee_key, "an alarm", |_| true).await?;
    assert_eq!(event.data, alarm, "the stream says the same as the list");
    assert_eq!(alarm["kind"], "sos");
    assert_eq!(alarm["state"], "unacknowledged");
    assert_eq!(alarm["sounding"], true);
    assert_eq!(alarm["presses"], 1);
    assert_eq!(alarm["late"], false);
    assert_eq!(alarm["site_id"], village.site_id.as_str());
    assert_eq!(alarm["region_path"], json!(["遂平县", "玉山镇", "初徐村民委员会"]));
    let id = text(&alarm, "id")?;

    // A second press raises the count, not a second alarm.
    lan.press(&zigbee().press(Press::Sos)).await?;
    let alarm = alarm_of(&api, &zigbee_key, "the second press", |alarm| alarm["presses"] == 2).await?;
    assert_eq!(alarm["id"], id.as_str());

    // A LoRaWAN press; the network server repeats it, and it is the same press.
    let first = lan.press(&lorawan().press(Press::Single, 7)).await?;
    let repeated = lan.press(&lorawan().press(Press::Single, 7)).await?;
    assert_eq!(first, repeated);
    let next = lan.press(&lorawan().press(Press::Double, 8)).await?;
    assert_ne!(first.press, next.press);
    let alarm = alarm_of(&api, &lorawan().key(), "two LoRaWAN presses", |alarm| alarm["presses"] == 2).await?;
    assert_ne!(alarm["id"], id.as_str());

    acknowledged_and_pressed_again(&mut house, &mut lan, &id).await?;
    closed(&house, &mut lan, &id).await
}

/// Acknowledged it is silent; a press sounds again; no restart of the hub, however rude, loses any of it.
async fn acknowledged_and_pressed_again(house: &mut House, lan: &mut tongluo_tests::lan::Lan, id: &str) -> Result<()> {
    let api = house.api.clone();
    let alarm = api.post(&format!("/api/v1/alarms/{id}/acknowledge"), json!({})).await?;
    assert_eq!((&alarm["state"], &alarm["sounding"]), (&json!("acknowledged"), &json!(false)));
    let again = api.post(&format!("/api/v1/alarms/{id}/acknowledge"), json!({})).await?;
    assert_eq!(again["revision"], alarm["revision"], "a repetition changes nothing");
    lan.press(&zigbee().press(Press::Single)).await?;
    let source = zigbee().key();
    let sounds = |alarm: &Value| alarm["presses"] == 3 && alarm["sounding"] == true;
    alarm_of(&api, &source, "the press after the acknowledgement to sound", sounds).await?;

    house.hub.stop().await?;
    lan.press(&zigbee().press(Press::Sos)).await?;
    house.hub.serve().await?;
    alarm_of(&api, &source, "the press during the restart", |alarm| alarm["presses"] == 4).await?;
    house.hub.kill()?;
    lan.press(&zigbee().press(Press::Long)).await?;
    house.hub.serve().await?;
    alarm_of(&api, &source, "the press while the hub was dead", |alarm| alarm["presses"] == 5).await?;
    Ok(())
}

/// Closed with a reason; then the next press is a new alarm.
async fn closed(house: &House, lan: &mut tongluo_tests::lan::Lan, id: &str) -> Result<()> {
    let api = &house.api;
    let close = format!("/api/v1/alarms/{id}/close");
    let answer = api.ask(Method::POST, &close, Some(json!({ "reason": "other" }))).await?;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "\"other\" wants a note: {}", answer.body);
    let alarm = api.post(&close, json!({ "reason": "resolved", "note": "老人已送医" })).await?;
    assert_eq!((&alarm["state"], &alarm["sounding"]), (&json!("closed"), &json!(false)));
    assert_eq!((&alarm["close_reason"], &alarm["close_note"]), (&json!("resolved"), &json!("老人已送医")));
    let answer = api.ask(Method::POST, &format!("/api/v1/alarms/{id}/acknowledge"), Some(json!({}))).await?;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);

    let detail = api.get(&format!("/api/v1/alarms/{id}")).await?;
    let story: Vec<_> = detail["timeline"].as_array().into_iter().flatten().map(|line| line["what"].clone()).collect();
    assert_eq!(story.first(), Some(&json!("raised")), "{story:?}");
    assert_eq!(story.last(), Some(&json!("closed")), "{story:?}");
    assert!(story.contains(&json!("pressed_again")), "{story:?}");
    let closed = api.list("/api/v1/alarms?state=closed", "alarms").await?;
    assert!(closed.iter().any(|alarm| alarm["id"] == id));

    lan.press(&zigbee().press(Press::Sos)).await?;
    let alarm = alarm_of(api, &zigbee().key(), "a new alarm", |_| true).await?;
    assert_ne!(alarm["id"], id);
    assert_eq!(alarm["presses"], 1);
    Ok(())
}
