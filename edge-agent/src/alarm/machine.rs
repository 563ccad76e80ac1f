//! What a press sets off in the village, and what the presser is told.
//!
//! The presser hears one of three truths and nothing else: *sent* (it is in the county's ledger), *taken* (a person has it; only
//! a person's act says so) and *nobody* (nobody has taken it yet, or only the village knows). No machine says that people are
//! coming. What sounds is chosen with the household or place: nothing, unless somebody chose it.

use std::collections::{BTreeMap, VecDeque};

use tongluo_protocols::id::{DeviceKey, PressId};

/// How long nobody may have taken an alarm until the presser is told so (supervising stations acknowledge within 90 s,
/// NFPA 72).
const TAKEN_WITHIN_MS: u64 = 90_000;
/// How long a press may be on its way to the ledger until the presser is told that only the village knows: a batch that was
/// lost on a poor mobile line has been sent again by then.
const SENT_WITHIN_MS: u64 = 15_000;
/// The same while there is no line to the county at all: as long as a line may be away that comes back at once.
const LINE_BACK_WITHIN_MS: u64 = 3_000;
/// A press that is older sets nothing off, and what it sets off ends when it is so old: a siren long after the danger frightens,
/// and helps nobody.
pub(super) const SIREN_AGE_MS_MAX: u64 = 60_000;
/// Alarms that are followed at a time. Beyond it the oldest is forgotten here; the county has it all the same.
const OPEN_MAX: usize = 256;

/// What a press sets off, as chosen with its household or place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// For how long something sounds; 0: nothing does.
    pub(super) sounds_ms: u32,
    /// Whether the truths are spoken, too; not while something sounds.
    pub(super) speaks: bool,
}

/// One of the three things that a presser may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    /// 已发出，正在叫人: it is in the county's ledger.
    Sent,
    /// 某某已接警: a person has it, by this name.
    Taken { by: String },
    /// 无人应答，请拨110或120: nobody yet, or only the village knows.
    Nobody,
}

impl Truth {
    /// Its name on the village's network, and the name of the voice that says it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Taken { .. } => "taken",
            Self::Nobody => "nobody",
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// A press was committed to the journal, so long ago.
    Pressed { press: PressId, device: DeviceKey, effect: Effect, age_ms: u64 },
    /// There is a line to the county, or there is none.
    Line(bool),
    /// The county has everything of this epoch up to this sequence.
    InLedger { through: PressId },
    /// A person at the county has taken the alarm of this device.
    Taken { device: DeviceKey, by: String },
    /// A person has closed it; this was the last press that the county had of it, if it said so.
    Closed { device: DeviceKey, press: Option<PressId> },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Show the presser.
    Tell { device: DeviceKey, press: Option<PressId>, truth: Truth },
    /// Say it aloud.
    Speak { device: DeviceKey, truth: Truth },
    /// Sound what was chosen for this device, for what is left of its time.
    Sound { device: DeviceKey, left_ms: u32 },
    /// A person has closed the alarm: what still sounds for it is to be silent.
    Hush { device: DeviceKey },
}

/// The alarms of a village that are open, as far as the village knows.
#[derive(Default)]
pub(super) struct Machine {
    open: BTreeMap<DeviceKey, Open>,
    line: bool,
    outputs: VecDeque<Output>,
}

/// One device's alarm.
struct Open {
    /// The last press; none if only a person's word is known of it.
    press: Option<PressId>,
    pressed_ms: u64,
    effect: Effect,
    in_ledger: bool,
    taken_by: Option<String>,
    /// Whether the line has stood since that word came: only then it is certain that no other came after it.
    word_holds: bool,
    /// What the presser was told last.
    told: Option<Truth>,
    /// What was said aloud last.
    spoken: Option<Truth>,
    /// Until when what was set off may still sound.
    sounds_until_ms: Option<u64>,
}

impl Machine {
    /// Takes in what happened.
    pub(super) fn handle(&mut self, now_ms: u64, input: Input) {
        match input {
            Input::Pressed { press, device, effect, age_ms } => self.pressed(now_ms, press, device, effect, age_ms),
            Input::Line(line) => {
                self.line = line;
                self.open.values_mut().for_each(|open| open.word_holds &= line);
            }
            Input::InLedger { through } => {
                for open in self.open.values_mut() {
                    open.in_ledger |= open.press.is_some_and(|press| is_through(press, through));
                }
            }
            Input::Taken { device, by } => {
                self.make_room(&device);
                // Of a press before this program started, only the county knows.
                let open = self.open.entry(device).or_insert_with(|| Open::known_to_the_county(now_ms));
                (open.taken_by, open.word_holds) = (Some(by), true);
            }
            Input::Closed { device, press } => self.closed(now_ms, device, press),
            Input::Tick => {}
        }
        self.tell(now_ms);
    }

