//! The media connection: opened when the hub calls, kept while it is wanted and half a minute after.
//!
//! It lives on a thread of its own with a runtime of its own: nothing of it runs where presses are heard. Live pictures and
//! answers go before recordings. When the line is slow the queues fill, the tasks that feed them wait, and what waited too
//! long is left out where it comes from; nothing is collected here.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tongluo_protocols::media::{GatewayMessage, HubMessage, LEASE_MS, Leases, MESSAGE_BYTES_MAX};

use super::live::Upload;
use super::playback::{Credit, Fetch};
use super::source::Cameras;
use crate::clock::Clock;
use crate::fleet::{Identity, tls};

/// How often the gateway says that it is there. The hub gives up after three times that.
const PING_MS: u64 = 5_000;

/// The hub was silent this long: the connection is gone.
const SILENCE_MS_MAX: u64 = 15_000;

/// How long opening may take, all in all.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// The first and the longest pause between two attempts. The hub calls again every three seconds, so it need not be long.
const PAUSE_MS: (u64, u64) = (500, 8_000);

/// What the system may hold back for the line. More would be pictures that are old when they arrive: at 4 Mbit/s this is half
/// a second.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// Messages between the tasks and the line. Few: what waits here grows old.
const LIVE_MAX: usize = 8;
const BULK_MAX: usize = 2;

/// Questions and fetches at once. More are refused.
const REQUESTS_MAX: usize = 32;

/// The longest answer to a question may take to be made.
const ASK_MAX: Duration = Duration::from_secs(20);

/// How long things last that are wanted no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// A stream whose lease is not repeated.
    pub(super) lease_ms: u64,
    /// The connection: who closes a picture often opens another.
    pub(super) idle_ms: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { lease_ms: LEASE_MS, idle_ms: 30_000 }
    }
}

/// The media connection's tasks.
pub(super) struct Link<C> {
    pub(super) cameras: C,
    pub(super) clock: Clock,
    pub(super) keep: Keep,
    /// Calls, as they came over MQTT. Their end is the program's end.
    pub(super) calls: mpsc::Receiver<Vec<u8>>,
}

/// The program ends.
pub(super) struct Ended;

impl<C: Cameras> Link<C> {
    /// Opens the connection whenever it is called.
    pub(super) async fn run(mut self, identity: Identity) {
        let mut pause_ms = PAUSE_MS.0;
        let mut failure_told = false;
        while let Some(call) = self.calls.recv().await {
            match tokio::time::timeout(OPEN_MAX, open(&identity, self.clock)).await {
                Ok(Ok(socket)) => {
                    tracing::info!("the media connection is open");
                    (pause_ms, failure_told) = (PAUSE_MS.0, false);
                    match self.serve(socket, &call).await {
                        Ok(reason) => tracing::info!(media.reason = reason, "the media connection is closed"),
                        Err(Ended) => return,
                    }
                }
                failure => {
                    if !std::mem::replace(&mut failure_told, true) {
                        let error = failure.map_or_else(
                            |_| "it took too long".to_owned(),
                            |opened| opened.err().map(|error| format!("{error:#}")).unwrap_or_default(),
                        );
                        tracing::warn!(
                            media.error = error,
                            media.port = identity.media_port,
                            "the media connection cannot be opened: live pictures and recordings stay here"
                        );
                    }
                }
            }
            self.clock.until(Some(self.clock.mono_ms() + pause_ms)).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
            // Old calls say nothing about now; the hub repeats them.
            while self.calls.try_recv().is_ok() {}
        }
    }

