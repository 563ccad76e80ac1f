//! What messages lead to, as tables and short stories.

use proptest::prelude::*;
use tongluo_protocols::event::Trigger;

use super::*;

const KEY: &str = "zigbee:0x00158d0001a2b3c4";
const DIRECTORY: &str = r#"[{"ieee_address":"0x00158d0001a2b3c4","friendly_name":"yard/button","type":"EndDevice"}]"#;
const TOPIC: &str = "zigbee2mqtt/yard/button";

fn message<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
    let payload = payload.as_bytes();
    Message { topic, payload, retained: false, redelivered: false, replayed: false, packet_id: 1 }
}

fn retained<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
    Message { retained: true, ..message(topic, payload) }
}

fn at(mono_ms: u64) -> Now {
    Now { wall_ms: 1_795_392_000_000 + mono_ms as i64, mono_ms }
}

/// A machine that knows the button in the yard.
fn machine() -> Machine {
    let mut machine = Machine::new(600, Memory::default());
    machine.handle(at(0), &retained("zigbee2mqtt/bridge/devices", DIRECTORY));
    machine
}

/// The effects in short words.
fn words(effects: &[Effect]) -> Vec<String> {
    let event = |draft: &Draft| match Event::parse(draft.kind, &draft.body).unwrap() {
        Event::Press(press) => format!("press {} {}", press.device, press.trigger.name()),
        Event::UnknownAlarm(alarm) => format!("unknown {}", alarm.source),
        Event::Supervision(supervision) => format!("alive {}", supervision.device),
        Event::Fault(fault) => format!("fault {} {} {}", fault.source, fault.code, fault.active),
        other => format!("{other:?}"),
    };
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Append(draft) | Effect::Press { draft, .. } => event(draft),
            Effect::Remember(fact) => format!("{fact:?}"),
        })
        .collect()
}

