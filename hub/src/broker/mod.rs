//! MQTT: the one door through which gateways and hub talk.
//!
//! There is one [`Broker`] with two implementations. **Embedded** (rmqtt) runs inside this process and takes messages in
//! the broker's own hook. **External** is a client of any MQTT broker that somebody else runs. The rest of the hub cannot
//! tell which it has; one suite of tests holds both to the same behaviour.
//!
//! A broker may lose, repeat, reorder and forget anything at any moment, and a PUBACK means nothing to us: the link's own
//! acknowledgements do. So nothing here is stored, nothing is retried, and every queue is bounded and drops at its bound,
//! counted in [`BrokerStats`]. What is never dropped is presence, and what is never relaxed is who may touch which topic
//! (`topic`): a gateway proves its site by its certificate and reaches that site's subtree only.
//!
//! In: `topic` (who may what) → `inbox` (the bounded queue) → [`Arrivals`]. Out: [`Broker::publish`].

mod config;
mod counters;
mod embedded;
mod external;
mod inbox;
mod mosquitto;
mod topic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

pub use config::{BrokerConfig, Credentials, EmbeddedConfig, ExternalConfig};
pub use counters::BrokerStats;
pub use inbox::{Arrival, Arrivals};
pub use mosquitto::{MosquittoPlan, access_list, mosquitto_config};
pub use topic::{DownLeaf, HUB_CLIENT_ID, SITE_ID_BYTES_MAX, UpLeaf, is_site_id};

use crate::ids::SiteId;
use embedded::Embedded;
use external::External;

/// The largest payload in either direction. A batch is at most 16 KiB, so this is room to grow, not a goal. Outgoing, more
/// is an error. Incoming, a somewhat larger message is dropped and counted; a packet much larger than this ends the
/// gateway's connection before it is read.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The largest MQTT packet that is read: a payload and its topic. Beyond it the connection is closed.
const PACKET_BYTES_MAX: u32 = 64 * 1024 + 1024;

/// Who may connect, asked from memory at each connect; it must not wait.
pub trait Gate: Send + Sync + 'static {
    /// Whether `serial` is the live, unrevoked serial of `site`: big-endian, without leading zeros.
    fn allows(&self, site: &SiteId, serial: &[u8]) -> bool;
}

/// The hub's MQTT broker, or its connection to one.
#[derive(Debug)]
pub struct Broker(Implementation);

#[derive(Debug)]
enum Implementation {
    Embedded(Embedded),
    External(External),
}

impl Broker {
    /// Starts the embedded broker, or connects to the external one (an unreachable one is retried for ever, and is not an
    /// error here). `gate` is asked by the embedded broker; an external one enforces its own revocation list.
    ///
    /// # Errors
    /// A certificate that cannot be used, or an address that cannot be bound.
    pub async fn start(
        config: &BrokerConfig,
        credentials: &Credentials,
        gate: Arc<dyn Gate>,
    ) -> Result<(Self, Arrivals), BrokerError> {
        match config {
            BrokerConfig::Embedded(config) => {
                let (embedded, arrivals) = Embedded::start(config, credentials, gate).await?;
                Ok((Self(Implementation::Embedded(embedded)), arrivals))
            }
            BrokerConfig::External(config) => {
                let (external, arrivals) = External::start(config, credentials)?;
                Ok((Self(Implementation::External(external)), arrivals))
            }
        }
    }

    /// Hands a message over for a gateway. Never waits for the gateway; that it was handed over does not mean that it will
    /// arrive.
    ///
    /// # Errors
    /// See [`PublishError`]. The message was dropped; the link sends it again.
    pub async fn publish(&self, site: &SiteId, leaf: DownLeaf, payload: Bytes) -> Result<(), PublishError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PublishError::TooLarge { site: site.clone(), bytes: payload.len() });
        }
        match &self.0 {
            Implementation::Embedded(embedded) => embedded.publish(site, leaf, payload).await,
            Implementation::External(external) => external.publish(site, leaf, payload),
        }
    }

    /// Ends a gateway's session, if it has one: its certificate was revoked. Call it after the [`Gate`] refuses the serial
    /// (embedded) or the broker's revocation list names it (external), so that it cannot come back.
    pub async fn disconnect(&self, site: &SiteId) {
        match &self.0 {
            Implementation::Embedded(embedded) => embedded.disconnect(site).await,
            Implementation::External(external) => external.disconnect(site).await,
        }
    }

    /// Counts since the start, and gauges now.
    pub fn stats(&self) -> BrokerStats {
        match &self.0 {
            Implementation::Embedded(embedded) => embedded.stats(),
            Implementation::External(external) => external.stats(),
        }
    }

    /// The address on which gateways are served; `None` when the broker is external.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Implementation::Embedded(embedded) => Some(embedded.address()),
            Implementation::External(_) => None,
        }
    }

    /// Ends all sessions, frees the port, and ends the [`Arrivals`] after what they hold.
    pub async fn shutdown(self) {
        match self.0 {
            Implementation::Embedded(embedded) => embedded.shutdown().await,
            Implementation::External(external) => external.shutdown().await,
        }
    }
}

/// Why a broker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A certificate or key cannot be used.
    #[error("the broker's certificate {certificate}, key {key} or authority {authority} cannot be used: {reason}")]
    Credentials {
        /// Certificate file.
        certificate: PathBuf,
        /// Key file.
        key: PathBuf,
        /// File of the authority.
        authority: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for gateways: {reason}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What was wrong.
        reason: String,
    },
    /// A key of the configuration has a value that cannot be used.
    #[error("broker.{key} = {value:?}; allowed: {allowed}")]
    Config {
        /// Which key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

/// Why a message was dropped instead of being handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The gateway is not connected, or does not listen to this topic yet; with an external broker: the broker is out of
    /// reach.
    #[error("site {0} cannot be reached")]
    Away(SiteId),
    /// As much as is allowed is already on its way to this gateway (embedded) or to the broker (external).
    #[error("as many messages as allowed are already on their way to site {0}")]
    Full(SiteId),
    /// More than [`PAYLOAD_BYTES_MAX`]: a mistake of the caller.
    #[error("a message of {bytes} bytes for site {site} is larger than {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// For whom.
        site: SiteId,
        /// How large.
        bytes: usize,
    },
}
