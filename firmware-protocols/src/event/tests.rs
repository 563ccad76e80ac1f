//! Events and the beat: known bytes, what is refused, what is kept, properties.

use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::collection::vec as vec_of;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::id::{BootId, DeviceKey, Epoch, Lane, NUMBER_MAX, PressId, StreamKey};
use crate::link::{ENTRY_BODY_BYTES_MAX, STREAMS_MAX};
use crate::order::NAME_BYTES_MAX;

fn emitted(event: &Event<'_>) -> Vec<u8> {
    let mut buffer = vec![0; ENTRY_BODY_BYTES_MAX];
    let length = event.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn press() -> Press<'static> {
    Press {
        device: DeviceKey::lorawan(0x24e1_2453_5b31_6056),
        family: Family::MilesightWs101,
        trigger: Trigger::Long,
        source_key: Some("24e124535b316056/1042"),
        heard_ms: 1000,
        replayed: false,
        name: None,
        battery_percent: Some(100),
    }
}

fn camera_report() -> CameraReport<'static> {
    CameraReport {
        camera: "c1",
        state: CameraState::NoFrames,
        since_ms: 1,
        detail: "",
        main: Some(StreamFacts { codec: "h265", width: 1920, height: 1080 }),
        sub: None,
        recorded_from_ms: None,
        recorded_bytes: Some(24),
        last_frame_ms: None,
        heard_ms: 2,
    }
}

fn evidence() -> Evidence<'static> {
    Evidence {
        press: PressId { epoch: Epoch::from_random(0x1a2b), sequence: 7 },
        camera: "c1",
        kind: EvidenceKind::Clip,
        state: EvidenceState::Saved,
        reason: None,
        sha256: Some([0xab; 32]),
        bytes: Some(9),
        media_type: Some("video/mp4"),
        from_ms: 1,
        to_ms: 2,
    }
}

#[test]
fn known_bytes_of_a_camera_report() {
    let expected = [
        &[0xa7, 1, 0x62][..],
        b"c1",
        &[2, 0x69],
        b"no_frames",
        &[3, 1, 4, 0x60, 5, 0xa3, 1, 0x64],
        b"h265",
        &[2, 0x19, 0x07, 0x80, 3, 0x19, 0x04, 0x38, 8, 0x18, 24, 10, 2],
    ]
    .concat();
    assert_eq!(emitted(&Event::CameraReport(camera_report())), expected);
    assert_eq!(Event::parse(7, &expected), Ok(Event::CameraReport(camera_report())));
}

#[test]
fn known_bytes_of_evidence() {
    let expected = [
        &[0xa9, 1, 0x72][..],
        b"0000000000001a2b-7",
        &[2, 0x62],
        b"c1",
        &[3, 0x64],
        b"clip",
        &[4, 0x65],
        b"saved",
        &[6, 0x58, 32],
        &[0xab; 32],
        &[7, 9, 8, 0x69],
        b"video/mp4",
        &[9, 1, 10, 2],
    ]
    .concat();
    assert_eq!(emitted(&Event::Evidence(evidence())), expected);
    assert_eq!(Event::parse(8, &expected), Ok(Event::Evidence(evidence())));
}

#[test]
fn evidence_of_no_press_or_with_half_a_hash_is_an_error() {
    let good = emitted(&Event::Evidence(evidence()));
    let at = good.windows(2).position(|two| two == b"-7").unwrap();
    let no_press = [&good[..at + 1], b"0", &good[at + 2..]].concat();
    assert!(Evidence::parse(&no_press).is_err(), "a press without a sequence was taken");
    let at = good.windows(2).position(|two| two == [0x58, 32]).unwrap();
    let half = [&good[..at], &[0x50], &good[at + 2..at + 18], &good[at + 34..]].concat();
    assert!(Evidence::parse(&half).is_err(), "a hash of 16 bytes was taken");
}

