//! The sounds at hand: WAV files under their SHA-256, fetched from the hub when somebody wants them.
//!
//! What the configuration names is fetched as soon as the line allows and is never thrown away while it is named, so that it is
//! there when the line is cut. The rest goes, what was used longest ago first, when there is too much of it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot, watch};
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::content::ContentHash;
use tongluo_protocols::id::ContentId;

use crate::clock::Clock;
use crate::fleet::Identity;
use crate::media::HubClient;

/// All sounds together: two hours of recordings, and little beside what a camera takes.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The longest sound: ten minutes at 16,000 samples a second.
pub(crate) const SOUND_BYTES_MAX: u64 = 20 * 1024 * 1024;
/// Who waits for a sound. More at a time are refused.
const WANTED_MAX: usize = 32;
/// What ends the name of a file that is not whole.
const PART: &str = "part";
/// Read at once while a hash is taken.
const CHUNK_BYTES: usize = 64 * 1024;
/// Pause before what the configuration names is tried again.
const PAUSE_MS: (u64, u64) = (5_000, 300_000);

type Wanted = (ContentId, u64, oneshot::Sender<Result<PathBuf, String>>);

/// A handle to the sounds.
#[derive(Clone)]
pub(crate) struct Sounds {
    folder: PathBuf,
    wanted: mpsc::Sender<Wanted>,
}

impl Sounds {
    /// Opens the folder; [`Keeper::run`] does the work.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(folder: &Path, data_dir: &Path, clock: Clock) -> anyhow::Result<(Self, Keeper)> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let (wanted, inbox) = mpsc::channel(WANTED_MAX);
        let keeper = Keeper { folder: folder.to_owned(), data_dir: data_dir.to_owned(), clock, inbox };
        Ok((Self { folder: folder.to_owned(), wanted }, keeper))
    }

    /// Sounds that lie in a folder, and nobody who fetches more.
    #[cfg(test)]
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), wanted: mpsc::channel(1).0 }
    }

    /// Where they lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a sound is at hand.
    pub(crate) fn has(&self, content: ContentId) -> bool {
        self.folder.join(content.to_string()).exists()
    }

    /// A sound's file, fetched and checked if it is not at hand.
    ///
    /// # Errors
    /// Why there is none, as a sentence. Another try goes on where this one broke off.
    pub(crate) async fn get(&self, content: ContentId, bytes: u64) -> Result<PathBuf, String> {
        let (reply, answer) = oneshot::channel();
        self.wanted.try_send((content, bytes, reply)).map_err(|_| "too many sounds are being fetched".to_owned())?;
        answer.await.map_err(|_| "the program is ending".to_owned())?
    }
}

/// Fetches, keeps and throws away.
pub(super) struct Keeper {
    folder: PathBuf,
    data_dir: PathBuf,
    clock: Clock,
    inbox: mpsc::Receiver<Wanted>,
}

impl Keeper {
    /// Works until nobody holds a handle any more.
    pub(super) async fn run(mut self, mut configurations: watch::Receiver<Arc<Configuration>>) {
        let mut look_at_ms = Some(self.clock.mono_ms());
        let mut pause_ms = PAUSE_MS.0;
        loop {
            tokio::select! {
                biased;
                wanted = self.inbox.recv() => {
                    let Some((content, bytes, reply)) = wanted else { return };
                    let named = named(&configurations);
                    let _ = reply.send(self.get(content, bytes, &named).await);
                }
                Ok(()) = configurations.changed() => {
                    look_at_ms = Some(self.clock.mono_ms());
                    pause_ms = PAUSE_MS.0;
                }
                () = self.clock.until(look_at_ms) => {
                    let configuration = configurations.borrow_and_update().clone();
                    look_at_ms = match self.fetch_named(&configuration).await {
                        Ok(()) => None,
                        Err(error) => {
                            tracing::warn!(sound.error = error, "a sound that should be at hand cannot be fetched");
                            let at_ms = self.clock.mono_ms() + pause_ms;
                            pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
                            Some(at_ms)
                        }
                    };
                }
            }
        }
    }

    async fn fetch_named(&self, configuration: &Configuration) -> Result<(), String> {
        let keep: BTreeSet<ContentId> = configuration.sounds.iter().map(|sound| sound.content).collect();
        let mut failed = Ok(());
        for sound in &configuration.sounds {
            if let Err(error) = self.get(sound.content, sound.bytes, &keep).await {
                failed = Err(format!("{}: {error}", sound.name));
            }
        }
        failed
    }

