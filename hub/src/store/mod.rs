//! Where the hub keeps what it knows: SQLite by default, PostgreSQL by configuration, one code path for both.
//!
//! Rooms write their own SQL beside their own rules; this one opens the database, brings it up to date and hands out
//! transactions. On SQLite there is one writing connection (its commits are the hub's heartbeat, each one synced to
//! disk) and several readers; on PostgreSQL both come from one pool. SQL must stay within what both understand: `$1`
//! placeholders, `on conflict`, `returning`, and only bigint, double precision, text and blob columns, because sqlx's
//! `Any` driver carries no others (docs/decisions/0002-store.md).
//!
//! That driver also tells PostgreSQL that a null double is a `float4`, and PostgreSQL remembers it for as long as the
//! statement stays prepared: a number at the same place is refused from then on. A statement to which a double may be
//! bound as null is therefore not kept: `.persistent(false)`.

mod rows;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor};

pub use rows::{Values, Writes, chunks, insert_rows, parameters};

/// A transaction on either database.
pub type Transaction = sqlx::Transaction<'static, Any>;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Readers beside the one writer of SQLite. Pages read little; eight is ample and each costs a file handle and a cache.
const SQLITE_READERS_MAX: u32 = 8;
/// Connections to PostgreSQL, readers and writers together.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// Pages in the write-ahead log of SQLite after which it is folded back: 16 MB, seldom enough that an alarm rarely meets that.
const SQLITE_LOG_PAGES: usize = 4_000;
/// The log's length at that point: 4 KiB and a frame's header a page, and a large transaction beyond.
const SQLITE_LOG_BYTES: usize = (SQLITE_LOG_PAGES + 200) * (4_096 + 24);
/// How long a caller waits for a connection before the request fails as "busy".
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Which database is behind the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file beside the hub.
    Sqlite,
    /// A server.
    Postgres,
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// Path of the SQLite file; made if absent.
    Sqlite(PathBuf),
    /// `postgres://…` address.
    Postgres(String),
}

/// The hub's database.
#[derive(Clone, Debug)]
pub struct Store {
    kind: StoreKind,
    writer: AnyPool,
    reader: AnyPool,
}

impl Store {
    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    /// The database cannot be reached or opened, or holds a newer or altered schema.
    pub async fn open(location: &StoreLocation) -> Result<Self, sqlx::Error> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let store = match location {
            StoreLocation::Sqlite(path) => Self::open_sqlite(path).await?,
            StoreLocation::Postgres(address) => Self::open_postgres(address).await?,
        };
        let migrations = match store.kind {
            StoreKind::Sqlite => &SQLITE_MIGRATIONS,
            StoreKind::Postgres => &POSTGRES_MIGRATIONS,
        };
        migrations.run(&store.writer).await?;
        Ok(store)
    }

    /// The newest change of the tables that this program knows; both databases have the same.
    pub fn newest_schema() -> i64 {
        SQLITE_MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
    }

    async fn open_sqlite(path: &Path) -> Result<Self, sqlx::Error> {
        reserve_log(path)?;
        let options: AnyConnectOptions = format!("sqlite://{}?mode=rwc", path.display()).parse()?;
        let writer = sqlite_pool(1).connect_with(options.clone()).await?;
        let reader = sqlite_pool(SQLITE_READERS_MAX).connect_with(options).await?;
        Ok(Self { kind: StoreKind::Sqlite, writer, reader })
    }

    async fn open_postgres(address: &str) -> Result<Self, sqlx::Error> {
        let options: AnyConnectOptions = address.parse()?;
        let pool = AnyPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        Ok(Self { kind: StoreKind::Postgres, writer: pool.clone(), reader: pool })
    }

    /// Which database this is.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// Begins a transaction that may write. On SQLite there is one at a time; others wait their turn.
    ///
    /// # Errors
    /// No connection within ten seconds, or the database is down.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        match self.kind {
            StoreKind::Sqlite => self.writer.begin_with("begin immediate").await,
            StoreKind::Postgres => self.writer.begin().await,
        }
    }

    /// Begins a transaction for reading several things as of one moment.
    ///
    /// # Errors
    /// No connection within ten seconds, or the database is down.
    pub async fn snapshot(&self) -> Result<Transaction, sqlx::Error> {
        match self.kind {
            StoreKind::Sqlite => self.reader.begin().await,
            StoreKind::Postgres => self.reader.begin_with("begin isolation level repeatable read read only").await,
        }
    }

    /// Connections for single reads.
    pub fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

/// Gives the write-ahead log its space before the first commit needs it: syncing a file that has just grown means to write the
/// file system's own journal too, about once more the same wait. SQLite takes a log of zeros for an empty one, and keeps its
/// length until the database is closed; beside an empty database it would take the log away again.
fn reserve_log(path: &Path) -> std::io::Result<()> {
    if !path.metadata().is_ok_and(|database| database.len() > 0) {
        return Ok(());
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match File::options().write(true).create_new(true).open(&log) {
        Ok(mut log) => {
            log.write_all(&vec![0; SQLITE_LOG_BYTES])?;
            log.sync_all()
        }
        // A log that is there holds commits.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sqlite_pool(connections: u32) -> AnyPoolOptions {
    // A file does not hang up: to ask each time whether the connection lives is a call to the database's thread and back.
    let pool = AnyPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    pool.test_before_acquire(false).after_connect(|connection, _| {
        Box::pin(async move {
            // `full`: a commit that was acknowledged must outlive a power cut.
            let pragmas = format!(
                "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; \
                     pragma busy_timeout = 10000; pragma wal_autocheckpoint = {SQLITE_LOG_PAGES}; \
                     pragma cache_size = -16000;"
            );
            // Made of literals and numbers only.
            connection.execute(AssertSqlSafe(pragmas)).await?;
            Ok(())
        })
    })
}
