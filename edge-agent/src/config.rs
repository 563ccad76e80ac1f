//! The gateway's configuration: one typed TOML file.
//!
//! Every key has a usable default, so an empty file runs a gateway beside a village broker on the same machine. What is wrong is
//! refused when the program starts, with the key, the value and what is allowed: the checks run while the file is being read, so
//! that the message can point at the line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// The whole of `edge.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the gateway keeps its journal and its identity. Created at start, mode 0700, if it is missing.
    pub data_dir: PathBuf,
    /// How a bare enrolment code finds its hub.
    pub hub: HubConfig,
    /// The village's MQTT broker.
    pub lan: LanConfig,
    /// How much the journal may hold.
    pub journal: JournalConfig,
    /// Where recordings go, and how much room they get.
    pub camera: CameraConfig,
    /// Loudspeakers: what this machine has for them.
    pub speaker: SpeakerConfig,
    /// What the program writes about itself.
    pub log: LogConfig,
}

/// `[hub]`: needed only to enrol with a bare code; a full claim carries both values itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// The hub's HTTPS address, for example `https://hub.example:8443`.
    #[serde(deserialize_with = "https_url")]
    pub url: Option<String>,
    /// SHA-256 of the hub's CA certificate (DER): 64 hexadecimal digits, colons allowed.
    #[serde(deserialize_with = "fingerprint")]
    pub ca_fingerprint: Option<String>,
}

/// `[lan]`: the broker to which the village's devices publish.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanConfig {
    /// Host name or address of the broker.
    #[serde(deserialize_with = "host")]
    pub host: String,
    /// Its TCP port.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// User name at the broker. Without one the gateway connects anonymously, which a village broker should refuse.
    #[serde(deserialize_with = "username")]
    pub username: Option<String>,
    /// File whose first line is the password; needs `username`.
    pub password_file: Option<PathBuf>,
    /// How often, in seconds, an unchanged device is reported to the hub as alive. A change is reported at once.
    #[serde(deserialize_with = "supervision_interval_s")]
    pub supervision_interval_s: u32,
}

/// `[journal]`: how much it may hold, and the disk space it takes in advance so that a full disk still takes presses.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Above this many MiB acknowledged entries go, then routine ones, oldest first. Presses may grow beyond it.
    #[serde(deserialize_with = "space_mib")]
    pub space_mib: u32,
    /// Disk space in MiB, beside `space_mib`, that is taken in advance and given to presses alone when the disk is full.
    /// One MiB holds about four thousand presses.
    #[serde(deserialize_with = "reserve_mib")]
    pub reserve_mib: u32,
    /// How many days entries are kept after the hub has acknowledged them, for a hub that returns from a backup.
    #[serde(deserialize_with = "acked_days")]
    pub acked_days: u32,
}

/// `[camera]`: where recordings go. Which cameras there are, and how long each is kept, comes from the hub.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraConfig {
    /// Where recordings are kept; `recordings` in `data_dir` if absent. Better a disk of its own: a full or slow one holds up
    /// nothing but video. Created at start, mode 0700, if it is missing.
    pub folder: Option<PathBuf>,
    /// The most MiB of all recordings together; above it the oldest go.
    #[serde(deserialize_with = "budget_mib")]
    pub budget_mib: u32,
    /// MiB that recordings leave free on their disk.
    #[serde(deserialize_with = "keep_free_mib")]
    pub keep_free_mib: u32,
    /// The decoding helper; `tongluo-decoder` beside this program if absent.
    pub decoder: Option<PathBuf>,
}

