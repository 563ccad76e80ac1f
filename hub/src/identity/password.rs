//! Passwords: hashing them slowly, checking them, making them.

use std::sync::LazyLock;

use anyhow::Context as _;
use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;

/// Shortest password, in characters. Length is the only rule: others make people write passwords down.
pub(super) const CHARS_MIN: usize = 10;
/// Longest, in bytes: hashing a megabyte for a stranger is a gift to them.
pub(super) const BYTES_MAX: usize = 256;
/// Hashes at once. Each takes 19 MB and some 30 ms of a core; alarms need the rest of the machine.
const HASHES_AT_ONCE_MAX: usize = 2;

static PLACES: Semaphore = Semaphore::const_new(HASHES_AT_ONCE_MAX);

/// A hash of nobody's password, so that an unknown name costs as much time as a wrong password.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now(&generate()).expect("a generated password can be hashed"));

/// Hashes a password: Argon2id with a random salt, as a PHC string.
pub(super) async fn hash(password: String) -> anyhow::Result<String> {
    let _place = PLACES.acquire().await?;
    tokio::task::spawn_blocking(move || hash_now(&password)).await?
}

/// Whether a password is the one of a hash; for an unknown account (`None`) it is not, after the same time.
pub(super) async fn verify(password: String, stored: Option<String>) -> anyhow::Result<bool> {
    let _place = PLACES.acquire().await?;
    tokio::task::spawn_blocking(move || {
        let text = stored.as_deref().unwrap_or(&NOBODY);
        let hash = PasswordHash::new(text).ok().context("a stored password hash cannot be read")?;
        let is_right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        Ok(is_right && stored.is_some())
    })
    .await?
}

/// A random password of 20 letters and digits without look-alikes, in groups that can be read aloud: 98 bits.
///
/// # Panics
/// The operating system has no randomness to give.
pub(super) fn generate() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 20];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    let mut password = String::with_capacity(23);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte & 31)]));
    }
    password
}

fn hash_now(password: &str) -> anyhow::Result<String> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| anyhow::anyhow!("a password cannot be hashed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_is_right() {
        let stored = hash("铜锣-一二三四五六七八".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(verify("铜锣-一二三四五六七八".to_owned(), Some(stored.clone())).await.unwrap());
        assert!(!verify("铜锣-一二三四五六七".to_owned(), Some(stored)).await.unwrap());
        assert!(!verify("anything".to_owned(), None).await.unwrap());
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (first, second) = (generate(), generate());
        assert_eq!(first.len(), 23);
        assert_ne!(first, second);
    }
}
