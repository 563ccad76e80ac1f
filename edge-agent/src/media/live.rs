//! One live stream on its way up: pictures as they come, and never old ones.
//!
//! The connection pushes back, and the camera's ring drops for who is slow. That alone would show a narrow line's viewers
//! pictures that are seconds old, so what waited too long is left out as well, up to the next keyframe that is young.
//!
//! A large stream that has to be opened first shows nothing before its next keyframe, which may be ten seconds away. Until then
//! the smaller one is shown, where it flows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tongluo_protocols::media::mp4::Track;
use tongluo_protocols::media::{FrameView, GatewayMessage, Quality};

use super::link::emitted;
use super::source::{Cameras, Frame, Watching};
use crate::clock::Clock;

/// A picture that is older is not sent, once the stream has caught up with the camera.
const AGE_MS_MAX: i64 = 2_000;

/// Pause before a stream that does not flow is tried again.
const RETRY_MS: u64 = 1_000;

/// How long one picture may take onto the line. Beyond it the line is gone, which its own time-outs find out.
const SEND_MAX: Duration = Duration::from_secs(10);

/// The stream that the hub wants.
pub(super) struct Upload {
    pub(super) stream: u32,
    pub(super) camera: String,
    pub(super) quality: Quality,
    pub(super) outgoing: mpsc::Sender<Vec<u8>>,
    pub(super) clock: Clock,
}

impl Upload {
    /// Works until it is dropped, or the connection is.
    pub(super) async fn run(self, cameras: impl Cameras) {
        loop {
            let reason = match self.begin(&cameras).await {
                Ok(Ok(mut watching)) => match self.pass_on(&mut watching).await {
                    Ok(()) => "no_such_stream: the camera is configured no more".to_owned(),
                    Err(LineGone) => return,
                },
                Ok(Err(reason)) => reason,
                Err(LineGone) => return,
            };
            if self.say(&GatewayMessage::Stopped { stream: self.stream, reason: clipped(&reason) }).await.is_err() {
                return;
            }
            self.clock.until(Some(self.clock.mono_ms() + RETRY_MS)).await;
        }
    }

    /// Waits for the stream's first picture, and passes on the smaller one's meanwhile.
    async fn begin<C: Cameras>(&self, cameras: &C) -> Result<Result<C::Watching, String>, LineGone> {
        let wanted = cameras.watch(&self.camera, self.quality);
        let meanwhile = async {
            if self.quality == Quality::Main
                && let Some(mut small) = cameras.stopgap(&self.camera).await
            {
                self.pass_on(&mut small).await?;
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            watching = wanted => Ok(watching),
            gone = meanwhile => gone,
        }
    }

    async fn pass_on(&self, watching: &mut impl Watching) -> Result<(), LineGone> {
        let mut pace = Pace::default();
        let mut told: Option<Arc<Track>> = None;
        while let Some(picture) = watching.next().await {
            if !pace.takes(picture.key, self.clock.utc_ms() - picture.captured_ms) {
                continue;
            }
            if told.as_ref() != Some(&picture.track) {
                self.tell(&picture.track).await?;
                told = Some(picture.track.clone());
            }
            for piece in &picture.sound {
                self.say(&GatewayMessage::Sound {
                    stream: self.stream,
                    decode_90k: piece.decode_90k,
                    duration_90k: piece.duration_90k,
                    data: &piece.data,
                })
                .await?;
            }
            self.say(&self.frame(&picture)).await?;
        }
        Ok(())
    }

    async fn tell(&self, track: &Track) -> Result<(), LineGone> {
        if let Some(sound) = &track.sound {
            self.say(&GatewayMessage::SoundTrack {
                stream: self.stream,
                codec: sound.codec,
                rate_hz: sound.rate_hz,
                channels: sound.channels,
                parameters: &sound.parameters,
            })
            .await?;
        }
        self.say(&GatewayMessage::Track {
            stream: self.stream,
            codec: track.codec,
            width: track.width,
            height: track.height,
            parameters: &track.parameters,
        })
        .await
    }

    fn frame<'a>(&self, picture: &'a Frame) -> GatewayMessage<'a> {
        GatewayMessage::Frame(FrameView {
            stream: self.stream,
            key: picture.key,
            decode_90k: picture.decode_90k,
            composition_90k: picture.composition_90k,
            captured_ms: picture.captured_ms,
            data: &picture.data,
        })
    }

    async fn say(&self, message: &GatewayMessage<'_>) -> Result<(), LineGone> {
        let Some(message) = emitted(message) else { return Ok(()) };
        match tokio::time::timeout(SEND_MAX, self.outgoing.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LineGone),
        }
    }
}

/// The connection took nothing any more.
struct LineGone;

/// A reason as long as a message may carry it.
fn clipped(reason: &str) -> &str {
    let max = tongluo_protocols::media::REASON_BYTES_MAX;
    &reason[..reason.floor_char_boundary(max)]
}

/// Which pictures are left out.
#[derive(Debug, Default)]
struct Pace {
    /// A young picture came. Before that the group is sent that was under way, however old its keyframe is.
    has_caught_up: bool,
    wants_key: bool,
}

impl Pace {
    /// Whether to send a picture of this age.
    fn takes(&mut self, key: bool, age_ms: i64) -> bool {
        let is_old = age_ms > AGE_MS_MAX;
        self.has_caught_up |= !is_old;
        self.wants_key |= self.has_caught_up && is_old;
        let takes = !self.wants_key || (key && !is_old);
        self.wants_key &= !takes;
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_under_way_is_sent_however_long_it_is() {
        let mut pace = Pace::default();
        assert!(pace.takes(true, 9_000));
        assert!((0..100).all(|number| pace.takes(false, 9_000 - 90 * number)));
    }

    #[test]
    fn what_waited_too_long_is_left_out_up_to_a_young_keyframe() {
        let mut pace = Pace::default();
        assert!(pace.takes(true, 40));
        assert!(pace.takes(false, AGE_MS_MAX));
        assert!(!pace.takes(false, AGE_MS_MAX + 1));
        assert!(!pace.takes(true, AGE_MS_MAX + 1), "an old keyframe");
        assert!(!pace.takes(false, 40), "its keyframe was left out");
        assert!(pace.takes(true, 40));
        assert!(pace.takes(false, 40));
    }

    #[test]
    fn a_clock_that_is_ahead_leaves_nothing_out() {
        let mut pace = Pace::default();
        assert!(pace.takes(true, -5_000) && pace.takes(false, -5_000));
    }

    #[test]
    fn reasons_are_clipped_between_characters() {
        let long = "门".repeat(200);
        assert_eq!(clipped(&long).len(), 255);
        assert_eq!(clipped("refused"), "refused");
    }
}
