//! What is heard where, in which order, and what is said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tongluo_protocols::device::speaker::{Sound, State};
use tongluo_protocols::event::PlayState;
use tongluo_protocols::id::{ContentId, DeviceKey};
use tongluo_protocols::order::{Interrupted, Priority};

use super::CHIME_MS;
use super::machine::Machine;
use super::show::{Now, Ordered, Output};
use crate::alarm::{Voice, VoiceKind};
use crate::journal::PlayMark;
use crate::speaker::{News, Play, What};

const NOON_MS: i64 = 1_795_406_400_000;

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, utc_ms: Some(NOON_MS + mono_ms as i64), night: false }
}

fn notice(name: &str, speakers: &[&str]) -> Ordered {
    Ordered {
        name: name.into(),
        priority: Priority::Notice,
        interrupted: Interrupted::Resume,
        speakers: speakers.iter().map(|id| (*id).to_owned()).collect(),
        content: ContentId([3; 32]),
        bytes: 640_044,
        length_ms: 10_000,
        times: 3,
        gap_ms: 1_000,
        chime: false,
        volume_percent: 70,
        not_after_ms: NOON_MS + 900_000,
    }
}

fn danger(name: &str, speakers: &[&str]) -> Ordered {
    Ordered { priority: Priority::Emergency, times: 1, ..notice(name, speakers) }
}

fn file(times: u8, from_ms: u32) -> What {
    What::File { content: ContentId([3; 32]), bytes: 640_044, length_ms: 10_000, times, gap_ms: 1_000, from_ms }
}

fn voice(kind: VoiceKind, button: u64, name: &str, speaker: &str, what: What, within_ms: u32) -> Voice {
    let play = Play { name: name.into(), speakers: vec![speaker.to_owned()], what, volume_percent: 100 };
    Voice { device: DeviceKey::zigbee(button), kind, play, within_ms }
}

fn siren(button: u64, speaker: &str) -> Voice {
    let what = What::BuiltIn { sound: Sound::Siren, length_ms: 30_000 };
    voice(VoiceKind::Call, button, &format!("alarm/{button}"), speaker, what, 30_000)
}

fn neighbours(button: u64, speaker: &str) -> Voice {
    voice(VoiceKind::Call, button, &format!("alarm/{button}"), speaker, file(2, 0), 60_000)
}

fn truth(button: u64, truth: &str, speaker: &str) -> Voice {
    voice(VoiceKind::Truth, button, &format!("alarm/{button}/{truth}"), speaker, file(1, 0), 30_000)
}

/// A machine, and what it said to do.
#[derive(Default)]
struct Village {
    machine: Machine,
    outputs: Vec<String>,
    plays: Vec<Play>,
    /// The disk and the line answer at once.
    by_hand: bool,
}

impl Village {
    fn drain(&mut self, now: Now) -> Vec<String> {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Fetch { name, .. } => {
                    self.outputs.push(format!("fetch {name}"));
                    if !self.by_hand {
                        self.machine.fetched(now, &name, Ok(()));
                    }
                }
                Output::Commit { name, speakers } => {
                    self.outputs.push(format!("commit {name} {}", speakers.join("+")));
                    if !self.by_hand {
                        self.machine.committed(now, &name, &speakers);
                    }
                }
                Output::Play(play) => {
                    self.outputs.push(format!("play {} {}", play.name, play.speakers.join("+")));
                    self.plays.push(play);
                }
                Output::Silence { name, speaker } => self.outputs.push(format!("silence {name} {speaker}")),
                Output::Tell(told) => self.outputs.push(format!(
                    "{} {} {} {}x{}",
                    told.name,
                    told.speaker,
                    told.state.name(),
                    told.times,
                    told.played_ms
                )),
                Output::Over { name } => self.outputs.push(format!("over {name}")),
            }
        }
        std::mem::take(&mut self.outputs)
    }

    fn begin(&mut self, now: Now, ordered: Ordered) -> Vec<String> {
        self.machine.begin(now, ordered, &BTreeMap::new());
        self.drain(now)
    }

    fn voice(&mut self, now: Now, voice: Voice) -> Vec<String> {
        self.machine.voice(now, voice);
        self.drain(now)
    }

    fn tick(&mut self, now: Now) -> Vec<String> {
        self.machine.tick(now);
        self.drain(now)
    }

    fn news(&mut self, now: Now, name: &str, speaker: &str, state: State, played_ms: u32) -> Vec<String> {
        let (name, speaker): (Arc<str>, _) = (name.into(), speaker.to_owned());
        self.machine.news(now, &News { name, speaker, state, played_ms, times: 0, detail: None });
        self.drain(now)
    }
}

