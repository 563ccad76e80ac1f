//! Accounts and sessions in the database.

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use super::account::User;
use super::session::session_ms;
use crate::ids::{AccountId, RegionCode};
use crate::viewer::{Role, Viewer};
use crate::web::Language;

/// Sessions of one account; the oldest end when there are more. Several pages on several machines, and no more.
const SESSIONS_PER_ACCOUNT_MAX: i64 = 20;

/// What it takes to check a password.
pub(super) struct Credential {
    pub(super) account_id: AccountId,
    pub(super) password_hash: String,
    pub(super) role: Role,
    pub(super) disabled: bool,
}

/// An account to be written.
pub(super) struct NewAccount<'a> {
    pub(super) id: &'a AccountId,
    pub(super) username: &'a str,
    pub(super) display_name: &'a str,
    pub(super) password_hash: &'a str,
    pub(super) role: Role,
    pub(super) region: &'a RegionCode,
    pub(super) language: Language,
}

/// The person of a live session of an enabled account.
pub(super) async fn viewer(
    executor: impl Executor<'_, Database = Any>,
    token_sha256: &[u8; 32],
    now_ms: i64,
) -> Result<Option<Viewer>, sqlx::Error> {
    let read = |row: AnyRow| {
        Ok(Viewer {
            account_id: AccountId::from_known(row.try_get::<String, _>("id")?),
            username: row.try_get("username")?,
            display_name: row.try_get("display_name")?,
            role: known_role(&row)?,
            region: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
            language: Language::from_tag(row.try_get("language")?),
            session_sha256: *token_sha256,
            expires_ms: row.try_get("expires_ms")?,
        })
    };
    sqlx::query(
        "select account.id, username, display_name, role, region_code, language, expires_ms \
         from session join account on account.id = session.account_id \
         where token_sha256 = $1 and expires_ms > $2 and disabled = 0",
    )
    .bind(token_sha256.to_vec())
    .bind(now_ms)
    .try_map(read)
    .fetch_optional(executor)
    .await
}

pub(super) async fn credential(
    executor: impl Executor<'_, Database = Any>,
    username: &str,
) -> Result<Option<Credential>, sqlx::Error> {
    let read = |row: AnyRow| {
        Ok(Credential {
            account_id: AccountId::from_known(row.try_get::<String, _>("id")?),
            password_hash: row.try_get("password_hash")?,
            role: known_role(&row)?,
            disabled: row.try_get::<i64, _>("disabled")? != 0,
        })
    };
    sqlx::query("select id, password_hash, role, disabled from account where username = $1")
        .bind(username)
        .try_map(read)
        .fetch_optional(executor)
        .await
}

pub(super) async fn account_and_region(
    executor: impl Executor<'_, Database = Any>,
    username: &str,
) -> Result<Option<(AccountId, RegionCode)>, sqlx::Error> {
    let row: Option<(String, String)> = sqlx::query_as("select id, region_code from account where username = $1")
        .bind(username)
        .fetch_optional(executor)
        .await?;
    Ok(row.map(|(id, region)| (AccountId::from_known(id), RegionCode::from_known(region))))
}

/// Holds an account's row until the transaction ends, if it is still enabled and has the same password and role.
pub(super) async fn hold_account(connection: &mut AnyConnection, known: &Credential) -> Result<bool, sqlx::Error> {
    let held = sqlx::query(
        "update account set disabled = disabled where id = $1 and password_hash = $2 and role = $3 and disabled = 0",
    )
    .bind(known.account_id.as_str())
    .bind(known.password_hash.as_str())
    .bind(known.role.as_str())
    .execute(connection)
    .await?;
    Ok(held.rows_affected() == 1)
}