    async fn get(&self, content: ContentId, bytes: u64, keep: &BTreeSet<ContentId>) -> Result<PathBuf, String> {
        let path = self.folder.join(content.to_string());
        if let Ok(file) = std::fs::File::options().append(true).open(&path) {
            // Its time says when it was last wanted. A disk that refuses that only throws it away earlier.
            let _ = file.set_modified(self.now());
            return Ok(path);
        }
        if bytes > SOUND_BYTES_MAX {
            return Err(format!("a sound of {bytes} bytes is longer than may be ({SOUND_BYTES_MAX})"));
        }
        let identity = Identity::load(&self.data_dir).map_err(|error| error.to_string())?;
        let identity = identity.ok_or("this gateway is not enrolled")?;
        let part = path.with_extension(PART);
        let client = HubClient::new(&identity, self.clock).map_err(|error| format!("{error:#}"))?;
        let hash = ContentHash::new(content.0);
        client.get(&part, &hash, bytes).await.map_err(|error| error.to_string())?;
        let io = |error: std::io::Error| format!("the disk: {error}");
        if sha256_of(&part).map_err(io)? != content {
            let _ = std::fs::remove_file(&part);
            return Err("what was fetched has another hash".to_owned());
        }
        std::fs::rename(&part, &path).map_err(io)?;
        self.make_room(content, keep).map_err(io)?;
        tracing::info!(sound.hash = %content, sound.bytes = bytes, "a sound is at hand");
        Ok(path)
    }

    /// Throws away what was used longest ago, but not the newest and not what is to be kept.
    fn make_room(&self, newest: ContentId, keep: &BTreeSet<ContentId>) -> std::io::Result<()> {
        let mut files = Vec::new();
        for file in std::fs::read_dir(&self.folder)? {
            let file = file?;
            let facts = file.metadata()?;
            files.push((facts.modified().unwrap_or(SystemTime::UNIX_EPOCH), facts.len(), file.path()));
        }
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        let kept: BTreeSet<String> = keep.iter().chain([&newest]).map(ToString::to_string).collect();
        for (_, length, path) in files {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if bytes <= BYTES_MAX || kept.contains(name) {
                continue;
            }
            std::fs::remove_file(&path)?;
            bytes -= length;
        }
        Ok(())
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(self.clock.utc_ms().max(0).unsigned_abs())
    }
}

fn named(configurations: &watch::Receiver<Arc<Configuration>>) -> BTreeSet<ContentId> {
    configurations.borrow().sounds.iter().map(|sound| sound.content).collect()
}

fn sha256_of(path: &Path) -> std::io::Result<ContentId> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(ContentId(hash.finalize().into()));
        }
        hash.update(&chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn keeper(dir: &TempDir) -> (Sounds, Keeper) {
        Sounds::open(&dir.path().join("sounds"), dir.path(), Clock::start()).unwrap()
    }

    #[tokio::test]
    async fn what_is_at_hand_needs_no_hub_and_what_is_not_says_why() {
        let dir = TempDir::new("at-hand");
        let (sounds, keeper) = keeper(&dir);
        let content = ContentId([7; 32]);
        assert!(!sounds.has(content));
        let none = BTreeSet::new();
        assert_eq!(keeper.get(content, 9, &none).await.unwrap_err(), "this gateway is not enrolled");
        assert!(keeper.get(content, SOUND_BYTES_MAX + 1, &none).await.unwrap_err().contains("longer than may be"));
        std::fs::write(sounds.folder().join(content.to_string()), b"RIFF").unwrap();
        assert!(sounds.has(content));
        assert!(keeper.get(content, 4, &none).await.is_ok());
    }

    #[test]
    fn the_oldest_go_first_and_what_is_named_stays() {
        let dir = TempDir::new("room");
        let (sounds, keeper) = keeper(&dir);
        let file = |number: u8, age_s: u64| {
            let path = sounds.folder().join(ContentId([number; 32]).to_string());
            let file = std::fs::File::create(&path).unwrap();
            // Holes take no room on the disk.
            file.set_len(BYTES_MAX / 4).unwrap();
            file.set_modified(keeper.now() - std::time::Duration::from_secs(age_s)).unwrap();
        };
        for (number, age_s) in [(1, 50), (2, 40), (3, 30), (4, 20), (5, 10), (6, 0)] {
            file(number, age_s);
        }
        keeper.make_room(ContentId([6; 32]), &BTreeSet::from([ContentId([1; 32])])).unwrap();
        let left: Vec<u8> = (1..=6).filter(|number| sounds.has(ContentId([*number; 32]))).collect();
        assert_eq!(left, [1, 4, 5, 6]);
    }
}
