//! What the hub sends: judged by the pure [`Receiver`], committed with its watermark, then acknowledged, whatever it is: nothing
//! blocks a lane. What it means is the concern of [`crate::order`].

use tongluo_protocols::id::StreamKey;
use tongluo_protocols::link::{Ack, BatchView, Receiver, STREAMS_MAX};

use crate::journal::{Entry, Journal, Received};

/// The hub's streams, as far as this run has seen them. The watermarks' home is the journal.
#[derive(Default)]
pub(super) struct Down {
    receivers: Vec<(StreamKey, Receiver)>,
}

impl Down {
    /// Takes a batch in. Answers with the acknowledgement once it is on disk, and with the entries that are new; `None` if there
    /// is nothing to acknowledge.
    pub(super) async fn take(&mut self, journal: &Journal, payload: &[u8]) -> Option<(Ack, Vec<Entry>)> {
        let batch = match BatchView::parse(payload) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(down.error = %error, down.bytes = payload.len(), "a batch from the hub cannot be read");
                return None;
            }
        };
        let key = batch.key();
        let mut receiver = self.receiver(journal, key).await?;
        let offer = receiver.offer(batch.extent());
        let mut new = Vec::new();
        if !offer.is_settled() {
            let entries: Vec<Entry> = batch.entries().skip(offer.skip).take(offer.take).map(entry).collect();
            let received = Received {
                key,
                committed_after: offer.committed_after,
                lost: offer.lost.map(|lost| (lost.from, lost.to)),
                entries: entries.clone(),
            };
            if !journal.receive(received).await {
                return None;
            }
            new = entries;
        }
        receiver.commit(&offer);
        if let Some((_, known)) = self.receivers.iter_mut().find(|(of, _)| *of == key) {
            *known = receiver;
        }
        Some((offer.ack(key), new))
    }

    async fn receiver(&mut self, journal: &Journal, key: StreamKey) -> Option<Receiver> {
        if let Some((_, receiver)) = self.receivers.iter().find(|(of, _)| *of == key) {
            return Some(*receiver);
        }
        let receiver = Receiver::at(journal.watermark(key).await?);
        if self.receivers.len() == STREAMS_MAX {
            self.receivers.remove(0);
        }
        self.receivers.push((key, receiver));
        Some(receiver)
    }
}

fn entry(view: tongluo_protocols::link::EntryView<'_>) -> Entry {
    Entry {
        sequence: view.sequence,
        boot_id: view.boot_id,
        wall_ms: view.wall_ms,
        mono_ms: view.mono_ms,
        kind: view.kind,
        body: view.body.to_vec(),
    }
}
