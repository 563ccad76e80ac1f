//! One run: what breaks a rule in it, what is said of it when everything held, and what when something did not.

use std::fmt;

use super::world::World;

/// A rule of the link that is broken on purpose, at the boundary between a machine and its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The receiver takes what it already has.
    WatermarkUnchecked,
    /// The ack leaves before the transaction is committed.
    AckBeforeCommit,
    /// The sender does not go back when the receiver sees a gap.
    GapIgnored,
    /// A journal that is opened again goes on in the epoch that it finds on the disk.
    EpochReused,
    /// What was not acked is not sent again after a while.
    ResendNever,
    /// The receiver passes over what was lost and does not record it.
    LostUnrecorded,
    /// The broker's PUBACK is taken for the receiver's ack.
    PubackTrusted,
    /// A press is confirmed before it is committed to the journal.
    ConfirmedBeforeCommit,
    /// Storage drops urgent entries that are not acked.
    UrgentTrimmed,
}

impl Mutant {
    /// All of them.
    pub(super) const ALL: [Self; 9] = [
        Self::WatermarkUnchecked,
        Self::AckBeforeCommit,
        Self::GapIgnored,
        Self::EpochReused,
        Self::ResendNever,
        Self::LostUnrecorded,
        Self::PubackTrusted,
        Self::ConfirmedBeforeCommit,
        Self::UrgentTrimmed,
    ];
}

/// What happened in a run in which everything held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Events of virtual time.
    pub(super) events: u64,
    /// Presses and orders that were confirmed.
    pub(super) confirmed: u64,
    /// Of those, how many are recorded as lost or missing, because their disk was destroyed.
    pub(super) lost: u64,
    /// Of those, how many were destroyed with a disk before anybody else had heard of them.
    pub(super) unheard: u64,
    /// Crashes, cuts, restores and the like.
    pub(super) misfortunes: u64,
}

impl Summary {
    /// The sum of two runs.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            confirmed: self.confirmed + other.confirmed,
            lost: self.lost + other.lost,
            unheard: self.unheard + other.unheard,
            misfortunes: self.misfortunes + other.misfortunes,
        }
    }
}

/// A run in which something did not hold.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The seed that shows it.
    pub(super) seed: u64,
    /// What did not hold.
    pub(super) violation: String,
    /// The last events before.
    pub(super) trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        write!(f, "again: ./run sim --seeds 1 --from {}", self.seed)
    }
}

/// Lives one seed through, with a rule broken or none.
pub(super) fn run(seed: u64, mutant: Option<Mutant>) -> Result<Summary, Box<Failure>> {
    World::new(seed, mutant, false).live().or_else(|_| {
        // The same again, this time with somebody taking notes.
        World::new(seed, mutant, true).live()
    })
}
