//! What people did about a press, so that whoever pressed can be told.

use minicbor::{Decode, Encode};

use super::number::known_number;
use crate::Error;
use crate::cbor;
use crate::id::{DeviceKey, PressId};

/// What a person did about the alarm of a device. Only such an order lets the device, or a voice beside it, say that somebody
/// has it; the newest counts, by its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AlarmWord<'a> {
    /// The device that was pressed.
    #[n(1)]
    pub device: DeviceKey,
    /// The last press of the alarm that the county had then; what was pressed after it is another matter. `None`: not said.
    #[n(2)]
    pub press: Option<PressId>,
    /// What was done.
    #[n(3)]
    pub state: AlarmState,
    /// Who did it, as they are to be called aloud.
    #[b(4)]
    pub by: Option<&'a str>,
    /// When, in UTC milliseconds of the hub's clock.
    #[n(5)]
    pub at_ms: i64,
}

/// What was done about an alarm. On the wire a number; 3 is reserved, and refused: it once meant that an alarm is open again,
/// which nobody can do to one. Whoever is not helped presses again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlarmState {
    /// Somebody has it.
    Acknowledged,
    /// It is over.
    Closed,
}

known_number!(AlarmState, "what was done about an alarm is 1 or 2", Acknowledged = 1, Closed = 2);

impl<'a> AlarmWord<'a> {
    /// The kind of an order with this body.
    pub const KIND: u16 = 6;

    /// Reads the body, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        cbor::parse("alarm word", bytes)
    }

    /// Writes the body into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("alarm word", self, buffer)
    }
}
