//! Milesight WS101, a LoRaWAN button (port 85), also sold as an SOS button.
//!
//! A frame is a row of channels: an id, a type, and a value whose length id and type tell. The lengths are those of
//! Milesight's user guide. Behind a channel that is not known nothing can be read, as its length is not known either; if the
//! button's own channel has not been met by then, the frame is an unknown alarm.

use super::{Action, Report};
use crate::event::{Family, Trigger};

/// The port on which Milesight's devices speak.
pub const PORT: i64 = 85;

const BATTERY: (u8, u8) = (0x01, 0x75);
const PRESS: (u8, u8) = (0xff, 0x2e);

/// Channels that say how the device is made and set, and the bytes of their values.
const ATTRIBUTES: [((u8, u8), usize); 8] = [
    ((0xff, 0x01), 1), // protocol version
    ((0xff, 0x08), 6), // serial number
    ((0xff, 0x09), 2), // hardware version
    ((0xff, 0x0a), 2), // firmware version
    ((0xff, 0x0b), 1), // switched on
    ((0xff, 0x0f), 1), // LoRaWAN class
    ((0xff, 0xfe), 1), // reset
    ((0xff, 0xff), 2), // version of the thing's description
];

/// Reads a frame into `report`.
pub fn read(frame: &[u8], report: &mut Report<'_>) {
    report.family = Family::MilesightWs101;
    let mut rest = frame;
    while let [id, kind, value @ ..] = rest {
        let length = match ((*id, *kind), value) {
            (PRESS, [code, ..]) => {
                if !matches!(report.action, Action::Pressed(_)) {
                    report.action = press(*code);
                }
                1
            }
            (BATTERY, [percent, ..]) => {
                report.battery_percent = (*percent <= 100).then_some(*percent);
                1
            }
            (channel, _) => match ATTRIBUTES.iter().find(|(known, _)| *known == channel) {
                Some((_, length)) => *length,
                None => break,
            },
        };
        match value.get(length..) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    if !rest.is_empty() && report.action == Action::None {
        report.action = Action::Unknown { reason: "a Milesight frame with a channel that is not known, or cut short" };
    }
}

fn press<'a>(code: u8) -> Action<'a> {
    match code {
        1 => Action::Pressed(Trigger::Single),
        2 => Action::Pressed(Trigger::Long),
        3 => Action::Pressed(Trigger::Double),
        _ => Action::Unknown { reason: "a Milesight button was pressed in a way that is not known" },
    }
}