#[test]
fn a_broadcast_begins_once_it_is_fetched_and_committed_and_has_one_last_word_for_each_loudspeaker() {
    let mut village = Village { by_hand: true, ..Village::default() };
    assert_eq!(village.begin(at(0), notice("b", &["s1", "s2"])), ["b s1 fetching 0x0", "b s2 fetching 0x0", "fetch b"]);
    village.machine.fetched(at(10), "b", Ok(()));
    assert_eq!(village.drain(at(10)), ["b s1 waiting 0x0", "b s2 waiting 0x0", "commit b s1+s2"]);
    assert!(village.plays.is_empty(), "nothing is heard before it is on disk that it begins");
    village.machine.committed(at(20), "b", &["s1".to_owned(), "s2".to_owned()]);
    assert_eq!(village.drain(at(20)), ["play b s1+s2"]);
    assert_eq!(village.plays[0].what, file(3, 0));
    assert_eq!(village.news(at(30), "b", "s1", State::Started, 0), ["b s1 playing 0x0"]);
    assert!(village.news(at(31), "b", "s1", State::Started, 900).is_empty(), "once for each change");
    assert_eq!(village.news(at(40), "b", "s1", State::Finished, 30_000), ["b s1 played 3x30000"]);
    assert!(village.news(at(41), "b", "s1", State::Failed, 0).is_empty(), "the last word is the last");
    assert_eq!(village.news(at(50), "b", "s2", State::Failed, 12_000), ["b s2 failed 1x12000", "over b"]);
    assert_eq!(village.machine.next_deadline(at(50)), None);
}

#[test]
fn the_same_broadcast_twice_is_one() {
    let mut village = Village::default();
    village.begin(at(0), notice("b", &["s1"]));
    assert!(village.begin(at(1), notice("b", &["s1"])).is_empty());
    assert_eq!(village.plays.len(), 1);
}

#[test]
fn what_was_begun_before_a_crash_is_interrupted_and_what_was_not_has_its_chance() {
    let mut village = Village::default();
    let marks = [("s1", PlayMark::Begun), ("s2", PlayMark::Over), ("gone", PlayMark::Begun)];
    let marks: BTreeMap<_, _> = marks.map(|(id, mark)| (id.to_owned(), mark)).into();
    village.machine.begin(at(0), notice("b", &["s1", "s2", "s3"]), &marks);
    let said = village.drain(at(0));
    assert!(said.contains(&"b s1 interrupted 0x0".to_owned()), "{said:?}");
    assert!(said.contains(&"b gone interrupted 0x0".to_owned()), "{said:?}");
    assert!(!said.iter().any(|word| word.starts_with("b s2")), "its last word was said: {said:?}");
    assert_eq!(said.last().unwrap(), "play b s3");
    assert_eq!(village.news(at(9), "b", "s3", State::Finished, 30_000), ["b s3 played 3x30000", "over b"]);

    let all: BTreeMap<_, _> = [("s1".to_owned(), PlayMark::Begun)].into();
    let mut village = Village::default();
    village.machine.begin(at(0), notice("c", &["s1"]), &all);
    assert_eq!(village.drain(at(0)), ["c s1 interrupted 0x0", "over c"], "nothing is fetched for it");
}

