//! What most stories begin with: a hub and one village with two buttons.

use anyhow::{Context, Result};
use serde_json::Value;
use tongluo_tests::api::Api;
use tongluo_tests::button::{LorawanButton, LorawanModel, ZigbeeButton, zigbee_bridge};
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::lan::Lan;
use tongluo_tests::postgres::Database;
use tongluo_tests::scene::Folder;
use tongluo_tests::village::Village;
use tongluo_tests::wait;

/// A village of 玉山镇.
pub(crate) const VILLAGE: &str = "411728102201";
/// A village of another township.
pub(crate) const OTHER_VILLAGE: &str = "411728103204";

/// Where the ledger is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

/// A hub, and its administrator's browser. Fields are dropped in order: the hub before its database.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) hub: Hub,
    pub(crate) api: Api,
    _database: Option<Database>,
}

impl House {
    pub(crate) async fn new(folder: &Folder, store: Store, plan: HubPlan) -> Result<Self> {
        let database = match store {
            Store::Sqlite => None,
            Store::Postgres => Some(Database::new(folder).await?),
        };
        let address = database.as_ref().map_or(plan.database.clone(), |database| database.address().to_owned());
        let hub = Hub::start(folder, HubPlan { database: address, ..plan }).await?;
        let api = hub.administrator().await?;
        Ok(Self { hub, api, _database: database })
    }

    /// Starts a village, and connects its devices' networks, which introduce their devices.
    pub(crate) async fn village(&self, folder: &Folder, name: &str, region_code: &str) -> Result<(Village, Lan)> {
        let village = Village::start(&folder.path().join(name), &self.api, name, region_code).await?;
        let lan = village.lan("networks").await?;
        lan.publish_all(&zigbee_bridge(&[zigbee()])).await?;
        lan.publish(&zigbee().supervision(97)).await?;
        // Messages of one client keep their order, so the gateway knows the directory when it reports this.
        let path = format!("/api/v1/devices?site_id={}", village.site_id);
        wait::until("the hub to know the Zigbee button", async || {
            let devices = self.api.list(&path, "devices").await?;
            Ok(devices.into_iter().find(|device| device["key"] == zigbee().key()))
        })
        .await?;
        Ok((village, lan))
    }
}

/// The Zigbee button of these stories. Its name holds a slash, as names may.
pub(crate) fn zigbee() -> ZigbeeButton {
    ZigbeeButton { address: 0x0015_8d00_01a2_b3c4, name: "yard/sos".to_owned() }
}

/// The LoRaWAN button of these stories.
pub(crate) fn lorawan() -> LorawanButton {
    LorawanButton { dev_eui: 0x24e1_2453_5b31_6056, name: "ws101-square".to_owned(), model: LorawanModel::Ws101 }
}

/// Waits for an open alarm of a source of which `wanted` holds.
pub(crate) async fn alarm_of(api: &Api, source: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until(&format!("{what} from {source}"), async || {
        let alarms = api.open_alarms().await?;
        let found = alarms.iter().find(|alarm| alarm["source"] == source && wanted(alarm)).cloned();
        // Told only if it is the last look.
        Ok(Some(found.with_context(|| format!("open are {alarms:?}"))?))
    })
    .await
}
