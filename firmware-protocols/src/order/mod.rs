//! What the hub tells a gateway: orders, signed, so that nobody between them can make a village sound.
//!
//! An order travels as the body of an entry of the hub's journal. It is a `COSE_Sign1` (RFC 9052) around a CBOR map of
//! claims ([`Order`]): who gives it, to whom, from when until when, how loud its reason is, and under which number, so that
//! it can neither be made up, nor changed, nor sent to another village, nor heard twice. What is to be done is its body, one
//! file per kind.
//!
//! Reading goes in two steps that cannot be confused: [`SignedOrder::parse`] understands the form and says whose order it
//! claims to be; only [`SignedOrder::verify`], with that issuer's key, gives the [`Order`]. The signature is over bytes, so
//! nothing that was not understood is obeyed. Which issuer may order what is not decided here but by the gateway's judge.

mod alarm_word;
mod body;
mod broadcast;
mod claims;
mod clock_answer;
mod configuration;
mod delegation;
#[cfg(any(test, feature = "ed25519"))]
mod ed25519;
mod envelope;
mod list;
mod number;

pub use alarm_word::{AlarmState, AlarmWord};
pub use body::Body;
pub use broadcast::{Broadcast, Interrupted, Priority, SPEAKERS_MAX, Stop};
pub use claims::{Class, Order, Sound, TARGETS_MAX, Target, Targets};
pub use clock_answer::{ClockAnswer, FLOORS_MAX, Floor, Nonce};
pub use configuration::ConfigurationOrder;
pub use delegation::{CLASSES_MAX, Delegation, KEY_BYTES, REGIONS_MAX};
pub use envelope::{Algorithm, Sign, SignedOrder, Unverified, Verify};
pub use list::List;

/// The longest order in bytes, with its signature: room for 64 loudspeakers by name, and small enough for the stack of a
/// small device. A longer one is refused whole.
pub const ORDER_BYTES_MAX: usize = 6 * 1024;

/// The longest name in an order, in bytes: issuers, broadcasts, targets, loudspeakers.
pub const NAME_BYTES_MAX: usize = 64;

/// The issuer whose key every gateway has pinned at enrolment.
pub const ROOT: &str = "root";

/// The length of a signature in bytes, of every algorithm so far.
pub const SIGNATURE_BYTES: usize = 64;

#[cfg(test)]
mod tests;
