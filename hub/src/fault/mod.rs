//! Faults: what is broken, since when, until somebody or the thing itself clears it.
//!
//! Silence is never taken for health, and trouble is never dropped: whatever the ledger cannot use, whatever a gateway
//! or a device reports of itself, and whatever was lost becomes a row here. One open fault per (site, source, code);
//! repeats raise its count.

mod http;
mod store;

use std::collections::HashSet;

use serde_json::json;
use sqlx::AnyConnection;

use crate::ids::{DeviceId, RegionCode, SiteId};
use crate::live::Draft;

pub use http::{FaultRoom, routes};
pub use store::FaultView;

/// Longest detail, in characters; longer ones are cut.
const DETAIL_CHARS_MAX: usize = 500;

/// Something that is wrong, or no longer wrong.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where.
    pub site_id: SiteId,
    /// The site's region.
    pub region: RegionCode,
    /// The device, when it is one.
    pub device_id: Option<DeviceId>,
    /// Device key, or the part of the gateway or hub.
    pub source: String,
    /// What kind, e.g. `journal.lost`.
    pub code: String,
    /// What exactly, for the person who mends it.
    pub detail: String,
    /// Whether it is wrong now.
    pub active: bool,
}

/// Opens, repeats or clears the fault of a report. Returns what to append to the change log; nothing when a fault that
/// is not open was reported as over.
///
/// # Errors
/// The database's.
pub async fn take(connection: &mut AnyConnection, now_ms: i64, report: &Report) -> Result<Option<Draft>, sqlx::Error> {
    take_since(connection, now_ms, report, now_ms).await
}

/// The same of what is known to have begun earlier: a fault that it opens says since when.
///
/// # Errors
/// The database's.
pub async fn take_since(
    connection: &mut AnyConnection,
    now_ms: i64,
    report: &Report,
    since_ms: i64,
) -> Result<Option<Draft>, sqlx::Error> {
    let detail: String = report.detail.chars().take(DETAIL_CHARS_MAX).collect();
    let changed = if report.active {
        Some(store::open_or_repeat(connection, now_ms, report, &detail, since_ms.min(now_ms)).await?)
    } else {
        store::clear_by_source(connection, now_ms, report, &detail).await?
    };
    match changed {
        Some(id) => draft(connection, &id).await.map(Some),
        None => Ok(None),
    }
}

/// Which faults of some sources are open: source and code of each. The sources are of things that have ids, which no other
/// site's thing has.
///
/// # Errors
/// The database's.
pub async fn open_of(
    connection: &mut AnyConnection,
    sources: &[(&SiteId, String)],
) -> Result<HashSet<(String, String)>, sqlx::Error> {
    store::open_of(connection, sources).await
}

/// Clears every open fault of a source that is no more. Returns what to append to the change log.
///
/// # Errors
/// The database's.
pub async fn clear_source(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    source: &str,
) -> Result<Vec<Draft>, sqlx::Error> {
    let mut drafts = Vec::new();
    for id in store::clear_all_of_source(connection, now_ms, site, source).await? {
        drafts.push(draft(connection, &id).await?);
    }
    Ok(drafts)
}

async fn draft(connection: &mut AnyConnection, id: &str) -> Result<Draft, sqlx::Error> {
    let view = store::one(connection, id).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(Draft { kind: "fault", region: view.region_code.clone(), subject: id.to_owned(), body: json!(view) })
}
