//! What people did about a press, ordered of its gateway, so that whoever pressed is told.
//!
//! Only a person's act lets a device say that somebody has it. The order is given in the act's own transaction, on the urgent
//! lane.

use sqlx::AnyConnection;
use tongluo_protocols::id::{DeviceKey, Lane};
use tongluo_protocols::order::{AlarmState as Told, AlarmWord, NAME_BYTES_MAX};

use super::machine::{AlarmKind, LineKind};
use super::store::{self, Alarm};
use crate::order::{NewOrder, Orders};

/// How long the word is still news. A press is answered within seconds or not at all; after an hour of a cut line whoever
/// pressed has been helped otherwise, or presses again.
const VALID_MS: i64 = 3_600_000;
/// Room for a device's key, a name and some numbers.
const WORD_BYTES_MAX: usize = 256;

/// Orders the gateway of an alarm's device to say what a person has just done, if that is anything to whoever pressed.
pub(super) async fn order(
    connection: &mut AnyConnection,
    orders: &Orders,
    now_ms: i64,
    alarm: &Alarm,
    lines: &[LineKind],
    by: &str,
) -> Result<(), sqlx::Error> {
    let Some(state) = told(lines) else { return Ok(()) };
    // What nobody could read has no device to answer.
    let Some(device) = alarm.source.parse::<DeviceKey>().ok().filter(|_| alarm.kind == AlarmKind::Sos) else {
        return Ok(());
    };
    let press = store::last_press(connection, alarm).await?;
    let word = AlarmWord { device, press, state, by: Some(shortened(by)), at_ms: now_ms };
    let mut body = [0; WORD_BYTES_MAX];
    let length = word.emit(&mut body).expect("a key and a shortened name fit");
    let order = NewOrder {
        kind: AlarmWord::KIND,
        lane: Lane::Urgent,
        valid_ms: VALID_MS,
        sound: None,
        content: None,
        body: &body[..length],
    };
    orders.give(connection, now_ms, &alarm.site_id, &order).await
}

/// What the last of these lines is to whoever pressed.
fn told(lines: &[LineKind]) -> Option<Told> {
    match lines.last()? {
        LineKind::Closed => Some(Told::Closed),
        LineKind::Acknowledged | LineKind::Going | LineKind::Arrived => Some(Told::Acknowledged),
        LineKind::Raised | LineKind::Pressed | LineKind::PressedAgain | LineKind::Late => None,
    }
}

/// As much of a name as an order carries.
fn shortened(name: &str) -> &str {
    let end = (0..=name.len().min(NAME_BYTES_MAX)).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(shortened("王芳"), "王芳");
        assert_eq!(shortened(&"王".repeat(80)), "王".repeat(21));
    }
}
