//! What a device said before, and what a report means in its light. Pure.
//!
//! Some buttons do not tell "pressed" but keep `sos: true` raised, and may stay there for good. So a press is the **change**
//! to `true`. Brokers repeat retained messages to whoever subscribes, and Zigbee2MQTT repeats its cache when it starts:
//! neither is a press.
//!
//! | before   | the report says | retained | verdict                                                        |
//! | -------- | --------------- | -------- | -------------------------------------------------------------- |
//! | any      | an action       | no       | press                                                          |
//! | any      | an action       | yes      | alive: the broker tells what happened before we subscribed     |
//! | `false`  | `sos: true`     | no       | press                                                          |
//! | `true`   | `sos: true`     | no       | alive: it is the same press                                    |
//! | unknown  | `sos: true`     | no       | unknown alarm: it may be a press, or a replay at start         |
//! | any      | `sos: true`     | yes      | alive, and remembered                                          |
//! | any      | `sos: false`    | any      | alive, and remembered                                          |

use super::{Action, Report};
use crate::event::Trigger;

/// What is remembered of one device. It is to be stored with the press that it led to, in one transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether its SOS was raised when it was last heard; `None` if that was never heard.
    pub sos: Option<bool>,
}

/// What a report means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Somebody calls for help.
    Press(Trigger<'a>),
    /// Somebody may be calling for help: people have to look.
    UnknownAlarm {
        /// Why that is not known, as a phrase.
        reason: &'static str,
    },
    /// The device is alive, and that is all.
    Alive,
}

impl Memory {
    /// Says what a report means, and remembers it. `retained` is the message's retain flag: the broker repeats what it has
    /// kept from before we subscribed.
    pub fn judge<'a>(&mut self, report: &Report<'a>, retained: bool) -> Verdict<'a> {
        let before = self.sos;
        self.sos = report.sos.or(before);
        if retained {
            return Verdict::Alive;
        }
        match (report.action, report.sos, before) {
            (Action::Pressed(trigger), ..) => Verdict::Press(trigger),
            (_, Some(true), Some(false)) => Verdict::Press(Trigger::Sos),
            (_, Some(true), None) => Verdict::UnknownAlarm { reason: "sos is raised, and it is not known since when" },
            (Action::Unknown { reason }, ..) => Verdict::UnknownAlarm { reason },
            (Action::None, ..) => Verdict::Alive,
        }
    }
}
