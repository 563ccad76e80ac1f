//! Many viewers of one camera, without a screen: each takes the pictures that the hub sends it and counts them.
//!
//! A browser for each would cost this machine more than the hub does, which is what is to be seen here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tongluo_tests::api::Api;

/// A picture and a clock text fit several times.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kind of WebSocket frame that carries pictures (RFC 6455, section 5.2).
const BINARY: u8 = 2;

/// Viewers on a thread of their own, which hang up when this is dropped.
pub(crate) struct Viewers {
    pictures: Arc<[AtomicU64]>,
    _leave: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Viewers {
    /// Lets so many open the path of a live picture, and waits until each has its connection.
    ///
    /// # Errors
    /// One of them is refused.
    pub(crate) async fn gather(url: String, login: (&str, &str), path: &str, count: usize) -> Result<Self> {
        let pictures: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
        let ((leave, left), (come, came)) = (oneshot::channel(), oneshot::channel());
        let (username, password) = (login.0.to_owned(), login.1.to_owned());
        let (path, counts) = (path.to_owned(), Arc::clone(&pictures));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                match open(&url, &username, &password, &path, &counts).await {
                    Ok(_viewers) => {
                        let _ = come.send(Ok(()));
                        // Gone is gone, whether it was said or not.
                        let _ = left.await;
                    }
                    Err(error) => drop(come.send(Err(error))),
                }
            });
        });
        came.await.context("the viewers' thread ended")??;
        Ok(Self { pictures, _leave: leave, _thread: thread })
    }

    /// How many pictures each was sent until now.
    pub(crate) fn pictures(&self) -> Vec<u64> {
        self.pictures.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

async fn open(
    url: &str,
    username: &str,
    password: &str,
    path: &str,
    pictures: &Arc<[AtomicU64]>,
) -> Result<JoinSet<Result<()>>> {
    let api = Api::log_in(url, username, password).await?;
    let mut viewers = JoinSet::new();
    for viewer in 0..pictures.len() {
        let socket = BufReader::with_capacity(BUFFER_BYTES, api.web_socket_open(path).await?);
        viewers.spawn(count(socket, Arc::clone(pictures), viewer));
    }
    Ok(viewers)
}

/// Reads one viewer's socket until it ends.
async fn count(mut socket: impl tokio::io::AsyncRead + Unpin, pictures: Arc<[AtomicU64]>, viewer: usize) -> Result<()> {
    let mut payload = vec![0; BUFFER_BYTES];
    loop {
        let kind = socket.read_u8().await? & 0x0f;
        let mut rest = match socket.read_u8().await? & 0x7f {
            126 => usize::from(socket.read_u16().await?),
            127 => usize::try_from(socket.read_u64().await?)?,
            short => usize::from(short),
        };
        while rest > 0 {
            let length = rest.min(payload.len());
            socket.read_exact(&mut payload[..length]).await?;
            rest -= length;
        }
        if kind == BINARY {
            pictures[viewer].fetch_add(1, Ordering::Relaxed);
        }
    }
}