#[test]
fn what_each_message_leads_to() {
    let press = format!("press {KEY} sos");
    let unknown = format!("unknown {KEY}");
    let alive = format!("alive {KEY}");
    let table: &[(Message<'_>, &[&str])] = &[
        (message(TOPIC, r#"{"action":"emergency"}"#), &[&press, &alive]),
        (message(TOPIC, r#"{"action":"sos"}"#), &[&press, &alive]),
        (message(TOPIC, r#"{"battery":80}"#), &[&alive]),
        (message(TOPIC, r#"{"action":"backflip"}"#), &[&unknown, &alive]),
        (message(TOPIC, "garbage"), &[&unknown]),
        (message(TOPIC, "\u{0}"), &[&unknown]),
        (message(TOPIC, r#"{"sos":true}"#), &[&unknown, &alive]),
        (retained(TOPIC, r#"{"action":"emergency"}"#), &[]),
        (message("zigbee2mqtt/yard/button/set", r#"{"state":"ON"}"#), &[]),
        (message("zigbee2mqtt/bridge/logging", "anything"), &[]),
        (
            message("zigbee2mqtt/bridge/devices", "garbage"),
            &["fault zigbee2mqtt/bridge/devices payload.unreadable true"],
        ),
        (message("zigbee2mqtt/bridge/state", "offline"), &["fault zigbee2mqtt bridge.offline true"]),
        (message("zigbee2mqtt/a stranger", r#"{"battery":1}"#), &["fault a stranger device.unknown true"]),
        (
            message("zigbee2mqtt/a stranger", r#"{"action":"emergency"}"#),
            &["unknown zigbee2mqtt/a stranger", "fault a stranger device.unknown true"],
        ),
        (message("application/1/device/24e124535b316056/event/up", "garbage"), &["unknown lorawan:24e124535b316056"]),
        (
            message(
                "application/1/device/24e124535b316056/event/up",
                r#"{"deduplicationId":"d","fCnt":1,"fPort":85,"data":"/y4B"}"#,
            ),
            &["press lorawan:24e124535b316056 single", "alive lorawan:24e124535b316056"],
        ),
        (message("somewhere/else", "anything"), &[]),
    ];
    for (message, wanted) in table {
        let effects = machine().handle(at(1), message);
        let mut found = words(&effects);
        found.retain(|word| !word.starts_with("AlarmLevel"));
        assert_eq!(found, *wanted, "{} {:?}", message.topic, String::from_utf8_lossy(message.payload));
    }
}

#[test]
fn a_raised_sos_is_one_press_and_the_level_is_committed_with_it() {
    let mut machine = machine();
    let key = KEY.parse().unwrap();
    let effects = machine.handle(at(1), &message(TOPIC, r#"{"sos":false}"#));
    assert!(matches!(&effects[0], Effect::Remember(Fact::AlarmLevel(device, false)) if *device == key), "{effects:?}");
    let effects = machine.handle(at(2), &message(TOPIC, r#"{"sos":true}"#));
    let Effect::Press { draft, .. } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(draft.facts, [Fact::AlarmLevel(key, true)]);
    assert_eq!(words(&machine.handle(at(3), &message(TOPIC, r#"{"sos":true}"#))), [""; 0]);
    machine.handle(at(4), &message(TOPIC, r#"{"sos":false}"#));
    assert_eq!(words(&machine.handle(at(5), &message(TOPIC, r#"{"sos":true}"#)))[0], format!("press {KEY} sos"));
}

#[test]
fn the_level_of_an_earlier_run_decides_what_the_first_message_means() {
    let remember = |raised| Memory {
        directory: vec![("yard/button".to_owned(), KEY.parse().unwrap())],
        alarm_levels: vec![(KEY.parse().unwrap(), raised)],
        ..Memory::default()
    };
    let sos = message(TOPIC, r#"{"sos":true}"#);
    let mut was_quiet = Machine::new(600, remember(false));
    assert_eq!(words(&was_quiet.handle(at(0), &sos))[0], format!("press {KEY} sos"));
    let mut was_raised = Machine::new(600, remember(true));
    assert_eq!(words(&was_raised.handle(at(0), &sos)), [format!("alive {KEY}")]);
}

#[test]
fn a_frame_of_its_own_is_recognised_by_its_own_id_and_a_message_by_the_brokers() {
    let source = |machine: &mut Machine, message: &Message<'_>| match machine.handle(at(1), message).swap_remove(0) {
        Effect::Press { draft, source_key, .. } => (draft.source.unwrap(), source_key),
        other => panic!("{other:?}"),
    };
    let mut machine = machine();
    let topic = "application/1/device/24e124535b316056/event/up";
    let frame = message(topic, r#"{"deduplicationId":"d","fCnt":7,"fPort":85,"data":"/y4B"}"#);
    let (own, told) = source(&mut machine, &frame);
    assert_eq!(own, Source { key: "24e124535b316056/7/d".to_owned(), may_repeat: true });
    assert_eq!(told.as_deref(), Some("24e124535b316056/7/d"));

    let press = message(TOPIC, r#"{"action":"emergency"}"#);
    let (first, told) = source(&mut machine, &press);
    assert!(first.key.starts_with(REDELIVERY) && !first.may_repeat);
    assert_eq!(told, None);
    let (again, _) = source(&mut machine, &Message { redelivered: true, ..press });
    assert_eq!(again, Source { may_repeat: true, ..first.clone() });
    let (other_number, _) = source(&mut machine, &Message { packet_id: 2, ..press });
    let (other_text, _) = source(&mut machine, &message(TOPIC, r#"{"action":"emergency","battery":9}"#));
    assert_ne!(other_number.key, first.key);
    assert_ne!(other_text.key, first.key);
    let at_most_once = machine.handle(at(1), &Message { packet_id: 0, ..press }).swap_remove(0);
    assert!(matches!(at_most_once, Effect::Press { draft, .. } if draft.source.is_none()));
}

#[test]
fn supervision_is_thinned_and_presses_are_not() {
    let mut machine = machine();
    let mut count = |from: u64| {
        let mut words_of_all = Vec::new();
        for step in 0..100 {
            words_of_all.extend(words(&machine.handle(at(from + step), &message(TOPIC, r#"{"action":"emergency"}"#))));
        }
        let presses = words_of_all.iter().filter(|word| word.starts_with("press")).count();
        (presses, words_of_all.len() - presses)
    };
    assert_eq!(count(0), (100, 1));
    assert_eq!(count(1_000), (100, 0));
    assert_eq!(count(600_000), (100, 1));
}

#[test]
fn a_source_that_floods_unknown_alarms_is_counted() {
    let mut machine = machine();
    let mut all = Vec::new();
    for step in 0..150 {
        all.extend(words(&machine.handle(at(step), &message(TOPIC, "garbage"))));
    }
    let unknown = all.iter().filter(|word| word.starts_with("unknown")).count();
    let faults = all.iter().filter(|word| word.contains("unknown.flooding")).count();
    assert_eq!((unknown, faults, all.len()), (5, 3, 8), "five kept; told at 1, 10 and 100 more");
}

#[test]
fn availability_is_told_when_it_changes() {
    let mut machine = machine();
    let topic = "zigbee2mqtt/yard/button/availability";
    let offline = words(&machine.handle(at(0), &retained(topic, r#"{"state":"offline"}"#)));
    assert_eq!(offline, [format!("fault {KEY} device.unavailable true"), format!("alive {KEY}")]);
    assert_eq!(words(&machine.handle(at(1), &message(topic, r#"{"state":"offline"}"#))), [""; 0]);
    let online = words(&machine.handle(at(20_000), &message(topic, r#"{"state":"online"}"#)));
    assert_eq!(online[0], format!("fault {KEY} device.unavailable false"));
}

#[test]
fn a_stranger_is_told_of_once_and_cleared_when_the_directory_names_it() {
    let mut machine = Machine::new(600, Memory::default());
    let speak = message(TOPIC, r#"{"battery":80}"#);
    assert_eq!(words(&machine.handle(at(0), &speak)), ["fault yard/button device.unknown true"]);
    assert_eq!(words(&machine.handle(at(1), &speak)), [""; 0]);
    let effects = machine.handle(at(2), &retained("zigbee2mqtt/bridge/devices", DIRECTORY));
    assert_eq!(words(&effects)[0], "fault yard/button device.unknown false");
    assert!(matches!(effects[1], Effect::Remember(Fact::Directory(_))));
    assert_eq!(words(&machine.handle(at(3), &retained("zigbee2mqtt/bridge/devices", DIRECTORY))), [""; 0]);
    assert_eq!(words(&machine.handle(at(4), &speak)), [format!("alive {KEY}")]);
}

#[test]
fn a_renamed_button_is_the_same_device() {
    let mut machine = machine();
    let renamed = DIRECTORY.replace("yard/button", "well");
    machine.handle(at(0), &message("zigbee2mqtt/bridge/devices", &renamed));
    let effects = machine.handle(at(1), &message("zigbee2mqtt/well", r#"{"action":"emergency"}"#));
    assert_eq!(words(&effects)[0], format!("press {KEY} {}", Trigger::Sos.name()));
}

proptest! {
    #[test]
    fn no_message_panics(topic in "(zigbee2mqtt|application|x)(/[a-z0-9+#]{0,8}){0,5}", payload: Vec<u8>, flags: u8) {
        let message = Message {
            topic: &topic,
            payload: &payload,
            retained: flags & 1 != 0,
            redelivered: flags & 2 != 0,
            replayed: flags & 4 != 0,
            packet_id: u16::from(flags >> 3),
        };
        machine().handle(at(0), &message);
    }

    #[test]
    fn no_report_of_a_button_is_dropped_unless_it_is_understood(payload: Vec<u8>) {
        prop_assume!(!payload.is_empty() && serde_json::from_slice::<serde_json::Value>(&payload).is_err());
        let message = Message { payload: &payload, ..message(TOPIC, "") };
        let effects = machine().handle(at(0), &message);
        prop_assert!(words(&effects).iter().any(|word| word.starts_with("unknown")));
    }
}
