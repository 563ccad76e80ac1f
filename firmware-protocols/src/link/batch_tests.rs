//! Batches: known bytes, limits, properties.

use std::vec;
use std::vec::Vec;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;

use super::*;

const KEY: StreamKey = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(0x1a2b) };

fn entry(sequence: Sequence, body: &[u8]) -> EntryView<'_> {
    EntryView { sequence, boot_id: BootId::from_random(7), wall_ms: -1, mono_ms: 1000, kind: 1, body }
}

fn written(oldest: Sequence, head: Sequence, entries: &[EntryView<'_>]) -> Vec<u8> {
    let mut buffer = vec![0; BATCH_BYTES_MAX];
    let mut writer = BatchWriter::new(&mut buffer, KEY, oldest, head).unwrap();
    for entry in entries {
        assert_eq!(writer.push(entry), Ok(true));
    }
    writer.finish().to_vec()
}

#[test]
fn known_bytes() {
    let bytes = written(2, 300, &[entry(3, &[0xa0]), entry(4, &[])]);
    let expected = [
        &[0x86, 0x01, 0x00, 0x19, 0x1a, 0x2b, 0x02, 0x19, 0x01, 0x2c][..],
        &[0x99, 0x00, 0x02],
        &[0x86, 0x03, 0x07, 0x20, 0x19, 0x03, 0xe8, 0x01, 0x41, 0xa0],
        &[0x86, 0x04, 0x07, 0x20, 0x19, 0x03, 0xe8, 0x01, 0x40],
    ]
    .concat();
    assert_eq!(bytes, expected);

    let view = BatchView::parse(&bytes).unwrap();
    assert_eq!((view.lane(), view.epoch()), (Lane::Urgent, KEY.epoch));
    assert_eq!(view.extent(), Extent { oldest: 2, head: 300, first: 3, count: 2 });
    assert!(view.entries().eq([entry(3, &[0xa0]), entry(4, &[])]));
}

#[test]
fn the_count_may_be_written_as_short_as_it_gets() {
    let mut bytes = written(1, 1, &[entry(1, b"?")]);
    let header = bytes.windows(3).position(|three| three == [0x99, 0, 1]).unwrap();
    bytes.splice(header..header + 3, [0x81]);
    assert_eq!(BatchView::parse(&bytes).unwrap().len(), 1);
}

#[test]
fn a_batch_without_entries_announces_oldest_and_head() {
    let bytes = written(8, 7, &[]);
    let view = BatchView::parse(&bytes).unwrap();
    assert!(view.is_empty());
    assert_eq!((view.oldest(), view.head()), (8, 7));
    assert_eq!(view.entries().len(), 0);
}

#[test]
fn a_body_of_garbage_is_still_an_entry() {
    let bytes = written(1, 1, &[entry(1, &[0xff, 0x00, 0x9f])]);
    let view = BatchView::parse(&bytes).unwrap();
    assert_eq!(view.entries().next().unwrap().body, [0xff, 0x00, 0x9f]);
}

#[test]
fn what_is_no_batch_is_refused() {
    let good = written(1, 2, &[entry(1, b"a"), entry(2, b"b")]);
    let second = good.len() - 10;
    assert_eq!(good[second..second + 2], [0x86, 2], "the second entry begins here");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        BatchView::parse(&bytes).map(|_| ())
    };
    assert_eq!(with(0, 0x86), Ok(()));
    assert_eq!(with(1, 2), Err(Error::Version { what: "batch", found: 2 }));
    for (at, byte, why) in [
        (0, 0x85, "an array of five"),
        (0, 0x9f, "an array that does not say its length"),
        (2, 2, "an unknown lane"),
        (second + 1, 3, "a hole between entries"),
        (second + 1, 1, "the same sequence again"),
        (second, 0x87, "an entry of seven elements"),
    ] {
        assert!(matches!(with(at, byte), Err(Error::Malformed { .. })), "{why} was taken");
    }
    for length in 0..good.len() {
        assert!(BatchView::parse(&good[..length]).is_err(), "{length} bytes of it were taken");
    }
    assert!(BatchView::parse(&[&good[..], &[0xf6]].concat()).is_err(), "trailing bytes were taken");
}

#[test]
fn a_batch_above_16_kib_is_refused() {
    let error = Error::TooLarge { what: "a batch in bytes", found: BATCH_BYTES_MAX + 1, max: BATCH_BYTES_MAX };
    assert_eq!(BatchView::parse(&vec![0; BATCH_BYTES_MAX + 1]).map(|_| ()), Err(error));
}