#[test]
fn a_word_about_a_camera_that_is_not_known_is_kept_and_is_a_fault() {
    for state in CameraState::ALL {
        assert_eq!(CameraState::from_name(state.name()), state);
        assert_eq!(state.is_fault(), !matches!(state.name(), "ok" | "starting"));
    }
    let odd = CameraReport { state: CameraState::Other("stolen"), ..camera_report() };
    assert_eq!(Event::parse(7, &emitted(&Event::CameraReport(odd))), Ok(Event::CameraReport(odd)));
    assert!(odd.state.is_fault());
    let (kind, state) = (EvidenceKind::Other("sound"), EvidenceState::Other("half"));
    let odd = Evidence { kind, state, sha256: None, bytes: None, media_type: None, ..evidence() };
    assert_eq!(Event::parse(8, &emitted(&Event::Evidence(odd))), Ok(Event::Evidence(odd)));
}

#[test]
fn known_bytes_of_a_press() {
    let expected = [
        &[0xa7, 0x01, 0x78, 24][..],
        b"lorawan:24e124535b316056",
        &[0x02, 0x03, 0x03, 0x64],
        b"long",
        &[0x04, 0x75],
        b"24e124535b316056/1042",
        &[0x05, 0x19, 0x03, 0xe8, 0x06, 0xf4, 0x08, 0x18, 0x64],
    ]
    .concat();
    assert_eq!(emitted(&Event::Press(press())), expected);
    assert_eq!(Event::parse(1, &expected), Ok(Event::Press(press())));
}

#[test]
fn known_bytes_of_the_small_events() {
    let thinned = Thinned { epoch: Epoch::from_random(9), from: 1, to: 300, kind: 3, count: 280 };
    let bytes = [0xa5, 1, 9, 2, 1, 3, 0x19, 0x01, 0x2c, 4, 3, 5, 0x19, 0x01, 0x18];
    assert_eq!(emitted(&Event::Thinned(thinned)), bytes);

    let fault = Fault { source: "lan", code: code::LAN_DISCONNECTED, detail: "", active: true };
    let bytes = [&[0xa4, 1, 0x63][..], b"lan", &[2, 0x70], b"lan.disconnected", &[3, 0x60, 4, 0xf5]].concat();
    assert_eq!(emitted(&Event::Fault(fault)), bytes);

    let started = Started { version: "0.1.0", boot_id: BootId::from_random(5), configuration: "" };
    assert_eq!(emitted(&Event::Started(started)), [&[0xa3, 1, 0x65][..], b"0.1.0", &[2, 5, 3, 0x60]].concat());

    let heard = Supervision::heard(DeviceKey::zigbee(1), Family::Zigbee2mqtt, -1);
    let bytes = [&[0xa3, 1, 0x78, 25][..], b"zigbee:0x0000000000000001", &[2, 1, 11, 0x20]].concat();
    assert_eq!(emitted(&Event::Supervision(heard)), bytes);
}

fn play_report() -> PlayReport<'static> {
    PlayReport {
        broadcast: "b",
        speaker: "s",
        state: PlayState::Playing,
        times: 1,
        played_ms: 20_000,
        detail: "",
        at_ms: 9,
    }
}

fn verdict() -> Verdict<'static> {
    Verdict {
        broadcast: Some("b"),
        issuer: "root",
        counter: 7,
        verdict: Verdict::OBEYED,
        detail: "",
        at_ms: 9,
        kind: 2,
    }
}

fn speaker_report() -> SpeakerReport<'static> {
    SpeakerReport {
        speaker: "s",
        state: SpeakerState::Silent,
        since_ms: 8,
        heard_ms: None,
        detail: "",
        volume_percent: 80,
        playing: None,
    }
}

#[test]
fn known_bytes_of_what_is_said_of_loudspeakers() {
    let report =
        [&[0xa7, 1, 0x61, b'b', 2, 0x61, b's', 3, 0x67][..], b"playing", &[4, 1, 5, 0x19, 0x4e, 0x20, 6, 0x60, 7, 9]];
    assert_eq!(emitted(&Event::PlayReport(play_report())), report.concat());
    assert_eq!(Event::parse(9, &report.concat()), Ok(Event::PlayReport(play_report())));

    let judged = [&[0xa7, 1, 0x61, b'b', 2, 0x64][..], b"root", &[3, 7, 4, 0x66], b"obeyed", &[5, 0x60, 6, 9, 7, 2]];
    assert_eq!(emitted(&Event::Verdict(verdict())), judged.concat());
    assert_eq!(Event::parse(10, &judged.concat()), Ok(Event::Verdict(verdict())));

    let silent = [&[0xa5, 1, 0x61, b's', 2, 0x66][..], b"silent", &[3, 8, 5, 0x60, 6, 0x18, 80]].concat();
    assert_eq!(emitted(&Event::SpeakerReport(speaker_report())), silent);
    assert_eq!(Event::parse(11, &silent), Ok(Event::SpeakerReport(speaker_report())));
}

