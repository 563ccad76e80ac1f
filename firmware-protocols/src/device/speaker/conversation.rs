//! Who is believed: the two small machines that keep replays out, one on each side.

use core::fmt;

use super::envelope::{Sealed, Session};
use super::{Command, Report};
use crate::Error;

/// The speaker's side: which commands it obeys.
#[derive(Clone, Debug)]
pub struct Obedience {
    session: Session,
    /// Counter of the last command that was obeyed.
    last: u64,
}

/// Why a message with a right tag is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It belongs to another life of the speaker.
    OtherSession,
    /// It came before, or one after it did.
    Repeated,
    /// It does not answer the challenge that is open.
    WrongChallenge,
    /// Its body cannot be read.
    Unreadable(Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSession => f.write_str("the message belongs to another session"),
            Self::Repeated => f.write_str("the message came before"),
            Self::WrongChallenge => f.write_str("the message answers another challenge"),
            Self::Unreadable(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

impl Obedience {
    /// A speaker that has just started; `session` is drawn at random.
    pub const fn new(session: Session) -> Self {
        Self { session, last: 0 }
    }

    /// This life.
    pub const fn session(&self) -> Session {
        self.session
    }

    /// The counter of the last command that was obeyed in this life, for [`Alive`](super::Alive).
    pub const fn obeyed(&self) -> Option<u64> {
        if self.last == 0 { None } else { Some(self.last) }
    }

    /// The command in a message, if it is to be obeyed.
    ///
    /// # Errors
    /// See [`Refusal`]. A refused message changes nothing.
    pub fn command<'a>(&mut self, message: &Sealed<'a>) -> Result<Command<'a>, Refusal> {
        let command = Command::parse(message.body).map_err(Refusal::Unreadable)?;
        if matches!(command, Command::Ask(_)) {
            return Ok(command);
        }
        if message.session != self.session {
            return Err(Refusal::OtherSession);
        }
        if message.counter <= self.last {
            return Err(Refusal::Repeated);
        }
        self.last = message.counter;
        Ok(command)
    }
}

/// The gateway's side: in which session the speaker is, and which reports are news.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// The ask that has not been answered yet.
    challenge: Option<[u8; 16]>,
    session: Option<Session>,
    /// Counter of the last command that was sent in this session.
    sent: u64,
    /// Counter of the last report that was heard in this session.
    heard: u64,
}

/// A report that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// What it says.
    pub report: Report<'a>,
    /// Whether the speaker has started since it was last heard: what it was told before is gone.
    pub restarted: bool,
}

impl Conversation {
    /// Notes that the speaker is asked with this challenge, drawn at random; an older one is not waited for any more.
    pub fn ask(&mut self, challenge: [u8; 16]) {
        self.challenge = Some(challenge);
    }

    /// Session and counter for the next command. `None` until the speaker has answered an ask.
    pub fn next_command(&mut self) -> Option<(Session, u64)> {
        let session = self.session?;
        // A speaker that says it has obeyed the highest number there is hears nothing more before it starts again.
        self.sent = self.sent.checked_add(1)?;
        Some((session, self.sent))
    }

    /// The report in a message, if it is to be believed.
    ///
    /// # Errors
    /// See [`Refusal`]. A refused message changes nothing.
    pub fn report<'a>(&mut self, message: &Sealed<'a>) -> Result<Heard<'a>, Refusal> {
        let report = Report::parse(message.body).map_err(Refusal::Unreadable)?;
        let known = self.session == Some(message.session);
        if known && message.counter <= self.heard {
            return Err(Refusal::Repeated);
        }
        let obeyed = match &report {
            Report::Alive(alive) if self.challenge != Some(alive.challenge) => return Err(Refusal::WrongChallenge),
            Report::Alive(alive) => alive.obeyed.unwrap_or(0),
            Report::Progress(_) if !known => return Err(Refusal::OtherSession),
            Report::Progress(_) => 0,
        };
        if matches!(report, Report::Alive(_)) {
            self.challenge = None;
        }
        if !known {
            self.session = Some(message.session);
            self.sent = 0;
        }
        // What a former run of this gateway has told it counts on.
        self.sent = self.sent.max(obeyed);
        self.heard = message.counter;
        Ok(Heard { report, restarted: !known })
    }
}
