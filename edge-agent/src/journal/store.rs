//! The journal's SQL, all of it, and nothing but it: no rule about what is kept or dropped is made here.
//!
//! Parameters are written `?1`: SQLite takes `$1` for a name, and numbers it by where it first appears.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tongluo_protocols::id::{BootId, DeviceKey, Epoch, Lane, Sequence, StreamKey};
use tongluo_protocols::link::BATCH_ENTRIES_MAX;

use super::plays::PLAY;
use super::{Entry, Memory, Stream};

/// The layout below, in `user_version`. A file with a number that is not known here is set aside like a damaged one.
const LAYOUT: i32 = 3;

/// What layout 2 has and layout 1 had not: how far the orders of each issuer were taken.
const ORDER_FLOOR: &str = "
    create table order_floor (
        issuer text not null,
        lane integer not null,
        counter integer not null,           -- of the last order that was taken; a lesser or equal one is a repeat
        constraint order_floor_key primary key (issuer, lane)
    ) strict, without rowid;
";

const SCHEMA: &str = "
    create table stream (
        id integer primary key,             -- in order of opening
        lane integer not null,
        epoch integer not null,
        oldest integer not null,            -- lowest sequence held; head + 1 if none
        head integer not null,              -- highest sequence written, as of the last trimming: entries may be above
        acked integer not null,             -- the hub has committed up to here
        constraint stream_key unique (lane, epoch)
    ) strict;

    create table entry (
        stream_id integer not null,
        sequence integer not null,
        boot_id integer not null,
        wall_ms integer not null,           -- UTC, as the gateway believed it
        mono_ms integer not null,           -- since that boot
        kind integer not null,
        body blob not null,
        constraint entry_key primary key (stream_id, sequence)
    ) strict, without rowid;

    create table source (
        id integer primary key,             -- in order of arrival
        key text not null,                  -- the device's own id of an event
        lane integer not null,
        epoch integer not null,
        sequence integer not null,          -- the entry that this event became
        heard_ms integer not null,          -- UTC, as the gateway believed it
        constraint source_key unique (key)
    ) strict;

    create table friendly_name (
        name text not null,
        device text not null,
        constraint friendly_name_key primary key (name)
    ) strict, without rowid;

    create table alarm_level (
        device text not null,
        raised integer not null,            -- 1: the device holds its alarm raised
        constraint alarm_level_key primary key (device)
    ) strict, without rowid;

    create table received_stream (
        lane integer not null,
        epoch integer not null,
        committed integer not null,         -- this gateway has committed up to here
        constraint received_stream_key primary key (lane, epoch)
    ) strict, without rowid;

    create table received_entry (
        id integer primary key,             -- in order of arrival
        lane integer not null,
        epoch integer not null,
        sequence integer not null,
        boot_id integer not null,
        wall_ms integer not null,
        mono_ms integer not null,
        kind integer not null,
        body blob not null,
        state text not null,                -- of an order: see OrderState
        constraint received_entry_key unique (lane, epoch, sequence)
    ) strict;

    create table received_lost (
        lane integer not null,
        epoch integer not null,
        from_sequence integer not null,
        to_sequence integer not null,
        constraint received_lost_key primary key (lane, epoch, from_sequence)
    ) strict, without rowid;

    create table reserve (
        id integer primary key,
        block blob not null                 -- zeros: disk space that presses get when there is none
    ) strict;
";

/// The open file.
pub(super) struct Store {
    pub(super) connection: Connection,
    /// A second way to the file, to lengthen it. It is declared last, so that it closes last: closing it would give up the
    /// process's locks on the file.
    file: File,
}

/// Bytes that a grown block may take beyond its content: the pages that lead to it.
const BLOCK_OVERHEAD_BYTES: u64 = 64 * 1024;

/// One run of dropped entries of a stream that were of the same kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Dropped {
    pub(super) key: StreamKey,
    pub(super) from: Sequence,
    pub(super) to: Sequence,
    pub(super) kind: u16,
    pub(super) count: u64,
}

