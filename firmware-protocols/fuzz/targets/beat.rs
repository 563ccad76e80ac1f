//! Beats: what parses and is short enough not to be clipped is written again as it was.
#![no_main]

use firmware_protocols::event::{Beat, TEXT_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(beat) = Beat::parse(bytes) else { return };
    assert_eq!(beat.streams.iter().count(), beat.streams.len());
    let mut buffer = [0; Beat::BYTES_MAX];
    let length = beat.emit(&mut buffer).expect("the buffer holds any beat");
    let again = Beat::parse(&buffer[..length]).expect("what was written parses");
    assert!(again == beat || beat.version.len() > TEXT_BYTES_MAX);
});
