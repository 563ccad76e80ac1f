use tongluo_protocols::device::speaker::{Alive, Obedience, Progress};

use super::*;

const KEY: Key = Key::new([7; 32]);

/// A loudspeaker that remembers what it was told.
struct Fake {
    id: &'static str,
    obedience: Obedience,
    counter: u64,
    told: Vec<String>,
    playing: Option<u64>,
}

impl Fake {
    fn new(id: &'static str, session: u8) -> Self {
        Self { id, obedience: Obedience::new(Session([session; 16])), counter: 0, told: Vec::new(), playing: None }
    }

    /// Takes a message in; answers an ask.
    fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let sealed = Sealed::open(&KEY, Direction::ToSpeaker, self.id, bytes).expect("the gateway has the key");
        match self.obedience.command(&sealed) {
            Ok(Command::Ask(challenge)) => {
                let alive = Alive {
                    challenge,
                    firmware: "fake",
                    uptime_s: 1,
                    playing: self.playing,
                    obeyed: self.obedience.obeyed(),
                };
                Some(self.say(&Report::Alive(alive)))
            }
            Ok(command) => {
                self.told.push(match command {
                    Command::Play(play) => format!("play {}", play.play),
                    Command::Ring(ring) => format!("ring {} at {}", ring.play, ring.volume_percent),
                    Command::Stop(play) => format!("stop {play:?}"),
                    other => format!("{other:?}"),
                });
                None
            }
            Err(refusal) => {
                self.told.push(format!("refused: {refusal}"));
                None
            }
        }
    }

    fn progress(&mut self, play: u64, state: State) -> Vec<u8> {
        self.say(&Report::Progress(Progress { play, state, played_ms: 500, times: 1, detail: None }))
    }

    fn say(&mut self, report: &Report<'_>) -> Vec<u8> {
        self.counter += 1;
        let mut body = [0; MESSAGE_BYTES_MAX];
        let length = report.emit(&mut body).unwrap();
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let sealed = Sealed { session: self.obedience.session(), counter: self.counter, body: &body[..length] };
        let length = sealed.emit(&KEY, Direction::FromSpeaker, self.id, &mut message).unwrap();
        message.truncate(length);
        message
    }
}

struct Village {
    machine: Machine,
    now_ms: u64,
    challenges: u8,
    heard: Vec<String>,
}

impl Village {
    fn new(ids: &[&str]) -> Self {
        let mut village = Self { machine: Machine::default(), now_ms: 1_000, challenges: 0, heard: Vec::new() };
        let speaker = |id: &&str| Speaker { id: (*id).to_owned(), key: KEY };
        village.machine.handle(1_000, [0; 16], Input::Configured(ids.iter().map(speaker).collect()));
        village
    }

    /// Hands something in and carries what comes of it to the speaker, for as long as both talk.
    fn happens(&mut self, speaker: &mut Fake, input: Input<'_>) {
        self.challenges += 1;
        self.machine.handle(self.now_ms, [self.challenges; 16], input);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { bytes, .. } => {
                    if let Some(answer) = speaker.hear(&bytes) {
                        let message = Input::Message { speaker: speaker.id, bytes: &answer };
                        self.machine.handle(self.now_ms, [self.challenges; 16], message);
                    }
                }
                Output::Progress { play, state, detail, .. } => {
                    self.heard.push(format!("{play} {state:?} {}", detail.unwrap_or_default()).trim().to_owned());
                }
            }
        }
    }

    fn later(&mut self, speaker: &mut Fake, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(at_ms) = self.machine.next_deadline().filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.happens(speaker, Input::Tick);
        }
        self.now_ms = end_ms;
    }

    fn play(&mut self, speaker: &mut Fake, play: u64) {
        let what = What::BuiltIn { sound: Sound::Siren, length_ms: 2_000 };
        let id = speaker.id;
        self.happens(speaker, Input::Play { play, speaker: id, what, volume_percent: 80 });
    }

    fn says(&mut self, speaker: &mut Fake, bytes: &[u8]) {
        let id = speaker.id;
        self.happens(speaker, Input::Message { speaker: id, bytes });
    }
}

#[test]
fn a_play_is_told_once_the_speaker_lives_and_ends_with_its_report() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.play(&mut a, 7);
    assert!(a.told.is_empty(), "nothing is told before the broker is connected");
    village.happens(&mut a, Input::Connected(true));
    village.later(&mut a, 1);
    assert_eq!(a.told, ["ring 7 at 80"]);
    let started = a.progress(7, State::Started);
    village.says(&mut a, &started);
    village.later(&mut a, 5_000);
    let finished = a.progress(7, State::Finished);
    village.says(&mut a, &finished);
    assert_eq!(village.heard, ["7 Started", "7 Finished"]);
    assert_eq!(a.told.len(), 1, "what the speaker has taken is not told again");
    village.later(&mut a, 200_000);
    assert_eq!(village.heard.len(), 2, "and nothing more is heard of it");
}

