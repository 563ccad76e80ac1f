//! `hub.toml`: everything the hub is told from outside, checked before anything starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::broadcast::Night;
use crate::broker::BrokerConfig;
use crate::store::StoreLocation;

/// The whole configuration. Unknown keys are refused by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for the database, keys and certificates. Default `/var/lib/tongluo-hub`.
    pub data_dir: PathBuf,
    /// `sqlite` (a file in `data_dir`) or a `postgres://user:password@host/database` address. Default `sqlite`.
    pub database: String,
    /// Names and addresses under which browsers and gateways reach the hub; the first is written into claims.
    /// A request for any other host is refused. Default `localhost` and `127.0.0.1`.
    pub public_names: Vec<String>,
    /// Web pages and gateways' enrolment.
    pub http: HttpConfig,
    /// MQTT for gateways: `mode = "embedded"` (the default) or `mode = "external"`.
    pub broker: BrokerConfig,
    /// Port of the broker that gateways are told, when it differs from the configured one (port forwarding).
    pub broker_public_port: Option<u16>,
    /// Gateways' files and media.
    pub gateways: GatewaysConfig,
    /// Files from and for gateways.
    pub content: ContentConfig,
    /// Alarms.
    pub alarm: AlarmConfig,
    /// Cameras.
    pub video: VideoConfig,
    /// Speech.
    pub voice: VoiceConfig,
    /// Notices.
    pub broadcast: BroadcastConfig,
    /// `text` for people, `json` for log collectors. Default `text`.
    pub log_format: LogFormat,
}

/// Where the web server listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Plain HTTP; loopback only, for a reverse proxy on the same machine and for trying out. Default `127.0.0.1:8080`.
    pub plain: Option<SocketAddr>,
    /// HTTPS for browsers and enrolment. Default `0.0.0.0:8443`.
    pub secure: SocketAddr,
    /// Certificate chain (PEM) for HTTPS; without it the hub's own CA issues one for `public_names`.
    pub certificate: Option<PathBuf>,
    /// Key (PEM) of that certificate.
    pub key: Option<PathBuf>,
    /// Port that claims name, when it differs from the one listened on (port forwarding).
    pub public_port: Option<u16>,
}

/// Where gateways send files and open their media connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaysConfig {
    /// HTTPS with mutual TLS, HTTP/1.1. Port 0 takes a free one. Default `0.0.0.0:8884`.
    pub listen: SocketAddr,
    /// Port that gateways are told when they enrol, when it differs from the one listened on (port forwarding).
    pub public_port: Option<u16>,
}

/// Files from and for gateways: evidence, exports, notices.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContentConfig {
    /// The folder for contents. Default `content` under `data_dir`.
    pub folder: Option<PathBuf>,
    /// MiB that one site may keep here; above, its uploads are refused. 1–1,048,576; default 4,096: a hundred clips of two
    /// cameras.
    pub site_budget_mib: u64,
    /// MiB that uploads leave free on the disk, because the ledger may lie on it. 0–1,048,576; default 2,048.
    pub keep_free_mib: u64,
    /// Days that content is kept which nothing refers to: the entry that names it may be on its way. 1–365; default 7.
    pub unclaimed_days: u32,
}

/// Rules of alarms that a county may set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmConfig {
    /// A press that reaches the ledger later than this after it was heard is marked late. 1–86,400 s; default 60.
    pub late_after_s: u32,
}

/// What a county may set of cameras.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VideoConfig {
    /// How long pictures and clips of presses are kept at the hub. 30–365 days; default 90.
    pub evidence_days: u16,
}

/// How texts are spoken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoiceConfig {
    /// The program that speaks: a path, or a name to be looked for. Default `espeak-ng`.
    pub program: PathBuf,
}

/// What a county may set of notices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BroadcastConfig {
    /// When only emergencies sound, by the villages' clocks: `"22:00-06:00"` (the default), or `"none"`.
    pub night: Night,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/tongluo-hub"),
            database: "sqlite".to_owned(),
            public_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            http: HttpConfig::default(),
            broker: BrokerConfig::default(),
            broker_public_port: None,
            gateways: GatewaysConfig::default(),
            content: ContentConfig::default(),
            alarm: AlarmConfig::default(),
            video: VideoConfig::default(),
            voice: VoiceConfig::default(),
            broadcast: BroadcastConfig::default(),
            log_format: LogFormat::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            plain: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            secure: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            certificate: None,
            key: None,
            public_port: None,
        }
    }
}

impl Default for GatewaysConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8884)), public_port: None }
    }
}

impl Default for ContentConfig {
    fn default() -> Self {
        Self { folder: None, site_budget_mib: 4_096, keep_free_mib: 2_048, unclaimed_days: 7 }
    }
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self { evidence_days: 90 }
    }
}

impl Default for VoiceConfig {
    fn default() -> Self {
        Self { program: PathBuf::from("espeak-ng") }
    }
}

impl Default for AlarmConfig {
    fn default() -> Self {
        Self { late_after_s: 60 }
    }
}

