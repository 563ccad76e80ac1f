//! The rules of an alarm, pure: what a press, an acknowledgement and a close do to it.
//!
//! An alarm latches: only a person closes it, with a reason. While it is open every further press raises its count, and
//! a press on an acknowledged alarm makes it sound again, because whoever pressed twice was not yet helped. (GB
//! 50394-2007 §5.2: no missed alarm, no disarming, reset by hand only.)

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// A person pressed a button.
    Sos,
    /// Something arrived that may be an alarm and that nobody could read.
    Unknown,
}

/// Where an alarm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// Nobody has it yet.
    Unacknowledged,
    /// A person has it.
    Acknowledged,
    /// A person ended it.
    Closed,
}

/// Why an alarm was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// People came and it is over.
    Resolved,
    /// Nobody needed help.
    FalseAlarm,
    /// It was a test.
    Test,
    /// The same matter is handled in another alarm.
    Duplicate,
    /// 110, 120, 119 or another service has taken it over.
    HandedOver,
    /// Something else; the note says what.
    Other,
}

/// What is written into an alarm's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// The first press reached the county.
    Raised,
    /// Another press while nobody had it.
    Pressed,
    /// A press after someone had it: it sounds again.
    PressedAgain,
    /// This press reached the county late.
    Late,
    /// A person took it.
    Acknowledged,
    /// A person is on the way.
    Going,
    /// A person is there.
    Arrived,
    /// A person ended it.
    Closed,
}

/// The part of an alarm that the rules change. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Where it stands.
    pub state: AlarmState,
    /// Whether pages sound it.
    pub sounding: bool,
    /// Whether its first press was late.
    pub late: bool,
    /// Presses so far, at least 1.
    pub presses: i64,
    /// First press, the gateway's clock.
    pub occurred_ms: i64,
    /// First press, the hub's clock.
    pub raised_ms: i64,
    /// Latest press, the hub's clock.
    pub last_press_ms: i64,
    /// When and by whom it was taken, first time.
    pub acknowledged: Option<(i64, String)>,
    /// How it ended.
    pub closed: Option<Closing>,
    /// Grows with every change.
    pub revision: i64,
}

/// How an alarm ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// UTC milliseconds.
    pub at_ms: i64,
    /// Display name of the person.
    pub by: String,
    /// Why.
    pub reason: CloseReason,
    /// In their words.
    pub note: Option<String>,
}

/// A press as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Press {
    /// When the gateway heard it, by its clock.
    pub occurred_ms: i64,
    /// When the ledger took it.
    pub received_ms: i64,
    /// Whether that was too much later.
    pub late: bool,
}

/// How far somebody who goes to help has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// On the way.
    Going,
    /// There.
    Arrived,
}

/// Why a person's act was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is closed already.
    AlreadyClosed,
    /// "Other" says nothing without a note.
    NoteRequired,
}

impl Course {
    /// The first press: an alarm begins, unacknowledged and sounding.
    pub fn raise(press: Press) -> (Self, Vec<LineKind>) {
        let course = Self {
            state: AlarmState::Unacknowledged,
            sounding: true,
            late: press.late,
            presses: 1,
            occurred_ms: press.occurred_ms,
            raised_ms: press.received_ms,
            last_press_ms: press.received_ms,
            acknowledged: None,
            closed: None,
            revision: 1,
        };
        (course, with_lateness(LineKind::Raised, press))
    }

    /// A further press of the same source while the alarm is open.
    ///
    /// # Panics
    /// The alarm is closed: a press after that raises a new alarm, and the caller looks for open ones only.
    pub fn press(&mut self, press: Press) -> Vec<LineKind> {
        assert!(self.state != AlarmState::Closed, "a closed alarm takes no press: the next press raises a new alarm");
        let line = match self.state {
            AlarmState::Acknowledged => LineKind::PressedAgain,
            AlarmState::Unacknowledged | AlarmState::Closed => LineKind::Pressed,
        };
        self.presses += 1;
        self.sounding = true;
        self.occurred_ms = self.occurred_ms.min(press.occurred_ms);
        self.last_press_ms = self.last_press_ms.max(press.received_ms);
        self.revision += 1;
        with_lateness(line, press)
    }