    /// What is to be done next.
    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call again, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.open.values().filter_map(|open| open.deadline_ms(self.line)).min()
    }

    /// What each presser was told last, for whoever comes to the village's network later.
    pub(super) fn told(&self) -> impl Iterator<Item = (DeviceKey, Option<PressId>, &Truth)> {
        self.open.iter().filter_map(|(device, open)| Some((*device, open.press, open.told.as_ref()?)))
    }

    fn make_room(&mut self, device: &DeviceKey) {
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(device) {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.pressed_ms).map(|(device, _)| *device);
            self.open.remove(&oldest.expect("there are as many as may be"));
        }
    }

    fn pressed(&mut self, now_ms: u64, press: PressId, device: DeviceKey, effect: Effect, age_ms: u64) {
        self.make_room(&device);
        let before = self.open.remove(&device);
        let sounding = before.as_ref().and_then(|open| open.sounds_until_ms).filter(|until_ms| now_ms < *until_ms);
        let left_ms = u64::from(effect.sounds_ms).min(SIREN_AGE_MS_MAX.saturating_sub(age_ms));
        // While it sounds, pressing again changes nothing.
        let sounds_until_ms = match sounding {
            None if left_ms > 0 => {
                let left_ms = u32::try_from(left_ms).expect("less is left than there was");
                self.outputs.push_back(Output::Sound { device, left_ms });
                Some(now_ms + u64::from(left_ms))
            }
            other => other,
        };
        // A new press is a new question: it is answered anew, though a person may have the alarm already. Not, if that person
        // may have closed it since.
        let (taken_by, word_holds) = (before.filter(|open| open.word_holds).and_then(|open| open.taken_by), true);
        let pressed_ms = now_ms.saturating_sub(age_ms);
        let (press, in_ledger, told, spoken) = (Some(press), false, None, None);
        let open = Open { press, pressed_ms, effect, in_ledger, taken_by, word_holds, told, spoken, sounds_until_ms };
        self.open.insert(device, open);
    }

    /// A close is about the presses that the county had; one that came since, or is on its way, raised another alarm, which
    /// nobody has yet.
    fn closed(&mut self, now_ms: u64, device: DeviceKey, press: Option<PressId>) {
        let Some(open) = self.open.get_mut(&device) else { return };
        let was_meant = match (open.press, press) {
            (Some(ours), Some(last)) if ours.epoch == last.epoch => ours.sequence <= last.sequence,
            (Some(_), _) => open.in_ledger,
            (None, _) => true,
        };
        if !was_meant {
            open.taken_by = None;
            return;
        }
        let sounds = open.sounds_until_ms.is_some_and(|until_ms| now_ms < until_ms);
        self.open.remove(&device);
        if sounds {
            self.outputs.push_back(Output::Hush { device });
        }
    }

    fn tell(&mut self, now_ms: u64) {
        for (device, open) in &mut self.open {
            let Some(truth) = open.truth(now_ms, self.line) else { continue };
            let device = *device;
            if open.told.as_ref() != Some(&truth) {
                open.told = Some(truth.clone());
                self.outputs.push_back(Output::Tell { device, press: open.press, truth: truth.clone() });
            }
            let still_sounds = open.sounds_until_ms.is_some_and(|until_ms| now_ms < until_ms);
            if open.effect.speaks && !still_sounds && open.spoken.as_ref() != Some(&truth) {
                open.spoken = Some(truth.clone());
                self.outputs.push_back(Output::Speak { device, truth });
            }
        }
    }
}

impl Open {
    fn known_to_the_county(now_ms: u64) -> Self {
        let (press, effect, in_ledger) = (None, Effect::default(), true);
        let (taken_by, word_holds, told, spoken, sounds_until_ms) = (None, true, None, None, None);
        Self { press, pressed_ms: now_ms, effect, in_ledger, taken_by, word_holds, told, spoken, sounds_until_ms }
    }

    /// What is true now; `None` while it is too early to say anything.
    fn truth(&self, now_ms: u64, line: bool) -> Option<Truth> {
        let doubted = now_ms >= self.doubts_at_ms(line);
        match (&self.taken_by, self.in_ledger) {
            (Some(by), true) => Some(Truth::Taken { by: by.clone() }),
            (None, true) if !doubted => Some(Truth::Sent),
            // The line may have come back a moment ago: what was said stays said until more is known.
            (_, false) if !doubted => self.told.clone(),
            _ => Some(Truth::Nobody),
        }
    }

    /// When it has taken too long.
    fn doubts_at_ms(&self, line: bool) -> u64 {
        let within_ms = match (self.in_ledger, line) {
            (true, _) => TAKEN_WITHIN_MS,
            (false, true) => SENT_WITHIN_MS,
            (false, false) => LINE_BACK_WITHIN_MS,
        };
        self.pressed_ms + within_ms
    }

    /// When something changes by time alone.
    fn deadline_ms(&self, line: bool) -> Option<u64> {
        let taken = self.in_ledger && self.taken_by.is_some();
        let doubts_ms = (!taken && self.told != Some(Truth::Nobody)).then(|| self.doubts_at_ms(line));
        let unspoken = self.effect.speaks && self.told.is_some() && self.told != self.spoken;
        let quiet_ms = self.sounds_until_ms.filter(|_| unspoken);
        doubts_ms.into_iter().chain(quiet_ms).min()
    }
}

/// Whether everything through `through` includes a press.
fn is_through(press: PressId, through: PressId) -> bool {
    press.epoch == through.epoch && press.sequence <= through.sequence
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
