//! Keeps the sender machine in step with the journal's shelf: which streams there are, how far they reach.
//!
//! Works by comparing: whatever happened in the journal between two looks comes out as the inputs that the machine knows.

use tongluo_protocols::event::StreamState;
use tongluo_protocols::link::{Sender, SenderInput};

use crate::journal::Stream;

/// What the machine has been told of the journal's streams.
#[derive(Default)]
pub(super) struct Following {
    known: Vec<Stream>,
}

impl Following {
    /// Tells the machine what has changed.
    pub(super) fn update(&mut self, sender: &mut Sender, now_ms: u64, streams: &[Stream]) {
        // A full table drops streams by itself; they are restored like those of an earlier life.
        self.known.retain(|known| sender.streams().any(|state| state.key == known.key));
        self.known.retain(|known| {
            let stays = streams.iter().any(|stream| stream.key == known.key);
            if !stays {
                sender.handle(now_ms, SenderInput::Forgotten { key: known.key });
            }
            stays
        });
        let mut waiting = Vec::new();
        for stream in streams {
            let key = stream.key;
            match self.known.iter_mut().find(|known| known.key == key) {
                Some(known) => {
                    if stream.head > known.head {
                        sender.handle(now_ms, SenderInput::Appended { key, head: stream.head });
                    }
                    if stream.oldest > known.oldest {
                        sender.handle(now_ms, SenderInput::Trimmed { key, oldest: stream.oldest });
                    }
                    *known = *stream;
                }
                // The machine keeps room for the streams of the present life.
                None if stream.present && stream.acked == 0 => {
                    sender.handle(now_ms, SenderInput::Appended { key, head: stream.head });
                    sender.handle(now_ms, SenderInput::Trimmed { key, oldest: stream.oldest });
                    self.known.push(*stream);
                }
                None => waiting.push(*stream),
            }
        }
        self.restore(sender, now_ms, waiting);
    }

    /// Streams of earlier lives: those with something to send, for which acknowledged ones make room; then the newest of the
    /// acknowledged ones, which a hub that returned from a backup may ask for.
    fn restore(&mut self, sender: &mut Sender, now_ms: u64, waiting: Vec<Stream>) {
        let (pending, acked): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|stream| stream.pending() > 0);
        for stream in pending {
            if !sender.has_room() {
                let done = self.known.iter().position(|known| known.pending() == 0 && !known.present);
                let Some(index) = done else { return };
                sender.handle(now_ms, SenderInput::Forgotten { key: self.known.remove(index).key });
            }
            self.restore_one(sender, now_ms, stream);
        }
        for stream in acked.into_iter().rev() {
            if !sender.has_room() {
                return;
            }
            self.restore_one(sender, now_ms, stream);
        }
    }

    fn restore_one(&mut self, sender: &mut Sender, now_ms: u64, stream: Stream) {
        let state = StreamState { key: stream.key, oldest: stream.oldest, head: stream.head };
        sender.handle(now_ms, SenderInput::Restored { stream: state, acked: stream.acked });
        self.known.push(stream);
    }
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::id::{Epoch, Lane, Sequence, StreamKey};
    use tongluo_protocols::link::{STREAMS_MAX, SenderConfig, SenderOutput};

    use super::*;

    fn key(epoch: u64) -> StreamKey {
        StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(epoch) }
    }

    fn stream(epoch: u64, head: Sequence, acked: Sequence) -> Stream {
        Stream { key: key(epoch), oldest: 1, head, acked, present: false }
    }

    fn sent(sender: &mut Sender) -> Vec<(StreamKey, Sequence)> {
        let mut sent = Vec::new();
        while let Some(output) = sender.poll() {
            if let SenderOutput::Send { key, from } = output {
                let head = sender.streams().find(|state| state.key == key).unwrap().head;
                sent.push((key, from));
                sender.handle(0, SenderInput::Sent { key, through: head });
            }
        }
        sent
    }

    #[test]
    fn earlier_lives_go_first_and_news_follow() {
        let mut sender = Sender::new(SenderConfig::default());
        let mut following = Following::default();
        sender.handle(0, SenderInput::Connected);
        let mut streams = vec![stream(1, 5, 2), stream(2, 3, 3)];
        following.update(&mut sender, 0, &streams);
        assert_eq!(sent(&mut sender), [(key(1), 3), (key(2), 4)], "what is not acked, and that the other is quiet");

        streams.push(Stream { present: true, ..stream(3, 1, 0) });
        following.update(&mut sender, 0, &streams);
        assert_eq!(sent(&mut sender), [(key(3), 1)]);
        streams[2].head = 2;
        following.update(&mut sender, 0, &streams);
        following.update(&mut sender, 0, &streams);
        assert_eq!(sent(&mut sender), [(key(3), 2)], "told twice, sent once");
    }

    #[test]
    fn a_forgotten_stream_is_not_sent_again() {
        let mut sender = Sender::new(SenderConfig::default());
        let mut following = Following::default();
        following.update(&mut sender, 0, &[stream(1, 5, 0)]);
        following.update(&mut sender, 0, &[]);
        sender.handle(0, SenderInput::Connected);
        assert_eq!(sent(&mut sender), []);
    }

    #[test]
    fn more_streams_than_the_table_holds_are_sent_in_turns() {
        let mut sender = Sender::new(SenderConfig::default());
        let mut following = Following::default();
        sender.handle(0, SenderInput::Connected);
        let count = STREAMS_MAX as u64 + 40;
        let mut streams: Vec<_> = (1..=count).map(|epoch| stream(epoch, 1, 0)).collect();
        let mut all = Vec::new();
        for _ in 0..3 {
            following.update(&mut sender, 0, &streams);
            let batch = sent(&mut sender);
            for (key, _) in &batch {
                streams.iter_mut().find(|stream| stream.key == *key).unwrap().acked = 1;
                let ack = tongluo_protocols::link::Ack { key: *key, committed: 1, gap: false };
                sender.handle(0, SenderInput::Acked(ack));
            }
            all.extend(batch.into_iter().map(|(key, _)| key));
        }
        assert_eq!(all, (1..=count).map(key).collect::<Vec<_>>());
    }
}
