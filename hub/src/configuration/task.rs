//! Builds what is due and orders it.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::id::{ContentId, Lane};
use tongluo_protocols::order::ConfigurationOrder;

use super::store::{self, Ordered};
use super::{Contributor, http};
use crate::clock;
use crate::ids::SiteId;
use crate::order::{NewOrder, Orders};
use crate::seal::Seal;
use crate::store::Store;

/// How often marks are looked for: what a technician changes reaches the village about a second later.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sites in one look; more wait for the next.
const SITES_PER_LOOK: i64 = 64;
/// When a site whose configuration could not be built is tried again.
const POSTPONED_MS: i64 = 60_000;
/// A gateway that was away for longer is given its configuration anew when somebody changes it.
const VALID_MS: i64 = 365 * 24 * 3600 * 1000;

/// Builds and orders configurations.
pub struct Configurations {
    store: Store,
    seal: Seal,
    orders: Orders,
    contributors: Vec<Arc<dyn Contributor>>,
}

impl std::fmt::Debug for Configurations {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Configurations").field("contributors", &self.contributors.len()).finish_non_exhaustive()
    }
}

impl Configurations {
    /// A builder over these rooms; nothing is built until [`Configurations::run`] is called.
    pub fn new(store: Store, seal: Seal, orders: Orders, contributors: Vec<Arc<dyn Contributor>>) -> Self {
        Self { store, seal, orders, contributors }
    }

    /// Builds what is due for as long as the hub runs.
    pub async fn run(self) {
        let mut caught_up = false;
        loop {
            let now_ms = clock::utc_ms();
            let done = match caught_up {
                true => self.round(now_ms).await,
                false => self.catch_up(now_ms).await.inspect(|()| caught_up = true),
            };
            if let Err(error) = done {
                tracing::error!(%error, "Configurations cannot be read or written; they are tried again");
            }
            clock::pause(LOOK_EVERY).await;
        }
    }

    /// Marks the sites of before there were configurations.
    async fn catch_up(&self, now_ms: i64) -> Result<(), sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        store::mark_untold(&mut transaction, now_ms).await?;
        transaction.commit().await
    }

    /// Builds what is due now.
    pub(super) async fn round(&self, now_ms: i64) -> Result<(), sqlx::Error> {
        let due = store::due(&mut *self.store.reader().acquire().await?, now_ms, SITES_PER_LOOK).await?;
        for site in due {
            match self.build(now_ms, &site).await {
                Ok(Some(revision)) => {
                    tracing::info!(site.id = %site, configuration.revision = revision, "A configuration was ordered");
                    self.orders.wake(&site);
                }
                Ok(None) => {}
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(site.id = %site, error, "A configuration cannot be built; it is tried again in a minute");
                    let mut transaction = self.store.begin().await?;
                    store::postpone(&mut transaction, &site, now_ms + POSTPONED_MS).await?;
                    transaction.commit().await?;
                }
            }
        }
        Ok(())
    }

    /// Builds one; answers its revision if it is a new one.
    async fn build(&self, now_ms: i64, site: &SiteId) -> anyhow::Result<Option<i64>> {
        let mut transaction = self.store.begin().await?;
        store::unmark(&mut transaction, site).await?;
        let former = store::ordered(&mut transaction, site).await?;
        let region_code = store::region(&mut transaction, site).await?.unwrap_or_default();
        let revision = former.as_ref().map_or(0, |former| former.revision);
        let mut configuration = Configuration {
            revision: u64::try_from(revision)?,
            site_id: site.as_str().to_owned(),
            region_code,
            ..Configuration::default()
        };
        for contributor in &self.contributors {
            contributor.contribute(&mut transaction, site, &mut configuration).await?;
        }
        if former.is_some_and(|former| sha256(&configuration.emit().unwrap_or_default()).to_string() == former.sha256) {
            transaction.commit().await?;
            return Ok(None);
        }
        configuration.revision += 1;
        let revision = revision + 1;
        let bytes = configuration.emit()?;
        let content = sha256(&bytes);
        let sealed = self.seal.seal(&http::label(site), &bytes);
        let ordered = Ordered { revision, sha256: content.to_string() };
        store::save(&mut transaction, now_ms, site, &ordered, i64::try_from(bytes.len())?, &sealed).await?;
        let mut body = [0; 32];
        let order = ConfigurationOrder { revision: configuration.revision, bytes: bytes.len() as u64 };
        let length = order.emit(&mut body)?;
        let order = NewOrder {
            kind: ConfigurationOrder::KIND,
            lane: Lane::Routine,
            valid_ms: VALID_MS,
            sound: None,
            content: Some(content),
            body: &body[..length],
        };
        self.orders.give(&mut transaction, now_ms, site, &order).await?;
        transaction.commit().await?;
        Ok(Some(revision))
    }
}

fn sha256(bytes: &[u8]) -> ContentId {
    ContentId(Sha256::digest(bytes).into())
}
