//! Whether a stream that has just begun still brings what was before.
//!
//! A gateway begins with the group of pictures that is under way, as fast as the line takes it. Passed on one by one, a page
//! would begin with the oldest of them, seconds behind, and take the rush for unevenness of the line. So the first ones are held
//! until they are as young as the line allows, and leave together. Pure.

/// Younger than this by both clocks is now.
const YOUNG_MS: i64 = 150;

/// No picture is held for longer: a line that needs more time for the group is shown as it comes.
const HOLD_MS_MAX: i64 = 500;

/// Where a stream stands. Times are UTC milliseconds; the gateway's clock may be off, so it is compared with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CatchUp {
    /// It has caught up.
    Done,
    /// Nothing has come yet.
    Begins,
    /// Pictures are held since `since_ms`; the last one was taken and came then.
    Behind { since_ms: i64, captured_ms: i64, hub_ms: i64 },
}

impl CatchUp {
    /// Whether pictures are held.
    pub(super) fn is_behind(self) -> bool {
        matches!(self, Self::Behind { .. })
    }

    /// The next picture came: whether it is held as well.
    pub(super) fn holds(&mut self, captured_ms: i64, hub_ms: i64) -> bool {
        let since_ms = match *self {
            Self::Done => return false,
            Self::Begins => Some(hub_ms),
            // What comes at less than twice the pace of its taking comes as it is taken.
            Self::Behind { since_ms, captured_ms: captured_before_ms, hub_ms: hub_before_ms } => {
                let is_rush = (hub_ms - hub_before_ms) * 2 < captured_ms - captured_before_ms;
                (is_rush && hub_ms - since_ms < HOLD_MS_MAX).then_some(since_ms)
            }
        };
        let is_young = hub_ms - captured_ms <= YOUNG_MS;
        *self = match since_ms.filter(|_| !is_young) {
            Some(since_ms) => Self::Behind { since_ms, captured_ms, hub_ms },
            None => Self::Done,
        };
        self.is_behind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these pictures, each (captured, came), are held.
    fn held(pictures: &[(i64, i64)]) -> Vec<bool> {
        let mut catch_up = CatchUp::Begins;
        pictures.iter().map(|&(captured_ms, hub_ms)| catch_up.holds(captured_ms, hub_ms)).collect()
    }

    #[test]
    fn a_young_picture_is_passed_on_at_once_and_so_is_all_after_it() {
        assert_eq!(held(&[(1_000, 1_030), (1_040, 9_000), (1_080, 9_001)]), [false; 3]);
        assert_eq!(held(&[(9_000, 1_000)]), [false], "a gateway whose clock is ahead");
    }

    #[test]
    fn a_rush_is_held_until_its_last_picture() {
        assert_eq!(held(&[(1_000, 2_000), (1_500, 2_001), (1_900, 2_002), (1_940, 2_042)]), [true, true, false, false]);
    }

    #[test]
    fn without_a_common_clock_the_rush_ends_with_the_first_picture_that_comes_in_time() {
        let off = 3_600_000;
        let came = [(0, off), (40, off + 1), (80, off + 2), (120, off + 42), (160, off + 82)];
        assert_eq!(held(&came), [true, true, true, false, false]);
    }

    #[test]
    fn nothing_is_held_for_ever() {
        let pictures: Vec<_> = (0..100).map(|number| (number * 100, 100_000 + number * 10)).collect();
        assert_eq!(held(&pictures).iter().filter(|held| **held).count() as i64, HOLD_MS_MAX / 10);
    }
}
