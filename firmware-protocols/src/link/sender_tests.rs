//! The sender's rules, one by one, and a property over any history.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::SenderInput::{Acked, Appended, Connected, Disconnected, Forgotten, Restored, Sent, Tick, Trimmed};
use super::*;
use crate::id::Epoch;

const fn stream(lane: Lane, epoch: u64) -> StreamKey {
    StreamKey { lane, epoch: Epoch::from_random(epoch) }
}

const URGENT: StreamKey = stream(Lane::Urgent, 2);
const ROUTINE: StreamKey = stream(Lane::Routine, 2);
const OLD_URGENT: StreamKey = stream(Lane::Urgent, 1);
const OLD_ROUTINE: StreamKey = stream(Lane::Routine, 1);

fn send(key: StreamKey, from: u64) -> SenderOutput {
    SenderOutput::Send { key, from }
}

fn committed(key: StreamKey, through: u64) -> SenderOutput {
    SenderOutput::Committed { key, through }
}

fn ack(key: StreamKey, committed: u64) -> SenderInput {
    Acked(Ack { key, committed, gap: false })
}

fn gap(key: StreamKey, committed: u64) -> SenderInput {
    Acked(Ack { key, committed, gap: true })
}

fn restored(key: StreamKey, oldest: u64, head: u64, acked: u64) -> SenderInput {
    Restored { stream: StreamState { key, oldest, head }, acked }
}

/// Tells the machine what happened and answers everything that it then wants, without doing any of it.
fn told(sender: &mut Sender, now_ms: u64, inputs: &[SenderInput]) -> Vec<SenderOutput> {
    for input in inputs {
        sender.handle(now_ms, *input);
    }
    core::iter::from_fn(|| sender.poll()).collect()
}

fn connected(inputs: &[SenderInput]) -> Sender {
    let mut sender = Sender::new(SenderConfig::default());
    sender.handle(0, Connected);
    inputs.iter().for_each(|input| sender.handle(0, *input));
    sender
}

#[test]
fn nothing_is_sent_without_a_connection() {
    let mut sender: Sender = Sender::new(SenderConfig::default());
    assert_eq!(told(&mut sender, 0, &[Appended { key: URGENT, head: 3 }]), []);
    assert_eq!(sender.next_deadline(), None);
    assert_eq!(told(&mut sender, 5, &[Connected]), [send(URGENT, 1)]);
    assert_eq!(told(&mut sender, 6, &[Sent { key: URGENT, through: 3 }]), []);
    assert_eq!(sender.next_deadline(), Some(2_006));
    assert_eq!(told(&mut sender, 7, &[Disconnected, Tick]), []);
    assert_eq!(sender.next_deadline(), None);
}

#[test]
fn one_sending_is_open_at_a_time() {
    let mut sender = connected(&[Appended { key: URGENT, head: 3 }, Appended { key: ROUTINE, head: 3 }]);
    assert_eq!(told(&mut sender, 0, &[]), [send(URGENT, 1)]);
    assert_eq!(told(&mut sender, 0, &[Tick, Appended { key: URGENT, head: 4 }]), []);
    assert_eq!(told(&mut sender, 0, &[Sent { key: ROUTINE, through: 3 }]), [], "that was not asked for");
    assert_eq!(told(&mut sender, 0, &[Sent { key: URGENT, through: 2 }]), [send(URGENT, 3)]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: URGENT, through: 4 }]), [send(ROUTINE, 1)]);
}

#[test]
fn urgent_before_routine_and_the_oldest_epoch_first() {
    let mut sender = connected(&[
        restored(OLD_ROUTINE, 1, 5, 0),
        restored(OLD_URGENT, 1, 5, 0),
        Appended { key: ROUTINE, head: 2 },
        Appended { key: URGENT, head: 2 },
    ]);
    let mut order = vec![];
    while let Some(SenderOutput::Send { key, from }) = sender.poll() {
        order.push((key, from));
        sender.handle(0, Sent { key, through: if key.epoch == OLD_URGENT.epoch { 5 } else { 2 } });
    }
    assert_eq!(order, [(OLD_URGENT, 1), (URGENT, 1), (OLD_ROUTINE, 1)], "and one routine batch at most");
}