#[test]
fn danger_goes_before_a_notice_which_goes_on_where_it_was() {
    let mut village = Village::default();
    village.begin(at(0), notice("n", &["s1"]));
    village.news(at(5), "n", "s1", State::Started, 0);
    assert_eq!(village.begin(at(10), danger("e", &["s1"])).last().unwrap(), "play e s1");
    assert_eq!(village.news(at(11), "n", "s1", State::Replaced, 14_000), ["n s1 waiting 1x14000"]);
    village.news(at(12), "e", "s1", State::Started, 0);
    assert_eq!(
        village.news(at(20), "e", "s1", State::Finished, 10_000),
        ["e s1 played 1x10000", "play n s1", "over e"]
    );
    assert_eq!(village.plays.last().unwrap().what, file(2, 4_000));
    assert_eq!(village.news(at(30), "n", "s1", State::Finished, 16_000), ["n s1 played 3x30000", "over n"]);
}

#[test]
fn what_is_broken_off_goes_as_its_order_says() {
    for (interrupted, then, what) in [
        (Interrupted::Drop, "n s1 interrupted 1x14000", None),
        (Interrupted::Restart, "n s1 waiting 0x0", Some(file(3, 0))),
        (Interrupted::Resume, "n s1 waiting 1x14000", Some(file(2, 4_000))),
    ] {
        let mut village = Village::default();
        village.begin(at(0), Ordered { interrupted, ..notice("n", &["s1"]) });
        village.news(at(5), "n", "s1", State::Started, 0);
        village.begin(at(10), danger("e", &["s1"]));
        assert_eq!(village.news(at(11), "n", "s1", State::Replaced, 14_000)[0], then);
        village.plays.clear();
        village.news(at(20), "e", "s1", State::Finished, 10_000);
        assert_eq!(village.plays.first().map(|play| play.what.clone()), what, "{interrupted:?}");
    }
}

#[test]
fn a_lesser_or_equal_one_waits_its_turn() {
    let mut village = Village::default();
    village.begin(at(0), notice("first", &["s1", "s2"]));
    village.news(at(1), "first", "s1", State::Started, 0);
    let programme = Ordered { priority: Priority::Programme, ..notice("programme", &["s1"]) };
    assert!(!village.begin(at(2), programme).iter().any(|word| word.starts_with("play")));
    assert!(!village.begin(at(3), notice("second", &["s1"])).iter().any(|word| word.starts_with("play")));
    let said = village.news(at(4), "first", "s1", State::Finished, 30_000);
    assert!(said.contains(&"play second s1".to_owned()), "{said:?}");
    let said = village.news(at(5), "second", "s1", State::Finished, 30_000);
    assert!(said.contains(&"play programme s1".to_owned()), "{said:?}");
}

#[test]
fn what_was_broken_off_may_go_on_beyond_the_time_in_which_it_may_begin_but_not_for_ever() {
    let last = 900_000;
    for (resumes_at, then) in [(last + 31_999, "play n s1"), (last + 32_001, "n s1 interrupted 1x14000")] {
        let mut village = Village::default();
        village.begin(at(last), notice("n", &["s1"]));
        village.news(at(last), "n", "s1", State::Started, 0);
        village.voice(at(last + 1), siren(1, "s1"));
        village.news(at(last + 2), "n", "s1", State::Replaced, 14_000);
        assert!(village.tick(at(last + 1_000)).is_empty(), "it waits");
        village.machine.news(
            at(resumes_at),
            &News {
                name: "alarm/1".into(),
                speaker: "s1".to_owned(),
                state: State::Finished,
                played_ms: 0,
                times: 0,
                detail: None,
            },
        );
        assert_eq!([village.drain(at(resumes_at)), village.tick(at(resumes_at))].concat()[0], then);
    }
}

#[test]
fn an_alarm_is_heard_at_once_between_danger_and_notice_and_nobody_is_told() {
    let mut village = Village::default();
    village.begin(at(0), notice("n", &["s1", "s2"]));
    assert_eq!(village.voice(at(1), siren(1, "s1")), ["play alarm/1 s1"], "nothing is committed for it");
    village.news(at(2), "n", "s1", State::Replaced, 500);
    assert!(village.voice(at(3), siren(1, "s1")).is_empty(), "the same one is the same");
    assert_eq!(village.begin(at(5), danger("e", &["s1"])).last().unwrap(), "play e s1");
    assert!(village.news(at(6), "alarm/1", "s1", State::Replaced, 9).is_empty());
    assert!(village.voice(at(7), truth(2, "sent", "s1")).is_empty(), "danger goes before it");
    assert!(village.tick(at(30_008)).is_empty());
    let said = village.news(at(30_009), "e", "s1", State::Finished, 10_000);
    assert!(said.contains(&"play n s1".to_owned()) && !said.join(" ").contains("alarm"), "both are late: {said:?}");
    village.voice(at(30_010), siren(3, "s2"));
    village.machine.stop(at(30_011), Some("alarm/3"));
    assert_eq!(village.drain(at(30_011)), ["silence alarm/3 s2"]);
}

