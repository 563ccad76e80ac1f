//! Whether what a camera shows is a picture: not black, and not the same one again and again.
//!
//! Judged on keyframes at a low rate, because each costs the helper 10 to 20 ms; more often while something looks wrong, so that
//! a fault is found, and its end is seen, soon. Pure.

use tongluo_protocols::media::decoder::Looks;

use super::health::State;

/// How often a camera's picture is looked at, in turn. Uneven, because much of what moves comes back in step: a turning camera, a
/// blinking sign. Looked at in the same step, it would seem to stand still: no two pauses in a row share a divisor.
const LOOKS_MS: [u64; 3] = [29_000, 33_000, 31_000];

/// … while it looks wrong.
const LOOKS_AGAIN_MS: [u64; 3] = [7_000, 9_000, 5_000];

/// The brightness up to which a picture can be black: 16 is video's black, and sensors have noise.
const BLACK_MEAN_MAX: u8 = 28;

/// … and how much its brightest block may differ from its darkest. A lamp in the night differs by more.
const BLACK_SPREAD_MAX: u8 = 12;

/// So many black pictures in a row are no passing shadow.
const BLACK_IN_A_ROW: u32 = 2;

/// So many equal pictures in a row are no still life: no sensor gives the same values twice.
const EQUAL_IN_A_ROW: u32 = 3;

/// A camera that hangs encodes the same picture ever anew, each time a little differently: no block's brightness moves by more
/// than this.
const STILL_STEP_MAX: u8 = 1;

/// So long nothing outdoors stands still by day, and the clock that a camera prints into its picture never does.
const STILL_MS: u64 = 90_000;

/// At night, or before a blank wall, a picture may well stand still: of such a one nothing is concluded.
const STILL_MEAN_MIN: u8 = 50;

/// … and how much its blocks must differ among themselves.
const STILL_SPREAD_MIN: u8 = 40;

/// The judgement of one camera's pictures.
#[derive(Clone, Debug, Default)]
pub(super) struct PictureJudge {
    last: Option<Looks>,
    black_in_a_row: u32,
    equal_in_a_row: u32,
    /// The picture since which nothing has moved, and when it was seen.
    still_since: Option<(Looks, u64)>,
    still_ms: u64,
    look_at_ms: u64,
    /// Which pause comes next.
    turn: usize,
}

impl PictureJudge {
    /// Whether it is time to look; answers `true` once per look.
    pub(super) fn is_due(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.look_at_ms;
        if due {
            self.turn = (self.turn + 1) % LOOKS_MS.len();
            let pauses_ms = if self.is_suspicious() { LOOKS_AGAIN_MS } else { LOOKS_MS };
            self.look_at_ms = now_ms + pauses_ms[self.turn];
        }
        due
    }

    /// Takes what a keyframe shows.
    pub(super) fn see(&mut self, looks: Looks, now_ms: u64) {
        let is_black = looks.mean <= BLACK_MEAN_MAX && looks.spread <= BLACK_SPREAD_MAX;
        self.black_in_a_row = if is_black { self.black_in_a_row.saturating_add(1) } else { 0 };
        let is_equal = self.last.is_some_and(|last| last.checksum == looks.checksum);
        self.equal_in_a_row = if is_equal { self.equal_in_a_row.saturating_add(1) } else { 1 };
        let tells = looks.mean >= STILL_MEAN_MIN && looks.spread >= STILL_SPREAD_MIN;
        match &self.still_since {
            Some((first, since_ms)) if tells && is_still(first, &looks) => self.still_ms = now_ms - since_ms,
            _ => {
                self.still_since = tells.then_some((looks, now_ms));
                self.still_ms = 0;
            }
        }
        self.last = Some(looks);
        if self.is_suspicious() {
            self.look_at_ms = self.look_at_ms.min(now_ms + LOOKS_AGAIN_MS[self.turn]);
        }
    }

    /// The camera was lost: what it shows afterwards is judged anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What is wrong with the picture, if anything is. A black picture is always the same one: black is said.
    pub(super) const fn state(&self) -> Option<State> {
        if self.black_in_a_row >= BLACK_IN_A_ROW {
            Some(State::Black)
        } else if self.black_in_a_row > 0 {
            None
        } else if self.equal_in_a_row >= EQUAL_IN_A_ROW || self.still_ms >= STILL_MS {
            Some(State::Frozen)
        } else {
            None
        }
    }

