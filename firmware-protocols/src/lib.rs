//! Every byte between device, gateway and hub: the one place where bytes become meaning.
//!
//! | Room       | What it turns into meaning                                                     |
//! | ---------- | ------------------------------------------------------------------------------ |
//! | [`id`]     | the names by which entries, journals, presses and devices are known            |
//! | [`link`]   | two journals and one protocol: batches, acknowledgements, sender and receiver  |
//! | [`device`] | what the buttons of a village say, one file per family                         |
//! | [`event`]  | what a gateway tells the hub: the bodies of entries, and the heartbeat         |
//! | [`order`]  | what the hub tells a gateway, signed                                           |
//! | `configuration` | the document that a gateway is to follow; needs a heap, feature `alloc`   |
//! | [`enrolment`] | how a new gateway asks for the hub's own certificate                           |
//! | [`media`]  | the media connection: live pictures and recordings, and the MP4 they are kept in |
//!
//! The crate is `no_std` and allocates nothing: what is parsed borrows from the bytes it came in, what is emitted goes
//! into the caller's buffer, and the machines have a fixed size.
//!
//! **The panic contract**: no input panics, whatever its bytes; it is parsed or it is an [`Error`]. Codes and kinds that
//! are not known are kept, never dropped.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, feature = "mp4"))]
extern crate std;

mod cbor;
#[cfg(feature = "alloc")]
pub mod configuration;
pub mod content;
pub mod device;
#[cfg(test)]
mod document;
pub mod enrolment;
mod error;
pub mod event;
pub mod id;
pub mod link;
pub mod media;
pub mod order;

pub use error::Error;
