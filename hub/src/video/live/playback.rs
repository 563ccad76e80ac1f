//! One viewer's playback socket: pieces of a recording in, as far as the page gives credit.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tongluo_protocols::media::FETCH_LEAD_MS;

use super::http::{Gone, Pipe, RECHECK_EVERY, Watch};
use super::request::{FetchItem, Fetching};

/// The village owes something and sends nothing: so long is waited.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Heard {
    More { bytes: u32 },
}

/// One open playback socket.
pub(super) struct Playback {
    watch: Watch,
    fetching: Fetching,
    from_ms: i64,
}

impl Playback {
    pub(super) fn new(watch: Watch, fetching: Fetching, from_ms: i64) -> Self {
        Self { watch, fetching, from_ms }
    }

    pub(super) async fn run(mut self, mut pipe: Pipe) {
        // A viewer who has gone needs no reason.
        if let Ok(reason) = self.serve(&mut pipe).await {
            pipe.end(&reason).await;
        }
    }

    /// Answers why it ended; empty when all was sent.
    async fn serve(&mut self, pipe: &mut Pipe) -> Result<String, Gone> {
        let mut recheck = tokio::time::interval(RECHECK_EVERY);
        recheck.reset();
        let mut sessions_ended = self.watch.sessions_ended();
        // Without credit nothing is owed; a page that is paused waits as long as it likes.
        let mut owed_since = tokio::time::Instant::from_std(crate::clock::instant());
        loop {
            tokio::select! {
                item = self.fetching.next() => match item {
                    Some(FetchItem::End { reason }) => return Ok(reason),
                    Some(item) => {
                        owed_since = tokio::time::Instant::from_std(crate::clock::instant());
                        self.pass(pipe, item).await?;
                    }
                    None => return Ok("line_lost".to_owned()),
                },
                heard = pipe.heard() => {
                    let Ok(Heard::More { bytes }) = serde_json::from_str(&heard?) else {
                        return Ok("not_understood".to_owned());
                    };
                    if !self.fetching.has_credit() {
                        owed_since = tokio::time::Instant::from_std(crate::clock::instant());
                    }
                    self.fetching.more(bytes);
                }
                () = tokio::time::sleep_until(owed_since + PATIENCE), if self.fetching.has_credit() => {
                    return Ok("timed_out".to_owned());
                }
                _ = recheck.tick() => if let Err(reason) = self.watch.still_may().await { return Ok(reason.to_owned()) },
                Ok(()) = sessions_ended.changed() => {
                    if let Err(reason) = self.watch.still_may().await { return Ok(reason.to_owned()) }
                }
            }
        }
    }

    async fn pass(&self, pipe: &mut Pipe, item: FetchItem) -> Result<(), Gone> {
        match item {
            FetchItem::Init { codec, data } => {
                // Media time 0 is this moment: what is fetched begins with the keyframe before the span.
                let starts_ms = self.from_ms - FETCH_LEAD_MS;
                pipe.text(&json!({ "type": "track", "codec": codec, "starts_ms": starts_ms })).await?;
                pipe.binary(data).await
            }
            FetchItem::Fragment { wall_ms, duration_ms, data } => {
                pipe.text(&json!({ "type": "fragment", "wall_ms": wall_ms, "duration_ms": duration_ms })).await?;
                pipe.binary(data).await
            }
            FetchItem::Gap { from_ms, to_ms } => {
                pipe.text(&json!({ "type": "gap", "from_ms": from_ms, "to_ms": to_ms })).await
            }
            FetchItem::End { .. } => Ok(()),
        }
    }
}
