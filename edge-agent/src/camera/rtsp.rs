//! A small RTSP server for this room's tests: it serves pictures that cannot be decoded, and misbehaves on demand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::testing::{PPS, SPS};
use crate::clock::Clock;

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
    /// Requests with a wrong password.
    pub(super) wrong: Rc<Cell<u32>>,
}

impl Rtsp {
    pub(super) async fn start(clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            behaviour: Rc::default(),
            made: Rc::default(),
            standing: Rc::default(),
            wrong: Rc::default(),
        };
        let serving = server.clone();
        tokio::task::spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
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
        loop {
            let Some((method, sequence, authorization)) = request(&mut input).await? else { return Ok(()) };
            let behaviour = self.behaviour.borrow().clone();
            if behaviour.hangs_at == method {
                // Until the other side has enough of it.
                let _ = input.read_to_end(&mut Vec::new()).await;
                return Ok(());
            }
            let mut head = format!("RTSP/1.0 {{}}\r\nCSeq: {sequence}\r\nSession: 7;timeout=60\r\n");
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
                "SETUP" => {
                    head.push_str("Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000007\r\n\r\n");
                    output.write_all(head.replace("{}", "200 OK").as_bytes()).await?;
                }
                "PLAY" => {
                    output.write_all((head.replace("{}", "200 OK") + "\r\n").as_bytes()).await?;
                    let mut buffer = [0; 1_024];
                    tokio::select! {
                        sent = self.send(&mut output, clock) => return sent,
                        // TEARDOWN, or the end of the connection.
                        read = input.read(&mut buffer) => return read.map(drop),
                    }
                }
                _ => output.write_all((head.replace("{}", "200 OK") + "\r\n").as_bytes()).await?,
            }
        }
    }

    async fn send(&self, output: &mut (impl tokio::io::AsyncWrite + Unpin), clock: Clock) -> std::io::Result<()> {
        let mut sequence = 0_u16;
        for i in 0_u64.. {
            let behaviour = self.behaviour.borrow().clone();
            if i >= behaviour.frames_max {
                return Ok(());
            }
            let key = i.is_multiple_of(behaviour.group);
            sequence = sequence.wrapping_add(if i == behaviour.loses_before { 2 } else { 1 });
            let stamp = 0x8000_0000_u32.wrapping_add(u32::try_from(i * behaviour.frame_ms * 90 % (1 << 32)).unwrap());
            let mut packet = vec![0x80, 0x80 | 96];
            packet.extend_from_slice(&sequence.to_be_bytes());
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
            clock.until(Some(clock.mono_ms() + behaviour.frame_ms)).await;
        }
        Ok(())
    }
}

/// Method, sequence number and authorization of the next request.
async fn request(
    input: &mut BufReader<impl tokio::io::AsyncRead + Unpin>,
) -> std::io::Result<Option<(String, String, Option<String>)>> {
    let mut line = String::new();
    if input.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let (mut sequence, mut authorization) = (String::new(), None);
    loop {
        line.clear();
        input.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "cseq" => sequence = value.to_owned(),
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(Some((method, sequence, authorization)))
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
