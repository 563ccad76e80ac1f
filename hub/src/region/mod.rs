//! The county's places, by their national statistical codes: county, townships, villages, groups, grids.
//!
//! A parent's code is a prefix of its children's, which is what rights rest on. The codes of Suiping come with the hub;
//! any county imports its own as CSV. Codes are revised now and then: an import adds and renames, and never removes a
//! place, because sites, alarms and accounts may lie in it.

mod http;
mod import;
mod store;
#[cfg(test)]
mod tests;

use sqlx::AnyConnection;

use crate::ids::RegionCode;
use crate::store::Store;

pub use http::{ImportResult, Region, RegionPage, RegionRoom, routes};
pub use import::{ImportRefused, LineRefused};
pub use store::{exists, name};

/// Suiping county with its 18 townships and 204 villages.
const SUIPING: &str = include_str!("../../../data/suiping-regions.csv");

/// Names from the county down to a region; places that are not known are left out.
///
/// # Errors
/// The database's.
pub async fn path_names(connection: &mut AnyConnection, region: &RegionCode) -> Result<Vec<String>, sqlx::Error> {
    store::path_names(connection, region).await
}

/// The county itself. `None`: nothing was imported yet.
///
/// # Errors
/// The database's.
pub async fn county(connection: &mut AnyConnection) -> Result<Option<RegionCode>, sqlx::Error> {
    store::county(connection).await
}

/// Fills a new hub with a county's regions: the given CSV's, or Suiping's. A hub that has some keeps them. Returns the
/// county.
///
/// # Errors
/// The CSV is refused, or the database fails.
pub async fn seed(store: &Store, csv: Option<&str>) -> anyhow::Result<RegionCode> {
    let mut transaction = store.begin().await?;
    if let Some(county) = county(&mut transaction).await? {
        return Ok(county);
    }
    let rows = import::parse(csv.unwrap_or(SUIPING))?;
    store::import(&mut transaction, &rows).await??;
    let county = county(&mut transaction).await?.ok_or_else(|| anyhow::anyhow!("the regions name no county"))?;
    transaction.commit().await?;
    Ok(county)
}
