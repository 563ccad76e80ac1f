//! The bodies of entries, of any kind: what parses can be written, and what was written parses to the same again.
#![no_main]

use firmware_protocols::event::Event;
use firmware_protocols::link::ENTRY_BODY_BYTES_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, body) = input;
    if body.len() > ENTRY_BODY_BYTES_MAX {
        return;
    }
    let Ok(event) = Event::parse(kind.into(), body) else { return };
    let mut first = vec![0; ENTRY_BODY_BYTES_MAX];
    let length = event.emit(&mut first).expect("any event fits an entry");
    // Text is clipped when it is written first, so it is the second writing that must be the same.
    let again = Event::parse(kind.into(), &first[..length]).expect("what was written parses");
    let mut second = vec![0; ENTRY_BODY_BYTES_MAX];
    let length_again = again.emit(&mut second).expect("any event fits an entry");
    assert_eq!(first[..length], second[..length_again]);
});
