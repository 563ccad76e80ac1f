//! Many rows with few statements.
//!
//! A statement costs the same round trip to the database's thread whether it carries one row or sixty-four. The chunks
//! are powers of two, so that a handful of prepared statements serve every batch size.

use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyQueryResult};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Database as _, Sqlite};

/// Most rows in one statement. 64 rows of 20 columns stay far below both databases' limits on parameters.
const ROWS_PER_STATEMENT_MAX: usize = 64;

/// The rows as they are spread over statements.
pub fn chunks<Row>(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let longest = rest.len().min(ROWS_PER_STATEMENT_MAX);
        let (chunk, later) = rest.split_at(1 << longest.checked_ilog2()?);
        rest = later;
        Some(chunk)
    })
}

/// The parameters of rows, to stand after `values`: `($1, $2), ($3, $4)` for two rows of two columns, in a statement that
/// has no others. To look rows up by a key of several columns, join with them (`with wanted (a, b) as (values …)`):
/// SQLite reads the whole table for `(a, b) in (values …)`.
///
/// SQLite gets `(?, ?), (?, ?)`, which means the same there. It takes `$1` for a name and seeks the name of each parameter
/// among all the names before it: for 64 rows of 11 columns that took longer than writing the rows.
pub fn parameters(connection: &AnyConnection, rows: usize, columns: usize) -> String {
    rows_of(rows, columns, connection.backend_name() != Sqlite::NAME)
}

fn rows_of(rows: usize, columns: usize, numbered: bool) -> String {
    let mut sql = String::new();
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            sql.push_str(if column == 0 { "" } else { ", " });
            match numbered {
                true => write!(sql, "${}", row * columns + column + 1).expect("writing to a String cannot fail"),
                false => sql.push('?'),
            }
        }
        sql.push(')');
    }
    sql
}

/// Inserts `rows` with `insert into {table_and_columns} values …{suffix}`; `bind` adds one row's values in order.
///
/// Both texts are the caller's own literals, never anything that came from outside.
///
/// # Errors
/// The database's.
pub async fn insert_rows<'q, Row>(
    connection: &mut AnyConnection,
    table_and_columns: &'static str,
    columns: usize,
    suffix: &'static str,
    rows: &'q [Row],
    bind: impl for<'a> Fn(Query<'a, Any, AnyArguments>, &'q Row) -> Query<'a, Any, AnyArguments>,
) -> Result<u64, sqlx::Error> {
    let mut affected = 0;
    for chunk in chunks(rows) {
        let values = parameters(connection, chunk.len(), columns);
        // Made of literals and numbers only.
        let statement = AssertSqlSafe(format!("insert into {table_and_columns} values {values} {suffix}"));
        let mut query = sqlx::query(statement);
        for row in chunk {
            query = bind(query, row);
        }
        let result: AnyQueryResult = query.execute(&mut *connection).await?;
        affected += result.rows_affected();
    }
    Ok(affected)
}

#[cfg(test)]
mod tests {
    use super::{chunks, rows_of};

    #[test]
    fn parameters_run_on_through_the_rows() {
        assert_eq!(rows_of(2, 2, true), "($1, $2), ($3, $4)");
        assert_eq!(rows_of(3, 1, true), "($1), ($2), ($3)");
        assert_eq!(rows_of(2, 2, false), "(?, ?), (?, ?)");
    }

    #[test]
    fn chunks_are_powers_of_two_and_hold_every_row_once() {
        let rows: Vec<usize> = (0..203).collect();
        let lengths: Vec<usize> = chunks(&rows).map(<[usize]>::len).collect();
        assert_eq!(lengths, [64, 64, 64, 8, 2, 1]);
        assert_eq!(chunks(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        assert_eq!(chunks(&rows[..0]).count(), 0);
    }
}
