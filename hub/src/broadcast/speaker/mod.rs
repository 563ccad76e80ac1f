//! Loudspeakers: entered by technicians, told to gateways, and reported by them.

mod form;
mod http;
mod report;
mod store;
mod task;
mod view;

pub(super) use http::routes;
pub use report::{HeardSpeaker, take_reports};
pub(super) use store::label;
pub(super) use task::{ROWS_MAX, notice_silence};
pub(super) use view::{Speaker, in_region, one};
pub use view::{SpeakerKind, SpeakerView};

use crate::ids::SpeakerId;

/// Most loudspeakers of one site. A village has eight or so; an order names up to 64.
const SPEAKERS_PER_SITE_MAX: i64 = 64;

/// The source under which faults of a loudspeaker stand.
fn fault_source(id: &SpeakerId) -> String {
    format!("speaker:{id}")
}
