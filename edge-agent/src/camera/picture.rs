//! Whether what a camera shows is a picture: not black, and not the same one again and again.
//!
//! Judged on keyframes at a low rate, because each costs the helper 10 to 20 ms; more often while something looks wrong, so that
//! a fault is found, and its end is seen, soon. Pure.
//!
//! **Frozen** is told from **still** by exact repetition. A camera that hangs encodes one picture ever anew, coarser and finer as
//! its rate control swings: measured on such a stream of 200 kbit/s, blocks moved by up to 5 (8 at 100 kbit/s), and twenty
//! keyframes were nine pictures, each the same again to the last value, though seldom twice in a row. A living scene in which
//! nothing moves has its sensor's noise, and often a printed clock: not one picture in it is another's equal, so stillness alone
//! proves nothing, however long it lasts.

use std::collections::VecDeque;

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

/// A hung camera's blocks differ by no more than this, however coarsely it encodes: twice what was measured. What moves in a
/// picture, a car or somebody who walks, changes a block by 25 and more: so a film that is played in a loop is no hung camera,
/// though its pictures come back exactly.
const STILL_STEP_MAX: u8 = 10;

/// So many pictures that were seen before in one stillness are no chance: no sensor gives the same values twice.
const REPEATS: u32 = 2;

/// So many different pictures are remembered of a stillness: a rate control that swings comes back to one of them.
const REMEMBERED_MAX: usize = 16;

/// So often a picture that stands still is looked at more closely. After that, two minutes later, it is most likely an empty
/// yard, and one look in half a minute does.
const CLOSE_LOOKS_MAX: u32 = 16;

/// The judgement of one camera's pictures.
#[derive(Clone, Debug, Default)]
pub(super) struct PictureJudge {
    black_in_a_row: u32,
    still: Option<Still>,
    look_at_ms: u64,
    /// Which pause comes next.
    turn: usize,
}

/// A stretch in which nothing has moved.
#[derive(Clone, Debug)]
struct Still {
    /// Its first picture.
    first: Looks,
    /// The different pictures in it, by their checksums, the newest last.
    seen: VecDeque<u64>,
    /// How many were seen before.
    repeats: u32,
    /// How many came after the first.
    looks: u32,
}

impl Still {
    fn since(first: Looks) -> Self {
        Self { first, seen: VecDeque::from([first.checksum]), repeats: 0, looks: 0 }
    }

    fn contains(&self, looks: &Looks) -> bool {
        self.first.blocks.iter().zip(&looks.blocks).all(|(first, now)| first.abs_diff(*now) <= STILL_STEP_MAX)
    }

    fn see(&mut self, looks: &Looks) {
        self.looks = self.looks.saturating_add(1);
        if self.seen.contains(&looks.checksum) {
            self.repeats = self.repeats.saturating_add(1);
            return;
        }
        if self.seen.len() == REMEMBERED_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(looks.checksum);
    }
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
        match &mut self.still {
            still if is_black => *still = None,
            Some(still) if still.contains(&looks) => still.see(&looks),
            still => *still = Some(Still::since(looks)),
        }
        if self.is_suspicious() {
            self.look_at_ms = self.look_at_ms.min(now_ms + LOOKS_AGAIN_MS[self.turn]);
        }
    }

    /// The camera was lost: what it shows afterwards is judged anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What is wrong with the picture, if anything is. A black picture is always the same one: black is said.
    pub(super) fn state(&self) -> Option<State> {
        if self.black_in_a_row >= BLACK_IN_A_ROW {
            Some(State::Black)
        } else if self.black_in_a_row == 0 && self.still.as_ref().is_some_and(|still| still.repeats >= REPEATS) {
            Some(State::Frozen)
        } else {
            None
        }
    }

    fn is_suspicious(&self) -> bool {
        let is_close = |still: &Still| still.repeats > 0 || (1..=CLOSE_LOOKS_MAX).contains(&still.looks);
        self.black_in_a_row > 0 || self.still.as_ref().is_some_and(is_close)
    }
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

    /// A picture in which some blocks differ from second to second, as where a road is.
    fn day(second: u64) -> Looks {
        let mut blocks = [90; BLOCK_COUNT];
        for (at, block) in blocks[64..72].iter_mut().enumerate() {
            *block = 60 + (second.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (7 * at)) as u8 % 97;
        }
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

    /// A yard in which nothing moves; each picture has its own noise.
    fn yard(mean: u8) -> impl Fn(u64) -> Looks {
        move |second| {
            let mut looks = looks(mean, 120, second);
            looks.blocks[3] += u8::from(second.is_multiple_of(2));
            looks
        }
    }

    /// A hung camera whose rate control swings between `count` ways of encoding one picture.
    fn hangs(count: u64) -> impl Fn(u64) -> Looks {
        move |second| {
            let coarseness = second * 7_919 % 1_009 % count;
            let mut looks = looks(90, 120, coarseness);
            for (at, block) in looks.blocks.iter_mut().enumerate() {
                *block += u8::try_from(at as u64 * coarseness % 6).unwrap();
            }
            looks
        }
    }

    #[test]
    fn a_picture_that_is_encoded_ever_anew_is_frozen_by_day_and_by_night() {
        for count in [1, 2, 5, 9] {
            let hangs = hangs(count);
            let changes = watch(900, |second| if (100..500).contains(&second) { hangs(second) } else { day(second) });
            let states: Vec<_> = changes.iter().map(|(_, state)| *state).collect();
            assert_eq!(states, [None, Some(State::Frozen), None], "{count} ways");
            assert!((100..240).contains(&changes[1].0) && (500..510).contains(&changes[2].0), "{count}: {changes:?}");
        }
    }

    #[test]
    fn a_living_scene_in_which_nothing_moves_is_never_frozen() {
        for mean in [30, 90, 200] {
            assert_eq!(watch(24 * 3_600, yard(mean)), [(0, None)], "of brightness {mean}");
        }
        let mut judge = PictureJudge::default();
        let yard = yard(90);
        let looks = (0..3_600).filter(|second| {
            let due = judge.is_due(second * 1_000);
            if due {
                judge.see(yard(*second), second * 1_000);
            }
            due
        });
        assert!((115..=145).contains(&looks.count()), "and is looked at closely for two minutes only");
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