    /// Serves one connection; answers why it ended.
    pub(super) async fn serve<S>(&mut self, socket: WebSocketStream<S>, call: &[u8]) -> Result<&'static str, Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sink, mut stream) = socket.split();
        let (live, live_due) = mpsc::channel(LIVE_MAX);
        let (bulk, bulk_due) = mpsc::channel(BULK_MAX);
        let mut writer = tokio::task::spawn_local(write(sink, live_due, bulk_due, self.clock));
        let mut session = Session {
            cameras: self.cameras.clone(),
            clock: self.clock,
            keep: self.keep,
            live,
            bulk,
            streams: HashMap::new(),
            requests: HashMap::new(),
            lease_until_ms: 0,
            idle_since_ms: self.clock.mono_ms(),
        };
        session.heard(call);
        let mut silent_until_ms = self.clock.mono_ms() + SILENCE_MS_MAX;
        let ended = loop {
            tokio::select! {
                message = next(&mut stream) => match message {
                    Some(message) => {
                        silent_until_ms = self.clock.mono_ms() + SILENCE_MS_MAX;
                        session.heard(&message);
                    }
                    None => break Ok("the hub closed it, or it broke"),
                },
                // The connection stands, so a call says only that it is still wanted; leases come over it in order.
                call = self.calls.recv() => match call {
                    Some(_) => session.idle_since_ms = self.clock.mono_ms(),
                    None => break Err(Ended),
                },
                () = self.clock.until(Some(silent_until_ms)) => break Ok("the hub was silent"),
                () = self.clock.until(session.due_ms()) => {
                    if session.is_idle() {
                        break Ok("nothing is wanted any more");
                    }
                    session.end_streams();
                }
                _ = &mut writer => break Ok("nothing could be sent"),
            }
        };
        writer.abort();
        ended
    }
}

/// What is wanted on a connection.
struct Session<C> {
    cameras: C,
    clock: Clock,
    keep: Keep,
    live: mpsc::Sender<Vec<u8>>,
    bulk: mpsc::Sender<Vec<u8>>,
    streams: HashMap<u32, Task>,
    requests: HashMap<u32, (Task, Rc<Credit>)>,
    lease_until_ms: u64,
    idle_since_ms: u64,
}

/// A task that ends when it is dropped.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Task {
    fn spawn(task: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(task).abort_handle())
    }
}

impl<C: Cameras> Session<C> {
    fn heard(&mut self, message: &[u8]) {
        self.requests.retain(|_, (task, _)| !task.0.is_finished());
        match HubMessage::parse(message) {
            Ok(HubMessage::Leases(leases)) => self.leases(leases),
            Ok(HubMessage::Ask { request, body }) => self.ask(request, body),
            Ok(HubMessage::Fetch { request, camera, quality, from_ms, to_ms }) => {
                self.fetch(Fetch { request, camera: camera.to_owned(), quality, from_ms, to_ms });
            }
            Ok(HubMessage::More { request, bytes }) => {
                if let Some((_, credit)) = self.requests.get(&request) {
                    credit.more(bytes);
                }
            }
            Ok(HubMessage::Cancel { request }) => drop(self.requests.remove(&request)),
            // A newer hub says more than this gateway understands.
            Ok(HubMessage::Unknown { .. }) => {}
            Err(error) => tracing::warn!(media.error = %error, "a message of the hub's cannot be read"),
        }
        self.idle_since_ms = match self.streams.is_empty() && self.requests.is_empty() {
            true if matches!(HubMessage::parse(message), Ok(HubMessage::Leases(_))) => self.idle_since_ms,
            _ => self.clock.mono_ms(),
        };
    }

    /// Starts the streams that are new in the set, and ends those that are not in it.
    fn leases(&mut self, leases: Leases<'_>) {
        self.lease_until_ms = self.clock.mono_ms() + self.keep.lease_ms;
        self.streams.retain(|stream, _| leases.iter().any(|lease| lease.stream == *stream));
        for lease in leases.iter() {
            self.streams.entry(lease.stream).or_insert_with(|| {
                let upload = Upload {
                    stream: lease.stream,
                    camera: lease.camera.to_owned(),
                    quality: lease.quality,
                    outgoing: self.live.clone(),
                    clock: self.clock,
                };
                Task::spawn(upload.run(self.cameras.clone()))
            });
        }
    }

