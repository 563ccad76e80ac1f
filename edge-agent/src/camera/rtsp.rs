//! A small RTSP server for this room's tests: it serves pictures that cannot be decoded, and misbehaves on demand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::testing::{PPS, SPS};
use crate::clock::Clock;

/// A camera that hangs breaks the connection off after so long.
const HANGS_MS: u64 = 30_000;

/// What a camera does.
#[derive(Clone, Debug)]
pub(super) struct Behaviour {
    /// The status of DESCRIBE.
    pub(super) describe: u16,
    /// `Basic` credentials that are wanted, as the header carries them.
    pub(super) wants: Option<&'static str>,
    /// Each step hangs from this method on.
    pub(super) hangs_at: &'static str,
    /// The codec's name in the description.
    pub(super) codec: &'static str,
    /// Pictures between two keyframes.
    pub(super) group: u64,
    /// Milliseconds between two pictures.
    pub(super) frame_ms: u64,
    /// The connection breaks after so many pictures.
    pub(super) frames_max: u64,
    /// The picture's number before which a packet is lost.
    pub(super) loses_before: u64,
    /// Sessions at once; one more is refused (453).
    pub(super) sessions_max: usize,
    /// A session whose end was not asked for is kept for so long after its connection has broken off.
    pub(super) keeps_lost_ms: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            describe: 200,
            wants: None,
            hangs_at: "",
            codec: "H264",
            group: 5,
            frame_ms: 20,
            frames_max: u64::MAX,
            loses_before: u64::MAX,
            sessions_max: usize::MAX,
            keeps_lost_ms: 0,
        }
    }
}

/// The server; its task ends with the test.
#[derive(Clone)]
pub(super) struct Rtsp {
    pub(super) port: u16,
    pub(super) behaviour: Rc<RefCell<Behaviour>>,
    /// Connections that were made, and that stand.
    pub(super) made: Rc<Cell<u32>>,
    pub(super) standing: Rc<Cell<u32>>,
    /// Sessions that stand by their ids, those included whose connection is gone.
    pub(super) sessions: Rc<RefCell<BTreeSet<u32>>>,
    /// The next session's id.
    next: Rc<Cell<u32>>,
    /// Pictures that were sent.
    pub(super) pictures: Rc<Cell<u64>>,
    /// Requests with a wrong password.
    pub(super) wrong: Rc<Cell<u32>>,
}

/// A connection's session. When the connection is gone the camera keeps it for a while, unless somebody ended it.
struct Held {
    id: u32,
    sessions: Rc<RefCell<BTreeSet<u32>>>,
    keeps_lost_ms: u64,
    clock: Clock,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (id, sessions) = (self.id, self.sessions.clone());
        if self.keeps_lost_ms == 0 {
            sessions.borrow_mut().remove(&id);
        }
        if !sessions.borrow().contains(&id) {
            return;
        }
        let (clock, until_ms) = (self.clock, self.clock.mono_ms() + self.keeps_lost_ms);
        tokio::task::spawn_local(async move {
            clock.until(Some(until_ms)).await;
            sessions.borrow_mut().remove(&id);
        });
    }
}

/// How far the pictures of a session are.
#[derive(Default)]
struct Progress {
    picture: u64,
    sequence: u16,
    due_ms: u64,
}

