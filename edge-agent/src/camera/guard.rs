//! The lock-out guard: a recorder shuts its door after a few wrong passwords, to everybody, the village's own people included.
//!
//! Recorders count wrong passwords per address and lock for half an hour after five (Dahua, Hikvision by default) or seven. All
//! channels of a recorder share its credentials, so they share one guard: after a wrong password none of them tries again until
//! the credentials change, or a long pause is over. Pure; the time is an argument.

use std::collections::VecDeque;

/// How many wrong passwords a recorder takes before it locks: the smallest number that common makers ship.
pub(super) const TRIES_MAX: u8 = 5;

/// How long a recorder remembers a wrong password, and locks.
const REMEMBERED_MS: u64 = 30 * 60_000;

/// What this gateway leaves to people who stand before the recorder, of [`TRIES_MAX`].
const LEFT_TO_PEOPLE: u8 = 2;

/// How long the streams of a recorder wait after a first wrong password: it may have been rebooting, or its clock ran away.
const FIRST_PAUSE_MS: u64 = 10 * 60_000;

/// … and after each further one. Longer than [`REMEMBERED_MS`], so that the gateway alone never locks a recorder.
const PAUSE_MS: u64 = 60 * 60_000;

/// What is known of one set of credentials at one recorder.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    /// When a password was refused, oldest first; bounded by [`TRIES_MAX`].
    wrong_ms: VecDeque<u64>,
    /// How many times in a row.
    in_a_row: u32,
    closed_until_ms: u64,
    /// A try that is on its way: only one at a time while the credentials are not known to be right.
    trying: bool,
    known_right: bool,
}

/// What the guard says to somebody who wants to present the credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Leave {
    /// Go on.
    Given,
    /// Another stream is finding out whether the credentials are right; ask again then (monotonic milliseconds).
    Soon(u64),
    /// They were wrong; ask again then (monotonic milliseconds).
    Closed(u64),
}

/// How soon to ask again while another stream's try is under way.
const TRYING_MS: u64 = 500;

impl Guard {
    /// Whether a stream may present the credentials now. Who is given leave must report [`Guard::right`], [`Guard::wrong`] or
    /// [`Guard::undecided`].
    pub(super) fn ask(&mut self, now_ms: u64) -> Leave {
        if now_ms < self.closed_until_ms {
            return Leave::Closed(self.closed_until_ms);
        }
        if self.trying && !self.known_right {
            return Leave::Soon(now_ms + TRYING_MS);
        }
        self.trying = true;
        Leave::Given
    }

    /// Whether a person's test may present credentials to this recorder now: not if that would use up what is left to people.
    pub(super) fn ask_for_test(&self, now_ms: u64) -> bool {
        self.tries_left(now_ms) > LEFT_TO_PEOPLE
    }

    /// The recorder took the credentials.
    pub(super) fn right(&mut self) {
        *self = Self { known_right: true, ..Self::default() };
    }

    /// The recorder refused them.
    pub(super) fn wrong(&mut self, now_ms: u64) {
        self.count_wrong(now_ms);
        self.in_a_row += 1;
        let pause_ms = if self.in_a_row == 1 { FIRST_PAUSE_MS } else { PAUSE_MS };
        self.closed_until_ms = now_ms + pause_ms;
        self.trying = false;
        self.known_right = false;
    }

    /// A person's test was refused: it counts, but says nothing about the configured credentials.
    pub(super) fn count_wrong(&mut self, now_ms: u64) {
        if self.wrong_ms.len() == usize::from(TRIES_MAX) {
            self.wrong_ms.pop_front();
        }
        self.wrong_ms.push_back(now_ms);
    }

    /// The configuration brought other credentials: the streams may try at once. The recorder has not forgotten the wrong ones.
    pub(super) fn changed(&mut self) {
        *self = Self { wrong_ms: std::mem::take(&mut self.wrong_ms), ..Self::default() };
    }

    /// The try ended without an answer about the credentials.
    pub(super) fn undecided(&mut self) {
        self.trying = false;
    }

    /// How many wrong passwords the recorder will take before it locks, as far as this gateway knows.
    pub(super) fn tries_left(&self, now_ms: u64) -> u8 {
        let recent = self.wrong_ms.iter().filter(|at_ms| now_ms < **at_ms + REMEMBERED_MS).count();
        TRIES_MAX.saturating_sub(u8::try_from(recent).unwrap_or(TRIES_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_tries_at_a_time_until_the_password_is_known_to_be_right() {
        let mut guard = Guard::default();
        assert_eq!(guard.ask(0), Leave::Given);
        assert_eq!(guard.ask(0), Leave::Soon(TRYING_MS));
        guard.right();
        assert_eq!(guard.ask(1), Leave::Given);
        assert_eq!(guard.ask(1), Leave::Given);
    }

    #[test]
    fn a_try_without_an_answer_leaves_the_way_to_the_next() {
        let mut guard = Guard::default();
        assert_eq!(guard.ask(0), Leave::Given);
        guard.undecided();
        assert_eq!(guard.ask(0), Leave::Given);
        assert_eq!(guard.tries_left(0), TRIES_MAX);
    }

    #[test]
    fn sixteen_streams_never_lock_a_recorder_in_a_day() {
        let mut guard = Guard::default();
        let mut tries = Vec::new();
        for now_ms in (0..24 * 3_600_000).step_by(1_000) {
            for _stream in 0..16 {
                if guard.ask(now_ms) == Leave::Given {
                    tries.push(now_ms);
                    guard.wrong(now_ms);
                }
            }
        }
        for (i, at_ms) in tries.iter().enumerate() {
            let within = tries[i..].iter().take_while(|later| **later < at_ms + REMEMBERED_MS).count();
            assert!(
                within <= usize::from(TRIES_MAX - LEFT_TO_PEOPLE),
                "{within} tries within half an hour from {at_ms}"
            );
        }
        assert!(tries.len() > 20, "a long pause is no end: {} tries", tries.len());
    }

    #[test]
    fn tests_by_people_stop_before_the_recorder_locks() {
        let mut guard = Guard::default();
        let mut tests = 0;
        while guard.ask_for_test(0) {
            guard.count_wrong(0);
            tests += 1;
        }
        assert_eq!(tests, TRIES_MAX - LEFT_TO_PEOPLE);
        assert_eq!(guard.tries_left(0), LEFT_TO_PEOPLE);
        assert!(guard.ask_for_test(REMEMBERED_MS), "the recorder has forgotten");
        assert_eq!(guard.ask(0), Leave::Given, "a person's typing error does not stop the streams");
    }

    #[test]
    fn a_right_password_forgets_everything() {
        let mut guard = Guard::default();
        guard.wrong(0);
        assert_eq!(guard.ask(FIRST_PAUSE_MS - 1), Leave::Closed(FIRST_PAUSE_MS));
        assert_eq!(guard.ask(FIRST_PAUSE_MS), Leave::Given);
        guard.right();
        assert_eq!(guard.tries_left(FIRST_PAUSE_MS), TRIES_MAX);
    }

    #[test]
    fn other_credentials_are_tried_at_once_and_the_count_goes_on() {
        let mut guard = Guard::default();
        guard.wrong(0);
        guard.changed();
        assert_eq!(guard.tries_left(1), TRIES_MAX - 1);
        assert_eq!(guard.ask(1), Leave::Given);
    }
}