#[test]
fn a_speaker_that_says_nothing_is_told_again_and_given_up_in_time() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    village.play(&mut a, 7);
    village.later(&mut a, 3_000);
    assert!(a.told.len() >= 4 && a.told.iter().all(|told| told == "ring 7 at 80"), "{:?}", a.told);
    village.later(&mut a, GRACE_MS + 2_000);
    assert_eq!(village.heard, ["7 Failed the speaker did not answer"]);
}

#[test]
fn what_a_speaker_had_begun_before_it_started_again_is_not_begun_again() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    village.play(&mut a, 7);
    let started = a.progress(7, State::Started);
    village.says(&mut a, &started);
    village.play(&mut a, 8);
    let mut renewed = Fake::new("a", 2);
    village.later(&mut renewed, ASK_EVERY_MS + 100);
    assert!(village.heard.contains(&"7 Failed the speaker started again in the middle of it".to_owned()));
    assert!(
        renewed.told.contains(&"ring 8 at 80".to_owned()),
        "what it had said nothing of is told: {:?}",
        renewed.told
    );
    assert!(!renewed.told.contains(&"ring 7 at 80".to_owned()));
}

#[test]
fn a_stop_is_told_until_the_speaker_says_that_it_ended() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    village.play(&mut a, 7);
    let started = a.progress(7, State::Started);
    village.says(&mut a, &started);
    village.happens(&mut a, Input::Stop { play: 7, speaker: "a" });
    village.later(&mut a, TELL_AGAIN_MS);
    assert_eq!(a.told[1..], ["stop Some(7)", "stop Some(7)"]);
    let stopped = a.progress(7, State::Stopped);
    village.says(&mut a, &stopped);
    village.later(&mut a, 10_000);
    assert_eq!(a.told.len(), 3);
    assert_eq!(village.heard.last().unwrap(), "7 Stopped");
}

#[test]
fn a_gateway_that_started_again_ends_what_its_speakers_still_play() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    a.playing = Some(3);
    village.happens(&mut a, Input::Connected(true));
    village.later(&mut a, 1);
    assert_eq!(a.told, ["stop Some(3)"]);
}

fn health(village: &Village) -> Health {
    village.machine.looks().next().expect("there is one speaker").1.health
}

/// Time passes for a speaker whose cable is pulled: what is sent reaches nobody.
fn pulled(village: &mut Village, ms: u64) {
    let end_ms = village.now_ms + ms;
    while let Some(at_ms) = village.machine.next_deadline().filter(|at_ms| *at_ms <= end_ms) {
        village.now_ms = village.now_ms.max(at_ms);
        village.machine.handle(village.now_ms, [99; 16], Input::Tick);
        while village.machine.poll().is_some() {}
    }
    village.now_ms = end_ms;
}

#[test]
fn silence_is_noticed_and_an_answer_ends_it() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    assert_eq!(health(&village), Health::Starting);
    village.happens(&mut a, Input::Connected(true));
    village.later(&mut a, 1);
    assert_eq!(health(&village), Health::Ok);
    pulled(&mut village, SILENT_MS - 2);
    assert_eq!(health(&village), Health::Ok);
    pulled(&mut village, 2);
    assert_eq!(health(&village), Health::Silent);
    village.later(&mut Fake::new("a", 9), ASK_AGAIN_MS);
    assert_eq!(health(&village), Health::Ok);
}

#[test]
fn a_speaker_that_never_answered_is_silent_too() {
    let mut village = Village::new(&["a"]);
    pulled(&mut village, SILENT_MS);
    assert_eq!(health(&village), Health::Silent, "though the broker was never reached");
}

#[test]
fn another_key_under_a_speakers_name_is_told_apart_from_silence() {
    let mut village = Village::new(&["a"]);
    village.machine.handle(village.now_ms, [0; 16], Input::Connected(true));
    pulled(&mut village, 20_000);
    let mut other = Fake::new("a", 3);
    let mut bytes = other.progress(1, State::Started);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    village.machine.handle(village.now_ms, [0; 16], Input::Message { speaker: "a", bytes: &bytes });
    pulled(&mut village, SILENT_MS - 20_000);
    assert_eq!(health(&village), Health::Refused);
    pulled(&mut village, SILENT_MS);
    assert_eq!(health(&village), Health::Silent);
}

