//! The rules of a notice, pure: when it may be sent, who lets it, and when it is over.
//!
//! Loud needs two: beyond one village a second person lets it be heard. At night only emergencies sound, and only when whoever
//! sends one says so a second time; a second person's word is such a second time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::broadcast::night::Night;

/// How long a notice waits for a second person. What nobody let through in an hour is to be thought over again.
pub(super) const SECOND_MS: i64 = 3_600_000;

/// What a notice is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::broadcast) enum Level {
    /// The matters of every day.
    Notice,
    /// Danger to life.
    Emergency,
    /// A technician listens to one loudspeaker.
    Test,
}

/// What people have decided of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes beyond one village and waits for a second person.
    Waiting,
    /// It was ordered of the gateways.
    Sent,
    /// A second person said no, or nobody said anything in time.
    Refused,
    /// Somebody stopped it.
    Stopped,
}

/// The part of a notice that the rules change. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Course {
    pub(super) level: Level,
    pub(super) decision: Decision,
    pub(super) created_ms: i64,
    /// Whose it is.
    pub(super) account: String,
    /// Whether its author said that it may sound at night.
    pub(super) night_confirmed: bool,
    /// How long after being sent it may still begin.
    pub(super) valid_for_ms: i64,
    pub(super) sent_ms: Option<i64>,
    /// No loudspeaker begins it after this.
    pub(super) valid_until_ms: Option<i64>,
}

/// Why a person's act was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is night, and this is no emergency.
    Night,
    /// It is night, and nobody said that it may sound then.
    NightUnconfirmed,
    /// A second person is somebody else.
    OwnNotice,
    /// Nobody is asked for it any more, or never was.
    NotWaiting,
    /// It waited longer than [`SECOND_MS`].
    TooLate,
    /// It is over.
    Over,
}

impl Course {
    /// A notice that somebody makes now: sent at once, or waiting when it goes beyond one village.
    pub(super) fn begin(
        now_ms: i64,
        night: Night,
        needs_second: bool,
        (level, account, night_confirmed, valid_for_ms): (Level, &str, bool, i64),
    ) -> Result<Self, Refusal> {
        let mut course = Self {
            level,
            decision: Decision::Waiting,
            created_ms: now_ms,
            account: account.to_owned(),
            night_confirmed,
            valid_for_ms,
            sent_ms: None,
            valid_until_ms: None,
        };
        course.check_night(now_ms, night, night_confirmed)?;
        if !needs_second {
            course.send(now_ms, night);
        }
        Ok(course)
    }

    /// A second person lets it be heard.
    pub(super) fn confirm(&mut self, now_ms: i64, night: Night, account: &str) -> Result<(), Refusal> {
        self.check_second(now_ms, account)?;
        // Whoever says yes now says it knowing the hour.
        self.check_night(now_ms, night, true)?;
        self.send(now_ms, night);
        Ok(())
    }

    /// A second person does not let it be heard.
    pub(super) fn refuse(&mut self, now_ms: i64, account: &str) -> Result<(), Refusal> {
        self.check_second(now_ms, account)?;
        self.decision = Decision::Refused;
        Ok(())
    }

    /// Nobody said anything for too long. False: it does not wait, or not yet for so long.
    pub(super) fn give_up(&mut self, now_ms: i64) -> bool {
        let is_over = self.decision == Decision::Waiting && now_ms - self.created_ms > SECOND_MS;
        if is_over {
            self.decision = Decision::Refused;
        }
        is_over
    }

    /// Somebody stops it, sent or not. Returns whether gateways have to be told; `None`: it is stopped already.
    pub(super) fn stop(&mut self) -> Result<Option<bool>, Refusal> {
        match self.decision {
            Decision::Stopped => return Ok(None),
            Decision::Refused => return Err(Refusal::Over),
            Decision::Waiting | Decision::Sent => {}
        }
        let was_sent = self.decision == Decision::Sent;
        self.decision = Decision::Stopped;
        Ok(Some(was_sent))
    }

    fn check_second(&self, now_ms: i64, account: &str) -> Result<(), Refusal> {
        if self.decision != Decision::Waiting {
            return Err(Refusal::NotWaiting);
        }
        if now_ms - self.created_ms > SECOND_MS {
            return Err(Refusal::TooLate);
        }
        if self.account == account { Err(Refusal::OwnNotice) } else { Ok(()) }
    }

    fn check_night(&self, now_ms: i64, night: Night, confirmed: bool) -> Result<(), Refusal> {
        match self.level {
            _ if !night.is_at(now_ms) => Ok(()),
            Level::Notice | Level::Test => Err(Refusal::Night),
            Level::Emergency if confirmed => Ok(()),
            Level::Emergency => Err(Refusal::NightUnconfirmed),
        }
    }

