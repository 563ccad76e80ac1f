//! The plan on disk: what is to be made, for which presses, and how far it is. All its SQL.
//!
//! It has a file of its own beside the journal's: the journal's is sized, reserved and synced for presses, and losing this one
//! loses pictures, not alarms. Each step is one transaction, so that a kill between two steps repeats one at most.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tongluo_protocols::content::ContentHash;
use tongluo_protocols::id::{Epoch, PressId, Sequence};

use super::machine::{Begun, Kind, Plan};

const LAYOUT: i32 = 1;

const SCHEMA: &str = "
    create table item (
        id integer primary key,
        camera text not null,
        kind text not null,                 -- snapshot, clip
        from_ms integer not null,           -- UTC, of what is to be shown; once made, of what is shown
        to_ms integer not null,
        state text not null,                -- due, made, missing
        reason text,                        -- why it is missing, or less than was asked for
        sha256 text,                        -- the file's name, once made
        bytes integer,
        uploaded_ms integer,                -- UTC, when the hub had it whole
        removed integer not null default 0  -- 1: the file was removed after it had arrived
    ) strict;
    create index item_open on item (state, camera, kind);
    create index item_sha256 on item (sha256);

    create table item_press (
        item_id integer not null,
        press text not null,
        told integer not null default 0,    -- 1: the journal has it
        constraint item_press_key primary key (item_id, press)
    ) strict, without rowid;
    create index item_press_untold on item_press (told) where told = 0;

    create table followed (
        epoch integer not null,             -- of the journal's urgent lane
        sequence integer not null,          -- every press up to here is planned
        constraint followed_key primary key (epoch)
    ) strict, without rowid;
";

/// Something to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Item {
    pub(super) id: i64,
    pub(super) camera: String,
    pub(super) kind: Kind,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// Something that is settled, and a press that is to hear of it.
#[derive(Clone, Debug)]
pub(super) struct Untold {
    pub(super) item: Item,
    pub(super) press: PressId,
    pub(super) reason: Option<String>,
    /// Name and length of the file; `None`: there is none.
    pub(super) file: Option<(ContentHash, u64)>,
}

/// A file that the hub does not have yet.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) item: i64,
    pub(super) kind: Kind,
    pub(super) hash: ContentHash,
    pub(super) bytes: u64,
}

pub(super) struct Store(Connection);

