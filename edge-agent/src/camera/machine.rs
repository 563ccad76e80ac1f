//! When to open a session with a camera, when to give up for a while, and what to call its condition meanwhile.
//!
//! One machine per stream. A camera that is off, reboots or sits behind a bad switch must be found again within seconds, and
//! sixteen of them that come back together must not be met by sixteen connections in the same instant; a camera that refuses is
//! left in peace. Pure: inputs with the time, then [`Machine::poll`] until it is empty, and [`Machine::next_deadline`].

use super::health::State;

/// The first pause after a failure.
const PAUSE_MS_MIN: u64 = 1_000;

/// The longest pause of a camera that cannot be reached or breaks off: it is back within this time after it is repaired.
const PAUSE_MS_MAX: u64 = 20_000;

/// The pause of a camera that answers and will not do: only its configuration can mend that, here or there.
const PAUSE_HOPELESS_MS: u64 = 120_000;

/// Pictures must have come for so long before a failure counts as the first again.
const STEADY_MS: u64 = 30_000;

/// A session that broke off so often in a row is a fault of its own, though each connection succeeds.
const BREAKS_MAX: u32 = 3;

/// Why a session could not be opened, or ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// No connection, no answer in time, or nothing that speaks RTSP.
    Unreachable,
    /// The password is wrong, or one is wanted.
    Refused,
    /// The recorder serves as many sessions as it can.
    Full,
    /// The recorder knows no such channel.
    NoSuchStream,
    /// There is a stream, and nothing in it that we can take.
    Unsupported,
    /// The session stands and no picture comes.
    NoFrames,
    /// The session broke off.
    Lost,
}

impl Failure {
    const fn is_hopeless(self) -> bool {
        matches!(self, Self::NoSuchStream | Self::Unsupported)
    }
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Input {
    /// Somebody wants pictures of this stream.
    Want,
    /// Nobody does any more.
    Release,
    /// A picture came.
    Picture,
    /// The session could not be opened, or ended by itself.
    Failed {
        /// Why.
        failure: Failure,
        /// 16 random bits for the pause.
        random: u16,
        /// The lock-out guard allows nothing before this.
        not_before_ms: u64,
    },
    /// The session is closed, as [`Output::Close`] demanded.
    Closed,
    /// The deadline has come, perhaps.
    Tick,
}

/// What a machine wants done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Output {
    /// Open a session; answer with pictures or `Failed`.
    Open,
    /// Close the session; answer with `Closed`.
    Close,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Idle,
    /// Nothing is open; open at this time.
    Waiting {
        open_at_ms: u64,
    },
    /// A session is being opened or stands without a picture.
    Opening,
    Playing {
        since_ms: u64,
    },
    Closing,
}

/// The rules of one stream's sessions.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    phase: Phase,
    wanted: bool,
    failures_in_a_row: u32,
    /// Of these, how many ended a session that had brought pictures.
    breaks_in_a_row: u32,
    failure: Option<Failure>,
    output: Option<Output>,
}

