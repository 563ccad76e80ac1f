//! Our own loudspeakers, which obey only their gateway.
//!
//! A speaker hangs on the village's MQTT broker, where other devices hang too, and anything with the broker's password could
//! publish to it. So each speaker shares a key with its gateway, and every message in both directions is authenticated by
//! HMAC-SHA256 and counted ([`envelope`]). There is no encryption: what is about to be heard by a village is no secret.
//!
//! | Topic                        | From    | Carries                                     |
//! | ---------------------------- | ------- | ------------------------------------------- |
//! | `tongluo/speaker/<id>/do`    | gateway | [`Command`]: ask, keep, play, sound, stop    |
//! | `tongluo/speaker/<id>/did`   | speaker | [`Report`]: alive, progress of what it plays |
//!
//! **Sessions** keep out replays without a flash memory that wears out. A speaker draws a random [`Session`] at each start and
//! takes only commands of that session with a rising counter ([`Obedience`]). The gateway learns the session by asking with a
//! random challenge, which only a live speaker can answer ([`Conversation`]); an old answer carries an old challenge. The same
//! answer is the speaker's proof of life.
//!
//! **What "played" means here**: the speaker's own word that it handed all samples to its amplifier. It did not listen.

mod command;
mod conversation;
pub mod envelope;
mod report;
#[cfg(test)]
mod tests;

pub use command::{Command, Keep, Play, Ring, Sound};
pub use conversation::{Conversation, Heard, Obedience, Refusal};
pub use envelope::{Key, Sealed, Session};
pub use report::{Alive, Progress, Report, State};

/// What every topic of a speaker begins with.
pub const TOPIC_PREFIX: &str = "tongluo/speaker/";
/// The longest id of a speaker, in bytes; ASCII letters, digits, `-` and `_`.
pub const ID_BYTES_MAX: usize = 64;
/// The longest address of a sound, in bytes.
pub const URL_BYTES_MAX: usize = 256;
/// The longest message in either direction, in bytes: small enough for the buffers of a microcontroller.
pub const MESSAGE_BYTES_MAX: usize = 1_024;

/// Whether a text can be a speaker's id, and so a level of a topic.
pub fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The speaker whose report this topic carries.
pub fn reporting(topic: &str) -> Option<&str> {
    topic.strip_prefix(TOPIC_PREFIX)?.strip_suffix("/did").filter(|id| is_id(id))
}