/// Holds all accounts against changes by others until the transaction ends.
pub(super) async fn hold_accounts(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into counter (name, value) values ('account', 1) \
         on conflict (name) do update set value = counter.value + 1",
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn insert_session(
    connection: &mut AnyConnection,
    now_ms: i64,
    token_sha256: &[u8; 32],
    (account, role): (&AccountId, Role),
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into session (token_sha256, account_id, created_ms, expires_ms) values ($1, $2, $3, $4)")
        .bind(token_sha256.to_vec())
        .bind(account.as_str())
        .bind(now_ms)
        .bind(now_ms + session_ms(role))
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "delete from session where account_id = $1 and token_sha256 not in \
         (select token_sha256 from session where account_id = $1 order by created_ms desc limit $2)",
    )
    .bind(account.as_str())
    .bind(SESSIONS_PER_ACCOUNT_MAX)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn delete_session(connection: &mut AnyConnection, token_sha256: &[u8; 32]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from session where token_sha256 = $1").bind(token_sha256.to_vec()).execute(connection).await?;
    Ok(())
}

pub(super) async fn delete_sessions(connection: &mut AnyConnection, account: &AccountId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from session where account_id = $1").bind(account.as_str()).execute(connection).await?;
    Ok(())
}

/// Ends every session of an account but one.
pub(super) async fn delete_other_sessions(
    connection: &mut AnyConnection,
    account: &AccountId,
    kept_sha256: &[u8; 32],
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from session where account_id = $1 and token_sha256 <> $2")
        .bind(account.as_str())
        .bind(kept_sha256.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn set_password(
    connection: &mut AnyConnection,
    account: &AccountId,
    password_hash: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("update account set password_hash = $2 where id = $1")
        .bind(account.as_str())
        .bind(password_hash)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes sessions that have ended by themselves. Returns how many.
pub(super) async fn expire_sessions(connection: &mut AnyConnection, now_ms: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query("delete from session where expires_ms <= $1").bind(now_ms).execute(connection).await?;
    Ok(result.rows_affected())
}

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
    .bind(account.language.tag())
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what may change of an account, and a new password if there is one.
pub(super) async fn update_account(
    connection: &mut AnyConnection,
    user: &User,
    password_hash: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update account set display_name = $2, role = $3, region_code = $4, language = $5, disabled = $6, \
         password_hash = coalesce($7, password_hash) where id = $1",
    )
    .bind(user.id.as_str())
    .bind(user.display_name.as_str())
    .bind(user.role.as_str())
    .bind(user.region_code.as_str())
    .bind(user.language.tag())
    .bind(i64::from(user.disabled))
    .bind(password_hash)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn users(
    executor: impl Executor<'_, Database = Any>,
    region: &RegionCode,
) -> Result<Vec<User>, sqlx::Error> {
    sqlx::query(
        "select a.id, username, display_name, role, region_code, r.name as region_name, language, disabled, created_ms \
         from account a join region r on r.code = a.region_code \
         where region_code >= $1 and region_code < $2 order by username",
    )
    .bind(region.as_str())
    .bind(region.end())
    .try_map(read_user)
    .fetch_all(executor)
    .await
}

pub(super) async fn user(connection: &mut AnyConnection, id: &AccountId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query(
        "select a.id, username, display_name, role, region_code, r.name as region_name, language, disabled, created_ms \
         from account a join region r on r.code = a.region_code where a.id = $1",
    )
    .bind(id.as_str())
    .try_map(read_user)
    .fetch_optional(connection)
    .await
}

pub(super) async fn is_username_taken(connection: &mut AnyConnection, username: &str) -> Result<bool, sqlx::Error> {
    Ok(credential(connection, username).await?.is_some())
}

pub(super) async fn count(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from account").fetch_one(connection).await
}

/// Enabled administrators of the whole county.
pub(super) async fn county_administrators(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from account where role = 'administrator' and disabled = 0 and length(region_code) = 6",
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn region_exists(connection: &mut AnyConnection, region: &RegionCode) -> Result<bool, sqlx::Error> {
    Ok(region_name(connection, region).await?.is_some())
}

/// Read here and not through the region room, which knows viewers and therefore stands above this one.
pub(super) async fn region_name(
    executor: impl Executor<'_, Database = Any>,
    region: &RegionCode,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select name from region where code = $1").bind(region.as_str()).fetch_optional(executor).await
}

fn read_user(row: AnyRow) -> Result<User, sqlx::Error> {
    Ok(User {
        id: AccountId::from_known(row.try_get::<String, _>("id")?),
        username: row.try_get("username")?,
        display_name: row.try_get("display_name")?,
        role: known_role(&row)?,
        region_code: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
        region_name: row.try_get("region_name")?,
        language: Language::from_tag(row.try_get("language")?),
        disabled: row.try_get::<i64, _>("disabled")? != 0,
        created_ms: row.try_get("created_ms")?,
    })
}

/// The row's role; the table's check allows no other than these.
fn known_role(row: &AnyRow) -> Result<Role, sqlx::Error> {
    let name: &str = row.try_get("role")?;
    Role::parse(name).ok_or_else(|| sqlx::Error::Decode(format!("account.role is {name:?}").into()))
}
