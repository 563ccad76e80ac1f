//! Taking batches so that nothing blocks a lane.
//!
//! A transaction shared by many gateways must not fail for one gateway's entry. It is tried whole; if that fails, site by
//! site; the site that fails, entry by entry; and the entry that fails alone is committed as it came, flagged, with a
//! fault. If even that fails it is not the entry but the database: the group is given up, nothing is acknowledged, and
//! the gateways send again.

use super::take::{Application, Incoming, Lateness, Taken, take};
use crate::clock;
use crate::ids::SiteId;
use crate::store::Store;

/// Takes all batches, in one transaction where that works.
pub(super) async fn take_all(
    store: &Store,
    lateness: &Lateness,
    incoming: Vec<Incoming>,
) -> Result<Taken, sqlx::Error> {
    match attempt(store, lateness, &incoming).await {
        Ok(taken) => return Ok(taken),
        Err(error) => {
            tracing::warn!(%error, batches = incoming.len(), "A shared transaction failed; trying site by site")
        }
    }
    let mut total = Taken::default();
    for (site_id, batches) in by_site(incoming) {
        match attempt(store, lateness, &batches).await {
            Ok(taken) => total.add(taken),
            Err(error) => {
                tracing::warn!(%error, site.id = %site_id, "A site's transaction failed; trying entry by entry");
                for batch in batches {
                    total.add(take_entry_by_entry(store, lateness, batch).await?);
                }
            }
        }
    }
    Ok(total)
}

async fn take_entry_by_entry(store: &Store, lateness: &Lateness, batch: Incoming) -> Result<Taken, sqlx::Error> {
    let single = |application| [Incoming { entries_max: 1, application, ..batch.clone() }];
    let mut total = Taken::default();
    loop {
        let taken = match attempt(store, lateness, &single(Application::Whole)).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(%error, site.id = %batch.site_id, "An entry cannot be applied; keeping it as it came");
                attempt(store, lateness, &single(Application::FlaggedOnly)).await?
            }
        };
        let is_done = taken.entries == 0;
        total.add(taken);
        if is_done {
            return Ok(total);
        }
    }
}

async fn attempt(store: &Store, lateness: &Lateness, incoming: &[Incoming]) -> Result<Taken, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let taken = take(&mut transaction, clock::utc_ms(), lateness, incoming).await?;
    transaction.commit().await?;
    Ok(taken)
}

fn by_site(incoming: Vec<Incoming>) -> Vec<(SiteId, Vec<Incoming>)> {
    let mut sites: Vec<(SiteId, Vec<Incoming>)> = Vec::new();
    for batch in incoming {
        match sites.iter_mut().find(|(site_id, _)| *site_id == batch.site_id) {
            Some((_, batches)) => batches.push(batch),
            None => sites.push((batch.site_id.clone(), vec![batch])),
        }
    }
    sites
}

impl Taken {
    fn add(&mut self, other: Self) {
        self.acks.extend(other.acks);
        self.entries += other.entries;
        self.presses += other.presses;
    }
}