#[test]
fn one_that_greets_is_asked_soon_and_told_what_waits() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    village.later(&mut a, 1);
    // Its power is cut and comes back: it greets, in another session.
    let mut renewed = Fake::new("a", 2);
    let alive = Alive { challenge: [0; 16], firmware: "fake", uptime_s: 0, playing: None, obeyed: None };
    let greeting = renewed.say(&Report::Alive(alive));
    village.says(&mut renewed, &greeting);
    village.play(&mut renewed, 5);
    assert!(renewed.told.iter().all(|told| told.starts_with("refused")), "a greeting alone proves nothing");
    village.later(&mut renewed, GREETED_MS);
    assert!(renewed.told.contains(&"ring 5 at 80".to_owned()), "{:?}", renewed.told);
}

#[test]
fn forged_repeated_and_broken_reports_change_nothing() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    village.play(&mut a, 7);
    let started = a.progress(7, State::Started);
    village.says(&mut a, &started);
    let finished = a.progress(7, State::Finished);
    for at in 0..finished.len() {
        let mut changed = finished.clone();
        changed[at] ^= 0x40;
        village.says(&mut a, &changed);
    }
    village.says(&mut a, &started);
    village.says(&mut a, b"");
    village.says(&mut a, &[1; MESSAGE_BYTES_MAX + 1]);
    let mut stranger = Fake::new("b", 1);
    let of_another = stranger.progress(7, State::Finished);
    village.says(&mut a, &of_another);
    assert_eq!(village.heard, ["7 Started"]);
    village.says(&mut a, &finished);
    assert_eq!(village.heard, ["7 Started", "7 Finished"]);
}

#[test]
fn what_was_not_taken_is_not_told_after_what_takes_its_place() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.play(&mut a, 7);
    village.play(&mut a, 8);
    assert_eq!(village.heard, ["7 Replaced"], "nobody had heard of it");
    village.happens(&mut a, Input::Connected(true));
    village.later(&mut a, 1);
    village.play(&mut a, 9);
    village.later(&mut a, TELL_AGAIN_MS);
    assert_eq!(a.told, ["ring 8 at 80", "stop Some(8)", "ring 9 at 80", "stop Some(8)", "ring 9 at 80"]);
}

#[test]
fn a_notice_that_may_have_begun_is_not_told_to_a_speaker_that_started_again() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    village.later(&mut a, 1);
    let url = "http://x/sound/1".to_owned();
    let what = What::File { url, sha256: [1; 32], bytes: 9, length_ms: 90_000, times: 1, gap_ms: 0, from_ms: 0 };
    village.happens(&mut a, Input::Play { play: 7, speaker: "a", what, volume_percent: 50 });
    assert_eq!(a.told, ["play 7"]);
    let mut renewed = Fake::new("a", 2);
    village.later(&mut renewed, ASK_EVERY_MS + 100);
    assert!(!renewed.told.contains(&"play 7".to_owned()), "{:?}", renewed.told);
    assert_eq!(village.heard, ["7 Failed the speaker started again in the middle of it"]);
}

#[test]
fn what_cannot_be_played_fails_at_once_with_its_reason() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    let endless = What::BuiltIn { sound: Sound::Siren, length_ms: 60_001 };
    village.happens(&mut a, Input::Play { play: 1, speaker: "a", what: endless, volume_percent: 50 });
    let what = What::BuiltIn { sound: Sound::Test, length_ms: 100 };
    village.happens(&mut a, Input::Play { play: 2, speaker: "b", what, volume_percent: 50 });
    for play in 3..=7 {
        village.play(&mut a, play);
    }
    let failed: Vec<_> = village.heard.iter().filter(|line| line.contains("Failed")).cloned().collect();
    assert_eq!(failed.len(), 3, "{:?}", village.heard);
    assert!(failed[0].contains("60,000") && failed[1].contains("no such speaker") && failed[2].contains("not ended"));
}

#[test]
fn speakers_that_leave_the_configuration_end_their_plays() {
    let (mut village, mut a) = (Village::new(&["a"]), Fake::new("a", 1));
    village.happens(&mut a, Input::Connected(true));
    village.play(&mut a, 7);
    village.happens(&mut a, Input::Configured(Vec::new()));
    assert_eq!(village.heard.last().unwrap(), "7 Failed the speaker was taken out of the configuration");
    assert_eq!(village.machine.next_deadline(), None);
}
