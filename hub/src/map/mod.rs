//! The map of the county: its outline, and where sites, devices and cameras stand.
//!
//! One answer holds everything of the viewer's region in short rows, so that thirteen thousand points arrive in one
//! compressed message and are drawn at once. What changes afterwards comes over the change log like everywhere else.
//! The outline is read once, when the county is made; there are no tiles and no foreign servers.

mod http;
mod outline;
mod store;
#[cfg(test)]
mod tests;

use crate::ids::RegionCode;
use crate::store::Store;

pub use http::{MapRoom, routes};
pub use outline::OutlineRefused;

/// Suiping's outline; `data/README.md` says where it comes from and what must be checked before it is published.
const SUIPING: &str = include_str!("../../../data/suiping-outline.geojson");
/// Whose outline comes with the hub.
const SUIPING_CODE: &str = "411728";

/// Gives a new county its outline: the given GeoJSON's, or Suiping's if it is Suiping. Another county without a file has
/// none, and its map draws its points alone. An outline that is there stays.
///
/// # Errors
/// The GeoJSON is refused, or the database fails.
pub async fn seed(store: &Store, county: &RegionCode, geojson: Option<&str>) -> anyhow::Result<()> {
    let text = match geojson {
        Some(text) => text,
        None if county.as_str() == SUIPING_CODE => SUIPING,
        None => return Ok(()),
    };
    let geometry = outline::parse(text)?;
    let mut transaction = store.begin().await?;
    store::keep_outline(&mut transaction, county, &geometry).await?;
    transaction.commit().await?;
    Ok(())
}
