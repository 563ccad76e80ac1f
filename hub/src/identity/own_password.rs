//! A person changes their own password.
//!
//! Whoever found an unlocked desk must not be able to: the present password is asked for, and tries are counted as at the log-in. All
//! other sessions of the account end, because a password is changed when somebody else may know it.

use super::login::ACCOUNT_LIMIT;
use super::{Identity, limit, password, store};
use crate::audit;
use crate::viewer::Viewer;
use crate::web::Problem;

/// Changes the viewer's password and ends their other sessions.
pub(super) async fn change(
    identity: &Identity,
    viewer: &Viewer,
    current: String,
    new: String,
    now_ms: i64,
) -> Result<(), Problem> {
    password::check(&new, &viewer.username)?;
    let tries = format!("password:{}", viewer.account_id);
    limit::admit(&identity.store, now_ms, &tries, &ACCOUNT_LIMIT).await?;
    let known = store::credential(identity.store.reader(), &viewer.username).await?;
    let known = known.ok_or_else(Problem::unauthenticated)?;
    let is_right = current.chars().count() <= password::CHARS_MAX
        && identity.passwords.verify(Some(known.password_hash.clone()), current).await?;
    let line = audit::Record::done(viewer, "password.change", viewer.account_id.as_str(), &viewer.region);
    if !is_right {
        audit::refused(&identity.store, now_ms, line).await;
        return Err(wrong());
    }
    let password_hash = identity.passwords.hash(new).await?;

    let mut transaction = identity.store.begin().await?;
    // Between reading the hash and now the account may have been changed: then this was not its password.
    if !store::hold_account(&mut transaction, &known).await? {
        return Err(wrong());
    }
    limit::forget(&mut transaction, &tries).await?;
    store::set_password(&mut transaction, &known.account_id, &password_hash).await?;
    store::delete_other_sessions(&mut transaction, &known.account_id, &viewer.session_sha256).await?;
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    identity.tell_sessions_ended();
    Ok(())
}

fn wrong() -> Problem {
    Problem::invalid("current", "这不是现在用的密码", "it is not the present password")
}
