//! Trying an address from the village: what a technician sees before a camera is taken in, with the exact reason if it fails.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use retina::client::SessionGroup;

use super::StreamFacts;
use super::eye::Eye;
use super::guard::{Guard, TRIES_MAX};
use super::machine::Failure;
use super::ring::Frame;
use super::session::{Address, Session, Trouble};
use crate::clock::Clock;

/// The longest test; the page waits 15 s.
const TEST_TIMEOUT: Duration = Duration::from_secs(12);

/// Pictures from which the rate is told: one second of most cameras.
const PICTURES: usize = 12;

/// What a test found.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    /// `ok`, or why not, as the hub names it.
    pub(crate) reason: &'static str,
    /// A sentence for the technician; empty with `ok`.
    pub(crate) detail: String,
    /// How many wrong passwords the recorder will take before it locks; `None` where no password was at stake.
    pub(crate) tries_left: Option<u8>,
    /// What the stream carries.
    pub(crate) facts: Option<StreamFacts>,
    /// Measured, or announced by the camera.
    pub(crate) frames_per_s: Option<f32>,
    /// What it shows. `None` although all is well: the decoder is missing or busy.
    pub(crate) jpeg: Option<Vec<u8>>,
}

impl Probed {
    /// A test that did not come to its end.
    pub(super) fn failed(reason: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { reason, detail, tries_left: None, facts: None, frames_per_s: None, jpeg: None }
    }
}

/// Opens a session, takes some pictures, and closes it.
pub(super) async fn probe(address: &Address, guard: &Rc<RefCell<Guard>>, eye: &Eye, clock: Clock) -> Probed {
    let guarded = address.has_credentials();
    if guarded && !guard.borrow().ask_for_test(clock.mono_ms()) {
        let tries_left = guard.borrow().tries_left(clock.mono_ms());
        let detail =
            "the recorder was given wrong passwords and may lock; wait half an hour, or mend the password there";
        return Probed { tries_left: Some(tries_left), ..Probed::failed("tries_left", detail) };
    }
    let group = Arc::new(SessionGroup::default());
    let tested = tokio::time::timeout(TEST_TIMEOUT, test(address, group.clone(), eye, clock)).await;
    let mut probed = match tested {
        Ok(Ok(probed)) => probed,
        Ok(Err(trouble)) => failed(trouble),
        Err(_) => Probed::failed("no_frames", format!("nothing to see within {} s", TEST_TIMEOUT.as_secs())),
    };
    if guarded {
        if probed.reason == "refused" {
            guard.borrow_mut().count_wrong(clock.mono_ms());
        }
        let tries_left = guard.borrow().tries_left(clock.mono_ms());
        probed.tries_left = (probed.reason == "refused" || tries_left < TRIES_MAX).then_some(tries_left);
    }
    probed
}

async fn test(address: &Address, group: Arc<SessionGroup>, eye: &Eye, clock: Clock) -> Result<Probed, Trouble> {
    let mut session = Session::open(address, group, false, clock).await?;
    let mut frames = Vec::new();
    let mut stamps = Vec::new();
    while stamps.len() < PICTURES {
        let picture = session.next().await?;
        stamps.push(picture.stamp_90k);
        frames.push(Arc::new(Frame {
            track: picture.track,
            key: picture.key,
            decode_90k: 0,
            composition_90k: 0,
            captured_ms: 0,
            data: picture.data,
            sound: Vec::new(),
        }));
    }
    let frames_per_s = rate(&mut stamps).or(session.frames_per_s());
    drop(session);
    // A second track among them would need its own keyframe: what comes before it is left out.
    let track = frames.last().map(|frame| frame.track.clone());
    let first = frames.iter().rposition(|frame| frame.key).unwrap_or(0);
    let facts = track.map(|track| StreamFacts { codec: track.codec, width: track.width, height: track.height });
    let jpeg = eye.snapshot(frames.split_off(first)).await.ok();
    Ok(Probed { facts, frames_per_s, jpeg, ..Probed::failed("ok", "") })
}

/// Pictures a second, by their time stamps, which B-frames shuffle.
fn rate(stamps: &mut [i64]) -> Option<f32> {
    stamps.sort_unstable();
    let (first, last) = (*stamps.first()?, *stamps.last()?);
    let ticks = last.checked_sub(first).filter(|ticks| (1..90_000 * 60).contains(ticks))?;
    let count = u16::try_from(stamps.len() - 1).ok()?;
    let rate = f32::from(count) * 90_000.0 / ticks as f32;
    Some((rate * 10.0).round() / 10.0)
}

fn failed(trouble: Trouble) -> Probed {
    let reason = match trouble.failure {
        Failure::Unreachable => "unreachable",
        Failure::Refused | Failure::Full => "refused",
        Failure::NoSuchStream => "no_such_stream",
        Failure::Unsupported => "unsupported",
        Failure::NoFrames | Failure::Lost => "no_frames",
    };
    Probed::failed(reason, trouble.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_told_from_shuffled_time_stamps() {
        assert_eq!(rate(&mut [0, 10_800, 7_200, 3_600]), Some(25.0));
        assert_eq!(rate(&mut [6_000, 0, 3_000]), Some(30.0));
        assert_eq!(rate(&mut [5]), None);
        assert_eq!(rate(&mut [5, 5]), None);
        assert_eq!(rate(&mut [i64::MIN, i64::MAX]), None);
    }
}