    const fn is_suspicious(&self) -> bool {
        self.black_in_a_row > 0 || self.equal_in_a_row > 1 || self.still_ms > 0
    }
}

fn is_still(first: &Looks, now: &Looks) -> bool {
    first.blocks.iter().zip(&now.blocks).all(|(first, now)| first.abs_diff(*now) <= STILL_STEP_MAX)
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::media::decoder::BLOCK_COUNT;

    use super::*;

    /// Looks at a camera as often as the rules say, for `seconds`; `shows` gives the picture at a second.
    fn watch(seconds: u64, shows: impl Fn(u64) -> Looks) -> Vec<(u64, Option<State>)> {
        let mut judge = PictureJudge::default();
        let mut changes = vec![(0, None)];
        for second in 0..seconds {
            if judge.is_due(second * 1_000) {
                judge.see(shows(second), second * 1_000);
                if changes.last().is_some_and(|(_, state)| *state != judge.state()) {
                    changes.push((second, judge.state()));
                }
            }
        }
        changes
    }

    /// A picture in which one block differs from second to second, as a printed clock does.
    fn day(second: u64) -> Looks {
        let mut blocks = [90; BLOCK_COUNT];
        blocks[7] = 60 + u8::try_from(second * 41 % 97).unwrap();
        Looks { mean: 90, spread: 120, checksum: second, blocks }
    }

    fn looks(mean: u8, spread: u8, checksum: u64) -> Looks {
        Looks { mean, spread, checksum, blocks: [mean; BLOCK_COUNT] }
    }

    #[test]
    fn a_living_picture_is_nothing_worth_a_state_and_is_looked_at_rarely() {
        assert_eq!(watch(3_600, day), [(0, None)]);
        let mut judge = PictureJudge::default();
        let looks = (0..3_600).filter(|second| {
            let due = judge.is_due(second * 1_000);
            if due {
                judge.see(day(*second), second * 1_000);
            }
            due
        });
        assert!((105..=125).contains(&looks.count()));
    }

    #[test]
    fn what_moves_in_step_is_not_frozen() {
        for period in 2..=16 {
            let changes = watch(3_600, |second| day(second % period));
            assert_eq!(changes, [(0, None)], "every {period} s the same");
        }
    }

    #[test]
    fn black_and_frozen_are_found_and_forgiven() {
        let black = looks(16, 1, 1);
        let changes = watch(600, |second| if (100..300).contains(&second) { black } else { day(second) });
        assert_eq!(changes.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [None, Some(State::Black), None]);
        assert!((100..145).contains(&changes[1].0) && (300..310).contains(&changes[2].0), "{changes:?}");
        let changes = watch(600, |second| if (100..300).contains(&second) { day(7) } else { day(second) });
        assert_eq!(changes.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [None, Some(State::Frozen), None]);
        assert!((100..175).contains(&changes[1].0) && (300..310).contains(&changes[2].0), "{changes:?}");
    }

    #[test]
    fn the_same_picture_encoded_anew_is_frozen_by_day_and_nothing_by_night() {
        let hangs = |mean: u8| {
            move |second: u64| {
                let mut looks = looks(mean, 120, second);
                looks.blocks[3] += u8::from(second.is_multiple_of(2));
                looks
            }
        };
        let changes = watch(900, |second| if (100..500).contains(&second) { hangs(90)(second) } else { day(second) });
        assert_eq!(changes.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [None, Some(State::Frozen), None]);
        assert!((180..240).contains(&changes[1].0) && (500..510).contains(&changes[2].0), "{changes:?}");
        assert_eq!(watch(900, hangs(30)), [(0, None)]);
    }

    #[test]
    fn a_lamp_in_the_night_is_not_black() {
        let night = |second| looks(17, 60, second);
        assert_eq!(watch(600, night), [(0, None)]);
    }

    #[test]
    fn black_is_not_called_frozen_while_it_is_not_certain() {
        let mut judge = PictureJudge::default();
        let black = looks(16, 0, 5);
        judge.see(black, 0);
        assert_eq!(judge.state(), None);
        for at_ms in [1, 2, 3] {
            judge.see(black, at_ms);
            assert_eq!(judge.state(), Some(State::Black));
        }
    }
}
