//! Frames of the Milesight WS101: whatever the radio brings.
#![no_main]

use firmware_protocols::device::{DeviceRef, Memory, Report, milesight_ws101};
use firmware_protocols::event::Family;
use firmware_protocols::id::DeviceKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let mut report = Report::of(DeviceRef::Key(DeviceKey::lorawan(1)), Family::Chirpstack);
    milesight_ws101::read(frame, &mut report);
    let _ = Memory::default().judge(&report, false);
});
