//! From a camera's time stamps to one timeline per stream that only goes forward, and to the gateway's wall clock.
//!
//! A camera's clock starts anywhere, drifts, jumps when somebody sets it, and starts anew with each session. Viewers, the ring and
//! the recorder want one timeline that outlives all of that: ticks of 90 kHz that follow the camera while it is steady and the
//! gateway's own clock where it jumps. To each tick belongs a wall-clock time: when the picture was captured, as far as arrivals tell.
//! The network only ever delays, so the quickest arrivals say most; a time after its own arrival is never given. Pure: the time of
//! arrival is an argument.

use tongluo_protocols::media::DecodeOrder;

use super::sound::Pictures;

/// Ticks per millisecond of the media timeline.
pub(super) const TICKS_PER_MS: i64 = 90;

/// A time stamp that is further from the expected one than this is a jump of the camera's clock, not network jitter.
const JUMP_MS: i64 = 3_000;

/// How much later the mapping to the wall clock may move, in a thousand of the stream's own time: ten times what a poor quartz loses,
/// and little (60 ms) in a minute in which the network is never quick.
const RISE_PER_MILLE: i64 = 1;

/// When the wall clock and the monotonic one differ by so much more or less than at the last frame, the wall clock was set. Less
/// is a clock that is being slewed, or a program that was kept waiting between its looks at the two.
const WALL_SET_MS: i64 = 500;

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

    /// When a frame was captured, given when it arrived by both clocks: at its arrival or before, and never before the frame that
    /// came before it. The answer's flag is set when the wall clock was set and times before and after are not comparable.
    pub(super) fn captured_ms(&mut self, place: Place, arrived_ms: u64, arrived_utc_ms: i64) -> (i64, bool) {
        self.wall.map(place, arrived_ms, arrived_utc_ms)
    }
}

/// The mapping from decode times to the wall clock.
#[derive(Clone, Copy, Debug, Default)]
struct Wall {
    last: Option<Mapped>,
}

#[derive(Clone, Copy, Debug)]
struct Mapped {
    decode_us: i64,
    /// UTC microseconds of tick 0: as early as the quickest frame says.
    zero_us: i64,
    /// How far UTC is ahead of the monotonic clock.
    utc_ahead_ms: i64,
}

