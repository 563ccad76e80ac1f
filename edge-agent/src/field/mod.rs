//! The village's own network: what devices say, as presses, supervision and faults.
//!
//! One message of the village's broker takes this way: a codec of `tongluo_protocols` reads it, the pure [`machine`] decides what it
//! means in the light of what was heard before, the journal commits it, and only then is the press **confirmed** on
//! `tongluo/confirmed` and, once the broker has taken that, the message acknowledged to the broker ([`confirm`]). So a message that we
//! did not commit, or not confirm, is still the broker's, which hands it over again.
//!
//! Under a flood supervision is shed, unknown alarms are counted instead of repeated, presses are neither: the intake
//! waits for the disk, and the broker for the intake.

mod confirm;
mod device;
mod limit;
mod machine;
mod replay;
mod task;
mod tell;

pub(crate) use task::Field;
pub(crate) use tell::Teller;