#[test]
fn no_truth_ends_a_siren_and_each_is_heard_after_it() {
    let mut village = Village::default();
    village.voice(at(0), siren(1, "s1"));
    assert!(village.voice(at(10), truth(2, "sent", "s1")).is_empty(), "another household's truth waits");
    assert!(village.voice(at(11), truth(3, "sent", "s1")).is_empty());
    assert!(village.voice(at(12), truth(2, "taken", "s1")).is_empty());
    let said = village.news(at(20_000), "alarm/1", "s1", State::Stopped, 20_000);
    assert_eq!(said, ["play alarm/3/sent s1"], "the second household's is not true any more");
    let said = village.news(at(20_001), "alarm/3/sent", "s1", State::Finished, 10_000);
    assert_eq!(said, ["play alarm/2/taken s1"]);
}

#[test]
fn what_is_true_now_takes_the_place_of_what_was_and_never_comes_before_it() {
    let mut village = Village::default();
    assert_eq!(village.voice(at(0), truth(1, "sent", "s1")), ["play alarm/1/sent s1"]);
    assert_eq!(village.voice(at(1), truth(1, "taken", "s1")), ["silence alarm/1/sent s1"]);
    assert_eq!(village.news(at(2), "alarm/1/sent", "s1", State::Stopped, 1), ["play alarm/1/taken s1"]);
    assert!(village.voice(at(3), truth(2, "sent", "s1")).is_empty(), "another's is heard to its end");
}

#[test]
fn the_latest_call_for_people_is_heard_at_once_and_the_others_go_on_for_what_is_left_of_their_time() {
    let mut village = Village::default();
    village.voice(at(0), siren(1, "s1"));
    assert_eq!(village.voice(at(10_000), neighbours(2, "s1")), ["play alarm/2 s1"]);
    assert!(village.news(at(10_001), "alarm/1", "s1", State::Replaced, 10_000).is_empty());
    assert_eq!(village.news(at(18_000), "alarm/2", "s1", State::Finished, 8_000), ["play alarm/1 s1"]);
    let what = &village.plays.last().unwrap().what;
    assert_eq!(*what, What::BuiltIn { sound: Sound::Siren, length_ms: 12_000 }, "it ends when it was to end");
    // Danger goes before it, and it goes on after that as well; but a call whose time is over is over.
    village.begin(at(19_000), danger("e", &["s1"]));
    village.news(at(19_001), "alarm/1", "s1", State::Replaced, 1_000);
    village.voice(at(19_002), neighbours(3, "s1"));
    village.tick(at(31_000));
    let said = village.news(at(32_000), "e", "s1", State::Finished, 10_000);
    assert_eq!(said, ["e s1 played 1x10000", "play alarm/3 s1", "over e"]);
    assert!(village.news(at(40_000), "alarm/3", "s1", State::Finished, 8_000).is_empty(), "nothing is left");
    assert_eq!(village.machine.next_deadline(at(40_000)), None);
}

#[test]
fn a_loudspeaker_that_comes_back_in_time_is_heard_once_and_afterwards_not() {
    let mut village = Village::default();
    village.machine.away(at(0), vec!["s2".to_owned(), "s3".to_owned()]);
    let said = village.begin(at(0), notice("b", &["s1", "s2", "s3"]));
    assert_eq!(said.last().unwrap(), "play b s1");
    village.machine.away(at(800_000), vec!["s3".to_owned()]);
    assert_eq!(village.drain(at(800_000)), ["commit b s2", "play b s2"]);
    village.news(at(800_001), "b", "s2", State::Finished, 30_000);
    village.machine.tick(at(900_000));
    assert!(village.drain(at(900_000)).is_empty());
    village.machine.tick(at(900_001));
    assert_eq!(village.drain(at(900_001)), ["b s3 expired 0x0"]);
    village.machine.away(at(900_002), Vec::new());
    assert!(village.drain(at(900_002)).is_empty(), "afterwards it is not heard");
    assert_eq!(village.plays.len(), 2);
}

