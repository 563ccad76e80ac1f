//! Accounts and sessions in the database.

use sqlx::AnyPool;

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
