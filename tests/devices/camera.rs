//! A camera, or a recorder with several channels: an RTSP server on a loopback port, with faults that are switched while it runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::connection;
use super::fault::{Fault, Mishap};
use super::guard::{Guard, Lock, Sessions};
use super::microphone::Microphone;
use super::recipe::Recipe;
use super::shared::{Channel, Counts, SESSION_TIMEOUT, Shared};
use crate::mosquitto::Login;
use crate::{clock, ports};

/// Clients at once, sessions or not; more are closed at once.
const CONNECTIONS_MAX: usize = 64;

/// What is chosen about a camera.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its streams.
    pub channels: Vec<Channel>,
    /// Name and password; `None` lets everybody in.
    pub login: Option<Login>,
    /// Where it listens on loopback; `None` for any free port.
    pub port: Option<u16>,
    /// Sessions at once; one more is answered 453.
    pub sessions_max: usize,
    /// The wrong password of this number locks everybody out (403) …
    pub tries_max: u32,
    /// … for so long.
    pub lock: Duration,
    /// A session that sends no request for so long is ended.
    pub session_timeout: Duration,
    /// Whether a session that lost its connection without TEARDOWN keeps its place until it times out.
    pub keeps_lost_sessions: bool,
    /// What sounds as the second track, if anything does.
    pub microphone: Option<Microphone>,
    /// Later than by the wall clock, each picture is sent: so that many cameras do not all send at once.
    pub phase: Duration,
}

impl Plan {
    /// An ordinary camera with a main and a sub stream, `main` and `sub`, whose user is `admin` with a random password.
    pub fn new(main: Recipe, sub: Recipe) -> Self {
        let channel = |path: &str, recipe| Channel { path: path.to_owned(), recipe };
        Self {
            channels: vec![channel("main", main), channel("sub", sub)],
            login: Some(Login { username: "admin".to_owned(), password: crate::secret() }),
            port: None,
            sessions_max: 6,
            tries_max: 5,
            lock: Duration::from_secs(30),
            session_timeout: SESSION_TIMEOUT,
            keeps_lost_sessions: false,
            microphone: None,
            phase: Duration::ZERO,
        }
    }

    /// One of [`Recipe::TINY`], for tests that ask little of the picture.
    pub fn tiny() -> Self {
        Self::new(Recipe::TINY, Recipe::TINY_SUB)
    }
}

/// A running camera. Ends when dropped.
#[derive(Debug)]
pub struct Camera {
    port: u16,
    login: Option<Login>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Camera {
    /// Loads its files, which takes seconds when they must be made first, and listens.
    ///
    /// # Errors
    /// No port is free, or its files cannot be made.
    pub async fn start(plan: Plan) -> Result<Self> {
        ensure!(!plan.channels.is_empty(), "a camera without channels");
        let lock = Lock { tries_max: plan.tries_max, duration: plan.lock };
        let keeps_lost = plan.keeps_lost_sessions.then_some(plan.session_timeout);
        let guard = Guard::new(plan.login.clone(), lock);
        let mut shared = Shared::new(plan.channels, guard, Sessions::new(plan.sessions_max, keeps_lost));
        shared.session_timeout = plan.session_timeout;
        shared.microphone = plan.microphone;
        shared.phase = plan.phase;
        let shared = Arc::new(shared);
        shared.load(Fault::None).await?;
        let port = plan.port.map_or_else(ports::free, Ok)?;
        let listener = ports::listen(port).await?;
        let task = tokio::spawn(accept(listener, port, shared.clone()));
        Ok(Self { port, login: plan.login, shared, task })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it hears, if anything.
    pub fn microphone(&self) -> Option<Microphone> {
        self.shared.microphone
    }

    /// Its user when it was started, if it has one.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// URL of one of its channels, without name and password.
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.port)
    }

    /// As [`Camera::url`], with name and password.
    pub fn url_with_login(&self, path: &str) -> String {
        match &self.login {
            None => self.url(path),
            Some(Login { username, password }) => {
                format!("rtsp://{username}:{password}@127.0.0.1:{}/{path}", self.port)
            }
        }
    }

    /// Lets something be wrong from now on, in place of what was wrong before. Makes the files it needs first.
    ///
    /// # Errors
    /// Those cannot be made.
    pub async fn set(&self, fault: Fault) -> Result<()> {
        self.shared.load(fault).await?;
        self.shared.mood.send_modify(|mood| mood.fault = fault);
        Ok(())
    }

    /// Changes its name and password, and sends everybody away.
    pub fn change_login(&self, login: Login) {
        self.shared.guard.lock().expect("not poisoned").change_login(login);
        self.suffer(Mishap::Reset);
    }

    /// Lets something happen once.
    pub fn suffer(&self, mishap: Mishap) {
        if mishap == Mishap::Reset {
            self.shared.sessions.lock().expect("not poisoned").end_all();
        }
        self.shared.mood.send_modify(|mood| match mishap {
            Mishap::Reset => mood.resets += 1,
            Mishap::Jump(ms) => mood.jump_ms += ms,
            Mishap::Forget => mood.forgets += 1,
            Mishap::Clock(ms) => mood.clock_off_ms = ms,
        });
    }

    /// Sessions that are open now, lost ones that keep their place among them.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.lock().expect("not poisoned").count(clock::now())
    }

    /// What clients did so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// The number of the picture that it sent last on a channel, to any client, and when, in UTC microseconds.
    pub fn last_sent(&self, path: &str) -> Option<(u32, i64)> {
        self.shared.last_sent(self.shared.channel(path)?)
    }

    /// When it last sent the picture whose clock shows `number` on a channel, in UTC microseconds: to any client, first byte.
    /// `None`: not among the last thousand.
    pub fn sent_us(&self, path: &str, number: u32) -> Option<i64> {
        self.shared.sent_us(self.shared.channel(path)?, number)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes clients, except while the camera is unreachable.
async fn accept(first: TcpListener, port: u16, shared: Arc<Shared>) {
    let mut mood = shared.mood.subscribe();
    let mut listener = Some(first);
    let mut clients = JoinSet::new();
    loop {
        if mood.borrow_and_update().fault == Fault::Unreachable {
            listener = None;
            if mood.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            // The port may be another's for a moment; then the camera stays away a little longer.
            match ports::listen(port).await {
                Ok(again) => listener = Some(again),
                Err(_) => clock::pause(Duration::from_millis(50)).await,
            }
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                while clients.try_join_next().is_some() {}
                if clients.len() < CONNECTIONS_MAX {
                    shared.count(|counts| counts.connections += 1);
                    clients.spawn(connection::serve(stream, shared.clone()));
                }
            }
            changed = mood.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
