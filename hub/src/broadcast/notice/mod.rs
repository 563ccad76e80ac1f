//! Notices: what a village is to hear, who let it be heard, and which loudspeakers played it.
//!
//! `machine.rs` holds the rules: night, the second person, stopping. `http.rs` makes and shows notices and `acts.rs` is what
//! people do with one; `order.rs` orders it of each gateway, in the transaction that decided it; `report.rs` takes what the
//! gateways tell, from the ledger.

mod acts;
mod form;
mod http;
mod machine;
mod order;
mod reach;
mod report;
mod store;
mod task;
mod test_tone;
mod view;

use utoipa_axum::router::OpenApiRouter;

use super::BroadcastRoom;

pub use report::{HeardPlay, HeardVerdict, take_plays};
pub(super) use task::{NOTICES_MAX, expire, settle};

/// The routes of notices.
pub(super) fn routes() -> OpenApiRouter<BroadcastRoom> {
    http::routes().merge(acts::routes()).merge(reach::routes()).merge(test_tone::routes())
}
