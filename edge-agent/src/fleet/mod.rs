//! How a gateway becomes part of a county: its claim, its key, its certificate.
//!
//! A technician gives the gateway a claim, as a QR code's text or as eight characters ([`Claim`]). The gateway makes a P-256
//! key that never leaves it, asks the hub over HTTPS for a certificate, and trusts the answer only if it came over a connection
//! whose chain holds the CA that the claim names by fingerprint ([`tls`]). What came back is kept as one file ([`Identity`]),
//! written whole or not at all. An enrolment that was cut half-way is repeated with the same key and code, which the hub answers
//! the same way.
//!
//! Once it is enrolled it follows the configuration that the hub orders ([`desired`]).

mod claim;
pub(crate) mod desired;
mod enrolment;
mod identity;
pub(crate) mod tls;

pub use claim::{Claim, ClaimError};
pub use enrolment::{EnrolmentError, enrol};
pub use identity::{Identity, IdentityError};