impl Store {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch("pragma journal_mode = wal; pragma synchronous = full;")?;
        let layout: i32 = connection.query_row("pragma user_version", [], |row| row.get(0))?;
        if layout == 0 {
            connection.execute_batch(&format!("begin; {SCHEMA} pragma user_version = {LAYOUT}; commit;"))?;
        }
        Ok(Self(connection))
    }

    /// Up to where the presses of an epoch are planned.
    pub(super) fn followed(&self, epoch: Epoch) -> rusqlite::Result<Sequence> {
        let sql = "select sequence from followed where epoch = ?1";
        let found: Option<u64> = self.0.query_row(sql, [epoch.get()], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    /// Writes down what a press sets off, and that it was looked at. Gives what is new.
    pub(super) fn plan(
        &mut self,
        press: PressId,
        cameras: &[String],
        plan: impl Fn(Kind, &[Begun]) -> Plan,
    ) -> rusqlite::Result<Vec<Item>> {
        let transaction = self.0.transaction()?;
        let mut items = Vec::new();
        for camera in cameras {
            for kind in Kind::ALL {
                let id = match plan(kind, &begun(&transaction, camera, kind)?) {
                    Plan::Join { item, to_ms } => {
                        transaction.execute("update item set to_ms = ?2 where id = ?1", params![item, to_ms])?;
                        item
                    }
                    Plan::Begin { from_ms, to_ms } => {
                        transaction.execute(
                            "insert into item (camera, kind, from_ms, to_ms, state) values (?1, ?2, ?3, ?4, 'due')",
                            params![camera, kind.name(), from_ms, to_ms],
                        )?;
                        let id = transaction.last_insert_rowid();
                        items.push(Item { id, camera: camera.clone(), kind, from_ms, to_ms });
                        id
                    }
                };
                let sql = "insert or ignore into item_press (item_id, press) values (?1, ?2)";
                transaction.execute(sql, params![id, press.to_string()])?;
            }
        }
        follow(&transaction, press.epoch, press.sequence)?;
        transaction.commit()?;
        Ok(items)
    }

    /// Notes that nothing up to here sets off anything more. What a power cut takes of that is looked at again; so nobody waits
    /// for the disk, which a press may want at this moment.
    pub(super) fn follow(&mut self, epoch: Epoch, sequence: Sequence) -> rusqlite::Result<()> {
        self.0.pragma_update(None, "synchronous", "normal")?;
        let followed = follow(&self.0, epoch, sequence);
        self.0.pragma_update(None, "synchronous", "full")?;
        followed
    }

    /// Everything that was planned and is not made yet.
    pub(super) fn due(&self) -> rusqlite::Result<Vec<Item>> {
        let sql = "select id, camera, kind, from_ms, to_ms from item where state = 'due' order by id";
        self.0.prepare_cached(sql)?.query_map([], item)?.collect()
    }

    /// Whether an item has this file.
    pub(super) fn knows(&self, hash: &ContentHash) -> rusqlite::Result<bool> {
        let sql = "select exists (select 1 from item where sha256 = ?1)";
        self.0.query_row(sql, [hash.to_string()], |row| row.get(0))
    }

    /// Where an item ends now: presses may have extended it.
    pub(super) fn end_ms(&self, item: i64) -> rusqlite::Result<i64> {
        self.0.query_row("select to_ms from item where id = ?1", [item], |row| row.get(0))
    }

    /// Settles an item with its file, unless a press has extended it since: then it answers `false`.
    pub(super) fn made(
        &mut self,
        item: &Item,
        planned_to_ms: i64,
        (hash, bytes): (&ContentHash, u64),
        reason: Option<&str>,
    ) -> rusqlite::Result<bool> {
        let changed = self.0.execute(
            "update item set state = 'made', sha256 = ?2, bytes = ?3, reason = ?4, from_ms = ?5, to_ms = ?6 \
             where id = ?1 and state = 'due' and to_ms = ?7",
            params![item.id, hash.to_string(), bytes, reason, item.from_ms, item.to_ms, planned_to_ms],
        )?;
        Ok(changed > 0)
    }

    /// Settles an item that has no file, or has lost it; its presses hear of it (again).
    pub(super) fn missing(&mut self, item: i64, reason: &str) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        let sql = "update item set state = 'missing', reason = ?2, sha256 = null, bytes = null where id = ?1";
        transaction.execute(sql, params![item, reason])?;
        transaction.execute("update item_press set told = 0 where item_id = ?1", [item])?;
        transaction.commit()
    }

    /// What the journal is yet to be told of.
    pub(super) fn untold(&self) -> rusqlite::Result<Vec<Untold>> {
        let sql = "select id, camera, kind, from_ms, to_ms, press, reason, sha256, bytes from item_press \
                   join item on item.id = item_id where told = 0 and state <> 'due' order by id limit 256";
        let read = |row: &Row<'_>| {
            let (press, sha256): (String, Option<String>) = (row.get(5)?, row.get(7)?);
            let press = press.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
            let hash = sha256.and_then(|sha256| ContentHash::parse(&sha256));
            let file = hash.zip(row.get::<_, Option<u64>>(8)?);
            Ok(Untold { item: item(row)?, press, reason: row.get(6)?, file })
        };
        self.0.prepare_cached(sql)?.query_map([], read)?.collect()
    }

    /// The journal has it.
    pub(super) fn told(&self, item: i64, press: PressId) -> rusqlite::Result<()> {
        let sql = "update item_press set told = 1 where item_id = ?1 and press = ?2";
        self.0.execute(sql, params![item, press.to_string()]).map(drop)
    }

    /// The file that goes to the hub next: pictures before clips, the oldest first.
    pub(super) fn next_upload(&self) -> rusqlite::Result<Option<Upload>> {
        let sql = "select id, kind, sha256, bytes from item where state = 'made' and uploaded_ms is null \
                   order by kind = 'clip', id limit 1";
        let read = |row: &Row<'_>| {
            let sha256: String = row.get(2)?;
            let hash = ContentHash::parse(&sha256).ok_or(rusqlite::Error::InvalidQuery)?;
            Ok(Upload { item: row.get(0)?, kind: kind(row, 1)?, hash, bytes: row.get(3)? })
        };
        self.0.query_row(sql, [], read).optional()
    }

    /// The hub has it whole.
    pub(super) fn uploaded(&self, item: i64, now_ms: i64) -> rusqlite::Result<()> {
        self.0.execute("update item set uploaded_ms = ?2 where id = ?1", params![item, now_ms]).map(drop)
    }

    /// Bytes of files that are here.
    pub(super) fn bytes(&self) -> rusqlite::Result<u64> {
        let sql = "select coalesce(sum(bytes), 0) from item where state = 'made' and removed = 0";
        self.0.query_row(sql, [], |row| row.get(0))
    }

    /// The oldest file that the hub has, too, if it has had it since before `before_ms`.
    pub(super) fn removable(&self, before_ms: i64) -> rusqlite::Result<Option<(i64, ContentHash)>> {
        let sql = "select id, sha256 from item where state = 'made' and removed = 0 and uploaded_ms < ?1 \
                   order by uploaded_ms limit 1";
        let found: Option<(i64, String)> =
            self.0.query_row(sql, [before_ms], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(found.and_then(|(item, sha256)| Some((item, ContentHash::parse(&sha256)?))))
    }

    /// Its file is gone, on purpose.
    pub(super) fn removed(&self, item: i64) -> rusqlite::Result<()> {
        self.0.execute("update item set removed = 1 where id = ?1", [item]).map(drop)
    }
}

