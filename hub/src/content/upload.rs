//! One upload of one gateway: bytes appended to a partial file until it is whole.
//!
//! An upload may break at any byte and go on from there on another connection, days later. At most one at a time writes
//! a file: a later one of the same site and content makes the earlier one stop, because the later one is the connection
//! that still lives.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tongluo_protocols::content::{ContentHash, MediaType};

use super::{Audience, Content, MIB, Stat, shelf, store};
use crate::ids::SiteId;

/// A gateway that sends nothing for this long has gone; what it sent is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Gathered before it is written: a disk prefers few large writes.
const WRITE_BYTES: usize = 256 * 1024;
/// Files that one site may have begun. Its gateway brings them one after another; the rest is what it gave up.
const PARTIALS_PER_SITE_MAX: usize = 64;

/// What an upload is to become.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) site: SiteId,
    pub(super) hash: ContentHash,
    pub(super) bytes: u64,
    pub(super) media_type: MediaType,
}

/// How an upload ended for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The content is here, whole and checked.
    Whole,
    /// So many bytes are here; it goes on from there.
    Partial(u64),
}

/// Why an upload was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It must go on from here.
    #[error("it goes on at byte {0}")]
    Offset(u64),
    /// More bytes came than were announced; what was here is gone.
    #[error("it is longer than was announced")]
    TooLong,
    /// The bytes do not have that hash; they are gone.
    #[error("its hash is another")]
    WrongHash,
    /// The site's budget or its count of begun files.
    #[error("the site may bring no more")]
    SiteFull,
    /// The hub's disk.
    #[error("there is no room")]
    NoRoom,
    /// The hub itself failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom,
            _ => Self::Failed(anyhow::Error::new(error).context("an upload cannot be written")),
        }
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// How many bytes of an upload are here.
pub(super) async fn held_bytes(content: &Content, site: &SiteId, hash: &ContentHash) -> io::Result<u64> {
    length_of(&content.0.shelf.partial(site, hash)).await
}