    /// A person takes it. Taking it again is no change, unless it sounds again.
    ///
    /// # Errors
    /// [`Refusal::AlreadyClosed`].
    pub fn acknowledge(&mut self, now_ms: i64, by: &str) -> Result<Vec<LineKind>, Refusal> {
        match self.state {
            AlarmState::Closed => return Err(Refusal::AlreadyClosed),
            AlarmState::Acknowledged if !self.sounding => return Ok(Vec::new()),
            AlarmState::Acknowledged | AlarmState::Unacknowledged => {}
        }
        self.state = AlarmState::Acknowledged;
        self.sounding = false;
        if self.acknowledged.is_none() {
            self.acknowledged = Some((now_ms, by.to_owned()));
        }
        self.revision += 1;
        Ok(vec![LineKind::Acknowledged])
    }

    /// A person is on the way, or there. Whoever goes has it: one that nobody had taken is taken first, and one that sounds again
    /// falls silent. `said_before`: this person has said the same since anything else was said.
    ///
    /// # Errors
    /// [`Refusal::AlreadyClosed`].
    pub fn attend(&mut self, now_ms: i64, by: &str, step: Step, said_before: bool) -> Result<Vec<LineKind>, Refusal> {
        let mut lines = self.acknowledge(now_ms, by)?;
        if lines.is_empty() && said_before {
            return Ok(lines);
        }
        self.revision += 1;
        lines.push(match step {
            Step::Going => LineKind::Going,
            Step::Arrived => LineKind::Arrived,
        });
        Ok(lines)
    }

    /// A person ends it. Ending one that nobody had taken takes it first, so that the story is whole.
    ///
    /// # Errors
    /// [`Refusal::AlreadyClosed`], [`Refusal::NoteRequired`].
    pub fn close(
        &mut self,
        now_ms: i64,
        by: &str,
        reason: CloseReason,
        note: Option<String>,
    ) -> Result<Vec<LineKind>, Refusal> {
        if self.state == AlarmState::Closed {
            return Err(Refusal::AlreadyClosed);
        }
        let note = note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
        if reason == CloseReason::Other && note.is_none() {
            return Err(Refusal::NoteRequired);
        }
        let mut lines = self.acknowledge(now_ms, by)?;
        self.state = AlarmState::Closed;
        self.closed = Some(Closing { at_ms: now_ms, by: by.to_owned(), reason, note });
        self.revision += 1;
        lines.push(LineKind::Closed);
        Ok(lines)
    }
}

fn with_lateness(line: LineKind, press: Press) -> Vec<LineKind> {
    if press.late { vec![line, LineKind::Late] } else { vec![line] }
}

