//! What SQLite alone makes of the same rows: one prepared statement, one thread, the same table, the same syncs, and as many
//! rows to a transaction as the hub had. Nothing is received, understood or indexed beyond that table.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tongluo_tests::clock;

/// Rows that are read from the ledger and written again.
const ROWS_MAX: usize = 300_000;
/// When it stops in any case.
const LIMIT: Duration = Duration::from_secs(10);

/// Copies rows of the ledger's `entry` table into a file of its own.
///
/// # Errors
/// The ledger cannot be read, or the folder written.
pub(crate) fn rows_per_s(ledger: &Connection, folder: &Path, per_transaction: usize) -> Result<f64> {
    let table: String = ledger.query_row("select sql from sqlite_schema where name = 'entry'", [], |row| row.get(0))?;
    let mut select = ledger.prepare("select * from entry limit ?1")?;
    let columns = select.column_count();
    let rows = select
        .query_map([ROWS_MAX as i64], |row| (0..columns).map(|column| row.get(column)).collect())?
        .collect::<rusqlite::Result<Vec<Vec<Value>>>>()?;
    ensure!(!rows.is_empty(), "the ledger is empty");

    let copy = Connection::open(folder.join("peer.db"))?;
    copy.execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 4000;")?;
    copy.execute_batch(&table)?;
    let places: Vec<String> = (1..=columns).map(|column| format!("?{column}")).collect();
    let mut insert = copy.prepare(&format!("insert into entry values ({})", places.join(", ")))?;
    let begun = clock::now();
    let mut written = 0;
    for group in rows.chunks(per_transaction.max(1)) {
        copy.execute_batch("begin immediate")?;
        for row in group {
            insert.execute(params_from_iter(row))?;
        }
        copy.execute_batch("commit")?;
        written += group.len();
        if clock::now().duration_since(begun) > LIMIT {
            break;
        }
    }
    Ok(written as f64 / clock::now().duration_since(begun).as_secs_f64())
}
