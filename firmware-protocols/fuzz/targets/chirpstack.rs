//! ChirpStack: any payload of an uplink, and any topic below its prefix.
#![no_main]

use firmware_protocols::device::{Memory, Reading, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (path, payload) = input;
    let topics = [format!("application/{path}"), "application/a/device/24e124535b316056/event/up".to_owned()];
    for topic in &topics {
        if let Reading::Report(report) = parse(topic, payload) {
            let _ = Memory::default().judge(&report, false);
            let _ = (report.name.map(|name| name.to_string()), report.source_key.map(|key| key.to_string()));
        }
    }
});