#[test]
fn of_routine_one_batch_is_in_flight_over_all_its_streams() {
    let mut sender = connected(&[restored(OLD_ROUTINE, 1, 4, 0), Appended { key: ROUTINE, head: 9 }]);
    assert_eq!(told(&mut sender, 0, &[]), [send(OLD_ROUTINE, 1)]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: OLD_ROUTINE, through: 3 }]), []);
    assert_eq!(told(&mut sender, 1, &[Appended { key: URGENT, head: 1 }]), [send(URGENT, 1)], "urgent does not wait");
    assert_eq!(told(&mut sender, 1, &[Sent { key: URGENT, through: 1 }]), []);
    assert_eq!(told(&mut sender, 2, &[ack(OLD_ROUTINE, 2)]), [committed(OLD_ROUTINE, 2)], "half of it is not acked");
    let outputs = told(&mut sender, 3, &[ack(OLD_ROUTINE, 3)]);
    assert_eq!(outputs, [committed(OLD_ROUTINE, 3), send(OLD_ROUTINE, 4)]);
    assert_eq!(told(&mut sender, 3, &[Sent { key: OLD_ROUTINE, through: 4 }]), []);
    assert_eq!(told(&mut sender, 4, &[ack(OLD_ROUTINE, 4)]), [committed(OLD_ROUTINE, 4), send(ROUTINE, 1)]);
}

#[test]
fn of_urgent_a_window_is_in_flight_over_all_its_streams() {
    let mut sender = connected(&[restored(OLD_URGENT, 1, 400, 0), Appended { key: URGENT, head: 1_000 }]);
    let steps = [(OLD_URGENT, 1, 256), (OLD_URGENT, 257, 400), (URGENT, 1, 256)];
    for (key, from, through) in steps {
        assert_eq!(told(&mut sender, 0, &[]), [send(key, from)]);
        sender.handle(0, Sent { key, through });
    }
    assert_eq!(told(&mut sender, 0, &[]), [], "656 are in flight");
    assert_eq!(told(&mut sender, 1, &[ack(OLD_URGENT, 144)]), [committed(OLD_URGENT, 144)], "512 still are");
    assert_eq!(told(&mut sender, 1, &[ack(OLD_URGENT, 145)]), [committed(OLD_URGENT, 145), send(URGENT, 257)]);
}

#[test]
fn an_ack_is_cumulative_and_a_stale_one_changes_nothing() {
    let mut sender = connected(&[Appended { key: URGENT, head: 9 }]);
    told(&mut sender, 0, &[]);
    sender.handle(0, Sent { key: URGENT, through: 9 });
    assert_eq!(told(&mut sender, 1, &[ack(URGENT, 7)]), [committed(URGENT, 7)]);
    assert_eq!(told(&mut sender, 2, &[ack(URGENT, 3), ack(URGENT, 7)]), []);
    assert_eq!(told(&mut sender, 3, &[ack(URGENT, 9)]), [committed(URGENT, 9)]);
    assert_eq!(sender.next_deadline(), None);
    assert_eq!(told(&mut sender, 4, &[ack(stream(Lane::Urgent, 77), 5)]), [], "a stream that is not followed");
}

#[test]
fn an_ack_beyond_the_head_is_of_entries_that_our_disk_forgot() {
    let mut sender = connected(&[restored(URGENT, 1, 50, 20)]);
    assert_eq!(told(&mut sender, 0, &[ack(URGENT, 80)]), [committed(URGENT, 50)]);
    assert_eq!(told(&mut sender, 60_000, &[Tick]), []);
}

#[test]
fn what_is_not_acked_is_sent_again_with_doubling_patience_until_there_is_progress() {
    let mut sender = connected(&[Appended { key: URGENT, head: 9 }]);
    let mut now_ms = 0;
    for patience_ms in [2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        assert_eq!(told(&mut sender, now_ms, &[Tick]), [send(URGENT, 1)]);
        sender.handle(now_ms, Sent { key: URGENT, through: 9 });
        assert_eq!(sender.next_deadline(), Some(now_ms + patience_ms));
        now_ms += patience_ms;
        assert_eq!(told(&mut sender, now_ms - 1, &[Tick]), []);
    }
    sender.handle(now_ms, Tick);
    assert_eq!(told(&mut sender, now_ms, &[ack(URGENT, 4)]), [committed(URGENT, 4), send(URGENT, 5)]);
    sender.handle(now_ms, Sent { key: URGENT, through: 9 });
    assert_eq!(sender.next_deadline(), Some(now_ms + 2_000), "progress makes it impatient again");
}

