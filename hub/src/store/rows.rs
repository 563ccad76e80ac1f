//! Many rows with few statements, and few calls for a lone press.
//!
//! A statement costs the same round trip to the database's thread whether it carries one row or sixty-four. The chunks
//! are powers of two, so that a handful of prepared statements serve every batch size.

use std::fmt::Write as _;

use sqlx::any::AnyArguments;
use sqlx::{Any, AnyConnection, Arguments as _, AssertSqlSafe, Database as _, Encode, Sqlite, Type};

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

/// The values of a statement's parameters, added in order.
pub struct Values<'a>(&'a mut AnyArguments);

impl Values<'_> {
    /// Adds one.
    pub fn bind<'t, T: Encode<'t, Any> + Type<Any>>(self, value: T) -> Self {
        self.0.add(value).expect("numbers, texts and blobs always encode");
        self
    }
}

/// Statements that only write, gathered while a transaction decides what to write.
///
/// On SQLite statements of one row that follow each other reach the database's thread as one call: a lone press writes
/// seven rows into as many tables, and on the way from its device seven round trips cost more than the writing.
/// PostgreSQL takes one statement at a time. Statements of many rows stay alone on both: joined, each mixture of row
/// counts would have to be prepared anew.
pub struct Writes {
    /// Whether the database takes several statements in one call.
    joins: bool,
    calls: Vec<Call>,
}

struct Call {
    sql: String,
    arguments: AnyArguments,
    /// Whether another statement may be added.
    is_open: bool,
}

impl std::fmt::Debug for Writes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.calls.iter().map(|call| &call.sql)).finish()
    }
}

impl Writes {
    /// Nothing yet.
    pub fn new(connection: &AnyConnection) -> Self {
        Self { joins: connection.backend_name() == Sqlite::NAME, calls: Vec::new() }
    }

    /// Adds `insert into {table_and_columns} values …{suffix}`; `bind` adds one row's values in order.
    pub fn insert<Row>(
        &mut self,
        table_and_columns: &'static str,
        columns: usize,
        suffix: &'static str,
        rows: &[Row],
        bind: impl for<'v> Fn(Values<'v>, &Row) -> Values<'v>,
    ) {
        self.add(&format!("insert into {table_and_columns} values "), columns, suffix, rows, bind);
    }

    /// Adds `{prefix} (…), (…) {suffix}`. All texts are the callers' own literals, never anything that came from outside.
    pub fn add<Row>(
        &mut self,
        prefix: &str,
        columns: usize,
        suffix: &'static str,
        rows: &[Row],
        bind: impl for<'v> Fn(Values<'v>, &Row) -> Values<'v>,
    ) {
        for chunk in chunks(rows) {
            let values = rows_of(chunk.len(), columns, !self.joins);
            let is_open = self.joins && chunk.len() == 1;
            let call = match self.calls.last_mut() {
                Some(last) if is_open && last.is_open => {
                    last.sql.push_str("; ");
                    last
                }
                _ => {
                    self.calls.push(Call { sql: String::new(), arguments: AnyArguments::default(), is_open });
                    self.calls.last_mut().expect("a call was just added")
                }
            };
            write!(call.sql, "{prefix}{values} {suffix}").expect("writing to a String cannot fail");
            for row in chunk {
                bind(Values(&mut call.arguments), row);
            }
        }
    }

    /// Writes all of it, in order. Returns how many rows that changed.
    ///
    /// # Errors
    /// The database's.
    pub async fn run(self, connection: &mut AnyConnection) -> Result<u64, sqlx::Error> {
        let mut affected = 0;
        for Call { sql, arguments, .. } in self.calls {
            // Made of literals and numbers only.
            let result = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *connection).await?;
            affected += result.rows_affected();
        }
        Ok(affected)
    }
}

/// Inserts `rows` at once: [`Writes::insert`] for those who have nothing else to write.
///
/// # Errors
/// The database's.
pub async fn insert_rows<Row>(
    connection: &mut AnyConnection,
    table_and_columns: &'static str,
    columns: usize,
    suffix: &'static str,
    rows: &[Row],
    bind: impl for<'v> Fn(Values<'v>, &Row) -> Values<'v>,
) -> Result<u64, sqlx::Error> {
    let mut writes = Writes::new(connection);
    writes.insert(table_and_columns, columns, suffix, rows, bind);
    writes.run(connection).await
}

#[cfg(test)]
mod tests {
    use super::{Writes, chunks, rows_of};

    fn sql(joins: bool) -> Vec<String> {
        let mut writes = Writes { joins, calls: Vec::new() };
        writes.insert("a (x, y)", 2, "", &[(1, "one")], |values, (x, y)| values.bind(*x).bind(*y));
        writes.insert("b (x)", 1, "on conflict do nothing", &[2], |values, x| values.bind(*x));
        writes.insert("nothing (x)", 1, "", &[0; 0], |values, x| values.bind(*x));
        writes.insert("c (x)", 1, "", &[3, 4, 5], |values, x| values.bind(*x));
        writes.calls.into_iter().map(|call| call.sql).collect()
    }

    #[test]
    fn single_rows_are_joined_where_the_database_takes_them_so() {
        let one = "insert into a (x, y) values ";
        let apart = [
            format!("{one}($1, $2) "),
            "insert into b (x) values ($1) on conflict do nothing".to_owned(),
            "insert into c (x) values ($1), ($2) ".to_owned(),
            "insert into c (x) values ($1) ".to_owned(),
        ];
        assert_eq!(sql(false), apart);
        let joined = [
            format!("{one}(?, ?) ; insert into b (x) values (?) on conflict do nothing"),
            "insert into c (x) values (?), (?) ".to_owned(),
            "insert into c (x) values (?) ".to_owned(),
        ];
        assert_eq!(sql(true), joined);
    }

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