#[test]
fn words_of_loudspeakers_are_kept_and_say_what_is_over() {
    for name in ["waiting", "fetching", "playing", "hummed", ""] {
        assert_eq!(PlayState::from_name(name).name(), name);
        assert!(!PlayState::from_name(name).is_final(), "{name}");
    }
    for name in ["played", "interrupted", "failed", "expired", "stopped", "refused"] {
        assert!(PlayState::from_name(name).is_final(), "{name}");
    }
    for (name, is_fault) in [("ok", false), ("starting", false), ("silent", true), ("refused", true), ("odd", true)] {
        assert_eq!(SpeakerState::from_name(name).is_fault(), is_fault, "{name}");
    }
}

#[test]
fn a_key_that_is_not_known_is_passed_over() {
    let grown = [0xa7, 1, 9, 2, 1, 0x18, 24, 0x82, 0x61, b'x', 0xf6, 3, 2, 4, 0, 0x18, 25, 0xa1, 0, 0x40, 5, 2];
    let expected = Thinned { epoch: Epoch::from_random(9), from: 1, to: 2, kind: 0, count: 2 };
    assert_eq!(Thinned::parse(&grown), Ok(expected));
}

#[test]
fn a_key_that_is_missing_is_an_error() {
    assert!(Thinned::parse(&[0xa4, 1, 9, 2, 1, 3, 2, 4, 3]).is_err());
    assert!(Press::parse(&[0xa0]).is_err());
}

#[test]
fn bytes_after_the_body_are_an_error() {
    let bytes = [emitted(&Event::Press(press())), vec![0xf6]].concat();
    let at = bytes.len() - 1;
    assert_eq!(Press::parse(&bytes), Err(Error::Malformed { what: "press", at }));
}

#[test]
fn what_is_not_known_is_kept() {
    let unknown = Event::Unknown { kind: 4711, body: &[0xff, 0x00] };
    assert_eq!(Event::parse(4711, &[0xff, 0x00]), Ok(unknown));
    assert_eq!(emitted(&unknown), [0xff, 0x00]);
    assert!(unknown.emit(&mut [0; 1]).is_err());

    let odd = Press { family: Family::Unknown(99), trigger: Trigger::Other("squeezed"), ..press() };
    assert_eq!(Event::parse(1, &emitted(&Event::Press(odd))), Ok(Event::Press(odd)));
}

#[test]
fn families_and_triggers_have_one_number_and_one_name() {
    for number in 0..=u16::MAX {
        assert_eq!(Family::from_number(number).number(), number);
    }
    for name in ["sos", "single", "double", "long", "hold", "squeezed", ""] {
        assert_eq!(Trigger::from_name(name).name(), name);
    }
}

