//! The village hears: loudspeakers, notices, and which loudspeakers played them.
//!
//! A technician enters **speakers** (`speaker/`); their gateway is told of them ([`configuration`](self)) and says how they
//! are. Somebody brings a sound ([`voice`](crate::voice)) and sends a **notice** (`notice/`): in words and counts whom it
//! reaches, a second person beyond one village, nothing but emergencies at night; then, in one transaction, a signed order to
//! each gateway. What the loudspeakers made of it comes back through the ledger ([`take_plays`], [`take_reports`]), speaker
//! by speaker. `template.rs` keeps what is sent again, `tones.rs` the sounds that every gateway has at hand.

mod configuration;
mod night;
mod notice;
mod speaker;
mod task;
mod template;
#[cfg(test)]
mod tests;
mod told;
mod tones;
mod words;

use utoipa_axum::router::OpenApiRouter;

use crate::content::Content;
use crate::live::Live;
use crate::order::Orders;
use crate::seal::Seal;
use crate::store::Store;
use crate::voice::VoiceRoom;
use crate::web::Problem;

pub use night::Night;
pub use notice::{HeardPlay, HeardVerdict, take_plays};
pub use speaker::{HeardSpeaker, SpeakerKind, SpeakerView, take_reports};

/// How long notices and their sounds are kept: a year, so that somebody can look up what was said last spring.
const KEPT_MS: i64 = 366 * 24 * 3_600_000;

/// What the room needs of the hub.
#[derive(Clone, Debug)]
pub struct BroadcastRoom {
    /// The tables.
    pub store: Store,
    /// To be told of changes.
    pub live: Live,
    /// Under which loudspeakers' keys are stored.
    pub seal: Seal,
    /// Where sounds lie.
    pub content: Content,
    /// Who gives orders.
    pub orders: Orders,
    /// Who speaks the sounds that gateways keep at hand.
    pub voice: VoiceRoom,
    /// When only emergencies sound.
    pub night: Night,
}

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<BroadcastRoom> {
    speaker::routes().merge(notice::routes()).merge(template::routes())
}

/// A sound that is not here, or not this person's to play.
fn no_such_sound() -> Problem {
    Problem::invalid(
        "sound_sha256",
        "没有这段声音，或已超过保存期限，请重新录制",
        "there is no such sound, or it is kept no longer; record it again",
    )
}
