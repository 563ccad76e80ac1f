//! One viewer's live socket: signals of the upload in, messages of the page's protocol out.

use serde_json::json;

use super::http::{Gone, Pipe, RECHECK_EVERY, Watch};
use super::upload::{Picture, Signal, Subscription};

/// How often the page is told which moment of the camera's clock belongs to which of the stream's.
const CLOCK_EVERY_MS: i64 = 1_000;

/// … and at once when the two ran apart by more than this: the camera paused, or pictures were left out.
const CLOCK_OFF_MS: i64 = 60;

/// One open live socket.
pub(super) struct Viewing {
    watch: Watch,
    subscription: Subscription,
    clock: Option<Told>,
}

/// What the page was told of the camera's clock.
#[derive(Clone, Copy, Debug)]
struct Told {
    presentation_90k: i64,
    captured_ms: i64,
}

impl Viewing {
    pub(super) fn new(watch: Watch, subscription: Subscription) -> Self {
        Self { watch, subscription, clock: None }
    }

    pub(super) async fn run(mut self, mut pipe: Pipe) {
        // A viewer who has gone needs no reason.
        if let Ok(reason) = self.serve(&mut pipe).await {
            pipe.end(reason).await;
        }
    }

    /// Answers why it ended.
    async fn serve(&mut self, pipe: &mut Pipe) -> Result<&'static str, Gone> {
        let mut recheck = tokio::time::interval(RECHECK_EVERY);
        recheck.reset();
        let mut sessions_ended = self.watch.sessions_ended();
        loop {
            tokio::select! {
                signal = self.subscription.next() => match signal {
                    Signal::Ended => return Ok("ended"),
                    signal => self.pass(pipe, signal).await?,
                },
                // What a viewer says here has no meaning; that it hung up has.
                heard = pipe.heard() => drop(heard?),
                _ = recheck.tick() => if let Err(reason) = self.watch.still_may().await { return Ok(reason) },
                Ok(()) = sessions_ended.changed() => {
                    if let Err(reason) = self.watch.still_may().await { return Ok(reason) }
                }
            }
        }
    }

    async fn pass(&mut self, pipe: &mut Pipe, signal: Signal) -> Result<(), Gone> {
        match signal {
            Signal::Track(track) => {
                self.clock = None;
                let text =
                    json!({ "type": "track", "codec": track.codec, "width": track.width, "height": track.height });
                pipe.text(&text).await?;
                pipe.binary(track.init.clone()).await
            }
            Signal::Group(bytes, last) => {
                // The clock first: the page steers by it from the first picture on.
                self.tell_clock(pipe, &last).await?;
                pipe.binary(bytes).await
            }
            Signal::Picture(picture) => {
                self.tell_clock(pipe, &picture).await?;
                pipe.binary(picture.bytes.clone()).await
            }
            Signal::State(state) => {
                pipe.text(&json!({ "type": "state", "state": &*state.state, "detail": &*state.detail })).await
            }
            Signal::Ended => Ok(()),
        }
    }

    async fn tell_clock(&mut self, pipe: &mut Pipe, picture: &Picture) -> Result<(), Gone> {
        let presentation_90k = picture.decode_90k as i64 + i64::from(picture.composition_90k);
        let captured_ms = picture.captured_ms;
        let is_due = self.clock.is_none_or(|told| {
            let since_ms = captured_ms - told.captured_ms;
            let off_ms = since_ms - (presentation_90k - told.presentation_90k) / 90;
            !(0..CLOCK_EVERY_MS).contains(&since_ms) || off_ms.abs() > CLOCK_OFF_MS
        });
        if !is_due {
            return Ok(());
        }
        self.clock = Some(Told { presentation_90k, captured_ms });
        pipe.text(&json!({
            "type": "clock",
            "decode_90k": presentation_90k,
            "captured_ms": captured_ms,
            "hub_ms": picture.hub_ms,
            "frame_ms": picture.frame_90k / 90,
            "claim_ms": picture.claim_90k / 90,
        }))
        .await
    }
}
