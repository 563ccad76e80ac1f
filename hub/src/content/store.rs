//! The tables `content` and `content_link`.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row as _};
use tongluo_protocols::content::{ContentHash, MediaType};

use super::{Audience, Stat};
use crate::ids::SiteId;

/// Rows that one round of expiry removes: each costs the removal of a file, and the writer is not to wait long.
pub(super) const EXPIRED_AT_ONCE_MAX: i64 = 256;

pub(super) async fn insert(connection: &mut AnyConnection, hash: &ContentHash, stat: &Stat) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into content (sha256, bytes, media_type, audience, origin_site_id, received_ms) \
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
    )
    .bind(hash.to_string())
    .bind(i64::try_from(stat.bytes).unwrap_or(i64::MAX))
    .bind(stat.media_type.name())
    .bind(stat.audience.name())
    .bind(stat.origin.as_ref().map(|site| site.as_str().to_owned()))
    .bind(stat.received_ms)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn stat(reader: &AnyPool, hash: &ContentHash) -> Result<Option<Stat>, sqlx::Error> {
    let row =
        sqlx::query("select bytes, media_type, audience, origin_site_id, received_ms from content where sha256 = $1")
            .bind(hash.to_string())
            .fetch_optional(reader)
            .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &AnyRow) -> Result<Stat, sqlx::Error> {
    let (media_type, audience): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let unreadable = |what: &str, found: &str| sqlx::Error::Decode(format!("{what} {found:?} is not known").into());
    Ok(Stat {
        bytes: u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0),
        media_type: MediaType::from_name(&media_type).ok_or_else(|| unreadable("the media type", &media_type))?,
        audience: Audience::from_name(&audience).ok_or_else(|| unreadable("the audience", &audience))?,
        origin: row.try_get::<Option<String>, _>(3)?.map(SiteId::from_known),
        received_ms: row.try_get(4)?,
    })
}

/// Bytes that a site has brought and that are still kept.
pub(super) async fn bytes_of(reader: &AnyPool, site: &SiteId) -> Result<u64, sqlx::Error> {
    // PostgreSQL sums bigints to a numeric, which sqlx's Any driver does not carry.
    let bytes: i64 =
        sqlx::query_scalar("select cast(coalesce(sum(bytes), 0) as bigint) from content where origin_site_id = $1")
            .bind(site.as_str())
            .fetch_one(reader)
            .await?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// How many contents there are, and how many bytes they have.
pub(super) async fn totals(reader: &AnyPool) -> Result<(i64, i64), sqlx::Error> {
    let row =
        sqlx::query("select count(*), cast(coalesce(sum(bytes), 0) as bigint) from content").fetch_one(reader).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

pub(super) async fn link(
    connection: &mut AnyConnection,
    hash: &ContentHash,
    subject: &str,
    expires_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into content_link (sha256, subject, expires_ms) values ($1, $2, $3) \
         on conflict (sha256, subject) do update set expires_ms = excluded.expires_ms",
    )
    .bind(hash.to_string())
    .bind(subject)
    .bind(expires_ms)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn unlink(connection: &mut AnyConnection, subject: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from content_link where subject = $1").bind(subject).execute(connection).await?;
    Ok(())
}

/// Removes links that have expired, and gives contents that nothing keeps any more, received before `unclaimed_before_ms`.
pub(super) async fn expire(
    connection: &mut AnyConnection,
    now_ms: i64,
    unclaimed_before_ms: i64,
) -> Result<Vec<ContentHash>, sqlx::Error> {
    sqlx::query("delete from content_link where expires_ms <= $1").bind(now_ms).execute(&mut *connection).await?;
    let expired: Vec<String> = sqlx::query_scalar(
        "select sha256 from content where received_ms < $1 \
         and not exists (select 1 from content_link where content_link.sha256 = content.sha256) \
         order by received_ms limit $2",
    )
    .bind(unclaimed_before_ms)
    .bind(EXPIRED_AT_ONCE_MAX)
    .fetch_all(&mut *connection)
    .await?;
    for sha256 in &expired {
        remove_row(connection, sha256).await?;
    }
    Ok(expired.iter().filter_map(|text| ContentHash::parse(text)).collect())
}

pub(super) async fn remove(connection: &mut AnyConnection, hash: &ContentHash) -> Result<(), sqlx::Error> {
    remove_row(connection, &hash.to_string()).await
}

async fn remove_row(connection: &mut AnyConnection, sha256: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from content where sha256 = $1").bind(sha256).execute(connection).await?;
    Ok(())
}
