//! What the hub has a gateway do reaches it, is kept, and is found again.

use std::path::PathBuf;

use anyhow::Result;
use sqlx::Connection;
use tongluo_protocols::configuration::Configuration;
use tongluo_tests::hub::HubPlan;
use tongluo_tests::scene::{Folder, play};
use tongluo_tests::village::Village;
use tongluo_tests::wait;

use crate::house::{House, OTHER_VILLAGE, Store, VILLAGE};

#[test]
fn a_configuration_is_ordered_fetched_kept_and_fetched_again() {
    play("configuration", story);
}

async fn story(folder: &Folder) -> Result<()> {
    let mut house = House::new(folder, Store::Sqlite, HubPlan::new()?).await?;
    let (mut village, _lan) = house.village(folder, "village", VILLAGE).await?;
    let path = folder.path().join("village/gateway/configuration.cbor");

    let first = followed(&path, "any", |_| true).await?;
    assert_eq!((first.site_id, first.region_code.as_str()), (village.site_id.clone(), VILLAGE));

    // Ordered while the gateway is away, and the hub killed before it comes back: an order of another run of the hub.
    village.gateway.kill()?;
    change(&house, &village).await?;
    house.hub.kill()?;
    house.hub.serve().await?;
    village.gateway.run()?;
    let second = followed(&path, "the changed", |found| found.region_code == OTHER_VILLAGE).await?;
    assert!(second.revision > first.revision);

    // The document is gone, as after a crash between the commit of its order and its own.
    village.gateway.kill()?;
    std::fs::remove_file(&path)?;
    village.gateway.run()?;
    followed(&path, "the newest", |found| found.revision >= second.revision).await?;
    Ok(())
}

/// Changes something that the gateway is told, and marks it, as the hub's rooms do in one transaction.
async fn change(house: &House, village: &Village) -> Result<()> {
    let mut ledger = sqlx::SqliteConnection::connect(&house.hub.ledger_address()).await?;
    let mut transaction = ledger.begin().await?;
    sqlx::query("update site set region_code = $1 where id = $2")
        .bind(OTHER_VILLAGE)
        .bind(&village.site_id)
        .execute(&mut *transaction)
        .await?;
    // A room of the hub may have marked it already.
    sqlx::query("insert into configuration_due (site_id, marked_ms) values ($1, 1) on conflict do nothing")
        .bind(&village.site_id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    wait::until("the configuration to be ordered", async || {
        let due: i64 = sqlx::query_scalar("select count(*) from configuration_due where site_id = $1")
            .bind(&village.site_id)
            .fetch_one(&mut ledger)
            .await?;
        Ok((due == 0).then_some(()))
    })
    .await
}

/// Waits until the gateway has such a document on its disk. Revisions are not counted: the hub's rooms may order some of their own.
async fn followed(path: &PathBuf, which: &str, is_it: impl Fn(&Configuration) -> bool) -> Result<Configuration> {
    wait::until(&format!("{which} configuration in the village"), async || {
        let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
        Ok(Configuration::parse(&bytes).ok().filter(&is_it))
    })
    .await
}
