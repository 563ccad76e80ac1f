//! What the hub orders, between its commit and the room that carries it out.
//!
//! `uplink` commits what comes down with its watermark and hands it to the [`Desk`]. There the pure [`gate`] decides whether it
//! is an order at all: signed by whom this gateway was told to believe, for this site, new, and in time. What is to be heard is
//! judged further by `broadcast`, and not before [`time`] is certain: until then it is held. What passes is remembered as
//! admitted, together with its counter, before its room hears of it; what does not pass is told to the hub with the reason: as a
//! verdict where something was to be heard, as a fault otherwise. An order that was committed or admitted and not finished is
//! found again at the next start.

mod desk;
mod gate;
mod time;
mod trial;
#[cfg(test)]
mod verdict_tests;

use std::fmt;

pub(crate) use desk::{Desk, Rooms, confirmed_time};
pub use trial::Trial;

use crate::broadcast;

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is no order for this gateway.
    Gate(gate::Refusal),
    /// It is, and must not be heard.
    Judge(broadcast::Refusal),
}

impl Refusal {
    /// Its name in verdicts.
    const fn name(&self) -> &'static str {
        match self {
            Self::Gate(refusal) => refusal.name(),
            Self::Judge(refusal) => refusal.name(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(refusal) => refusal.fmt(f),
            Self::Judge(refusal) => refusal.fmt(f),
        }
    }
}

impl From<gate::Refusal> for Refusal {
    fn from(refusal: gate::Refusal) -> Self {
        Self::Gate(refusal)
    }
}

impl From<broadcast::Refusal> for Refusal {
    fn from(refusal: broadcast::Refusal) -> Self {
        Self::Judge(refusal)
    }
}
