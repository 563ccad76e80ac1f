//! What the broker counts, so that nothing is dropped or refused in silence.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A count that only rises.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything counted, shared by the parts of one broker.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connects: Count,
    pub(super) connects_refused: Count,
    pub(super) received: Count,
    pub(super) received_dropped: Count,
    pub(super) received_denied: Count,
    pub(super) subscriptions_denied: Count,
    pub(super) sent: Count,
    pub(super) sent_dropped: Count,
    /// Sites on line now.
    pub(super) online: AtomicUsize,
    /// Messages that wait for the link.
    pub(super) waiting: AtomicUsize,
    /// Their payload bytes.
    pub(super) waiting_bytes: AtomicUsize,
}

/// A broker's counts since it was started, and its gauges now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerStats {
    /// Sites on line now. With an external broker: sites whose retained state says so while the broker is reachable.
    pub online: usize,
    /// Gateways' connections accepted (embedded), or connections made to the external broker.
    pub connects: u64,
    /// CONNECTs refused (embedded; a handshake that failed in TLS is not among them), or attempts that failed (external).
    pub connects_refused: u64,
    /// Messages taken from gateways.
    pub received: u64,
    /// Messages from gateways dropped because a bound was reached; their gateways send them again.
    pub received_dropped: u64,
    /// Messages from gateways dropped because they were not allowed: foreign topic, retained elsewhere than on `state`,
    /// QoS 2, too large, or after revocation.
    pub received_denied: u64,
    /// Subscriptions refused (embedded only).
    pub subscriptions_denied: u64,
    /// Messages handed over for gateways.
    pub sent: u64,
    /// Messages for gateways not handed over: the gateway was away, or its bound was reached.
    pub sent_dropped: u64,
    /// Messages that wait for the link now.
    pub waiting: usize,
    /// Their payload bytes.
    pub waiting_bytes: usize,
}

impl Counters {
    pub(super) fn read(&self) -> BrokerStats {
        BrokerStats {
            online: self.online.load(Ordering::Relaxed),
            connects: self.connects.read(),
            connects_refused: self.connects_refused.read(),
            received: self.received.read(),
            received_dropped: self.received_dropped.read(),
            received_denied: self.received_denied.read(),
            subscriptions_denied: self.subscriptions_denied.read(),
            sent: self.sent.read(),
            sent_dropped: self.sent_dropped.read(),
            waiting: self.waiting.load(Ordering::Relaxed),
            waiting_bytes: self.waiting_bytes.load(Ordering::Relaxed),
        }
    }
}
