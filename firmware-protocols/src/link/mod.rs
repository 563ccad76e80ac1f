//! Two journals, one protocol: how entries get from a gateway to the hub and from the hub to a gateway.
//!
//! Both ways are the same thing. The sender owns an append-only journal; the receiver applies each entry in the same
//! transaction as its watermark. Between them is a network that may lose, repeat, reorder and forget anything, and on which
//! only three messages travel:
//!
//! - [`BatchView`]: some entries of one stream in their order, with the `oldest` entry that the sender still holds and the
//!   `head` it has reached;
//! - [`Ack`]: up to where the receiver has committed, and whether it sees a gap;
//! - the stream list of a [`Beat`](crate::event::Beat), by which a receiver that fell behind notices it.
//!
//! A stream is a lane in one life of a journal ([`StreamKey`](crate::id::StreamKey)): its sequences start at 1 and are never
//! used twice. `docs/protocol.md` describes the bytes for people who write firmware.

mod ack;
mod batch;
mod progress;
mod receiver;
mod sender;

pub use ack::Ack;
pub use batch::{BatchView, BatchWriter, Entries, EntryView, Extent};
pub use receiver::{Lost, Offer, Receiver};
pub use sender::{Sender, SenderConfig, SenderInput, SenderOutput};

/// The version of batches and acks, their first element. It changes only when an old reader would misread the new form.
pub const LINK_VERSION: u64 = 1;

/// The longest batch in bytes: what a slow mobile link carries in about a second, so that an urgent entry never waits longer
/// behind a routine batch. A longer one is refused whole.
pub const BATCH_BYTES_MAX: usize = 16 * 1024;

/// The longest body of an entry in bytes: half a batch, so that any entry fits any batch. Writers refuse a longer one;
/// the events of this crate are clipped so that they stay below.
pub const ENTRY_BODY_BYTES_MAX: usize = 8 * 1024;

/// The most entries in a batch: what one transaction of the receiver takes without making others wait. Writers end
/// the batch there; a longer one is refused whole.
pub const BATCH_ENTRIES_MAX: usize = 256;

/// The most streams that a sender follows and a beat lists: two lanes in the thirty-two newest lives of a journal. Older
/// streams wait in storage until there is room.
pub const STREAMS_MAX: usize = 64;
