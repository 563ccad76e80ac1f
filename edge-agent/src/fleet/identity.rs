//! Who this gateway is: its key and what the hub gave it for that key.
//!
//! One file, `identity.json`, mode 0600, replaced as a whole: a gateway is enrolled or it is not. The key of an enrolment that
//! has not been answered yet waits in `enrolment.key`, so that the same key is used again.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const IDENTITY_FILE: &str = "identity.json";
const PENDING_KEY_FILE: &str = "enrolment.key";

/// Everything an enrolled gateway knows about itself and its hub.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub struct Identity {
    /// The site it serves: its MQTT client id and the `{site}` of its topics.
    pub site_id: String,
    /// The box that fills that place now.
    pub gateway_id: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The hub's CA, PEM: the only one it trusts.
    pub ca_certificate: String,
    /// Host of the hub's MQTT broker.
    pub mqtt_host: String,
    /// Port of the hub's MQTT broker.
    pub mqtt_port: u16,
    /// Port of the hub's HTTPS for gateways: files and media. The host is that of `hub_url`.
    #[serde(default = "media_port_default")]
    pub media_port: u16,
    /// The root key of orders: raw Ed25519, base64.
    pub order_key: String,
    /// The hub's HTTPS address.
    pub hub_url: String,
    /// The hub's clock when it signed the certificate, UTC milliseconds. This gateway's clock cannot be earlier than that.
    pub server_time_ms: i64,
    /// SHA-256 of the code that was used, in hexadecimal: the same code again means the same key again.
    pub claim_sha256: String,
    /// The private key, PEM (PKCS #8). It never leaves this file.
    pub private_key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("site_id", &self.site_id)
            .field("gateway_id", &self.gateway_id)
            .finish_non_exhaustive()
    }
}

/// Why the identity on disk cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file or its folder cannot be read or written.
    #[error("{path} cannot be {done}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        done: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not an identity.
    #[error("{path} is damaged ({source}): enrol this gateway again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Identity {
    /// Reads the identity of a gateway; `None` if it has not been enrolled.
    ///
    /// # Errors
    /// When the file is there but unreadable or damaged.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(IDENTITY_FILE);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        match serde_json::from_str(&text) {
            Ok(identity) => Ok(Some(identity)),
            Err(source) => Err(IdentityError::Damaged { path, source }),
        }
    }

    /// Writes the identity whole and drops the key that was waiting for it.
    pub(crate) fn store(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let text = serde_json::to_string_pretty(self).expect("texts and numbers always serialize");
        write_whole(&data_dir.join(IDENTITY_FILE), text.as_bytes())?;
        // The key is in the identity now. Should this file survive a crash here, the next enrolment merely uses it again.
        let _ = std::fs::remove_file(data_dir.join(PENDING_KEY_FILE));
        Ok(())
    }
}

/// The port that hubs use unless they say otherwise: identities of before hubs said so lack it.
pub(super) const fn media_port_default() -> u16 {
    8884
}

/// The key of an enrolment that was begun but not answered, PEM.
pub(super) fn load_pending_key(data_dir: &Path) -> Result<Option<String>, IdentityError> {
    read_if_there(&data_dir.join(PENDING_KEY_FILE))
}

/// Keeps the key before the hub hears of it.
pub(super) fn store_pending_key(data_dir: &Path, pem: &str) -> Result<(), IdentityError> {
    write_whole(&data_dir.join(PENDING_KEY_FILE), pem.as_bytes())
}

fn read_if_there(path: &Path) -> Result<Option<String>, IdentityError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { path: path.to_owned(), done: "read", source }),
    }
}

/// Replaces a file by rename, readable by its owner only, on disk before this returns.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    let write = || {
        // A leftover may have been created with another mode: start from nothing.
        let _ = std::fs::remove_file(&temporary);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| IdentityError::File { path: path.to_owned(), done: "written", source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::testing::TempDir;

    fn identity() -> Identity {
        Identity {
            site_id: "site".to_owned(),
            gateway_id: "gateway".to_owned(),
            certificate: "c".to_owned(),
            ca_certificate: "ca".to_owned(),
            mqtt_host: "hub.example".to_owned(),
            mqtt_port: 8883,
            media_port: 8884,
            order_key: "k".to_owned(),
            hub_url: "https://hub.example:8443".to_owned(),
            server_time_ms: 1,
            claim_sha256: "h".to_owned(),
            private_key: "secret".to_owned(),
        }
    }

    #[test]
    fn an_identity_is_kept_whole_and_private() {
        let dir = TempDir::new("identity");
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        store_pending_key(dir.path(), "secret").unwrap();
        identity().store(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity()));
        assert_eq!(load_pending_key(dir.path()).unwrap(), None);
        let mode = std::fs::metadata(dir.path().join(IDENTITY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_identity_of_before_the_media_port_has_the_usual_one() {
        let dir = TempDir::new("identity-before");
        identity().store(dir.path()).unwrap();
        let path = dir.path().join(IDENTITY_FILE);
        let text = std::fs::read_to_string(&path).unwrap().replace("\"media_port\": 8884,", "");
        assert!(!text.contains("media_port"));
        std::fs::write(&path, text).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity()));
    }

    #[test]
    fn a_damaged_identity_is_named_not_taken_for_none() {
        let dir = TempDir::new("identity-damaged");
        std::fs::write(dir.path().join(IDENTITY_FILE), "{\"site_id\":").unwrap();
        let message = Identity::load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("identity.json") && message.contains("enrol"), "{message}");
    }

    #[test]
    fn the_key_is_not_in_the_debug_form() {
        assert!(!format!("{:?}", identity()).contains("secret"));
    }
}
