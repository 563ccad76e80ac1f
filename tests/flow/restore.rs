//! A backup that is put into the running hub: it is behind what gateways were told; it asks, and they send again.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tongluo_tests::button::Press;
use tongluo_tests::child;
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::scene::{Folder, play};

use crate::house::{House, Store, VILLAGE, alarm_of, lorawan, zigbee};

#[test]
fn a_hub_restored_from_a_backup_gets_back_what_it_had_forgotten_on_sqlite() {
    play("restore-sqlite", async |folder| story(folder, Store::Sqlite).await);
}

#[test]
fn a_hub_restored_from_a_backup_gets_back_what_it_had_forgotten_on_postgres() {
    play("restore-postgres", async |folder| story(folder, Store::Postgres).await);
}

async fn story(folder: &Folder, store: Store) -> Result<()> {
    let mut house = House::new(folder, store, HubPlan::new()?).await?;
    let (_village, mut lan) = house.village(folder, "village", VILLAGE).await?;
    let api = house.api.clone();
    lan.press(&zigbee().press(Press::Sos)).await?;
    alarm_of(&api, &zigbee().key(), "the press before the backup", |_| true).await?;

    let backup = folder.path().join("backup");
    hub_command(&house.hub, &["backup", "--to"], &backup)?;
    for _ in 0..3 {
        lan.press(&zigbee().press(Press::Sos)).await?;
    }
    lan.press(&lorawan().press(Press::Sos, 1)).await?;
    alarm_of(&api, &zigbee().key(), "the presses after it", |alarm| alarm["presses"] == 4).await?;
    alarm_of(&api, &lorawan().key(), "the other button", |_| true).await?;

    // What is no backup, the running hub does not even notice.
    let refused = hub_command(&house.hub, &["restore", "--from"], &house.hub.folder().join("data"));
    let refused = refused.err().context("a folder that is no backup was taken")?.to_string();
    ensure!(refused.contains("is not a backup"), "{refused}");
    api.open_alarms().await?;

    hub_command(&house.hub, &["restore", "--from"], &backup)?;
    // The same process, and it serves already.
    house.hub.running()?.check()?;
    let api = house.hub.administrator().await?;
    alarm_of(&api, &zigbee().key(), "all four presses again", |alarm| alarm["presses"] == 4).await?;
    alarm_of(&api, &lorawan().key(), "the other button again", |alarm| alarm["presses"] == 1).await?;
    lan.press(&zigbee().press(Press::Sos)).await?;
    alarm_of(&api, &zigbee().key(), "a press since", |alarm| alarm["presses"] == 5).await?;
    let data = std::fs::read_dir(house.hub.folder().join("data"))?.map(|entry| Ok(entry?.file_name()));
    let data = data.collect::<Result<Vec<_>>>()?;
    let aside = data.iter().filter(|name| name.to_string_lossy().starts_with("replaced-")).count();
    ensure!(aside == 1, "what the hub had is set aside once: {data:?}");
    Ok(())
}

fn hub_command(hub: &Hub, words: &[&str], folder: &std::path::Path) -> Result<()> {
    let mut command = Command::new(child::program("tongluo-hub")?);
    command.arg(words[0]).arg("--config").arg(hub.folder().join("hub.toml")).arg(words[1]).arg(folder);
    child::output("tongluo-hub", &mut command)?;
    Ok(())
}
