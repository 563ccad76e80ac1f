//! `tongluo-hub init`: what a county needs before it can serve.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use crate::clock;
use crate::config::Config;
use crate::fleet::Authority;
use crate::identity;
use crate::lock::DataLock;
use crate::map;
use crate::region;
use crate::seal::Seal;
use crate::store::Store;

/// What `init` made. The password is nowhere else.
#[derive(Clone, Debug)]
pub struct Made {
    username: String,
    password: String,
    ca_fingerprint: String,
}

impl Made {
    /// One JSON object.
    pub fn json(&self) -> String {
        json!({ "username": self.username, "password": self.password, "ca_fingerprint": self.ca_fingerprint })
            .to_string()
    }

    /// For a person.
    pub fn sentence(&self) -> String {
        format!(
            "The county is made. Log in as \"{}\" with the password {} and change it; it is not shown again.\n\
             CA fingerprint (SHA-256): {}",
            self.username, self.password, self.ca_fingerprint
        )
    }
}

/// Makes the authority, the tables, the regions (Suiping's, or those of a CSV file), the county's outline (Suiping's, or
/// that of a GeoJSON file) and the first administrator.
///
/// # Errors
/// It was done before, the CSV or the outline is wrong, or a file or the database cannot be written. An `init` that failed half way may
/// be run again after the data folder was emptied.
pub async fn init(config: &Config, regions: Option<&Path>, outline: Option<&Path>) -> anyhow::Result<Made> {
    let _lock = DataLock::take(&config.data_dir)?;
    let now_ms = clock::utc_ms();
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let csv = regions.map(read).transpose()?;
    let geojson = outline.map(read).transpose()?;
    let authority = Authority::create(&config.data_dir, now_ms)?;
    Seal::open(&config.data_dir)?;
    let store = Store::open(&config.store()).await.context("cannot open the database")?;
    let county = region::seed(&store, csv.as_deref()).await?;
    map::seed(&store, &county, geojson.as_deref()).await?;
    let (username, password) = identity::create_first_administrator(&store, &county, now_ms).await?;
    store.close().await;
    Ok(Made { username, password, ca_fingerprint: authority.fingerprint().to_owned() })
}
