//! The JSON reader: whatever parses can be walked to its end.
#![no_main]

use firmware_protocols::device::json::{self, Value};
use libfuzzer_sys::fuzz_target;

fn walked(value: Value<'_>) -> usize {
    let text = value.as_text().map_or(0, |text| text.chars().count());
    let _ = (value.as_bool(), value.as_whole(i64::MIN, i64::MAX), value.get("a"));
    let members: usize = value.members().map(|(name, value)| name.chars().count() + walked(value)).sum();
    text + members + value.elements().map(walked).sum::<usize>()
}

fuzz_target!(|bytes: &[u8]| {
    // A walk reads each level again: what is deep and long would be slow, and proves nothing more.
    if bytes.len() <= 4_096 {
        let _ = json::parse(bytes).map(walked);
    }
});
