//! The receiver of one stream: what of a batch is new, what is lost for good, and what to acknowledge. Pure.
//!
//! The whole state is the watermark. The task asks with [`Receiver::offer`], writes what the [`Offer`] says in **one
//! transaction with the new watermark**, then calls [`Receiver::commit`] and sends the [`Ack`]. An ack that left before its
//! commit would be a lie that no later message could mend.
//!
//! | The batch …                                | The receiver …                                            |
//! | ------------------------------------------ | --------------------------------------------------------- |
//! | continues at the watermark                 | takes all of it                                           |
//! | begins at or below the watermark           | skips what it has, takes the rest                         |
//! | begins beyond the watermark                | takes nothing and answers with a gap                      |
//! | says that the sender holds less            | records what can no longer come as lost, and goes on      |
//! | is empty and announces a head beyond       | answers with a gap, so that the sender goes back          |

use super::{Ack, Extent};
use crate::event::StreamState;
use crate::id::{Sequence, StreamKey};

/// Entries that will never arrive, as the first and the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lost {
    /// The first sequence that is lost.
    pub from: Sequence,
    /// The last sequence that is lost.
    pub to: Sequence,
}

impl Lost {
    /// How many entries are lost.
    pub const fn count(&self) -> u64 {
        self.to - self.from + 1
    }
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What the sender no longer holds and we never got: to be recorded as a fault, in the same transaction.
    pub lost: Option<Lost>,
    /// How many of the batch's entries we already have: they come first in it.
    pub skip: usize,
    /// How many of the entries after those are new and to be applied.
    pub take: usize,
    /// The watermark once that is committed.
    pub committed_after: Sequence,
    /// Whether entries are missing that the sender can send again.
    pub gap: bool,
}

impl Offer {
    /// Whether there is nothing to write: the ack may be sent at once.
    pub const fn is_settled(&self) -> bool {
        self.take == 0 && self.lost.is_none()
    }

    /// The answer to the batch, to be sent once its transaction is committed.
    pub const fn ack(&self, key: StreamKey) -> Ack {
        Ack { key, committed: self.committed_after, gap: self.gap }
    }
}

/// The receiver of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receiver {
    committed: Sequence,
}

impl Receiver {
    /// The receiver of a stream whose entries up to `committed` are in storage; 0 for a stream never heard of.
    pub const fn at(committed: Sequence) -> Self {
        Self { committed }
    }

    /// The last entry that is committed, or recorded as lost.
    pub const fn committed(&self) -> Sequence {
        self.committed
    }

    /// Judges a batch. Nothing changes until [`Self::commit`].
    pub fn offer(&self, batch: Extent) -> Offer {
        // Entries that are here are not lost, and none beyond the head can be, whatever `oldest` claims.
        let oldest = batch.oldest.min(batch.head.saturating_add(1));
        let held_from = if batch.count == 0 { oldest } else { oldest.min(batch.first) };
        let expected = self.committed + 1;
        let lost = (held_from > expected).then(|| Lost { from: expected, to: held_from - 1 });
        let base = lost.map_or(self.committed, |lost| lost.to);

        let gap = if batch.count == 0 { batch.head > base } else { batch.first > base + 1 };
        if gap || batch.count == 0 {
            return Offer { lost, skip: 0, take: 0, committed_after: base, gap };
        }
        let skip = usize::try_from(base + 1 - batch.first).unwrap_or(usize::MAX).min(batch.count);
        let take = batch.count - skip;
        Offer { lost, skip, take, committed_after: base + take as u64, gap }
    }

    /// Moves the watermark to where the transaction of `offer` put it.
    pub fn commit(&mut self, offer: &Offer) {
        self.committed = self.committed.max(offer.committed_after);
    }

    /// The answer to a stream in a [`Beat`](crate::event::Beat): an ack with a gap if the sender has written entries that we
    /// lack. That is how a hub which was restored from a backup catches up, though the sender believes it to have them all.
    ///
    /// Give it the stream as **the beat before** told it: what that one announced should have arrived by now, while what the
    /// newest one announces may still be on its way, and would be sent twice.
    pub fn wants(&self, held: StreamState) -> Option<Ack> {
        (held.head > self.committed).then_some(Ack { key: held.key, committed: self.committed, gap: true })
    }

    /// What a disk took with it: the entries which the sender once said to have written, up to `heard_head`, and which are
    /// neither committed here nor held there any more. `held_head` is the head that the sender says now, in a **later** run
    /// of its program; 0 if it no longer holds the stream.
    ///
    /// This is a finding and moves no watermark: should a delayed batch bring the entries after all, they are applied.
    pub fn missing(&self, heard_head: Sequence, held_head: Sequence) -> Option<Lost> {
        let from = self.committed.max(held_head) + 1;
        (from <= heard_head).then_some(Lost { from, to: heard_head })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Epoch, Lane, NUMBER_MAX};

