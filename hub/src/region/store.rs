//! Regions in the database.

use std::collections::HashMap;

use sqlx::AnyConnection;

use super::http::{ImportResult, Region};
use super::import::{ImportRefused, Refusals, Row};
use crate::ids::RegionCode;
use crate::store::insert_rows;

/// Most places a hub holds: a county with every grid, group and village is far below.
const REGIONS_MAX: usize = 100_000;

/// The name of a region. `None`: there is no such region.
///
/// # Errors
/// The database's.
pub async fn name(connection: &mut AnyConnection, region: &RegionCode) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select name from region where code = $1").bind(region.as_str()).fetch_optional(connection).await
}

/// Whether there is such a region.
///
/// # Errors
/// The database's.
pub async fn exists(connection: &mut AnyConnection, region: &RegionCode) -> Result<bool, sqlx::Error> {
    Ok(name(connection, region).await?.is_some())
}

pub(super) async fn county(connection: &mut AnyConnection) -> Result<Option<RegionCode>, sqlx::Error> {
    let code: Option<String> = sqlx::query_scalar("select code from region where parent is null order by code limit 1")
        .fetch_optional(connection)
        .await?;
    Ok(code.map(RegionCode::from_known))
}

pub(super) async fn path_names(
    connection: &mut AnyConnection,
    region: &RegionCode,
) -> Result<Vec<String>, sqlx::Error> {
    // Every code that is a prefix of this one, shortest first.
    sqlx::query_scalar("select name from region where code = substr($1, 1, length(code)) order by length(code)")
        .bind(region.as_str())
        .fetch_all(connection)
        .await
}

/// The region itself (`children_of` is false) or those directly below it.
pub(super) async fn list(
    connection: &mut AnyConnection,
    region: &RegionCode,
    children_of: bool,
) -> Result<Vec<Region>, sqlx::Error> {
    type Found = (String, String, String, Option<String>);
    let query = if children_of {
        "select code, name, level, parent from region where parent = $1 order by code"
    } else {
        "select code, name, level, parent from region where code = $1"
    };
    let rows: Vec<Found> = sqlx::query_as(query).bind(region.as_str()).fetch_all(connection).await?;
    let region = |(code, name, level, parent): Found| Region {
        code: RegionCode::from_known(code),
        name,
        level,
        parent: parent.map(RegionCode::from_known),
    };
    Ok(rows.into_iter().map(region).collect())
}

/// Adds and renames; removes nothing. Every parent must be in the import or in the database, and there is one county.
pub(super) async fn import(
    connection: &mut AnyConnection,
    rows: &[Row],
) -> Result<Result<ImportResult, ImportRefused>, sqlx::Error> {
    let held: Vec<(String, String)> =
        sqlx::query_as("select code, name from region").fetch_all(&mut *connection).await?;
    let held: HashMap<String, String> = held.into_iter().collect();
    if let Err(refused) = check(rows, &held) {
        return Ok(Err(refused));
    }
    let mut result = ImportResult { added: 0, changed: 0, unchanged: 0 };
    let mut written = Vec::new();
    for row in rows {
        match held.get(row.code.as_str()) {
            Some(name) if *name == row.name => result.unchanged += 1,
            Some(_) => {
                result.changed += 1;
                written.push(row);
            }
            None => {
                result.added += 1;
                written.push(row);
            }
        }
    }
    insert_rows(
        connection,
        "region (code, name, level, parent)",
        4,
        "on conflict (code) do update set name = excluded.name",
        &written,
        |query, row| {
            let parent = row.parent.as_ref().map(|parent| parent.as_str().to_owned());
            query.bind(row.code.as_str()).bind(row.name.as_str()).bind(row.level).bind(parent)
        },
    )
    .await?;
    Ok(Ok(result))
}

fn check(rows: &[Row], held: &HashMap<String, String>) -> Result<(), ImportRefused> {
    let new: std::collections::HashSet<&str> =
        rows.iter().map(|row| row.code.as_str()).filter(|code| !held.contains_key(*code)).collect();
    if held.len() + new.len() > REGIONS_MAX {
        return Err(ImportRefused::TooMany);
    }
    let mut refusals = Refusals::default();
    let mut county = held.keys().find(|code| code.len() == 6).cloned();
    for row in rows {
        match &row.parent {
            Some(parent) if !held.contains_key(parent.as_str()) && !new.contains(parent.as_str()) => {
                refusals.add(
                    row.line,
                    format!("上级 {parent} 既不在文件里，也不在平台里"),
                    format!("the parent {parent} is neither in the file nor in the hub"),
                );
            }
            Some(_) => {}
            None if county.as_deref().is_some_and(|county| county != row.code.as_str()) => {
                refusals.add(row.line, "一个平台只管一个县", "a hub serves one county");
            }
            None => county = Some(row.code.as_str().to_owned()),
        }
    }
    refusals.or(())
}
