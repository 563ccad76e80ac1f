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
    /// A person has closed it.
    Closed { device: DeviceKey },
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
            Input::Line(line) => self.line = line,
            Input::InLedger { through } => {
                for open in self.open.values_mut() {
                    open.in_ledger |= open.press.is_some_and(|press| is_through(press, through));
                }
            }
            Input::Taken { device, by } => {
                self.make_room(&device);
                // Of a press before this program started, only the county knows.
                let open = self.open.entry(device).or_insert_with(|| Open::known_to_the_county(now_ms));
                open.taken_by = Some(by);
            }
            Input::Closed { device } => {
                if let Some(open) = self.open.remove(&device)
                    && open.sounds_until_ms.is_some_and(|until_ms| now_ms < until_ms)
                {
                    self.outputs.push_back(Output::Hush { device });
                }
            }
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
        // A new press is a new question: it is answered anew, though a person may have the alarm already.
        let taken_by = before.and_then(|open| open.taken_by);
        let pressed_ms = now_ms.saturating_sub(age_ms);
        let (press, in_ledger, told, spoken) = (Some(press), false, None, None);
        let open = Open { press, pressed_ms, effect, in_ledger, taken_by, told, spoken, sounds_until_ms };
        self.open.insert(device, open);
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
        let (taken_by, told, spoken, sounds_until_ms) = (None, None, None, None);
        Self { press, pressed_ms: now_ms, effect, in_ledger, taken_by, told, spoken, sounds_until_ms }
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
mod tests {
    use tongluo_protocols::id::Epoch;

    use super::*;

    const SILENT: Effect = Effect { sounds_ms: 0, speaks: false };
    const SIREN: Effect = Effect { sounds_ms: 60_000, speaks: false };
    const VOICE: Effect = Effect { sounds_ms: 8_000, speaks: true };

    fn with_line() -> Machine {
        Machine { line: true, ..Machine::default() }
    }

    fn button(number: u8) -> DeviceKey {
        DeviceKey::zigbee(u64::from(number))
    }

    fn press(sequence: u64) -> PressId {
        PressId { epoch: Epoch::from_random(1), sequence }
    }

    fn pressed(sequence: u64, effect: Effect, age_ms: u64) -> Input {
        Input::Pressed { press: press(sequence), device: button(1), effect, age_ms }
    }

    /// What came of it, in few words.
    fn outcome(machine: &mut Machine) -> Vec<String> {
        std::iter::from_fn(|| machine.poll())
            .map(|output| match output {
                Output::Tell { truth, .. } => format!("{truth:?}"),
                Output::Speak { truth, .. } => format!("say {truth:?}"),
                Output::Sound { left_ms, .. } => format!("sound {left_ms}"),
                Output::Hush { .. } => "hush".to_owned(),
            })
            .collect()
    }

    fn taken() -> Input {
        Input::Taken { device: button(1), by: "王主任".to_owned() }
    }

    #[test]
    fn with_the_line_up_the_presser_hears_sent_then_taken() {
        let mut machine = with_line();
        machine.handle(1_000, pressed(1, SILENT, 0));
        assert_eq!(outcome(&mut machine), [""; 0]);
        machine.handle(1_040, Input::InLedger { through: press(1) });
        assert_eq!(outcome(&mut machine), ["Sent"]);
        machine.handle(9_000, taken());
        assert_eq!(outcome(&mut machine), ["Taken { by: \"王主任\" }"]);
        assert_eq!(machine.next_deadline(), None);
        machine.handle(500_000, Input::Tick);
        assert_eq!(outcome(&mut machine), [""; 0], "a person who has it still has it");
    }

    #[test]
    fn when_no_person_takes_it_the_presser_hears_so_and_hears_when_one_does() {
        let mut machine = with_line();
        machine.handle(0, pressed(1, SILENT, 0));
        machine.handle(50, Input::InLedger { through: press(1) });
        assert_eq!(outcome(&mut machine), ["Sent"]);
        assert_eq!(machine.next_deadline(), Some(TAKEN_WITHIN_MS));
        machine.handle(TAKEN_WITHIN_MS, Input::Tick);
        assert_eq!(outcome(&mut machine), ["Nobody"]);
        machine.handle(TAKEN_WITHIN_MS + 9, taken());
        assert_eq!(outcome(&mut machine), ["Taken { by: \"王主任\" }"]);
    }

    #[test]
    fn with_the_line_cut_the_presser_hears_that_only_the_village_knows() {
        let mut machine = with_line();
        machine.handle(0, pressed(7, SILENT, 0));
        assert_eq!(machine.next_deadline(), Some(SENT_WITHIN_MS));
        machine.handle(SENT_WITHIN_MS, Input::Tick);
        assert_eq!(outcome(&mut machine), ["Nobody"]);
        // The line is back within the time in which somebody may take it.
        machine.handle(40_000, Input::InLedger { through: press(8) });
        assert_eq!(outcome(&mut machine), ["Sent"]);
        // Or after it: nothing new is true.
        let mut late = with_line();
        late.handle(0, pressed(7, SILENT, 0));
        late.handle(SENT_WITHIN_MS, Input::Tick);
        late.handle(200_000, Input::InLedger { through: press(8) });
        assert_eq!(outcome(&mut late), ["Nobody"]);
    }

