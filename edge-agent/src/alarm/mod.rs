//! Local response: what a press sets off in the village, and what whoever pressed is told.
//!
//! ```text
//! journal's urgent lane ─► machine ─► truth on the LAN ("tongluo/answer/…"), and spoken where that was chosen
//! hub's acknowledgement ──►      └──► siren, or a voice for the neighbours, where that was chosen
//! a person's word (order) ─►
//! ```
//!
//! It follows the journal, so nothing on the way of a press to its confirmation waits for any of this. What a press sets off is
//! in the configuration, device by device; a device of which it says nothing sets nothing off: help must not harm the one who
//! calls for it. A siren is at once and at least once: a press that was committed just before a crash is found in the journal at
//! the next start, and sounds if it is younger than a minute. A press that the broker kept for us while we were away may be of any
//! age, and sets nothing off.

mod machine;
mod task;
#[cfg(test)]
mod task_tests;
mod voice;

use std::sync::Arc;

use tokio::sync::mpsc;
use tongluo_protocols::id::{DeviceKey, PressId};
use tongluo_protocols::order::{AlarmState, AlarmWord};

use crate::field::Teller;
use crate::speaker::{Busy, Play};
pub(crate) use task::{Rooms, Task};

/// Words of people that wait to be looked at. More at a time are a bug at the hub: the newest are kept from the presser, and
/// that is logged.
const WORDS_MAX: usize = 64;

/// What is to be heard of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    /// Whose alarm it is.
    pub(crate) device: DeviceKey,
    pub(crate) kind: VoiceKind,
    /// The same name is the same voice.
    pub(crate) play: Play,
    /// After so long, in milliseconds from now, it neither begins nor goes on.
    pub(crate) within_ms: u32,
}

/// What a voice is for; the greater goes before the lesser, whichever alarm it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VoiceKind {
    /// It tells the presser one of the three truths.
    Truth,
    /// It calls people: a siren, or a voice that asks the neighbours.
    Call,
}

/// What lets an alarm be heard.
pub(crate) trait Voices {
    /// Has something heard as soon as nothing goes before it.
    ///
    /// # Errors
    /// When too much is asked at once.
    fn sound(&self, voice: Voice) -> Result<(), Busy>;

    /// Ends it.
    ///
    /// # Errors
    /// When too much is asked at once.
    fn hush(&self, name: &str) -> Result<(), Busy>;
}

/// What shows the presser what is true.
pub(crate) trait Shows {
    /// Says something in the village's network, if there is anybody to take it.
    fn say(&self, topic: &str, payload: Vec<u8>);

    /// Returns when there is somebody who may not have heard what was said before.
    fn joined(&mut self) -> impl Future<Output = ()>;
}

impl Shows for Teller {
    fn say(&self, topic: &str, payload: Vec<u8>) {
        self.say(topic, payload);
    }

    fn joined(&mut self) -> impl Future<Output = ()> {
        self.joined()
    }
}

/// What a person did about an alarm.
#[derive(Clone, Debug)]
struct Word {
    device: DeviceKey,
    /// The last press that the county had of it.
    press: Option<PressId>,
    state: AlarmState,
    by: Arc<str>,
}

/// Where people's words are handed in.
#[derive(Clone)]
pub(crate) struct Words(mpsc::Sender<Word>);

impl Words {
    /// The handle, and where the task hears it.
    pub(crate) fn channel() -> (Self, Heard) {
        let (sender, inbox) = mpsc::channel(WORDS_MAX);
        (Self(sender), Heard(inbox))
    }

    /// Tells the presser what a person did; the order was admitted.
    pub(crate) fn pass(&self, word: &AlarmWord<'_>) {
        let by = word.by.unwrap_or_default().into();
        let word = Word { device: word.device, press: word.press, state: word.state, by };
        if self.0.try_send(word).is_err() {
            tracing::error!("a person's word does not reach the presser: too many wait");
        }
    }
}

/// What was handed in.
pub(crate) struct Heard(mpsc::Receiver<Word>);
