//! From a written notice to sound.
//!
//! A text is checked, its figures are written out as an announcer reads them ([`words`]), an engine speaks it ([`Voice`]; today
//! [`Espeak`]), and the sound is brought to one loudness ([`sound`]). A natural voice is another engine behind the same
//! trait; recordings of people take only the last step.
//!
//! People bring recordings and texts through `http.rs`; what becomes of them is kept as a [`content`](crate::content) that
//! gateways may read, and noted in the table `sound` (`store.rs`), so that [`known`] says what may be played.

mod espeak;
mod http;
pub mod sound;
mod store;
#[cfg(test)]
mod tests;
pub mod words;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::content::Content;
use crate::store::Store;

pub use espeak::Espeak;
pub use http::routes;
pub use sound::{Sound, SoundError};
pub use store::{KnownSound, expire, known};

/// Longest text of a notice, characters: about four minutes of speech.
pub const TEXT_CHARS_MAX: usize = 1_000;

/// Recordings that are taken at the same time; each holds up to 20 MB.
const RECORDINGS_AT_ONCE_MAX: usize = 8;

/// What the room needs of the hub.
#[derive(Clone, Debug)]
pub struct VoiceRoom {
    store: Store,
    content: Content,
    voice: Arc<dyn Voice>,
    /// Places for recordings on their way in.
    arriving: Arc<Semaphore>,
    /// One sound is levelled at a time: it takes a processor whole, and ten times its length in memory.
    levelling: Arc<Semaphore>,
}

impl VoiceRoom {
    /// A room that keeps sounds here and speaks with this voice.
    pub fn new(store: Store, content: Content, voice: Arc<dyn Voice>) -> Self {
        let arriving = Arc::new(Semaphore::new(RECORDINGS_AT_ONCE_MAX));
        Self { store, content, voice, arriving, levelling: Arc::new(Semaphore::new(1)) }
    }

    /// Speaks a text of the hub's own.
    ///
    /// # Errors
    /// See [`VoiceError`].
    pub async fn spoken(&self, text: &str) -> Result<Sound, VoiceError> {
        speak(self.voice.as_ref(), text).await
    }
}

/// An engine that speaks Mandarin.
#[async_trait::async_trait]
pub trait Voice: std::fmt::Debug + Send + Sync {
    /// Speaks a text whose figures are written out already.
    ///
    /// # Errors
    /// When the engine fails, hangs, or says nothing.
    async fn say(&self, written_out: &str) -> Result<Sound, VoiceError>;
}

/// Why a text was not spoken.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// Empty, or longer than [`TEXT_CHARS_MAX`].
    #[error("a notice has 1 to {TEXT_CHARS_MAX} characters; this one has {0}")]
    Length(usize),
    /// The engine.
    #[error("the voice does not work: {0}")]
    Engine(String),
    /// What the engine said is no sound.
    #[error(transparent)]
    Sound(#[from] SoundError),
}

/// Speaks a notice as it will be heard: figures written out, at the loudness of everything that is played.
///
/// # Errors
/// See [`VoiceError`].
pub async fn speak(voice: &dyn Voice, text: &str) -> Result<Sound, VoiceError> {
    let text = text.trim();
    let length = text.chars().count();
    if !(1..=TEXT_CHARS_MAX).contains(&length) {
        return Err(VoiceError::Length(length));
    }
    let sound = voice.say(&words::written_out(text)).await?;
    Ok(sound.levelled()?)
}