    #[test]
    fn another_journals_acknowledgement_is_not_ours() {
        let mut machine = with_line();
        machine.handle(0, pressed(7, SILENT, 0));
        machine.handle(10, Input::InLedger { through: PressId { epoch: Epoch::from_random(2), sequence: 9 } });
        machine.handle(20, Input::InLedger { through: press(6) });
        assert_eq!(outcome(&mut machine), [""; 0]);
    }

    #[test]
    fn a_siren_sounds_once_and_pressing_again_changes_nothing() {
        let mut machine = with_line();
        machine.handle(0, pressed(1, SIREN, 0));
        assert_eq!(outcome(&mut machine), ["sound 60000"]);
        machine.handle(5_000, pressed(2, SIREN, 0));
        assert_eq!(outcome(&mut machine), [""; 0]);
        machine.handle(61_000, pressed(3, SIREN, 0));
        assert_eq!(outcome(&mut machine), ["sound 60000"], "a press after it ended sounds it again");
        machine.handle(62_000, Input::Closed { device: button(1) });
        assert_eq!(outcome(&mut machine), ["hush"]);
    }

    #[test]
    fn nothing_sounds_unless_it_was_chosen_and_nothing_that_is_old_sounds() {
        let mut machine = with_line();
        machine.handle(0, pressed(1, SILENT, 0));
        machine.handle(100_000, pressed(2, SIREN, SIREN_AGE_MS_MAX));
        assert!(!outcome(&mut machine).iter().any(|line| line.starts_with("sound")));
        machine.handle(200_000, pressed(3, VOICE, 30_000));
        assert!(outcome(&mut machine).contains(&"sound 8000".to_owned()));
        machine.handle(300_000, pressed(4, SIREN, 40_000));
        assert!(outcome(&mut machine).contains(&"sound 20000".to_owned()), "it ends a minute after its press");
    }

    #[test]
    fn without_a_line_the_presser_hears_so_within_seconds() {
        let mut machine = Machine::default();
        machine.handle(0, pressed(1, SILENT, 0));
        assert_eq!(machine.next_deadline(), Some(LINE_BACK_WITHIN_MS));
        machine.handle(LINE_BACK_WITHIN_MS, Input::Tick);
        assert_eq!(outcome(&mut machine), ["Nobody"]);
        // The line is back: nothing is known that was not known before, until the county has it.
        machine.handle(5_000, Input::Line(true));
        assert_eq!(outcome(&mut machine), [""; 0]);
        machine.handle(5_100, Input::InLedger { through: press(1) });
        assert_eq!(outcome(&mut machine), ["Sent"]);
    }

    #[test]
    fn a_line_that_is_cut_while_a_press_is_under_way_is_soon_said() {
        let mut machine = with_line();
        machine.handle(0, pressed(1, SILENT, 0));
        machine.handle(1_000, Input::Line(false));
        assert_eq!(machine.next_deadline(), Some(LINE_BACK_WITHIN_MS));
        machine.handle(4_000, Input::Tick);
        assert_eq!(outcome(&mut machine), ["Nobody"]);
    }

    #[test]
    fn truths_are_spoken_where_chosen_and_wait_until_nothing_sounds() {
        let mut machine = with_line();
        machine.handle(0, pressed(1, VOICE, 0));
        machine.handle(50, Input::InLedger { through: press(1) });
        assert_eq!(outcome(&mut machine), ["sound 8000", "Sent"]);
        assert_eq!(machine.next_deadline(), Some(8_000));
        machine.handle(8_000, Input::Tick);
        assert_eq!(outcome(&mut machine), ["say Sent"]);
        machine.handle(9_000, taken());
        assert_eq!(outcome(&mut machine), ["Taken { by: \"王主任\" }", "say Taken { by: \"王主任\" }"]);
        machine.handle(10_000, Input::Tick);
        assert_eq!(outcome(&mut machine), [""; 0], "each is said once");
    }

    #[test]
    fn a_word_about_a_press_of_before_this_run_is_passed_on() {
        let mut machine = with_line();
        machine.handle(0, taken());
        assert_eq!(outcome(&mut machine), ["Taken { by: \"王主任\" }"], "though this program never saw the press");
    }

    #[test]
    fn a_new_press_is_answered_anew() {
        let mut machine = with_line();
        machine.handle(0, pressed(1, SILENT, 0));
        machine.handle(10, Input::InLedger { through: press(1) });
        machine.handle(20, taken());
        outcome(&mut machine);
        machine.handle(50_000, pressed(2, SILENT, 0));
        assert_eq!(outcome(&mut machine), [""; 0]);
        machine.handle(50_040, Input::InLedger { through: press(2) });
        assert_eq!(outcome(&mut machine), ["Taken { by: \"王主任\" }"]);
    }

    #[test]
    fn alarms_are_bounded_and_the_newest_are_followed() {
        let mut machine = with_line();
        for number in 0..=u8::MAX {
            let input = Input::Pressed {
                press: press(u64::from(number) + 1),
                device: button(number),
                effect: SILENT,
                age_ms: 0,
            };
            machine.handle(u64::from(number), input);
        }
        let device = DeviceKey::lorawan(0x24e1_2453_5b31_6056);
        machine.handle(1_000, Input::Pressed { press: press(900), device, effect: SILENT, age_ms: 0 });
        assert_eq!(machine.open.len(), OPEN_MAX);
        assert!(machine.open.contains_key(&device) && !machine.open.contains_key(&button(0)));
    }
}
