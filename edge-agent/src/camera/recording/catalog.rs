//! The catalogue: which segments there are, what each holds, and what must not be deleted. All of the recordings' SQL.
//!
//! One SQLite file in the recordings' folder. A file system with tens of thousands of files needs minutes to be looked through
//! after a power cut, a table none; and deletion in steps (marked, unlinked, forgotten) is what transactions are for. The
//! catalogue holds nothing that the files do not say themselves, except what is protected: if it is damaged it is set aside and
//! built anew from them. So it may lose its last transaction (`synchronous=NORMAL`): the files are looked at after each start.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tongluo_protocols::media::Quality;

use super::segment::{Entry, decode_entries, encode_entries};

/// The catalogue's file name.
pub(super) const FILE_NAME: &str = "catalogue.sqlite";

/// How long a reader waits for the writer, and the other way round, in milliseconds.
const BUSY_MS: u64 = 2_000;

/// Pages of 4 kB that are kept in memory. One read of a day's index touches about fifty.
const CACHE_KIB: i64 = 256;

const SCHEMA: &str = "
create table if not exists segment (
    id integer primary key,
    camera text not null,
    quality integer not null,      -- 0 main, 1 sub
    path text not null unique,     -- under the recordings' folder
    start_ms integer not null,     -- UTC
    end_ms integer not null,       -- UTC; of an open segment its start
    bytes integer not null,        -- of an open segment 0
    state integer not null,        -- 0 open, 1 whole, 2 about to be unlinked
    entries blob not null          -- where each fragment lies; of an open segment empty
);
create index if not exists segment_by_time on segment (camera, start_ms);
create index if not exists segment_by_age on segment (start_ms);
create table if not exists protection (
    camera text not null,
    from_ms integer not null,
    to_ms integer not null,
    until_ms integer not null,     -- not deleted before, UTC
    constraint protection_pk primary key (camera, from_ms, to_ms)
);
";

/// A segment is being written.
const OPEN: i64 = 0;
/// A segment is whole.
const WHOLE: i64 = 1;
/// A segment's file is to be unlinked.
const LEAVING: i64 = 2;

/// A segment as the catalogue knows it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) camera: String,
    pub(super) path: String,
    pub(super) start_ms: i64,
    pub(super) bytes: u64,
}

/// A whole segment with its index.
#[derive(Clone, Debug)]
pub(super) struct Indexed {
    pub(super) path: String,
    pub(super) entries: Vec<Entry>,
}

/// The open catalogue.
pub(super) struct Catalog(Connection);

impl Catalog {
    /// Opens the catalogue for its one writer. `true`: it is new, and the files must be looked through.
    pub(super) fn open(folder: &Path) -> anyhow::Result<(Self, bool)> {
        let path = folder.join(FILE_NAME);
        let existed = path.exists();
        match Self::try_open(&path) {
            Ok(catalog) => Ok((catalog, !existed)),
            Err(error) => {
                tracing::error!(
                    recording.error = format!("{error:#}"),
                    "the recordings' catalogue cannot be read; it is set aside and built anew from the files"
                );
                for suffix in ["", "-wal", "-shm"] {
                    let from = folder.join(format!("{FILE_NAME}{suffix}"));
                    let _ = std::fs::rename(&from, folder.join(format!("{FILE_NAME}{suffix}.damaged")));
                }
                Ok((Self::try_open(&path)?, true))
            }
        }
    }

