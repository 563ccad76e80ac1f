//! Where the bytes lie: whole contents in an object store, partial ones in a folder beside it.
//!
//! | under the folder | holds |
//! | --- | --- |
//! | `whole/ab/abcd…` | a content, named by its hash, never changed |
//! | `partial/{site}/abcd…` | what has arrived of an upload; its length is the offset at which it goes on |
//! | `partial/hub/{random}` | what the hub itself is writing |
//!
//! Partial files are appended to, which object stores cannot; so they are files in every configuration, and a content is
//! moved over when it is whole. With the file system that is a rename. Nothing but this file knows which store it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use nix::sys::statvfs::statvfs;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use tongluo_protocols::content::ContentHash;

use crate::ids::SiteId;

/// The folder of whole contents.
pub(crate) const WHOLE: &str = "whole";
const PARTIAL: &str = "partial";
/// The folder of what the hub itself writes. No site id looks like it.
const OWN: &str = "hub";
/// Read at once when a hash is computed.
const HASH_CHUNK_BYTES: usize = 256 * 1024;

/// Whole contents and partial ones.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    objects: Arc<dyn ObjectStore>,
}

/// The bytes of a content as they are read.
pub(super) type Reading = BoxStream<'static, io::Result<Bytes>>;

impl Shelf {
    /// Opens the folder, and makes it if it is not there.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        for name in [WHOLE, PARTIAL] {
            std::fs::create_dir_all(folder.join(name))
                .with_context(|| format!("cannot make {} for content", folder.join(name).display()))?;
        }
        // What was acknowledged to a gateway must outlive a power cut: it deletes its own copy some day.
        let objects = LocalFileSystem::new_with_prefix(folder)
            .with_context(|| format!("cannot use {} for content", folder.display()))?
            .with_fsync(true);
        Ok(Self { folder: folder.to_owned(), objects: Arc::new(objects) })
    }

    /// Bytes that are free on the disk where uploads are written.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let disk = statvfs(&self.folder).map_err(io::Error::from)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    /// Where a site's upload is written.
    pub(super) fn partial(&self, site: &SiteId, hash: &ContentHash) -> PathBuf {
        self.folder.join(PARTIAL).join(site.as_str()).join(hash.to_string())
    }

    /// Where the hub itself writes.
    pub(super) fn own(&self, name: &str) -> PathBuf {
        self.folder.join(PARTIAL).join(OWN).join(name)
    }

    /// How many partial uploads a site has, and their bytes.
    pub(super) fn partials_of(&self, site: &SiteId) -> io::Result<(usize, u64)> {
        let files = match std::fs::read_dir(self.folder.join(PARTIAL).join(site.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
            files => files?,
        };
        files.into_iter().try_fold((0, 0), |(count, bytes), file| Ok((count + 1, bytes + file?.metadata()?.len())))
    }

    /// Takes a whole, checked and synced file over from where it was written.
    pub(super) async fn keep(&self, partial: &Path, hash: &ContentHash) -> anyhow::Result<()> {
        let from = partial.strip_prefix(&self.folder).context("partial files lie in the content's folder")?;
        let from = Location::from_iter(from.iter().map(|part| part.to_string_lossy().into_owned()));
        self.objects.rename(&from, &location(hash)).await.with_context(|| format!("cannot keep {hash}"))
    }

    /// Reads a content, or a part of it. `None`: its bytes are gone.
    pub(super) async fn read(
        &self,
        hash: &ContentHash,
        range: Option<std::ops::Range<u64>>,
    ) -> anyhow::Result<Option<Reading>> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        match self.objects.get_opts(&location(hash), options).await {
            Ok(found) => Ok(Some(found.into_stream().map_err(io::Error::other).boxed())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(anyhow::Error::new(error).context(format!("cannot read {hash}"))),
        }
    }

    /// Whether a content's bytes are here.
    pub(super) async fn holds(&self, hash: &ContentHash) -> anyhow::Result<bool> {
        match self.objects.head(&location(hash)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(anyhow::Error::new(error).context(format!("cannot look for {hash}"))),
        }
    }

    /// Removes a content's bytes; that they are gone already is fine.
    pub(super) async fn remove(&self, hash: &ContentHash) -> anyhow::Result<()> {
        match self.objects.delete(&location(hash)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(anyhow::Error::new(error).context(format!("cannot remove {hash}"))),
        }
    }

    /// Every whole content that lies here, whatever the tables say.
    pub(super) fn all(&self) -> BoxStream<'static, anyhow::Result<ContentHash>> {
        let listed = self.objects.list(Some(&Location::from(WHOLE)));
        listed
            .map_err(|error| anyhow::Error::new(error).context("cannot list the contents"))
            .try_filter_map(|object| async move { Ok(object.location.filename().and_then(ContentHash::parse)) })
            .boxed()
    }

    /// Removes partial files that nobody has written to since a moment, in UTC milliseconds; answers how many.
    pub(super) fn remove_partials(&self, before_ms: i64) -> io::Result<usize> {
        let before = UNIX_EPOCH + Duration::from_millis(u64::try_from(before_ms).unwrap_or(0));
        let mut removed = 0;
        for folder in std::fs::read_dir(self.folder.join(PARTIAL))? {
            for file in std::fs::read_dir(folder?.path())? {
                let file = file?;
                if file.metadata()?.modified()? < before {
                    std::fs::remove_file(file.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

fn location(hash: &ContentHash) -> Location {
    let name = hash.to_string();
    Location::from_iter([WHOLE, &name[..2], &name])
}

/// The SHA-256 of a file, which is synced to disk on the way.
pub(super) async fn hash_and_sync(path: PathBuf) -> io::Result<ContentHash> {
    let work = move || {
        let file = std::fs::File::open(path)?;
        file.sync_all()?;
        let (mut file, mut sha256, mut chunk) = (file, Sha256::new(), vec![0; HASH_CHUNK_BYTES]);
        loop {
            match io::Read::read(&mut file, &mut chunk)? {
                0 => return Ok(ContentHash::new(sha256.finalize().into())),
                length => sha256.update(&chunk[..length]),
            }
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