/// `[speaker]`: what this machine has for loudspeakers. Which there are comes from the hub.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeakerConfig {
    /// Where loudspeakers in the village's network fetch sounds. Port 0 takes any that is free; name one if a firewall stands
    /// between. Nothing listens there before the hub names a loudspeaker.
    pub listen: SocketAddr,
    /// This machine's address as loudspeakers see it. Needed where the village's broker runs on this machine; otherwise the
    /// address that leads to the broker is right.
    pub address: Option<IpAddr>,
    /// The helper that plays on the sound card; `tongluo-line-out` beside this program if absent.
    pub line_out: Option<PathBuf>,
    /// The relay that switches the amplifier on: a line of a GPIO chip as `gpiochip0:17`, or the path of a file that takes `1`
    /// and `0`, such as `/sys/class/leds/relay/brightness`.
    #[serde(deserialize_with = "relay")]
    pub relay: Option<String>,
    /// Whether the relay switches on when its line is low.
    pub relay_active_low: bool,
}

/// `[log]`: written to standard error.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` for people, `json` for a collector.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A sentence and its fields.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The severity of a log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the severities everybody knows")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The level's name, as a log filter takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/tongluo-edge"),
            hub: HubConfig::default(),
            lan: LanConfig::default(),
            journal: JournalConfig::default(),
            camera: CameraConfig::default(),
            speaker: SpeakerConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for LanConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 1883,
            username: None,
            password_file: None,
            supervision_interval_s: 600,
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { space_mib: 64, reserve_mib: 16, acked_days: 7 }
    }
}

impl Default for CameraConfig {
    fn default() -> Self {
        Self { folder: None, budget_mib: 65_536, keep_free_mib: 1_024, decoder: None }
    }
}

impl Default for SpeakerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            address: None,
            line_out: None,
            relay: None,
            relay_active_low: false,
        }
    }
}

/// Why a configuration was refused. The text names the file, the key, the value and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or a key or value in it is not allowed.
    #[error("the configuration {path} is refused: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Key, value, line and what is allowed.
        source: Box<toml::de::Error>,
    },
    /// Two keys contradict each other, or a file that a key names is of no use.
    #[error("the configuration {path} is refused: {key} = {value:?}: {allowed}")]
    Contradicts {
        /// The file.
        path: PathBuf,
        /// The offending key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// When the file cannot be read or anything in it is not allowed.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a configuration; `path` is only quoted in messages.
    ///
    /// # Errors
    /// When anything in it is not allowed.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let config: Self = toml::from_str(text)
            .map_err(|source| Error::Refused { path: path.to_owned(), source: Box::new(source) })?;
        if let (Some(file), None) = (&config.lan.password_file, &config.lan.username) {
            return Err(Error::Contradicts {
                path: path.to_owned(),
                key: "lan.password_file",
                value: file.display().to_string(),
                allowed: "allowed only together with lan.username".to_owned(),
            });
        }
        Ok(config)
    }

    /// The user name and password for the village broker, the latter from its file.
    ///
    /// # Errors
    /// When the password file cannot be read or its first line is empty.
    pub fn lan_credentials(&self, path: &Path) -> Result<Option<(String, String)>, Error> {
        let Some(username) = self.lan.username.clone() else {
            return Ok(None);
        };
        let Some(file) = &self.lan.password_file else {
            return Ok(Some((username, String::new())));
        };
        let refused = |allowed: String| Error::Contradicts {
            path: path.to_owned(),
            key: "lan.password_file",
            value: file.display().to_string(),
            allowed,
        };
        let text =
            std::fs::read_to_string(file).map_err(|error| refused(format!("must be a readable file, but: {error}")))?;
        match text.lines().next().map(str::trim_end) {
            Some(password) if !password.is_empty() => Ok(Some((username, password.to_owned()))),
            _ => Err(refused("must hold the password in its first line, which is empty".to_owned())),
        }
    }
}

/// Reads an integer of an allowed range; `what` completes "expected …".
struct Within {
    what: &'static str,
    least: i64,
    most: i64,
}

impl Visitor<'_> for Within {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}", self.what, self.least, self.most)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        if (self.least..=self.most).contains(&value) {
            Ok(value)
        } else {
            Err(E::invalid_value(de::Unexpected::Signed(value), &self))
        }
    }
}

fn within<'de, D: Deserializer<'de>, N: TryFrom<i64>>(deserializer: D, range: Within) -> Result<N, D::Error> {
    let value = deserializer.deserialize_i64(range)?;
    N::try_from(value).map_err(|_| de::Error::custom("the number does not fit its type"))
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let range = Within { what: "a TCP port", least: 1, most: 65_535 };
    within(deserializer, range)
}

