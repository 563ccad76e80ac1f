//! One client of the camera: its requests and its pictures, on one connection, in one task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::fault::Fault;
use super::guard::{Entry, REALM};
use super::microphone::{Hearing, Microphone};
use super::packet::Sender;
use super::player::{Falsehood, Player};
use super::request::{self, Request};
use super::shared::{Mood, Shared};
use crate::clock;

/// A client that does not read for so long is given up.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// What is sent in place of packets, or of an answer, by a camera that lost its mind: neither `$` nor `RTSP`.
const GARBAGE: [u8; 512] = [0x5a; 512];
/// A year away: for a timer that is not set.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// Serves one client to its end. That a client goes away is no error.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mood = shared.mood.subscribe();
    let seen = mood.borrow().clone();
    let now = clock::now();
    let mut connection = Connection {
        nonce: crate::secret(),
        input: Vec::new(),
        output: Vec::new(),
        session: None,
        last_request: now,
        packets: 0,
        stream,
        shared,
        mood,
        seen,
    };
    // Whatever ended it, the client is gone or was sent away.
    let _ = connection.run().await;
    if let Some(session) = connection.session.take() {
        connection.shared.sessions.lock().expect("not poisoned").lose(clock::now(), &session.id);
    }
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    mood: watch::Receiver<Mood>,
    /// The mood that was last acted upon.
    seen: Mood,
    nonce: String,
    input: Vec<u8>,
    output: Vec<u8>,
    session: Option<Session>,
    last_request: Instant,
    packets: u64,
}

struct Session {
    id: String,
    /// Which of the camera's channels.
    channel: usize,
    video: Option<Player>,
    audio: Option<Hearing>,
    is_playing: bool,
    is_forgotten: bool,
}

impl Session {
    fn due(&self) -> Option<Instant> {
        let video = self.video.iter().map(Player::due);
        self.is_playing.then(|| video.chain(self.audio.iter().map(Hearing::due)).min()).flatten()
    }
}

