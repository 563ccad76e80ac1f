//! Alarms: what people handle. Many presses of one source are one alarm, until a person closes it.
//!
//! `machine.rs` holds the rules, `store.rs` the tables, `http.rs` what the pages may do. Presses come from the ledger
//! ([`take_presses`], inside the transaction that takes the journal entries, so that an entry and its alarm are one
//! fact); acts of people come through the routes, and `word.rs`
//! has whoever pressed told of them. Either way each changed alarm goes whole into the change log.

mod http;
pub mod machine;
mod store;
#[cfg(test)]
mod tests;
mod view;
mod word;

use serde_json::json;
use sqlx::AnyConnection;

use crate::ids::{DeviceId, RegionCode, SiteId};
use crate::live::Draft;
use crate::store::Writes;

pub use http::{AlarmRoom, routes};
pub use machine::{AlarmKind, AlarmState, CloseReason, LineKind, is_late};
pub use view::{AlarmDetail, AlarmView, Names, PressView, TimelineLine};

/// A press (or something unreadable that may be one) as the ledger hands it over.
#[derive(Clone, Debug)]
pub struct HeardPress {
    /// Where.
    pub site_id: SiteId,
    /// The site's region, which the alarm keeps.
    pub region: RegionCode,
    /// Journal identity; cannot repeat.
    pub press_id: String,
    /// What sent it: one open alarm per source.
    pub source: String,
    /// The device, when it is one.
    pub device_id: Option<DeviceId>,
    /// A press, or something that nobody could read.
    pub kind: AlarmKind,
    /// What was done to the button, or why nobody could read it.
    pub trigger: String,
    /// The device's own number for it.
    pub source_key: Option<String>,
    /// When the gateway heard it, by its clock, UTC milliseconds.
    pub occurred_ms: i64,
    /// Whether it reached the county late.
    pub late: bool,
    /// What pages call its place and its device.
    pub names: Names,
}

impl HeardPress {
    fn sent_by(&self) -> (&SiteId, &str) {
        (&self.site_id, &self.source)
    }
}

/// Raises or counts each press, in order, inside the ledger's transaction, and adds that to its writes. Returns what to append
/// to the change log: each changed alarm once, as it stands after the last press.
///
/// # Errors
/// The database's.
pub async fn take_presses(
    connection: &mut AnyConnection,
    now_ms: i64,
    presses: &[HeardPress],
    writes: &mut Writes,
) -> Result<Vec<Draft>, sqlx::Error> {
    let changed = store::take_presses(connection, now_ms, presses, writes).await?;
    Ok(changed.iter().map(|(alarm, latest)| draft(&AlarmView::new(alarm, &presses[*latest].names))).collect())
}

fn draft(view: &AlarmView) -> Draft {
    Draft { kind: "alarm", region: view.region_code.clone(), subject: view.id.to_string(), body: json!(view) }
}
