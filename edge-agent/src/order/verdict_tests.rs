//! Every way in which an order for sound can be wrong, and its verdict: gate and judge together, as the desk asks them.

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::id::{ContentId, Lane};
use tongluo_protocols::order::{
    Algorithm, Body, Broadcast, Class, Delegation, Interrupted, List, ORDER_BYTES_MAX, Order, Priority, ROOT, Sign,
    SignedOrder, Sound, Stop, Target, Targets,
};

use super::Refusal;
use super::gate::{Arrived, Gate};
use crate::broadcast::{Bench, judge};
use crate::testing::speaker;

/// Noon in the village.
const NOON_MS: i64 = 1_795_363_200_000 + 12 * 3_600_000;
const HERE: &str = "411728102201";
const FLOOR: u64 = 100;

fn root() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn village() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// For so long before and after noon the villages' keys count: over the night.
const DELEGATED_MS: i64 = 24 * 3_600_000;

fn gate() -> Gate {
    let (public, mut text) = (root().verifying_key(), [0; 44]);
    let key = Base64::encode(public.as_bytes(), &mut text).unwrap();
    let mut gate = Gate::new(key, "s1te", vec![(ROOT.to_owned(), Lane::Urgent, FLOOR)]).unwrap();
    for (issuer, region) in [("village", HERE), ("county", "411728"), ("elsewhere", "411728102202")] {
        let (regions, classes) = ([region], [Class::Daily, Class::Emergency]);
        let delegation = Delegation {
            issuer,
            algorithm: Algorithm::Ed25519.number(),
            key: village().verifying_key().to_bytes(),
            regions: List::new(&regions),
            classes: List::new(&classes),
            not_before_ms: NOON_MS - DELEGATED_MS,
            not_after_ms: NOON_MS + DELEGATED_MS,
        };
        gate.delegate(1, &delegation).unwrap();
    }
    gate
}

fn configuration() -> Configuration {
    Configuration {
        region_code: HERE.to_owned(),
        speakers: vec![speaker("sp1"), speaker("sp2")],
        ..Configuration::default()
    }
}

/// A notice that may be heard, with whatever a case changes about it.
#[derive(Clone, Copy)]
struct Case<'a> {
    order: Order<'a>,
    broadcast: Broadcast<'a>,
    sound: Option<Sound>,
    signer: [u8; 32],
    /// Where it is judged.
    utc_ms: Option<i64>,
    here: &'a str,
    entry_kind: u16,
    entry_lane: Lane,
    known: bool,
    no_speakers: bool,
}

const SITE: [Target<'static>; 1] = [Target::Site("s1te")];
const DAILY: Sound = Sound { class: Class::Daily, level: 0, longest_ms: 60_000, volume_percent_max: 80 };

fn fine() -> Case<'static> {
    Case {
        order: Order {
            kind: Broadcast::KIND,
            issuer: ROOT,
            lane: Lane::Urgent,
            counter: FLOOR + 1,
            not_before_ms: NOON_MS - 60_000,
            not_after_ms: NOON_MS + 900_000,
            targets: Targets::new(&SITE),
            sound: None,
            content: Some(ContentId([3; 32])),
            body: &[],
        },
        broadcast: Broadcast {
            id: "b1",
            media_type: "audio/wav",
            bytes: 640_044,
            speakers: List::new(&[]),
            times: 2,
            pause_ms: 3_000,
            priority: Priority::Notice,
            interrupted: Interrupted::Resume,
            chime: true,
            volume_percent: 80,
            content_ms: 20_000,
            reach: HERE,
            persons: 1,
        },
        sound: Some(DAILY),
        signer: [7; 32],
        utc_ms: Some(NOON_MS),
        here: HERE,
        entry_kind: Broadcast::KIND,
        entry_lane: Lane::Urgent,
        known: false,
        no_speakers: false,
    }
}

