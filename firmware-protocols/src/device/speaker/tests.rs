use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::envelope::Direction;
use super::*;
use crate::Error;

const KEY: Key = Key::new([7; 32]);
const SESSION: Session = Session([9; 16]);
const SOUND: Keep<'static> = Keep { url: "http://10.0.0.1:8090/sound/ab", sha256: [3; 32], bytes: 96_044 };

fn play(times: u8, volume_percent: u8) -> Command<'static> {
    Command::Play(Play { play: 42, sound: SOUND, times, gap_ms: 1_500, volume_percent, from_ms: 0 })
}

fn body(command: &Command<'_>) -> Vec<u8> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let length = command.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn report_body(report: &Report<'_>) -> Vec<u8> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let length = report.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn seal(direction: Direction, id: &str, session: Session, counter: u64, body: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let length = Sealed { session, counter, body }.emit(&KEY, direction, id, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn topics_name_their_speaker() {
    assert_eq!(reporting("tongluo/speaker/east-1/did"), Some("east-1"));
    for topic in ["tongluo/speaker/east-1/do", "tongluo/speaker//did", "tongluo/speaker/a/b/did", "zigbee2mqtt/x"] {
        assert_eq!(reporting(topic), None, "{topic}");
    }
    assert!(!is_id("a/b") && !is_id("a+") && !is_id("") && !is_id(&"x".repeat(65)) && is_id("Zhang_3-a"));
}

#[test]
fn what_is_said_is_understood() {
    let ring = Command::Ring(Ring { play: 7, sound: Sound::Siren, length_ms: 60_000, volume_percent: 100 });
    for command in
        [Command::Ask([1; 16]), Command::Keep(SOUND), play(3, 80), ring, Command::Stop(None), Command::Stop(Some(42))]
    {
        assert_eq!(Command::parse(&body(&command)), Ok(command));
    }
    let alive = Report::Alive(Alive {
        challenge: [1; 16],
        firmware: "virtual 1",
        uptime_s: 3,
        playing: Some(42),
        obeyed: Some(7),
    });
    let failed =
        Progress { play: 42, state: State::Failed, played_ms: 10, times: 0, detail: Some("fetched, but another hash") };
    for report in [alive, Report::Progress(failed)] {
        assert_eq!(Report::parse(&report_body(&report)), Ok(report));
    }
}

/// The bytes of `docs/protocol.md`, for people who write firmware.
#[test]
fn known_bytes_of_commands_and_reports() {
    let url = SOUND.url.as_bytes();
    let keep = [&[0xa3, 1, 0x78, 29][..], url, &[2, 0x58, 32], &[3; 32], &[3, 0x1a, 0, 1, 0x77, 0x2c]].concat();
    let play_bytes =
        [&[0x82, 3, 0x81, 0xa6, 1, 0x18, 42, 2][..], &keep, &[3, 2, 4, 0x19, 0x05, 0xdc, 5, 0x18, 80, 6, 0]];
    let play_bytes = play_bytes.concat();
    assert_eq!(body(&play(2, 80)), play_bytes);
    let mut without_from = play_bytes[..play_bytes.len() - 2].to_vec();
    without_from[3] = 0xa5;
    assert_eq!(Command::parse(&without_from), Ok(play(2, 80)), "what is not sent is 0");
    assert_eq!(body(&Command::Ask([1; 16])), [&[0x82, 1, 0x81, 0x50][..], &[1; 16]].concat());
    assert_eq!(body(&Command::Keep(SOUND)), [&[0x82, 2, 0x81][..], &keep].concat());
    let ring = Ring { play: 7, sound: Sound::Siren, length_ms: 60_000, volume_percent: 100 };
    let ring_bytes = [0x82, 4, 0x81, 0xa4, 1, 7, 2, 2, 3, 0x19, 0xea, 0x60, 4, 0x18, 100];
    assert_eq!(body(&Command::Ring(ring)), ring_bytes);
    assert_eq!(body(&Command::Stop(Some(7))), [0x82, 5, 0x81, 7]);
    assert_eq!(body(&Command::Stop(None)), [0x82, 5, 0x80]);

    let alive = Report::Alive(Alive { challenge: [1; 16], firmware: "v 1", uptime_s: 3, playing: None, obeyed: None });
    let alive_bytes = [&[0x82, 1, 0x81, 0xa3, 1, 0x50][..], &[1; 16], &[2, 0x63], b"v 1", &[3, 3]].concat();
    assert_eq!(report_body(&alive), alive_bytes);
    let progress = Progress { play: 7, state: State::Finished, played_ms: 9, times: 1, detail: None };
    let progress_bytes = [0x82, 2, 0x81, 0xa4, 1, 7, 2, 3, 3, 9, 4, 1];
    assert_eq!(report_body(&Report::Progress(progress)), progress_bytes);

    let sealed = seal(Direction::ToSpeaker, "a", SESSION, 5, &[0x82, 5, 0x80]);
    assert_eq!(sealed[..28], [&[1][..], &[9; 16], &[0, 0, 0, 0, 0, 0, 0, 5], &[0x82, 5, 0x80]].concat());
    // As Python's hmac makes it of the same key and bytes.
    let tag = [0xfe, 0x77, 0xeb, 0xc3, 0x0b, 0x02, 0x42, 0xb4, 0x31, 0xd8, 0xab, 0x76, 0x26, 0x18, 0xc2, 0x37];
    assert_eq!(sealed[28..], tag);
}

#[test]
fn values_that_are_not_allowed_are_refused_on_both_sides() {
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    let https = Command::Keep(Keep { url: "https://x", ..SOUND });
    let long_url = std::format!("http://{}", "x".repeat(URL_BYTES_MAX));
    let far = Command::Keep(Keep { url: &long_url, ..SOUND });
    let endless = Command::Ring(Ring { play: 1, sound: Sound::Siren, length_ms: 60_001, volume_percent: 50 });
    for command in [play(0, 50), play(21, 50), play(1, 101), https, far, endless] {
        assert!(command.emit(&mut buffer).is_err(), "{command:?} was written");
        let length = crate::cbor::emit("unchecked", &command, &mut buffer).unwrap();
        assert!(Command::parse(&buffer[..length]).is_err(), "{command:?} was read");
    }
}

#[test]
fn a_long_text_is_clipped_and_fits() {
    let text: String = "村".repeat(1_000);
    let detail = Some(text.as_str());
    let report = Report::Progress(Progress { play: 1, state: State::Failed, played_ms: 0, times: 0, detail });
    assert!(report_body(&report).len() < 300);
}

#[test]
fn a_speaker_obeys_only_its_gateway_only_now_and_only_once() {
    let mut speaker = Obedience::new(SESSION);
    let mut obey = |message: &[u8]| {
        let sealed = Sealed::open(&KEY, Direction::ToSpeaker, "a", message).ok()?;
        Some(speaker.command(&sealed).map(|_| ()))
    };
    let first = seal(Direction::ToSpeaker, "a", SESSION, 1, &body(&play(1, 50)));
    assert_eq!(
        obey(&seal(Direction::ToSpeaker, "a", Session([8; 16]), 1, &body(&play(1, 50)))),
        Some(Err(Refusal::OtherSession))
    );
    assert_eq!(obey(&first), Some(Ok(())));
    assert_eq!(obey(&first), Some(Err(Refusal::Repeated)));
    let third = seal(Direction::ToSpeaker, "a", SESSION, 3, &body(&Command::Stop(None)));
    assert_eq!(obey(&third), Some(Ok(())));
    let overtaken = seal(Direction::ToSpeaker, "a", SESSION, 2, &body(&play(1, 50)));
    assert_eq!(obey(&overtaken), Some(Err(Refusal::Repeated)));
    // An ask is answered in any session.
    assert_eq!(obey(&seal(Direction::ToSpeaker, "a", Session::NONE, 0, &body(&Command::Ask([1; 16])))), Some(Ok(())));
    // Meant for another speaker, or turned round.
    assert_eq!(obey(&seal(Direction::ToSpeaker, "b", SESSION, 9, &body(&play(1, 50)))), None);
    assert_eq!(obey(&seal(Direction::FromSpeaker, "a", SESSION, 9, &body(&play(1, 50)))), None);
    let unreadable = seal(Direction::ToSpeaker, "a", SESSION, 9, &[0xff]);
    assert!(matches!(obey(&unreadable), Some(Err(Refusal::Unreadable(_)))));
    // What could not be read has not used its counter up.
    assert_eq!(obey(&seal(Direction::ToSpeaker, "a", SESSION, 9, &body(&play(1, 50)))), Some(Ok(())));
}

#[test]
fn a_gateway_that_started_again_is_obeyed_from_its_first_command() {
    let mut speaker = Obedience::new(SESSION);
    let mut tell = |gateway: &mut Conversation| {
        let (session, counter) = gateway.next_command().unwrap();
        let told = speaker.command(&Sealed { session, counter, body: &body(&play(1, 50)) }).map(drop);
        told.map(|()| speaker.obeyed())
    };
    let answer = |gateway: &mut Conversation, counter, obeyed| {
        gateway.ask([4; 16]);
        let alive = Alive { challenge: [4; 16], firmware: "virtual 1", uptime_s: 1, playing: None, obeyed };
        let body = report_body(&Report::Alive(alive));
        gateway.report(&Sealed { session: SESSION, counter, body: &body }).map(drop).unwrap();
    };
    let mut first = Conversation::default();
    answer(&mut first, 1, None);
    let obeyed = (0..5).map(|_| tell(&mut first).unwrap()).last().unwrap();
    assert_eq!(obeyed, Some(5));
    let mut second = Conversation::default();
    answer(&mut second, 2, obeyed);
    assert_eq!(tell(&mut second), Ok(Some(6)), "it is not deaf until the new count has passed the old one");
    // An answer that was under way while more was told takes nothing back.
    answer(&mut second, 3, Some(2));
    assert_eq!(tell(&mut second), Ok(Some(7)));
    // And the highest number that there is ends the conversation, not the program.
    answer(&mut second, 4, Some(u64::MAX));
    assert_eq!(second.next_command(), None);
}

#[test]
fn a_gateway_believes_only_a_speaker_that_is_alive_now() {
    let mut gateway = Conversation::default();
    let alive = |challenge| {
        report_body(&Report::Alive(Alive {
            challenge,
            firmware: "virtual 1",
            uptime_s: 1,
            playing: None,
            obeyed: None,
        }))
    };
    let started = report_body(&Report::Progress(Progress {
        play: 42,
        state: State::Started,
        played_ms: 0,
        times: 0,
        detail: None,
    }));
    let sealed = |session, counter, body| Sealed { session, counter, body };
    assert_eq!(gateway.next_command(), None);
    let (first, second) = (alive([1; 16]), alive([2; 16]));
    // Nobody asked.
    assert_eq!(gateway.report(&sealed(SESSION, 1, &first)), Err(Refusal::WrongChallenge));
    gateway.ask([1; 16]);
    assert_eq!(gateway.report(&sealed(SESSION, 1, &started)), Err(Refusal::OtherSession));
    assert!(gateway.report(&sealed(SESSION, 1, &first)).unwrap().restarted);
    assert_eq!(gateway.next_command(), Some((SESSION, 1)));
    assert_eq!(gateway.next_command(), Some((SESSION, 2)));
    assert!(!gateway.report(&sealed(SESSION, 2, &started)).unwrap().restarted);
    assert_eq!(gateway.report(&sealed(SESSION, 2, &started)), Err(Refusal::Repeated));
    // An old answer does not bring an old session back.
    gateway.ask([2; 16]);
    assert_eq!(gateway.report(&sealed(Session([8; 16]), 1, &first)), Err(Refusal::WrongChallenge));
    // The speaker starts again: counters start again.
    let renewed = gateway.report(&sealed(Session([10; 16]), 1, &second)).unwrap();
    assert!(renewed.restarted);
    assert_eq!(gateway.next_command(), Some((Session([10; 16]), 1)));
}

proptest! {
    #[test]
    fn no_change_of_any_byte_passes(at in 0usize..200, flip in 1u8..) {
        let mut message = seal(Direction::ToSpeaker, "a", SESSION, 5, &body(&play(2, 60)));
        let at = at % message.len();
        message[at] ^= flip;
        prop_assert!(Sealed::open(&KEY, Direction::ToSpeaker, "a", &message).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Sealed::open(&KEY, Direction::ToSpeaker, "a", &bytes);
        let _ = Command::parse(&bytes);
        let _ = Report::parse(&bytes);
    }
}

#[test]
fn lengths_are_bounded_on_both_sides() {
    let short = [1; 40];
    assert!(matches!(Sealed::open(&KEY, Direction::ToSpeaker, "a", &short), Err(Error::Malformed { .. })));
    let long = [1; MESSAGE_BYTES_MAX + 1];
    assert!(matches!(Sealed::open(&KEY, Direction::ToSpeaker, "a", &long), Err(Error::TooLarge { .. })));
    let mut message = seal(Direction::ToSpeaker, "a", SESSION, 5, b"\x81\x01");
    message[0] = 2;
    assert!(matches!(Sealed::open(&KEY, Direction::ToSpeaker, "a", &message), Err(Error::Version { found: 2, .. })));
    let sealed = Sealed { session: SESSION, counter: 1, body: &[0; 8] };
    assert!(matches!(sealed.emit(&KEY, Direction::ToSpeaker, "a", &mut [0; 20]), Err(Error::Full { .. })));
}
