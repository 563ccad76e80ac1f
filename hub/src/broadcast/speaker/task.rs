//! Silence of loudspeakers, which lists show by themselves, told to pages that are open.

use super::report::report;
use super::view::{self, BELIEVED_MS};
use crate::fault;
use crate::fleet::silence::{self, Reporting};
use crate::live::{self, Draft};
use crate::store::Store;

/// The fault of a loudspeaker whose gateway is on line and says nothing of it.
pub(super) const UNHEARD: &str = "unheard";
/// Most loudspeakers of one transaction. After a blackout of the whole county there are thousands; presses go in between.
pub(in crate::broadcast) const ROWS_MAX: i64 = 256;

/// Tells the pages of loudspeakers that have fallen silent since they were last told, and of those that are heard again. Of
/// one that is silent while its gateway is on line somebody has to find out why: that is a fault. Returns how many.
pub(in crate::broadcast) async fn notice_silence(store: &Store, now_ms: i64) -> Result<i64, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let turned = silence::turn(&mut transaction, Reporting::Speaker, now_ms - BELIEVED_MS, ROWS_MAX).await?;
    if turned.is_empty() {
        return Ok(0);
    }
    let ids: Vec<&str> = turned.iter().map(|one| one.id.as_str()).collect();
    let mut drafts: Vec<Draft> = Vec::new();
    for speaker in view::some(&mut transaction, now_ms, &ids).await? {
        let one = turned.iter().find(|one| one.id == speaker.view.id.as_str());
        if let Some(one) = one.filter(|one| one.is_silent || one.was_silent) {
            let fault = report(&speaker.view, UNHEARD, "", one.is_silent);
            drafts.extend(fault::take(&mut transaction, now_ms, &fault).await?);
        }
        drafts.push(speaker.view.draft());
    }
    live::append(&mut transaction, now_ms, &drafts).await?;
    transaction.commit().await?;
    Ok(turned.len() as i64)
}
