//! What was asked of a gateway and is not answered yet: questions with one answer, and recordings that come in pieces as
//! far as credit reaches.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::relay::{Relay, RelayError};
use crate::ids::SiteId;

/// Pieces of a recording that wait for who asked. Their bytes are bounded by credit, their number by this.
const ITEMS_MAX: usize = 256;

/// The most credit of one fetch at once.
pub const CREDIT_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// A piece may be longer than the credit that is left: the last one is sent whole. More than that is a gateway that does
/// not count.
const OVERDRAFT_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// One piece of what [`Relay::fetch`] asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// A recording begins, or changes its form.
    Init {
        /// As RFC 6381 names it.
        codec: String,
        /// `ftyp` and `moov`.
        data: Bytes,
    },
    /// Some pictures.
    Fragment {
        /// When they begin, UTC milliseconds of the gateway's clock.
        wall_ms: i64,
        /// How long they last.
        duration_ms: u32,
        /// `moof` and `mdat`; decode times count from 60 s before the fetch's `from_ms`.
        data: Bytes,
    },
    /// Nothing was recorded in this time.
    Gap {
        /// From, UTC milliseconds.
        from_ms: i64,
        /// To, UTC milliseconds.
        to_ms: i64,
    },
    /// Nothing more comes.
    End {
        /// Why; empty if all was sent.
        reason: String,
    },
}

impl FetchItem {
    fn bytes(&self) -> i64 {
        match self {
            Self::Init { data, .. } | Self::Fragment { data, .. } => data.len() as i64,
            Self::Gap { .. } | Self::End { .. } => 0,
        }
    }
}

/// Something a gateway was asked.
#[derive(Debug)]
pub(super) struct Request {
    /// The question itself, while there is no connection to send it on.
    pub(super) waiting: Option<Bytes>,
    /// Credit that was given meanwhile.
    pub(super) credit_waiting: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Ask(oneshot::Sender<Result<Bytes, RelayError>>),
    Fetch { items: mpsc::Sender<FetchItem>, credit: Arc<AtomicI64> },
}

impl Request {
    pub(super) fn ask() -> (Self, oneshot::Receiver<Result<Bytes, RelayError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { waiting: None, credit_waiting: 0, kind: Kind::Ask(sender) }, receiver)
    }

    pub(super) fn fetch() -> (Self, mpsc::Receiver<FetchItem>, Arc<AtomicI64>) {
        let (items, receiver) = mpsc::channel(ITEMS_MAX);
        let credit = Arc::new(AtomicI64::new(0));
        let kind = Kind::Fetch { items, credit: Arc::clone(&credit) };
        (Self { waiting: None, credit_waiting: 0, kind }, receiver, credit)
    }

    pub(super) fn waiting(self, message: Bytes) -> Self {
        Self { waiting: Some(message), ..self }
    }

    /// The end of a question, or of a fetch that cannot be.
    pub(super) fn answer(self, answer: Result<Bytes, RelayError>) {
        match self.kind {
            // Nobody waits any more: fine.
            Kind::Ask(sender) => drop(sender.send(answer)),
            Kind::Fetch { items, .. } => {
                let reason = answer.err().map_or("not_understood", RelayError::code).to_owned();
                let _ = items.try_send(FetchItem::End { reason });
            }
        }
    }

    /// The next piece of a fetch.
    pub(super) fn item(&mut self, item: FetchItem) -> Result<(), &'static str> {
        let Kind::Fetch { items, credit } = &self.kind else { return Err("pieces for a question") };
        let bytes = item.bytes();
        if credit.fetch_sub(bytes, Ordering::Relaxed) - bytes < -OVERDRAFT_BYTES_MAX {
            return Err("more than its credit");
        }
        items.try_send(item).map_err(|_| "too many pieces, or nobody who takes them")
    }
}

/// Cancels the request when it is dropped.
#[derive(Debug)]
pub(super) struct Answered {
    relay: Relay,
    site: SiteId,
    number: u32,
}

impl Answered {
    pub(super) fn new(relay: Relay, site: SiteId, number: u32) -> Self {
        Self { relay, site, number }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.relay.close(&self.site, self.number);
    }
}

/// A recording on its way. Dropping it cancels the rest.
#[derive(Debug)]
pub struct Fetching {
    request: Answered,
    items: mpsc::Receiver<FetchItem>,
    credit: Arc<AtomicI64>,
}

impl Fetching {
    pub(super) fn new(request: Answered, items: mpsc::Receiver<FetchItem>, credit: Arc<AtomicI64>) -> Self {
        Self { request, items, credit }
    }

    /// So many more bytes may come. Credit beyond [`CREDIT_BYTES_MAX`] is not given.
    pub fn more(&self, bytes: u32) {
        let credit = self.credit.load(Ordering::Relaxed);
        let room = i64::from(CREDIT_BYTES_MAX) - credit;
        let bytes = i64::from(bytes).min(room);
        if let Ok(bytes @ 1..) = u32::try_from(bytes) {
            self.credit.fetch_add(i64::from(bytes), Ordering::Relaxed);
            self.request.relay.more(&self.request.site, self.request.number, bytes);
        }
    }

    /// Whether the gateway owes something.
    pub fn has_credit(&self) -> bool {
        self.credit.load(Ordering::Relaxed) > 0
    }

    /// The next piece. `None`: the connection broke before [`FetchItem::End`].
    pub async fn next(&mut self) -> Option<FetchItem> {
        self.items.recv().await
    }
}
