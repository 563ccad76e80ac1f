//! This gateway's judgement without its gateway: for proofs that what a hub makes is what gateways obey, and nothing else.

use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::event::Verdict;
use tongluo_protocols::id::Lane;
use tongluo_protocols::order::Body;

use super::Refusal;
use super::gate::{Arrived, Gate};
use crate::broadcast::{Bench, judge};

/// Gate and judge as the desk asks them, with the memory of one run.
pub struct Trial {
    gate: Gate,
    configuration: Configuration,
}

impl Trial {
    /// A gateway of this site that has pinned this key (raw Ed25519, base64) and follows this configuration.
    ///
    /// # Errors
    /// The key is none.
    pub fn new(root: &str, site_id: &str, configuration: Configuration) -> anyhow::Result<Self> {
        Ok(Self { gate: Gate::new(root, site_id, Vec::new())?, configuration })
    }

    /// Judges an entry of the hub's, at this time if it is certain, and takes note of what was admitted. Answers the verdict's
    /// name.
    pub fn judge(&mut self, lane: Lane, kind: u16, body: &[u8], utc_ms: Option<i64>) -> &'static str {
        match self.take(Arrived { kind, lane, body, counted: false }, utc_ms) {
            Ok(()) => Verdict::OBEYED,
            Err(refusal) => refusal.name(),
        }
    }

    fn take(&mut self, arrived: Arrived<'_>, utc_ms: Option<i64>) -> Result<(), Refusal> {
        let order = self.gate.admit(&self.configuration.region_code, utc_ms, arrived)?;
        match order.body().map_err(super::gate::Refusal::Unreadable)? {
            Body::Delegation(delegation) => self.gate.delegate(order.counter, &delegation)?,
            Body::Broadcast(broadcast) => {
                let regions = self.gate.regions_of(order.issuer);
                judge(&order, &broadcast, Bench { configuration: &self.configuration, utc_ms, regions, known: false })?;
            }
            _ => {}
        }
        if self.gate.taken(&order) { Ok(()) } else { Err(super::gate::Refusal::TooManyIssuers.into()) }
    }
}