impl Store {
    /// Opens the file, or creates it. An error here means that the file is of no use.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        // The write-ahead log keeps its disk space over a restart; the reserve counts on it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Exclusive: a second gateway on the same folder is refused, and no shared memory file can run out of disk.
        connection.execute_batch(
            "pragma locking_mode = exclusive;
             pragma journal_mode = wal;
             pragma synchronous = full;
             pragma wal_autocheckpoint = 0;
             pragma secure_delete = off;
             pragma temp_store = memory;
             pragma cache_size = -1024;",
        )?;
        let layout: i32 = connection.query_row("pragma user_version", [], |row| row.get(0))?;
        if layout == 0 {
            let tables: i64 = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
            if tables == 0 {
                connection.execute_batch(&format!(
                    "begin; {SCHEMA} {ORDER_FLOOR} {PLAY} pragma user_version = {LAYOUT}; commit;"
                ))?;
                return Self::bounded(connection, path);
            }
        }
        let since = match layout {
            1 => Some([ORDER_FLOOR, PLAY].concat()),
            2 => Some(PLAY.to_owned()),
            _ => None,
        };
        if let Some(tables) = since {
            connection.execute_batch(&format!("begin; {tables} pragma user_version = {LAYOUT}; commit;"))?;
            return Self::bounded(connection, path);
        }
        if layout != LAYOUT {
            let message = format!("its layout is {layout}, this program's is {LAYOUT}");
            return Err(rusqlite::Error::ToSqlConversionFailure(message.into()));
        }
        Self::bounded(connection, path)
    }

    /// From here on SQLite never makes the file longer by itself. It would notice a full disk only when it moves the log into
    /// the file, which is too late: the log could not begin anew. See [`Store::grow`].
    fn bounded(connection: Connection, path: &Path) -> rusqlite::Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let store = Self { connection, file };
        store.checkpoint()?;
        store.bound_pages(store.number("pragma page_count")?)?;
        Ok(store)
    }

    fn bound_pages(&self, pages: u64) -> rusqlite::Result<()> {
        self.connection.query_row(&format!("pragma max_page_count = {pages}"), [], |_| Ok(()))
    }

    fn number(&self, pragma: &str) -> rusqlite::Result<u64> {
        self.connection.query_row(pragma, [], |row| row.get(0))
    }

    pub(super) fn begin(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("begin immediate")
    }

    pub(super) fn commit(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("commit")
    }

    /// Undoes what was begun. SQLite may have done so already: that is no error.
    pub(super) fn rollback(&self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("rollback");
        }
    }

    // Streams and entries.

    /// Every stream in order of opening, with the row that keeps it.
    pub(super) fn streams(&self) -> rusqlite::Result<Vec<(i64, Stream)>> {
        let mut statement = self.connection.prepare_cached(
            "select id, lane, epoch, oldest,
                    max(head, coalesce((select max(sequence) from entry where stream_id = stream.id), 0)),
                    acked
             from stream order by id",
        )?;
        let rows = statement.query_map([], |row| {
            let stream = Stream {
                key: key(row, 1)?,
                oldest: row.get(3)?,
                head: row.get(4)?,
                acked: row.get(5)?,
                present: false,
            };
            Ok((row.get(0)?, stream))
        })?;
        rows.collect()
    }

    pub(super) fn open_stream(&self, key: StreamKey) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("insert into stream (lane, epoch, oldest, head, acked) values (?1, ?2, 1, 0, 0)")?
            .insert(params![key.lane.number(), key.epoch.get()])
    }

    pub(super) fn append(&self, stream_id: i64, entry: &Entry) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "insert into entry (stream_id, sequence, boot_id, wall_ms, mono_ms, kind, body)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                stream_id,
                entry.sequence,
                entry.boot_id.get(),
                entry.wall_ms,
                entry.mono_ms,
                entry.kind,
                entry.body
            ])
            .map(drop)
    }

    /// At most a batch of contiguous entries.
    pub(super) fn read(&self, key: StreamKey, from: Sequence) -> rusqlite::Result<Vec<Entry>> {
        let mut statement = self.connection.prepare_cached(
            "select sequence, boot_id, wall_ms, mono_ms, kind, body
             from entry
             where stream_id = (select id from stream where lane = ?1 and epoch = ?2) and sequence >= ?3
             order by sequence limit ?4",
        )?;
        let rows =
            statement.query_map(params![key.lane.number(), key.epoch.get(), from, BATCH_ENTRIES_MAX as i64], entry)?;
        rows.collect()
    }

    pub(super) fn mark_acked(&self, key: StreamKey, through: Sequence) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("update stream set acked = max(acked, ?3) where lane = ?1 and epoch = ?2")?
            .execute(params![key.lane.number(), key.epoch.get(), through])
            .map(drop)
    }

    /// The last acknowledged entry of a stream that was written before a moment; 0 for none.
    pub(super) fn last_acked_before(&self, stream_id: i64, wall_ms: i64) -> rusqlite::Result<Sequence> {
        self.connection
            .prepare_cached(
                "select coalesce(max(sequence), 0) from entry
                 where stream_id = ?1 and wall_ms < ?2
                     and sequence <= (select acked from stream where id = ?1)",
            )?
            .query_row(params![stream_id, wall_ms], |row| row.get(0))
    }

    /// Which un-acknowledged entries a trimming would drop, by kind.
    pub(super) fn kinds_up_to(
        &self,
        stream_id: i64,
        stream: &Stream,
        through: Sequence,
    ) -> rusqlite::Result<Vec<Dropped>> {
        let mut statement = self.connection.prepare_cached(
            "select min(sequence), max(sequence), kind, count(*) from entry
             where stream_id = ?1 and sequence > ?2 and sequence <= ?3 group by kind",
        )?;
        let rows = statement.query_map(params![stream_id, stream.acked, through], |row| {
            let (from, to, kind, count) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Dropped { key: stream.key, from, to, kind, count })
        })?;
        rows.collect()
    }

    /// Drops a stream's entries up to and with `through`; `head` is kept, since entries may no longer tell it.
    pub(super) fn trim(&self, stream_id: i64, through: Sequence, head: Sequence) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("delete from entry where stream_id = ?1 and sequence <= ?2")?
            .execute(params![stream_id, through])?;
        self.connection
            .prepare_cached("update stream set oldest = max(oldest, ?2 + 1), head = ?3 where id = ?1")?
            .execute(params![stream_id, through, head])
            .map(drop)
    }

    pub(super) fn forget_stream(&self, stream_id: i64) -> rusqlite::Result<()> {
        self.connection.prepare_cached("delete from entry where stream_id = ?1")?.execute([stream_id])?;
        self.connection.prepare_cached("delete from stream where id = ?1")?.execute([stream_id]).map(drop)
    }

    /// Takes over a stream from a damaged file, entry by entry as far as they can be read. Answers how many were.
    pub(super) fn adopt(&self, stream: &Stream, entries: &[Entry]) -> rusqlite::Result<()> {
        let stream_id = self.open_stream(stream.key)?;
        for entry in entries {
            self.append(stream_id, entry)?;
        }
        self.connection
            .execute(
                "update stream set oldest = ?2, head = ?3, acked = ?4 where id = ?1",
                params![stream_id, stream.oldest, stream.head, stream.acked],
            )
            .map(drop)
    }

    // Events that may come again.

    pub(super) fn find_source(&self, key: &str) -> rusqlite::Result<Option<(StreamKey, Sequence)>> {
        self.connection
            .prepare_cached("select lane, epoch, sequence from source where key = ?1")?
            .query_row([key], |row| Ok((self::key(row, 0)?, row.get(2)?)))
            .optional()
    }

    pub(super) fn put_source(
        &self,
        source: &str,
        key: StreamKey,
        sequence: Sequence,
        heard_ms: i64,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "insert or replace into source (key, lane, epoch, sequence, heard_ms) values (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![source, key.lane.number(), key.epoch.get(), sequence, heard_ms])
            .map(drop)
    }

    pub(super) fn forget_sources_starting(&self, start: &str) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("delete from source where substr(key, 1, length(?1)) = ?1")?
            .execute([start])
            .map(drop)
    }

    /// Keeps the newest `count_max` events that were heard at or after `heard_ms_min`.
    pub(super) fn bound_sources(&self, heard_ms_min: i64, count_max: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "delete from source where heard_ms < ?1
                     or id <= (select max(id) from source) - ?2",
            )?
            .execute([heard_ms_min, count_max])
            .map(drop)
    }

    // What is remembered.

    pub(super) fn memory(&self) -> rusqlite::Result<Memory> {
        let device = |row: &Row<'_>, column| {
            let text: String = row.get(column)?;
            text.parse::<DeviceKey>().map_err(|error| conversion(column, error))
        };
        let directory = self
            .connection
            .prepare("select name, device from friendly_name")?
            .query_map([], |row| Ok((row.get(0)?, device(row, 1)?)))?
            .collect::<Result<_, _>>()?;
        let alarm_levels = self
            .connection
            .prepare("select device, raised from alarm_level")?
            .query_map([], |row| Ok((device(row, 0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(Memory { directory, alarm_levels, orders: self.order_memory()?, plays: self.plays()? })
    }

    pub(super) fn replace_directory(&self, names: &[(String, DeviceKey)]) -> rusqlite::Result<()> {
        self.connection.prepare_cached("delete from friendly_name")?.execute([])?;
        let mut insert =
            self.connection.prepare_cached("insert or replace into friendly_name (name, device) values (?1, ?2)")?;
        for (name, device) in names {
            insert.execute(params![name, device.as_str()])?;
        }
        Ok(())
    }

    pub(super) fn put_alarm_level(&self, device: DeviceKey, raised: bool) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("insert or replace into alarm_level (device, raised) values (?1, ?2)")?
            .execute(params![device.as_str(), raised])
            .map(drop)
    }

    // Space.

    /// Bytes in use, the reserve included; free pages are not in use.
    pub(super) fn bytes_used(&self) -> rusqlite::Result<u64> {
        let pages = self.number("pragma page_count")?.saturating_sub(self.number("pragma freelist_count")?);
        Ok(pages * self.number("pragma page_size")?)
    }

    /// Bytes that the next commits can use without the file getting longer.
    pub(super) fn bytes_free(&self) -> rusqlite::Result<u64> {
        Ok(self.number("pragma freelist_count")? * self.number("pragma page_size")?)
    }

    /// Adds a block to the reserve, on disk space that is taken first: zeros are written behind the file's end, then SQLite is
    /// let grow over them. `false`: the disk is full, and nothing has changed.
    pub(super) fn grow(&self, bytes: u32) -> rusqlite::Result<bool> {
        self.checkpoint()?;
        let (pages, page_bytes) = (self.number("pragma page_count")?, self.number("pragma page_size")?);
        let end = pages * page_bytes;
        let more = (u64::from(bytes) + BLOCK_OVERHEAD_BYTES).next_multiple_of(page_bytes);
        if self.write_zeros(end, more).is_err() {
            let _ = self.file.set_len(end);
            return Ok(false);
        }
        self.bound_pages(pages + more / page_bytes)?;
        let result = self
            .connection
            .prepare_cached("insert into reserve (block) values (zeroblob(?1))")
            .and_then(|mut insert| insert.execute([bytes]))
            .and_then(|_| self.checkpoint());
        self.bound_pages(self.number("pragma page_count")?)?;
        result.map(|()| true)
    }

    /// Makes room for the next commits: as many blocks as hold `bytes` are added, then turned into free pages together. One
    /// after the other would not do: SQLite would make the second of the first one's pages. `false`: the disk is full.
    pub(super) fn stock_up(&self, block_bytes: u32, bytes: u64) -> rusqlite::Result<bool> {
        let blocks = bytes.div_ceil(block_bytes.into());
        let mut grown = 0;
        while grown < blocks && self.grow(block_bytes)? {
            grown += 1;
        }
        for _ in 0..grown {
            self.release_block()?;
        }
        Ok(grown == blocks)
    }

    fn write_zeros(&self, from: u64, bytes: u64) -> std::io::Result<()> {
        let zeros = vec![0; 64 * 1024];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        let mut left = bytes;
        while left > 0 {
            let step = left.min(zeros.len() as u64);
            file.write_all(&zeros[..step as usize])?;
            left -= step;
        }
        file.sync_data()
    }

    /// How many blocks the reserve has.
    pub(super) fn reserve_blocks(&self) -> rusqlite::Result<u32> {
        self.connection.query_row("select count(*) from reserve", [], |row| row.get(0))
    }

    /// Turns a block into free pages. Touches a handful of pages, however large the block is.
    pub(super) fn release_block(&self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("delete from reserve where id = (select max(id) from reserve)")?
            .execute([])
            .map(drop)
    }

    /// Pages in the write-ahead log that are not in the file yet.
    pub(super) fn log_pages(&self) -> rusqlite::Result<i64> {
        self.connection
            .query_row("pragma wal_checkpoint(noop)", [], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
    }

    /// Moves the log's pages into the file, so that the log begins anew in the space it has.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()))
    }
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        sequence: row.get(0)?,
        boot_id: BootId::new(row.get(1)?).map_err(|error| conversion(1, error))?,
        wall_ms: row.get(2)?,
        mono_ms: row.get(3)?,
        kind: row.get(4)?,
        body: row.get(5)?,
    })
}

/// A stream's key from two neighbouring columns.
pub(super) fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<StreamKey> {
    let lane = Lane::from_number(row.get(column)?).map_err(|error| conversion(column, error))?;
    let epoch = Epoch::new(row.get(column + 1)?).map_err(|error| conversion(column + 1, error))?;
    Ok(StreamKey { lane, epoch })
}

pub(super) fn conversion(column: usize, error: tongluo_protocols::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, Box::new(error))
}
