//! One village: the program on a village's gateway.
//!
//! What a device says flows downwards through the rooms, and is on disk before anybody is told that it was heard:
//!
//! | Room        | What happens there                                                                       |
//! | ----------- | ---------------------------------------------------------------------------------------- |
//! | [`field`]   | messages of the village's broker become presses, supervision and faults                  |
//! | [`journal`] | they are committed to disk, each exactly once                                            |
//! | [`uplink`]  | the journal is replicated to the hub, and the hub's orders are received                  |
//! | `media`     | evidence of each press; live pictures and recordings, up to the hub when it calls        |
//! | `camera`    | pictures into memory and onto disk, and what is wrong with each camera                   |
//! | `order`     | what the hub orders is looked at, and handed to the room that carries it out             |
//! | `alarm`     | what a press sets off in the village, and what whoever pressed is told                   |
//! | `broadcast` | what may be heard, what goes before what, and what became of it                         |
//! | `speaker`   | loudspeakers: on the village's broker, and on this machine's sound card                  |
//! | [`fleet`]   | how the gateway got its identity, and the configuration it follows                       |
//!
//! Rooms that later capabilities open, as `ARCHITECTURE.md` draws them: `local` (the page in the village's own network).
//!
//! Everything runs on one thread, apart from the journal, whose disk may be slow, and from cameras and loudspeakers, which never
//! delay a press.

mod alarm;
mod broadcast;
mod camera;
pub mod clock;
pub mod config;
mod field;
pub mod fleet;
pub mod gateway;
mod journal;
mod media;
mod mqtt;
mod order;
mod speaker;
#[cfg(test)]
mod testing;
mod uplink;

pub use order::Trial;

use tongluo_protocols::event::Event;
use tongluo_protocols::link::ENTRY_BODY_BYTES_MAX;

/// The version that the gateway reports.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An event as the body of an entry.
pub(crate) fn event_body(event: &Event<'_>) -> Vec<u8> {
    let mut buffer = vec![0; ENTRY_BODY_BYTES_MAX];
    let length = event.emit(&mut buffer).expect("a buffer of this length takes any event: its texts are clipped");
    buffer.truncate(length);
    buffer.shrink_to_fit();
    buffer
}
