//! Sites, the gateways that fill them, and what those hear.
//!
//! A technician creates a site and shows its claim to a gateway; the gateway makes a key, sends the claim with a
//! certificate request, and gets a certificate that names the site ([`enrolment`]). At most one certificate per site is
//! live: enrolling a new box revokes the old one's in the same transaction, and the broker, which asks the [`Roster`],
//! lets it in no more. What gateways hear becomes [`device`]s; what they say of themselves, [`presence`].

mod authority;
mod key_file;
mod request;

pub use authority::{Authority, Credential, HUB_CLIENT_NAME, Issued, Revoked};
pub use request::{GatewayKey, RequestRefused, read_request};