#[test]
fn more_entries_than_a_batch_may_have_are_refused_and_not_written() {
    let mut buffer = vec![0; BATCH_BYTES_MAX];
    let mut writer = BatchWriter::new(&mut buffer, KEY, 1, 1000).unwrap();
    let fitted = (1..=1000).take_while(|&sequence| writer.push(&entry(sequence, b"")).unwrap()).count();
    assert_eq!((fitted, writer.last()), (BATCH_ENTRIES_MAX, Some(256)));
    let bytes = writer.finish().to_vec();
    assert_eq!(BatchView::parse(&bytes).unwrap().len(), BATCH_ENTRIES_MAX);

    let header = bytes.windows(3).position(|three| three == [0x99, 1, 0]).unwrap();
    let mut more = bytes.clone();
    more[header + 2] = 1;
    more.extend_from_slice(&written(1, 1, &[entry(257, b"")])[10..]);
    assert!(BatchView::parse(&more).is_err());
}

#[test]
fn the_writer_stops_where_the_buffer_ends() {
    let body = [7; 100];
    for capacity in BatchWriter::BUFFER_BYTES_MIN..600 {
        let mut buffer = vec![0; capacity];
        let mut writer = BatchWriter::new(&mut buffer, KEY, 1, 100).unwrap();
        let fitted = (1..=100).take_while(|&sequence| writer.push(&entry(sequence, &body)).unwrap()).count();
        let bytes = writer.finish();
        assert!(bytes.len() <= capacity);
        assert!(BatchView::parse(bytes).unwrap().entries().eq((1..=fitted as u64).map(|s| entry(s, &body))));
    }
    let short = BatchWriter::BUFFER_BYTES_MIN - 1;
    assert!(BatchWriter::new(&mut vec![0; short], KEY, 1, 1).is_err());
}

#[test]
fn any_legal_entry_fits_an_empty_batch() {
    let key = StreamKey { lane: Lane::Routine, epoch: Epoch::from_random(u64::MAX) };
    let body = vec![0; ENTRY_BODY_BYTES_MAX];
    let largest = EntryView {
        sequence: NUMBER_MAX,
        boot_id: BootId::from_random(u64::MAX),
        wall_ms: i64::MIN,
        mono_ms: NUMBER_MAX,
        kind: u16::MAX,
        body: &body,
    };
    let mut buffer = vec![0; BATCH_BYTES_MAX];
    let mut writer = BatchWriter::new(&mut buffer, key, NUMBER_MAX, NUMBER_MAX).unwrap();
    assert_eq!(writer.push(&largest), Ok(true));
    assert!(BatchView::parse(writer.finish()).unwrap().entries().eq([largest]));
}

#[test]
fn entries_beyond_the_limits_or_out_of_order_are_errors() {
    let mut buffer = vec![0; BATCH_BYTES_MAX];
    let mut writer = BatchWriter::new(&mut buffer, KEY, 1, 1).unwrap();
    let long = vec![0; ENTRY_BODY_BYTES_MAX + 1];
    assert!(matches!(writer.push(&entry(1, &long)), Err(Error::TooLarge { .. })));
    assert!(matches!(writer.push(&entry(0, b"")), Err(Error::Refused { .. })));
    assert_eq!(writer.push(&entry(5, b"")), Ok(true));
    assert!(matches!(writer.push(&entry(7, b"")), Err(Error::Refused { .. })));
    assert_eq!(writer.push(&entry(6, b"")), Ok(true));
}

proptest! {
    #[test]
    fn round_trip(
        oldest in 0..=NUMBER_MAX,
        head in 0..=NUMBER_MAX,
        first in 1..=NUMBER_MAX - 256,
        contents in vec_of((any::<u64>(), any::<i64>(), 0..=NUMBER_MAX, any::<u16>(), vec_of(any::<u8>(), 0..60)), 0..=60),
    ) {
        let entries: Vec<_> = contents
            .iter()
            .zip(first..)
            .map(|((boot, wall_ms, mono_ms, kind, body), sequence)| EntryView {
                sequence,
                boot_id: BootId::from_random(*boot),
                wall_ms: *wall_ms,
                mono_ms: *mono_ms,
                kind: *kind,
                body,
            })
            .collect();
        let bytes = written(oldest, head, &entries);
        let view = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(view.key(), KEY);
        prop_assert_eq!((view.oldest(), view.head()), (oldest, head));
        prop_assert!(view.entries().eq(entries));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        if let Ok(view) = BatchView::parse(&bytes) {
            view.entries().for_each(drop);
        }
    }

    #[test]
    fn no_damage_panics(at: prop::sample::Index, byte: u8) {
        let mut bytes = written(1, 2, &[entry(1, b"body"), entry(2, b"body")]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(view) = BatchView::parse(&bytes) {
            view.entries().for_each(drop);
        }
    }
}
