//! From a camera's time stamps to one timeline per stream that only goes forward, and to the gateway's wall clock.
//!
//! A camera's clock starts anywhere, drifts, jumps when somebody sets it, and starts anew with each session. Viewers, the ring and
//! the recorder want one timeline that outlives all of that: ticks of 90 kHz that follow the camera while it is steady and the
//! gateway's own clock where it jumps. To each tick belongs a wall-clock time, smoothed, because the network delivers frames in
//! bunches. Pure: the time of arrival is an argument.

use tongluo_protocols::media::DecodeOrder;

use super::sound::Pictures;

/// Ticks per millisecond of the media timeline.
pub(super) const TICKS_PER_MS: i64 = 90;

/// A time stamp that is further from the expected one than this is a jump of the camera's clock, not network jitter.
const JUMP_MS: i64 = 3_000;

/// How far the mapping to the wall clock may be moved per frame: enough to follow any real drift (400 ms a minute at 25 frames a
/// second would be a broken quartz), too little for a viewer to see.
const STEER_US_PER_FRAME_MAX: i64 = 250;

/// When the wall clock and the mapping differ by more than this, the wall clock was set: the mapping follows at once.
const WALL_JUMP_MS: i64 = 1_000;

/// The shortest step between two frames that go on after a jump: one at 60 frames a second.
const STEP_TICKS_MIN: i64 = 1_500;

/// A frame's place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// When it is decoded, in ticks; grows from frame to frame.
    pub(super) decode_90k: u64,
    /// How much later it is shown, in ticks.
    pub(super) composition_90k: i32,
    /// The camera's clock jumped, or a new session began: what came before and this frame do not follow each other.
    pub(super) jumped: bool,
}

/// One stream's timeline; lives as long as the stream, over all its sessions.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// Decode times from presentation times; begun anew at each jump, with `shift_90k` from its line to ours.
    order: DecodeOrder,
    shift_90k: Option<i64>,
    /// What is added to a camera's time stamp.
    offset_90k: i64,
    last: Option<Last>,
    fresh_session: bool,
    wall: Wall,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// The highest presentation time so far.
    presented_90k: i64,
    arrived_ms: u64,
}

impl Timeline {
    /// A stream of which nothing was seen yet.
    pub(super) fn new() -> Self {
        Self {
            order: DecodeOrder::new(0),
            shift_90k: None,
            offset_90k: 0,
            last: None,
            fresh_session: false,
            wall: Wall::default(),
        }
    }

    /// A new session: its time stamps have nothing to do with the last one's.
    pub(super) fn begin_session(&mut self) {
        self.fresh_session = true;
    }

    /// Places a frame by its time stamp (90 kHz) and its arrival (monotonic).
    pub(super) fn place(&mut self, stamp_90k: i64, arrived_ms: u64) -> Place {
        let (presented_90k, jumped) = self.presented(stamp_90k, arrived_ms);
        if jumped {
            self.order = DecodeOrder::new(0);
            self.shift_90k = None;
        }
        let times = self.order.push(presented_90k);
        let decode_90k = i64::try_from(times.decode_90k).unwrap_or(i64::MAX);
        let shift_90k = *self.shift_90k.get_or_insert_with(|| {
            presented_90k.saturating_sub(decode_90k).saturating_sub(times.composition_90k.into())
        });
        let decode_90k = u64::try_from(decode_90k.saturating_add(shift_90k)).unwrap_or(0);
        Place { decode_90k, composition_90k: times.composition_90k, jumped }
    }

