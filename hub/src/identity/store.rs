//! Accounts and sessions in the database.

use sqlx::{AnyConnection, AnyPool};

use crate::ids::{AccountId, RegionCode};
use crate::viewer::{Role, Viewer};
use crate::web::Language;

/// The person of a live session of an enabled account.
pub(super) async fn viewer(
    reader: &AnyPool,
    token_sha256: &[u8; 32],
    now_ms: i64,
) -> Result<Option<Viewer>, sqlx::Error> {
    type Row = (String, String, String, String, String, String, i64);
    let row: Option<Row> = sqlx::query_as(
        "select account.id, username, display_name, role, region_code, language, expires_ms \
         from session join account on account.id = session.account_id \
         where token_sha256 = $1 and expires_ms > $2 and disabled = 0",
    )
    .bind(token_sha256.to_vec())
    .bind(now_ms)
    .fetch_optional(reader)
    .await?;
    row.map(|(id, username, display_name, role, region, language, expires_ms)| {
        Ok(Viewer {
            account_id: AccountId::from_known(id),
            username,
            display_name,
            role: known_role(&role)?,
            region: RegionCode::from_known(region),
            language: Language::from_tag(&language),
            session_sha256: *token_sha256,
            expires_ms,
        })
    })
    .transpose()
}

/// A role from the database; the table's check allows no other.
pub(super) fn known_role(name: &str) -> Result<Role, sqlx::Error> {
    Role::parse(name).ok_or_else(|| sqlx::Error::Decode(format!("account.role is {name:?}").into()))
}

/// What logging in needs of an account.
pub(super) struct AccountCredentials {
    pub(super) id: AccountId,
    pub(super) password_hash: String,
    pub(super) region: RegionCode,
    pub(super) disabled: bool,
}

/// The account of a lower-case name.
pub(super) async fn credentials(reader: &AnyPool, username: &str) -> Result<Option<AccountCredentials>, sqlx::Error> {
    let row: Option<(String, String, String, i64)> =
        sqlx::query_as("select id, password_hash, region_code, disabled from account where username = $1")
            .bind(username)
            .fetch_optional(reader)
            .await?;
    Ok(row.map(|(id, password_hash, region, disabled)| AccountCredentials {
        id: AccountId::from_known(id),
        password_hash,
        region: RegionCode::from_known(region),
        disabled: disabled != 0,
    }))
}

/// An account that is about to be.
pub(super) struct NewAccount<'a> {
    pub(super) id: AccountId,
    pub(super) username: &'a str,
    pub(super) display_name: &'a str,
    pub(super) password_hash: &'a str,
    pub(super) role: Role,
    pub(super) region: &'a RegionCode,
    pub(super) language: &'a str,
}

/// Adds an account.
pub(super) async fn insert_account(
    connection: &mut AnyConnection,
    now_ms: i64,
    account: &NewAccount<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into account (id, username, display_name, password_hash, role, region_code, language, disabled, \
         created_ms) values ($1, $2, $3, $4, $5, $6, $7, 0, $8)",
    )
    .bind(account.id.as_str())
    .bind(account.username)
    .bind(account.display_name)
    .bind(account.password_hash)
    .bind(account.role.as_str())
    .bind(account.region.as_str())
    .bind(account.language)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Begins a session.
pub(super) async fn insert_session(
    connection: &mut AnyConnection,
    token_sha256: &[u8; 32],
    account: &AccountId,
    now_ms: i64,
    expires_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into session (token_sha256, account_id, created_ms, expires_ms) values ($1, $2, $3, $4)")
        .bind(token_sha256.to_vec())
        .bind(account.as_str())
        .bind(now_ms)
        .bind(expires_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends a session.
pub(super) async fn delete_session(connection: &mut AnyConnection, token_sha256: &[u8; 32]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from session where token_sha256 = $1").bind(token_sha256.to_vec()).execute(connection).await?;
    Ok(())
}

/// Removes sessions that have ended by themselves.
pub(super) async fn delete_old_sessions(connection: &mut AnyConnection, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from session where expires_ms <= $1").bind(now_ms).execute(connection).await?;
    Ok(())
}
