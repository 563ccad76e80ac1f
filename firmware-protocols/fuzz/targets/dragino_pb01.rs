//! Frames of the Dragino PB01: whatever the radio brings.
#![no_main]

use firmware_protocols::device::{DeviceRef, Memory, Report, dragino_pb01};
use firmware_protocols::event::Family;
use firmware_protocols::id::DeviceKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let mut report = Report::of(DeviceRef::Key(DeviceKey::lorawan(1)), Family::Chirpstack);
    dragino_pb01::read(frame, &mut report);
    dragino_pb01::read_status(frame, &mut report);
    let _ = Memory::default().judge(&report, false);
});
