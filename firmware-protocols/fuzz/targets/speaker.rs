//! Messages between a gateway and its loudspeaker: with a right tag or a wrong one, no body panics, and what parses can be
//! written and is the same again.
#![no_main]

use firmware_protocols::device::speaker::envelope::Direction;
use firmware_protocols::device::speaker::{Command, Key, MESSAGE_BYTES_MAX, Report, Sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = Sealed::open(&Key::new([7; 32]), Direction::ToSpeaker, "sp1", body);
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    if let Ok(command) = Command::parse(body) {
        if let Ok(length) = command.emit(&mut buffer) {
            assert_eq!(Command::parse(&buffer[..length]), Ok(command));
        }
    }
    if let Ok(report) = Report::parse(body) {
        let _ = report.emit(&mut buffer);
    }
});
