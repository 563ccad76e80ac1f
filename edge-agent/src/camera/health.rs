//! What is said of a camera: one state, since when, and a sentence.
//!
//! A camera has many facts: its streams' sessions, the judgement of its pictures, the recorder's troubles, its clock. A technician
//! needs the one that explains the others, so the worst is named, in the order of [`State`]. Faults that come and go with a single
//! sample are held back until they last. Pure.

use tongluo_protocols::event::CameraState;

/// The state of a camera, the worst first: a camera that cannot be reached has no picture either.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum State {
    /// There is no connection, or no answer.
    Unreachable,
    /// The password is wrong, or the recorder has no session left.
    Refused,
    /// The recorder knows no such channel.
    NoSuchStream,
    /// The stream's codec is none that we take.
    Unsupported,
    /// The session stands and pictures do not come, or break off again and again.
    NoFrames,
    /// Pictures come and show the same moment.
    Frozen,
    /// Pictures come and show nothing.
    Black,
    /// The disk is full: video is not recorded. That is why there are gaps, so it is told before them.
    DiskFull,
    /// Pictures were not recorded that should have been.
    RecordingGap,
    /// The camera's clock is wrong.
    ClockOff,
    /// It is being connected and nothing is known to be wrong.
    Starting,
    /// All is well.
    Ok,
}

impl State {
    /// As reports carry it.
    pub(crate) const fn reported(self) -> CameraState<'static> {
        match self {
            Self::Unreachable => CameraState::Unreachable,
            Self::Refused => CameraState::Refused,
            Self::NoSuchStream => CameraState::NoSuchStream,
            Self::Unsupported => CameraState::Unsupported,
            Self::NoFrames => CameraState::NoFrames,
            Self::Frozen => CameraState::Frozen,
            Self::Black => CameraState::Black,
            Self::DiskFull => CameraState::DiskFull,
            Self::RecordingGap => CameraState::RecordingGap,
            Self::ClockOff => CameraState::ClockOff,
            Self::Starting => CameraState::Starting,
            Self::Ok => CameraState::Ok,
        }
    }

    /// Its name, wherever people or programs read it.
    pub(crate) fn name(self) -> &'static str {
        self.reported().name()
    }
}

/// A camera's clock may be so far from the gateway's; what it prints into the picture would mislead beyond that.
const CLOCK_OFF_MS_MAX: u64 = 5_000;

/// A camera that was well is reconnected so long before that is worth a word: a session that breaks off is back in a second or two.
const RECONNECT_MS: u64 = 5_000;

/// How long a gap in the recording is shown: long enough for the report to be seen, short enough to see the next one.
const GAP_SHOWN_MS: u64 = 60_000;

/// What is known of a camera at a moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Facts {
    /// The condition of each stream that somebody wants, with a sentence.
    pub(super) streams: Vec<(State, String)>,
    /// What the pictures show, if that is anything worth a state.
    pub(super) picture: Option<State>,
    /// How far the camera's clock is from ours; `None` while it does not say.
    pub(super) clock_off_ms: Option<i64>,
    /// When pictures were last kept from the recording, monotonic.
    pub(super) gap_at_ms: Option<u64>,
    /// The disk takes no video.
    pub(super) disk_full: bool,
}

/// A camera's state with its history.
#[derive(Clone, Debug)]
pub(super) struct Health {
    state: State,
    since_utc_ms: i64,
    detail: String,
    /// Since when a camera that was well is being connected anew, monotonic.
    reconnecting_since_ms: Option<u64>,
}

impl Health {
    /// A camera of which nothing is known yet.
    pub(super) const fn new(now_utc_ms: i64) -> Self {
        Self { state: State::Starting, since_utc_ms: now_utc_ms, detail: String::new(), reconnecting_since_ms: None }
    }

    /// Judges the facts; `true` when the state is another than before, or there is another word about a camera that is well.
    pub(super) fn judge(&mut self, facts: &Facts, now_ms: u64, now_utc_ms: i64) -> bool {
        let (state, detail) = worst(facts, now_ms);
        if state == State::Starting && self.state == State::Ok {
            let since_ms = *self.reconnecting_since_ms.get_or_insert(now_ms);
            if now_ms < since_ms + RECONNECT_MS {
                return false;
            }
        }
        self.reconnecting_since_ms = None;
        let changed = state != self.state;
        if changed {
            self.state = state;
            self.since_utc_ms = now_utc_ms;
        }
        let is_news = changed || (state == State::Ok && detail != self.detail);
        self.detail = detail;
        is_news
    }

    /// The state now.
    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Since when, UTC milliseconds.
    pub(super) const fn since_ms(&self) -> i64 {
        self.since_utc_ms
    }