impl Connection {
    async fn run(&mut self) -> Result<()> {
        self.stream.set_nodelay(true)?;
        loop {
            let due = self.session.as_ref().and_then(Session::due);
            let patience = if self.session.is_some() { self.shared.session_timeout } else { NEVER };
            tokio::select! {
                read = self.stream.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.hear().await?;
                }
                changed = self.mood.changed() => {
                    changed.context("the camera is gone")?;
                    self.follow()?;
                }
                () = clock::until(due.unwrap_or(self.last_request + NEVER)) => self.play().await?,
                () = clock::until(self.last_request + patience) => {
                    self.shared.count(|counts| counts.timed_out += 1);
                    bail!("the session was not kept alive");
                }
            }
        }
    }

    /// Does at once what a new mood asks of those who are connected.
    fn follow(&mut self) -> Result<()> {
        let mood = self.mood.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.seen, mood.clone());
        let is_cut = mood.fault != before.fault && mood.fault.cuts();
        if mood.resets != before.resets || is_cut {
            self.stream.set_zero_linger()?;
            bail!("reset");
        }
        if mood.forgets != before.forgets
            && let Some(session) = &mut self.session
        {
            session.is_forgotten = true;
            self.shared.sessions.lock().expect("not poisoned").end(&session.id);
        }
        Ok(())
    }

    /// Sends what is due.
    async fn play(&mut self) -> Result<()> {
        let now = clock::now();
        let Some(session) = &mut self.session else { return Ok(()) };
        let fault = self.seen.fault;
        let time = Falsehood { jump_ms: self.seen.jump_ms, clock_off_ms: self.seen.clock_off_ms };
        let is_quiet = session.is_forgotten || matches!(fault, Fault::Stall | Fault::Silent);
        self.output.clear();
        if let Some(player) = &mut session.video {
            if is_quiet {
                player.pass(now);
            } else if fault == Fault::Garbage {
                player.pass(now);
                self.output.extend(GARBAGE);
            } else {
                let wanted = self.shared.wanted(session.channel, fault);
                let packets = &mut self.packets;
                let is_lost = || {
                    *packets += 1;
                    matches!(fault, Fault::Loss(one_in) if packets.is_multiple_of(u64::from(one_in)))
                };
                if let Some(sent) = player.emit(now, &wanted, time, is_lost, &mut self.output) {
                    self.shared.note_sent(session.channel, sent, now);
                }
            }
        }
        if let Some(audio) = &mut session.audio {
            audio.emit(now, self.seen.jump_ms, &mut self.output);
            if is_quiet {
                self.output.clear();
            }
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<()> {
        tokio::time::timeout(WRITE_PATIENCE, self.stream.write_all(&self.output)).await??;
        Ok(())
    }

    /// Answers whatever has come.
    async fn hear(&mut self) -> Result<()> {
        while let Some(request) = request::take(&mut self.input)? {
            self.last_request = clock::now();
            match self.seen.fault {
                Fault::Silent => continue,
                Fault::Slow(duration) => clock::pause(duration).await,
                _ => {}
            }
            self.output.clear();
            if self.seen.fault == Fault::Garbage {
                self.output.extend(GARBAGE);
            } else {
                let answer = self.answer(&request);
                let sequence = request.header("cseq").unwrap_or("0");
                self.output.extend(answer.into_bytes(sequence));
            }
            self.write().await?;
        }
        Ok(())
    }

    fn answer(&mut self, request: &Request) -> Answer {
        if request.method == "OPTIONS" {
            let methods = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN";
            return Answer::new("200 OK").with("Public", methods);
        }
        if let Some(refusal) = self.refuse(request) {
            return refusal;
        }
        match request.method.as_str() {
            "DESCRIBE" => self.describe(request),
            "SETUP" => self.set_up(request),
            "PLAY" => self.start(request),
            "GET_PARAMETER" | "SET_PARAMETER" => match self.named_session(request) {
                Some(session) => Answer::new("200 OK").with("Session", &session.id),
                None => Answer::new(SESSION_NOT_FOUND),
            },
            "TEARDOWN" => self.tear_down(request),
            _ => Answer::new("501 Not Implemented"),
        }
    }

    /// The password's part.
    fn refuse(&self, request: &Request) -> Option<Answer> {
        let is_changed = self.seen.fault == Fault::WrongPassword;
        let entry =
            self.shared.guard.lock().expect("not poisoned").judge(clock::now(), request, &self.nonce, is_changed);
        let ask = || {
            let challenge = format!("Digest realm=\"{REALM}\", nonce=\"{}\", stale=\"FALSE\"", self.nonce);
            Answer::new("401 Unauthorized").with("WWW-Authenticate", &challenge)
        };
        match entry {
            Entry::Granted => None,
            Entry::Asked => Some(ask()),
            Entry::Wrong { tries_left } => {
                self.shared.count(|counts| counts.wrong_passwords += 1);
                Some(ask().with("X-Tries-Left", &tries_left.to_string()))
            }
            Entry::Locked { left } => {
                self.shared.count(|counts| counts.locked_out += 1);
                Some(Answer::new("403 Forbidden").with("X-Locked-Seconds", &left.as_secs().to_string()))
            }
        }
    }

    fn describe(&self, request: &Request) -> Answer {
        self.shared.count(|counts| counts.describes += 1);
        let path = request.path().trim_end_matches('/');
        let Some(channel) = self.channel(path) else { return Answer::new(NOT_FOUND) };
        let video = if self.seen.fault == Fault::Unsupported {
            "m=video 0 RTP/AVP 26\r\na=rtpmap:26 JPEG/90000\r\n".to_owned()
        } else {
            self.shared.wanted(channel, self.seen.fault).description()
        };
        let audio = self.shared.microphone.map_or("", Microphone::description);
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\n\
             {video}a=control:track1\r\n{audio}"
        );
        let base = request.url.split('?').next().unwrap_or_default().trim_end_matches('/');
        let answer = Answer::new("200 OK").with("Content-Base", &format!("{base}/"));
        answer.with("Content-Type", "application/sdp").with("Content-Length", &body.len().to_string()).with_body(body)
    }

    fn set_up(&mut self, request: &Request) -> Answer {
        let Some((path, track)) = request.path().rsplit_once('/') else { return Answer::new(NOT_FOUND) };
        let Some(channel) = self.channel(path) else { return Answer::new(NOT_FOUND) };
        let Some(first) = request.header("transport").and_then(interleaved) else {
            return Answer::new("461 Unsupported Transport");
        };
        let now = clock::now();
        if self.session.is_none() {
            let id = crate::secret();
            if !self.shared.sessions.lock().expect("not poisoned").begin(now, &id) {
                self.shared.count(|counts| counts.turned_away += 1);
                return Answer::new("453 Not Enough Bandwidth");
            }
            let session = Session { id, channel, video: None, audio: None, is_playing: false, is_forgotten: false };
            self.session = Some(session);
        }
        let session = self.session.as_mut().expect("made above");
        let random = getrandom::u64().expect("the system gives random numbers");
        let sender = Sender { channel: first, ssrc: random as u32, sequence: (random >> 32) as u16 };
        match (track, self.shared.microphone) {
            ("track1", _) => {
                let clip = self.shared.wanted(channel, self.seen.fault);
                let rtp_start = (random >> 16) as u32;
                session.video = Some(Player::new(clip, sender, rtp_start, self.shared.origin, self.shared.phase, now));
            }
            ("track2", Some(microphone)) => {
                session.audio = Some(Hearing::new(microphone, sender, now));
            }
            _ => return Answer::new(NOT_FOUND),
        }
        let transport =
            format!("RTP/AVP/TCP;unicast;interleaved={first}-{};ssrc={:08X};mode=\"play\"", first + 1, sender.ssrc);
        let timeout = self.shared.session_timeout.as_secs();
        Answer::new("200 OK")
            .with("Transport", &transport)
            .with("Session", &format!("{};timeout={timeout}", session.id))
    }

    fn start(&mut self, request: &Request) -> Answer {
        let now = clock::now();
        let jump_ms = self.seen.jump_ms;
        let Some(session) = self.named_session(request) else { return Answer::new(SESSION_NOT_FOUND) };
        let base = request.url.trim_end_matches('/');
        let info = |track: &str, sender: Sender, timestamp: u32| {
            format!("url={base}/{track};seq={};rtptime={timestamp}", sender.sequence)
        };
        let mut tracks = Vec::new();
        if let Some(player) = &mut session.video {
            player.pass(now);
            tracks.push(info("track1", player.sender(), player.next_timestamp(jump_ms)));
        }
        if let Some(audio) = &session.audio {
            tracks.push(info("track2", audio.sender(), audio.timestamp()));
        }
        session.is_playing = true;
        let answer = Answer::new("200 OK").with("Session", &session.id).with("Range", "npt=now-");
        self.shared.count(|counts| counts.plays += 1);
        answer.with("RTP-Info", &tracks.join(","))
    }

    /// Also for a session whose connection was lost.
    fn tear_down(&mut self, request: &Request) -> Answer {
        let id = named(request).unwrap_or_default();
        let mut sessions = self.shared.sessions.lock().expect("not poisoned");
        if !sessions.knows(id) {
            return Answer::new(SESSION_NOT_FOUND);
        }
        sessions.end(id);
        drop(sessions);
        self.shared.count(|counts| counts.teardowns += 1);
        if self.session.as_ref().is_some_and(|session| session.id == id) {
            self.session = None;
        }
        Answer::new("200 OK").with("Session", id)
    }

    fn channel(&self, path: &str) -> Option<usize> {
        let path = path.split('?').next().unwrap_or_default();
        if self.seen.fault == Fault::NoSuchStream { None } else { self.shared.channel(path) }
    }

    /// This connection's session, if that is the one that the request names and nobody forgot it.
    fn named_session(&mut self, request: &Request) -> Option<&mut Session> {
        let id = named(request)?;
        self.session.as_mut().filter(|session| session.id == id && !session.is_forgotten)
    }
}

