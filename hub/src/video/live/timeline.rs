//! Where a picture stands on a live stream's time line, and how long it claims to be.
//!
//! Browsers forgive little here. A sample's decode time may step by at most twice the duration of the sample before it, or
//! everything up to the next keyframe is thrown away. So each picture claims to be as long as five: the camera may jitter, and
//! a gap of 200 ms is no gap. A longer gap (the camera paused, pictures were left out) is taken out: the next picture stands
//! where the last one claims to end, which is where a player that ran dry waits. Live media time is for order and pace alone;
//! when a picture was taken is said beside it.

/// How many pictures long each picture claims to be.
const CLAIM_FRAMES: u64 = 5;

/// The shortest and the longest claim: 100 ms and 1 s.
const CLAIM_90K_MIN: u64 = 9_000;
const CLAIM_90K_MAX: u64 = 90_000;

/// The length of a picture before two of them were seen: 40 ms.
const FRAME_90K_DEFAULT: u64 = 3_600;

/// A step between pictures that says something about their rate: at most 1 s.
const FRAME_90K_MAX: u64 = 90_000;

/// Where a picture stands, in ticks of 1/90000 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// When it is decoded. Grows.
    pub(super) decode_90k: u64,
    /// How long it claims to be.
    pub(super) claim_90k: u32,
    /// How long pictures really are at the moment.
    pub(super) frame_90k: u32,
}

/// The time line of one upload.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// The last picture: by the gateway's count, and by ours.
    last: Option<(u64, u64)>,
    frame_90k: u64,
    claim_90k: u64,
}

impl Timeline {
    pub(super) const fn new() -> Self {
        Self { last: None, frame_90k: FRAME_90K_DEFAULT, claim_90k: CLAIM_FRAMES * FRAME_90K_DEFAULT }
    }

    /// Places the next picture, which the gateway decodes at `decode_90k`.
    pub(super) fn push(&mut self, decode_90k: u64) -> Place {
        let placed = match self.last {
            // Room below zero for nobody: decode times begin at 1 s.
            None => 90_000,
            Some((seen, placed)) => {
                let step = decode_90k.saturating_sub(seen);
                if (1..=FRAME_90K_MAX).contains(&step) {
                    self.learn(step);
                }
                // A step that is none is a gateway that began to count anew.
                let step = if step == 0 { self.frame_90k } else { step.min(self.claim_90k) };
                placed + step
            }
        };
        self.last = Some((decode_90k, placed));
        Place { decode_90k: placed, claim_90k: self.claim_90k as u32, frame_90k: self.frame_90k as u32 }
    }

    /// Follows the rate slowly; the claim follows only where it is off by a quarter, so that it stays the same for
    /// minutes.
    fn learn(&mut self, step: u64) {
        self.frame_90k = (self.frame_90k * 15 + step).div_ceil(16);
        let claim = (self.frame_90k * CLAIM_FRAMES).clamp(CLAIM_90K_MIN, CLAIM_90K_MAX);
        if claim.abs_diff(self.claim_90k) * 4 > self.claim_90k {
            self.claim_90k = claim;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 3_600;

    /// Steps between places for steps between pictures.
    fn steps(given: &[u64]) -> Vec<u64> {
        let mut timeline = Timeline::new();
        let mut decode = 1 << 40;
        let mut placed = timeline.push(decode).decode_90k;
        given
            .iter()
            .map(|step| {
                decode += step;
                let next = timeline.push(decode).decode_90k;
                let step = next - placed;
                placed = next;
                step
            })
            .collect()
    }

    #[test]
    fn an_even_camera_is_passed_on_as_it_is() {
        assert_eq!(steps(&[FRAME; 50]), [FRAME; 50]);
        assert_eq!(Timeline::new().push(7).claim_90k, 18_000);
    }

    #[test]
    fn jitter_is_kept_and_a_pause_is_taken_out() {
        let claim = 5 * FRAME;
        assert_eq!(steps(&[FRAME, FRAME / 2, 4 * FRAME, FRAME]), [FRAME, FRAME / 2, 4 * FRAME, FRAME]);
        assert_eq!(steps(&[FRAME, 50 * FRAME, FRAME]), [FRAME, claim, FRAME], "where the player waits");
        assert_eq!(steps(&[FRAME, 1 << 40, FRAME]), [FRAME, claim, FRAME]);
    }

    #[test]
    fn no_step_is_longer_than_what_the_picture_before_claims() {
        let mut timeline = Timeline::new();
        let mut before = timeline.push(0);
        for (number, step) in
            [3_600, 9_000, 18_000, 30_000, 1, 60_000, 90_000, 200_000, 4_500].iter().cycle().take(900).enumerate()
        {
            let decode = before.decode_90k + step + number as u64;
            let place = timeline.push(decode);
            assert!(place.decode_90k - before.decode_90k <= 2 * u64::from(before.claim_90k));
            assert!(place.decode_90k > before.decode_90k);
            before = place;
        }
    }

    #[test]
    fn a_gateway_that_counts_anew_goes_on_one_picture_later() {
        let mut timeline = Timeline::new();
        let first = timeline.push(1 << 50);
        assert_eq!(timeline.push(90_000).decode_90k, first.decode_90k + FRAME);
    }

    #[test]
    fn a_slow_camera_is_learned() {
        let mut timeline = Timeline::new();
        let place = (0..100).map(|number| timeline.push(number * 18_000)).last().unwrap();
        assert!((17_000..=18_100).contains(&place.frame_90k), "{place:?}");
        assert!((72_000..=90_000).contains(&place.claim_90k), "{place:?}");
    }
}