#[test]
fn a_new_connection_sends_everything_that_is_not_acked() {
    let mut sender = connected(&[Appended { key: URGENT, head: 9 }]);
    told(&mut sender, 0, &[]);
    sender.handle(0, Sent { key: URGENT, through: 9 });
    assert_eq!(told(&mut sender, 1, &[ack(URGENT, 4)]), [committed(URGENT, 4)]);
    assert_eq!(told(&mut sender, 2, &[Disconnected]), []);
    assert_eq!(told(&mut sender, 900, &[Connected]), [send(URGENT, 5)]);
    assert_eq!(told(&mut sender, 901, &[Connected]), [send(URGENT, 5)], "though a sending was open");
}

#[test]
fn a_gap_goes_back_once_per_pause() {
    let mut sender = connected(&[Appended { key: URGENT, head: 9 }]);
    told(&mut sender, 0, &[]);
    sender.handle(0, Sent { key: URGENT, through: 9 });
    let outputs = told(&mut sender, 10, &[gap(URGENT, 3)]);
    assert_eq!(outputs, [committed(URGENT, 3), send(URGENT, 4)]);
    assert_eq!(told(&mut sender, 10, &[Sent { key: URGENT, through: 9 }]), []);
    assert_eq!(told(&mut sender, 259, &[gap(URGENT, 3)]), [], "the same gap, just mended");
    assert_eq!(told(&mut sender, 259, &[gap(URGENT, 5)]), [committed(URGENT, 5), send(URGENT, 6)], "another gap");
    assert_eq!(told(&mut sender, 259, &[Sent { key: URGENT, through: 9 }]), []);
    assert_eq!(told(&mut sender, 509, &[gap(URGENT, 5)]), [send(URGENT, 6)], "the pause is over");
}

#[test]
fn a_gap_goes_back_below_what_was_acked_as_far_as_storage_holds_it() {
    let mut sender = connected(&[restored(URGENT, 31, 100, 100), ack(URGENT, 100)]);
    assert_eq!(told(&mut sender, 0, &[gap(URGENT, 60)]), [send(URGENT, 61)]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: URGENT, through: 100 }]), []);
    assert_eq!(told(&mut sender, 1, &[ack(URGENT, 100)]), [committed(URGENT, 100)]);
    assert_eq!(told(&mut sender, 2, &[gap(URGENT, 10)]), [send(URGENT, 31)], "what is older is gone");
}

#[test]
fn a_stream_of_which_all_is_acked_announces_itself_until_the_receiver_answers() {
    let mut sender = connected(&[restored(OLD_URGENT, 5, 9, 9), restored(OLD_ROUTINE, 1, 0, 0)]);
    let announcement = send(OLD_URGENT, 10);
    assert_eq!(told(&mut sender, 0, &[]), [announcement], "a stream without entries has nothing to say");
    assert_eq!(told(&mut sender, 0, &[Sent { key: OLD_URGENT, through: 9 }]), []);
    assert_eq!(told(&mut sender, 1_999, &[Tick]), []);
    assert_eq!(told(&mut sender, 2_000, &[Tick]), [announcement]);
    assert_eq!(told(&mut sender, 2_000, &[Sent { key: OLD_URGENT, through: 9 }]), []);
    assert_eq!(told(&mut sender, 2_001, &[ack(OLD_URGENT, 9)]), []);
    assert_eq!(sender.next_deadline(), None);
    assert_eq!(told(&mut sender, 3_000, &[Disconnected, Connected]), [announcement], "once more on each connection");
    assert_eq!(
        told(&mut sender, 3_000, &[Sent { key: OLD_URGENT, through: 9 }, gap(OLD_URGENT, 7)]),
        [send(OLD_URGENT, 8)]
    );
}