fn signed(case: &Case<'_>) -> Vec<u8> {
    let (mut body, mut bytes) = ([0; ORDER_BYTES_MAX], vec![0; ORDER_BYTES_MAX]);
    let length = match case.order.kind {
        Stop::KIND => Stop { id: Some("b1") }.emit(&mut body).unwrap(),
        _ => case.broadcast.emit(&mut body).unwrap(),
    };
    let order = Order { sound: case.sound, body: &body[..length], ..case.order };
    let length = order.sign(&SigningKey::from_bytes(&case.signer), &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// The verdict on these bytes.
fn verdict(case: &Case<'_>, bytes: &[u8]) -> Result<(), Refusal> {
    let mut configuration = Configuration { region_code: case.here.to_owned(), ..configuration() };
    if case.no_speakers {
        configuration.speakers.clear();
    }
    let gate = gate();
    let arrived = Arrived { kind: case.entry_kind, lane: case.entry_lane, body: bytes, counted: false };
    let order = gate.admit(case.here, case.utc_ms, arrived)?;
    if let Body::Broadcast(broadcast) = order.body().map_err(super::gate::Refusal::Unreadable)? {
        let regions = gate.regions_of(order.issuer);
        let bench = Bench { configuration: &configuration, utc_ms: case.utc_ms, regions, known: case.known };
        judge(&order, &broadcast, bench)?;
    }
    Ok(())
}

fn name(case: &Case<'_>) -> &'static str {
    verdict(case, &signed(case)).map_or_else(|refusal| refusal.name(), |()| "obeyed")
}

/// A notice that is signed with the village's key in this name.
fn by(issuer: &'static str) -> Case<'static> {
    let fine = fine();
    Case { signer: [9; 32], order: Order { issuer, counter: 1, ..fine.order }, ..fine }
}

#[test]
fn each_order_gets_its_verdict() {
    let (case, daily) = (fine(), DAILY);
    let order = |order: Order<'static>| Case { order, ..case };
    let broadcast = |broadcast: Broadcast<'static>| Case { broadcast, ..case };
    let sound = |sound: Sound| Case { sound: Some(sound), ..case };
    let danger = Sound { class: Class::Emergency, level: 1, ..daily };
    let alarm = Broadcast { priority: Priority::Emergency, ..case.broadcast };
    let at = |utc_ms: i64| Case { utc_ms: Some(utc_ms), ..case };
    let night_ms = NOON_MS + 10 * 3_600_000;
    let by_night =
        Case { order: Order { not_before_ms: night_ms, not_after_ms: night_ms, ..case.order }, ..at(night_ms) };
    let villages_by_night =
        Case { signer: [9; 32], order: Order { issuer: "village", counter: 1, ..by_night.order }, ..by_night };
    let county = "411728";
    let wide = Broadcast { reach: county, persons: 2, ..case.broadcast };
    let regional: Targets<'static> = Targets::new(const { &[Target::Region("411728")] });
    let foreign: Targets<'static> = Targets::new(const { &[Target::Site("other"), Target::Region("411729")] });
    let one: List<'static, &'static str, 64> = List::new(const { &["sp2"] });
    let stranger: List<'static, &'static str, 64> = List::new(const { &["sp1", "sp9"] });
    let table: &[(&str, Case<'_>, &str)] = &[
        ("fine", case, "obeyed"),
        ("at the last moment", at(NOON_MS + 900_000), "obeyed"),
        ("for one loudspeaker", broadcast(Broadcast { speakers: one, ..case.broadcast }), "obeyed"),
        ("a drill", sound(Sound { class: Class::Drill, ..daily }), "obeyed"),
        ("by region", order(Order { targets: regional, ..case.order }), "obeyed"),
        ("by the county, with two", broadcast(wide), "obeyed"),
        ("danger by night", Case { sound: Some(danger), broadcast: alarm, ..by_night }, "obeyed"),
        ("by the village's key", by("village"), "obeyed"),
        // In its own village danger may be called at any hour, whether the county is there or not.
        (
            "danger by the village's key by night",
            Case { sound: Some(danger), broadcast: alarm, ..villages_by_night },
            "obeyed",
        ),
        ("a notice by the village's key by night", villages_by_night, "night"),
        ("danger by the village's key", Case { sound: Some(danger), broadcast: alarm, ..by("village") }, "obeyed"),
        ("a foreign key", Case { signer: [8; 32], ..case }, "foreign_key"),
        ("the village's key in the root's name", Case { signer: [9; 32], ..case }, "foreign_key"),
        ("the root's key in the village's name", Case { signer: [7; 32], ..by("village") }, "foreign_key"),
        ("an unknown issuer", by("nobody"), "unknown_issuer"),
        ("for other sites", order(Order { targets: foreign, ..case.order }), "not_for_us"),
        (
            "for a region that is not told",
            Case { here: "", ..order(Order { targets: regional, ..case.order }) },
            "not_for_us",
        ),
        ("repeated", order(Order { counter: FLOOR, ..case.order }), "repeated"),
        ("overtaken", order(Order { counter: FLOOR - 1, ..case.order }), "overtaken"),
        ("early", at(NOON_MS - 60_001), "early"),
        ("stale", at(NOON_MS + 900_001), "stale"),
        ("clock unconfirmed", Case { utc_ms: None, ..case }, "clock_unconfirmed"),
        // A battery's clock is good for programmes that were stored before, and for no order that comes now.
        (
            "a programme, clock unconfirmed",
            Case { utc_ms: None, ..broadcast(Broadcast { priority: Priority::Programme, ..case.broadcast }) },
            "clock_unconfirmed",
        ),
        (
            "danger, clock unconfirmed",
            Case { utc_ms: None, sound: Some(danger), broadcast: alarm, ..case },
            "clock_unconfirmed",
        ),
        (
            "danger by the village's key, clock unconfirmed",
            Case { utc_ms: None, sound: Some(danger), broadcast: alarm, ..by("village") },
            "clock_unconfirmed",
        ),
        ("in an entry of another kind", Case { entry_kind: Stop::KIND, ..case }, "mismatched"),
        ("in another lane", Case { entry_lane: Lane::Routine, ..case }, "mismatched"),
        ("heard before under a new counter", Case { known: true, ..case }, "repeated_broadcast"),
        ("without a name", broadcast(Broadcast { id: "", ..case.broadcast }), "unnamed"),
        ("without bounds", Case { sound: None, ..case }, "unbounded"),
        ("of an unknown class", sound(Sound { class: Class::Unknown(9), ..daily }), "unknown_class"),
        ("a notice that claims danger's priority", broadcast(alarm), "priority_not_of_class"),
        ("danger as a notice", sound(danger), "priority_not_of_class"),
        (
            "an alarm's voice",
            broadcast(Broadcast { priority: Priority::AlarmVoice, ..case.broadcast }),
            "priority_not_of_class",
        ),
        ("longer than it says, by the chime", sound(Sound { longest_ms: 44_999, ..daily }), "too_long"),
        ("as long as it says", sound(Sound { longest_ms: 45_000, ..daily }), "obeyed"),
        (
            "longer than anything may be",
            Case {
                sound: Some(Sound { longest_ms: u32::MAX, ..daily }),
                broadcast: Broadcast { times: 20, content_ms: 600_000, ..case.broadcast },
                ..case
            },
            "too_long",
        ),
        ("louder than it may be", sound(Sound { volume_percent_max: 79, ..daily }), "too_loud"),
        (
            "louder than anything can be",
            Case {
                sound: Some(Sound { volume_percent_max: 255, ..daily }),
                broadcast: Broadcast { volume_percent: 101, ..case.broadcast },
                ..case
            },
            "too_loud",
        ),
        ("never", broadcast(Broadcast { times: 0, ..case.broadcast }), "bad_times"),
        ("too often", broadcast(Broadcast { times: 21, ..case.broadcast }), "bad_times"),
        ("with too long a silence", broadcast(Broadcast { pause_ms: 60_001, ..case.broadcast }), "bad_times"),
        ("without a hash", order(Order { content: None, ..case.order }), "no_content"),
        ("of no bytes", broadcast(Broadcast { bytes: 0, ..case.broadcast }), "no_content"),
        ("of no length", broadcast(Broadcast { content_ms: 0, ..case.broadcast }), "no_content"),
        ("of too many bytes", broadcast(Broadcast { bytes: 40_000_000, ..case.broadcast }), "too_large"),
        ("of another form", broadcast(Broadcast { media_type: "audio/mpeg", ..case.broadcast }), "unknown_format"),
        ("given for nobody", broadcast(Broadcast { reach: "", ..case.broadcast }), "wrong_reach"),
        ("given for another village", broadcast(Broadcast { reach: "411728102202", ..case.broadcast }), "wrong_reach"),
        (
            "given for a township by one",
            broadcast(Broadcast { reach: "411728102", ..case.broadcast }),
            "second_missing",
        ),
        ("given for the county by one", broadcast(Broadcast { persons: 1, ..wide }), "second_missing"),
        ("the village's key for the county", Case { broadcast: wide, ..by("village") }, "wrong_reach"),
        (
            "the village's key to the county's targets",
            Case { order: Order { targets: regional, ..by("village").order }, ..by("village") },
            "out_of_region",
        ),
        ("another village's key", by("elsewhere"), "out_of_region"),
        ("the county's key for the county", Case { broadcast: wide, ..by("county") }, "obeyed"),
        (
            "the county's key for danger in the whole county",
            Case {
                sound: Some(danger),
                broadcast: Broadcast { priority: Priority::Emergency, ..wide },
                ..by("county")
            },
            "wrong_reach",
        ),
        (
            "the village's key for a test",
            Case { sound: Some(Sound { class: Class::Test, ..daily }), ..by("village") },
            "class_not_delegated",
        ),
        (
            "the village's key after its time",
            Case {
                order: Order { not_after_ms: NOON_MS + 2 * DELEGATED_MS, ..by("village").order },
                utc_ms: Some(NOON_MS + DELEGATED_MS + 1),
                ..by("village")
            },
            "delegation_expired",
        ),
        (
            "the village's key for a configuration",
            Case { entry_kind: 1, order: Order { kind: 1, ..by("village").order }, ..by("village") },
            "kind_not_delegated",
        ),
        (
            "a stop without a clock",
            Case {
                entry_kind: Stop::KIND,
                order: Order { kind: Stop::KIND, ..case.order },
                utc_ms: None,
                sound: None,
                ..case
            },
            "obeyed",
        ),
        (
            "a stop of another village's key",
            Case {
                entry_kind: Stop::KIND,
                order: Order { kind: Stop::KIND, ..by("elsewhere").order },
                ..by("elsewhere")
            },
            "out_of_region",
        ),
        (
            "a stop twice",
            Case { entry_kind: Stop::KIND, order: Order { kind: Stop::KIND, counter: FLOOR, ..case.order }, ..case },
            "repeated",
        ),
        ("by night", by_night, "night"),
        ("a test by night", Case { sound: Some(Sound { class: Class::Test, ..daily }), ..by_night }, "night"),
        (
            "for a stranger's loudspeaker",
            broadcast(Broadcast { speakers: stranger, ..case.broadcast }),
            "unknown_speaker",
        ),
        ("where there are no loudspeakers", Case { no_speakers: true, ..case }, "no_speakers"),
    ];
    assert!(table.len() >= 40, "{}", table.len());
    for (what, case, expected) in table {
        assert_eq!(name(case), *expected, "{what}");
    }
}

#[test]
fn what_is_not_signed_at_all_is_refused() {
    let case = fine();
    let bytes = signed(&case);
    let unsigned = [&bytes[..bytes.len() - 64], &[0; 64]].concat();
    assert_eq!(verdict(&case, &unsigned).unwrap_err().name(), "foreign_key");
    for garbage in [&b""[..], b"\xf6", b"let it sound", &bytes[..bytes.len() - 66]] {
        assert_eq!(verdict(&case, garbage).unwrap_err().name(), "unreadable");
    }
}

#[test]
fn an_algorithm_that_is_not_known_is_refused() {
    struct Other;
    impl Sign for Other {
        fn algorithm(&self) -> Algorithm {
            Algorithm::Unknown(-7)
        }
        fn signature(&self, _: &[u8]) -> [u8; 64] {
            [1; 64]
        }
    }
    let case = fine();
    let ours = signed(&case);
    let mut bytes = vec![0; ORDER_BYTES_MAX];
    let length = SignedOrder::parse(&ours).unwrap().claimed().sign(&Other, &mut bytes).unwrap();
    assert_eq!(verdict(&case, &bytes[..length]).unwrap_err().name(), "unknown_algorithm");
}

#[test]
fn a_delegation_that_is_no_key_or_claims_the_roots_name_is_refused() {
    let mut gate = gate();
    let fine = Delegation {
        issuer: "v",
        algorithm: Algorithm::Ed25519.number(),
        key: village().verifying_key().to_bytes(),
        regions: List::new(&[HERE]),
        classes: List::new(&[Class::Daily]),
        not_before_ms: 0,
        not_after_ms: 1,
    };
    assert!(gate.delegate(1, &Delegation { issuer: ROOT, ..fine }).is_err());
    assert!(gate.delegate(1, &Delegation { issuer: "", ..fine }).is_err());
    assert!(gate.delegate(1, &Delegation { algorithm: -7, ..fine }).is_err());
    assert_eq!(gate.delegate(1, &fine), Ok(()));
    let mut taken = 4;
    while taken < 31 {
        gate.delegate(1, &Delegation { issuer: &format!("v{taken}"), ..fine }).unwrap();
        taken += 1;
    }
    assert!(gate.delegate(1, &Delegation { issuer: "one too many", ..fine }).is_err());
    assert_eq!(gate.delegate(1, &Delegation { not_after_ms: 0, ..fine }), Ok(()), "one that is known can be replaced");
}

/// Every byte, every bit.
#[test]
fn no_flipped_bit_of_a_valid_order_is_obeyed() {
    let case = fine();
    let bytes = signed(&case);
    assert_eq!(verdict(&case, &bytes), Ok(()));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(verdict(&case, &changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn no_change_of_any_byte_of_a_valid_order_is_obeyed(
        counter in FLOOR + 1..1 << 62, times in 1..3_u8, at: prop::sample::Index, flip in 1..=u8::MAX, cut: prop::sample::Index,
    ) {
        let case = fine();
        let case = Case {
            order: Order { counter, ..case.order },
            broadcast: Broadcast { times, ..case.broadcast },
            ..case
        };
        let bytes = signed(&case);
        prop_assert_eq!(verdict(&case, &bytes), Ok(()));
        let mut changed = bytes.clone();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        prop_assert!(verdict(&case, &changed).is_err(), "byte {} was changed by {:#04x}", at, flip);
        prop_assert!(verdict(&case, &bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(verdict(&case, &[bytes.as_slice(), &[flip]].concat()).is_err());
    }
}