impl Machine {
    /// Nothing is open, and nobody wants anything.
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Idle,
            wanted: false,
            failures_in_a_row: 0,
            breaks_in_a_row: 0,
            failure: None,
            output: None,
        }
    }

    /// Takes what happened.
    pub(super) fn handle(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Want => {
                self.wanted = true;
                if self.phase == Phase::Idle {
                    // Who asks now is not to be refused for what failed when others asked.
                    (self.failure, self.failures_in_a_row, self.breaks_in_a_row) = (None, 0, 0);
                    self.open();
                }
            }
            Input::Release => self.release(),
            Input::Picture => self.picture(now_ms),
            Input::Failed { failure, random, not_before_ms } => self.failed(now_ms, failure, random, not_before_ms),
            Input::Closed => {
                if self.phase == Phase::Closing {
                    self.phase = Phase::Idle;
                    if self.wanted {
                        self.open();
                    }
                }
            }
            Input::Tick => {
                if matches!(self.phase, Phase::Waiting { open_at_ms } if open_at_ms <= now_ms) {
                    self.open();
                }
            }
        }
    }

    /// What is to be done next, until `None`.
    pub(super) fn poll(&mut self) -> Option<Output> {
        self.output.take()
    }

    /// When to say [`Input::Tick`].
    pub(super) fn next_deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Waiting { open_at_ms } => Some(open_at_ms),
            _ => None,
        }
    }

    /// What to call the stream's condition; `None` for a stream that nobody wants.
    pub(super) fn state(&self) -> Option<State> {
        if self.phase == Phase::Idle || !self.wanted {
            return None;
        }
        if matches!(self.phase, Phase::Playing { .. }) && self.breaks_in_a_row < BREAKS_MAX {
            return Some(State::Ok);
        }
        Some(match self.failure {
            None => State::Starting,
            Some(Failure::Lost) if self.failures_in_a_row < BREAKS_MAX => State::Starting,
            Some(Failure::Unreachable) => State::Unreachable,
            Some(Failure::Refused | Failure::Full) => State::Refused,
            Some(Failure::NoSuchStream) => State::NoSuchStream,
            Some(Failure::Unsupported) => State::Unsupported,
            Some(Failure::NoFrames | Failure::Lost) => State::NoFrames,
        })
    }

    /// How many sessions failed since pictures last came steadily.
    #[cfg(test)]
    pub(super) const fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    fn open(&mut self) {
        self.phase = Phase::Opening;
        self.output = Some(Output::Open);
    }

    fn release(&mut self) {
        self.wanted = false;
        match self.phase {
            Phase::Idle | Phase::Closing => {}
            Phase::Waiting { .. } => self.phase = Phase::Idle,
            Phase::Opening if self.output == Some(Output::Open) => {
                self.output = None;
                self.phase = Phase::Idle;
            }
            Phase::Opening | Phase::Playing { .. } => {
                self.phase = Phase::Closing;
                self.output = Some(Output::Close);
            }
        }
    }

    fn picture(&mut self, now_ms: u64) {
        match self.phase {
            Phase::Opening => self.phase = Phase::Playing { since_ms: now_ms },
            Phase::Playing { since_ms } if self.failure.is_some() && now_ms >= since_ms + STEADY_MS => {
                (self.failure, self.failures_in_a_row, self.breaks_in_a_row) = (None, 0, 0);
            }
            _ => {}
        }
    }

    fn failed(&mut self, now_ms: u64, failure: Failure, random: u16, not_before_ms: u64) {
        match self.phase {
            Phase::Opening | Phase::Playing { .. } => {}
            Phase::Closing => return self.handle(now_ms, Input::Closed),
            Phase::Idle | Phase::Waiting { .. } => return,
        }
        if let Phase::Playing { since_ms } = self.phase {
            if now_ms >= since_ms + STEADY_MS {
                (self.failures_in_a_row, self.breaks_in_a_row) = (0, 0);
            }
            self.breaks_in_a_row = self.breaks_in_a_row.saturating_add(1);
        }
        let pause_ms = pause_ms(failure, self.failures_in_a_row, random);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.failure = Some(failure);
        self.phase = Phase::Waiting { open_at_ms: (now_ms + pause_ms).max(not_before_ms) };
    }
}