#[test]
fn an_ack_that_overtakes_an_open_sending_holds_nothing_up() {
    let mut sender = connected(&[Appended { key: URGENT, head: 4 }]);
    assert_eq!(told(&mut sender, 0, &[]), [send(URGENT, 1)]);
    assert_eq!(told(&mut sender, 1, &[ack(URGENT, 3)]), [committed(URGENT, 3)], "of an earlier sending of the same");
    assert_eq!(told(&mut sender, 2, &[Sent { key: URGENT, through: 2 }]), [send(URGENT, 4)]);
}

#[test]
fn an_entry_does_not_wait_for_the_answer_to_an_announcement() {
    let mut sender = connected(&[restored(URGENT, 5, 9, 9)]);
    assert_eq!(told(&mut sender, 0, &[]), [send(URGENT, 10)]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: URGENT, through: 9 }]), []);
    assert_eq!(told(&mut sender, 1, &[Appended { key: URGENT, head: 10 }]), [send(URGENT, 10)]);

    let mut sender = connected(&[restored(URGENT, 5, 9, 9)]);
    assert_eq!(told(&mut sender, 0, &[]), [send(URGENT, 10)]);
    assert_eq!(told(&mut sender, 1, &[Appended { key: URGENT, head: 10 }]), [], "while the announcement is open");
    assert_eq!(told(&mut sender, 2, &[Sent { key: URGENT, through: 9 }]), [send(URGENT, 10)]);
}

#[test]
fn a_gap_while_a_sending_is_open_is_not_covered_up_by_it() {
    let mut sender = connected(&[Appended { key: URGENT, head: 9 }]);
    told(&mut sender, 0, &[]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: URGENT, through: 4 }]), [send(URGENT, 5)]);
    assert_eq!(told(&mut sender, 1, &[gap(URGENT, 0)]), []);
    assert_eq!(told(&mut sender, 1, &[Sent { key: URGENT, through: 9 }]), [send(URGENT, 1)]);
}

#[test]
fn what_was_trimmed_before_it_was_acked_is_passed_over_and_announced() {
    let mut sender = connected(&[Appended { key: ROUTINE, head: 9 }, Trimmed { key: ROUTINE, oldest: 4 }]);
    assert_eq!(told(&mut sender, 0, &[]), [send(ROUTINE, 4)]);
    sender.handle(0, Disconnected);
    let outputs = told(&mut sender, 1, &[Trimmed { key: ROUTINE, oldest: 10 }, Connected]);
    assert_eq!(outputs, [send(ROUTINE, 10)], "a batch without entries");
    assert_eq!(told(&mut sender, 1, &[Sent { key: ROUTINE, through: 9 }]), []);
    assert_eq!(sender.next_deadline(), Some(2_001), "an announcement can get lost as well");
    assert_eq!(told(&mut sender, 2, &[ack(ROUTINE, 9)]), [committed(ROUTINE, 9)]);
    assert_eq!(sender.next_deadline(), None);
}

#[test]
fn a_stream_that_cannot_be_read_waits_and_lets_others_pass() {
    let mut sender = connected(&[restored(OLD_URGENT, 1, 5, 0), Appended { key: URGENT, head: 2 }]);
    assert_eq!(told(&mut sender, 0, &[]), [send(OLD_URGENT, 1)]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: OLD_URGENT, through: 0 }]), [send(URGENT, 1)]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: URGENT, through: 2 }]), []);
    assert_eq!(told(&mut sender, 1, &[ack(URGENT, 2)]), [committed(URGENT, 2)]);
    assert_eq!(sender.next_deadline(), Some(2_000));
    assert_eq!(told(&mut sender, 2_000, &[Tick]), [send(OLD_URGENT, 1)]);
}

#[test]
fn a_stream_that_was_forgotten_is_sent_no_more() {
    let mut sender = connected(&[restored(OLD_URGENT, 1, 5, 0), Appended { key: URGENT, head: 2 }]);
    assert_eq!(told(&mut sender, 0, &[]), [send(OLD_URGENT, 1)]);
    assert_eq!(told(&mut sender, 0, &[Forgotten { key: OLD_URGENT }]), [send(URGENT, 1)]);
    assert_eq!(told(&mut sender, 0, &[Sent { key: OLD_URGENT, through: 5 }]), []);
    assert_eq!(sender.streams().collect::<Vec<_>>(), [StreamState { key: URGENT, oldest: 1, head: 2 }]);
}

