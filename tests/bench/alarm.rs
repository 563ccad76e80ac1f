//! The way of a press: from the device's message on the village's broker to the county's ledger, and to a page.
//!
//! Real mosquitto, real gateway, real hub, mutual TLS. One press at a time, from many buttons; after each press the bare way
//! ([`Limit`]) is measured once, so that whatever else the machine does falls on both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tongluo_tests::button::{Press, ZigbeeButton, zigbee_bridge};
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::lan::Lan;
use tongluo_tests::scene::Folder;
use tongluo_tests::stream::EventStream;
use tongluo_tests::village::Village;
use tongluo_tests::{clock, wait};

use crate::gateways::VILLAGE;
use crate::ledger::Ledger;
use crate::limit::Limit;
use crate::report::{Goal, Report, Samples};
use crate::{Size, edge};

/// A large village's buttons.
const BUTTONS: u64 = 100;
/// Presses that are not counted: every program has done everything once.
const WARM_UP: usize = 20;
/// Between two measurements a random part of this passes, so that they fall on every phase of the programs' timers.
const PAUSE_MS_MAX: u64 = 20;

/// What one press took, from the device's message on.
struct Way {
    confirmed: Duration,
    committed: Duration,
    on_screen: Duration,
}

struct Scene {
    buttons: Vec<ZigbeeButton>,
    lan: Lan,
    ledger: Ledger,
    page: EventStream,
    limit: Limit,
}

/// Measures the way of a press, then what its programs take of the machine.
///
/// # Errors
/// A program does not do what it should.
pub(crate) async fn measure(folder: &Folder, size: Size, report: &mut Report) -> Result<()> {
    let mut hub = Hub::start(folder, HubPlan::new()?).await?;
    let api = hub.administrator().await?;
    let mut village = Village::start(&folder.inside("village")?, &api, "bench", VILLAGE).await?;
    let buttons: Vec<ZigbeeButton> = (0..BUTTONS)
        .map(|number| ZigbeeButton { address: 0x00158d0000000000 + number, name: format!("button {number}") })
        .collect();
    let lan = village.lan("devices").await?;
    lan.publish_all(&zigbee_bridge(&buttons)).await?;
    let ledger = Ledger::open(&hub.folder().join("data/hub.db"))?;
    let page = api.events(None).await?;
    let limit = Limit::start(folder.path()).await?;
    let mut scene = Scene { buttons, lan, ledger, page, limit };

    let (mut confirmed, mut committed, mut on_screen, mut limits) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    for round in 0..WARM_UP + size.presses {
        let way = scene.press(round).await.with_context(|| format!("press {round}"))?;
        pause().await?;
        let limit = scene.limit.measure().await?;
        pause().await?;
        if round >= WARM_UP {
            confirmed.add(way.confirmed);
            committed.add(way.committed);
            on_screen.add(way.on_screen);
            limits.add(limit);
        }
    }
    let (limit_p50, limit_p99) = (limits.ms(0.5), limits.ms(0.99));
    report.add("limit.alarm_ms.p50", limit_p50);
    report.add("limit.alarm_ms.p99", limit_p99);
    report.add("alarm.press_to_confirmed_ms.p50", confirmed.ms(0.5));
    report.add("alarm.press_to_confirmed_ms.p99", confirmed.ms(0.99));
    let goal = Some(Goal::AtMost(1.5 * limit_p50));
    report.compare("alarm.press_to_commit_ms.p50", committed.ms(0.5), goal, "limit p50", limit_p50);
    report.compare("alarm.press_to_commit_ms.p99", committed.ms(0.99), None, "limit p99", limit_p99);
    report.add("alarm.press_to_screen_ms.p50", on_screen.ms(0.5));
    report.judge("alarm.press_to_screen_ms.p99", on_screen.ms(0.99), Goal::AtMost(100.0));
    edge::measure(&mut hub, &mut village, &mut scene.lan, &scene.buttons[0], size, report).await?;
    village.gateway.stop().await?;
    hub.stop().await
}

impl Scene {
    /// Presses one button and waits until the press is everywhere.
    async fn press(&mut self, round: usize) -> Result<Way> {
        let button = &self.buttons[round % self.buttons.len()];
        let presses = round / self.buttons.len() + 1;
        let key = button.key();
        let message = button.press(Press::Sos);
        self.ledger.arm();
        let begun = clock::now();
        self.lan.publish(&message).await?;
        let confirmed = async {
            let word = self.lan.confirmed().await?;
            ensure!(word.device == key, "{word:?} was confirmed, {key} was pressed");
            Ok(clock::now())
        };
        let on_screen = async {
            let shows = |data: &serde_json::Value| data["source"] == key.as_str() && data["presses"] == presses;
            self.page.next_that(|event| event.kind == "alarm" && shows(&event.data)).await?;
            Ok::<Instant, anyhow::Error>(clock::now())
        };
        let all = async { tokio::try_join!(confirmed, self.ledger.committed(), on_screen) };
        let (confirmed, committed, on_screen) =
            tokio::time::timeout(wait::PATIENCE, all).await.context("it did not arrive everywhere")??;
        Ok(Way {
            confirmed: confirmed.duration_since(begun),
            committed: committed.duration_since(begun),
            on_screen: on_screen.duration_since(begun),
        })
    }
}

async fn pause() -> Result<()> {
    let random = getrandom::u64().context("the system gives no random numbers")?;
    clock::pause(Duration::from_micros(random % (PAUSE_MS_MAX * 1000))).await;
    Ok(())
}
