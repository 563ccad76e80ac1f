//! Inserting many rows with few statements.
//!
//! A statement costs the same round trip to the database's thread whether it carries one row or sixty-four. The chunks
//! are powers of two, so that a handful of prepared statements serve every batch size.

use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyQueryResult};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

/// Most rows in one statement. 64 rows of 11 columns stay far below both databases' limits on parameters.
const ROWS_PER_STATEMENT_MAX: usize = 64;

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
    let mut rest = rows;
    while !rest.is_empty() {
        let mut count = ROWS_PER_STATEMENT_MAX;
        while count > rest.len() {
            count /= 2;
        }
        let (chunk, later) = rest.split_at(count);
        rest = later;
        let statement = statement(table_and_columns, columns, suffix, count);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for row in chunk {
            query = bind(query, row);
        }
        let result: AnyQueryResult = query.execute(&mut *connection).await?;
        affected += result.rows_affected();
    }
    Ok(affected)
}

fn statement(table_and_columns: &str, columns: usize, suffix: &str, rows: usize) -> String {
    let mut sql = format!("insert into {table_and_columns} values ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let separator = if column == 0 { "" } else { ", " };
            write!(sql, "{separator}${}", row * columns + column + 1).expect("writing to a String cannot fail");
        }
        sql.push(')');
    }
    sql.push(' ');
    sql.push_str(suffix);
    sql
}

#[cfg(test)]
mod tests {
    use super::statement;

    #[test]
    fn placeholders_run_on_through_the_rows() {
        assert_eq!(
            statement("t (a, b)", 2, "on conflict do nothing", 2),
            "insert into t (a, b) values ($1, $2), ($3, $4) on conflict do nothing"
        );
    }
}
