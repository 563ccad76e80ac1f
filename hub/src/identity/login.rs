//! Logging in and out, and the first administrator.

use std::net::IpAddr;

use axum::http::StatusCode;

use super::limit::{self, Limit};
use super::{Identity, password, session, store};
use crate::audit;
use crate::ids::{AccountId, RegionCode, sortable};
use crate::store::Store;
use crate::viewer::{Role, Viewer};
use crate::web::Problem;

const MINUTE_MS: i64 = 60 * 1000;
/// Wrong passwords for one name: five are free, then each wait doubles up to five minutes.
const PER_NAME: Limit = Limit { free: 5, wait_ms_max: 5 * MINUTE_MS, window_ms: 30 * MINUTE_MS };
/// Wrong passwords from one address, over all names: an office shares one, so more are free.
const PER_ADDRESS: Limit = Limit { free: 20, wait_ms_max: 15 * MINUTE_MS, window_ms: 30 * MINUTE_MS };
/// Name of the administrator that `init` makes.
const FIRST_ADMINISTRATOR: &str = "admin";

/// A session just begun.
pub(super) struct Begun {
    pub(super) token: [u8; 32],
    pub(super) viewer: Viewer,
}

impl Identity {
    /// Checks a name and a password and begins a session.
    pub(super) async fn log_in(
        &self,
        now_ms: i64,
        from: IpAddr,
        username: &str,
        password: String,
    ) -> Result<Begun, Problem> {
        let username = username.trim().to_lowercase();
        // The name is counted together with the address, so that nobody can lock a colleague out from elsewhere.
        let name_subject = limit::address_subject(&format!("login:{username}"), from);
        let address_subject = limit::address_subject("login-from", from);
        limit::admit(&self.store, now_ms, &address_subject, &PER_ADDRESS).await?;
        limit::admit(&self.store, now_ms, &name_subject, &PER_NAME).await?;
        let account = store::credentials(self.store.reader(), &username).await?;
        let stored = account.as_ref().filter(|account| !account.disabled).map(|account| account.password_hash.clone());
        if password.len() > password::BYTES_MAX || !password::verify(password, stored).await? {
            self.record_refusal(now_ms, &username, account.map(|account| account.region)).await;
            return Err(wrong_password());
        }
        let account = account.ok_or_else(wrong_password)?;
        let counted = [address_subject.as_str(), name_subject.as_str()];
        self.begin_session(now_ms, &account.id, &username, &account.region, &counted).await
    }

    async fn begin_session(
        &self,
        now_ms: i64,
        account: &AccountId,
        username: &str,
        region: &RegionCode,
        counted: &[&str],
    ) -> Result<Begun, Problem> {
        let mut token = [0; 32];
        getrandom::fill(&mut token).map_err(|error| anyhow::anyhow!("no randomness for a session: {error}"))?;
        let hash = session::hash(&token);
        let mut transaction = self.store.begin().await?;
        store::insert_session(&mut transaction, &hash, account, now_ms, now_ms + session::SESSION_MS).await?;
        store::delete_old_sessions(&mut transaction, now_ms).await?;
        for subject in counted {
            limit::give_back(&mut transaction, subject).await?;
        }
        let line = audit::Record::done_by(username, "session.begin", account.as_str(), region);
        audit::record(&mut transaction, now_ms, line).await?;
        transaction.commit().await?;
        let viewer = store::viewer(self.store.reader(), &hash, now_ms).await?;
        Ok(Begun { token, viewer: viewer.ok_or_else(wrong_password)? })
    }

    /// A wrong password for a name that exists is of interest to its administrator; other names may be anything a
    /// person typed, even a password, and are not written down.
    async fn record_refusal(&self, now_ms: i64, username: &str, region: Option<RegionCode>) {
        if let Some(region) = region {
            let line = audit::Record::done_by(username, "session.begin", username, &region);
            audit::refused(&self.store, now_ms, line).await;
        }
    }

    /// Ends a session.
    pub(super) async fn log_out(&self, now_ms: i64, viewer: &Viewer) -> Result<(), Problem> {
        let mut transaction = self.store.begin().await?;
        store::delete_session(&mut transaction, &viewer.session_sha256).await?;
        let line = audit::Record::done(viewer, "session.end", viewer.account_id.as_str(), &viewer.region);
        audit::record(&mut transaction, now_ms, line).await?;
        transaction.commit().await?;
        self.sessions_ended.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Makes the county's first administrator. Returns the name and the password, which is stored nowhere else.
///
/// # Errors
/// There is an account of that name, or the database's.
pub async fn create_first_administrator(
    store: &Store,
    county: &RegionCode,
    now_ms: i64,
) -> anyhow::Result<(String, String)> {
    let password = password::generate();
    let hash = password::hash(password.clone()).await?;
    let account = store::NewAccount {
        id: AccountId::from_known(sortable(now_ms)),
        username: FIRST_ADMINISTRATOR,
        display_name: "管理员",
        password_hash: &hash,
        role: Role::Administrator,
        region: county,
        language: "zh-CN",
    };
    let mut transaction = store.begin().await?;
    store::insert_account(&mut transaction, now_ms, &account).await?;
    let line = audit::Record::done_by("system", "user.create", account.id.as_str(), county);
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    Ok((FIRST_ADMINISTRATOR.to_owned(), password))
}

fn wrong_password() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong_password",
        "用户名或密码不对，请重新输入。忘记密码请找管理员。",
        "The name or the password is wrong. Try again; if you forgot it, ask your administrator.",
    )
}
