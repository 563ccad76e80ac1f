use tongluo_protocols::device::speaker::Sound;

use super::*;

fn speaker(id: &str, kind: SpeakerKind, volume_percent: u8) -> configuration::Speaker {
    let (id, device) = (id.to_owned(), format!("serial-{id}"));
    configuration::Speaker { name: id.clone(), id, kind, device, key: None, volume_percent, warm_up_ms: 0 }
}

fn board() -> Board {
    let mut board = Board::default();
    let speakers = [speaker("a", SpeakerKind::Mqtt, 80), speaker("b", SpeakerKind::LineOut, 100)];
    assert!(board.configure(0, 0, &speakers).is_empty());
    board
}

fn play(name: &str, speakers: &[&str]) -> Play {
    let what = What::BuiltIn { sound: Sound::Siren, length_ms: 1_000 };
    let speakers = speakers.iter().map(|id| (*id).to_owned()).collect();
    Play { name: name.into(), speakers, what, volume_percent: 90 }
}

fn numbers() -> impl FnMut() -> u64 {
    let mut number = 0;
    move || {
        number += 1;
        number
    }
}

fn said(play: u64, state: State) -> Said {
    Said { play, state, played_ms: 500, times: 1, detail: None }
}

/// What is to be done, in few words.
fn words(acts: &[Act]) -> Vec<String> {
    let word = |act: &Act| match act {
        Act::Play { play, volume_percent, .. } => format!("play {play} at {volume_percent}"),
        Act::Stop { play, .. } => format!("stop {play}"),
        Act::Tell(news) => format!("{} at {}: {:?}", news.name, news.speaker, news.state),
    };
    acts.iter().map(word).collect()
}

#[test]
fn each_loudspeaker_is_told_under_its_own_number_and_no_louder_than_its_ceiling() {
    let (mut board, mut draw) = (board(), numbers());
    assert_eq!(
        words(&board.play(&play("x", &["a", "b", "c"]), &mut draw)),
        ["play 1 at 80", "play 2 at 90", "x at c: Failed"]
    );
    assert!(board.play(&play("x", &["a"]), &mut draw).is_empty(), "the same name is the same play");
    let news = board.said(said(2, State::Finished)).unwrap();
    assert_eq!((&*news.name, news.speaker.as_str(), news.state), ("x", "b", State::Finished));
    assert_eq!(board.said(said(2, State::Finished)), None, "it ends once");
    assert_eq!(board.said(said(99, State::Finished)), None, "nobody knows it");
}

#[test]
fn a_play_takes_the_place_of_another_and_the_other_learns_it_once() {
    let (mut board, mut draw) = (board(), numbers());
    board.play(&play("x", &["a"]), &mut draw);
    assert_eq!(words(&board.play(&play("y", &["a"]), &mut draw)), ["play 2 at 80"]);
    // A line-out's helper only knows that it was stopped.
    assert_eq!(board.said(said(1, State::Stopped)).unwrap().state, State::Replaced);
    assert_eq!(board.states()["a"].playing.as_deref(), Some("y"));
    assert_eq!(words(&board.stop("y", None)), ["stop 2"]);
    assert_eq!(board.said(said(2, State::Stopped)).unwrap().state, State::Stopped);
    assert!(board.stop("y", None).is_empty());
}

#[test]
fn a_loudspeaker_is_reported_when_it_changes_and_every_ten_minutes() {
    let mut board = board();
    let sink = Sink::Mqtt("serial-a".to_owned());
    assert!(board.reports(0, 0).is_empty(), "there was no time to answer");
    let life = |health| Life { health, heard_ms: Some(7), detail: "firmware 1".to_owned() };
    board.lives(&sink, &life(Health::Ok));
    let reports = board.reports(1_000, 5_000);
    assert_eq!((reports.len(), reports[0].health, reports[0].since_ms), (1, Health::Ok, 5_000));
    assert!(board.reports(2_000, 6_000).is_empty());
    assert_eq!(board.next_deadline(), Some(1_000 + REPORT_MS));
    let reports = board.reports(1_000 + REPORT_MS, 9_000);
    assert_eq!((reports.len(), reports[0].since_ms), (1, 5_000));
    board.lives(&sink, &life(Health::Silent));
    let reports = board.reports(700_000, 10_000);
    assert_eq!((reports[0].health, reports[0].since_ms), (Health::Silent, 10_000));
    assert!(!board.states()["a"].online);
}

#[test]
fn a_play_that_fails_is_a_fault_of_the_loudspeaker_until_one_succeeds() {
    let (mut board, mut draw) = (board(), numbers());
    let life = Life { health: Health::Ok, heard_ms: None, detail: String::new() };
    board.lives(&Sink::Mqtt("serial-a".to_owned()), &life);
    board.play(&play("x", &["a"]), &mut draw);
    let detail = Some("the sound has another hash".to_owned());
    board.said(Said { detail, ..said(1, State::Failed) });
    let reports = board.reports(1, 1);
    assert_eq!(reports[0].health, Health::Failed);
    assert!(reports[0].detail.contains("another hash"));
    board.play(&play("y", &["a"]), &mut draw);
    board.said(said(2, State::Finished));
    assert_eq!(board.reports(2, 2)[0].health, Health::Ok);
}

#[test]
fn what_failed_while_a_loudspeaker_was_away_is_forgotten_when_it_comes_back() {
    let (mut board, mut draw) = (board(), numbers());
    let sink = Sink::Mqtt("serial-a".to_owned());
    let life = |health| Life { health, heard_ms: None, detail: String::new() };
    board.lives(&sink, &life(Health::Ok));
    board.play(&play("x", &["a"]), &mut draw);
    board.said(said(1, State::Failed));
    assert_eq!(board.reports(1, 1)[0].health, Health::Failed);
    board.lives(&sink, &life(Health::Silent));
    assert_eq!(board.reports(2, 2)[0].health, Health::Silent);
    board.lives(&sink, &life(Health::Ok));
    assert_eq!(board.reports(3, 3)[0].health, Health::Ok);
}

#[test]
fn what_leaves_the_configuration_ends_and_says_so() {
    let (mut board, mut draw) = (board(), numbers());
    board.play(&play("x", &["a", "b"]), &mut draw);
    let left = [speaker("a", SpeakerKind::Mqtt, 30)];
    assert_eq!(words(&board.configure(9, 9, &left)), ["stop 2", "x at b: Failed"]);
    assert_eq!(words(&board.play(&play("y", &["a"]), &mut draw)), ["play 3 at 30"]);
}

#[test]
fn what_is_open_is_bounded() {
    let (mut board, mut draw) = (board(), numbers());
    for number in 0..OPEN_MAX {
        assert!(words(&board.play(&play(&format!("x{number}"), &["a"]), &mut draw))[0].starts_with("play"));
    }
    assert_eq!(words(&board.play(&play("last", &["a"]), &mut draw)), ["last at a: Failed"]);
}
