//! Files between this gateway and its hub, by the hash of their bytes, over a connection of their own.
//!
//! An upload goes on where it broke: before it sends, the gateway asks how much the hub holds. Sending is paced, so that a
//! clip never stands in the way of a press on the same line.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited, combinators::BoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_LENGTH, HOST, RANGE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tongluo_protocols::content::{ContentHash, MediaType, UPLOAD_OFFSET};

use crate::clock::Clock;
use crate::fleet::{Identity, tls};

/// How long connecting may take, on a slow mobile line.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A line on which nothing moves for this long is given up; what has arrived is kept.
const STALL_MS: u64 = 30_000;
/// Sent at most, so that half of a usual mobile uplink of 8 Mbit/s stays free for presses.
const RATE_BYTES_PER_S: u64 = 512 * 1024;
/// Sent at once: a press waits behind one of these at most, 16 ms on such a line.
const CHUNK_BYTES: usize = 16 * 1024;
/// A problem document.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;
/// The hub may hold another part than it said, when an earlier connection still delivered; more often is an error.
const OFFSETS_MAX: usize = 3;

/// Why a file did not get across.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// No connection, or it broke. Worth another try, which goes on from there.
    #[error("the hub cannot be reached: {0}")]
    Unreachable(String),
    /// The hub said no.
    #[error("the hub refused it with {status} {code}: {detail}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The problem's stable name; empty if there was none.
        code: String,
        /// A sentence.
        detail: String,
        /// When another try makes sense, in seconds.
        retry_after_s: Option<u64>,
    },
    /// This gateway's disk.
    #[error("the file cannot be read or written: {0}")]
    File(#[from] std::io::Error),
}

impl From<hyper::Error> for TransferError {
    fn from(error: hyper::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
}

type Sender = SendRequest<BoxBody<Bytes, std::io::Error>>;

/// The hub, as this gateway's files reach it.
#[derive(Clone)]
pub(crate) struct HubClient {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    connector: TlsConnector,
    clock: Clock,
}

impl HubClient {
    /// Prepares connections with this gateway's certificate.
    ///
    /// # Errors
    /// When the identity is of no use.
    pub(crate) fn new(identity: &Identity, clock: Clock) -> anyhow::Result<Self> {
        use anyhow::Context as _;

        let uri: Uri = identity.hub_url.parse().context("the hub's address cannot be read")?;
        let host = uri.host().context("the hub's address names no host")?.trim_matches(['[', ']']).to_owned();
        let server_name = ServerName::try_from(host.clone()).context("the hub's address names no host")?;
        let connector = TlsConnector::from(Arc::new(tls::mutual(identity, clock)?));
        Ok(Self { host, port: identity.media_port, server_name, connector, clock })
    }

    /// Brings a file to the hub, from where an earlier try broke off. Returns once the hub has it whole, checked and on disk.
    pub(crate) async fn put(
        &self,
        path: &Path,
        hash: &ContentHash,
        bytes: u64,
        media_type: MediaType,
    ) -> Result<(), TransferError> {
        let (mut sender, _line) = self.connect().await?;
        let mut held = self.held(&mut sender, hash).await?;
        for _ in 0..OFFSETS_MAX {
            if held == bytes {
                return Ok(());
            }
            let response = self.send_from(&mut sender, path, hash, (held, bytes), media_type).await?;
            match response.status() {
                StatusCode::OK | StatusCode::CREATED => return Ok(()),
                StatusCode::ACCEPTED => return Err(TransferError::Unreachable("it took a part only".to_owned())),
                StatusCode::CONFLICT => held = offset(&response)?,
                _ => return Err(refusal(response).await),
            }
            response.into_body().collect().await?;
            sender.ready().await?;
        }
        Err(TransferError::Unreachable("it does not say from where to go on".to_owned()))
    }

    /// Brings a file from the hub, from where an earlier try broke off: `path` holds what has arrived. Returns once it has as many
    /// bytes as it should; whether they are the right ones is for the caller to check.
    pub(crate) async fn get(&self, path: &Path, hash: &ContentHash, bytes: u64) -> Result<(), TransferError> {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        let mut held = file.metadata()?.len();
        if held > bytes {
            file.set_len(0)?;
            held = 0;
        }
        if held == bytes {
            return Ok(());
        }
        let (mut sender, _line) = self.connect().await?;
        let request = self.request(Method::GET, &format!("/content/{hash}")).header(RANGE, format!("bytes={held}-"));
        let response = self.answered(sender.send_request(built(request, empty()))).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => {
                file.set_len(0)?;
                held = 0;
            }
            _ => return Err(refusal(response).await),
        }
        let mut body = response.into_body();
        while let Some(frame) = self.in_time(body.frame()).await? {
            let Ok(data) = frame?.into_data() else { continue };
            held += data.len() as u64;
            if held > bytes {
                return Err(TransferError::Unreachable("it sends more than it should".to_owned()));
            }
            file.write_all(&data)?;
        }
        file.sync_data()?;
        let whole = held == bytes;
        whole.then_some(()).ok_or_else(|| TransferError::Unreachable("it broke off".to_owned()))
    }

