//! What happens to cameras and evidence by itself: silence is noticed, contents arrive, what was kept long enough goes.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::health::{BELIEVED_MS, UNHEARD};
use super::report::report;
use super::{VideoRoom, evidence, export, file_look, view};
use crate::clock;
use crate::fault;
use crate::fleet::silence::{self, Reporting};
use crate::live::{self, Draft};
use crate::store::Transaction;

/// How often silence is looked for. Lists show it at once; this is for pages that are open.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How often contents are looked for whose arrival was missed, and rows that are kept no longer: every so many looks.
const HOUSEKEEPING_LOOKS: u32 = 20;
/// Most cameras or rows of evidence of one transaction. After a blackout of the whole county there are thousands; presses go
/// in between.
const ROWS_MAX: i64 = 256;

impl VideoRoom {
    /// Runs for ever.
    pub async fn run(self) {
        let mut arrivals = self.content.arrivals();
        if let Err(error) = self.interrupt_exports(clock::utc_ms()).await {
            tracing::error!(%error, "Exports that the last life of this hub was making could not be ended");
        }
        let mut looks: u32 = 0;
        loop {
            let arrived = tokio::time::timeout(LOOK_EVERY, arrivals.recv()).await;
            let now_ms = clock::utc_ms();
            let done = match arrived {
                Ok(Ok(hash)) => self.arrived(now_ms, Some(&hash.to_string())).await,
                Ok(Err(RecvError::Lagged(_))) => self.arrived(now_ms, None).await,
                Ok(Err(RecvError::Closed)) => return,
                Err(_) => {
                    looks = looks.wrapping_add(1);
                    self.keep_house(now_ms, looks % HOUSEKEEPING_LOOKS == 1).await
                }
            };
            if let Err(error) = done {
                tracing::error!(%error, "Cameras and evidence could not be looked after; the next try follows");
            }
        }
    }

    async fn keep_house(&self, now_ms: i64, is_thorough: bool) -> Result<(), sqlx::Error> {
        while self.notice_silence(now_ms).await? == ROWS_MAX {}
        while file_look::end_quiet(&self.store, now_ms, ROWS_MAX).await? == ROWS_MAX {}
        if is_thorough {
            self.arrived(now_ms, None).await?;
            while self.expire(now_ms).await? == ROWS_MAX {}
            while self.expire_exports(now_ms).await? == ROWS_MAX {}
        }
        Ok(())
    }

    /// Nobody goes on with exports that were being made when the hub ended.
    pub(super) async fn interrupt_exports(&self, now_ms: i64) -> Result<(), sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        let drafts = export::interrupt(&mut transaction).await?;
        self.tell(transaction, now_ms, &drafts).await
    }

    /// Gives up the files of exports that were kept long enough. Returns how many.
    pub(super) async fn expire_exports(&self, now_ms: i64) -> Result<i64, sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        let drafts = export::expire(&mut transaction, now_ms, ROWS_MAX).await?;
        self.tell(transaction, now_ms, &drafts).await?;
        Ok(drafts.len() as i64)
    }

    /// Appends to the change log, commits, and wakes who follows it.
    async fn tell(&self, mut transaction: Transaction, now_ms: i64, drafts: &[Draft]) -> Result<(), sqlx::Error> {
        live::append(&mut transaction, now_ms, drafts).await?;
        transaction.commit().await?;
        self.live.notify();
        Ok(())
    }

    /// Makes evidence ready whose content is here: of one content, or all that was missed.
    pub(super) async fn arrived(&self, now_ms: i64, sha256: Option<&str>) -> Result<(), sqlx::Error> {
        loop {
            let mut transaction = self.store.begin().await?;
            let drafts = evidence::settle(&mut transaction, sha256, ROWS_MAX).await?;
            self.tell(transaction, now_ms, &drafts).await?;
            if (drafts.len() as i64) < ROWS_MAX {
                return Ok(());
            }
        }
    }

    /// Marks evidence that was kept long enough, and lets its content go. Returns how much.
    pub(super) async fn expire(&self, now_ms: i64) -> Result<i64, sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        let drafts = evidence::expire(&mut transaction, now_ms, self.evidence_days, ROWS_MAX).await?;
        self.tell(transaction, now_ms, &drafts).await?;
        Ok(drafts.len() as i64)
    }

    /// Tells the pages of cameras that have fallen silent since they were last told, and of those that are heard again.
    /// Of one that is silent while its gateway is on line somebody has to find out why: that is a fault. Returns how many.
    pub(super) async fn notice_silence(&self, now_ms: i64) -> Result<i64, sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        let turned = silence::turn(&mut transaction, Reporting::Camera, now_ms - BELIEVED_MS, ROWS_MAX).await?;
        if turned.is_empty() {
            return Ok(0);
        }
        let ids: Vec<&str> = turned.iter().map(|one| one.id.as_str()).collect();
        let mut households = view::households(&mut transaction, &ids).await?;
        let mut drafts: Vec<Draft> = Vec::new();
        for mut camera in view::some(&mut transaction, now_ms, &ids).await? {
            let one = turned.iter().find(|one| one.id == camera.view.id.as_str());
            camera.view.household_device_ids = households.remove(&camera.view.id).unwrap_or_default();
            if let Some(one) = one.filter(|one| one.is_silent || one.was_silent) {
                let fault = report(&camera.view, UNHEARD, "", one.is_silent);
                drafts.extend(fault::take(&mut transaction, now_ms, &fault).await?);
            }
            drafts.push(camera.view.draft());
        }
        self.tell(transaction, now_ms, &drafts).await?;
        Ok(turned.len() as i64)
    }
}