    /// When a frame is shown on our timeline, and whether that does not follow from the frame before it.
    fn presented(&mut self, stamp_90k: i64, arrived_ms: u64) -> (i64, bool) {
        // A count of 62 bits lasts a million years; beyond it lies nonsense that must not overflow.
        let stamp_90k = stamp_90k.clamp(-(1 << 61), 1 << 61);
        let Some(last) = self.last else {
            self.fresh_session = false;
            self.offset_90k = 0_i64.saturating_sub(stamp_90k);
            self.last = Some(Last { presented_90k: 0, arrived_ms });
            return (0, true);
        };
        let passed_ms = i64::try_from(arrived_ms.saturating_sub(last.arrived_ms)).unwrap_or(i64::MAX / 1_000);
        let expected_90k = last.presented_90k + passed_ms * TICKS_PER_MS;
        let mut presented_90k = stamp_90k.saturating_add(self.offset_90k);
        let off_ms = (presented_90k.saturating_sub(expected_90k) / TICKS_PER_MS).saturating_abs();
        let jumped = self.fresh_session || off_ms > JUMP_MS;
        if jumped {
            presented_90k = expected_90k.max(last.presented_90k + STEP_TICKS_MIN);
            self.offset_90k = presented_90k.saturating_sub(stamp_90k);
            self.fresh_session = false;
        }
        self.last = Some(Last { presented_90k: presented_90k.max(last.presented_90k), arrived_ms });
        (presented_90k, jumped)
    }

    /// What the pictures say about a moment (monotonic); `None` before the first.
    pub(super) fn pictures(&self, arrived_ms: u64) -> Option<Pictures> {
        let Last { presented_90k, arrived_ms: last_ms } = self.last?;
        let passed_ms = i64::try_from(arrived_ms.saturating_sub(last_ms)).unwrap_or(i64::MAX);
        Some(Pictures { offset_90k: self.offset_90k, newest_90k: presented_90k, passed_ms })
    }

    /// The wall-clock time of a decode time, given that its frame arrived at `arrived_utc_ms`. The answer's flag is set when the
    /// wall clock was set and times before and after are not comparable.
    pub(super) fn wall_ms(&mut self, decode_90k: u64, arrived_utc_ms: i64) -> (i64, bool) {
        self.wall.map(decode_90k, arrived_utc_ms)
    }
}

/// The mapping from decode times to the wall clock.
#[derive(Clone, Copy, Debug, Default)]
struct Wall {
    /// UTC microseconds of tick 0.
    zero_us: Option<i64>,
}

