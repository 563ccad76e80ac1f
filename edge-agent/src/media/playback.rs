//! A span of a recording on its way up, as far as who asked for it can take it.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::{Notify, mpsc};
use tongluo_protocols::media::mp4::retime;
use tongluo_protocols::media::{FETCH_LEAD_MS, GatewayMessage, Quality};

use super::link::emitted;
use super::source::{Cameras, Piece};

/// How much may be sent for a fetch. A piece is sent whole once there is any credit; the debt is paid first.
#[derive(Debug, Default)]
pub(super) struct Credit {
    bytes: Cell<i64>,
    grew: Notify,
}

impl Credit {
    /// So many more bytes may be sent.
    pub(super) fn more(&self, bytes: u32) {
        self.bytes.set(self.bytes.get().saturating_add(i64::from(bytes)));
        self.grew.notify_one();
    }

    async fn spend(&self, bytes: usize) {
        while self.bytes.get() <= 0 {
            self.grew.notified().await;
        }
        self.bytes.set(self.bytes.get() - bytes as i64);
    }
}

/// What the hub wants.
pub(super) struct Fetch {
    pub(super) request: u32,
    pub(super) camera: String,
    pub(super) quality: Quality,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

impl Fetch {
    /// Sends it, and an end that says how it went.
    pub(super) async fn run(self, cameras: impl Cameras, credit: Rc<Credit>, outgoing: mpsc::Sender<Vec<u8>>) {
        let reason = match cameras.read(&self.camera, self.quality, self.from_ms, self.to_ms).await {
            Ok(pieces) => self.pass_on(pieces, &credit, &outgoing).await,
            Err(reason) => reason,
        };
        let reason = &reason[..reason.floor_char_boundary(tongluo_protocols::media::REASON_BYTES_MAX)];
        if let Some(end) = emitted(&GatewayMessage::End { request: self.request, reason }) {
            // The connection is gone, and the fetch with it.
            let _ = outgoing.send(end).await;
        }
    }

    /// Answers why it ended; empty when all was sent.
    async fn pass_on(
        &self,
        mut pieces: mpsc::Receiver<Piece>,
        credit: &Credit,
        outgoing: &mpsc::Sender<Vec<u8>>,
    ) -> String {
        while let Some(piece) = pieces.recv().await {
            let Some(message) = self.message(piece) else { return "a piece of the recording is too large".to_owned() };
            credit.spend(message.len()).await;
            if outgoing.send(message).await.is_err() {
                return "the connection ended".to_owned();
            }
        }
        String::new()
    }

    fn message(&self, piece: Piece) -> Option<Vec<u8>> {
        let request = self.request;
        match piece {
            Piece::Init { rfc6381, data } => emitted(&GatewayMessage::Init { request, rfc6381: &rfc6381, data: &data }),
            Piece::Fragment { wall_ms, duration_ms, mut data } => {
                let since = wall_ms.saturating_sub(self.from_ms).saturating_add(FETCH_LEAD_MS);
                let decode_90k = u64::try_from(since).unwrap_or(0).saturating_mul(90);
                retime(&mut data, decode_90k).ok()?;
                emitted(&GatewayMessage::Fragment { request, wall_ms, duration_ms, data: &data })
            }
            Piece::Gap { from_ms, to_ms } => emitted(&GatewayMessage::Gap { request, from_ms, to_ms }),
        }
    }
}
