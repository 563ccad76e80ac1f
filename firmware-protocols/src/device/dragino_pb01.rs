//! Dragino PB01, a LoRaWAN button (port 2).
//!
//! A frame has eight bytes, the numbers big-endian: battery in millivolts, 16 bits; sound settings, 8; alarm, 8, of which the
//! lowest bit is the press; temperature in tenths of a degree, 16, signed; humidity in tenths of a percent, 16. A press sends
//! a frame with the alarm bit set, a timer sends them with it clear: a set bit is always a new press.
//!
//! After joining, every Dragino device tells on port 5 what it is, in seven bytes: model, 8; firmware, 16; band, 8; sub-band,
//! 8; battery, 16. That is proof of life.

use super::{Action, Report};
use crate::event::{Family, Trigger};

/// The port on which presses and measurements come.
pub const PORT: i64 = 2;
/// The bytes of a frame with a press or a measurement.
pub const FRAME_BYTES: usize = 8;
/// The port on which the device says what it is.
pub const PORT_STATUS: i64 = 5;
/// The bytes of a frame that says what the device is.
pub const STATUS_BYTES: usize = 7;

/// What two AAA cells or one lithium cell can have, with room to spare: outside of it the frame is another device's.
const BATTERY_MV: core::ops::RangeInclusive<u16> = 1_500..=4_500;

/// Reads a frame of [`FRAME_BYTES`] into `report`.
pub fn read(frame: &[u8], report: &mut Report<'_>) {
    let &[battery_high, battery_low, _sound, alarm, _, _, _, _] = frame else {
        report.action = Action::Unknown { reason: "a Dragino frame that has not 8 bytes" };
        return;
    };
    let battery_mv = u16::from_be_bytes([battery_high, battery_low]);
    if !BATTERY_MV.contains(&battery_mv) || alarm > 1 {
        report.action = Action::Unknown { reason: "8 bytes on port 2 that are not a Dragino PB01's" };
        return;
    }
    report.family = Family::DraginoPb01;
    report.battery_mv = Some(battery_mv);
    if alarm == 1 {
        report.action = Action::Pressed(Trigger::Single);
    }
}

/// Reads a status of [`STATUS_BYTES`] into `report`. Its family stays open: all of Dragino's devices send one.
pub fn read_status(frame: &[u8], report: &mut Report<'_>) {
    match *frame {
        [.., battery_high, battery_low] if BATTERY_MV.contains(&u16::from_be_bytes([battery_high, battery_low])) => {
            report.battery_mv = Some(u16::from_be_bytes([battery_high, battery_low]));
        }
        _ => report.action = Action::Unknown { reason: "7 bytes on port 5 that are not a Dragino status" },
    }
}
