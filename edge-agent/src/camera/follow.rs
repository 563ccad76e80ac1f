//! Reading from memory: what the ring holds of a span, and what is still to come, as if it were recorded.
//!
//! The same pieces come out as from the recordings, so evidence of an unrecorded camera is made as that of any other.

use std::sync::Arc;

use tokio::sync::mpsc;
use tongluo_protocols::media::mp4;

use super::recording::{
    FRAGMENT_BYTES_MAX, OVERLAP_MS_MAX, PIECES_MAX, Piece, Reading, begin_ms, duration_ms, init_piece, mux,
};
use super::ring::{Frame, Watching};
use crate::clock::Clock;

/// A hole between groups that is worth a word.
const GAP_MS_MIN: i64 = 1_000;

/// How long after its end a span is waited for.
const FOLLOW_MS: i64 = 15_000;

/// How long a last picture is taken to last.
const LAST_TICKS: u64 = 3_600;

const TICKS_PER_MS: i64 = 90;

/// Gives `past`, then what `watching` brings, until the span is over.
pub(super) fn follow(
    past: Vec<Arc<Frame>>,
    watching: Option<Watching>,
    from_ms: i64,
    to_ms: i64,
    clock: Clock,
) -> Reading {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let follower = Follower {
        sender,
        from_ms,
        to_ms,
        base_ms: from_ms,
        position_ms: from_ms,
        began: false,
        init: None,
        sequence: 0,
    };
    tokio::task::spawn_local(follower.run(past, watching, clock));
    Reading { pieces }
}

/// The reader is gone, or everything was given.
struct Over;

struct Follower {
    sender: mpsc::Sender<Piece>,
    from_ms: i64,
    to_ms: i64,
    base_ms: i64,
    position_ms: i64,
    began: bool,
    init: Option<Vec<u8>>,
    sequence: u32,
}

impl Follower {
    async fn run(mut self, past: Vec<Arc<Frame>>, watching: Option<Watching>, clock: Clock) {
        let _ = self.pieces(past, watching, clock).await;
        if self.position_ms < self.to_ms {
            let _ = self.gap(self.to_ms).await;
        }
    }

    async fn pieces(&mut self, past: Vec<Arc<Frame>>, watching: Option<Watching>, clock: Clock) -> Result<(), Over> {
        let mut group: Vec<Arc<Frame>> = Vec::new();
        for frame in past {
            self.take(&mut group, frame).await?;
        }
        let mut frames = watching.map(|watching| watching.frames);
        while let Some(frames) = &mut frames {
            // Monotonic and wall clock meet here: the span is given in UTC, the wait is a time-out.
            let left_ms = self.to_ms.saturating_add(FOLLOW_MS).saturating_sub(clock.utc_ms());
            let Ok(left_ms) = u64::try_from(left_ms) else { break };
            let deadline_ms = clock.mono_ms().saturating_add(left_ms);
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => self.take(&mut group, frame).await?,
                    None => break,
                },
                () = clock.until(Some(deadline_ms)) => break,
                () = self.sender.closed() => return Err(Over),
            }
        }
        if let Some(last) = group.last() {
            let end_90k = last.decode_90k + LAST_TICKS;
            self.give(&group, end_90k).await?;
        }
        Ok(())
    }

    async fn take(&mut self, group: &mut Vec<Arc<Frame>>, frame: Arc<Frame>) -> Result<(), Over> {
        let bytes: usize = group.iter().map(|frame| frame.bytes()).sum();
        if !frame.key && bytes + frame.bytes() > FRAGMENT_BYTES_MAX {
            let part = std::mem::take(group);
            self.give(&part, frame.decode_90k).await?;
        }
        if frame.key && !group.is_empty() {
            let continues = group.last().is_some_and(|last| frame.decode_90k.saturating_sub(last.decode_90k) < 90_000);
            let last_90k = group.last().map_or(0, |last| last.decode_90k);
            let end_90k = if continues { frame.decode_90k } else { last_90k + LAST_TICKS };
            let whole = std::mem::take(group);
            self.give(&whole, end_90k).await?;
            if frame.captured_ms >= self.to_ms {
                return Err(Over);
            }
        }
        group.push(frame);
        Ok(())
    }

    async fn give(&mut self, group: &[Arc<Frame>], end_90k: u64) -> Result<(), Over> {
        // What follows a part that was too large goes on without a keyframe.
        let fits = |first: &&Arc<Frame>| (first.key || self.began) && first.captured_ms < self.to_ms;
        let Some(first) = group.first().filter(fits) else { return Ok(()) };
        let known_ms = begin_ms(group).unwrap_or(first.captured_ms);
        let wall_ms = if self.began { known_ms.max(self.position_ms - OVERLAP_MS_MAX) } else { known_ms };
        let duration_ms = duration_ms(group, end_90k);
        let end_ms = wall_ms + i64::from(duration_ms);
        if end_ms <= self.position_ms {
            return Ok(());
        }
        if !self.began {
            self.began = true;
            self.base_ms = self.base_ms.min(wall_ms);
        }
        self.gap(wall_ms).await?;
        let init = mp4::init_segment(&first.track).map_err(|_| Over)?;
        if self.init.as_ref() != Some(&init) {
            self.send(init_piece(init.clone()).ok_or(Over)?).await?;
            self.init = Some(init);
        }
        self.sequence += 1;
        let decode_90k = (wall_ms - self.base_ms).max(0).unsigned_abs() * TICKS_PER_MS.unsigned_abs();
        let data = mux(group, end_90k, self.sequence, decode_90k).map_err(|_| Over)?;
        self.send(Piece::Fragment { wall_ms, duration_ms, data }).await?;
        self.position_ms = end_ms;
        Ok(())
    }

    async fn gap(&mut self, to_ms: i64) -> Result<(), Over> {
        if to_ms - self.position_ms >= GAP_MS_MIN {
            self.send(Piece::Gap { from_ms: self.position_ms.max(self.from_ms), to_ms }).await?;
            self.position_ms = to_ms;
        }
        Ok(())
    }

    async fn send(&self, piece: Piece) -> Result<(), Over> {
        self.sender.send(piece).await.map_err(|_| Over)
    }
}
