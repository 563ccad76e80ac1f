//! Sounds for the village's loudspeakers, over plain HTTP in the village's own network.
//!
//! A loudspeaker fetches what it is told to play from `http://<gateway>:<port>/sound/<sha256>` and compares the hash; so nothing
//! here needs to be secret, and nobody who answers in our place can make it play anything else. Only files whose name is
//! their hash are served; nothing else of the disk can be named.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, combinators::BoxBody};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

use crate::clock::Clock;

/// What the path of every sound begins with.
const PATH_PREFIX: &str = "/sound/";
/// Loudspeakers that fetch at a time. The others wait in the listener's queue; a sound takes a second.
const CONNECTIONS_MAX: usize = 16;
/// Pause after a connection that could not be accepted.
const ACCEPT_AGAIN_MS: u64 = 200;
/// Read and sent at once.
const PIECE_BYTES: usize = 32 * 1024;
/// How long a loudspeaker may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one connection may last: ten minutes of sound over a weak radio.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// The server and the address under which loudspeakers find it.
pub(super) struct SoundServer {
    listener: TcpListener,
    folder: PathBuf,
    clock: Clock,
}

impl SoundServer {
    /// Listens. `folder` holds sounds under their SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(super) async fn listen(address: SocketAddr, folder: PathBuf, clock: Clock) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, folder, clock })
    }

    /// The port that it listens on.
    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |address| address.port())
    }

    /// Serves for as long as it is polled.
    pub(super) async fn run(self) {
        let folder: Rc<PathBuf> = Rc::new(self.folder);
        let seats = Rc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let (stream, seat) = match accept(&self.listener, &seats).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(speaker.error = %error, "a loudspeaker's connection could not be accepted");
                    // Too many open files pass; accepting at full speed meanwhile would help nobody.
                    self.clock.until(Some(self.clock.mono_ms() + ACCEPT_AGAIN_MS)).await;
                    continue;
                }
            };
            let folder = folder.clone();
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| answer(request, folder.clone()));
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
                // A loudspeaker that goes away in the middle asks again.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, http.serve_connection(TokioIo::new(stream), service))
                    .await;
                drop(seat);
            });
        }
    }
}

async fn accept(
    listener: &TcpListener,
    seats: &Rc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, impl Drop + use<>)> {
    let seat = Seat::take(seats.clone()).await;
    let (stream, _) = listener.accept().await?;
    Ok((stream, seat))
}

/// A place among the connections, given back when dropped.
struct Seat(Rc<Semaphore>);

impl Seat {
    async fn take(seats: Rc<Semaphore>) -> Self {
        seats.acquire().await.expect("the seats are never closed").forget();
        Self(seats)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

type Sound = BoxBody<Bytes, std::io::Error>;

async fn answer(request: Request<hyper::body::Incoming>, folder: Rc<PathBuf>) -> Result<Response<Sound>, Infallible> {
    if request.method() != Method::GET {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED));
    }
    let Some(hash) = request.uri().path().strip_prefix(PATH_PREFIX).filter(|hash| is_hash(hash)) else {
        return Ok(plain(StatusCode::NOT_FOUND));
    };
    let opened = File::open(folder.join(hash)).and_then(|file| file.metadata().map(|facts| (facts.len(), file)));
    let Ok((bytes, file)) = opened else { return Ok(plain(StatusCode::NOT_FOUND)) };
    let mut response = Response::new(BoxBody::new(Pieces { file, rest: bytes }));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("audio/wav"));
    Ok(response)
}

/// A file piece by piece, so that a village's worth of loudspeakers that fetch at once takes little memory. The disk is waited
/// for: this thread does nothing but sound.
struct Pieces {
    file: File,
    rest: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.rest == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(self.rest).unwrap_or(PIECE_BYTES))];
        if let Err(error) = self.file.read_exact(&mut piece) {
            return Poll::Ready(Some(Err(error)));
        }
        self.rest -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}

fn plain(status: StatusCode) -> Response<Sound> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

/// Whether a text is a SHA-256 in lower-case hexadecimal, and so no path.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Our address in the network in which `host` is: what a loudspeaker there can reach.
pub(super) async fn own_address(host: &str, port: u16) -> std::io::Result<IpAddr> {
    // Connecting a datagram socket sends nothing; it only chooses the way.
    let any = if host.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect((host, port)).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::LocalSet;

    use super::*;
    use crate::testing::TempDir;

    async fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn only_sounds_are_served() {
        let dir = TempDir::new("sounds");
        let hash = "ab".repeat(32);
        std::fs::write(dir.path().join(&hash), b"RIFF").unwrap();
        std::fs::write(dir.path().join("identity.json"), b"secret").unwrap();
        let server =
            SoundServer::listen("127.0.0.1:0".parse().unwrap(), dir.path().to_owned(), Clock::start()).await.unwrap();
        let port = server.port();
        LocalSet::new()
            .run_until(async move {
                let serving = tokio::task::spawn_local(server.run());
                let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
                let found = ask(port, &get(&format!("/sound/{hash}"))).await;
                assert!(found.starts_with("HTTP/1.1 200") && found.ends_with("RIFF"), "{found}");
                for path in
                    ["/sound/identity.json", "/sound/../identity.json", "/", &format!("/sound/{}", "cd".repeat(32))]
                {
                    assert!(ask(port, &get(path)).await.starts_with("HTTP/1.1 404"), "{path}");
                }
                let posted = ask(port, &format!("POST /sound/{hash} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
                assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
                // Garbage gets no sound, and the next one is served all the same.
                assert!(!ask(port, "\x16\x03\x01 nonsense\r\n\r\n").await.contains("RIFF"));
                assert!(ask(port, &get(&format!("/sound/{hash}"))).await.starts_with("HTTP/1.1 200"));
                serving.abort();
            })
            .await;
    }

    #[tokio::test]
    async fn the_own_address_is_the_one_in_the_others_network() {
        assert_eq!(own_address("127.0.0.1", 1883).await.unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}
