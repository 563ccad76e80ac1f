//! Who did what, to what, and whether it was allowed.
//!
//! A change and its line in this trail are one transaction: [`record`] takes the caller's. What was refused has no
//! transaction to join, so [`refused`] makes its own. Lines name accounts and things by their names and ids only; never
//! a password, a code, a key, an address of a household or anything else about a person.
//!
//! Kept for three years, and never more than two million lines ([`expire`]): an inspection looks back one year, a
//! court perhaps three, and two million lines are about half a gigabyte.

mod http;
mod store;
#[cfg(test)]
mod tests;

use sqlx::AnyConnection;

use crate::ids::{self, RegionCode};
use crate::store::Store;
use crate::viewer::Viewer;

pub use http::{AuditEntry, AuditPage, AuditRoom, routes};

/// How long a line is kept.
pub const KEPT_MS: i64 = 3 * 366 * 24 * 3600 * 1000;
/// Most lines that are kept; beyond it the oldest go first.
pub const LINES_MAX: i64 = 2_000_000;
/// Most characters of detail in a line; more is cut.
const DETAIL_CHARS_MAX: usize = 500;

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed.
    Refused,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// One line of the trail.
#[derive(Clone, Debug)]
pub struct Record {
    actor: String,
    action: &'static str,
    subject: String,
    region: RegionCode,
    outcome: Outcome,
    detail: String,
}

impl Record {
    /// A person did something. `action` is a thing and a verb, e.g. `alarm.close`; `subject` an id; `region` decides
    /// who may read the line.
    pub fn done(viewer: &Viewer, action: &'static str, subject: impl Into<String>, region: &RegionCode) -> Self {
        Self::done_by(&viewer.username, action, subject, region)
    }

    /// The hub (`system`), a gateway (`gateway:<site>`) or somebody not yet logged in did something.
    pub fn done_by(actor: &str, action: &'static str, subject: impl Into<String>, region: &RegionCode) -> Self {
        Self {
            actor: actor.to_owned(),
            action,
            subject: subject.into(),
            region: region.clone(),
            outcome: Outcome::Done,
            detail: String::new(),
        }
    }

    /// Adds what makes the line understandable later, e.g. the reason that was given or the names of changed fields.
    #[must_use]
    pub fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = detail.as_ref().chars().take(DETAIL_CHARS_MAX).collect();
        self
    }

    /// Marks the act as not allowed; for lines that join a transaction. Without one, see [`refused`].
    #[must_use]
    pub fn was_refused(mut self) -> Self {
        self.outcome = Outcome::Refused;
        self
    }
}

/// Writes a line inside the caller's transaction: both happen, or neither.
///
/// # Errors
/// The database's.
pub async fn record(connection: &mut AnyConnection, now_ms: i64, record: Record) -> Result<(), sqlx::Error> {
    store::insert(connection, &ids::sortable(now_ms), now_ms, &record).await
}

/// Writes a line about something that was refused, outside any transaction. A failure is logged and not passed on: the
/// refusal stands either way.
pub async fn refused(store: &Store, now_ms: i64, line: Record) {
    let action = line.action;
    let write = async {
        let mut transaction = store.begin().await?;
        record(&mut transaction, now_ms, line.was_refused()).await?;
        transaction.commit().await
    };
    if let Err(error) = write.await {
        tracing::error!(error = %error, audit.action = action, "A refusal could not be written to the audit trail");
    }
}

/// Removes what is older than [`KEPT_MS`] or beyond [`LINES_MAX`]. Returns how many lines went. Call it daily.
///
/// # Errors
/// The database's.
pub async fn expire(store: &Store, now_ms: i64) -> Result<u64, sqlx::Error> {
    store::expire(store, now_ms - KEPT_MS, LINES_MAX).await
}
