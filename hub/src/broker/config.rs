//! Which broker the hub uses, and the files that prove who is who.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

/// Which broker the hub uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum BrokerConfig {
    /// One inside this process.
    Embedded(EmbeddedConfig),
    /// One that somebody else runs.
    External(ExternalConfig),
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::Embedded(EmbeddedConfig::default())
    }
}

/// The broker inside this process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddedConfig {
    /// Where it listens, with mutual TLS only. Port 0 takes a free one. Default `0.0.0.0:8883`.
    pub listen: SocketAddr,
    /// Gateways that may be connected at once; more are refused. Each costs about 31 kB and one open file, so the process
    /// needs a limit on open files above this. Default 20,000: the stress county of 13,215 with room to reconnect.
    pub connections_max: u32,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8883)), connections_max: 20_000 }
    }
}

/// A broker that somebody else runs. It must keep gateways to their own topics itself: see
/// [`super::mosquitto_config`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// Name or address. With TLS, the broker's certificate must be good for it under the hub's CA.
    pub host: String,
    /// The port for the hub, usually 8883. It must let the hub choose its client id, or a revoked gateway's session cannot
    /// be ended from here; mosquitto's `use_username_as_clientid` therefore belongs on the gateways' port only.
    pub port: u16,
    /// Name for a log-in with a password, without TLS; only to a loopback address, and only with `password_file`. Default
    /// none: the hub proves itself with its own certificate, CN `tongluo-hub`, by mutual TLS.
    pub username: Option<String>,
    /// A file whose first line is that password.
    pub password_file: Option<PathBuf>,
}

/// The files of one side of mutual TLS, in PEM.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The certificate (chain, leaf first): of the server when the broker is embedded, of the client `tongluo-hub` when it
    /// is external. P-256: Ed25519 is refused by too many clients.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The hub's CA, the only one whose certificates are believed.
    pub authority: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_read_as_documented() {
        let embedded: BrokerConfig = toml::from_str("mode = \"embedded\"").unwrap();
        assert!(matches!(embedded, BrokerConfig::Embedded(config) if config.listen.port() == 8883));
        let text = "mode = \"external\"\nhost = \"mq.example\"\nport = 8883";
        let external: BrokerConfig = toml::from_str(text).unwrap();
        assert!(matches!(external, BrokerConfig::External(ExternalConfig { username: None, .. })));
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for text in ["mode = \"embedded\"\ncolour = 1", "mode = \"external\"\nhost = \"h\"\nport = 1\ncolour = 1"] {
            let message = toml::from_str::<BrokerConfig>(text).expect_err(text).to_string();
            assert!(message.contains("colour"), "{message}");
        }
    }
}