    /// A sentence for the technician; empty when there is nothing to add.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

fn worst(facts: &Facts, now_ms: u64) -> (State, String) {
    let mut candidates: Vec<(State, String)> = facts.streams.clone();
    if candidates.is_empty() {
        candidates.push((State::Starting, String::new()));
    }
    if let Some(state) = facts.picture {
        let what = if state == State::Black {
            "the picture is dark and even"
        } else {
            "it is the same picture again and again"
        };
        candidates.push((state, what.to_owned()));
    }
    if facts.gap_at_ms.is_some_and(|at_ms| now_ms < at_ms + GAP_SHOWN_MS) {
        candidates.push((State::RecordingGap, "the disk did not keep up, or pictures were lost on the way".to_owned()));
    }
    if let Some(off_ms) = facts.clock_off_ms.filter(|off_ms| off_ms.unsigned_abs() > CLOCK_OFF_MS_MAX) {
        let way = if off_ms > 0 { "ahead" } else { "behind" };
        let seconds = off_ms.unsigned_abs() / 1_000;
        candidates.push((State::ClockOff, format!("the camera's clock is {seconds} s {way}")));
    }
    if facts.disk_full {
        candidates.push((State::DiskFull, "there is no room for video".to_owned()));
    }
    // Of two streams that are equally well, the one about which there is something to say.
    let rank = |(state, detail): &(State, String)| (*state, detail.is_empty());
    candidates.into_iter().min_by_key(rank).expect("at least one candidate was put in above")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(state: State) -> Facts {
        Facts { streams: vec![(state, "why".to_owned())], ..Facts::default() }
    }

    #[test]
    fn the_worst_fact_is_the_state() {
        let ok = facts(State::Ok);
        let table = [
            (Facts::default(), State::Starting),
            (ok.clone(), State::Ok),
            (Facts { picture: Some(State::Black), ..ok.clone() }, State::Black),
            (Facts { picture: Some(State::Frozen), disk_full: true, ..ok.clone() }, State::Frozen),
            (Facts { disk_full: true, ..ok.clone() }, State::DiskFull),
            (Facts { disk_full: true, gap_at_ms: Some(0), clock_off_ms: Some(9_000), ..ok.clone() }, State::DiskFull),
            (Facts { gap_at_ms: Some(0), clock_off_ms: Some(9_000), ..ok.clone() }, State::RecordingGap),
            (Facts { clock_off_ms: Some(5_000), ..ok.clone() }, State::Ok),
            (Facts { clock_off_ms: Some(-5_001), ..ok.clone() }, State::ClockOff),
            (Facts { clock_off_ms: Some(i64::MIN), ..facts(State::Unreachable) }, State::Unreachable),
            (
                Facts { streams: vec![(State::Ok, String::new()), (State::Refused, String::new())], ..ok },
                State::Refused,
            ),
        ];
        for (facts, state) in table {
            let mut health = Health::new(0);
            health.judge(&facts, 1, 1);
            assert_eq!(health.state(), state, "{facts:?}");
        }
    }

    #[test]
    fn since_when_moves_only_with_the_state() {
        let mut health = Health::new(5);
        assert!(health.judge(&facts(State::Unreachable), 0, 10));
        assert!(!health.judge(&facts(State::Unreachable), 0, 20));
        assert_eq!((health.since_ms(), health.detail()), (10, "why"));
        assert!(health.judge(&facts(State::Ok), 0, 30));
        assert_eq!(health.since_ms(), 30);
    }

    #[test]
    fn a_short_reconnection_is_not_worth_a_word() {
        let mut health = Health::new(0);
        assert!(health.judge(&facts(State::Ok), 0, 0));
        assert!(!health.judge(&facts(State::Starting), 1_000, 1));
        assert!(!health.judge(&facts(State::Starting), 1_000 + RECONNECT_MS - 1, 1));
        assert!(!health.judge(&facts(State::Ok), 7_000, 1));
        assert!(!health.judge(&facts(State::Starting), 10_000, 1));
        assert!(health.judge(&facts(State::Starting), 10_000 + RECONNECT_MS, 1));
        assert_eq!(health.state(), State::Starting);
    }

    #[test]
    fn a_gap_is_shown_for_a_while_and_then_over() {
        let gap = Facts { gap_at_ms: Some(1_000), ..facts(State::Ok) };
        let mut health = Health::new(0);
        assert!(health.judge(&gap, 1_000, 1));
        assert_eq!(health.state(), State::RecordingGap);
        assert!(health.judge(&gap, 1_000 + GAP_SHOWN_MS, 2));
        assert_eq!(health.state(), State::Ok);
    }
}
