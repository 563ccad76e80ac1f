//! How far one stream has got: written, sent, acked; and when to send again. Pure; the [`Sender`](super::Sender) keeps one
//! per stream and decides between them.

use super::{Ack, SenderConfig};
use crate::event::StreamState;
use crate::id::{Epoch, Lane, Sequence, StreamKey};

/// How far one stream has got: `acked ≤ sent ≤ head`, and `oldest ≤ head + 1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) key: StreamKey,
    /// The lowest sequence in storage; `head + 1` if there is none.
    oldest: Sequence,
    /// The highest sequence ever written.
    head: Sequence,
    /// The receiver has committed up to here.
    acked: Sequence,
    /// Up to here everything was published on this connection, or is acked.
    sent: Sequence,
    /// Up to here the task was told that the receiver has committed.
    told: Sequence,
    /// Whether the receiver has answered on this connection.
    answered: bool,
    /// When to send again what is not acked by then. Set where something is in flight, and where a batch had no entries.
    resend_at_ms: Option<u64>,
    /// How long to wait for the next ack.
    resend_after_ms: u64,
    /// The last gap that was mended: up to where the receiver had committed, and when we went back.
    rewound: Option<(Sequence, u64)>,
}

impl Progress {
    /// Fills the places of the table in which no stream is.
    pub(super) const NONE: Self = Self {
        key: StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(0) },
        oldest: 1,
        head: 0,
        acked: 0,
        sent: 0,
        told: 0,
        answered: false,
        resend_at_ms: None,
        resend_after_ms: 0,
        rewound: None,
    };

    pub(super) fn new(state: StreamState, acked: Sequence, config: &SenderConfig) -> Self {
        let acked = acked.min(state.head);
        Self {
            key: state.key,
            oldest: state.oldest.min(state.head.saturating_add(1)),
            head: state.head,
            acked,
            sent: acked,
            told: acked,
            resend_after_ms: config.resend_ms_min,
            ..Self::NONE
        }
    }

    pub(super) fn state(&self) -> StreamState {
        StreamState { key: self.key, oldest: self.oldest, head: self.head }
    }

    pub(super) fn is_acked(&self) -> bool {
        self.acked == self.head
    }

    /// How many entries were published and are not acked.
    pub(super) fn in_flight(&self) -> u64 {
        self.sent - self.acked
    }

    pub(super) fn resend_at_ms(&self) -> Option<u64> {
        self.resend_at_ms
    }

    /// Where the next batch begins, if one is due. Beyond the head, it is one without entries, which says `oldest` and `head`:
    /// because everything that is not acked was trimmed, or because the receiver has not answered on this connection.
    pub(super) fn next(&self) -> Option<Sequence> {
        let rests = self.in_flight() == 0;
        if rests && self.resend_at_ms.is_some() {
            return None;
        }
        let is_due = self.sent < self.head || (rests && !self.answered && self.head > 0);
        is_due.then(|| self.oldest.max(self.sent + 1))
    }

    /// What the task has to be told as committed, once.
    pub(super) fn tell(&mut self) -> Option<Sequence> {
        let news = self.told < self.acked;
        self.told = self.acked;
        news.then_some(self.acked)
    }

    pub(super) fn append(&mut self, head: Sequence) {
        if head <= self.head {
            return;
        }
        if self.sent == self.head && self.in_flight() == 0 {
            // What waited was an announcement; an entry does not wait.
            self.resend_at_ms = None;
        }
        self.head = head;
    }

    pub(super) fn trim(&mut self, oldest: Sequence) {
        self.oldest = self.oldest.max(oldest).min(self.head + 1);
    }

    pub(super) fn connect(&mut self, config: &SenderConfig) {
        self.resend_after_ms = config.resend_ms_min;
        self.rewound = None;
        self.answered = false;
        self.go_back();
    }

    pub(super) fn disconnect(&mut self) {
        self.resend_at_ms = None;
    }

    /// The task has published from `from` up to `through`; `from - 1` for a batch without entries, or for none at all.
    /// `was_beyond_head` says that there was no entry to publish when the task was asked.
    pub(super) fn send(&mut self, now_ms: u64, from: Sequence, through: Sequence, was_beyond_head: bool) {
        if from > self.oldest.max(self.sent + 1) {
            // The stream went back in the meantime: this counts for nothing.
            return;
        }
        self.sent = self.sent.max(through.max(from - 1)).min(self.head);
        let could_not_publish = through < from && !was_beyond_head;
        let has_announced = was_beyond_head && self.sent == self.head;
        if self.in_flight() > 0 || could_not_publish || has_announced {
            self.resend_at_ms.get_or_insert(now_ms.saturating_add(self.resend_after_ms));
        }
    }

    pub(super) fn ack(&mut self, now_ms: u64, ack: &Ack, config: &SenderConfig) {
        // A receiver that is ahead of us has seen entries which our disk forgot: there is nothing more to send it.
        let committed = ack.committed.min(self.head);
        if committed > self.acked {
            self.acked = committed;
            self.sent = self.sent.max(committed);
            self.resend_after_ms = config.resend_ms_min;
            self.resend_at_ms = Some(now_ms.saturating_add(self.resend_after_ms));
        }
        self.answered = true;
        if self.in_flight() == 0 {
            self.resend_at_ms = None;
        }
        let just_mended = self.rewound.is_some_and(|(sequence, at_ms)| {
            sequence == committed && now_ms < at_ms.saturating_add(config.rewind_pause_ms)
        });
        if ack.gap && committed < self.sent && !just_mended {
            self.rewound = Some((committed, now_ms));
            self.acked = committed;
            self.told = self.told.min(committed);
            self.go_back();
        }
    }

    /// Goes back to what is acked if it is time, and has more patience from then on.
    pub(super) fn expire(&mut self, now_ms: u64, config: &SenderConfig) {
        if self.resend_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.resend_after_ms = self.resend_after_ms.saturating_mul(2).min(config.resend_ms_max);
            self.go_back();
        }
    }

    fn go_back(&mut self) {
        self.sent = self.acked;
        self.resend_at_ms = None;
    }
}