#[test]
fn at_the_bound_old_streams_wait_and_those_of_the_present_find_room() {
    let mut sender: Sender<4> = Sender::new(SenderConfig::default());
    let epochs = |sender: &Sender<4>| sender.streams().map(|s| (s.key.lane, s.key.epoch.get())).collect::<Vec<_>>();
    for (key, acked) in [(OLD_ROUTINE, 0), (OLD_URGENT, 0), (stream(Lane::Urgent, 9), 0)] {
        let room = sender.has_room();
        sender.handle(0, restored(key, 1, 5, acked));
        assert_eq!(room, key.epoch == OLD_URGENT.epoch, "two places are kept for the present life");
    }
    sender.handle(0, Appended { key: URGENT, head: 1 });
    sender.handle(0, Appended { key: ROUTINE, head: 1 });
    let old = [(Lane::Routine, 1), (Lane::Urgent, 1)];
    assert_eq!(epochs(&sender), [old[0], old[1], (Lane::Urgent, 2), (Lane::Routine, 2)]);

    sender.handle(0, Appended { key: stream(Lane::Urgent, 3), head: 1 });
    assert_eq!(
        epochs(&sender),
        [old[1], (Lane::Urgent, 2), (Lane::Routine, 2), (Lane::Urgent, 3)],
        "a routine one went"
    );
    sender.handle(0, ack(URGENT, 1));
    sender.handle(0, Appended { key: stream(Lane::Urgent, 4), head: 1 });
    assert_eq!(
        epochs(&sender),
        [old[1], (Lane::Routine, 2), (Lane::Urgent, 3), (Lane::Urgent, 4)],
        "an acked one went"
    );
}

fn any_input() -> impl Strategy<Value = SenderInput> {
    let key = (0..2_u64, 0..6_u64)
        .prop_map(|(lane, epoch)| stream(Lane::from_number(lane).expect("a lane is 0 or 1"), epoch));
    (0..9, key, 0..40_u64, 0..40_u64, any::<bool>()).prop_map(|(which, key, first, second, gap)| match which {
        0 => Connected,
        1 => Disconnected,
        2 => restored(key, first, second, first),
        3 | 4 => Appended { key, head: first },
        5 => Acked(Ack { key, committed: first, gap }),
        6 => Trimmed { key, oldest: first },
        7 => Forgotten { key },
        _ => Tick,
    })
}

proptest! {
    /// Whatever happens, the machine asks only for what storage can hold, comes to rest, and in the end everything is acked.
    #[test]
    fn any_history_ends_with_everything_acked(history in prop::collection::vec((any_input(), 0..3_000_u64), 0..200)) {
        let mut sender: Sender<6> = Sender::new(SenderConfig::default());
        let mut now_ms = 0;
        for (input, pause_ms) in history {
            now_ms += pause_ms;
            sender.handle(now_ms, input);
            drained(&mut sender, now_ms, |_| None)?;
        }
        sender.handle(now_ms, Connected);
        for _ in 0..1_000 {
            drained(&mut sender, now_ms, Some)?;
            now_ms += 30_000;
            sender.handle(now_ms, Tick);
        }
        prop_assert_eq!(sender.next_deadline(), None);
        prop_assert!(sender.followed().iter().all(Progress::is_acked));
    }
}

/// Does what the machine wants, three entries a batch, and acks what `acks` lets through.
fn drained(sender: &mut Sender<6>, now_ms: u64, acks: impl Fn(Ack) -> Option<Ack>) -> Result<(), TestCaseError> {
    for _ in 0..10_000 {
        match sender.poll() {
            None => return Ok(()),
            Some(SenderOutput::Committed { .. }) => {}
            Some(SenderOutput::Send { key, from }) => {
                let held = sender.streams().find(|stream| stream.key == key).expect("only streams are sent");
                prop_assert!(held.oldest <= from && from <= held.head + 1, "{from} is not held: {held:?}");
                let through = held.head.min(from + 2);
                sender.handle(now_ms, Sent { key, through });
                if let Some(ack) = acks(Ack { key, committed: through, gap: false }) {
                    sender.handle(now_ms, Acked(ack));
                }
            }
        }
    }
    Err(TestCaseError::fail("the machine does not come to rest"))
}
