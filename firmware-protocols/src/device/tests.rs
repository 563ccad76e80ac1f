//! The codecs against the vectors, the judgement of reports, and what no input may do.

use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::zigbee2mqtt::Directory;
use super::*;

/// The bytes of a `.hex` vector.
macro_rules! hex {
    ($name:literal) => {
        bytes_of_hex(include_str!(concat!("../../vectors/", $name, ".hex")))
    };
}

/// The payload of a `.json` vector.
macro_rules! payload {
    ($name:literal) => {
        include_bytes!(concat!("../../vectors/", $name, ".json")).as_slice()
    };
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("vectors are hexadecimal");
    (0..digits.len()).step_by(2).map(pair).collect()
}

const IEEE: u64 = 0x0015_8d00_01a2_b3c4;
const WS101: u64 = 0x24e1_2453_5b31_6056;
const PB01: u64 = 0xa840_41ff_ff1a_2b3c;
const UP: &str = "application/17c82e96-be03-4f38-aef3-f83d48582d97/device/24e124535b316056/event/up";

fn report_of<'a>(topic: &'a str, payload: &'a [u8]) -> Report<'a> {
    match parse(topic, payload) {
        Reading::Report(report) => report,
        other => panic!("{topic}: {other:?}"),
    }
}

fn zigbee<'a>(payload: &'a [u8]) -> Report<'a> {
    report_of("zigbee2mqtt/village/gate", payload)
}

fn of<'a>(device: DeviceKey, family: Family) -> Report<'a> {
    Report::of(DeviceRef::Key(device), family)
}

#[test]
fn zigbee_buttons_of_each_kind() {
    let named = Report::of(DeviceRef::Name("village/gate"), Family::Zigbee2mqtt);
    let emergency = Report {
        action: Action::Pressed(Trigger::Sos),
        battery_percent: Some(100),
        battery_mv: Some(3000),
        link_quality: Some(120),
        ..named
    };
    assert_eq!(zigbee(payload!("zigbee2mqtt_ts0215a_sos_emergency")), emergency);

    let sos = Report { battery_percent: Some(88), battery_mv: None, link_quality: Some(76), ..emergency };
    assert_eq!(zigbee(payload!("zigbee2mqtt_ts0601_sos_sos")), sos);

    let raised = Report {
        sos: Some(true),
        battery_percent: Some(90),
        battery_low: Some(false),
        link_quality: Some(54),
        tamper: Some(false),
        ..named
    };
    assert_eq!(zigbee(payload!("zigbee2mqtt_feibit_seb01zb_raised")), raised);
    let quiet = Report { sos: Some(false), tamper: Some(true), ..raised };
    assert_eq!(zigbee(payload!("zigbee2mqtt_feibit_seb01zb_quiet")), quiet);
}