fn supervision_interval_s<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let range = Within { what: "a number of seconds", least: 10, most: 86_400 };
    within(deserializer, range)
}

fn space_mib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let range = Within { what: "a number of MiB", least: 1, most: 65_536 };
    within(deserializer, range)
}

fn reserve_mib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let range = Within { what: "a number of MiB", least: 1, most: 1_024 };
    within(deserializer, range)
}

fn budget_mib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let range = Within { what: "a number of MiB", least: 16, most: 268_435_456 };
    within(deserializer, range)
}

fn keep_free_mib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let range = Within { what: "a number of MiB", least: 16, most: 1_048_576 };
    within(deserializer, range)
}

fn acked_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let range = Within { what: "a number of days", least: 0, most: 365 };
    within(deserializer, range)
}

/// Reads a text that passes a check; `what` completes "expected …".
struct Text {
    what: &'static str,
    check: fn(&str) -> Option<String>,
}

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        (self.check)(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Text {
        what: "a host name or an address without a port",
        check: |text| is_host(text).then(|| text.to_owned()),
    })
}

fn username<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Text {
        what: "a user name of 1 to 256 bytes",
        check: |text| (1..=256).contains(&text.len()).then(|| text.to_owned()),
    };
    deserializer.deserialize_str(text).map(Some)
}

fn https_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Text { what: "an address like https://hub.example:8443", check: parse_https_url };
    deserializer.deserialize_str(text).map(Some)
}

fn fingerprint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Text { what: "the SHA-256 of a certificate as 64 hexadecimal digits", check: parse_fingerprint };
    deserializer.deserialize_str(text).map(Some)
}

fn relay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Text {
        what: "a GPIO line like gpiochip0:17, or an absolute path",
        check: |text| is_relay(text).then(|| text.to_owned()),
    };
    deserializer.deserialize_str(text).map(Some)
}

/// Whether a text names a line of a GPIO chip, or a file.
fn is_relay(text: &str) -> bool {
    let line = text.split_once(':').filter(|(chip, line)| {
        !chip.is_empty() && chip.bytes().all(|byte| byte.is_ascii_alphanumeric()) && line.parse::<u32>().is_ok()
    });
    line.is_some() || (text.starts_with('/') && !text.contains('\0'))
}

/// An HTTPS address without path, user or query, as `https://host[:port]`.
pub(crate) fn parse_https_url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://")?.trim_end_matches('/');
    let fits = !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ']);
    fits.then(|| format!("https://{rest}"))
}

