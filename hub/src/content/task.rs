//! What goes by itself: contents that nothing keeps, files without a row, rows without a file, uploads that were given up.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use tongluo_protocols::content::ContentHash;

use super::{Content, store};
use crate::clock;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// A gateway that has not gone on with an upload for so long has given it up, or sends it anew.
const PARTIAL_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Looks now and every hour.
pub async fn run(content: Content) {
    if let Err(error) = sweep(&content).await {
        tracing::error!(error = format!("{error:#}"), "Files that belong to nothing could not be looked for");
    }
    loop {
        match expire(&content, clock::utc_ms()).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(content.removed = removed, "Content was removed that nothing keeps any more"),
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "Old content could not be removed; the next try is in an hour"
            ),
        }
        clock::pause(EVERY).await;
    }
}

/// Removes what has expired; answers how many contents that were.
pub(super) async fn expire(content: &Content, now_ms: i64) -> anyhow::Result<usize> {
    let mut removed = 0;
    loop {
        // A content that arrives again meanwhile waits, and is then whole: row and file.
        let _settling = content.0.settling.lock().await;
        let unclaimed_before_ms = now_ms - i64::from(content.0.config.unclaimed_days) * DAY_MS;
        let mut transaction = content.0.store.begin().await?;
        let expired = store::expire(&mut transaction, now_ms, unclaimed_before_ms).await?;
        transaction.commit().await?;
        for hash in &expired {
            content.0.shelf.remove(hash).await?;
        }
        removed += expired.len();
        if expired.is_empty() {
            break;
        }
    }
    let partials = content.0.shelf.remove_partials(now_ms - PARTIAL_MS).context("old uploads cannot be removed")?;
    if partials > 0 {
        tracing::info!(content.partials = partials, "Uploads that nobody goes on with were removed");
    }
    Ok(removed)
}

/// A crash may leave a file without its row; a restored backup, either without the other.
pub(super) async fn sweep(content: &Content) -> anyhow::Result<()> {
    let mut found = content.0.shelf.all();
    while let Some(hash) = found.try_next().await? {
        let _settling = content.0.settling.lock().await;
        if content.stat(&hash).await?.is_none() {
            tracing::warn!(content.hash = %hash, "A file that no row knows is removed");
            content.0.shelf.remove(&hash).await?;
        }
    }
    let rows: Vec<String> =
        sqlx::query_scalar("select sha256 from content").fetch_all(content.0.store.reader()).await?;
    for hash in rows.iter().filter_map(|text| ContentHash::parse(text)) {
        let _settling = content.0.settling.lock().await;
        if !content.0.shelf.holds(&hash).await? {
            tracing::error!(content.hash = %hash, "The bytes of a content are gone; it is forgotten");
            let mut transaction = content.0.store.begin().await?;
            store::remove(&mut transaction, &hash).await?;
            transaction.commit().await?;
        }
    }
    Ok(())
}
