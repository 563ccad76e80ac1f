//! Where pieces of sound stand on the pictures' time line. Pure.
//!
//! Sound has no holes here. Where a player finds one it stops, and browsers throw away the pictures with it; so what the
//! microphone does not send is filled with silence, and what comes too late, or twice, is left out. A microphone's clock has its
//! own beginning and its own drift: it is tied to the pictures' where the camera's own time stamps agree with when things
//! arrive, and to the arrival where they do not.

use tongluo_protocols::media::TIMESCALE;

use crate::camera::timeline::TICKS_PER_MS;

/// How far a microphone's time stamps may be from the pictures' by their arrival, beyond what waits on the line.
const SKEW_MS_MAX: i64 = 700;

/// A microphone that is so far behind the pictures is silent: from then on silence is filled in up to the picture. Longer than
/// [`SKEW_MS_MAX`], or a microphone that is merely late would be filled over.
const SILENT_MS: i64 = 1_000;

/// How far sound may drift from where it belongs before a piece is filled in or left out.
const DRIFT_MS_MAX: i64 = 80;

/// A hole that is longer is not filled: sound begins anew at the picture behind it.
const HOLE_MS_MAX: i64 = 20_000;

/// What the pictures say about a moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::camera) struct Pictures {
    /// What is added to a camera's time stamp of a picture.
    pub(in crate::camera) offset_90k: i64,
    /// When the newest picture is shown.
    pub(in crate::camera) newest_90k: i64,
    /// How much later this moment is than that picture's arrival.
    pub(in crate::camera) passed_ms: i64,
}

/// What to do with a piece of sound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It begins where the line ends, after so much silence.
    After {
        /// In samples of one channel.
        silence: u64,
    },
    /// It is left out.
    LeaveOut,
}

/// The line of one microphone.
#[derive(Clone, Debug)]
pub(super) struct Line {
    rate_hz: u32,
    /// Where the line begins; `None`: no picture came yet.
    origin_90k: Option<i64>,
    /// How many samples it has.
    samples: u64,
    /// What is added to a time stamp of the microphone, where it is not what is added to a picture's.
    offset_90k: Option<i64>,
    /// The microphone was silent too long, and has not sounded again.
    is_silent: bool,
}

impl Line {
    pub(super) const fn new(rate_hz: u32) -> Self {
        Self { rate_hz, origin_90k: None, samples: 0, offset_90k: None, is_silent: true }
    }

    /// Where the line ends, in ticks; `None` before the first picture.
    pub(super) fn end_90k(&self) -> Option<i64> {
        Some(self.origin_90k?.saturating_add(self.ticks(self.samples)))
    }

    /// So many samples more.
    pub(super) const fn grow(&mut self, samples: u64) {
        self.samples += samples;
    }

    /// A session began, or the camera's clock jumped: what tied the microphone's clock to the pictures' is void.
    pub(super) const fn untie(&mut self) {
        self.offset_90k = None;
    }

    /// Judges a piece by its time stamp.
    pub(super) fn judge(&mut self, stamp_90k: i64, samples: u64, pictures: Pictures) -> Verdict {
        let Some(end_90k) = self.end_90k() else { return Verdict::LeaveOut };
        let begins_90k = self.begins(stamp_90k, pictures);
        self.is_silent = false;
        let late_90k = begins_90k.saturating_sub(end_90k);
        let drift_90k = (DRIFT_MS_MAX * TICKS_PER_MS).max(self.ticks(samples) / 2);
        if late_90k < -drift_90k || late_90k > HOLE_MS_MAX * TICKS_PER_MS {
            return Verdict::LeaveOut;
        }
        Verdict::After { silence: if late_90k > drift_90k { self.samples_in(late_90k) } else { 0 } }
    }

    /// A picture is decoded at this time. Answers how many samples of silence the line lacks.
    pub(super) fn picture(&mut self, decode_90k: i64) -> u64 {
        let behind_90k = self.end_90k().map(|end_90k| decode_90k.saturating_sub(end_90k));
        let Some(behind_90k) = behind_90k.filter(|behind| behind.abs() <= HOLE_MS_MAX * TICKS_PER_MS) else {
            (self.origin_90k, self.samples, self.is_silent) = (Some(decode_90k), 0, true);
            return 0;
        };
        self.is_silent |= behind_90k > SILENT_MS * TICKS_PER_MS;
        if self.is_silent { self.samples_in(behind_90k) } else { 0 }
    }

    /// Whether nothing was heard for a while.
    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// When a piece sounds on the pictures' line.
    fn begins(&mut self, stamp_90k: i64, pictures: Pictures) -> i64 {
        let Pictures { offset_90k, newest_90k, passed_ms } = pictures;
        let stamp_90k = stamp_90k.clamp(-(1 << 61), 1 << 61);
        let now_90k = newest_90k.saturating_add(passed_ms.clamp(0, HOLE_MS_MAX) * TICKS_PER_MS);
        let skew_90k = SKEW_MS_MAX * TICKS_PER_MS;
        let offset_90k = self.offset_90k.unwrap_or(offset_90k);
        let begins_90k = stamp_90k.saturating_add(offset_90k);
        // What waited on the line comes later than it was said, and never earlier.
        if (newest_90k.saturating_sub(skew_90k)..=now_90k.saturating_add(skew_90k)).contains(&begins_90k) {
            self.offset_90k = Some(offset_90k);
            return begins_90k;
        }
        self.offset_90k = Some(now_90k.saturating_sub(stamp_90k));
        now_90k
    }