    fn send(&mut self, now_ms: i64, night: Night) {
        self.decision = Decision::Sent;
        self.sent_ms = Some(now_ms);
        let until_ms = now_ms + self.valid_for_ms;
        // What could not begin in the evening does not begin at night.
        let evening_ms = night.begins_after_ms(now_ms).filter(|_| self.level != Level::Emergency);
        self.valid_until_ms = Some(evening_ms.map_or(until_ms, |evening_ms| until_ms.min(evening_ms)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon and three in the morning in the village.
    const NOON: i64 = 1_795_392_000_000 + 4 * 3_600_000;
    const THREE: i64 = NOON + 15 * 3_600_000;
    const QUARTER_MS: i64 = 900_000;

    fn begin(now_ms: i64, level: Level, needs_second: bool, night_confirmed: bool) -> Result<Course, Refusal> {
        Course::begin(now_ms, Night::default(), needs_second, (level, "wang", night_confirmed, QUARTER_MS))
    }

    #[test]
    fn in_one_village_it_is_sent_at_once_and_beyond_it_waits() {
        let own = begin(NOON, Level::Notice, false, false).unwrap();
        assert_eq!((own.decision, own.valid_until_ms), (Decision::Sent, Some(NOON + QUARTER_MS)));
        let wide = begin(NOON, Level::Emergency, true, false).unwrap();
        assert_eq!((wide.decision, wide.valid_until_ms), (Decision::Waiting, None));
    }

    #[test]
    fn a_second_person_is_somebody_else_and_comes_in_time() {
        let wide = || begin(NOON, Level::Notice, true, false).unwrap();
        let mut course = wide();
        assert_eq!(course.confirm(NOON + 1, Night::default(), "wang"), Err(Refusal::OwnNotice));
        assert_eq!(course.refuse(NOON + 1, "wang"), Err(Refusal::OwnNotice));
        assert_eq!(course, wide(), "a refused act changes nothing");
        course.confirm(NOON + 60_000, Night::default(), "li").unwrap();
        assert_eq!(course.valid_until_ms, Some(NOON + 60_000 + QUARTER_MS), "its time runs from now");
        assert_eq!(course.confirm(NOON + 60_001, Night::default(), "li"), Err(Refusal::NotWaiting));

        let mut late = wide();
        assert_eq!(late.confirm(NOON + SECOND_MS + 1, Night::default(), "li"), Err(Refusal::TooLate));
        assert!(!late.give_up(NOON + SECOND_MS) && late.give_up(NOON + SECOND_MS + 1));
        assert_eq!(late.decision, Decision::Refused);
        assert_eq!(late.stop(), Err(Refusal::Over));
    }

    #[test]
    fn at_night_only_emergencies_sound_and_only_when_said_twice() {
        assert_eq!(begin(THREE, Level::Notice, false, true), Err(Refusal::Night));
        assert_eq!(begin(THREE, Level::Test, false, true), Err(Refusal::Night));
        assert_eq!(begin(THREE, Level::Emergency, false, false), Err(Refusal::NightUnconfirmed));
        let own = begin(THREE, Level::Emergency, false, true).unwrap();
        assert_eq!(own.valid_until_ms, Some(THREE + QUARTER_MS));
        // What was asked for in the evening is not let through at night.
        let evening = NOON + 9 * 3_600_000 + 1_800_000;
        let mut wide = begin(evening, Level::Notice, true, false).unwrap();
        assert_eq!(wide.confirm(evening + 1_800_000, Night::default(), "li"), Err(Refusal::Night));
        let mut danger = begin(evening, Level::Emergency, true, false).unwrap();
        assert_eq!(danger.confirm(evening + 1_800_000, Night::default(), "li"), Ok(()));
    }

    #[test]
    fn what_could_not_begin_in_the_evening_does_not_begin_at_night() {
        let ten = NOON + 10 * 3_600_000;
        assert_eq!(begin(ten - 1_000, Level::Notice, false, false).unwrap().valid_until_ms, Some(ten));
        let danger = begin(ten - 1_000, Level::Emergency, false, false).unwrap();
        assert_eq!(danger.valid_until_ms, Some(ten - 1_000 + QUARTER_MS));
    }

    #[test]
    fn stopping_twice_changes_nothing_and_only_what_was_sent_is_stopped_at_gateways() {
        let mut sent = begin(NOON, Level::Notice, false, false).unwrap();
        assert_eq!(sent.stop(), Ok(Some(true)));
        assert_eq!(sent.stop(), Ok(None));
        assert_eq!(begin(NOON, Level::Notice, true, false).unwrap().stop(), Ok(Some(false)));
    }
}