async fn length_of(path: &std::path::Path) -> io::Result<u64> {
    match tokio::fs::metadata(path).await {
        Ok(file) => Ok(file.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Takes an upload from `offset` on, to its end or as far as it comes. Runs to its own end even when the asker is gone, so
/// that every byte that was taken is in the file before anybody looks at its length.
pub(super) async fn take(
    content: &Content,
    wanted: Wanted,
    offset: u64,
    body: Body,
    now_ms: i64,
) -> Result<Outcome, Refused> {
    let (counted, content) = (content, content.clone());
    let work = async move { take_now(&content, &wanted, offset, body, now_ms).await };
    let outcome = tokio::spawn(work).await.map_err(|error| Refused::Failed(error.into()))?;
    if let Err(Refused::SiteFull | Refused::NoRoom) = &outcome {
        counted.0.uploads_refused.fetch_add(1, Ordering::Relaxed);
    }
    outcome
}

async fn take_now(
    content: &Content,
    wanted: &Wanted,
    offset: u64,
    body: Body,
    now_ms: i64,
) -> Result<Outcome, Refused> {
    let mut turn = content.0.turns.take(wanted).await;
    // The one before may just have made it whole.
    if content.stat(&wanted.hash).await?.is_some_and(|stat| stat.is_from(&wanted.site)) {
        return Ok(Outcome::Whole);
    }
    let path = content.0.shelf.partial(&wanted.site, &wanted.hash);
    let held = length_of(&path).await?;
    if held > wanted.bytes {
        tokio::fs::remove_file(&path).await?;
        return Err(Refused::Offset(0));
    }
    if offset != held {
        return Err(Refused::Offset(held));
    }
    admit(content, wanted, held).await?;
    let held = append(content, wanted, &path, held, body.into_data_stream(), &mut turn).await?;
    if held < wanted.bytes {
        return Ok(Outcome::Partial(held));
    }
    complete(content, wanted, path, now_ms).await?;
    Ok(Outcome::Whole)
}

/// Whether there is room for the rest, here and in the site's budget.
async fn admit(content: &Content, wanted: &Wanted, held: u64) -> Result<(), Refused> {
    let (files, partial_bytes) = content.0.shelf.partials_of(&wanted.site)?;
    let whole_bytes = store::bytes_of(content.0.store.reader(), &wanted.site).await?;
    let rest = wanted.bytes - held;
    let too_many = held == 0 && files >= PARTIALS_PER_SITE_MAX;
    if too_many || whole_bytes + partial_bytes + rest > content.0.config.site_budget_mib * MIB {
        tracing::warn!(site.id = %wanted.site, content.bytes = whole_bytes + partial_bytes, "A site may bring no more content");
        return Err(Refused::SiteFull);
    }
    check_room(content, rest)
}

fn check_room(content: &Content, bytes: u64) -> Result<(), Refused> {
    content.room_for(bytes).map_err(|error| {
        tracing::warn!(error = format!("{error:#}"), "Content from a gateway is refused");
        Refused::NoRoom
    })
}

/// Appends the body; answers how many bytes are held when it ends, breaks, pauses for long, or another takes over.
async fn append(
    content: &Content,
    wanted: &Wanted,
    path: &std::path::Path,
    mut held: u64,
    mut body: BodyDataStream,
    turn: &mut Turn,
) -> Result<u64, Refused> {
    let folder = path.parent().ok_or_else(|| anyhow::anyhow!("a partial file lies in a folder"))?;
    tokio::fs::create_dir_all(folder).await?;
    let file = File::options().create(true).append(true).open(path).await?;
    let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
    let mut checked = held;
    while let Some(chunk) = next(&mut body, turn).await {
        held += chunk.len() as u64;
        if held > wanted.bytes {
            drop(file);
            tokio::fs::remove_file(path).await?;
            return Err(Refused::TooLong);
        }
        if held - checked >= MIB {
            checked = held;
            check_room(content, 0)?;
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(held)
}

/// The next bytes; `None` when there are no more for whatever reason.
async fn next(body: &mut BodyDataStream, turn: &mut Turn) -> Option<Bytes> {
    tokio::select! {
        chunk = tokio::time::timeout(IDLE_TIMEOUT, body.next()) => chunk.ok()??.ok(),
        () = turn.over() => None,
    }
}

async fn complete(content: &Content, wanted: &Wanted, path: PathBuf, now_ms: i64) -> Result<(), Refused> {
    if shelf::hash_and_sync(path.clone()).await? != wanted.hash {
        tokio::fs::remove_file(&path).await?;
        tracing::warn!(site.id = %wanted.site, content.hash = %wanted.hash, "An upload was not what its name says");
        return Err(Refused::WrongHash);
    }
    let stat = Stat {
        bytes: wanted.bytes,
        media_type: wanted.media_type,
        audience: Audience::Hub,
        origin: Some(wanted.site.clone()),
        received_ms: now_ms,
    };
    content.settle(&path, &wanted.hash, &stat).await?;
    tracing::info!(site.id = %wanted.site, content.hash = %wanted.hash, content.bytes = wanted.bytes, "Content has arrived");
    Ok(())
}

type Key = (SiteId, ContentHash);

/// Who writes which partial file.
#[derive(Debug, Default)]
pub(super) struct Turns(Arc<StdMutex<HashMap<Key, Arc<Place>>>>);

#[derive(Debug)]
struct Place {
    /// The number of the newest upload: whoever has a lower one stops.
    newest: watch::Sender<u64>,
    writing: Arc<Mutex<()>>,
}

/// The right to write one partial file, until a newer upload wants it.
#[derive(Debug)]
struct Turn {
    turns: Arc<StdMutex<HashMap<Key, Arc<Place>>>>,
    key: Key,
    number: u64,
    newest: watch::Receiver<u64>,
    _writing: OwnedMutexGuard<()>,
}

impl Turns {
    /// Uploads under way.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Tells whoever writes now to stop, and waits until it has.
    async fn take(&self, wanted: &Wanted) -> Turn {
        let key = (wanted.site.clone(), wanted.hash);
        let place = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let made = || Arc::new(Place { newest: watch::Sender::new(0), writing: Arc::default() });
            Arc::clone(places.entry(key.clone()).or_insert_with(made))
        };
        let mut number = 0;
        place.newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        let newest = place.newest.subscribe();
        let writing = Arc::clone(&place.writing).lock_owned().await;
        Turn { turns: Arc::clone(&self.0), key, number, newest, _writing: writing }
    }
}

impl Turn {
    /// Ends when a newer upload wants the file.
    async fn over(&mut self) {
        let number = self.number;
        if self.newest.wait_for(|newest| *newest > number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut places = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody came after this one: the place is not needed any more.
        if places.get(&self.key).is_some_and(|place| *place.newest.borrow() == self.number) {
            places.remove(&self.key);
        }
    }
}
