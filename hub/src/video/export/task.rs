//! Makes one export: the relay's pieces → a [`Film`] → a content, with a row that says how far it is.

use std::time::Duration;

use tongluo_protocols::media::Quality;

use super::Turn;
use super::film::{Film, Finished};
use super::store::{self, ExportView};
use crate::audit::{self, Record};
use crate::clock;
use crate::live;
use crate::video::live::{CREDIT_BYTES_MAX, FetchItem, Fetching};
use crate::video::{VideoRoom, access};
use crate::viewer::Viewer;

/// The village owes something and sends nothing: so long is waited.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked whether who takes this out still may see it.
const RECHECK_EVERY: Duration = Duration::from_secs(5);
/// How much further an export must be for its row to say so: twenty words for each.
const PROGRESS_STEP_PERCENT: i64 = 5;
/// Gaps that a file tells of itself; the row has them all.
const GAPS_TOLD_MAX: usize = 50;
/// Longest word of a gateway's about why it does not go on, in characters.
const FAILURE_CHARS_MAX: usize = 200;

/// How it ended without a file.
enum Ending {
    Cancelled,
    Failed(String),
}

impl Ending {
    fn failed(word: &str) -> Self {
        Self::Failed(word.chars().filter(|c| !c.is_control()).take(FAILURE_CHARS_MAX).collect())
    }
}

/// One export that is being made.
pub(super) struct Job {
    pub(super) room: VideoRoom,
    pub(super) viewer: Viewer,
    pub(super) export: ExportView,
    pub(super) turn: Turn,
}

impl Job {
    /// Makes it, and says how it ended.
    pub(super) async fn run(mut self) {
        let ended = match self.make().await {
            Ok(film) => self.keep(film).await,
            Err(ending) => self.end(ending).await,
        };
        if let Err(error) = ended {
            // The row says "running" until the hub starts again.
            tracing::error!(%error, export.id = %self.export.id, "How an export ended could not be written");
        }
    }

    async fn make(&mut self) -> Result<Finished, Ending> {
        let ExportView { site_id, camera_id, from_ms, to_ms, .. } = &self.export;
        let fetching = self
            .room
            .relay
            .fetch(site_id, camera_id.as_str(), Quality::Main, *from_ms, *to_ms)
            .map_err(|error| Ending::failed(error.code()))?;
        let scratch = self.room.content.scratch().await.map_err(|error| self.broken(&error))?;
        let mut film = Film::new(scratch, *from_ms, *to_ms);
        self.collect(fetching, &mut film).await?;
        let export = self.export.clone();
        let finished = film.finish(&self.room.content, clock::utc_ms(), |gaps| description(&export, gaps)).await;
        finished.map_err(|error| self.broken(&error))?.ok_or_else(|| Ending::failed("not_recorded"))
    }

    /// Takes pieces until the recording, the stretch, the film or somebody's patience ends.
    async fn collect(&mut self, mut fetching: Fetching, film: &mut Film) -> Result<(), Ending> {
        let mut recheck = tokio::time::interval(RECHECK_EVERY);
        let mut owed_until = tokio::time::Instant::from_std(clock::instant()) + PATIENCE;
        fetching.more(CREDIT_BYTES_MAX);
        while !film.is_full() {
            let item = tokio::select! {
                item = fetching.next() => item.ok_or_else(|| Ending::failed("line_lost"))?,
                () = self.turn.stopped() => return Err(Ending::Cancelled),
                () = tokio::time::sleep_until(owed_until) => return Err(Ending::failed("timed_out")),
                _ = recheck.tick() => {
                    self.still_may().await?;
                    continue;
                }
            };
            owed_until = tokio::time::Instant::from_std(clock::instant()) + PATIENCE;
            match item {
                FetchItem::Init { data, .. } => {
                    film.init(&data).map_err(|error| self.broken(&error))?;
                    fetching.more(u32::try_from(data.len()).unwrap_or(u32::MAX));
                }
                FetchItem::Fragment { wall_ms, data, .. } => {
                    film.fragment(wall_ms, &data).await.map_err(|error| self.broken(&error))?;
                    fetching.more(u32::try_from(data.len()).unwrap_or(u32::MAX));
                    self.tell_progress(film.last_ms()).await;
                }
                // It shows in the times of what follows, or in the film's end.
                FetchItem::Gap { .. } => {}
                FetchItem::End { reason } if reason.is_empty() => return Ok(()),
                FetchItem::End { reason } => return Err(Ending::failed(&reason)),
            }
        }
        Ok(())
    }

