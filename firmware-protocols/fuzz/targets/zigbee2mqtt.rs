//! Zigbee2MQTT: any topic below its prefix, any payload.
#![no_main]

use firmware_protocols::device::{Memory, Reading, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, bool, &[u8])| {
    let (path, retained, payload) = input;
    let topics = [format!("zigbee2mqtt/{path}"), "zigbee2mqtt/bridge/devices".to_owned()];
    for topic in &topics {
        match parse(topic, payload) {
            Reading::Report(report) => drop(Memory::default().judge(&report, retained)),
            Reading::Directory(directory) => directory.entries().for_each(|entry| drop(entry.name.to_string())),
            _ => {}
        }
    }
});
