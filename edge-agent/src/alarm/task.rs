//! The task between the journal, people's words, the machine, and what shows and speaks.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::event::Press;
use tongluo_protocols::id::{DeviceKey, Epoch, Lane, PressId, Sequence};
use tongluo_protocols::order::AlarmState;

use super::machine::{Input, Machine, Output, Truth};
use super::{Heard, Shows, Voices, Word, voice};
use crate::clock::Clock;
use crate::journal::{Entry, Journal};
use crate::speaker::Sounds;

/// Where the presser's device, or whatever shows it, is told.
const ANSWER_TOPIC_PREFIX: &str = "tongluo/answer/";
/// Entries of earlier runs that are looked at, at most, for a press that is a minute old: a village does not press more often.
const LOOK_BACK_ENTRIES: Sequence = 256;

/// Whom the task speaks with.
pub(crate) struct Rooms<V, S> {
    pub(crate) journal: Journal,
    pub(crate) configurations: watch::Receiver<Arc<Configuration>>,
    pub(crate) voices: V,
    pub(crate) sounds: Sounds,
    pub(crate) teller: S,
    pub(crate) words: Heard,
    /// Whether there is a line to the county.
    pub(crate) line: watch::Receiver<bool>,
}

/// Follows the journal, and answers presses.
pub(crate) struct Task<V, S> {
    rooms: Rooms<V, S>,
    clock: Clock,
    machine: Machine,
    /// Up to where each stream was looked at, and what the county was seen to have of it.
    followed: BTreeMap<Epoch, (Sequence, Sequence)>,
}

/// The message on `tongluo/answer/…`.
#[derive(Serialize)]
struct Answer<'a> {
    truth: &'static str,
    /// Who has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    press: Option<String>,
    at_ms: i64,
}

impl<V: Voices, S: Shows> Task<V, S> {
    pub(crate) fn new(rooms: Rooms<V, S>, clock: Clock) -> Self {
        if let Err(error) = voice::unpack(rooms.sounds.folder()) {
            tracing::error!(alarm.error = %error, "the built-in voices cannot be unpacked: loudspeakers will not find them");
        }
        Self { rooms, clock, machine: Machine::default(), followed: BTreeMap::new() }
    }

    /// Works for as long as the program runs.
    pub(crate) async fn run(mut self) {
        let mut changes = self.rooms.journal.shelf().changes();
        let line = *self.rooms.line.borrow_and_update();
        self.handle(Input::Line(line));
        loop {
            changes.mark_unchanged();
            self.follow().await;
            self.carry_out();
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                Some(word) = self.rooms.words.0.recv() => self.handle(heard(word)),
                Ok(()) = self.rooms.line.changed() => {
                    let line = *self.rooms.line.borrow_and_update();
                    self.handle(Input::Line(line));
                }
                () = self.rooms.teller.joined() => self.tell_again(),
                () = self.clock.until(self.machine.next_deadline()) => self.handle(Input::Tick),
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.machine.handle(self.clock.mono_ms(), input);
    }

    /// Takes in what is new in the journal: presses, and what the county has.
    async fn follow(&mut self) {
        for stream in self.rooms.journal.shelf().streams() {
            if stream.key.lane != Lane::Urgent {
                continue;
            }
            let epoch = stream.key.epoch;
            let begin = if stream.present { 0 } else { stream.head.saturating_sub(LOOK_BACK_ENTRIES) };
            let (mut through, acked) = self.followed.get(&epoch).copied().unwrap_or((begin, 0));
            through = through.max(stream.oldest.saturating_sub(1));
            while through < stream.head {
                let entries = self.rooms.journal.read(stream.key, through + 1).await;
                let Some(last) = entries.last() else { break };
                through = last.sequence;
                entries.iter().for_each(|entry| self.entry(epoch, entry));
            }
            if stream.acked > acked {
                self.handle(Input::InLedger { through: PressId { epoch, sequence: stream.acked } });
            }
            self.followed.insert(epoch, (through, stream.acked.max(acked)));
        }
    }

    fn entry(&mut self, epoch: Epoch, entry: &Entry) {
        if entry.kind != Press::KIND {
            return;
        }
        let Ok(press) = Press::parse(&entry.body) else { return };
        let device = press.device;
        let mut effect = voice::effect(&self.rooms.configurations.borrow(), &self.rooms.sounds, device);
        let age_ms = self.age_ms(entry);
        if press.replayed {
            // Nobody knows how old it is.
            effect.sounds_ms = 0;
        }
        let press = PressId { epoch, sequence: entry.sequence };
        let is_of_this_run = entry.boot_id == self.rooms.journal.boot_id();
        // Of earlier runs only what may still sound is of interest: the rest was answered then, or is answered by a person.
        if is_of_this_run || age_ms < super::machine::SIREN_AGE_MS_MAX {
            self.handle(Input::Pressed { press, device, effect, age_ms });
        }
    }

    /// How long ago an entry was written; by the wall clock if an earlier run wrote it, and beyond any bound if that clock
    /// cannot have been right.
    fn age_ms(&self, entry: &Entry) -> u64 {
        if entry.boot_id == self.rooms.journal.boot_id() {
            return self.clock.mono_ms().saturating_sub(entry.mono_ms);
        }
        u64::try_from(self.clock.utc_ms().saturating_sub(entry.wall_ms)).unwrap_or(u64::MAX)
    }

    fn carry_out(&mut self) {
        let configuration = self.rooms.configurations.borrow().clone();
        let Rooms { voices, sounds, .. } = &self.rooms;
        while let Some(output) = self.machine.poll() {
            let asked = match output {
                Output::Tell { device, press, truth } => {
                    tracing::info!(device.key = %device, alarm.truth = truth.name(), "the presser is told");
                    self.tell(device, press, &truth);
                    Ok(())
                }
                Output::Speak { device, truth } => {
                    voice::truth(&configuration, sounds, device, &truth).map_or(Ok(()), |voice| voices.sound(voice))
                }
                Output::Sound { device, left_ms } => {
                    voice::call(&configuration, sounds, device, left_ms).map_or(Ok(()), |voice| voices.sound(voice))
                }
                Output::Hush { device } => voices.hush(&voice::alarm_name(device)),
            };
            if let Err(error) = asked {
                tracing::error!(alarm.error = %error, "an alarm is not heard as it should be");
            }
        }
    }

    fn tell(&self, device: DeviceKey, press: Option<PressId>, truth: &Truth) {
        let by = match truth {
            Truth::Taken { by } => Some(by.as_str()),
            Truth::Sent | Truth::Nobody => None,
        };
        let press = press.map(|press| press.to_string());
        let answer = Answer { truth: truth.name(), by, press, at_ms: self.clock.utc_ms() };
        let payload = serde_json::to_vec(&answer).expect("texts and a number always serialize");
        let topic = format!("{ANSWER_TOPIC_PREFIX}{}", device.as_str().replace(':', "_"));
        self.rooms.teller.say(&topic, payload);
    }

    /// Says again what is so, to a broker that may have lost it.
    fn tell_again(&self) {
        for (device, press, truth) in self.machine.told() {
            self.tell(device, press, truth);
        }
    }
}

fn heard(word: Word) -> Input {
    let Word { device, press, state, by } = word;
    match state {
        AlarmState::Acknowledged => Input::Taken { device, by: by.to_string() },
        AlarmState::Closed => Input::Closed { device, press },
    }
}
