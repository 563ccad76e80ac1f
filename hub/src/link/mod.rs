//! The ledger: gateways' journals, taken entry by entry, each exactly once.
//!
//! Batches come from the broker in any order and any number of times. `task.rs` collects what has arrived into one
//! transaction (group commit), `take.rs` judges each batch by its journal's watermark and takes what is new: the entry as
//! it came, what it means (an alarm, a device heard, a fault), the change log and the watermark all commit together or
//! not at all. Only then is the gateway told. `poison.rs` narrows down a transaction that fails until the one entry that
//! cannot be applied stands alone; that one is committed as it came, flagged and shown: nothing blocks a lane.
//! `outbox.rs` and `down.rs` are the same link the other way round: what gateways are told.
//! `beat.rs` compares what a gateway says it holds with what was taken, and notices what nobody holds any more.

mod beat;
mod down;
mod gauges;
mod outbox;
mod outbox_store;
mod poison;
mod store;
mod take;
mod task;
#[cfg(test)]
mod tests;

pub use down::{DownLane, expire_outbox};
pub use gauges::{DownGauges, IntakeGauges};
pub use outbox::Outbox;
pub use task::Intake;