/// A SHA-256 in hexadecimal, colons and capitals allowed, as 64 lower-case digits.
pub(crate) fn parse_fingerprint(text: &str) -> Option<String> {
    let digits = text.replace(':', "").to_ascii_lowercase();
    (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

/// Whether a text can be a host name, an IPv4 or an IPv6 address.
fn is_host(text: &str) -> bool {
    let name = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    name || text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(text, Path::new("edge.toml"))
    }

    #[test]
    fn an_empty_file_is_a_usable_configuration() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_defaults_survive_being_written_and_read() {
        let mut config = Config::default();
        config.hub.url = Some("https://hub.example:8443".to_owned());
        config.hub.ca_fingerprint = Some("ab".repeat(32));
        config.lan.username = Some("gateway".to_owned());
        let text = r#"
            data_dir = "/var/lib/tongluo-edge"
            [hub]
            url = "https://hub.example:8443/"
            ca_fingerprint = "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB"
            [lan]
            host = "127.0.0.1"
            port = 1883
            username = "gateway"
            supervision_interval_s = 600
            [journal]
            space_mib = 64
            reserve_mib = 16
            acked_days = 7
            [camera]
            budget_mib = 65536
            keep_free_mib = 1024
            [log]
            format = "text"
            level = "info"
        "#;
        assert_eq!(parse(text).unwrap(), config);
    }

    #[test]
    fn bad_forms_are_refused_by_key_and_value_with_what_is_allowed() {
        let table: &[(&str, &[&str])] = &[
            ("data_dri = \"/x\"", &["data_dri", "data_dir"]),
            ("data_dir = 7", &["data_dir", "7"]),
            ("[lan]\nport = 0", &["port", "0", "a TCP port from 1 to 65535"]),
            ("[lan]\nport = 65536", &["port", "65536", "from 1 to 65535"]),
            ("[lan]\nport = \"1883\"", &["port", "1883", "a TCP port"]),
            ("[lan]\nhost = \"\"", &["host", "a host name"]),
            ("[lan]\nhost = \"mqtt://broker:1883\"", &["host", "mqtt://broker:1883", "without a port"]),
            ("[lan]\nusername = \"\"", &["username", "1 to 256"]),
            ("[lan]\npassword = \"secret\"", &["password", "password_file"]),
            ("[lan]\npassword_file = \"/p\"", &["lan.password_file", "/p", "lan.username"]),
            ("[lan]\nsupervision_interval_s = 5", &["supervision_interval_s", "5", "from 10 to 86400"]),
            ("[hub]\nurl = \"http://hub.example\"", &["url", "http://hub.example", "https://"]),
            ("[hub]\nurl = \"https://hub.example/path\"", &["url", "/path", "https://hub.example:8443"]),
            ("[hub]\nca_fingerprint = \"abc\"", &["ca_fingerprint", "abc", "64 hexadecimal digits"]),
            ("[journal]\nspace_mib = 0", &["space_mib", "0", "from 1 to 65536"]),
            ("[journal]\nspace_mib = -1", &["space_mib", "-1", "from 1"]),
            ("[journal]\nspace_mib = 8.5", &["space_mib", "8.5", "a number of MiB"]),
            ("[journal]\nreserve_mib = 1025", &["reserve_mib", "1025", "from 1 to 1024"]),
            ("[journal]\nacked_days = 366", &["acked_days", "366", "from 0 to 365"]),
            ("[log]\nformat = \"xml\"", &["format", "xml", "text", "json"]),
            ("[log]\nlevel = \"loud\"", &["level", "loud", "error", "trace"]),
            ("[camera]\nurl = \"rtsp://x\"", &["url", "folder", "budget_mib"]),
            ("[camera]\nbudget_mib = 15", &["budget_mib", "15", "from 16 to 268435456"]),
            ("[camera]\nkeep_free_mib = 0", &["keep_free_mib", "0", "from 16 to 1048576"]),
            ("[camera]\nkeep_free_mib = 2000000", &["keep_free_mib", "2000000", "from 16"]),
            ("[camera]\nfolder = 7", &["folder", "7"]),
            ("[camera]\ndecoder = []", &["decoder"]),
            ("[lan\nport = 1", &["[lan"]),
        ];
        for (text, wanted) in table {
            let message = parse(text).expect_err(text).to_string();
            for word in *wanted {
                assert!(message.contains(word), "{text:?} gave {message:?}, which lacks {word:?}");
            }
            assert!(message.contains("edge.toml"), "{message:?} does not name the file");
        }
    }

    #[test]
    fn a_password_file_must_hold_a_password() {
        let dir = crate::testing::TempDir::new("config-password");
        let file = dir.path().join("password");
        let text = format!("[lan]\nusername = \"u\"\npassword_file = {:?}", file.display().to_string());
        let config = parse(&text).unwrap();
        let path = Path::new("edge.toml");
        let message = config.lan_credentials(path).unwrap_err().to_string();
        assert!(message.contains("lan.password_file"), "{message}");
        std::fs::write(&file, "\n").unwrap();
        let message = config.lan_credentials(path).unwrap_err().to_string();
        assert!(message.contains("first line"), "{message}");
        std::fs::write(&file, "secret\n").unwrap();
        let credentials = config.lan_credentials(path).unwrap();
        assert_eq!(credentials, Some(("u".to_owned(), "secret".to_owned())));
    }
}