    async fn held(&self, sender: &mut Sender, hash: &ContentHash) -> Result<u64, TransferError> {
        let request = self.request(Method::HEAD, &format!("/content/{hash}"));
        let response = self.answered(sender.send_request(built(request, empty()))).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let held = offset(&response)?;
        sender.ready().await?;
        Ok(held)
    }

    async fn send_from(
        &self,
        sender: &mut Sender,
        path: &Path,
        hash: &ContentHash,
        (held, bytes): (u64, u64),
        media_type: MediaType,
    ) -> Result<Response<Incoming>, TransferError> {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(held))?;
        let moved = Arc::new(AtomicU64::new(self.clock.mono_ms()));
        let body = Paced { file, rest: bytes - held, clock: self.clock, moved: moved.clone(), pause: None };
        let uri = format!("/content/{hash}?bytes={bytes}&media_type={}", media_type.name());
        let request = self.request(Method::PUT, &uri).header(UPLOAD_OFFSET, held).header(CONTENT_LENGTH, bytes - held);
        let sending = sender.send_request(built(request, BoxBody::new(body)));
        tokio::select! {
            response = sending => Ok(response?),
            () = self.stalled(&moved) => Err(TransferError::Unreachable("nothing moves on the line".to_owned())),
        }
    }

    /// Ends once nothing has moved for long.
    async fn stalled(&self, moved: &AtomicU64) {
        loop {
            let deadline_ms = moved.load(Ordering::Relaxed) + STALL_MS;
            if self.clock.mono_ms() >= deadline_ms {
                return;
            }
            self.clock.until(Some(deadline_ms)).await;
        }
    }

    async fn connect(&self) -> Result<(Sender, Line), TransferError> {
        let unreachable = |error: std::io::Error| TransferError::Unreachable(error.to_string());
        let connecting = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
            let tls = self.connector.connect(self.server_name.clone(), tcp).await.map_err(unreachable)?;
            let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
            Ok((sender, Line(tokio::spawn(connection).abort_handle())))
        };
        let late = |_| TransferError::Unreachable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)?
    }

    fn request(&self, method: Method, uri: &str) -> hyper::http::request::Builder {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        Request::builder().method(method).uri(uri).header(HOST, format!("{host}:{}", self.port))
    }

    async fn answered(
        &self,
        response: impl Future<Output = hyper::Result<Response<Incoming>>>,
    ) -> Result<Response<Incoming>, TransferError> {
        Ok(self.in_time(response).await??)
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, TransferError> {
        let late = |_| TransferError::Unreachable("nothing moves on the line".to_owned());
        tokio::time::timeout(Duration::from_millis(STALL_MS), work).await.map_err(late)
    }
}

/// An open connection; dropping it closes it.
struct Line(tokio::task::AbortHandle);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A file from a position on, as fast as is good for the others on the line.
struct Paced {
    file: std::fs::File,
    rest: u64,
    clock: Clock,
    /// When the last chunk was taken, on the monotonic clock.
    moved: Arc<AtomicU64>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.rest == 0 {
            return Poll::Ready(None);
        }
        let length = CHUNK_BYTES.min(usize::try_from(self.rest).unwrap_or(CHUNK_BYTES));
        let mut chunk = vec![0; length];
        if let Err(error) = self.file.read_exact(&mut chunk) {
            return Poll::Ready(Some(Err(error)));
        }
        self.rest -= length as u64;
        let (clock, now_ms) = (self.clock, self.clock.mono_ms());
        self.moved.store(now_ms, Ordering::Relaxed);
        let next_ms = now_ms + length as u64 * 1_000 / RATE_BYTES_PER_S;
        self.pause = Some(Box::pin(async move { clock.until(Some(next_ms)).await }));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}

fn empty() -> BoxBody<Bytes, std::io::Error> {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn built(
    request: hyper::http::request::Builder,
    body: BoxBody<Bytes, std::io::Error>,
) -> Request<BoxBody<Bytes, std::io::Error>> {
    request.body(body).expect("hashes, numbers and a host that parsed make a good request")
}

fn offset(response: &Response<Incoming>) -> Result<u64, TransferError> {
    let offset = response.headers().get(UPLOAD_OFFSET).and_then(|offset| offset.to_str().ok()?.parse().ok());
    offset.ok_or_else(|| TransferError::Unreachable("it does not say how much it holds".to_owned()))
}

async fn refusal(response: Response<Incoming>) -> TransferError {
    let status = response.status();
    let retry_after_s = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), PROBLEM_BYTES_MAX).collect().await;
    let problem: Problem = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok()).unwrap_or_default();
    if status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE {
        return TransferError::Unreachable(format!("it answers {status} {}", problem.detail));
    }
    TransferError::Refused { status, code: problem.code, detail: problem.detail, retry_after_s }
}
