//! Sites, the gateways that fill them, and what those hear.
//!
//! A technician creates a site and shows its claim to a gateway; the gateway makes a key, sends the claim with a
//! certificate request, and gets a certificate that names the site (`enrolment.rs`). At most one certificate per site is
//! live: enrolling a new box revokes the old one's in the same transaction, and the broker, which asks the [`Roster`],
//! lets it in no more. What gateways hear becomes [`device`]s; what they say of themselves, [`presence`]; what they no longer say, [`silence`].

mod authority;
mod claim;
pub mod configuration;
pub mod device;
mod enrolment;
mod http;
pub mod presence;
mod request;
pub mod response;
mod roster;
pub mod silence;
mod store;
#[cfg(test)]
mod tests;
pub mod view;

use std::sync::Arc;

use crate::config::Config;
use crate::live::Live;
use crate::store::Store;

pub use authority::{Authority, Credential, HUB_CLIENT_NAME, Issued, Revoked};
pub use device::{DeviceHeard, Heard, HeardDevice};
pub use http::routes;
pub use request::{GatewayKey, RequestRefused, read_request};
pub use response::{ResponseKind, ResponseView};
pub use roster::{Roster, write_revocation_list};
pub use view::{DeviceView, GatewayView, SiteView};

/// What the fleet's routes work on.
#[derive(Clone)]
pub struct FleetRoom {
    /// Where sites and certificates are.
    pub store: Store,
    /// To be told of changes.
    pub live: Live,
    /// Who signs certificates.
    pub authority: Arc<Authority>,
    /// Which of them are live.
    pub roster: Roster,
    /// What gateways are told.
    pub addresses: Addresses,
}

/// Where gateways reach this hub.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// HTTPS, without a path.
    pub hub_url: String,
    /// The broker's host.
    pub mqtt_host: String,
    /// The broker's port.
    pub mqtt_port: u16,
    /// Port of the gateways' own HTTPS, on the host of `hub_url`.
    pub media_port: u16,
}

impl Addresses {
    /// As the configuration says.
    pub fn of(config: &Config) -> Self {
        let host = config.first_name();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let (mqtt_host, mqtt_port) = config.public_mqtt();
        Self {
            hub_url: format!("https://{host}:{}", config.public_https_port()),
            mqtt_host: mqtt_host.to_owned(),
            mqtt_port,
            media_port: config.public_media_port(),
        }
    }
}
