//! Orders: known bytes, what is refused, another COSE as a peer, properties.

use std::string::String;
use std::vec;
use std::vec::Vec;

use coset::{CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder, iana};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::collection::vec as vec_of;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::id::{ContentId, DeviceKey, Epoch, Lane, NUMBER_MAX, PressId};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn signed(order: &Order<'_>, key: &SigningKey) -> Vec<u8> {
    let mut buffer = vec![0; ORDER_BYTES_MAX];
    let length = order.sign(key, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn emitted(body: &impl Fn(&mut [u8]) -> Result<usize, Error>) -> Vec<u8> {
    let mut buffer = vec![0; ORDER_BYTES_MAX];
    let length = body(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

const TARGETS: [Target<'static>; 1] = [Target::Site("s1te")];

fn configuration(body: &[u8]) -> Order<'_> {
    Order {
        kind: ConfigurationOrder::KIND,
        issuer: ROOT,
        lane: Lane::Routine,
        counter: 1_795_673_551_412,
        not_before_ms: 0,
        not_after_ms: 1_795_673_551_412,
        targets: Targets::new(&TARGETS),
        sound: None,
        content: Some(ContentId([0xab; 32])),
        body,
    }
}

fn broadcast<'a>(speakers: &'a [&'a str]) -> Broadcast<'a> {
    Broadcast {
        id: "b1",
        media_type: "audio/ogg",
        bytes: 40_000,
        speakers: List::new(speakers),
        times: 2,
        pause_ms: 3_000,
        priority: Priority::Notice,
        interrupted: Interrupted::Resume,
        chime: true,
        volume_percent: 60,
        content_ms: 20_000,
        reach: "411728",
        persons: 2,
    }
}

/// The bytes after the signature's head are whatever the key makes of what stands before.
#[test]
fn known_bytes_of_a_configuration_order() {
    let body = emitted(&|buffer: &mut [u8]| ConfigurationOrder { revision: 3, bytes: 700 }.emit(buffer));
    assert_eq!(body, [0xa2, 1, 3, 2, 0x19, 0x02, 0xbc]);
    let payload = [
        &[0xa9, 1, 1, 2, 0x64][..],
        b"root",
        &[3, 1, 4, 0x1b, 0, 0, 0x01, 0xa2, 0x16, 0x7b, 0xf2, 0x34, 5, 0, 6, 0x1b, 0, 0, 0x01, 0xa2, 0x16, 0x7b, 0xf2],
        &[0x34, 7, 0x81, 0x69],
        b"site:s1te",
        &[9, 0x58, 32],
        &[0xab; 32],
        &[10, 0x47],
        &body,
    ]
    .concat();
    let head = [&[0x84, 0x43, 0xa1, 0x01, 0x32, 0xa0, 0x58, payload.len() as u8][..], &payload, &[0x58, 0x40]].concat();
    let bytes = signed(&configuration(&body), &key());
    assert_eq!(bytes[..head.len()], head);
    assert_eq!(bytes.len(), head.len() + SIGNATURE_BYTES);
    let order = SignedOrder::parse(&bytes).unwrap().verify(&key().verifying_key()).unwrap();
    assert_eq!(order, configuration(&body));
    assert_eq!(order.body(), Ok(Body::Configuration(ConfigurationOrder { revision: 3, bytes: 700 })));
}

#[test]
fn known_bytes_of_the_other_bodies() {
    let stop = emitted(&|buffer: &mut [u8]| Stop { id: Some("b1") }.emit(buffer));
    assert_eq!(stop, [0xa1, 1, 0x62, b'b', b'1']);
    assert_eq!(emitted(&|buffer: &mut [u8]| Stop { id: None }.emit(buffer)), [0xa0]);

    let bytes = emitted(&|buffer: &mut [u8]| broadcast(&["s1"]).emit(buffer));
    let expected = [
        &[0xad, 1, 0x62][..],
        b"b1",
        &[2, 0x69],
        b"audio/ogg",
        &[3, 0x19, 0x9c, 0x40, 4, 0x81, 0x62],
        b"s1",
        &[5, 2, 6, 0x19, 0x0b, 0xb8, 7, 2, 8, 1, 9, 0xf5, 10, 0x18, 60, 11, 0x19, 0x4e, 0x20, 12, 0x66],
        b"411728",
        &[13, 2],
    ]
    .concat();
    assert_eq!(bytes, expected);
    assert_eq!(Broadcast::parse(&bytes), Ok(broadcast(&["s1"])));
    assert_eq!(broadcast(&[]).whole_ms(), 2 * 20_000 + 3_000);

    let word = AlarmWord {
        device: DeviceKey::lorawan(1),
        press: Some(PressId { epoch: Epoch::from_random(9), sequence: 7 }),
        state: AlarmState::Acknowledged,
        by: Some("王"),
        at_ms: -1,
    };
    let bytes = emitted(&|buffer: &mut [u8]| word.emit(buffer));
    let expected = [
        &[0xa5, 1, 0x78, 24][..],
        b"lorawan:0000000000000001",
        &[2, 0x72],
        b"0000000000000009-7",
        &[3, 1, 4, 0x63],
        "王".as_bytes(),
        &[5, 0x20],
    ]
    .concat();
    assert_eq!(bytes, expected);
    assert_eq!(AlarmWord::parse(&bytes), Ok(word));

    let floors = [Floor { issuer: ROOT, lane: Lane::Urgent, counter: 5 }];
    let answer = ClockAnswer { nonce: Nonce([1; 16]), site: "s", utc_ms: 9, floors: List::new(&floors) };
    let bytes = emitted(&|buffer: &mut [u8]| answer.emit(buffer));
    let expected =
        [&[0xa4, 1, 0x50][..], &[1; 16], &[2, 0x61, b's', 3, 9, 4, 0x81, 0x83, 0x64], b"root", &[0, 5]].concat();
    assert_eq!(bytes, expected);
    assert_eq!(ClockAnswer::parse(&bytes), Ok(answer));
}

#[test]
fn a_sound_that_is_not_known_is_refused_and_not_guessed() {
    let mut bytes = emitted(&|buffer: &mut [u8]| broadcast(&[]).emit(buffer));
    let priority = bytes.windows(2).position(|pair| pair == [7, 2]).unwrap() + 1;
    bytes[priority] = 6;
    assert!(Broadcast::parse(&bytes).is_err());
}

#[test]
fn another_cose_reads_our_orders() {
    let bytes = signed(&configuration(&[0xa0]), &key());
    let theirs = CoseSign1::from_slice(&bytes).unwrap();
    assert_eq!(theirs.protected.header.alg, Some(coset::Algorithm::Assigned(iana::Algorithm::Ed25519)));
    let verified = theirs.verify_signature(&[], |signature, message| {
        key().verifying_key().verify_strict(message, &signature.try_into().unwrap())
    });
    assert!(verified.is_ok());
}

#[test]
fn we_read_orders_of_another_cose() {
    let ours = signed(&configuration(&[0xa0]), &key());
    let payload = CoseSign1::from_slice(&ours).unwrap().payload.unwrap();
    let sealed = |header: coset::Header| {
        let builder = CoseSign1Builder::new().protected(header).payload(payload.clone());
        builder.create_signature(&[], |message| key().sign(message).to_bytes().to_vec()).build().to_vec().unwrap()
    };
    assert_eq!(sealed(HeaderBuilder::new().algorithm(iana::Algorithm::Ed25519).build()), ours);
    // The same signature under headers that we do not take.
    let named = HeaderBuilder::new().algorithm(iana::Algorithm::Ed25519).key_id(vec![1]).build();
    assert!(SignedOrder::parse(&sealed(named)).is_err());
    let other = sealed(HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build());
    let other = SignedOrder::parse(&other).unwrap();
    assert_eq!(other.algorithm(), Algorithm::Unknown(-8));
    assert_eq!(other.verify(&key().verifying_key()), Err(Unverified::Algorithm(Algorithm::Unknown(-8))));
}

#[test]
fn another_key_does_not_verify() {
    let bytes = signed(&configuration(&[0xa0]), &key());
    let stranger = SigningKey::from_bytes(&[8; 32]).verifying_key();
    assert_eq!(SignedOrder::parse(&bytes).unwrap().verify(&stranger), Err(Unverified::Signature));
}

#[test]
fn another_form_of_the_same_order_is_refused() {
    let bytes = signed(&configuration(&[0xa0]), &key());
    let tagged = [&[0xd2], bytes.as_slice()].concat();
    // The signature's length in two bytes where one would do; nothing that is signed differs.
    let split = bytes.len() - SIGNATURE_BYTES - 2;
    let longer = [&bytes[..split], &[0x59, 0x00, 0x40], &bytes[split + 2..]].concat();
    let followed = [bytes.as_slice(), &[0]].concat();
    for other in [tagged, longer, followed] {
        assert!(SignedOrder::parse(&other).is_err(), "{other:02x?}");
    }
}

#[test]
fn claims_beyond_their_limits_are_neither_signed_nor_read() {
    let body = [0xa0];
    let order = configuration(&body);
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let crowd = vec![Target::Site("s"); TARGETS_MAX + 1];
    let wide = [Target::Site(long.as_str())];
    let huge = vec![0; ORDER_BYTES_MAX];
    let refused = [
        Order { counter: 0, ..order },
        Order { counter: NUMBER_MAX + 1, ..order },
        Order { issuer: "", ..order },
        Order { issuer: &long, ..order },
        Order { targets: Targets::new(&[]), ..order },
        Order { targets: Targets::new(&crowd), ..order },
        Order { targets: Targets::new(&wide), ..order },
        Order { body: &huge, ..order },
    ];
    for order in refused {
        assert!(order.sign(&key(), &mut [0; ORDER_BYTES_MAX]).is_err(), "{order:?}");
    }
    assert!(matches!(SignedOrder::parse(&vec![0; ORDER_BYTES_MAX + 1]), Err(Error::TooLarge { .. })));
}

#[test]
fn targets_are_sites_and_the_regions_around_them() {
    let is_for = |targets: &[Target<'_>], region| {
        Order { targets: Targets::new(targets), ..configuration(&[]) }.is_for("s1te", region)
    };
    assert!(is_for(&[Target::Site("s1te")], None));
    assert!(is_for(&[Target::Other("all"), Target::Region("411728")], Some("411728102201")));
    assert!(!is_for(&[Target::Region("411728")], None), "a gateway that does not know its region is in none");
    assert!(!is_for(&[Target::Region("411728102")], Some("411728")));
    assert!(!is_for(&[Target::Region("")], Some("411728")));
    assert!(!is_for(&[Target::Site("s1t"), Target::Other("s1te")], Some("411728")));
}

#[test]
fn numbers_mean_one_thing() {
    for number in 0..=u8::MAX {
        assert_eq!(Class::from_number(number).number(), number);
        assert!(Priority::from_number(number).is_none_or(|priority| priority.number() == number));
        assert!(AlarmState::from_number(number).is_none_or(|state| state.number() == number));
        assert!(Interrupted::from_number(number).is_none_or(|interrupted| interrupted.number() == number));
    }
    assert_eq!(AlarmState::from_number(3), None, "reserved: nobody opens an alarm again");
    assert_eq!(Algorithm::from_number(-7).number(), -7);
    assert!(Priority::Emergency > Priority::AlarmVoice && Priority::AlarmVoice > Priority::Live);
    assert!(Priority::Live > Priority::Notice && Priority::Notice > Priority::Programme);
}

/// What an order may say, with everything that it borrows.
#[derive(Clone, Debug)]
struct Owned {
    kind: u16,
    issuer: String,
    counter: u64,
    times: (i64, i64),
    sites: Vec<String>,
    sound: Option<(u8, u8, u32, u8)>,
    content: Option<[u8; 32]>,
    body: Vec<u8>,
}

fn owned() -> impl Strategy<Value = Owned> {
    let sound = of((any::<u8>(), any::<u8>(), any::<u32>(), any::<u8>()));
    let names = ("[a-z0-9]{1,64}", vec_of("[a-z0-9]{0,59}", 1..=TARGETS_MAX));
    (
        any::<u16>(),
        names,
        1..=NUMBER_MAX,
        any::<(i64, i64)>(),
        sound,
        of(any::<[u8; 32]>()),
        vec_of(any::<u8>(), 0..500),
    )
        .prop_map(|(kind, (issuer, sites), counter, times, sound, content, body)| Owned {
            kind,
            issuer,
            counter,
            times,
            sites,
            sound,
            content,
            body,
        })
}

fn with_order<T>(owned: &Owned, then: impl FnOnce(Order<'_>) -> T) -> T {
    let targets: Vec<Target<'_>> = owned.sites.iter().map(|site| Target::Site(site)).collect();
    let sound = owned.sound.map(|(class, level, longest_ms, volume_percent_max)| Sound {
        class: Class::from_number(class),
        level,
        longest_ms,
        volume_percent_max,
    });
    then(Order {
        kind: owned.kind,
        issuer: &owned.issuer,
        lane: Lane::Urgent,
        counter: owned.counter,
        not_before_ms: owned.times.0,
        not_after_ms: owned.times.1,
        targets: Targets::new(&targets),
        sound,
        content: owned.content.map(ContentId),
        body: &owned.body,
    })
}

proptest! {
    #[test]
    fn orders_come_back_as_they_went(owned in owned()) {
        with_order(&owned, |order| {
            let bytes = signed(&order, &key());
            let read = SignedOrder::parse(&bytes).unwrap();
            assert_eq!(read.issuer(), owned.issuer);
            assert_eq!(read.verify(&key().verifying_key()), Ok(order));
        });
    }

    #[test]
    fn no_changed_byte_verifies(owned in owned(), at in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let mut bytes = with_order(&owned, |order| signed(&order, &key()));
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let verified = SignedOrder::parse(&bytes).is_ok_and(|order| order.verify(&key().verifying_key()).is_ok());
        prop_assert!(!verified, "byte {} was changed by {:#04x}", at, flip);
    }

    #[test]
    fn no_bytes_panic(kind: u16, bytes in vec_of(any::<u8>(), 0..600)) {
        let _ = SignedOrder::parse(&bytes).map(|order| order.verify(&key().verifying_key()));
        let _ = Order { kind: kind % 8, ..configuration(&bytes) }.body();
    }

    #[test]
    fn what_was_cut_off_is_refused(owned in owned(), at in any::<prop::sample::Index>()) {
        let bytes = with_order(&owned, |order| signed(&order, &key()));
        prop_assert!(SignedOrder::parse(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn an_alarm_word_comes_back_as_it_went(device: u64, press in of((any::<u64>(), 1..=NUMBER_MAX)), state in 1..=2_u8,
                                           by in of(".{0,20}"), at_ms: i64) {
        let word = AlarmWord {
            device: DeviceKey::zigbee(device),
            press: press.map(|(epoch, sequence)| PressId { epoch: Epoch::from_random(epoch), sequence }),
            state: AlarmState::from_number(state).unwrap(),
            by: by.as_deref(),
            at_ms,
        };
        let bytes = emitted(&|buffer: &mut [u8]| word.emit(buffer));
        prop_assert_eq!(AlarmWord::parse(&bytes), Ok(word));
    }

    #[test]
    fn a_delegation_comes_back_as_it_went(key: [u8; 32], regions in vec_of("[0-9]{6,18}", 0..=REGIONS_MAX),
                                          classes in vec_of(any::<u8>(), 0..=CLASSES_MAX), times: (i64, i64)) {
        let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
        let classes: Vec<Class> = classes.into_iter().map(Class::from_number).collect();
        let delegation = Delegation {
            issuer: "v1", algorithm: Algorithm::Ed25519.number(), key, regions: List::new(&regions),
            classes: List::new(&classes), not_before_ms: times.0, not_after_ms: times.1,
        };
        let bytes = emitted(&|buffer: &mut [u8]| delegation.emit(buffer));
        prop_assert_eq!(Delegation::parse(&bytes), Ok(delegation));
    }
}

/// Exhaustive where the property only samples: every byte, every bit of one order.
#[test]
fn no_flipped_bit_of_an_order_verifies() {
    let bytes = signed(&configuration(&[0xa2, 1, 3, 2, 0x19, 0x02, 0xbc]), &key());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let verified = SignedOrder::parse(&changed).is_ok_and(|order| order.verify(&key().verifying_key()).is_ok());
            assert!(!verified, "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn the_longest_bodies_fit_an_order() {
    let name = "x".repeat(NAME_BYTES_MAX);
    let speakers = vec![name.as_str(); SPEAKERS_MAX];
    let longest = Broadcast { id: &name, media_type: &name, bytes: u64::MAX, reach: &name, ..broadcast(&speakers) };
    let floors = vec![Floor { issuer: &name, lane: Lane::Urgent, counter: NUMBER_MAX }; FLOORS_MAX];
    let answer = ClockAnswer { nonce: Nonce([0; 16]), site: &name, utc_ms: i64::MIN, floors: List::new(&floors) };
    let answer = emitted(&|buffer: &mut [u8]| answer.emit(buffer));
    assert!(answer.len() <= ClockAnswer::BYTES_MAX);
    for body in [emitted(&|buffer: &mut [u8]| longest.emit(buffer)), answer] {
        signed(&Order { issuer: &name, ..configuration(&body) }, &key());
    }
}