    const KEY: StreamKey = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(1) };

    fn batch(oldest: u64, head: u64, first: u64, count: usize) -> Extent {
        Extent { oldest, head, first, count }
    }

    fn offer(lost: Option<(u64, u64)>, skip: usize, take: usize, committed_after: u64, gap: bool) -> Offer {
        Offer { lost: lost.map(|(from, to)| Lost { from, to }), skip, take, committed_after, gap }
    }

    #[test]
    fn every_rule() {
        for (why, committed, extent, expected) in [
            ("the first batch", 0, batch(1, 3, 1, 3), offer(None, 0, 3, 3, false)),
            ("the next one", 3, batch(1, 9, 4, 2), offer(None, 0, 2, 5, false)),
            ("a repeated one", 5, batch(1, 9, 4, 2), offer(None, 2, 0, 5, false)),
            ("a much older one", 50, batch(1, 60, 4, 2), offer(None, 2, 0, 50, false)),
            ("one that overlaps", 4, batch(1, 9, 3, 4), offer(None, 2, 2, 6, false)),
            ("one too far", 3, batch(1, 9, 5, 2), offer(None, 0, 0, 3, true)),
            ("the first is missing", 0, batch(1, 9, 2, 2), offer(None, 0, 0, 0, true)),
            ("lost, and it goes on", 3, batch(6, 9, 6, 2), offer(Some((4, 5)), 0, 2, 7, false)),
            ("lost, and a gap behind", 3, batch(6, 9, 8, 2), offer(Some((4, 5)), 0, 0, 5, true)),
            ("lost what was never heard of", 0, batch(6, 9, 6, 4), offer(Some((1, 5)), 0, 4, 9, false)),
            ("all of it is lost", 3, batch(10, 9, 0, 0), offer(Some((4, 9)), 0, 0, 9, false)),
            ("empty, and we are there", 9, batch(1, 9, 0, 0), offer(None, 0, 0, 9, false)),
            ("empty, and we are behind", 3, batch(1, 9, 0, 0), offer(None, 0, 0, 3, true)),
            ("empty, and the sender is behind us", 9, batch(6, 5, 0, 0), offer(None, 0, 0, 9, false)),
            ("nothing was ever written", 0, batch(1, 0, 0, 0), offer(None, 0, 0, 0, false)),
            ("oldest beyond its own entries", 3, batch(9, 9, 4, 2), offer(None, 0, 2, 5, false)),
            ("oldest beyond its own head", 3, batch(NUMBER_MAX, 5, 0, 0), offer(Some((4, 5)), 0, 0, 5, false)),
        ] {
            assert_eq!(Receiver::at(committed).offer(extent), expected, "{why}");
        }
    }

    #[test]
    fn a_commit_moves_the_watermark_and_never_back() {
        let mut receiver = Receiver::default();
        let stale = receiver.offer(batch(1, 9, 1, 2));
        receiver.commit(&receiver.offer(batch(1, 9, 1, 5)));
        assert_eq!(receiver.committed(), 5);
        receiver.commit(&stale);
        assert_eq!(receiver.committed(), 5);
    }

    #[test]
    fn a_beat_is_answered_only_by_one_who_is_behind() {
        let held = StreamState { key: KEY, oldest: 1, head: 9 };
        assert_eq!(Receiver::at(5).wants(held), Some(Ack { key: KEY, committed: 5, gap: true }));
        assert_eq!(Receiver::at(9).wants(held), None);
        assert_eq!(Receiver::at(12).wants(held), None);
    }

    #[test]
    fn a_disk_that_died_is_missed_by_number() {
        let lost = |from, to| Some(Lost { from, to });
        assert_eq!(Receiver::at(60).missing(100, 50), lost(61, 100), "rolled back below the watermark");
        assert_eq!(Receiver::at(60).missing(100, 70), lost(71, 100), "rolled back above it: 61 to 70 still come");
        assert_eq!(Receiver::at(60).missing(100, 0), lost(61, 100), "a new disk");
        assert_eq!(Receiver::at(100).missing(100, 0), None, "all had arrived");
        assert_eq!(Receiver::at(60).missing(100, 100), None, "nothing is gone");
        assert_eq!(Lost { from: 61, to: 100 }.count(), 40);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_goes_back(
            committed in 0..=NUMBER_MAX, oldest in 0..=NUMBER_MAX, head in 0..=NUMBER_MAX, first in 1..=NUMBER_MAX,
            count in 0..=256_usize,
        ) {
            let offer = Receiver::at(committed).offer(batch(oldest, head, first, count));
            prop_assert!(offer.committed_after >= committed);
            prop_assert!(offer.skip + offer.take == count || offer.gap);
            prop_assert_eq!(offer.is_settled(), offer.committed_after == committed);
        }
    }
}
