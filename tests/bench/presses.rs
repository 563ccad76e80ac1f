//! Presses beside other work: what a press pays for it.

use std::time::Duration;

use anyhow::{Context, Result};
use tongluo_tests::button::{Press, ZigbeeButton, zigbee_bridge};
use tongluo_tests::clock;
use tongluo_tests::hub::Hub;
use tongluo_tests::lan::Lan;
use tongluo_tests::village::Village;

use crate::ledger::Ledger;
use crate::report::Samples;

/// Between two presses, so that they fall on every phase of the cameras' pictures.
const PAUSE_MS_MAX: u64 = 60;

/// A button that is pressed, and the ledger in which its presses are seen.
pub(crate) struct Presses {
    button: ZigbeeButton,
    lan: Lan,
    ledger: Ledger,
}

impl Presses {
    /// Introduces the button and presses it a few times: the first of everything is slower.
    ///
    /// # Errors
    /// A press does not arrive.
    pub(crate) async fn begin(hub: &Hub, village: &Village) -> Result<Self> {
        let button = ZigbeeButton { address: 0x0015_8d00_0000_0001, name: "button".to_owned() };
        let lan = village.lan("devices").await?;
        lan.publish_all(&zigbee_bridge(std::slice::from_ref(&button))).await?;
        let mut presses = Self { button, lan, ledger: Ledger::open(&hub.folder().join("data/hub.db"))? };
        presses.make(5).await.context("the first presses")?;
        Ok(presses)
    }

    /// From the publish on the village's broker to the commit in the ledger, one press at a time.
    ///
    /// # Errors
    /// A press does not arrive.
    pub(crate) async fn make(&mut self, count: usize) -> Result<Samples> {
        let mut samples = Samples::default();
        for _ in 0..count {
            self.ledger.arm();
            let begun = clock::now();
            self.lan.publish(&self.button.press(Press::Sos)).await?;
            let (committed, _) = tokio::try_join!(self.ledger.committed(), self.lan.confirmed())?;
            samples.add(committed.duration_since(begun));
            clock::pause(Duration::from_micros(getrandom::u64()? % (PAUSE_MS_MAX * 1000))).await;
        }
        Ok(samples)
    }
}
