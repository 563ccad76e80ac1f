//! That a site's configuration is to be built anew. The mark lies here, below the rooms that have something to say in a
//! configuration; the room that builds it lies above them.

use sqlx::AnyConnection;

use crate::ids::SiteId;

/// Has the gateway that now fills a site told everything, whatever the one before it was told.
pub(super) async fn begin_anew(connection: &mut AnyConnection, now_ms: i64, site: &SiteId) -> Result<(), sqlx::Error> {
    // No document has this hash, so the next one differs.
    sqlx::query("update configuration set sha256 = '' where site_id = $1")
        .bind(site.as_str())
        .execute(&mut *connection)
        .await?;
    mark(connection, now_ms, site).await
}

/// Marks a site in the transaction that changed what its gateway is told.
///
/// # Errors
/// The database's.
pub async fn mark(connection: &mut AnyConnection, now_ms: i64, site: &SiteId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into configuration_due (site_id, marked_ms) values ($1, $2) \
         on conflict (site_id) do update set marked_ms = excluded.marked_ms",
    )
    .bind(site.as_str())
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}