const NOT_FOUND: &str = "404 Not Found";
const SESSION_NOT_FOUND: &str = "454 Session Not Found";

fn named(request: &Request) -> Option<&str> {
    request.header("session")?.split(';').next()
}

/// The first of the two channels that a client chose; `None` if it wants UDP.
fn interleaved(transport: &str) -> Option<u8> {
    let fields = || transport.split(';').map(str::trim);
    if !fields().any(|field| field.eq_ignore_ascii_case("RTP/AVP/TCP")) {
        return None;
    }
    let Some(channels) = fields().find_map(|field| field.strip_prefix("interleaved=")) else { return Some(0) };
    channels.split('-').next()?.parse().ok().filter(|first| *first < u8::MAX)
}

/// An answer being put together.
struct Answer {
    text: String,
    body: String,
}

impl Answer {
    fn new(status: &str) -> Self {
        Self { text: format!("RTSP/1.0 {status}\r\n"), body: String::new() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.text += &format!("{name}: {value}\r\n");
        self
    }

    fn with_body(self, body: String) -> Self {
        Self { body, ..self }
    }

    fn into_bytes(self, sequence: &str) -> Vec<u8> {
        format!("{}CSeq: {sequence}\r\n\r\n{}", self.text, self.body).into_bytes()
    }
}