#[test]
fn the_largest_event_of_each_kind_fits_an_entry() {
    let text: String = "铜".repeat(3000);
    let long = text.as_str();
    let clipped = clip(long, TEXT_BYTES_MAX);
    assert_eq!(clipped.len(), 255, "256 bytes would cut the 86th character in two");

    let device: DeviceKey = std::format!("z:{}", "x".repeat(62)).parse().unwrap();
    let payload = vec![0xff; PAYLOAD_BYTES_MAX + 1];
    let events = [
        Event::Press(Press {
            device,
            trigger: Trigger::Other(long),
            source_key: Some(long),
            name: Some(long),
            ..press()
        }),
        Event::UnknownAlarm(UnknownAlarm {
            source: long,
            topic: long,
            payload: &payload,
            truncated: false,
            reason: long,
            heard_ms: i64::MIN,
        }),
        Event::Supervision(Supervision {
            name: Some(long),
            ..Supervision::heard(device, Family::Unknown(9999), i64::MIN)
        }),
        Event::Fault(Fault { source: long, code: long, detail: long, active: true }),
        Event::Started(Started { version: long, boot_id: BootId::from_random(u64::MAX), configuration: long }),
        Event::CameraReport(CameraReport {
            camera: long,
            state: CameraState::Other(long),
            detail: long,
            main: Some(StreamFacts { codec: long, width: u16::MAX, height: u16::MAX }),
            sub: Some(StreamFacts { codec: long, width: u16::MAX, height: u16::MAX }),
            recorded_bytes: Some(u64::MAX),
            ..camera_report()
        }),
        Event::Evidence(Evidence {
            camera: long,
            kind: EvidenceKind::Other(long),
            state: EvidenceState::Other(long),
            reason: Some(long),
            media_type: Some(long),
            ..evidence()
        }),
        Event::PlayReport(PlayReport {
            broadcast: long,
            speaker: long,
            state: PlayState::Other(long),
            detail: long,
            ..play_report()
        }),
        Event::Verdict(Verdict { broadcast: Some(long), issuer: long, verdict: long, detail: long, ..verdict() }),
        Event::SpeakerReport(SpeakerReport {
            speaker: long,
            state: SpeakerState::Other(long),
            detail: long,
            playing: Some(long),
            ..speaker_report()
        }),
    ];
    let name = clip(long, NAME_BYTES_MAX);
    for event in events {
        let bytes = emitted(&event);
        match Event::parse(event.kind(), &bytes).unwrap() {
            Event::Press(press) => assert_eq!(press.name, Some(clipped)),
            Event::UnknownAlarm(alarm) => {
                assert!(alarm.truncated && alarm.payload.len() == PAYLOAD_BYTES_MAX);
                assert_eq!(alarm.topic, clip(long, TOPIC_BYTES_MAX));
            }
            Event::Supervision(supervision) => assert_eq!(supervision.name, Some(clipped)),
            Event::Fault(fault) => assert_eq!(fault.detail, clipped),
            Event::Started(started) => assert_eq!(started.configuration, clipped),
            Event::CameraReport(report) => {
                assert_eq!((report.detail, report.sub.unwrap().codec), (clipped, clipped));
                assert_eq!(report.camera, clip(long, CAMERA_ID_BYTES_MAX));
            }
            Event::Evidence(evidence) => assert_eq!(evidence.reason, Some(clipped)),
            Event::PlayReport(report) => assert_eq!((report.detail, report.broadcast), (clipped, name)),
            Event::Verdict(verdict) => assert_eq!((verdict.detail, verdict.broadcast), (clipped, Some(name))),
            Event::SpeakerReport(report) => assert_eq!((report.detail, report.playing), (clipped, Some(name))),
            other => panic!("{other:?}"),
        }
    }
}

fn beat<'a>(streams: &'a [StreamState]) -> Beat<'a> {
    Beat {
        boot_id: BootId::from_random(5),
        uptime_ms: 60_000,
        wall_ms: 1000,
        version: "0.1.0",
        streams: Streams::new(streams),
        streams_held: streams.len() as u32,
        journal: JournalGauges { urgent_pending: 1, routine_pending: 2, bytes: 4096, bytes_max: 8192 },
        lan_connected: true,
        devices_count: 4,
        clock_nonce: None,
    }
}

