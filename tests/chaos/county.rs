//! What is killed: a hub, its broker where that stands outside, and two villages.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tongluo_tests::api::Api;
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::mosquitto::Mosquitto;
use tongluo_tests::postgres::Database;
use tongluo_tests::scene::Folder;
use tongluo_tests::village::Village;
use tongluo_tests::{clock, ports, wait};

use crate::dice::Dice;

/// Two villages in two townships.
const VILLAGES: [&str; 2] = ["411728102201", "411728103204"];

/// How long a victim stays dead, at most.
const DEAD_MAX: Duration = Duration::from_millis(700);

/// How long all is left alone after a victim was started again, at most. Short enough to hit it while it still starts.
const PEACE_MAX: Duration = Duration::from_millis(1_400);

/// How long everything may take to find together again.
const HEALING: Duration = Duration::from_secs(120);

/// How long a person waits for a hub that is being killed again and again.
const PERSON_PATIENCE: Duration = Duration::from_millis(500);

/// Where the broker and the ledger are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Broker inside the hub, SQLite.
    Small,
    /// Mosquitto outside, PostgreSQL.
    Large,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Small => "broker inside, SQLite",
            Self::Large => "broker outside, PostgreSQL",
        })
    }
}

/// What can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Hub,
    Gateway(usize),
    VillageBroker(usize),
    /// Its state goes with it.
    CountyBroker,
}

/// How often each was killed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kills {
    pub(crate) hub: usize,
    pub(crate) gateways: usize,
    pub(crate) village_brokers: usize,
    pub(crate) county_broker: usize,
}

impl Kills {
    pub(crate) fn total(&self) -> usize {
        self.hub + self.gateways + self.village_brokers + self.county_broker
    }
}

/// All of it, running. Fields are dropped in order: the hub before its database.
pub(crate) struct County {
    pub(crate) hub: Hub,
    pub(crate) villages: Vec<Village>,
    pub(crate) api: Api,
    broker: Option<Mosquitto>,
    victims: Vec<Victim>,
    /// Those of this round who are still to be hit.
    turn: Vec<Victim>,
    _database: Option<Database>,
}

impl County {
    pub(crate) async fn start(folder: &Folder, shape: Shape) -> Result<Self> {
        let mut plan = HubPlan::new()?;
        let mut database = None;
        if shape == Shape::Large {
            let made = Database::new(folder).await?;
            plan.database = made.address().to_owned();
            plan.external_port = Some(ports::free()?);
            database = Some(made);
        }
        let mut hub = Hub::init(&folder.path().join("hub"), plan)?;
        hub.serve().await?;
        let mut victims = vec![Victim::Hub];
        let mut broker = None;
        if let Some(port) = hub.plan().external_port {
            // The hub makes the certificate that this broker uses, and finds the broker when it is there.
            let folder = folder.path().join("broker");
            broker = Some(Mosquitto::county(&folder, hub.plan().mqtt_port, port, &hub.county_keys()).await?);
            victims.push(Victim::CountyBroker);
        }
        let api = hub.administrator().await?;
        let mut villages = Vec::new();
        for (number, region) in VILLAGES.into_iter().enumerate() {
            let name = format!("village-{number}");
            villages.push(Village::start(&folder.path().join(&name), &api, &name, region).await?);
            victims.extend([Victim::Gateway(number), Victim::VillageBroker(number)]);
        }
        Ok(Self { hub, villages, api, broker, victims, turn: Vec::new(), _database: database })
    }

    /// Each is hit once in a round, in an order of chance.
    fn next_victim(&mut self, dice: &mut Dice) -> Victim {
        if self.turn.is_empty() {
            self.turn = self.victims.clone();
        }
        self.turn.swap_remove(dice.below(self.turn.len()))
    }

    /// Kills one, leaves it dead for a while, and starts it again; then leaves all alone for a while.
    pub(crate) async fn strike(&mut self, dice: &mut Dice, kills: &mut Kills) -> Result<()> {
        let victim = self.next_victim(dice);
        let dead = dice.up_to(DEAD_MAX);
        match victim {
            Victim::Hub => {
                kills.hub += 1;
                self.hub.running()?.check()?;
                self.hub.kill()?;
                clock::pause(dead).await;
                self.hub.launch()?;
            }
            Victim::Gateway(number) => {
                kills.gateways += 1;
                let gateway = &mut self.villages[number].gateway;
                gateway.running()?.check()?;
                gateway.kill()?;
                clock::pause(dead).await;
                gateway.run()?;
            }
            Victim::VillageBroker(number) => {
                kills.village_brokers += 1;
                let broker = &mut self.villages[number].mosquitto;
                broker.kill()?;
                clock::pause(dead).await;
                broker.run().await?;
            }
            Victim::CountyBroker => {
                kills.county_broker += 1;
                let broker = self.broker.as_mut().context("a county broker")?;
                broker.kill()?;
                broker.wipe()?;
                clock::pause(dead).await;
                broker.run().await?;
            }
        }
        clock::pause(dice.up_to(PEACE_MAX)).await;
        Ok(())
    }

    /// Closes an alarm if the hub happens to be there, so that presses belong to more than one alarm of a button.
    pub(crate) async fn close_one(&self, dice: &mut Dice) {
        let closing = async {
            let alarms = self.api.open_alarms().await?;
            if !alarms.is_empty() {
                let id = alarms[dice.below(alarms.len())]["id"].as_str().unwrap_or_default().to_owned();
                self.api.post(&format!("/api/v1/alarms/{id}/close"), json!({ "reason": "test" })).await?;
            }
            anyhow::Ok(())
        };
        // The hub may be dead just now, or the alarm closed: people try again later.
        let _ = tokio::time::timeout(PERSON_PATIENCE, closing).await;
    }

    /// Waits until every gateway has said, after now, that its whole journal is with the hub.
    pub(crate) async fn wait_until_quiet(&mut self) -> Result<()> {
        self.hub.wait_until_healthy().await?;
        let since_ms = clock::utc_ms();
        for village in &self.villages {
            let path = format!("/api/v1/sites/{}", village.site_id);
            let what = format!("the journal of {} to be with the hub", village.site_id);
            wait::until_within(HEALING, &what, async || {
                let site = self.api.get(&path).await?;
                let gateway = &site["gateway"];
                let is_heard = gateway["last_heard_ms"].as_i64() > Some(since_ms);
                let is_quiet = gateway["online"] == true && gateway["journal_pending"] == 0;
                anyhow::ensure!(is_heard && is_quiet, "{gateway}");
                Ok(Some(()))
            })
            .await?;
        }
        Ok(())
    }
}