    fn ask(&mut self, request: u32, body: &[u8]) {
        if self.is_full(request) {
            return;
        }
        let (cameras, outgoing, body) = (self.cameras.clone(), self.live.clone(), body.to_vec());
        let task = Task::spawn(async move {
            let answer = tokio::time::timeout(ASK_MAX, cameras.ask(&body)).await;
            let answer = answer.unwrap_or_else(|_| br#"{"error":"timed_out"}"#.to_vec());
            if let Some(message) = emitted(&GatewayMessage::Answer { request, body: &answer }) {
                // The connection is gone, and the question with it.
                let _ = outgoing.send(message).await;
            }
        });
        self.requests.insert(request, (task, Rc::default()));
    }

    fn fetch(&mut self, fetch: Fetch) {
        if self.is_full(fetch.request) {
            return;
        }
        let (request, credit) = (fetch.request, Rc::<Credit>::default());
        let task = Task::spawn(fetch.run(self.cameras.clone(), credit.clone(), self.bulk.clone()));
        self.requests.insert(request, (task, credit));
    }

    /// At the bound the hub is told so.
    fn is_full(&self, request: u32) -> bool {
        let is_full = self.requests.len() >= REQUESTS_MAX;
        if is_full && let Some(message) = emitted(&GatewayMessage::End { request, reason: "too many requests" }) {
            let _ = self.live.try_send(message);
        }
        is_full
    }

    /// When to look again: the leases run out, or the connection was idle long enough.
    fn due_ms(&self) -> Option<u64> {
        if !self.streams.is_empty() {
            return Some(self.lease_until_ms);
        }
        Some(self.idle_since_ms + self.keep.idle_ms)
    }

    fn is_idle(&mut self) -> bool {
        self.requests.retain(|_, (task, _)| !task.0.is_finished());
        if !self.requests.is_empty() {
            self.idle_since_ms = self.clock.mono_ms();
        }
        self.streams.is_empty() && self.requests.is_empty()
    }

    /// The leases ran out.
    fn end_streams(&mut self) {
        if self.clock.mono_ms() >= self.lease_until_ms && !self.streams.is_empty() {
            self.streams.clear();
            self.idle_since_ms = self.clock.mono_ms();
        }
    }
}

/// The next message; `None` when there will be none.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut SplitStream<WebSocketStream<S>>) -> Option<Bytes> {
    loop {
        match stream.next().await? {
            Ok(Message::Binary(bytes)) => return Some(bytes),
            // An answer to our ping: the hub lives, and says nothing.
            Ok(Message::Pong(_)) => return Some(Bytes::from_static(&[0])),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Puts messages onto the line, live ones first, and a ping now and then. Ends when the line does.
async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut live: mpsc::Receiver<Vec<u8>>,
    mut bulk: mpsc::Receiver<Vec<u8>>,
    clock: Clock,
) {
    let mut ping_at_ms = clock.mono_ms() + PING_MS;
    loop {
        let message = tokio::select! {
            biased;
            () = clock.until(Some(ping_at_ms)) => {
                ping_at_ms = clock.mono_ms() + PING_MS;
                Message::Ping(Bytes::new())
            }
            Some(message) = live.recv() => Message::Binary(message.into()),
            Some(message) = bulk.recv() => Message::Binary(message.into()),
            else => return,
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

async fn open(identity: &Identity, clock: Clock) -> anyhow::Result<WebSocketStream<TlsStream<TcpStream>>> {
    let host = hub_host(&identity.hub_url)?;
    let stream = connect(&host, identity.media_port).await?;
    let name = ServerName::try_from(host.clone()).context("the hub's host is no name for TLS")?;
    let tls = TlsConnector::from(std::sync::Arc::new(tls::mutual(identity, clock)?));
    let stream = tls.connect(name, stream).await.context("the TLS handshake failed")?;
    let authority = if host.contains(':') { format!("[{host}]") } else { host };
    let url = format!("wss://{authority}:{}/media", identity.media_port);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(0);
    let (socket, _) = client_async_with_config(url, stream, Some(config)).await.context("the hub refuses it")?;
    Ok(socket)
}

async fn connect(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let mut last = None;
    for address in lookup_host((host, port)).await.context("the hub's name cannot be resolved")? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let error = last.map_or_else(|| anyhow::anyhow!("the hub's name has no address"), anyhow::Error::from);
    Err(error.context(format!("{host}:{port} cannot be reached")))
}

/// The host of the hub's address, without the brackets of IPv6.
fn hub_host(url: &str) -> anyhow::Result<String> {
    let uri: hyper::Uri = url.parse().with_context(|| format!("the hub's address {url} cannot be read"))?;
    let host = uri.host().with_context(|| format!("the hub's address {url} names no host"))?;
    Ok(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

/// A message as bytes; `None`, and said, when it is too long to be one.
pub(super) fn emitted(message: &GatewayMessage<'_>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; message.encoded_len()];
    match message.emit(&mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Some(buffer)
        }
        Err(error) => {
            tracing::warn!(media.error = %error, "something for the hub cannot be sent");
            None
        }
    }
}
