//! What time it certainly is. Pure.
//!
//! The machine's clock may say anything: a gateway without a battery wakes up in 1970, and whoever can set a clock could make an
//! old order new. So the gateway asks: it draws a number, puts it into its heartbeats, and only the hub's signed answer with
//! that number confirms the time; monotonic time carries it on from there. The answer was signed between the question and its
//! arrival, so it is believed to half of that, and not at all if that took too long.
//!
//! Nothing of it outlives the program. A gateway that starts while the line is cut does not know the time, and what may be heard
//! only at a certain time waits. A battery clock that agreed when it was last asked would be good enough for programmes that are stored
//! here, and for nothing else; there are none. With them, the last confirmed time goes to disk beside what the machine's clock
//! said then: a clock that says less than that has stepped back or stood still, and serves nothing either.

use tongluo_protocols::order::{ClockAnswer, Nonce};

/// An answer that took longer is not precise enough; the question is asked anew.
const ANSWER_MS_MAX: u64 = 30_000;
/// After this time it is asked again: a cheap quartz is off by some seconds then.
const CONFIRMED_FOR_MS: u64 = 12 * 3600 * 1000;
/// From this difference on the machine's clock is a fault.
const OFF_MS: u64 = 30_000;

/// What is known of the time.
#[derive(Debug, Default)]
pub(crate) struct Time {
    /// The question that waits for its answer, and when it was first asked.
    asked: Option<(Nonce, u64)>,
    confirmed: Option<Confirmed>,
    /// Whether the hub was told that the machine's clock is off.
    told_off: bool,
}

#[derive(Clone, Copy, Debug)]
struct Confirmed {
    utc_ms: i64,
    at_mono_ms: u64,
}

/// The machine's clock went wrong, or is right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockNews {
    /// Whether it is wrong.
    pub(crate) off: bool,
    /// By how much it is ahead of the time, in milliseconds.
    pub(crate) ahead_ms: i64,
}

impl Time {
    /// The question to put into the next heartbeat, if one is to be asked. `random` is used for a new one.
    pub(crate) fn question(&mut self, mono_ms: u64, random: impl FnOnce() -> Nonce) -> Option<Nonce> {
        let is_fresh = |since: u64, max: u64| mono_ms.saturating_sub(since) < max;
        if self.confirmed.is_some_and(|confirmed| is_fresh(confirmed.at_mono_ms, CONFIRMED_FOR_MS)) {
            return None;
        }
        let asked = self.asked.filter(|(_, at_ms)| is_fresh(*at_ms, ANSWER_MS_MAX));
        let (nonce, _) = *self.asked.insert(asked.unwrap_or_else(|| (random(), mono_ms)));
        Some(nonce)
    }

    /// Takes an answer that the root has signed. `false`: it answers no question of ours, or took too long.
    pub(crate) fn answered(&mut self, mono_ms: u64, answer: &ClockAnswer<'_>) -> bool {
        let Some((_, asked_ms)) = self.asked.take_if(|(nonce, _)| *nonce == answer.nonce) else { return false };
        let took_ms = mono_ms.saturating_sub(asked_ms);
        if took_ms > ANSWER_MS_MAX {
            return false;
        }
        let half_ms = i64::try_from(took_ms / 2).unwrap_or(0);
        self.confirmed = Some(Confirmed { utc_ms: answer.utc_ms.saturating_add(half_ms), at_mono_ms: mono_ms });
        true
    }

    /// UTC, if it is certain.
    pub(crate) fn utc_ms(&self, mono_ms: u64) -> Option<i64> {
        let Confirmed { utc_ms, at_mono_ms } = self.confirmed?;
        Some(utc_ms.saturating_add(i64::try_from(mono_ms.saturating_sub(at_mono_ms)).ok()?))
    }

    /// What there is to tell of the machine's clock, which says `wall_ms`; each change once.
    pub(crate) fn judge(&mut self, mono_ms: u64, wall_ms: i64) -> Option<ClockNews> {
        let ahead_ms = wall_ms.saturating_sub(self.utc_ms(mono_ms)?);
        let off = ahead_ms.unsigned_abs() > OFF_MS;
        (std::mem::replace(&mut self.told_off, off) != off).then_some(ClockNews { off, ahead_ms })
    }
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::order::List;

    use super::*;

    const FIRST: Nonce = Nonce([1; 16]);
    const SECOND: Nonce = Nonce([2; 16]);

    fn answer(nonce: Nonce, utc_ms: i64) -> ClockAnswer<'static> {
        ClockAnswer { nonce, site: "s1te", utc_ms, floors: List::new(&[]) }
    }

    #[test]
    fn only_the_answer_to_the_present_question_confirms() {
        let mut time = Time::default();
        assert_eq!(time.utc_ms(0), None);
        assert!(!time.answered(0, &answer(FIRST, 5_000)), "nothing was asked");
        assert_eq!(time.question(1_000, || FIRST), Some(FIRST));
        assert_eq!(time.question(11_000, || SECOND), Some(FIRST), "the same question until it is too old");
        assert!(!time.answered(12_000, &answer(SECOND, 5_000)));
        assert!(time.answered(3_000, &answer(FIRST, 1_000_000)));
        assert_eq!(time.utc_ms(3_000), Some(1_001_000), "signed about half-way between question and answer");
        assert_eq!(time.utc_ms(13_000), Some(1_011_000), "monotonic time carries it on");
        assert!(!time.answered(4_000, &answer(FIRST, 9)), "an answer serves once");
        assert_eq!(time.question(20_000, || SECOND), None);
        assert_eq!(time.question(3_000 + CONFIRMED_FOR_MS, || SECOND), Some(SECOND), "quartz drifts");
        assert!(time.utc_ms(3_000 + CONFIRMED_FOR_MS).is_some(), "and is better than nothing until then");
    }

    #[test]
    fn an_answer_that_took_too_long_is_none() {
        let mut time = Time::default();
        time.question(0, || FIRST);
        assert!(!time.answered(ANSWER_MS_MAX + 1, &answer(FIRST, 5_000)));
        assert_eq!(time.utc_ms(ANSWER_MS_MAX + 1), None);
        assert_eq!(time.question(ANSWER_MS_MAX + 2, || SECOND), Some(SECOND));
    }

    #[test]
    fn a_clock_that_is_off_is_told_once_and_so_is_one_that_is_right_again() {
        let mut time = Time::default();
        assert_eq!(time.judge(0, 0), None, "nobody knows");
        time.question(0, || FIRST);
        time.answered(0, &answer(FIRST, 1_000_000));
        assert_eq!(time.judge(0, 1_030_000), None);
        assert_eq!(time.judge(0, 1_030_001), Some(ClockNews { off: true, ahead_ms: 30_001 }));
        assert_eq!(time.judge(1_000, 0), None);
        assert_eq!(time.judge(1_000, 1_001_000), Some(ClockNews { off: false, ahead_ms: 0 }));
        assert_eq!(time.judge(1_000, -1), Some(ClockNews { off: true, ahead_ms: -1_001_001 }));
    }
}
