//! Cameras, what they saw of a press, and what people may see of it.
//!
//! A **recorder** answers at an address in a village's network; a **camera** is one of its channels. People enter cameras
//! (`camera.rs`, `http.rs`; `address.rs` takes credentials out of what they type), the gateway is told of them
//! ([`configuration_of`]) and says how they are (`report.rs`, from the ledger; `health.rs` for how long
//! that is believed; `recorder.rs` for what is the recorder's trouble and not each camera's). Around a press it saves pictures and clips: their rows come through the ledger, their content on its
//! own, by its hash (`evidence.rs`, `task.rs`). Recordings stay in the village; stretches of them are taken out with a reason (`export/`).
//!
//! Whoever wants to see anything of a camera passes [`access`], which knows the region rule and the rule of homes, and
//! leaves a [`Look`] in the audit trail, with how long it lasted; so does whoever opens a file (`file_look.rs`).

mod access;
mod address;
mod alarm;
mod asking;
mod camera;
mod configuration;
mod evidence;
mod evidence_file;
mod export;
mod file_look;
mod health;
mod http;
pub mod live;
mod look;
mod nearest;
mod recorder;
mod report;
mod store;
mod task;
#[cfg(test)]
mod tests;
mod view;

use sqlx::AnyConnection;
use utoipa_axum::router::OpenApiRouter;

use crate::content::Content;
use crate::fleet;
use crate::ids::{CameraId, SiteId};
use crate::live::Live;
use crate::seal::Seal;
use crate::store::Store;

pub use access::{CameraAccess, access};
pub use camera::{CameraKind, RecordPolicy};
pub use configuration::configuration_of;
pub use evidence::{EvidenceView, HeardEvidence, take_evidence};
pub use export::Exports;
pub use look::{Look, LookKind};
pub use report::{HeardCamera, take_reports};
pub use view::{CameraStateView, CameraView, StreamView};

/// What the room needs of the hub.
#[derive(Clone, Debug)]
pub struct VideoRoom {
    /// The tables.
    pub store: Store,
    /// To be told of changes.
    pub live: Live,
    /// Under which recorders' credentials are stored.
    pub seal: Seal,
    /// Where pictures and clips of presses lie.
    pub content: Content,
    /// Through which gateways are asked.
    pub relay: live::Relay,
    /// How many days they are kept.
    pub evidence_days: u16,
    /// Stretches of recordings that are being taken out.
    pub exports: Exports,
}

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<VideoRoom> {
    http::routes().merge(asking::routes()).merge(alarm::routes()).merge(evidence_file::routes()).merge(export::routes())
}

/// The source under which faults of a camera stand.
fn fault_source(id: &CameraId) -> String {
    format!("camera:{id}")
}

/// The detail of a fault: whose it is, and what was seen.
fn fault_detail(whose: &str, seen: &str) -> String {
    if seen.is_empty() { whose.to_owned() } else { format!("{whose}: {seen}") }
}

/// What a site's gateway is to do has changed.
async fn changed(connection: &mut AnyConnection, now_ms: i64, site: &SiteId) -> Result<(), sqlx::Error> {
    fleet::configuration::mark(connection, now_ms, site).await
}
