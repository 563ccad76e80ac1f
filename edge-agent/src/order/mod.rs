//! What the hub orders, between its commit and the room that carries it out.
//!
//! `uplink` commits what comes down with its watermark and hands it to the [`Desk`]. There the pure [`gate`] decides whether it
//! is an order at all: signed by whom this gateway was told to believe, for this site, new, and in time. What passes is
//! remembered as admitted, together with its counter, before its room hears of it; what does not pass is told to the hub as a
//! fault with the reason. An order that was committed or admitted and not finished is found again at the next start.

mod desk;
mod gate;

pub(crate) use desk::{Desk, Rooms};
