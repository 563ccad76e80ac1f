//! Logging in and out, and how guessing is slowed down.
//!
//! Tries are counted per address and per account, in the database, before the password is looked at. An address that
//! keeps failing waits longer and longer. An account that somebody is guessing at is closed, for minutes at most, to the
//! addresses that have failed lately; to an address without failures it stays open, so that nobody can lock out the
//! person on duty from outside.

use std::net::IpAddr;

use axum::http::StatusCode;

use super::limit::{self, Limit};
use super::{Identity, password, session, store};
use crate::audit;
use crate::viewer::Viewer;
use crate::web::Problem;

/// Failures per address: an office behind one address mistypes now and then.
const ADDRESS_LIMIT: Limit = Limit { free: 10, wait_ms_max: 5 * 60 * 1000, window_ms: 15 * 60 * 1000 };
/// Failures per account.
pub(super) const ACCOUNT_LIMIT: Limit = Limit { free: 5, wait_ms_max: 2 * 60 * 1000, window_ms: 15 * 60 * 1000 };
/// Most characters of a user name; longer ones are nobody's.
pub(super) const USERNAME_CHARS_MAX: usize = 32;

/// A user name as it is stored and looked up.
pub(super) fn normalised(username: &str) -> String {
    username.trim().to_lowercase()
}

/// Checks a password and begins a session. Returns its token, which is known this once, and whose it is.
pub(super) async fn log_in(
    identity: &Identity,
    from: IpAddr,
    username: &str,
    password: String,
    now_ms: i64,
) -> Result<([u8; 32], Viewer), Problem> {
    let username = normalised(username);
    if username.chars().count() > USERNAME_CHARS_MAX || password.chars().count() > password::CHARS_MAX {
        return Err(wrong());
    }
    let by_address = limit::address_subject("login-from", from);
    let by_account = format!("login:{username}");
    admit(identity, now_ms, &by_address, &by_account).await?;

    let known = store::credential(identity.store.reader(), &username).await?;
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let is_right = identity.passwords.verify(hash, password).await?;
    let Some(known) = known.filter(|known| is_right && !known.disabled) else {
        failed(identity, now_ms, &username).await?;
        return Err(wrong());
    };

    let mut token = [0_u8; 32];
    getrandom::fill(&mut token).expect("the operating system gives randomness");
    let token_sha256 = session::hash(&token);
    let mut transaction = identity.store.begin().await?;
    // Between reading the hash and now the account may have been changed: then this was not its password.
    if !store::hold_account(&mut transaction, &known).await? {
        return Err(wrong());
    }
    limit::give_back(&mut transaction, &by_address).await?;
    limit::forget(&mut transaction, &by_account).await?;
    store::insert_session(&mut transaction, now_ms, &token_sha256, (&known.account_id, known.role)).await?;
    let viewer = store::viewer(&mut *transaction, &token_sha256, now_ms).await?.ok_or_else(wrong)?;
    let line = audit::Record::done(&viewer, "session.begin", viewer.account_id.as_str(), &viewer.region);
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    Ok((token, viewer))
}

/// Ends the viewer's session.
pub(super) async fn log_out(identity: &Identity, viewer: &Viewer, now_ms: i64) -> Result<(), Problem> {
    let mut transaction = identity.store.begin().await?;
    store::delete_session(&mut transaction, &viewer.session_sha256).await?;
    let line = audit::Record::done(viewer, "session.end", viewer.account_id.as_str(), &viewer.region);
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    identity.tell_sessions_ended();
    Ok(())
}

/// Counts the try, or refuses it. Always the address first, so that no two transactions wait for each other.
async fn admit(identity: &Identity, now_ms: i64, by_address: &str, by_account: &str) -> Result<(), Problem> {
    let mut transaction = identity.store.begin().await?;
    let address = limit::hold(&mut transaction, now_ms, by_address, &ADDRESS_LIMIT).await?;
    let account = limit::hold(&mut transaction, now_ms, by_account, &ACCOUNT_LIMIT).await?;
    let account_wait_ms = account.wait_ms(now_ms).filter(|_| !address.is_clean());
    if let Some(wait_ms) = address.wait_ms(now_ms).max(account_wait_ms) {
        return Err(limit::too_many(wait_ms));
    }
    limit::count(&mut transaction, now_ms, by_address, &ADDRESS_LIMIT, address).await?;
    limit::count(&mut transaction, now_ms, by_account, &ACCOUNT_LIMIT, account).await?;
    transaction.commit().await?;
    Ok(())
}

/// Writes a failure to the audit trail. A name that no account has is not written: people type passwords there.
async fn failed(identity: &Identity, now_ms: i64, username: &str) -> Result<(), Problem> {
    let known = store::account_and_region(identity.store.reader(), username).await?;
    if let Some((account_id, region)) = known {
        let line = audit::Record::done_by(username, "session.begin", account_id.as_str(), &region);
        audit::refused(&identity.store, now_ms, line).await;
    }
    Ok(())
}

fn wrong() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "login.wrong",
        "用户名或密码不对，请再试一次。",
        "The user name or password is wrong. Try again.",
    )
}