impl Rtsp {
    pub(super) async fn start(clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            behaviour: Rc::default(),
            made: Rc::default(),
            standing: Rc::default(),
            sessions: Rc::default(),
            next: Rc::new(Cell::new(7)),
            pictures: Rc::default(),
            wrong: Rc::default(),
        };
        let serving = server.clone();
        tokio::task::spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // In virtual time the next picture follows before an acknowledgement could.
                socket.set_nodelay(true).unwrap();
                let server = serving.clone();
                server.made.set(server.made.get() + 1);
                server.standing.set(server.standing.get() + 1);
                tokio::task::spawn_local(async move {
                    let _ = server.serve(socket, clock).await;
                    server.standing.set(server.standing.get() - 1);
                });
            }
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/main", self.port)
    }

    async fn serve(&self, socket: TcpStream, clock: Clock) -> std::io::Result<()> {
        let (input, mut output) = socket.into_split();
        let mut input = BufReader::new(input);
        let mut held: Option<Held> = None;
        loop {
            let Some(Request { method, sequence, session, authorization }) = request(&mut input).await? else {
                return Ok(());
            };
            let behaviour = self.behaviour.borrow().clone();
            if behaviour.hangs_at == method {
                // Until the other side has enough of it, or the camera itself.
                let mut unheard = Vec::new();
                tokio::select! {
                    _ = input.read_to_end(&mut unheard) => {}
                    () = clock.until(Some(clock.mono_ms() + HANGS_MS)) => {}
                }
                return Ok(());
            }
            let mut head = format!("RTSP/1.0 {{}}\r\nCSeq: {sequence}\r\n");
            if let Some(wants) = behaviour.wants
                && authorization.as_deref() != Some(wants)
            {
                self.wrong.set(self.wrong.get() + u32::from(authorization.is_some()));
                head.push_str("WWW-Authenticate: Basic realm=\"camera\"\r\n\r\n");
                output.write_all(head.replace("{}", "401 Unauthorized").as_bytes()).await?;
                continue;
            }
            match method.as_str() {
                "DESCRIBE" if behaviour.describe != 200 => {
                    output.write_all(head.replace("{}", &format!("{} No", behaviour.describe)).as_bytes()).await?;
                    output.write_all(b"\r\n").await?;
                }
                "DESCRIBE" => {
                    let sdp = description(behaviour.codec);
                    head.push_str(&format!(
                        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                        sdp.len()
                    ));
                    output.write_all(head.replace("{}", "200 OK").as_bytes()).await?;
                }
                "SETUP" if self.sessions.borrow().len() >= behaviour.sessions_max => {
                    output.write_all((head.replace("{}", "453 Not Enough Bandwidth") + "\r\n").as_bytes()).await?;
                }
                "SETUP" => {
                    let id = self.next.replace(self.next.get() + 1);
                    self.sessions.borrow_mut().insert(id);
                    let (sessions, keeps_lost_ms) = (self.sessions.clone(), behaviour.keeps_lost_ms);
                    held = Some(Held { id, sessions, keeps_lost_ms, clock });
                    head.push_str(&format!("Session: {id};timeout=60\r\n"));
                    head.push_str("Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000007\r\n\r\n");
                    output.write_all(head.replace("{}", "200 OK").as_bytes()).await?;
                }
                "PLAY" => {
                    output.write_all((head.replace("{}", "200 OK") + "\r\n").as_bytes()).await?;
                    let is_over = self.play(&mut input, &mut output, clock).await?;
                    if let Some(held) = held.filter(|_| is_over) {
                        self.sessions.borrow_mut().remove(&held.id);
                    }
                    return Ok(());
                }
                "TEARDOWN" => {
                    self.sessions.borrow_mut().remove(&session);
                    output.write_all((head.replace("{}", "200 OK") + "\r\n").as_bytes()).await?;
                }
                _ => output.write_all((head.replace("{}", "200 OK") + "\r\n").as_bytes()).await?,
            }
        }
    }

    /// Sends pictures and answers requests; says whether the session is over, rather than lost.
    async fn play(
        &self,
        input: &mut BufReader<impl tokio::io::AsyncRead + Unpin>,
        output: &mut (impl tokio::io::AsyncWrite + Unpin),
        clock: Clock,
    ) -> std::io::Result<bool> {
        let mut progress = Progress::default();
        loop {
            let asked = tokio::select! {
                sent = self.send(output, &mut progress, clock) => return sent.map(|()| true),
                asked = request(input) => asked?,
            };
            let Some(Request { method, sequence, .. }) = asked else { return Ok(false) };
            let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n\r\n");
            output.write_all(answer.as_bytes()).await?;
            if method == "TEARDOWN" {
                return Ok(true);
            }
        }
    }

    /// Sends pictures until the camera has enough. May be cancelled between two of them, and goes on there.
    async fn send(
        &self,
        output: &mut (impl tokio::io::AsyncWrite + Unpin),
        progress: &mut Progress,
        clock: Clock,
    ) -> std::io::Result<()> {
        loop {
            clock.until(Some(progress.due_ms)).await;
            let behaviour = self.behaviour.borrow().clone();
            let i = progress.picture;
            if i >= behaviour.frames_max {
                return Ok(());
            }
            let key = i.is_multiple_of(behaviour.group);
            let steps = if i == behaviour.loses_before { 2 } else { 1 };
            progress.sequence = progress.sequence.wrapping_add(steps);
            progress.picture += 1;
            progress.due_ms = clock.mono_ms() + behaviour.frame_ms;
            self.pictures.set(self.pictures.get() + 1);
            let stamp = 0x8000_0000_u32.wrapping_add(u32::try_from(i * behaviour.frame_ms * 90 % (1 << 32)).unwrap());
            let mut packet = vec![0x80, 0x80 | 96];
            packet.extend_from_slice(&progress.sequence.to_be_bytes());
            packet.extend_from_slice(&stamp.to_be_bytes());
            packet.extend_from_slice(&7_u32.to_be_bytes());
            packet.push(if key { 0x65 } else { 0x41 });
            packet.extend_from_slice(&[0x88, 0x84, 0x0c]);
            packet.extend_from_slice(format!("{i:08}").as_bytes());
            packet.resize(600, 0x55);
            let mut message = vec![b'$', 0];
            message.extend_from_slice(&u16::try_from(packet.len()).unwrap().to_be_bytes());
            message.extend_from_slice(&packet);
            output.write_all(&message).await?;
        }
    }
}

/// What is read of a request.
struct Request {
    method: String,
    sequence: String,
    /// 0: none.
    session: u32,
    authorization: Option<String>,
}

/// The next request; `None` at the end of the connection.
async fn request(input: &mut BufReader<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let (mut sequence, mut session, mut authorization) = (String::new(), 0, None);
    loop {
        line.clear();
        input.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "cseq" => sequence = value.to_owned(),
            "session" => session = value.parse().unwrap_or(0),
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(Some(Request { method, sequence, session, authorization }))
}

fn description(codec: &str) -> String {
    let sets = format!("{},{}", base64(&SPS), base64(&PPS));
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n\
         a=rtpmap:96 {codec}/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42C00D;sprop-parameter-sets={sets}\r\n\
         a=control:track1\r\n"
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