impl Wall {
    fn map(&mut self, place: Place, arrived_ms: u64, arrived_utc_ms: i64) -> (i64, bool) {
        let decode_us = i64::try_from(place.decode_90k / 9 * 100).unwrap_or(i64::MAX);
        let observed_us = arrived_utc_ms.saturating_mul(1_000).saturating_sub(decode_us);
        let utc_ahead_ms = arrived_utc_ms.saturating_sub_unsigned(arrived_ms);
        let set =
            self.last.is_some_and(|last| utc_ahead_ms.saturating_sub(last.utc_ahead_ms).saturating_abs() > WALL_SET_MS);
        let zero_us = match self.last {
            // After a jump the old mapping says nothing.
            Some(last) if !set && !place.jumped => {
                let passed_us = decode_us.saturating_sub(last.decode_us);
                observed_us.min(last.zero_us.saturating_add(passed_us / 1_000 * RISE_PER_MILLE))
            }
            _ => observed_us,
        };
        self.last = Some(Mapped { decode_us, zero_us, utc_ahead_ms });
        (zero_us.saturating_add(decode_us).div_euclid(1_000), set)
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

    /// A wall clock that agrees with the monotonic one but for this.
    const UTC_AHEAD_MS: i64 = 1_764_000_000_000;

    /// When pictures of 25 a second were captured, by their (time stamp in ms, arrival): none after its arrival, none before the one
    /// before it.
    fn captured(timeline: &mut Timeline, pictures: impl IntoIterator<Item = (i64, i64)>) -> Vec<i64> {
        let mut last_ms = i64::MIN;
        let mut all = Vec::new();
        for (stamp_ms, arrived_ms) in pictures {
            let (arrived_mono_ms, arrived_utc_ms) = (arrived_ms.unsigned_abs(), UTC_AHEAD_MS + arrived_ms);
            let place = timeline.place(stamp_ms * TICKS_PER_MS, arrived_mono_ms);
            let (captured_ms, set) = timeline.captured_ms(place, arrived_mono_ms, arrived_utc_ms);
            assert!(!set, "nobody set a clock");
            assert!(
                captured_ms <= arrived_utc_ms,
                "{stamp_ms} at {arrived_ms}: ahead by {}",
                captured_ms - arrived_utc_ms
            );
            assert!(captured_ms >= last_ms, "{stamp_ms} at {arrived_ms}: back by {}", last_ms - captured_ms);
            last_ms = captured_ms;
            all.push(captured_ms - UTC_AHEAD_MS);
        }
        all
    }

    #[test]
    fn after_a_burst_a_picture_is_as_old_as_it_is() {
        // What the camera kept of the last 0.9 s comes at once with its answer to PLAY; then it sends as it takes.
        let taken = |i: i64| (i * 40, 10_000 + (i * 40 - 900).max(0));
        let all = captured(&mut Timeline::new(), (0..200).map(taken));
        assert_eq!(all[0], 10_000, "the first one tells nothing of those to come");
        assert_eq!(
            all[23..],
            (23..200).map(|i| 9_100 + i * 40).collect::<Vec<_>>(),
            "from the first one on that came when taken"
        );
    }

    #[test]
    fn a_first_picture_that_is_late_delays_no_other() {
        let taken = |i: i64| (i * 40, 10_000 + i * 40 + if i == 0 { 35 } else { 3 });
        let all = captured(&mut Timeline::new(), (0..100).map(taken));
        assert_eq!(all[1..], (1..100).map(|i| 10_003 + i * 40).collect::<Vec<_>>());
    }

    #[test]
    fn jitter_does_not_show() {
        // Delays of up to 180 ms, in a pattern that repeats after 3 s, on a line that keeps the order.
        let mut arrived_ms = 0;
        let pictures: Vec<_> = (0_i64..3_000)
            .map(|i| {
                arrived_ms = arrived_ms.max(10_000 + i * 40 + (i * 7_919 % 75) * 180 / 74);
                (i * 40, arrived_ms)
            })
            .collect();
        let late_ms = |i: usize, at_ms: i64| at_ms - 10_000 - pictures[i].0;
        let quickest_ms = (75..150).map(|i| late_ms(i, pictures[i].1)).min().unwrap();
        let all = captured(&mut Timeline::new(), pictures.iter().copied());
        for (i, captured_ms) in all.into_iter().enumerate() {
            let late_ms = late_ms(i, captured_ms);
            assert!((0..=quickest_ms + 3).contains(&late_ms), "picture {i} is {late_ms} ms late");
        }
    }

    #[test]
    fn a_jump_of_time_stamps_begins_a_new_mapping() {
        // The one before it is late by 90 ms, so that too little time seems to pass; or the one after it, and too much.
        for late in [99, 100] {
            let taken = |i: i64| {
                let jump_ms = if i < 100 { 0 } else { 3_600_000 };
                let not_before_ms = if i < late { 0 } else { 10_002 + late * 40 + 90 };
                (jump_ms + i * 40, (10_002 + i * 40).max(not_before_ms))
            };
            let all = captured(&mut Timeline::new(), (0..300).map(taken));
            assert_eq!(all[99], 10_002 + 99 * 40);
            assert_eq!(all[103..], (103..300).map(|i| 10_002 + i * 40).collect::<Vec<_>>(), "the late one is {late}");
        }
    }

    #[test]
    fn a_session_in_a_burst_after_one_without_does_not_run_ahead() {
        let mut timeline = Timeline::new();
        captured(&mut timeline, (0..100).map(|i| (i * 40, 10_000 + i * 40)));
        timeline.begin_session();
        let all = captured(&mut timeline, (0..100).map(|i| (i * 40, 20_000 + (i * 40 - 900).max(0))));
        assert_eq!(all[99], 20_000 + 99 * 40 - 900);
    }

    #[test]
    fn the_wall_clock_is_smooth_over_bunches_and_follows_drift() {
        // Bunches of five frames, and a camera that is slow, or fast, by 1 in 1000.
        for drift_per_mille in [-1, 1] {
            let of = |i: i64| (i * 40, 1_000_000 + i / 5 * 5 * 40 * (1_000 + drift_per_mille) / 1_000);
            let all = captured(&mut Timeline::new(), (0..50_000).map(of));
            for (i, pair) in all.windows(2).enumerate().skip(5) {
                assert!((39..=41).contains(&(pair[1] - pair[0])), "frame {i}: {pair:?}");
            }
            for (i, captured_ms) in (0_i64..).zip(all).skip(5) {
                let behind_ms = of(i).1 - captured_ms;
                assert!((0..170).contains(&behind_ms), "frame {i}: {behind_ms} ms behind its arrival");
            }
        }
    }

    #[test]
    fn a_network_that_stands_still_for_a_while_sets_no_clock() {
        // Nothing comes for 2 s, then all at once.
        let of = |i: i64| (i * 40, 10_000 + if (100..150).contains(&i) { 150 * 40 } else { i * 40 });
        let all = captured(&mut Timeline::new(), (0..300).map(of));
        for (i, captured_ms) in (0_i64..).zip(all) {
            assert!((0..=2).contains(&(captured_ms - 10_000 - i * 40)), "picture {i}: {captured_ms}");
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_is_followed_at_once_and_said() {
        let mut timeline = Timeline::new();
        let mut captured = |i: i64, utc_ms| {
            let place = timeline.place(i * FRAME, i.unsigned_abs() * 40);
            timeline.captured_ms(place, i.unsigned_abs() * 40, utc_ms)
        };
        assert_eq!(captured(0, 5_000), (5_000, false));
        assert_eq!(captured(1, 1_764_000_000_040), (1_764_000_000_040, true));
        assert_eq!(captured(2, 1_764_000_000_080), (1_764_000_000_080, false));
        assert_eq!(captured(3, -7), (-7, true));
        assert_eq!(captured(4, 33), (33, false));
    }
}