fn emitted_beat(beat: &Beat<'_>) -> Vec<u8> {
    let mut buffer = vec![0; Beat::BYTES_MAX];
    let length = beat.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn stream(lane: Lane, epoch: u64, oldest: u64, head: u64) -> StreamState {
    StreamState { key: StreamKey { lane, epoch: Epoch::from_random(epoch) }, oldest, head }
}

#[test]
fn known_bytes_of_a_beat() {
    let streams = [stream(Lane::Urgent, 9, 1, 2), stream(Lane::Routine, 9, 1, 0)];
    let expected = [
        &[0xa9, 1, 5, 2, 0x19, 0xea, 0x60, 3, 0x19, 0x03, 0xe8, 4, 0x65][..],
        b"0.1.0",
        &[5, 0x82, 0x84, 0, 9, 1, 2, 0x84, 1, 9, 1, 0, 6, 2],
        &[7, 0xa4, 1, 1, 2, 2, 3, 0x19, 0x10, 0x00, 4, 0x19, 0x20, 0x00, 8, 0xf5, 9, 4],
    ]
    .concat();
    assert_eq!(emitted_beat(&beat(&streams)), expected);
    let read = Beat::parse(&expected).unwrap();
    assert_eq!(read, beat(&streams));
    assert!(read.streams.iter().eq(streams));
}

#[test]
fn a_beat_lists_the_newest_streams_and_says_how_many_there_are() {
    let streams: Vec<_> = (0..100).map(|epoch| stream(Lane::Urgent, epoch, NUMBER_MAX, NUMBER_MAX)).collect();
    let mut largest = beat(&streams);
    let text: String = "x".repeat(1000);
    largest.version = &text;
    let bytes = emitted_beat(&largest);
    let read = Beat::parse(&bytes).unwrap();
    assert_eq!((read.streams.len(), read.streams_held), (STREAMS_MAX, 100));
    assert!(read.streams.iter().eq(streams[36..].iter().copied()));

    let at = bytes.windows(2).position(|two| two == [0x98, 64]).unwrap();
    let more = [&bytes[..at], &[0x98, 65, 0x84, 0, 9, 1, 2], &bytes[at + 2..]].concat();
    assert!(Beat::parse(&more).is_err(), "65 streams were taken");
}

prop_compose! {
    fn any_text()(text in ".{0,40}") -> String { text }
}

fn any_key() -> impl Strategy<Value = DeviceKey> {
    any::<(bool, u64)>().prop_map(|(zigbee, id)| if zigbee { DeviceKey::zigbee(id) } else { DeviceKey::lorawan(id) })
}

fn same(event: Event<'_>) -> Result<(), TestCaseError> {
    let bytes = emitted(&event);
    prop_assert_eq!(Event::parse(event.kind(), &bytes), Ok(event));
    Ok(())
}

proptest! {
    #[test]
    fn presses_round_trip(
        device in any_key(), family: u16, trigger in any_text(), source_key in of(any_text()), heard_ms: i64,
        replayed: bool, name in of(any_text()), battery_percent: Option<u8>,
    ) {
        same(Event::Press(Press {
            device,
            family: Family::from_number(family),
            trigger: Trigger::from_name(&trigger),
            source_key: source_key.as_deref(),
            heard_ms,
            replayed,
            name: name.as_deref(),
            battery_percent,
        }))?;
    }

    #[test]
    fn supervisions_round_trip(
        device in any_key(), family: u16, name in of(any_text()), battery_percent: Option<u8>, battery_mv: Option<u16>,
        flags: [Option<bool>; 3], link_quality: Option<u8>, rssi_dbm: Option<i16>, heard_ms: i64,
    ) {
        same(Event::Supervision(Supervision {
            device,
            family: Family::from_number(family),
            name: name.as_deref(),
            battery_percent,
            battery_mv,
            battery_low: flags[0],
            link_quality,
            rssi_dbm,
            tamper: flags[1],
            available: flags[2],
            heard_ms,
        }))?;
    }

    #[test]
    fn unknown_alarms_round_trip(
        source in any_text(), topic in any_text(), payload in vec_of(any::<u8>(), 0..100), truncated: bool,
        reason in any_text(), heard_ms: i64,
    ) {
        let (source, topic, reason) = (source.as_str(), topic.as_str(), reason.as_str());
        same(Event::UnknownAlarm(UnknownAlarm { source, topic, payload: &payload, truncated, reason, heard_ms }))?;
    }

    #[test]
    fn the_small_events_round_trip(texts: [String; 3], active: bool, numbers: [u64; 4], kind: u16) {
        let [first, second, third] = [0, 1, 2].map(|index| clip(&texts[index], 40));
        same(Event::Fault(Fault { source: first, code: second, detail: third, active }))?;
        same(Event::Started(Started { version: first, boot_id: BootId::from_random(numbers[0]), configuration: second }))?;
        let [epoch, from, to, count] = numbers;
        same(Event::Thinned(Thinned { epoch: Epoch::from_random(epoch), from, to, kind, count }))?;
    }

    #[test]
    fn camera_reports_round_trip(
        texts: [String; 4], sizes in of(any::<(u16, u16)>()), since_ms: i64, recorded_from_ms: Option<i64>,
        recorded_bytes: Option<u64>, last_frame_ms: Option<i64>, heard_ms: i64,
    ) {
        let [camera, state, detail, codec] = [0, 1, 2, 3].map(|index| clip(&texts[index], 40));
        let facts = sizes.map(|(width, height)| StreamFacts { codec, width, height });
        same(Event::CameraReport(CameraReport {
            camera,
            state: CameraState::from_name(state),
            since_ms,
            detail,
            main: facts,
            sub: facts,
            recorded_from_ms,
            recorded_bytes,
            last_frame_ms,
            heard_ms,
        }))?;
    }

    #[test]
    fn evidence_round_trips(
        epoch: u64, sequence in 1..=NUMBER_MAX, texts: [String; 3], reason in of(any_text()), sha256: Option<[u8; 32]>,
        bytes: Option<u64>, media_type in of(any_text()), from_ms: i64, to_ms: i64,
    ) {
        let [camera, kind, state] = [0, 1, 2].map(|index| clip(&texts[index], 40));
        same(Event::Evidence(Evidence {
            press: PressId { epoch: Epoch::from_random(epoch), sequence },
            camera,
            kind: EvidenceKind::from_name(kind),
            state: EvidenceState::from_name(state),
            reason: reason.as_deref(),
            sha256,
            bytes,
            media_type: media_type.as_deref(),
            from_ms,
            to_ms,
        }))?;
    }

    #[test]
    fn what_is_said_of_loudspeakers_round_trips(
        texts: [String; 5], broadcast in of(any_text()), numbers: (u8, u32, u64, u16), times_ms: (i64, i64),
        heard_ms: Option<i64>,
    ) {
        let [id, speaker, state, detail, issuer] = [0, 1, 2, 3, 4].map(|index| clip(&texts[index], 40));
        let broadcast = broadcast.as_deref().map(|text| clip(text, 40));
        let ((few, played_ms, counter, kind), (at_ms, since_ms)) = (numbers, times_ms);
        same(Event::PlayReport(PlayReport {
            broadcast: id,
            speaker,
            state: PlayState::from_name(state),
            times: few,
            played_ms,
            detail,
            at_ms,
        }))?;
        same(Event::Verdict(Verdict { broadcast, issuer, counter, verdict: state, detail, at_ms, kind }))?;
        same(Event::SpeakerReport(SpeakerReport {
            speaker,
            state: SpeakerState::from_name(state),
            since_ms,
            heard_ms,
            detail,
            volume_percent: few,
            playing: broadcast,
        }))?;
    }

    #[test]
    fn beats_round_trip(states in vec_of((any::<bool>(), any::<u64>(), 0..=NUMBER_MAX, 0..=NUMBER_MAX), 0..64), uptime_ms: u64) {
        let streams: Vec<_> = states
            .into_iter()
            .map(|(urgent, epoch, oldest, head)| {
                stream(if urgent { Lane::Urgent } else { Lane::Routine }, epoch, oldest, head)
            })
            .collect();
        let beat = Beat { uptime_ms, ..beat(&streams) };
        let bytes = emitted_beat(&beat);
        prop_assert_eq!(Beat::parse(&bytes), Ok(beat));
    }

    #[test]
    fn no_bytes_panic(kind in 0..13u16, bytes: Vec<u8>) {
        let _ = Event::parse(kind, &bytes);
        if let Ok(beat) = Beat::parse(&bytes) {
            beat.streams.iter().for_each(drop);
        }
    }

    #[test]
    fn no_damage_panics(at: prop::sample::Index, byte: u8) {
        let mut bytes = emitted(&Event::Press(press()));
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = Press::parse(&bytes);

        let mut bytes = emitted_beat(&beat(&[stream(Lane::Urgent, 9, 1, 2), stream(Lane::Routine, 9, 1, 0)]));
        let place = at.index(bytes.len());
        bytes[place] = byte;
        if let Ok(beat) = Beat::parse(&bytes) {
            beat.streams.iter().for_each(drop);
        }
    }
}