#[test]
fn one_that_fell_silent_before_it_was_heard_waits_and_one_that_was_heard_has_failed() {
    let mut village = Village::default();
    village.begin(at(0), notice("b", &["s1", "s2"]));
    village.news(at(1), "b", "s2", State::Started, 0);
    village.machine.away(at(2), vec!["s1".to_owned(), "s2".to_owned()]);
    assert!(village.news(at(40_000), "b", "s1", State::Failed, 0).is_empty(), "it waits, as was said before");
    assert_eq!(village.news(at(40_000), "b", "s2", State::Failed, 0), ["b s2 failed 0x0"]);
    village.machine.away(at(50_000), Vec::new());
    assert_eq!(village.drain(at(50_000)), ["play b s1"], "it was never heard: this is its one time");
}

#[test]
fn a_file_that_cannot_be_had_is_tried_again_and_said_why_in_the_end() {
    let mut village = Village { by_hand: true, ..Village::default() };
    village.begin(at(0), notice("b", &["s1"]));
    village.machine.fetched(at(10), "b", Err("its hash is another".to_owned()));
    village.machine.tick(at(1_000));
    assert!(village.drain(at(1_000)).is_empty());
    village.machine.tick(at(2_010));
    assert_eq!(village.drain(at(2_010)), ["fetch b"]);
    village.machine.tick(at(3_000));
    assert!(village.drain(at(3_000)).is_empty(), "one try at a time");
    village.machine.fetched(at(3_100), "b", Err("its hash is another".to_owned()));
    village.machine.tick(at(900_001));
    let said = village.drain(at(900_001));
    assert!(said.contains(&"b s1 failed 0x0".to_owned()) && said.contains(&"over b".to_owned()), "{said:?}");
}

#[test]
fn a_stop_ends_what_is_heard_and_what_waits_and_voices_only_by_name() {
    let mut village = Village::default();
    village.machine.away(at(0), vec!["s2".to_owned()]);
    village.begin(at(0), notice("b", &["s1", "s2"]));
    village.voice(at(1), siren(1, "s3"));
    village.machine.stop(at(2), None);
    assert_eq!(village.drain(at(2)), ["silence b s1", "b s2 stopped 0x0"]);
    village.machine.stop(at(3), Some("b"));
    assert!(village.drain(at(3)).is_empty(), "a repeat changes nothing");
    assert_eq!(village.news(at(4), "b", "s1", State::Stopped, 5_000), ["b s1 stopped 0x5000", "over b"]);
    village.machine.stop(at(5), Some("no such"));
    assert!(village.drain(at(5)).is_empty());
}

#[test]
fn what_is_stopped_while_it_is_committed_is_not_heard() {
    let mut village = Village { by_hand: true, ..Village::default() };
    village.begin(at(0), notice("b", &["s1"]));
    village.machine.fetched(at(1), "b", Ok(()));
    village.drain(at(1));
    village.machine.stop(at(2), Some("b"));
    assert_eq!(village.drain(at(2)), ["b s1 stopped 0x0", "over b"]);
    village.machine.committed(at(3), "b", &["s1".to_owned()]);
    assert!(village.drain(at(3)).is_empty() && village.plays.is_empty());
}

#[test]
fn a_chime_goes_before_the_first_time_only_and_a_loudspeaker_without_one_is_heard_all_the_same() {
    let mut village = Village::default();
    village.begin(at(0), Ordered { chime: true, ..notice("b", &["s1", "s2"]) });
    assert_eq!(village.plays[0].what, What::BuiltIn { sound: Sound::Chime, length_ms: CHIME_MS });
    assert_eq!(village.news(at(1), "b#chime", "s1", State::Finished, 2_000), ["play b s1"]);
    assert_eq!(village.news(at(2), "b#chime", "s2", State::Failed, 0), ["play b s2"]);
    village.news(at(3), "b", "s1", State::Started, 0);
    village.begin(at(4), danger("e", &["s1"]));
    village.news(at(5), "b", "s1", State::Replaced, 1_000);
    village.news(at(6), "e", "s1", State::Finished, 10_000);
    assert_eq!(village.plays.last().unwrap().what, file(3, 1_000));
}

