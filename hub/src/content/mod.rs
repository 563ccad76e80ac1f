//! Content: files by the SHA-256 of their bytes.
//!
//! Gateways bring evidence and fetch notices (`http.rs`, on the gateways' own door); the hub writes exports and notices
//! itself ([`Content::draft`]). A content becomes visible when its bytes are whole, checked against its name and on disk,
//! and its row is committed; then [`Content::arrivals`] says so. The bytes lie on the [`shelf`]; what is known of them, in
//! the tables.
//!
//! Who needs a content says so with [`link`], in its own transaction and even before the content has arrived; what nobody
//! links, or whose links have all expired, goes after some days (`task.rs`). Each site has a budget, and the disk keeps
//! some room free for the ledger: at either bound an upload is refused with its reason, and the gateway keeps the file.

mod http;
mod shelf;
mod store;
mod task;
#[cfg(test)]
mod tests;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, broadcast};
use tongluo_protocols::content::{CONTENT_BYTES_MAX, ContentHash, MediaType};

use crate::config::ContentConfig;
use crate::ids::{self, SiteId};
use crate::store::Store;

pub use http::gateway_routes;
pub use task::run;

pub(crate) use shelf::WHOLE;

use shelf::{Reading, Shelf};
use upload::Turns;

/// Arrivals that a slow listener may fall behind. One that lags asks the table.
const ARRIVALS_MAX: usize = 1_024;
const MIB: u64 = 1024 * 1024;

/// Who may read a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The hub alone, for people whose rights it has checked: evidence, exports.
    Hub,
    /// Gateways that were told of it, as [`Told`] knows: notices, and the sounds that they have at hand.
    Gateways,
}

impl Audience {
    const fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Gateways => "gateways",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Hub, Self::Gateways].into_iter().find(|audience| audience.name() == name)
    }
}

/// Knows which contents a gateway was told of, by an order or in its configuration. Others are not there for it: a hash is no
/// secret, and a notice is for its own villages.
#[async_trait]
pub trait Told: Send + Sync + 'static {
    /// Whether this site's gateway may fetch this content.
    ///
    /// # Errors
    /// The database's.
    async fn was_told(&self, site: &SiteId, hash: &ContentHash) -> Result<bool, sqlx::Error>;
}

/// What is known of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub media_type: MediaType,
    /// Who may read it.
    pub audience: Audience,
    /// The site that brought it first; `None`: made here.
    pub origin: Option<SiteId>,
    /// When it was whole.
    pub received_ms: i64,
}

impl Stat {
    /// Whether this site brought it. To any other it is as if it were not here.
    fn is_from(&self, site: &SiteId) -> bool {
        self.origin.as_ref() == Some(site)
    }
}

/// All contents. Clones share them.
#[derive(Clone, Debug)]
pub struct Content(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    shelf: Shelf,
    config: ContentConfig,
    arrivals: broadcast::Sender<ContentHash>,
    /// Held while a file and its row appear or disappear together, so that neither is ever judged by half.
    settling: Mutex<()>,
    turns: Turns,
    /// For want of room, since the start.
    uploads_refused: AtomicU64,
}

