//! Devices and gateways as they are heard.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::AnyConnection;
use tongluo_protocols::id::DeviceKey;

use super::{County, request};
use crate::fleet::presence::{self, Beat};
use crate::fleet::{DeviceHeard, Heard, device};
use crate::ids::RegionCode;
use crate::live::Draft;
use crate::store::Writes;
use crate::store::testing::{COUNTY, TOWNSHIP, VILLAGE, each_store, region};
use crate::viewer::Role;
use crate::viewer::testing::ask;

fn heard<'a>(county: &'a County, place: &'a RegionCode, heard_ms: i64) -> DeviceHeard<'a> {
    DeviceHeard {
        site_id: &county.site,
        region: place,
        key: DeviceKey::zigbee(0x0015_8d00_01a2_b3c4),
        family: "zigbee",
        kind: "unknown",
        reported_name: Some("button 7"),
        battery_percent: None,
        link_quality: Some(80),
        available: None,
        tamper: None,
        heard_ms,
    }
}

/// As the ledger does it: what is written is written at the end.
async fn hear(transaction: &mut AnyConnection, now_ms: i64, words: &[DeviceHeard<'_>]) -> Result<Heard, sqlx::Error> {
    let mut writes = Writes::new(transaction);
    let heard = device::heard(transaction, now_ms, words, &mut writes).await?;
    writes.run(transaction).await?;
    Ok(heard)
}

#[tokio::test]
async fn a_device_is_made_by_being_heard_and_written_only_when_there_is_news() {
    const START_MS: i64 = 1_800_000_000_000;
    each_store(async |store| {
        let county = County::new(&store).await;
        let place = region(VILLAGE);
        let hear_one = async |heard: DeviceHeard<'_>| {
            let mut transaction = store.begin().await.unwrap();
            let result = hear(&mut transaction, heard.heard_ms, &[heard]).await.unwrap();
            transaction.commit().await.unwrap();
            result
        };
        let first = hear_one(heard(&county, &place, START_MS)).await;
        let told = &first.drafts[0];
        assert_eq!((told.kind, &told.body["kind"]), ("device", &json!("unknown")));
        // Still alive: not written within a minute, not told within ten.
        for (after_ms, link_quality) in [(59_999, 10), (60_000, 20)] {
            let again = DeviceHeard { link_quality: Some(link_quality), ..heard(&county, &place, START_MS + after_ms) };
            assert!(hear_one(again).await.drafts.is_empty());
        }
        let written = county.count("select last_heard_ms from device").await;
        assert_eq!(written, START_MS + 60_000);
        assert_eq!(county.count("select link_quality from device").await, 20);
        assert_eq!(hear_one(heard(&county, &place, START_MS + 600_000)).await.drafts.len(), 1);
        // News is told at once, and what was not said stays.
        let pressed = DeviceHeard {
            kind: "button",
            reported_name: None,
            battery_percent: Some(92),
            ..heard(&county, &place, START_MS + 600_001)
        };
        let told = hear_one(pressed).await.drafts.remove(0);
        assert_eq!((&told.body["kind"], &told.body["battery_percent"]), (&json!("button"), &json!(92)));
        assert_eq!(told.body["reported_name"], "button 7");
        assert!(hear_one(heard(&county, &place, START_MS + 600_002)).await.drafts.is_empty(), "a button stays one");
        assert_eq!(first.devices, hear_one(heard(&county, &place, START_MS + 600_003)).await.devices);
    })
    .await;
}

#[tokio::test]
async fn what_is_heard_together_is_taken_in_order_and_told_once() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let place = region(VILLAGE);
        let device = |address: u64, battery_percent: i64| DeviceHeard {
            key: DeviceKey::zigbee(address),
            battery_percent: Some(battery_percent),
            ..heard(&county, &place, 1_000_000)
        };
        let mut transaction = store.begin().await.unwrap();
        let words: Vec<_> =
            (1..=70).chain([70, 1]).zip(1..).map(|(address, battery)| device(address, battery)).collect();
        let first = hear(&mut transaction, 1_000_000, &words).await.unwrap();
        assert_eq!(
            (&first.devices[0], &first.devices[69]),
            (&first.devices[71], &first.devices[70]),
            "a device has one id"
        );
        assert_eq!((first.devices.len(), first.drafts.len()), (72, 70));
        let again = hear(&mut transaction, 1_000_001, &[device(2, 2), device(71, 5), device(1, 3)]).await.unwrap();
        assert_eq!((&again.devices[0], &again.devices[2]), (&first.devices[1], &first.devices[0]));
        assert_eq!(again.drafts.len(), 2, "a new one and one whose battery has changed");
        transaction.commit().await.unwrap();
        assert_eq!(county.count("select count(*) from device").await, 71);
        assert_eq!(
            county.count("select battery_percent from device where key like '%0046'").await,
            71,
            "the last word"
        );
        assert_eq!(county.count("select count(*) from device where last_heard_ms = 1000000").await, 71);
    })
    .await;
}

