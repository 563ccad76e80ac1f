//! Who may come in: the password with its lock-out, and the sessions with their limit.

use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};

use super::request::Request;
use crate::mosquitto::Login;

/// As cameras call themselves when they ask for a password.
pub(crate) const REALM: &str = "IP Camera(C0712)";

/// How many wrong passwords in a row a camera bears, and for how long it then hears nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lock {
    pub(crate) tries_max: u32,
    pub(crate) duration: Duration,
}

/// What a request's password is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Granted,
    /// There was none, or it answered an older question.
    Asked,
    /// It was wrong; so many more may be.
    Wrong {
        tries_left: u32,
    },
    /// Too many were wrong; it was not even looked at.
    Locked {
        left: Duration,
    },
}

/// Counts wrong passwords, whoever sent them.
#[derive(Debug)]
pub(crate) struct Guard {
    login: Option<Login>,
    lock: Lock,
    wrong: u32,
    locked_until: Option<Instant>,
}

impl Guard {
    pub(crate) fn new(login: Option<Login>, lock: Lock) -> Self {
        Self { login, lock, wrong: 0, locked_until: None }
    }

    pub(crate) fn change_login(&mut self, login: Login) {
        self.login = Some(login);
    }

    pub(crate) fn judge(&mut self, now: Instant, request: &Request, nonce: &str, is_changed: bool) -> Entry {
        let Some(login) = &self.login else { return Entry::Granted };
        if let Some(until) = self.locked_until {
            if now < until {
                return Entry::Locked { left: until - now };
            }
            (self.locked_until, self.wrong) = (None, 0);
        }
        let Some(answer) = request.header("authorization").and_then(Answer::parse) else { return Entry::Asked };
        if answer.nonce != nonce {
            return Entry::Asked;
        }
        if !is_changed && answer.username == login.username && answer.response == expected(login, request, &answer) {
            self.wrong = 0;
            return Entry::Granted;
        }
        self.wrong += 1;
        let tries_left = self.lock.tries_max.saturating_sub(self.wrong);
        if tries_left == 0 {
            self.locked_until = Some(now + self.lock.duration);
            return Entry::Locked { left: self.lock.duration };
        }
        Entry::Wrong { tries_left }
    }
}

/// The client's half of the digest (RFC 2617, without `qop`, as cameras have it).
struct Answer {
    username: String,
    nonce: String,
    uri: String,
    response: String,
}

impl Answer {
    fn parse(header: &str) -> Option<Self> {
        let fields = header.strip_prefix("Digest ")?;
        let field = |name: &str| {
            let mut found = fields.split(',').filter_map(|field| field.trim().split_once('='));
            found.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned())
        };
        Some(Self {
            username: field("username")?,
            nonce: field("nonce")?,
            uri: field("uri")?,
            response: field("response")?,
        })
    }
}

fn expected(login: &Login, request: &Request, answer: &Answer) -> String {
    let person = hash(&format!("{}:{REALM}:{}", login.username, login.password));
    let what = hash(&format!("{}:{}", request.method, answer.uri));
    hash(&format!("{person}:{}:{what}", answer.nonce))
}

fn hash(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sessions of a camera. One that lost its connection may keep its place until it is too old, as many cameras have it.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Vec<Session>,
    sessions_max: usize,
    keeps_lost: Option<Duration>,
}

#[derive(Debug)]
struct Session {
    id: String,
    lost_until: Option<Instant>,
}

impl Sessions {
    pub(crate) fn new(sessions_max: usize, keeps_lost: Option<Duration>) -> Self {
        Self { open: Vec::new(), sessions_max, keeps_lost }
    }

    /// A place for one more; `false` when there is none.
    pub(crate) fn begin(&mut self, now: Instant, id: &str) -> bool {
        self.forget_old(now);
        if self.open.len() >= self.sessions_max {
            return false;
        }
        self.open.push(Session { id: id.to_owned(), lost_until: None });
        true
    }

    /// Its connection is gone without a word.
    pub(crate) fn lose(&mut self, now: Instant, id: &str) {
        match self.keeps_lost {
            None => self.end(id),
            Some(duration) => {
                let mine = self.open.iter_mut().filter(|session| session.id == id);
                mine.for_each(|session| session.lost_until = Some(now + duration));
            }
        }
    }

    /// It was ended in good order.
    pub(crate) fn end(&mut self, id: &str) {
        self.open.retain(|session| session.id != id);
    }

    pub(crate) fn end_all(&mut self) {
        self.open.clear();
    }

    pub(crate) fn knows(&self, id: &str) -> bool {
        self.open.iter().any(|session| session.id == id)
    }

    pub(crate) fn count(&mut self, now: Instant) -> usize {
        self.forget_old(now);
        self.open.len()
    }

    fn forget_old(&mut self, now: Instant) {
        self.open.retain(|session| session.lost_until.is_none_or(|until| now < until));
    }
}