/// Whether a press is late: the ledger took it more than `late_after_ms` after the gateway heard it. `None` for the
/// delay means that the gateway's clock is not to be trusted, which says nothing about lateness.
pub fn is_late(delay_ms: Option<i64>, late_after_ms: i64) -> bool {
    delay_ms.is_some_and(|delay| delay > late_after_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(at: i64) -> Press {
        Press { occurred_ms: at, received_ms: at + 10, late: false }
    }

    #[test]
    fn a_press_raises_and_further_presses_count() {
        let (mut course, lines) = Course::raise(press(1_000));
        assert_eq!(lines, [LineKind::Raised]);
        assert!(course.sounding);
        assert_eq!(course.press(press(2_000)), [LineKind::Pressed]);
        assert_eq!((course.presses, course.occurred_ms, course.last_press_ms), (2, 1_000, 2_010));
        assert_eq!(course.state, AlarmState::Unacknowledged);
    }

    #[test]
    fn a_press_on_an_acknowledged_alarm_sounds_again_and_can_be_taken_again() {
        let (mut course, _) = Course::raise(press(1_000));
        course.acknowledge(1_500, "王芳").unwrap();
        assert!(!course.sounding);
        assert_eq!(course.press(press(2_000)), [LineKind::PressedAgain]);
        assert!(course.sounding);
        assert_eq!(course.state, AlarmState::Acknowledged);
        assert_eq!(course.acknowledge(2_500, "李强").unwrap(), [LineKind::Acknowledged]);
        assert!(!course.sounding);
        assert_eq!(course.acknowledged, Some((1_500, "王芳".to_owned())), "who had it first stays");
    }

    #[test]
    fn acknowledging_twice_changes_nothing() {
        let (mut course, _) = Course::raise(press(1_000));
        course.acknowledge(1_500, "王芳").unwrap();
        let before = course.clone();
        assert_eq!(course.acknowledge(1_600, "王芳").unwrap(), []);
        assert_eq!(course, before);
    }

    #[test]
    fn whoever_goes_has_it_and_saying_so_twice_changes_nothing() {
        let (mut course, _) = Course::raise(press(1_000));
        let lines = course.attend(1_500, "王芳", Step::Going, false).unwrap();
        assert_eq!(lines, [LineKind::Acknowledged, LineKind::Going]);
        assert_eq!(course.acknowledged, Some((1_500, "王芳".to_owned())));
        let before = course.clone();
        assert_eq!(course.attend(1_600, "王芳", Step::Going, true).unwrap(), []);
        assert_eq!(course, before);
        assert_eq!(course.attend(1_700, "王芳", Step::Arrived, false).unwrap(), [LineKind::Arrived]);
        course.press(press(1_800));
        let again = course.attend(1_900, "王芳", Step::Going, true).unwrap();
        assert_eq!(again, [LineKind::Acknowledged, LineKind::Going], "it sounds again, so it is said again");
        course.close(2_000, "王芳", CloseReason::Resolved, None).unwrap();
        assert_eq!(course.attend(2_100, "王芳", Step::Arrived, false), Err(Refusal::AlreadyClosed));
    }

    #[test]
    fn only_a_person_with_a_reason_closes() {
        let (mut course, _) = Course::raise(press(1_000));
        assert_eq!(course.close(2_000, "王芳", CloseReason::Other, Some("  ".into())), Err(Refusal::NoteRequired));
        assert_eq!(course.state, AlarmState::Unacknowledged, "a refused close changes nothing");
        let lines = course.close(2_000, "王芳", CloseReason::FalseAlarm, None).unwrap();
        assert_eq!(lines, [LineKind::Acknowledged, LineKind::Closed]);
        assert_eq!(course.close(3_000, "王芳", CloseReason::Test, None), Err(Refusal::AlreadyClosed));
        assert_eq!(course.acknowledge(3_000, "王芳"), Err(Refusal::AlreadyClosed));
    }

    #[test]
    fn a_late_press_is_raised_and_marked() {
        let (course, lines) = Course::raise(Press { late: true, ..press(1_000) });
        assert!(course.late && course.sounding);
        assert_eq!(lines, [LineKind::Raised, LineKind::Late]);
    }

    #[test]
    fn lateness_needs_a_clock_that_can_be_trusted() {
        assert!(is_late(Some(60_001), 60_000));
        assert!(!is_late(Some(60_000), 60_000));
        assert!(!is_late(None, 60_000));
    }

    #[test]
    fn revisions_grow_with_every_change() {
        let (mut course, _) = Course::raise(press(1));
        let mut last = course.revision;
        let mut grown = |course: &Course| {
            assert!(course.revision > last);
            last = course.revision;
        };
        course.press(press(2));
        grown(&course);
        course.acknowledge(3, "a").unwrap();
        grown(&course);
        course.close(4, "a", CloseReason::Resolved, None).unwrap();
        grown(&course);
    }
}