impl Wall {
    fn map(&mut self, decode_90k: u64, arrived_utc_ms: i64) -> (i64, bool) {
        let media_us = i64::try_from(decode_90k / 9 * 100).unwrap_or(i64::MAX);
        let arrived_us = arrived_utc_ms.saturating_mul(1_000);
        let observed_us = arrived_us.saturating_sub(media_us);
        let (zero_us, set) = match self.zero_us {
            None => (observed_us, false),
            Some(zero_us) => {
                let off_us = observed_us.saturating_sub(zero_us);
                if off_us.saturating_abs() > WALL_JUMP_MS * 1_000 {
                    (observed_us, true)
                } else {
                    (zero_us + off_us.clamp(-STEER_US_PER_FRAME_MAX, STEER_US_PER_FRAME_MAX), false)
                }
            }
        };
        self.zero_us = Some(zero_us);
        (zero_us.saturating_add(media_us).div_euclid(1_000), set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A camera of 25 frames a second.
    const FRAME: i64 = 3_600;

    #[test]
    fn a_steady_camera_is_followed_to_the_tick() {
        let mut timeline = Timeline::new();
        for i in 0..1_000 {
            // The network delivers in bunches of five.
            let arrived_ms = u64::try_from(i / 5 * 200).unwrap();
            let place = timeline.place(77_000_000 + i * FRAME, arrived_ms);
            assert_eq!(place, Place { decode_90k: (i * FRAME).unsigned_abs(), composition_90k: 0, jumped: i == 0 });
        }
    }

    #[test]
    fn b_frames_go_back_and_are_no_jump() {
        let mut timeline = Timeline::new();
        let stamps = [0, 4, 2, 1, 3, 8, 6, 5, 7];
        let mut last_decode_90k = None;
        for (i, stamp) in (0..).zip(stamps) {
            let place = timeline.place(stamp * FRAME, i * 40);
            assert_eq!(place.jumped, i == 0);
            assert_eq!(place.decode_90k.cast_signed() + i64::from(place.composition_90k), stamp * FRAME);
            assert!(last_decode_90k < Some(place.decode_90k), "decode times grow");
            last_decode_90k = Some(place.decode_90k);
        }
    }

    #[test]
    fn jumps_go_on_where_the_gateways_clock_says() {
        // (the camera's time stamp, time of arrival) → (tick / 90, jumped)
        let table: &[(i64, u64, i64, bool)] = &[
            (0, 1_000, 0, true),
            (FRAME, 1_040, 40, false),
            // Somebody sets the camera's clock an hour ahead, and back again by two.
            (3_600 * 90_000, 1_080, 80, true),
            (3_600 * 90_000 + FRAME, 1_120, 120, false),
            (-3_600 * 90_000, 1_160, 160, true),
            // The greatest jumps that fit.
            (i64::MAX, 1_200, 200, true),
            (i64::MIN, 1_240, 240, true),
            (5_000, 1_280, 280, true),
            (5_000 + FRAME, 1_320, 320, false),
            // Two seconds of silence are a pause, and no jump.
            (5_000 + 51 * FRAME, 3_320, 2_320, false),
        ];
        let mut timeline = Timeline::new();
        for (stamp, arrived_ms, tick_ms, jumped) in table {
            let place = timeline.place(*stamp, *arrived_ms);
            let presented_90k = place.decode_90k.cast_signed() + i64::from(place.composition_90k);
            assert_eq!((presented_90k / TICKS_PER_MS, place.jumped), (*tick_ms, *jumped), "at {arrived_ms}");
        }
    }

    #[test]
    fn a_new_session_continues_the_old_timeline_after_the_time_that_passed() {
        let mut timeline = Timeline::new();
        timeline.place(500, 0);
        timeline.place(500 + FRAME, 40);
        timeline.begin_session();
        let place = timeline.place(123_456, 10_040);
        assert_eq!(place, Place { decode_90k: 903_600, composition_90k: 0, jumped: true });
        let place = timeline.place(123_456 + FRAME, 10_080);
        assert_eq!(place, Place { decode_90k: 907_200, composition_90k: 0, jumped: false });
    }

    #[test]
    fn a_session_that_begins_at_once_still_goes_forward() {
        let mut timeline = Timeline::new();
        timeline.place(0, 5);
        timeline.begin_session();
        assert_eq!(timeline.place(0, 5).decode_90k, STEP_TICKS_MIN.unsigned_abs());
    }

    #[test]
    fn the_wall_clock_is_smooth_over_bunches_and_follows_drift() {
        let mut timeline = Timeline::new();
        let mut last_ms = None;
        for i in 0_u64..50_000 {
            let decode_90k = i * 3_600;
            // Bunches of five frames, and a camera that is slow by 1 in 1000.
            let arrived_ms = 1_000_000 + i64::try_from(i / 5 * 5 * 40 * 1_001 / 1_000).unwrap();
            let (wall_ms, set) = timeline.wall_ms(decode_90k, arrived_ms);
            assert!(!set);
            if let Some(last_ms) = last_ms {
                let step: i64 = wall_ms - last_ms;
                assert!((39..=41).contains(&step), "frame {i}: a step of {step} ms");
            }
            last_ms = Some(wall_ms);
            assert!((wall_ms - arrived_ms).abs() < 260, "frame {i}: {wall_ms} for {arrived_ms}");
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_is_followed_at_once_and_said() {
        let mut timeline = Timeline::new();
        assert_eq!(timeline.wall_ms(0, 5_000), (5_000, false));
        assert_eq!(timeline.wall_ms(3_600, 1_764_000_000_040), (1_764_000_000_040, true));
        assert_eq!(timeline.wall_ms(7_200, 1_764_000_000_080), (1_764_000_000_080, false));
        assert_eq!(timeline.wall_ms(10_800, -7), (-7, true));
    }
}