impl Content {
    /// Opens the contents.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(store: Store, data_dir: &Path, config: &ContentConfig) -> anyhow::Result<Self> {
        let shelf = Shelf::open(&folder(data_dir, config))?;
        Ok(Self(Arc::new(Inner {
            store,
            shelf,
            config: config.clone(),
            arrivals: broadcast::Sender::new(ARRIVALS_MAX),
            settling: Mutex::new(()),
            turns: Turns::default(),
            uploads_refused: AtomicU64::new(0),
        })))
    }

    /// Hashes of contents as they become whole. After `Lagged`, ask [`Content::stat`].
    pub fn arrivals(&self) -> broadcast::Receiver<ContentHash> {
        self.0.arrivals.subscribe()
    }

    /// What is known of a content; `None`: it is not here, or not yet whole.
    ///
    /// # Errors
    /// The database's.
    pub async fn stat(&self, hash: &ContentHash) -> Result<Option<Stat>, sqlx::Error> {
        store::stat(self.0.store.reader(), hash).await
    }

    /// Reads a content, or a part of it, as a stream of bytes. `None`: it is not here.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(
        &self,
        hash: &ContentHash,
        range: Option<std::ops::Range<u64>>,
    ) -> anyhow::Result<Option<Reading>> {
        self.0.shelf.read(hash, range).await
    }

    /// Keeps what the hub made, whole and at once.
    ///
    /// # Errors
    /// See [`Draft`].
    pub async fn put(
        &self,
        now_ms: i64,
        bytes: &[u8],
        media_type: MediaType,
        audience: Audience,
    ) -> anyhow::Result<ContentHash> {
        let mut draft = self.draft(media_type, audience).await?;
        draft.write(bytes).await?;
        draft.finish(now_ms).await
    }

    /// Begins a content that the hub writes bit by bit.
    ///
    /// # Errors
    /// There is no room, or the file cannot be made.
    pub async fn draft(&self, media_type: MediaType, audience: Audience) -> anyhow::Result<Draft> {
        self.room_for(0)?;
        let path = self.0.shelf.own(&ids::opaque());
        let folder = path.parent().context("a draft lies in a folder")?;
        tokio::fs::create_dir_all(folder).await.with_context(|| format!("cannot make {}", folder.display()))?;
        let file = File::create_new(&path).await.with_context(|| format!("cannot write {}", path.display()))?;
        let content = self.clone();
        Ok(Draft { content, media_type, audience, path, file, sha256: Sha256::new(), bytes: 0 })
    }

    /// A file without a name, for what is written before it is known how it begins. It goes when it is dropped, and with the
    /// process.
    ///
    /// # Errors
    /// There is no room, or the file cannot be made.
    pub async fn scratch(&self) -> anyhow::Result<File> {
        self.room_for(0)?;
        let path = self.0.shelf.own(&ids::opaque());
        let folder = path.parent().context("a scratch file lies in a folder")?;
        tokio::fs::create_dir_all(folder).await.with_context(|| format!("cannot make {}", folder.display()))?;
        let mut options = tokio::fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path).await;
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        tokio::fs::remove_file(&path).await.with_context(|| format!("cannot remove {}", path.display()))?;
        Ok(file)
    }

    /// Counts for `/metrics`: contents and their bytes.
    ///
    /// # Errors
    /// The database's.
    pub async fn totals(&self) -> Result<(i64, i64), sqlx::Error> {
        store::totals(self.0.store.reader()).await
    }

    /// Uploads from gateways under way, for `/metrics`.
    pub fn uploads(&self) -> usize {
        self.0.turns.count()
    }

    /// Uploads refused for want of room since the start, for `/metrics`.
    pub fn uploads_refused(&self) -> u64 {
        self.0.uploads_refused.load(Ordering::Relaxed)
    }

    /// Refuses when the disk would be left with less room than it is to keep.
    fn room_for(&self, bytes: u64) -> anyhow::Result<()> {
        let free = self.0.shelf.free_bytes().context("the disk does not say how much room it has")?;
        let wanted = (self.0.config.keep_free_mib * MIB).saturating_add(bytes);
        anyhow::ensure!(free >= wanted, "the disk has {} MiB free and {} MiB are needed", free / MIB, wanted / MIB);
        Ok(())
    }

    /// Makes a whole, checked and synced file a content.
    async fn settle(&self, path: &Path, hash: &ContentHash, stat: &Stat) -> anyhow::Result<()> {
        let settling = self.0.settling.lock().await;
        self.0.shelf.keep(path, hash).await?;
        let mut transaction = self.0.store.begin().await?;
        store::insert(&mut transaction, hash, stat).await?;
        transaction.commit().await?;
        drop(settling);
        // Nobody listens while the hub starts; whoever does later asks the table first.
        let _ = self.0.arrivals.send(*hash);
        Ok(())
    }
}

/// Where contents lie.
pub fn folder(data_dir: &Path, config: &ContentConfig) -> PathBuf {
    config.folder.clone().unwrap_or_else(|| data_dir.join("content"))
}

/// Keeps a content until a moment, in the caller's transaction; the content may arrive later. The same subject again
/// replaces the moment.
///
/// # Errors
/// The database's.
pub async fn link(
    connection: &mut AnyConnection,
    hash: &ContentHash,
    subject: &str,
    expires_ms: i64,
) -> Result<(), sqlx::Error> {
    store::link(connection, hash, subject, expires_ms).await
}

/// Gives up everything that a subject keeps.
///
/// # Errors
/// The database's.
pub async fn unlink(connection: &mut AnyConnection, subject: &str) -> Result<(), sqlx::Error> {
    store::unlink(connection, subject).await
}

/// A content that the hub is writing. Dropped unfinished, it leaves a file that goes within days.
#[derive(Debug)]
pub struct Draft {
    content: Content,
    media_type: MediaType,
    audience: Audience,
    path: PathBuf,
    file: File,
    sha256: Sha256,
    bytes: u64,
}

impl Draft {
    /// Writes on.
    ///
    /// # Errors
    /// It grows beyond [`CONTENT_BYTES_MAX`], or there is no room.
    pub async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.bytes += bytes.len() as u64;
        anyhow::ensure!(self.bytes <= CONTENT_BYTES_MAX, "a content may have {CONTENT_BYTES_MAX} bytes at most");
        self.content.room_for(0)?;
        self.sha256.update(bytes);
        self.file.write_all(bytes).await.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it a content.
    ///
    /// # Errors
    /// The disk's and the database's.
    pub async fn finish(mut self, now_ms: i64) -> anyhow::Result<ContentHash> {
        self.file.flush().await.context("a draft cannot be written")?;
        self.file.sync_all().await.context("a draft cannot be synced")?;
        let hash = ContentHash::new(self.sha256.clone().finalize().into());
        let stat = Stat {
            bytes: self.bytes,
            media_type: self.media_type,
            audience: self.audience,
            origin: None,
            received_ms: now_ms,
        };
        self.content.settle(&self.path, &hash, &stat).await?;
        Ok(hash)
    }
}