/// Doubles from failure to failure, up to a limit, and is spread over half of itself.
fn pause_ms(failure: Failure, failures_before: u32, random: u16) -> u64 {
    let whole_ms = if failure.is_hopeless() {
        PAUSE_HOPELESS_MS
    } else {
        PAUSE_MS_MAX.min(PAUSE_MS_MIN << failures_before.min(16))
    };
    whole_ms / 2 + whole_ms / 2 * u64::from(random) / u64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: u16 = u16::MAX;

    fn failed(failure: Failure) -> Input {
        Input::Failed { failure, random: FULL, not_before_ms: 0 }
    }

    fn wanted() -> Machine {
        let mut machine = Machine::new();
        machine.handle(0, Input::Want);
        assert_eq!(machine.poll(), Some(Output::Open));
        assert_eq!(machine.poll(), None);
        machine
    }

    #[test]
    fn a_stream_opens_plays_and_closes() {
        let mut machine = wanted();
        assert_eq!(machine.state(), Some(State::Starting));
        machine.handle(50, Input::Picture);
        assert_eq!(machine.state(), Some(State::Ok));
        machine.handle(90, Input::Release);
        assert_eq!(machine.poll(), Some(Output::Close));
        assert_eq!(machine.state(), None);
        machine.handle(95, Input::Closed);
        assert_eq!((machine.poll(), machine.next_deadline()), (None, None));
    }

    #[test]
    fn a_stream_that_is_wanted_again_while_it_closes_opens_again() {
        let mut machine = wanted();
        machine.handle(1, Input::Picture);
        machine.handle(2, Input::Release);
        assert_eq!(machine.poll(), Some(Output::Close));
        machine.handle(3, Input::Want);
        assert_eq!(machine.poll(), None, "the old session still stands");
        machine.handle(4, failed(Failure::Lost));
        assert_eq!(machine.poll(), Some(Output::Open), "however the old one ended");
    }

    #[test]
    fn released_before_anything_was_opened_nothing_is_opened() {
        let mut machine = Machine::new();
        machine.handle(0, Input::Want);
        machine.handle(0, Input::Release);
        assert_eq!(machine.poll(), None);
        machine.handle(1, Input::Want);
        assert_eq!(machine.poll(), Some(Output::Open));
        machine.handle(2, failed(Failure::Unreachable));
        machine.handle(3, Input::Release);
        assert_eq!(machine.next_deadline(), None);
    }

    #[test]
    fn a_stream_that_failed_for_others_is_tried_anew_for_who_asks_now() {
        let mut machine = wanted();
        machine.handle(2, failed(Failure::Unreachable));
        machine.handle(3, Input::Release);
        machine.handle(4, Input::Want);
        assert_eq!((machine.poll(), machine.state()), (Some(Output::Open), Some(State::Starting)));
    }

    #[test]
    fn each_failure_has_its_state_and_its_pause() {
        let table = [
            (Failure::Unreachable, State::Unreachable, PAUSE_MS_MIN),
            (Failure::Refused, State::Refused, PAUSE_MS_MIN),
            (Failure::Full, State::Refused, PAUSE_MS_MIN),
            (Failure::NoSuchStream, State::NoSuchStream, PAUSE_HOPELESS_MS),
            (Failure::Unsupported, State::Unsupported, PAUSE_HOPELESS_MS),
            (Failure::NoFrames, State::NoFrames, PAUSE_MS_MIN),
            (Failure::Lost, State::Starting, PAUSE_MS_MIN),
        ];
        for (failure, state, pause_ms) in table {
            let mut machine = wanted();
            machine.handle(100, failed(failure));
            assert_eq!(machine.state(), Some(state), "{failure:?}");
            assert_eq!(machine.next_deadline(), Some(100 + pause_ms), "{failure:?}");
            machine.handle(100 + pause_ms - 1, Input::Tick);
            assert_eq!(machine.poll(), None, "{failure:?}");
            machine.handle(100 + pause_ms, Input::Tick);
            assert_eq!(machine.poll(), Some(Output::Open), "{failure:?}");
            assert_eq!(machine.state(), Some(state), "{failure:?}: it lasts until a picture comes");
            machine.handle(100 + pause_ms + 1, Input::Picture);
            assert_eq!(machine.state(), Some(State::Ok), "{failure:?}");
        }
    }

    #[test]
    fn the_pause_doubles_to_its_limit_and_starts_anew_after_steady_pictures() {
        let mut machine = wanted();
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            machine.handle(now_ms, failed(Failure::Unreachable));
            let deadline_ms = machine.next_deadline().unwrap();
            pauses.push(deadline_ms - now_ms);
            now_ms = deadline_ms;
            machine.handle(now_ms, Input::Tick);
            assert_eq!(machine.poll(), Some(Output::Open));
        }
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000]);
        machine.handle(now_ms, Input::Picture);
        machine.handle(now_ms + STEADY_MS, failed(Failure::Lost));
        assert_eq!(machine.next_deadline(), Some(now_ms + STEADY_MS + PAUSE_MS_MIN));
    }

    #[test]
    fn a_session_that_breaks_off_again_and_again_is_called_so() {
        let mut machine = wanted();
        let mut now_ms = 0;
        for _ in 0..BREAKS_MAX {
            machine.handle(now_ms, Input::Picture);
            machine.handle(now_ms + 500, failed(Failure::Lost));
            now_ms = machine.next_deadline().unwrap();
            machine.handle(now_ms, Input::Tick);
            assert_eq!(machine.poll(), Some(Output::Open));
        }
        assert_eq!(machine.state(), Some(State::NoFrames));
        machine.handle(now_ms, Input::Picture);
        assert_eq!(machine.state(), Some(State::NoFrames), "one picture does not mend it");
        machine.handle(now_ms + STEADY_MS, Input::Picture);
        assert_eq!(machine.state(), Some(State::Ok));
        assert_eq!(machine.failures_in_a_row(), 0);
    }

    #[test]
    fn a_camera_that_was_away_is_well_with_its_first_picture() {
        for failure in [Failure::Unreachable, Failure::Refused, Failure::NoFrames, Failure::Lost] {
            let mut machine = wanted();
            machine.handle(0, Input::Picture);
            machine.handle(100, failed(Failure::Lost));
            for _ in 0..10 {
                let now_ms = machine.next_deadline().unwrap();
                machine.handle(now_ms, Input::Tick);
                assert_eq!(machine.poll(), Some(Output::Open));
                machine.handle(now_ms, failed(failure));
            }
            let now_ms = machine.next_deadline().unwrap();
            machine.handle(now_ms, Input::Tick);
            assert_eq!(machine.poll(), Some(Output::Open));
            assert_ne!(machine.state(), Some(State::Ok), "{failure:?}");
            machine.handle(now_ms, Input::Picture);
            assert_eq!(machine.state(), Some(State::Ok), "{failure:?}: however often it was tried in vain");
        }
    }

    #[test]
    fn the_guard_is_obeyed_and_pauses_are_spread() {
        let mut machine = wanted();
        machine.handle(0, Input::Failed { failure: Failure::Refused, random: 0, not_before_ms: 600_000 });
        assert_eq!(machine.next_deadline(), Some(600_000));
        let pauses: Vec<_> = [0, 0x4000, 0xffff].map(|random| pause_ms(Failure::Unreachable, 2, random)).into();
        assert_eq!(pauses[0], 2_000);
        assert!((2_400..2_600).contains(&pauses[1]), "{pauses:?}");
        assert_eq!(pauses[2], 4_000);
    }

    #[test]
    fn a_day_of_reconnects_leaves_nothing_behind() {
        let mut machine = wanted();
        let (mut now_ms, mut opened, mut closed) = (0_u64, 1_u64, 0_u64);
        let mut random = 1_u16;
        while now_ms < 24 * 3_600_000 {
            random = random.wrapping_mul(25_173).wrapping_add(13_849);
            if !random.is_multiple_of(3) {
                machine.handle(now_ms, Input::Picture);
                now_ms += u64::from(random);
            }
            let failure = [Failure::Lost, Failure::Unreachable, Failure::NoFrames][usize::from(random % 3)];
            machine.handle(now_ms, Input::Failed { failure, random, not_before_ms: 0 });
            closed += 1;
            assert_eq!(machine.poll(), None);
            let deadline_ms = machine.next_deadline().expect("it tries again");
            assert!(deadline_ms <= now_ms + PAUSE_MS_MAX, "it is found again in time");
            now_ms = deadline_ms;
            machine.handle(now_ms, Input::Tick);
            assert_eq!(machine.poll(), Some(Output::Open));
            opened += 1;
        }
        assert_eq!(opened, closed + 1, "never two sessions at once");
        assert!(opened > 1_000, "{opened} sessions");
    }
}