fn begun(transaction: &Transaction<'_>, camera: &str, kind: Kind) -> rusqlite::Result<Vec<Begun>> {
    let sql = "select id, from_ms, to_ms from item where state = 'due' and camera = ?1 and kind = ?2 order by id desc";
    let read = |row: &Row<'_>| Ok(Begun { item: row.get(0)?, from_ms: row.get(1)?, to_ms: row.get(2)? });
    transaction.prepare_cached(sql)?.query_map(params![camera, kind.name()], read)?.collect()
}

fn follow(connection: &Connection, epoch: Epoch, sequence: Sequence) -> rusqlite::Result<()> {
    let sql = "insert into followed (epoch, sequence) values (?1, ?2) on conflict (epoch) \
               do update set sequence = excluded.sequence where excluded.sequence > sequence";
    connection.execute(sql, params![epoch.get(), sequence]).map(drop)
}

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item { id: row.get(0)?, camera: row.get(1)?, kind: kind(row, 2)?, from_ms: row.get(3)?, to_ms: row.get(4)? })
}

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<Kind> {
    let name: String = row.get(column)?;
    Kind::from_name(&name).ok_or(rusqlite::Error::InvalidQuery)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn how_far_it_has_looked_never_goes_back_and_what_is_planned_is_synced_as_before() {
        let dir = TempDir::new("evidence-followed");
        let mut store = Store::open(&dir.path().join("plan.db")).unwrap();
        let epoch = Epoch::from_random(7);
        for (sequence, followed) in [(3, 3), (2, 3), (9, 9)] {
            store.follow(epoch, sequence).unwrap();
            assert_eq!(store.followed(epoch).unwrap(), followed);
        }
        let synchronous: i64 = store.0.query_row("pragma synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "full");
    }
}
