//! Passwords: Argon2id, slow on purpose, and therefore never more than two at once.

use std::sync::{Arc, LazyLock};

use anyhow::Context as _;
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use axum::http::StatusCode;
use tokio::sync::Semaphore;

use crate::web::Problem;

/// Passwords worked on at once. Each takes 19 MB and a core for some tens of milliseconds (OWASP's first choice for
/// Argon2id, the library's default); alarms need the other core.
const WORKING_MAX: usize = 2;
/// Log-ins that wait for their turn, together with those at work. Further ones are told "busy": two seconds' worth.
const WAITING_MAX: usize = 64;
/// Fewest characters of a password, as NIST SP 800-63B advises beyond its minimum of 8.
const CHARS_MIN: usize = 10;
/// Most characters of a password; also bounds the work.
pub(super) const CHARS_MAX: usize = 128;
/// Characters of passwords that the hub makes: 100 random bits, without those that people confuse.
const MADE_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const MADE_CHARACTERS: usize = 20;

/// What unknown users' passwords are compared with, so that they take as long as known ones'.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now(&make()).expect("the default parameters are valid"));

/// The place where passwords are worked on.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    waiting: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        LazyLock::force(&NOBODY);
        Self { waiting: Arc::new(Semaphore::new(WAITING_MAX)), working: Arc::new(Semaphore::new(WORKING_MAX)) }
    }

    /// Whether a password is the one of this hash; without a hash, false after the same time.
    pub(super) async fn verify(&self, hash: Option<String>, password: String) -> Result<bool, Problem> {
        self.work(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.clone());
            let hash = PasswordHash::new(&hash)
                .map_err(|error| anyhow::anyhow!("a stored password hash is unreadable: {error}"))?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && known)
        })
        .await
    }

    /// The hash of a new password.
    pub(super) async fn hash(&self, password: String) -> Result<String, Problem> {
        self.work(move || hash_now(&password)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turn = Arc::clone(&self.working).acquire_owned().await.context("the semaphore is never closed")?;
        // The turn goes along: a request that is given up must not let a third one in while its work goes on.
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.context("password work panicked")?.map_err(Problem::from)
    }
}

/// Refuses passwords that are too short or too long, or the user name itself.
pub(super) fn check(password: &str, username: &str) -> Result<(), Problem> {
    let fits = (CHARS_MIN..=CHARS_MAX).contains(&password.chars().count());
    if fits && !password.eq_ignore_ascii_case(username) {
        return Ok(());
    }
    Err(Problem::invalid(
        "password",
        "应为 10 到 128 个字符，且不能与用户名相同",
        "it must have 10 to 128 characters and differ from the user name",
    ))
}

/// A random password in groups of five, to be read from paper.
pub(super) fn make() -> String {
    let mut bytes = [0_u8; MADE_CHARACTERS];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    let characters: Vec<char> = bytes.iter().map(|byte| char::from(MADE_ALPHABET[usize::from(byte & 31)])).collect();
    characters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

pub(super) fn hash_now(password: &str) -> anyhow::Result<String> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).expect("the operating system gives randomness");
    let salt = SaltString::encode_b64(&salt).map_err(|error| anyhow::anyhow!("a salt cannot be written: {error}"))?;
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| anyhow::anyhow!("a password cannot be hashed: {error}"))?;
    Ok(hash.to_string())
}

fn busy() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "login.busy",
        "登录的人太多，请稍后再试。",
        "Too many people are logging in. Try again shortly.",
    )
    .retry_after_s(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let passwords = Passwords::new();
        let made = make();
        assert_eq!(made.len(), MADE_CHARACTERS + 3);
        let hash = passwords.hash(made.clone()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(Some(hash.clone()), made.clone()).await.unwrap());
        assert!(!passwords.verify(Some(hash), "something else".to_owned()).await.unwrap());
        assert!(!passwords.verify(None, made).await.unwrap());
    }

    #[test]
    fn short_long_and_obvious_passwords_are_refused() {
        for wrong in ["", "123456789", "administrator", &"x".repeat(129)] {
            assert!(check(wrong, "Administrator").is_err(), "{wrong}");
        }
        assert!(check("一二三四五六七八九十", "administrator").is_ok());
    }
}
