//! Carries samples to the card, piece by piece, for as long as the leash is held.

use std::time::{Duration, Instant};

use crate::card::Card;
use crate::clock;
use crate::leash::Leash;
use crate::sound::{Next, Source};

/// Samples are handed over in pieces of this length.
const PIECE_MS: u32 = 20;
/// A card that takes everything at once, as ALSA's file plug-in does, is not given more than this in advance: a stop must be
/// heard, and what is said of progress must be true.
const AHEAD: Duration = Duration::from_millis(200);
/// How often progress is told.
const TELL_EVERY_MS: u32 = 1_000;
/// A step of waiting, between two looks at the leash.
const STEP: Duration = Duration::from_millis(10);

/// How much was heard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// All times together, without what was silent in between.
    pub(crate) played_ms: u32,
    /// How often to the end.
    pub(crate) times: u8,
}

impl Progress {
    /// Whether nothing was heard yet.
    pub(crate) fn begins(self) -> bool {
        self.played_ms == 0 && self.times == 0
    }
}

/// How a play ended.
pub(crate) enum Ended {
    Finished(Progress),
    Stopped(Progress),
}

/// Plays on a card; `tell` hears how far it has come.
pub(crate) struct Player<T> {
    pub(crate) card: Card,
    pub(crate) leash: Leash,
    pub(crate) volume_percent: u8,
    pub(crate) tell: T,
}

impl<T: FnMut(Progress)> Player<T> {
    /// Waits for the amplifier; answers whether the leash is still held.
    pub(crate) fn warm_up(&self, warm_up_ms: u16) -> bool {
        self.wait_until(clock::now() + Duration::from_millis(warm_up_ms.into()))
    }

    /// Plays to the end, or until the leash is let go.
    ///
    /// # Errors
    /// When the file or the card fails.
    pub(crate) fn play(&mut self, mut source: Source) -> anyhow::Result<Ended> {
        let rate_hz = u64::from(self.card.rate_hz());
        let piece_samples = (self.card.rate_hz() * PIECE_MS / 1_000) as usize;
        let (mut heard, mut written, mut times, mut told_ms) = (0, 0, 0, 0);
        let mut piece = Vec::with_capacity(piece_samples);
        let began = clock::now();
        (self.tell)(Progress::default());
        loop {
            let over = loop {
                if piece.len() == piece_samples {
                    break false;
                }
                match source.next()? {
                    Next::Sample(sample) => {
                        piece.push(self.turned_down(sample));
                        heard += 1;
                    }
                    Next::Pause => piece.push(0),
                    Next::Once => times += 1,
                    Next::Over => break true,
                }
            };
            let due = began + Duration::from_micros(written * 1_000_000 / rate_hz);
            let progress = Progress { played_ms: u32::try_from(heard * 1_000 / rate_hz).unwrap_or(u32::MAX), times };
            if !self.wait_until(due.checked_sub(AHEAD).unwrap_or(began)) {
                self.card.hush();
                return Ok(Ended::Stopped(progress));
            }
            self.card.write(&piece)?;
            written += piece.len() as u64;
            piece.clear();
            if over {
                self.card.drain()?;
                return Ok(Ended::Finished(progress));
            }
            if progress.played_ms >= told_ms + TELL_EVERY_MS {
                told_ms = progress.played_ms;
                (self.tell)(progress);
            }
        }
    }

    fn turned_down(&self, sample: i16) -> i16 {
        let sample = i32::from(sample) * i32::from(self.volume_percent) / 100;
        i16::try_from(sample).expect("a volume is at most 100 %")
    }

    /// Answers whether the leash is still held then.
    fn wait_until(&self, instant: Instant) -> bool {
        loop {
            if self.leash.is_gone() {
                return false;
            }
            let left = instant.saturating_duration_since(clock::now());
            if left.is_zero() {
                return true;
            }
            clock::pause(left.min(STEP));
        }
    }
}
