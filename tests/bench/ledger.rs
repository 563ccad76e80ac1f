//! Sees when a press has been committed: a reader of its own on the hub's ledger.
//!
//! SQLite shows a transaction to other connections only after its pages were synced to the log, so a press that this reader
//! sees is on disk. It looks about every tenth of a millisecond, which is added to what is measured, never taken from it, and
//! costs the machine a few per cent of one core.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tongluo_tests::clock;

/// Between two looks; the kernel adds about as much.
const STEP: Duration = Duration::from_micros(50);
/// A press that takes longer is a failure of the bench, not a figure.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reader, on a thread of its own. It ends with this value.
pub(crate) struct Ledger {
    armed: mpsc::Sender<()>,
    seen: UnboundedReceiver<Instant>,
}

impl Ledger {
    /// Opens the ledger of a running hub.
    ///
    /// # Errors
    /// There is no ledger.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = open(path)?;
        // Known before the first press is made, so that none can be missed, however late the thread wakes.
        let mut known = newest(&connection)?;
        let (armed, arming) = mpsc::channel();
        let (see, seen) = unbounded_channel();
        std::thread::spawn(move || {
            while arming.recv().is_ok() {
                // A failed look leaves no moment, and whoever waits runs out of patience.
                let Ok(at) = watch(&connection, &mut known) else { return };
                if see.send(at).is_err() {
                    return;
                }
            }
        });
        Ok(Self { armed, seen })
    }

    /// Looks from now on for the next press.
    pub(crate) fn arm(&self) {
        // The thread lives as long as its receiver is wanted.
        let _ = self.armed.send(());
    }

    /// When the press was seen for which [`Ledger::arm`] looks.
    ///
    /// # Errors
    /// None was committed.
    pub(crate) async fn committed(&mut self) -> Result<Instant> {
        let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await.context("the press is not in the ledger")?;
        seen.context("the ledger cannot be read")
    }
}

/// A connection that only reads.
///
/// # Errors
/// There is no ledger.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Entries in the ledger, and how many of them are presses.
///
/// # Errors
/// The ledger cannot be read.
pub(crate) fn counts(connection: &Connection) -> Result<(u64, u64)> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    Ok((count("select count(*) from entry")? as u64, count("select count(*) from press")? as u64))
}

fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("select coalesce(max(rowid), 0) from press")?.query_row([], |row| row.get(0))
}

fn watch(connection: &Connection, known: &mut i64) -> rusqlite::Result<Instant> {
    loop {
        let newest = newest(connection)?;
        if newest > *known {
            *known = newest;
            return Ok(clock::now());
        }
        std::thread::sleep(STEP);
    }
}