    fn ticks(&self, samples: u64) -> i64 {
        let ticks = u128::from(samples) * u128::from(TIMESCALE) / u128::from(self.rate_hz.max(1));
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }

    fn samples_in(&self, ticks: i64) -> u64 {
        let samples = u128::from(ticks.max(0).unsigned_abs()) * u128::from(self.rate_hz) / u128::from(TIMESCALE);
        u64::try_from(samples).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: i64 = 3_600;
    /// Samples of a packet of 40 ms at 8 kHz.
    const PACKET: u64 = 320;

    /// A camera whose microphone began to count elsewhere: packets and pictures in turn.
    struct Camera {
        line: Line,
        next: i64,
        stamps_off: i64,
        silence: u64,
        left_out: u64,
        taken: u64,
    }

    impl Camera {
        fn new() -> Self {
            Self { line: Line::new(8_000), next: 0, stamps_off: 0, silence: 0, left_out: 0, taken: 0 }
        }

        fn picture(&mut self) {
            let lacks = self.line.picture(self.next * PICTURE);
            self.line.grow(lacks);
            self.silence += lacks;
            self.next += 1;
        }

        fn sound(&mut self, stamp: i64) {
            let newest_90k = (self.next - 1) * PICTURE;
            let pictures = Pictures { offset_90k: 0, newest_90k, passed_ms: 20 };
            match self.line.judge(stamp + self.stamps_off, PACKET, pictures) {
                Verdict::After { silence } => {
                    self.line.grow(silence + PACKET);
                    self.silence += silence;
                    self.taken += 1;
                }
                Verdict::LeaveOut => self.left_out += 1,
            }
        }

        fn run(&mut self, pictures: i64) {
            for _ in 0..pictures {
                self.picture();
                self.sound((self.next - 1) * PICTURE);
            }
        }

        /// How far the end of the sound is ahead of the last picture, in milliseconds.
        fn ahead_ms(&self) -> i64 {
            (self.line.end_90k().unwrap() - (self.next - 1) * PICTURE) / TICKS_PER_MS
        }
    }

    #[test]
    fn an_even_microphone_is_followed_to_the_sample() {
        let mut camera = Camera::new();
        camera.run(1_000);
        assert_eq!((camera.silence, camera.left_out, camera.taken, camera.ahead_ms()), (0, 0, 1_000, 40));
    }

    #[test]
    fn time_stamps_that_jump_leave_sound_and_picture_together() {
        let mut camera = Camera::new();
        camera.run(100);
        for jump in [90_000 * 3_600, -90_000 * 7_200, 1 << 60, -(1 << 60)] {
            camera.stamps_off = jump;
            camera.run(100);
            assert!((-80..=120).contains(&camera.ahead_ms()), "{} ms after a jump of {jump}", camera.ahead_ms());
        }
        assert!(camera.silence + camera.left_out * PACKET < 8_000, "{} and {}", camera.silence, camera.left_out);
    }

    #[test]
    fn lost_packets_become_silence_of_their_length() {
        let mut camera = Camera::new();
        camera.run(50);
        for _ in 0..10 {
            camera.picture();
        }
        camera.run(50);
        assert_eq!((camera.silence, camera.left_out, camera.ahead_ms()), (10 * PACKET, 0, 40));
    }

    #[test]
    fn a_microphone_that_stops_is_filled_up_to_the_picture_and_comes_back_in_time() {
        let mut camera = Camera::new();
        camera.run(50);
        for _ in 0..500 {
            camera.picture();
        }
        assert!(camera.line.is_silent());
        assert_eq!(camera.ahead_ms(), 0, "a viewer waits for nothing");
        camera.run(50);
        assert!(!camera.line.is_silent());
        assert_eq!((camera.ahead_ms(), camera.left_out), (40, 0));
    }

    #[test]
    fn a_microphone_that_says_nothing_from_the_beginning_is_silent_at_once() {
        let mut camera = Camera::new();
        for _ in 0..10 {
            camera.picture();
        }
        assert_eq!((camera.ahead_ms(), camera.silence), (0, 9 * PACKET));
    }

    #[test]
    fn one_that_is_late_is_not_filled_over() {
        let mut camera = Camera::new();
        for _ in 0..500 {
            camera.picture();
            camera.sound((camera.next - 1 - 12) * PICTURE);
        }
        assert!(camera.taken > 480, "{} taken, {} left out", camera.taken, camera.left_out);
        assert!((-480..=-360).contains(&camera.ahead_ms()), "{}", camera.ahead_ms());
    }

    #[test]
    fn a_clock_that_drifts_never_gets_away() {
        for (step, name) in [(3_590, "slow"), (3_610, "fast")] {
            let mut camera = Camera::new();
            let mut stamp = 0;
            for _ in 0..5_000 {
                camera.picture();
                camera.sound(stamp);
                stamp += step;
                assert!((-900..=900).contains(&camera.ahead_ms()), "{name}: {}", camera.ahead_ms());
            }
        }
    }

    #[test]
    fn sound_without_pictures_goes_nowhere_and_a_long_hole_begins_anew() {
        let mut camera = Camera::new();
        camera.next = 1;
        camera.sound(0);
        assert_eq!((camera.taken, camera.left_out), (0, 1));
        camera.run(10);
        camera.next += 25 * 3_600;
        camera.picture();
        assert_eq!((camera.ahead_ms(), camera.silence), (0, 0), "an hour is not filled");
        camera.run(10);
        assert_eq!(camera.ahead_ms(), 40);
    }
}