#[test]
fn nothing_begins_by_night_but_danger_and_nothing_without_the_time() {
    let night = Now { night: true, ..at(0) };
    let unsure = Now { utc_ms: None, ..at(0) };
    for (now, danger_is_heard) in [(night, true), (unsure, false)] {
        let mut village = Village::default();
        assert!(!village.begin(now, notice("n", &["s1"])).iter().any(|word| word.starts_with("play")));
        let said = village.begin(now, danger("e", &["s1"]));
        assert_eq!(said.iter().any(|word| word == "play e s1"), danger_is_heard, "{said:?}");
    }
}

proptest! {
    /// Whatever happens in whatever order: nothing is handed to a loudspeaker for the first time twice, nothing is told after a
    /// last word, and in the end each part has one.
    #[test]
    fn nothing_begins_twice_and_nothing_ends_without_a_word(steps in prop::collection::vec((0..9_u8, 0..3_usize, 0..2_usize, 0..20_000_u32), 1..60)) {
        let (mut village, mut begun, mut last) = (Village::default(), BTreeMap::new(), BTreeMap::new());
        let names = ["a", "b", "c"];
        let mut mono_ms = 0;
        let mut said = Vec::new();
        for (step, which, speaker, played_ms) in steps {
            mono_ms += u64::from(played_ms);
            let (now, name, speaker) = (at(mono_ms), names[which], ["s1", "s2"][speaker]);
            match step {
                0 | 1 => {
                    let mut ordered = if which == 2 { danger(name, &["s1", "s2"]) } else { notice(name, &["s1", "s2"]) };
                    ordered.interrupted = [Interrupted::Resume, Interrupted::Drop, Interrupted::Restart][which];
                    if !begun.contains_key(name) {
                        said.extend(village.begin(now, ordered));
                        begun.insert(name, ());
                    }
                }
                2 => said.extend(village.news(now, name, speaker, State::Started, 0)),
                3 => said.extend(village.news(now, name, speaker, State::Finished, 30_000)),
                4 => said.extend(village.news(now, name, speaker, State::Replaced, played_ms)),
                5 => said.extend(village.news(now, name, speaker, State::Failed, 0)),
                6 => {
                    village.machine.away(now, if played_ms % 2 == 0 { vec![speaker.to_owned()] } else { Vec::new() });
                    said.extend(village.drain(now));
                }
                7 => {
                    village.machine.stop(now, Some(name));
                    said.extend(village.drain(now));
                }
                _ => {
                    village.machine.tick(now);
                    said.extend(village.drain(now));
                }
            }
        }
        // All that is left is stopped, or comes to its end.
        for name in names {
            village.machine.stop(at(mono_ms), Some(name));
            for speaker in ["s1", "s2"] {
                said.extend(village.news(at(mono_ms), name, speaker, State::Stopped, 0));
            }
        }
        said.extend(village.drain(at(mono_ms)));
        let mut commits = BTreeMap::new();
        for word in &said {
            let parts: Vec<&str> = word.split(' ').collect();
            if let ["commit", name, speakers] = parts[..] {
                for speaker in speakers.split('+') {
                    prop_assert!(commits.insert((name, speaker), ()).is_none(), "begun twice: {:?}", said);
                }
            } else if let [name, speaker, state, _] = parts[..] {
                prop_assert!(!last.contains_key(&(name, speaker)), "told after the last word: {:?}", said);
                if PlayState::from_name(state).is_final() {
                    last.insert((name, speaker), ());
                }
            }
        }
        for name in begun.keys() {
            for speaker in ["s1", "s2"] {
                prop_assert!(last.contains_key(&(*name, speaker)), "{} at {} has no last word: {:?}", name, speaker, said);
            }
        }
    }
}