/// A configuration that cannot be used: which key, its value, and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("the configuration {path} is refused:\n{message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, key, and what is allowed there.
        message: String,
    },
    /// A value out of its range.
    #[error("the configuration is refused: {key} = {value}; allowed: {allowed}")]
    OutOfRange {
        /// Dotted key.
        key: &'static str,
        /// The value found.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing is started on any of them.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.to_owned(), message: error.to_string() })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(plain) = self.http.plain.filter(|plain| !plain.ip().is_loopback()) {
            return Err(ConfigError::OutOfRange {
                key: "http.plain",
                value: plain.to_string(),
                allowed: "a loopback address such as 127.0.0.1:8080; use http.secure for the network",
            });
        }
        if self.http.certificate.is_some() != self.http.key.is_some() {
            return Err(ConfigError::OutOfRange {
                key: "http.certificate, http.key",
                value: "only one of the two".to_owned(),
                allowed: "both, or neither",
            });
        }
        if !(1..=86_400).contains(&self.alarm.late_after_s) {
            return Err(ConfigError::OutOfRange {
                key: "alarm.late_after_s",
                value: self.alarm.late_after_s.to_string(),
                allowed: "1 to 86400 seconds",
            });
        }
        self.check_content()?;
        if !(30..=365).contains(&self.video.evidence_days) {
            return Err(ConfigError::OutOfRange {
                key: "video.evidence_days",
                value: self.video.evidence_days.to_string(),
                allowed: "30 to 365 days",
            });
        }
        if let Some(wrong) = self.public_names.iter().find(|name| !is_host(name)) {
            return Err(ConfigError::OutOfRange {
                key: "public_names",
                value: format!("{wrong:?}"),
                allowed: "host names or IP addresses, without scheme or port",
            });
        }
        if self.public_names.is_empty() {
            return Err(ConfigError::OutOfRange {
                key: "public_names",
                value: "[]".to_owned(),
                allowed: "at least one name",
            });
        }
        self.check_database()
    }

    fn check_content(&self) -> Result<(), ConfigError> {
        let content = &self.content;
        let keys = [
            ("content.site_budget_mib", content.site_budget_mib, 1..=1_048_576, "1 to 1048576 MiB"),
            ("content.keep_free_mib", content.keep_free_mib, 0..=1_048_576, "0 to 1048576 MiB"),
            ("content.unclaimed_days", u64::from(content.unclaimed_days), 1..=365, "1 to 365 days"),
        ];
        match keys.into_iter().find(|(_, value, range, _)| !range.contains(value)) {
            Some((key, value, _, allowed)) => Err(ConfigError::OutOfRange { key, value: value.to_string(), allowed }),
            None => Ok(()),
        }
    }

    fn check_database(&self) -> Result<(), ConfigError> {
        let is_postgres = self.database.starts_with("postgres://") || self.database.starts_with("postgresql://");
        if self.database == "sqlite" || is_postgres {
            return Ok(());
        }
        Err(ConfigError::OutOfRange {
            key: "database",
            value: "(not shown: it may hold a password)".to_owned(),
            allowed: "\"sqlite\" or a postgres:// address",
        })
    }

    /// Where the database is.
    pub fn store(&self) -> StoreLocation {
        if self.database == "sqlite" {
            StoreLocation::Sqlite(self.data_dir.join("hub.db"))
        } else {
            StoreLocation::Postgres(self.database.clone())
        }
    }

    /// The name that claims and certificates put first.
    pub fn first_name(&self) -> &str {
        &self.public_names[0]
    }

    /// The port that claims name.
    pub fn public_https_port(&self) -> u16 {
        self.http.public_port.unwrap_or(self.http.secure.port())
    }

    /// The port that gateways are told for files and media; the host is that of the HTTPS address.
    pub fn public_media_port(&self) -> u16 {
        self.gateways.public_port.unwrap_or(self.gateways.listen.port())
    }

    /// Host and port at which gateways reach the broker.
    pub fn public_mqtt(&self) -> (&str, u16) {
        let (host, port) = match &self.broker {
            BrokerConfig::Embedded(embedded) => (self.first_name(), embedded.listen.port()),
            BrokerConfig::External(external) => (external.host.as_str(), external.port),
        };
        (host, self.broker_public_port.unwrap_or(port))
    }
}

fn is_host(name: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
    };
    name.parse::<IpAddr>().is_ok() || is_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let folder = std::env::temp_dir().join(format!("tongluo-config-{}", crate::ids::opaque()));
        std::fs::write(&folder, text).unwrap();
        let error = Config::read(&folder).expect_err(text).to_string();
        std::fs::remove_file(&folder).unwrap();
        error
    }

    #[test]
    fn every_default_is_usable() {
        Config::default().check().unwrap();
        toml::from_str::<Config>("").unwrap().check().unwrap();
    }

    #[test]
    fn wrong_configurations_are_refused_by_key_value_and_what_is_allowed() {
        let cases = [
            ("colour = \"red\"", &["colour", "data_dir"][..]),
            ("[http]\nsecure = \"nowhere\"", &["secure"]),
            ("[http]\nplain = \"0.0.0.0:8080\"", &["http.plain", "0.0.0.0:8080", "loopback"]),
            ("[http]\ncertificate = \"a.pem\"", &["http.certificate", "both"]),
            ("[alarm]\nlate_after_s = 0", &["alarm.late_after_s", "0", "1 to 86400"]),
            ("[broadcast]\nnight = \"10pm\"", &["night", "10pm", "22:00-06:00"]),
            ("[video]\nevidence_days = 29", &["video.evidence_days", "29", "30 to 365"]),
            ("public_names = []", &["public_names", "at least one"]),
            ("public_names = [\"https://hub\"]", &["public_names", "https://hub", "without scheme"]),
            ("[gateways]\nlisten = \"everywhere\"", &["listen"]),
            ("[gateways]\npublic_port = 70000", &["public_port", "70000"]),
            ("[content]\nsite_budget_mib = 0", &["content.site_budget_mib", "0", "1 to 1048576"]),
            ("[content]\nunclaimed_days = 366", &["content.unclaimed_days", "366", "1 to 365"]),
            ("database = \"mysql://x:secret@y\"", &["database", "postgres://"]),
            ("log_format = \"xml\"", &["log_format", "json"]),
        ];
        for (text, expected) in cases {
            let message = refused(text);
            for word in expected {
                assert!(message.contains(word), "{text}\n{message}\nlacks {word:?}");
            }
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
