//! Secrets at rest: what the hub must be able to read again, and nobody else who gets hold of the database.
//!
//! A camera's password, or a document that carries it, is stored as XChaCha20-Poly1305 (24 random bytes of nonce, so that
//! no counter has to be kept) under one key of the county. The key lies beside the authority's, in `authority/seal-key`
//! under the data folder, and so goes into every backup and comes back with it. Each secret is bound to a **label**, the
//! name of the row it belongs to: copied to another row, it does not open.
//!
//! | bytes | hold |
//! | --- | --- |
//! | 1 | version: 1 |
//! | 24 | nonce |
//! | the rest | ciphertext and 16 bytes of tag |

use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use crate::key_file;

/// Under the data folder.
const KEY_FILE: &str = "authority/seal-key";
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// How much longer a sealed secret is than the secret.
pub const SEAL_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;

/// The county's key for secrets at rest. Clones share it.
#[derive(Clone)]
pub struct Seal(XChaCha20Poly1305);

/// A sealed secret that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealBroken {
    /// The form is not that of this version.
    #[error("what is stored is not a sealed secret of a version that this hub knows")]
    Malformed,
    /// The bytes were changed, belong to another label, or were sealed under another county's key.
    #[error(
        "the sealed secret was altered, moved, or sealed under another key (authority/seal-key in the data folder)"
    )]
    Refused,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// Reads the county's key. A data folder of before there were secrets gets one now.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds no key. A key that is there is never overwritten: without it, what was
    /// sealed under it is gone.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(KEY_FILE);
        if !path.exists() {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
            key_file::write_private(&path, &BASE64.encode(key))?;
        }
        let key = BASE64.decode(key_file::read(&path)?.trim());
        let key = key.with_context(|| format!("{} is not base64", path.display()))?;
        ensure!(key.len() == 32, "{} holds {} bytes; a key has 32", path.display(), key.len());
        Ok(Self::with_key(&key))
    }

    fn with_key(key: &[u8]) -> Self {
        Self(XChaCha20Poly1305::new_from_slice(key).expect("a key has 32 bytes: checked by the caller"))
    }

    /// Seals a secret for the row that `label` names, [`SEAL_BYTES`] longer than it is. The same secret looks different
    /// each time.
    ///
    /// # Panics
    /// The operating system has no randomness to give; nothing secure can be done then.
    pub fn seal(&self, label: &str, secret: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system gives randomness");
        let payload = Payload { msg: secret, aad: label.as_bytes() };
        let sealed = self.0.encrypt(XNonce::from_slice(&nonce), payload).expect("memory takes what the caller holds");
        [&[VERSION], nonce.as_slice(), &sealed].concat()
    }

    /// Opens what was sealed under the same label.
    ///
    /// # Errors
    /// It does not open, and why as far as that can be known.
    pub fn unseal(&self, label: &str, sealed: &[u8]) -> Result<Vec<u8>, SealBroken> {
        let body = sealed.strip_prefix(&[VERSION]).ok_or(SealBroken::Malformed)?;
        let (nonce, body) = body.split_at_checked(NONCE_BYTES).ok_or(SealBroken::Malformed)?;
        let payload = Payload { msg: body, aad: label.as_bytes() };
        self.0.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| SealBroken::Refused)
    }
}

/// A county's seal for tests of other rooms.
#[cfg(test)]
pub(crate) fn for_test() -> Seal {
    let mut key = [0; 32];
    getrandom::fill(&mut key).unwrap();
    Seal::with_key(&key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_sealed_opens(label in ".{0,40}", secret: Vec<u8>) {
            let seal = Seal::with_key(&[7; 32]);
            let sealed = seal.seal(&label, &secret);
            prop_assert_eq!(sealed.len(), secret.len() + SEAL_BYTES);
            prop_assert_eq!(seal.unseal(&label, &sealed), Ok(secret));
        }

        #[test]
        fn no_bytes_open_by_chance_or_panic(bytes: Vec<u8>) {
            prop_assert!(Seal::with_key(&[7; 32]).unseal("a", &bytes).is_err());
        }
    }

    #[test]
    fn no_changed_or_missing_byte_opens() {
        let seal = Seal::with_key(&[7; 32]);
        let sealed = seal.seal("recorder/1/password", b"ma1n-gate");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.unseal("recorder/1/password", &changed).is_err(), "byte {at} was changed");
            assert!(seal.unseal("recorder/1/password", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_secret_opens_neither_in_another_row_nor_in_another_county() {
        let seal = Seal::with_key(&[7; 32]);
        let sealed = seal.seal("recorder/1/password", b"ma1n-gate");
        assert_eq!(seal.unseal("recorder/2/password", &sealed), Err(SealBroken::Refused));
        assert_eq!(Seal::with_key(&[8; 32]).unseal("recorder/1/password", &sealed), Err(SealBroken::Refused));
        assert_eq!(seal.unseal("recorder/1/password", b"\x02plain"), Err(SealBroken::Malformed));
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let seal = for_test();
        assert_ne!(seal.seal("a", b"secret"), seal.seal("a", b"secret"));
    }

    #[test]
    fn the_key_is_made_once_and_is_the_hubs_alone() {
        let folder = std::env::temp_dir().join(format!("tongluo-seal-{}", crate::ids::opaque()));
        std::fs::create_dir_all(folder.join("authority")).unwrap();
        let sealed = Seal::open(&folder).unwrap().seal("a", b"secret");
        let mode = std::fs::metadata(folder.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Seal::open(&folder).unwrap().unseal("a", &sealed).unwrap(), b"secret");
        std::fs::write(folder.join(KEY_FILE), "c2hvcnQ=").unwrap();
        assert!(Seal::open(&folder).unwrap_err().to_string().contains("5 bytes"), "a broken key is never replaced");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
