//! `docs/protocol.md` shows an example byte by byte. Here it is made sure that the bytes are those.

use std::vec;
use std::vec::Vec;

use crate::event::{Event, Family, Press, Trigger};
use crate::id::{BootId, DeviceKey, Epoch, Lane, StreamKey};
use crate::link::{Ack, BATCH_BYTES_MAX, BatchView, BatchWriter, EntryView};

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

const KEY: StreamKey = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(0x1a2b_3c4d_5e6f_7081) };

/// The bytes of the block that begins with ```` ```hex {name} ````; what follows a `#` is a comment.
fn shown(name: &str) -> Vec<u8> {
    let opening = std::format!("```hex {name}\n");
    let (_, block) = DOCUMENT.split_once(&opening).expect("the document has the block");
    let (block, _) = block.split_once("```").expect("the block has an end");
    let digits = block.lines().filter_map(|line| line.split('#').next()).flat_map(str::split_whitespace);
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits")).collect()
}

#[test]
fn the_batch_is_as_shown() {
    let press = Press {
        device: DeviceKey::lorawan(0x24e1_2453_5b31_6056),
        family: Family::MilesightWs101,
        trigger: Trigger::Single,
        source_key: Some("24e124535b316056/1042/3ac7e3c4"),
        heard_ms: 1_795_673_551_412,
        replayed: false,
        name: None,
        battery_percent: Some(100),
    };
    let mut body = [0; 256];
    let length = press.emit(&mut body).unwrap();
    let entry = EntryView {
        sequence: 1,
        boot_id: BootId::from_random(0x0123_4567_89ab_cdef),
        wall_ms: 1_795_673_551_412,
        mono_ms: 86_400_123,
        kind: Press::KIND,
        body: &body[..length],
    };
    let mut buffer = vec![0; BATCH_BYTES_MAX];
    let mut batch = BatchWriter::new(&mut buffer, KEY, 1, 1).unwrap();
    assert_eq!(batch.push(&entry), Ok(true));
    let bytes = shown("batch");
    assert_eq!(batch.finish(), bytes);

    let entry = BatchView::parse(&bytes).unwrap().entries().next().unwrap();
    assert_eq!(Event::parse(entry.kind, entry.body), Ok(Event::Press(press)));
}

#[test]
fn the_ack_is_as_shown() {
    let mut buffer = [0; Ack::BYTES_MAX];
    let length = Ack { key: KEY, committed: 1, gap: false }.emit(&mut buffer).unwrap();
    assert_eq!(shown("ack"), buffer[..length]);
}