#[tokio::test]
async fn a_site_that_names_too_many_devices_keeps_the_first() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let place = region(VILLAGE);
        let bound = device::DEVICES_PER_SITE_MAX as usize;
        let words: Vec<_> = (0..=bound as u64)
            .map(|address| DeviceHeard { key: DeviceKey::zigbee(address), ..heard(&county, &place, 1_000) })
            .collect();
        let mut transaction = store.begin().await.unwrap();
        let heard = hear(&mut transaction, 1_000, &words).await.unwrap();
        assert_eq!(heard.devices.iter().position(Option::is_none), Some(bound));
        let again = hear(&mut transaction, 1_001, &words[bound - 1..]).await.unwrap();
        assert_eq!(again.devices, heard.devices[bound - 1..]);
        transaction.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn devices_are_named_by_people_of_their_region() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let place = region(VILLAGE);
        let mut transaction = store.begin().await.unwrap();
        let id = hear(&mut transaction, 1, &[heard(&county, &place, 1)]).await.unwrap().devices.remove(0).unwrap().id;
        transaction.commit().await.unwrap();
        let path = format!("/api/v1/devices/{id}");
        let name = json!({ "name": " 王奶奶家按钮 ", "place": "东屋床头" });
        for (role, region, status) in [
            (Role::Operator, COUNTY, StatusCode::FORBIDDEN),
            (Role::Technician, "411728103", StatusCode::NOT_FOUND),
            (Role::Technician, TOWNSHIP, StatusCode::OK),
        ] {
            assert_eq!(ask(&county.asked_by(role, region), "PATCH", &path, name.clone()).await.status, status);
        }
        let router = county.administrator();
        let listed = ask(&router, "GET", &format!("/api/v1/devices?site_id={}", county.site), Value::Null).await;
        assert_eq!(listed.body["devices"][0]["name"], "王奶奶家按钮");
        let cleared = ask(&router, "PATCH", &path, json!({ "place": "" })).await;
        assert_eq!((&cleared.body["place"], &cleared.body["name"]), (&Value::Null, &json!("王奶奶家按钮")));
        let none = ask(&county.asked_by(Role::Operator, "411728103"), "GET", "/api/v1/devices", Value::Null).await;
        assert_eq!(none.body["devices"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn presence_is_told_when_a_person_would_act_on_it() {
    const START_MS: i64 = 1_800_000_000_000;
    each_store(async |store| {
        let county = County::new(&store).await;
        county.enrol(&county.claim().await, &request()).await;
        let site = &county.site;
        let mut tx = store.begin().await.unwrap();
        let gateway = |draft: Option<Draft>| draft.unwrap().body["gateway"].clone();
        let up = gateway(presence::online(&mut tx, START_MS, site).await.unwrap());
        assert_eq!((&up["online"], &up["online_changed_ms"]), (&json!(true), &json!(START_MS)));
        let beat = Beat { boot_id: 7, uptime_ms: 5_000, version: "0.1.0", journal_pending: 0, lan_connected: true };
        let first = gateway(presence::beat(&mut tx, START_MS + 1, site, &beat).await.unwrap());
        assert_eq!((&first["version"], &first["boot_ms"]), (&json!("0.1.0"), &json!(START_MS - 4_999)));
        assert!(presence::beat(&mut tx, START_MS + 5_000, site, &beat).await.unwrap().is_none());
        let behind = Beat { journal_pending: 3, ..beat };
        assert_eq!(
            gateway(presence::beat(&mut tx, START_MS + 6_000, site, &behind).await.unwrap())["journal_pending"],
            3
        );
        let cut = Beat { lan_connected: false, ..behind };
        assert_eq!(
            gateway(presence::beat(&mut tx, START_MS + 7_000, site, &cut).await.unwrap())["lan_connected"],
            false
        );
        assert!(presence::started(&mut tx, START_MS + 8_000, site, 7, "0.1.0").await.unwrap().is_none());
        assert!(presence::started(&mut tx, START_MS + 9_000, site, 8, "0.1.0").await.unwrap().is_some());
        assert_eq!(gateway(presence::offline(&mut tx, START_MS + 9_500, site).await.unwrap())["online"], false);
        assert!(presence::offline(&mut tx, START_MS + 9_600, site).await.unwrap().is_none());
        presence::online(&mut tx, START_MS + 9_700, site).await.unwrap();
        let after_restart = presence::all_offline(&mut tx, START_MS + 9_800).await.unwrap();
        assert_eq!((after_restart.len(), &after_restart[0].body["gateway"]["online"]), (1, &json!(false)));
        tx.commit().await.unwrap();
        assert_eq!(county.site().await["gateway"]["online"], false);
    })
    .await;
}
