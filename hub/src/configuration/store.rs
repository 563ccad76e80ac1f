//! SQL of configurations: which are due, and which each site was last ordered to follow.

use sqlx::AnyConnection;

use crate::ids::SiteId;

/// What a site was last ordered to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    pub(super) revision: i64,
    /// Lower-case hexadecimal.
    pub(super) sha256: String,
}

/// Marks every enrolled site that was never told anything.
pub(super) async fn mark_untold(connection: &mut AnyConnection, now_ms: i64) -> Result<u64, sqlx::Error> {
    let marked = sqlx::query(
        "insert into configuration_due (site_id, marked_ms) \
         select site_id, $1 from certificate where revoked_ms is null \
         and site_id not in (select site_id from configuration) on conflict (site_id) do nothing",
    )
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(marked.rows_affected())
}

/// Sites that are due, the longest waiting first.
pub(super) async fn due(connection: &mut AnyConnection, now_ms: i64, count: i64) -> Result<Vec<SiteId>, sqlx::Error> {
    let sites: Vec<String> = sqlx::query_scalar(
        "select site_id from configuration_due where marked_ms <= $1 order by marked_ms, site_id limit $2",
    )
    .bind(now_ms)
    .bind(count)
    .fetch_all(connection)
    .await?;
    Ok(sites.into_iter().map(SiteId::from_known).collect())
}

/// Takes the mark of a site away. Whoever marks it again meanwhile waits for this transaction, and is found afterwards.
pub(super) async fn unmark(connection: &mut AnyConnection, site: &SiteId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from configuration_due where site_id = $1").bind(site.as_str()).execute(connection).await?;
    Ok(())
}

/// Has a site that could not be built wait.
pub(super) async fn postpone(connection: &mut AnyConnection, site: &SiteId, until_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update configuration_due set marked_ms = $2 where site_id = $1")
        .bind(site.as_str())
        .bind(until_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// The region of a site.
pub(super) async fn region(connection: &mut AnyConnection, site: &SiteId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select region_code from site where id = $1")
        .bind(site.as_str())
        .fetch_optional(connection)
        .await
}

/// What the site was last ordered to follow, if anything.
pub(super) async fn ordered(connection: &mut AnyConnection, site: &SiteId) -> Result<Option<Ordered>, sqlx::Error> {
    let row: Option<(i64, String)> = sqlx::query_as("select revision, sha256 from configuration where site_id = $1")
        .bind(site.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(revision, sha256)| Ordered { revision, sha256 }))
}

/// Keeps the document that a site is now ordered to follow, in the place of the former.
pub(super) async fn save(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    ordered: &Ordered,
    bytes: i64,
    sealed: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into configuration (site_id, revision, sha256, bytes, sealed, made_ms) \
         values ($1, $2, $3, $4, $5, $6) \
         on conflict (site_id) do update set revision = excluded.revision, sha256 = excluded.sha256, \
         bytes = excluded.bytes, sealed = excluded.sealed, made_ms = excluded.made_ms",
    )
    .bind(site.as_str())
    .bind(ordered.revision)
    .bind(&ordered.sha256)
    .bind(bytes)
    .bind(sealed)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// The sealed document of a site with this hash, and its revision.
pub(super) async fn sealed(
    connection: &mut AnyConnection,
    site: &SiteId,
    sha256: &str,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("select sealed from configuration where site_id = $1 and sha256 = $2")
        .bind(site.as_str())
        .bind(sha256)
        .fetch_optional(connection)
        .await
}
