//! What the intake counts, so that trouble shows before somebody complains.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counts since the hub started; clones share them.
#[derive(Clone, Debug, Default)]
pub struct IntakeGauges {
    /// Batches whose envelope could be read.
    pub batches: Counter,
    /// Payloads that could not.
    pub malformed: Counter,
    /// Entries committed.
    pub entries: Counter,
    /// Of those, presses.
    pub presses: Counter,
    /// Transactions committed.
    pub rounds: Counter,
    /// Transactions given up because the database failed.
    pub failures: Counter,
}

/// Counts of the way down since the hub started; clones share them.
#[derive(Clone, Debug, Default)]
pub struct DownGauges {
    /// Batches handed to the broker.
    pub batches: Counter,
    /// Entries in them, repeated ones each time.
    pub entries: Counter,
    /// Acknowledgements of gateways.
    pub acks: Counter,
}

impl DownGauges {
    /// Adds the counts to what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("down_batches", "Batches of orders handed to the broker", &self.batches),
            ("down_entries", "Orders in them, repeated ones each time", &self.entries),
            ("down_acks", "Acknowledgements of orders", &self.acks),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}

impl IntakeGauges {
    /// Adds the counts to what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("link_batches", "Batches whose envelope could be read", &self.batches),
            ("link_malformed", "Payloads without a readable envelope", &self.malformed),
            ("link_entries", "Journal entries committed", &self.entries),
            ("link_presses", "Presses committed", &self.presses),
            ("link_rounds", "Transactions of the intake", &self.rounds),
            ("link_failures", "Transactions given up because the database failed", &self.failures),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