    /// Opens the catalogue for a reader.
    pub(super) fn open_to_read(folder: &Path) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(folder.join(FILE_NAME), flags)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
        Ok(Self(connection))
    }

    fn try_open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.execute_batch(SCHEMA)?;
        let verdict: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
        anyhow::ensure!(verdict == "ok", "{verdict}");
        Ok(Self(connection))
    }

    /// Notes a segment that begins, before its file is made.
    pub(super) fn begin(&self, camera: &str, quality: Quality, path: &str, start_ms: i64) -> anyhow::Result<i64> {
        self.0
            .prepare_cached(
                "insert into segment (camera, quality, path, start_ms, end_ms, bytes, state, entries)
             values (?1, ?2, ?3, ?4, ?4, 0, ?5, x'')",
            )?
            .execute(params![camera, i64::from(quality.number()), path, start_ms, OPEN])?;
        Ok(self.0.last_insert_rowid())
    }

    /// Notes that a segment is whole.
    pub(super) fn finish(&self, id: i64, start_ms: i64, bytes: u64, entries: &[Entry]) -> anyhow::Result<()> {
        let end_ms = entries.iter().map(Entry::end_ms).max().unwrap_or(start_ms);
        self.0
            .prepare_cached("update segment set end_ms = ?2, bytes = ?3, state = ?4, entries = ?5 where id = ?1")?
            .execute(params![id, end_ms, bytes.cast_signed(), WHOLE, encode_entries(start_ms, entries)])?;
        Ok(())
    }

    /// Forgets a segment whose file is gone.
    pub(super) fn forget(&self, id: i64) -> anyhow::Result<()> {
        self.0.prepare_cached("delete from segment where id = ?1")?.execute([id])?;
        Ok(())
    }

    /// Marks a segment whose file will be unlinked next.
    pub(super) fn leave(&self, id: i64) -> anyhow::Result<()> {
        self.0.prepare_cached("update segment set state = ?2 where id = ?1")?.execute([id, LEAVING])?;
        Ok(())
    }

    /// Segments that a crash left open.
    pub(super) fn left_open(&self) -> anyhow::Result<Vec<Row>> {
        self.rows(OPEN)
    }

    /// Segments that a crash left between being marked and being forgotten.
    pub(super) fn leaving(&self) -> anyhow::Result<Vec<Row>> {
        self.rows(LEAVING)
    }

    fn rows(&self, state: i64) -> anyhow::Result<Vec<Row>> {
        let mut statement = self.0.prepare_cached(
            "select id, camera, path, start_ms, bytes from segment where state = ?1 order by start_ms",
        )?;
        let rows = statement.query_map([state], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The paths of all segments.
    pub(super) fn paths(&self) -> anyhow::Result<std::collections::HashSet<String>> {
        let mut statement = self.0.prepare("select path from segment")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many bytes each camera's whole segments take.
    pub(super) fn totals(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let mut statement =
            self.0.prepare("select camera, sum(bytes) from segment where state = ?1 group by camera")?;
        let rows = statement.query_map([WHOLE], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The oldest segment that may be deleted: of one camera or of all, and only if it ended before `before_ms`. (It also began
    /// before that, by which the index finds it.)
    pub(super) fn oldest(&self, camera: Option<&str>, before_ms: i64, now_ms: i64) -> anyhow::Result<Option<Row>> {
        let mut statement = self.0.prepare_cached(
            "select id, camera, path, start_ms, bytes from segment
             where start_ms < ?3 and end_ms < ?3 and state = ?1 and (?2 is null or camera = ?2)
               and not exists (
                 select 1 from protection
                 where protection.camera = segment.camera and protection.from_ms < segment.end_ms
                   and protection.to_ms > segment.start_ms and protection.until_ms > ?4)
             order by start_ms limit 1",
        )?;
        Ok(statement.query_row(params![WHOLE, camera, before_ms, now_ms], row).optional()?)
    }

    /// Keeps a span of a camera until a date; a later date for the same span replaces an earlier one.
    pub(super) fn protect(&self, camera: &str, from_ms: i64, to_ms: i64, until_ms: i64) -> anyhow::Result<()> {
        self.0
            .prepare_cached(
                "insert into protection (camera, from_ms, to_ms, until_ms) values (?1, ?2, ?3, ?4)
             on conflict (camera, from_ms, to_ms) do update set until_ms = max(until_ms, excluded.until_ms)",
            )?
            .execute(params![camera, from_ms, to_ms, until_ms])?;
        Ok(())
    }

    /// Forgets protections that are over.
    pub(super) fn unprotect(&self, now_ms: i64) -> anyhow::Result<()> {
        self.0.prepare_cached("delete from protection where until_ms <= ?1")?.execute([now_ms])?;
        Ok(())
    }

    /// Whole segments of a camera that touch a span, in order. In either quality: a camera is recorded in one at a time.
    pub(super) fn within(&self, camera: &str, from_ms: i64, to_ms: i64) -> anyhow::Result<Vec<Indexed>> {
        let mut statement = self.0.prepare_cached(
            "select path, start_ms, entries from segment
             where camera = ?1 and state = ?2 and start_ms < ?4 and end_ms > ?3 order by start_ms",
        )?;
        let rows = statement.query_map(params![camera, WHOLE, from_ms, to_ms], |row| {
            let (path, start_ms, entries): (_, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Indexed { path, entries: decode_entries(start_ms, &entries) })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// From when on a camera's recordings reach back.
    pub(super) fn earliest(&self, camera: &str) -> anyhow::Result<Option<i64>> {
        let mut statement = self.0.prepare_cached(
            "select start_ms from segment where camera = ?1 and state < ?2 order by start_ms limit 1",
        )?;
        Ok(statement.query_row(params![camera, LEAVING], |row| row.get(0)).optional()?)
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        camera: row.get(1)?,
        path: row.get(2)?,
        start_ms: row.get(3)?,
        bytes: row.get::<_, i64>(4)?.unsigned_abs(),
    })
}
