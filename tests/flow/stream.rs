//! The change log while many write at once: whoever resumes by `Last-Event-ID` misses nothing, sees nothing twice, and sees
//! only what lies in their region.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::json;
use tongluo_tests::api::Api;
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::stream::Event;
use tongluo_tests::village::text;

use crate::house::{House, OTHER_VILLAGE, Store, VILLAGE};

/// Writers at once, each with a site of its own, in two regions by turns.
const WRITERS: usize = 8;
/// Changes by each.
const CHANGES: usize = 25;
/// A reader hangs up after so many events, and resumes.
const EVENTS_A_CALL: usize = 7;

#[test]
fn a_reader_who_resumes_misses_nothing_on_sqlite() {
    play("stream-sqlite", async |folder| story(folder, Store::Sqlite).await);
}

#[test]
fn a_reader_who_resumes_misses_nothing_on_postgres() {
    play("stream-postgres", async |folder| story(folder, Store::Postgres).await);
}

async fn story(folder: &Folder, store: Store) -> Result<()> {
    let house = House::new(folder, store, HubPlan::new()?).await?;
    let head = village_head(&house).await?;
    let mut sites = Vec::new();
    for writer in 0..WRITERS {
        let region = [VILLAGE, OTHER_VILLAGE][writer % 2];
        let site = json!({ "name": format!("site {writer}"), "region_code": region });
        sites.push(text(&house.api.post("/api/v1/sites", site).await?, "id")?);
    }
    let start = house.api.get("/api/v1/sites").await?["sequence"].as_i64().context("a sequence")?;

    let steady = tokio::spawn(read(house.api.clone(), start, WRITERS * CHANGES, usize::MAX));
    let resuming = tokio::spawn(read(house.api.clone(), start, WRITERS * CHANGES, EVENTS_A_CALL));
    let villager = tokio::spawn(read(head, start, WRITERS * CHANGES / 2, EVENTS_A_CALL));
    let writers: Vec<_> = sites.iter().map(|site| tokio::spawn(write(house.api.clone(), site.clone()))).collect();
    for writer in writers {
        writer.await??;
    }
    let (steady, resuming, villager) = (steady.await??, resuming.await??, villager.await??);

    assert_eq!(steady, resuming, "hanging up and resuming changes nothing");
    assert!(steady.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "the log is in order");
    let names: BTreeSet<String> = steady.iter().map(|event| text(&event.data, "name")).collect::<Result<_>>()?;
    let written = (0..WRITERS * CHANGES).map(|number| format!("{} {}", sites[number / CHANGES], number % CHANGES));
    assert_eq!(names, written.collect(), "each change is there");
    let in_village: Vec<Event> = steady.into_iter().filter(|event| event.data["region_code"] == VILLAGE).collect();
    assert_eq!(villager, in_village, "a village head sees the village, all of it and nothing else");

    a_sequence_of_another_history_starts_over(&house.api).await
}

async fn a_sequence_of_another_history_starts_over(api: &Api) -> Result<()> {
    let mut events = api.events(Some(1_000_000_000)).await?;
    let event = events.next_change().await?;
    assert_eq!(event.kind, "reset");
    Ok(())
}

async fn village_head(house: &House) -> Result<Api> {
    let password = tongluo_tests::secret();
    let head = json!({
        "username": "head",
        "display_name": "徐建国",
        "password": password,
        "role": "village_head",
        "region_code": VILLAGE,
    });
    house.api.post("/api/v1/users", head).await?;
    Api::log_in(&house.hub.url(), "head", &password).await
}

/// Renames a site again and again.
async fn write(api: Api, site: String) -> Result<()> {
    for change in 0..CHANGES {
        let name = json!({ "name": format!("{site} {change}") });
        api.patch(&format!("/api/v1/sites/{site}"), name).await?;
    }
    Ok(())
}

/// Reads `count` changes of sites, hanging up and resuming after every `events_a_call`.
async fn read(api: Api, start: i64, count: usize, events_a_call: usize) -> Result<Vec<Event>> {
    let mut heard: Vec<Event> = Vec::new();
    let mut position = start;
    while heard.len() < count {
        let mut events = api.events(Some(position)).await?;
        for _ in 0..events_a_call {
            // A beat counts: it moves the position through what this reader may not see.
            let event = events.next().await?;
            position = event.sequence;
            match event.kind.as_str() {
                "site" => heard.push(event),
                "reset" => anyhow::bail!("the log starts over at {position}"),
                _ => {}
            }
            if heard.len() == count {
                break;
            }
        }
    }
    Ok(heard)
}