    async fn still_may(&self) -> Result<(), Ending> {
        let may = async {
            let mut connection = self.room.store.reader().acquire().await?;
            access::access(&mut connection, &self.viewer, &self.export.camera_id).await
        };
        may.await.map(drop).map_err(|_| Ending::failed("not_allowed"))
    }

    fn broken(&self, error: &anyhow::Error) -> Ending {
        tracing::error!(error = format!("{error:#}"), export.id = %self.export.id, "An export could not be made");
        Ending::failed("no_room")
    }

    /// Says how far it is, if that is a step further. A word that cannot be written is said again with the next one.
    async fn tell_progress(&mut self, reached_ms: i64) {
        let ExportView { from_ms, to_ms, .. } = self.export;
        let percent = (reached_ms.saturating_sub(from_ms).saturating_mul(100) / (to_ms - from_ms).max(1)).clamp(0, 99);
        if percent < self.export.progress_percent + PROGRESS_STEP_PERCENT {
            return;
        }
        let told = async {
            let mut transaction = self.room.store.begin().await?;
            store::progress(&mut transaction, &self.export.id, percent).await?;
            self.tell(transaction, clock::utc_ms()).await
        };
        match told.await {
            Ok(()) => self.export.progress_percent = percent,
            Err(error) => tracing::warn!(%error, "The progress of an export could not be written"),
        }
    }

    async fn keep(&self, film: Finished) -> Result<(), sqlx::Error> {
        let now_ms = clock::utc_ms();
        let mut transaction = self.room.store.begin().await?;
        // Cancelled in the last moment: nobody links the file, so it goes by itself.
        if store::ready(&mut transaction, now_ms, &self.export.id, &film).await? {
            let detail = format!("sha256={} bytes={}", film.hash, film.bytes);
            audit::record(&mut transaction, now_ms, self.line("export.ready", &detail)).await?;
        }
        self.tell(transaction, now_ms).await
    }

    async fn end(&self, ending: Ending) -> Result<(), sqlx::Error> {
        let now_ms = clock::utc_ms();
        let mut transaction = self.room.store.begin().await?;
        // Who cancelled it has said so.
        if let Ending::Failed(failure) = ending {
            store::ended(&mut transaction, &self.export.id, "failed", Some(&failure)).await?;
            audit::record(&mut transaction, now_ms, self.line("export.failed", &failure)).await?;
        }
        self.tell(transaction, now_ms).await
    }

    fn line(&self, action: &'static str, detail: &str) -> Record {
        Record::done(&self.viewer, action, self.export.id.as_str(), &self.export.region_code).detail(detail)
    }

    /// Tells everybody how it is now, and commits.
    async fn tell(&self, mut transaction: crate::store::Transaction, now_ms: i64) -> Result<(), sqlx::Error> {
        let drafts = store::one(&mut transaction, &self.export.id).await?.map(|stored| stored.view.draft());
        live::append(&mut transaction, now_ms, drafts.as_slice()).await?;
        transaction.commit().await?;
        self.room.live.notify();
        Ok(())
    }
}

/// What the file says of itself. It goes to people outside, in the county's own language.
fn description(export: &ExportView, gaps: &[(i64, i64)]) -> String {
    let span = |from_ms, to_ms| format!("{} – {}", in_words(from_ms), in_words(to_ms));
    let ExportView { camera_name, camera_id, from_ms, to_ms, requested_by, reason, id, created_ms, .. } = export;
    let mut text = format!(
        "摄像机：{camera_name}（{camera_id}）\n时间：{}\n导出人：{requested_by}，{}\n原因：{reason}\n编号：{id}",
        span(*from_ms, *to_ms),
        in_words(*created_ms),
    );
    for (from_ms, to_ms) in gaps.iter().take(GAPS_TOLD_MAX) {
        text += &format!("\n缺失：{}", span(*from_ms, *to_ms));
    }
    text
}

/// A moment in the time of all China.
fn in_words(utc_ms: i64) -> String {
    let moment = jiff::Timestamp::from_millisecond(utc_ms).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).strftime("%F %T%:z").to_string()
}