#[test]
fn zigbee_actions() {
    for (payload, expected) in [
        (r#"{"action":"single"}"#, Action::Pressed(Trigger::Single)),
        (r#"{"action":"double"}"#, Action::Pressed(Trigger::Double)),
        (r#"{"action":"long"}"#, Action::Pressed(Trigger::Long)),
        (r#"{"action":"hold"}"#, Action::Pressed(Trigger::Hold)),
        (r#"{"action":"\u0073os"}"#, Action::Pressed(Trigger::Sos)),
        (r#"{"action":null}"#, Action::None),
        (r#"{"temperature":21.5}"#, Action::None),
        (r#"{"action":5}"#, Action::Unknown { reason: "an action that is not a string" }),
    ] {
        assert_eq!(zigbee(payload.as_bytes()).action, expected, "{payload}");
    }
    assert_eq!(zigbee(payload!("zigbee2mqtt_button_action_over")).action, Action::None);
    let unknown = Action::Unknown { reason: "an action that is not known" };
    assert_eq!(zigbee(payload!("zigbee2mqtt_remote_unknown_action")).action, unknown);
}

#[test]
fn zigbee_values_out_of_range_are_left_out() {
    let report = zigbee(br#"{"battery":300,"voltage":-1,"linkquality":null,"tamper":"yes","sos":1}"#);
    assert_eq!(report, Report::of(DeviceRef::Name("village/gate"), Family::Zigbee2mqtt));
}

#[test]
fn zigbee_devices_are_known_by_their_address() {
    let by_address = DeviceRef::Key(DeviceKey::zigbee(IEEE));
    assert_eq!(report_of("zigbee2mqtt/0x00158d0001a2b3c4", b"{}").device, by_address);
    assert_eq!(zigbee(br#"{"device":{"ieeeAddr":"0x00158d0001a2b3c4","friendlyName":"x"}}"#).device, by_address);
    for name in ["0x00158d0001a2b3c", "0x00158d0001a2b3c44", "0x00158d0001a2b3cg", "村口", "a/b/c", "set", "get/1"] {
        let topic = std::format!("zigbee2mqtt/{name}");
        assert_eq!(report_of(&topic, b"{}").device, DeviceRef::Name(name));
    }
}

#[test]
fn zigbee_topics_about_devices_and_the_bridge() {
    let device = DeviceRef::Name("village/gate");
    for (topic, payload, expected) in [
        ("village/gate/availability", r#"{"state":"offline"}"#, Reading::Availability { device, available: false }),
        ("village/gate/availability", "online", Reading::Availability { device, available: true }),
        ("bridge/state", r#"{"state":"online"}"#, Reading::Bridge { online: true }),
        ("bridge/state", "offline", Reading::Bridge { online: false }),
        ("bridge/logging", "whatever", Reading::Ignored),
        ("bridge", "", Reading::Ignored),
        ("", "{}", Reading::Ignored),
        ("village/gate", "", Reading::Ignored),
        ("village/gate/set", r#"{"action":"sos"}"#, Reading::Ignored),
        ("village/gate/get", "", Reading::Ignored),
        ("village/gate/set/state", "ON", Reading::Ignored),
    ] {
        assert_eq!(parse(&std::format!("zigbee2mqtt/{topic}"), payload.as_bytes()), expected, "{topic}");
    }
    for (topic, payload) in [
        ("village/gate/availability", "maybe"),
        ("bridge/state", "{}"),
        ("bridge/devices", "{}"),
        ("village/gate", "ON"),
        ("village/gate", "{\"action\":\"sos\""),
        ("village/gate", "[]"),
    ] {
        let topic = std::format!("zigbee2mqtt/{topic}");
        assert!(matches!(parse(&topic, payload.as_bytes()), Reading::Unreadable { .. }), "{topic} {payload}");
    }
}

#[test]
fn the_zigbee_directory_tells_which_name_belongs_to_which_address() {
    let Reading::Directory(directory) = parse("zigbee2mqtt/bridge/devices", payload!("zigbee2mqtt_bridge_devices"))
    else {
        panic!("no directory");
    };
    let told = |directory: Directory<'_>| -> Vec<_> {
        let model = |entry: &zigbee2mqtt::DirectoryEntry<'_>| entry.model.map(|model| model.to_string());
        directory.entries().map(|entry| (entry.key, entry.name.to_string(), model(&entry))).collect()
    };
    let named = (DeviceKey::zigbee(IEEE), "张庄/村口按钮".to_string(), Some("TS0215A_sos".to_string()));
    let unnamed = (DeviceKey::zigbee(IEEE + 1), "0x00158d0001a2b3c5".to_string(), None);
    assert_eq!(told(directory), [named, unnamed]);
}

#[test]
fn a_ws101_behind_chirpstack() {
    let report = report_of(UP, payload!("chirpstack_up_milesight_ws101_short_press"));
    assert_eq!(report.name.unwrap().to_string(), "老王家按钮");
    assert_eq!(report.source_key.unwrap().to_string(), "24e124535b316056/1042/3ac7e3c4-4401-4b8d-9386-a5c902f9202d");
    let expected = Report {
        name: report.name,
        source_key: report.source_key,
        action: Action::Pressed(Trigger::Single),
        rssi_dbm: Some(-61),
        ..of(DeviceKey::lorawan(WS101), Family::MilesightWs101)
    };
    assert_eq!(report, expected);
}

#[test]
fn a_pb01_behind_chirpstack() {
    let report =
        report_of("application/x/device/a84041ffff1a2b3c/event/up", payload!("chirpstack_up_dragino_pb01_press"));
    let expected = Report {
        name: report.name,
        source_key: report.source_key,
        action: Action::Pressed(Trigger::Single),
        battery_mv: Some(3300),
        rssi_dbm: Some(-61),
        ..of(DeviceKey::lorawan(PB01), Family::DraginoPb01)
    };
    assert_eq!(report, expected);
}

#[test]
fn a_lorawan_device_without_a_codec_is_an_unknown_alarm() {
    let report = report_of("application/x/device/e8e1e10001085028/event/up", payload!("chirpstack_up_unknown_device"));
    assert_eq!(report.family, Family::Chirpstack);
    assert_eq!(report.action, Action::Unknown { reason: "a LoRaWAN frame for which there is no codec" });
}

#[test]
fn joins_and_statuses_prove_life_and_the_rest_is_ignored() {
    let topic = |kind: &str| UP.replace("/up", kind);
    let status = topic("/status");
    let report = report_of(&status, payload!("chirpstack_status"));
    assert_eq!((report.action, report.battery_percent), (Action::None, Some(74)));
    let join = topic("/join");
    assert_eq!(report_of(&join, payload!("chirpstack_join")).device, DeviceRef::Key(DeviceKey::lorawan(WS101)));
    for other in ["/log", "/ack", "/txack", "/location", "/integration", ""] {
        assert_eq!(parse(&topic(other), b"?"), Reading::Ignored);
    }
}

#[test]
fn what_chirpstack_leaves_out_is_zero_or_empty() {
    let report = report_of(UP, br#"{"deduplicationId":"1","fPort":85,"data":"/y4B"}"#);
    assert_eq!(report.source_key.unwrap().frame_count, 0);
    assert_eq!(report.action, Action::Pressed(Trigger::Single));
    for payload in ["{}", r#"{"data":null}"#, r#"{"data":""}"#, r#"{"data":"AAAA"}"#] {
        assert_eq!(report_of(UP, payload.as_bytes()).action, Action::None, "{payload}");
    }
}

#[test]
fn a_frame_that_cannot_be_decoded_is_an_unknown_alarm() {
    let long = std::format!(r#"{{"fPort":85,"data":"{}"}}"#, "A".repeat(328));
    for payload in [r#"{"fPort":85,"data":"/y4"}"#, r#"{"fPort":85,"data":"*"}"#, r#"{"fPort":85,"data":7}"#, &long] {
        assert!(matches!(report_of(UP, payload.as_bytes()).action, Action::Unknown { .. }), "{payload}");
    }
}

#[test]
fn a_chirpstack_message_that_contradicts_itself_is_unreadable() {
    let device = Some(DeviceRef::Key(DeviceKey::lorawan(WS101)));
    let other = br#"{"deviceInfo":{"devEui":"24e124535b316057"},"fPort":85,"data":"/y4B"}"#;
    let reason = "the DevEUI of the payload is not that of the topic";
    assert_eq!(parse(UP, other), Reading::Unreadable { device, reason });
    assert_eq!(parse(UP, b"no"), Reading::Unreadable { device, reason: "not a JSON object" });
    assert!(matches!(parse("application/x/device/24e1/event/up", b"{}"), Reading::Unreadable { device: None, .. }));
}

fn ws101(frame: &[u8]) -> Report<'static> {
    let mut report = of(DeviceKey::lorawan(WS101), Family::Chirpstack);
    milesight_ws101::read(frame, &mut report);
    assert_eq!(report.family, Family::MilesightWs101);
    report
}

#[test]
fn frames_of_the_ws101() {
    let pressed = |trigger| Action::Pressed(trigger);
    for (frame, action, battery_percent) in [
        (hex!("milesight_ws101_short_press"), pressed(Trigger::Single), None),
        (hex!("milesight_ws101_long_press"), pressed(Trigger::Long), None),
        (hex!("milesight_ws101_double_press"), pressed(Trigger::Double), None),
        (hex!("milesight_ws101_battery_and_press"), pressed(Trigger::Single), Some(16)),
        (hex!("milesight_ws101_report"), Action::None, Some(100)),
        (hex!("milesight_ws101_join"), Action::None, None),
    ] {
        let report = ws101(&frame);
        assert_eq!((report.action, report.battery_percent), (action, battery_percent), "{frame:02x?}");
    }
    assert!(matches!(ws101(&hex!("milesight_ws101_unknown_press")).action, Action::Unknown { .. }));
    assert!(matches!(ws101(&hex!("milesight_unknown_channel")).action, Action::Unknown { .. }));
}

#[test]
fn a_press_counts_whatever_follows_it_and_a_frame_cut_short_is_an_unknown_alarm() {
    assert_eq!(ws101(&[0xff, 0x2e, 0x01, 0x77, 0x77]).action, Action::Pressed(Trigger::Single));
    for frame in [&[0xff, 0x2e][..], &[0xff], &[0x01, 0x75], &[0xff, 0x08, 1, 2], &[0x77, 0x77, 0xff, 0x2e, 0x01]] {
        assert!(matches!(ws101(frame).action, Action::Unknown { .. }), "{frame:02x?}");
    }
    let two_presses = [0xff, 0x2e, 0x01, 0xff, 0x2e, 0x09];
    assert_eq!(ws101(&two_presses).action, Action::Pressed(Trigger::Single), "what is known stands");
}

fn pb01(read: fn(&[u8], &mut Report<'_>), frame: &[u8]) -> Report<'static> {
    let mut report = of(DeviceKey::lorawan(PB01), Family::Chirpstack);
    read(frame, &mut report);
    report
}

#[test]
fn frames_of_the_pb01() {
    let press = pb01(dragino_pb01::read, &hex!("dragino_pb01_press"));
    assert_eq!((press.family, press.battery_mv), (Family::DraginoPb01, Some(3300)));
    assert_eq!(press.action, Action::Pressed(Trigger::Single));
    assert_eq!(pb01(dragino_pb01::read, &hex!("dragino_pb01_report")).action, Action::None);

    let status = pb01(dragino_pb01::read_status, &[0x35, 0x01, 0x00, 0x01, 0xff, 0x0c, 0xe4]);
    assert_eq!((status.action, status.battery_mv), (Action::None, Some(3300)));
}

#[test]
fn frames_that_are_not_of_the_pb01_are_unknown_alarms() {
    let odd = [&[0x0c, 0xe4, 0, 2, 0, 0, 0, 0][..], &[0xff, 0xe4, 0, 0, 0, 0, 0, 0], &[0; 8], &[1; 7], &[]];
    for frame in odd {
        let report = pb01(dragino_pb01::read, frame);
        assert!(matches!(report.action, Action::Unknown { .. }), "{frame:02x?}");
        assert_eq!(report.family, Family::Chirpstack);
    }
    assert!(matches!(pb01(dragino_pb01::read_status, &[0; 7]).action, Action::Unknown { .. }));
    assert!(matches!(pb01(dragino_pb01::read_status, &[]).action, Action::Unknown { .. }));
}

#[test]
fn what_a_report_means_in_the_light_of_the_one_before() {
    let none = of(DeviceKey::zigbee(IEEE), Family::Zigbee2mqtt);
    let pressed = Report { action: Action::Pressed(Trigger::Double), ..none };
    let unknown = Report { action: Action::Unknown { reason: "odd" }, ..none };
    let raised = Report { sos: Some(true), ..none };
    let quiet = Report { sos: Some(false), ..none };
    let press = Verdict::Press(Trigger::Sos);
    let since_when = Verdict::UnknownAlarm { reason: "sos is raised, and it is not known since when" };
    for (before, report, retained, verdict, after) in [
        (None, none, false, Verdict::Alive, None),
        (None, pressed, false, Verdict::Press(Trigger::Double), None),
        (None, pressed, true, Verdict::Alive, None),
        (None, unknown, false, Verdict::UnknownAlarm { reason: "odd" }, None),
        (None, unknown, true, Verdict::Alive, None),
        (None, raised, false, since_when, Some(true)),
        (None, raised, true, Verdict::Alive, Some(true)),
        (None, quiet, false, Verdict::Alive, Some(false)),
        (Some(false), raised, false, press, Some(true)),
        (Some(false), raised, true, Verdict::Alive, Some(true)),
        (Some(true), raised, false, Verdict::Alive, Some(true)),
        (Some(true), quiet, false, Verdict::Alive, Some(false)),
        (Some(true), quiet, true, Verdict::Alive, Some(false)),
        (Some(true), none, false, Verdict::Alive, Some(true)),
        (Some(true), Report { sos: Some(true), ..pressed }, false, Verdict::Press(Trigger::Double), Some(true)),
        (Some(false), Report { sos: Some(true), ..unknown }, false, press, Some(true)),
    ] {
        let mut memory = Memory { sos: before };
        assert_eq!(memory.judge(&report, retained), verdict, "{before:?} {report:?} {retained}");
        assert_eq!(memory.sos, after);
    }
}

fn walked(reading: &Reading<'_>) {
    match reading {
        Reading::Directory(directory) => directory.entries().for_each(|entry| drop(entry.name.to_string())),
        Reading::Report(report) => {
            let _ = (report.name.map(|name| name.to_string()), report.source_key.map(|key| key.to_string()));
            let _ = Memory::default().judge(report, false);
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_message_panics(topic in "(zigbee2mqtt|application)?/?[a-z0-9/一]{0,40}", payload: Vec<u8>) {
        walked(&parse(&topic, &payload));
    }

    #[test]
    fn no_frame_panics(frame: Vec<u8>) {
        for read in [milesight_ws101::read, dragino_pb01::read, dragino_pb01::read_status] {
            read(&frame, &mut of(DeviceKey::lorawan(1), Family::Chirpstack));
        }
    }

    #[test]
    fn no_damage_panics(at: prop::sample::Index, byte: u8) {
        for (topic, payload) in [
            ("zigbee2mqtt/a", payload!("zigbee2mqtt_feibit_seb01zb_raised")),
            ("zigbee2mqtt/bridge/devices", payload!("zigbee2mqtt_bridge_devices")),
            (UP, payload!("chirpstack_up_milesight_ws101_short_press")),
        ] {
            let mut damaged = payload.to_vec();
            let place = at.index(damaged.len());
            damaged[place] = byte;
            walked(&parse(topic, &damaged));
        }
    }
}
