//! What a presser is told, and what sounds, by what happens.

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

fn closed(last: Option<u64>) -> Input {
    Input::Closed { device: button(1), press: last.map(press) }
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
    machine.handle(62_000, closed(Some(3)));
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
fn a_close_is_about_the_presses_that_the_county_had() {
    let taken_and_pressed_again = || {
        let mut machine = with_line();
        machine.handle(0, pressed(1, SILENT, 0));
        machine.handle(10, Input::InLedger { through: press(1) });
        machine.handle(20, taken());
        machine.handle(1_000, pressed(2, SIREN, 0));
        outcome(&mut machine);
        machine
    };
    // The close and the second press met: that is another alarm, which nobody has.
    for close in [closed(Some(1)), closed(None)] {
        let mut machine = taken_and_pressed_again();
        machine.handle(1_010, close);
        machine.handle(1_020, Input::InLedger { through: press(2) });
        assert_eq!(outcome(&mut machine), ["Sent"], "and its siren goes on");
        machine.handle(1_000 + TAKEN_WITHIN_MS, Input::Tick);
        assert_eq!(outcome(&mut machine), ["Nobody"]);
    }
    let mut overtaken = taken_and_pressed_again();
    overtaken.handle(1_010, Input::InLedger { through: press(2) });
    overtaken.handle(1_020, closed(Some(1)));
    assert_eq!(outcome(&mut overtaken), ["Taken { by: \"王主任\" }", "Sent"]);
    let mut both = taken_and_pressed_again();
    both.handle(1_010, Input::InLedger { through: press(2) });
    both.handle(1_020, closed(Some(2)));
    assert_eq!(outcome(&mut both), ["Taken { by: \"王主任\" }", "hush"]);
    assert_eq!(both.next_deadline(), None);
}

#[test]
fn who_had_it_before_the_line_was_cut_may_have_closed_it_since() {
    let mut machine = with_line();
    machine.handle(0, pressed(1, SILENT, 0));
    machine.handle(10, Input::InLedger { through: press(1) });
    machine.handle(20, taken());
    machine.handle(30, Input::Line(false));
    machine.handle(40, Input::Line(true));
    assert_eq!(outcome(&mut machine), ["Sent", "Taken { by: \"王主任\" }"], "of that press nothing else is known");
    machine.handle(8_000_000, pressed(2, SILENT, 0));
    machine.handle(8_000_010, Input::InLedger { through: press(2) });
    assert_eq!(outcome(&mut machine), ["Sent"]);
    machine.handle(8_000_020, taken());
    assert_eq!(outcome(&mut machine), ["Taken { by: \"王主任\" }"]);
}

#[test]
fn alarms_are_bounded_and_the_newest_are_followed() {
    let mut machine = with_line();
    for number in 0..=u8::MAX {
        let input =
            Input::Pressed { press: press(u64::from(number) + 1), device: button(number), effect: SILENT, age_ms: 0 };
        machine.handle(u64::from(number), input);
    }
    let device = DeviceKey::lorawan(0x24e1_2453_5b31_6056);
    machine.handle(1_000, Input::Pressed { press: press(900), device, effect: SILENT, age_ms: 0 });
    assert_eq!(machine.open.len(), OPEN_MAX);
    assert!(machine.open.contains_key(&device) && !machine.open.contains_key(&button(0)));
}
