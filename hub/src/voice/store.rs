//! SQL of sounds.

use sqlx::{AnyConnection, Row as _};
use tongluo_protocols::content::ContentHash;

use crate::ids::{AccountId, RegionCode};
use crate::store::Store;

/// A sound that was just made and whose content is not there yet may be on its way to the disk.
const NEW_MS: i64 = 3_600_000;

/// A sound that may be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSound {
    /// Of its WAV file.
    pub bytes: i64,
    /// How long it sounds once.
    pub duration_ms: i64,
    /// What was spoken; `None`: a recording.
    pub spoken_text: Option<String>,
}

/// What is noted of a sound.
#[derive(Clone, Debug)]
pub(super) struct NewSound<'a> {
    pub(super) hash: &'a ContentHash,
    pub(super) region: &'a RegionCode,
    pub(super) bytes: i64,
    pub(super) duration_ms: i64,
    pub(super) loudness_lufs: f64,
    pub(super) spoken_text: Option<&'a str>,
    pub(super) account: &'a AccountId,
}

/// A sound that somebody of `region` may hear: made there, below, or by a level above it. `None`: there is no such sound for
/// them.
///
/// # Errors
/// The database's.
pub async fn known(
    connection: &mut AnyConnection,
    region: &RegionCode,
    hash: &ContentHash,
) -> Result<Option<KnownSound>, sqlx::Error> {
    let row = sqlx::query(
        "select bytes, duration_ms, spoken_text from sound where sha256 = $1 \
         and ((region_code >= $2 and region_code < $3) or region_code = substr($2, 1, length(region_code))) \
         order by region_code limit 1",
    )
    .bind(hash.to_string())
    .bind(region.as_str())
    .bind(region.end())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(KnownSound {
            bytes: row.try_get("bytes")?,
            duration_ms: row.try_get("duration_ms")?,
            spoken_text: row.try_get("spoken_text")?,
        })
    })
    .transpose()
}

/// How many sounds an account has made since a moment.
pub(super) async fn count_since(
    connection: &mut AnyConnection,
    account: &AccountId,
    since_ms: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from sound where account_id = $1 and made_ms >= $2")
        .bind(account.as_str())
        .bind(since_ms)
        .fetch_one(connection)
        .await
}

/// Notes a sound. The same sound of the same region again is as new.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    now_ms: i64,
    sound: &NewSound<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into sound (sha256, region_code, bytes, duration_ms, loudness_lufs, spoken_text, account_id, made_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (sha256, region_code) do update set \
         account_id = excluded.account_id, made_ms = excluded.made_ms",
    )
    .bind(sound.hash.to_string())
    .bind(sound.region.as_str())
    .bind(sound.bytes)
    .bind(sound.duration_ms)
    .bind(sound.loudness_lufs)
    .bind(sound.spoken_text)
    .bind(sound.account.as_str())
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets sounds whose content is kept no longer.
///
/// # Errors
/// The database's.
pub async fn expire(store: &Store, now_ms: i64) -> Result<u64, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let forgotten = sqlx::query(
        "delete from sound where made_ms < $1 and not exists (select 1 from content where content.sha256 = sound.sha256)",
    )
    .bind(now_ms - NEW_MS)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(forgotten.rows_affected())
}
