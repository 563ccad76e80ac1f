//! The gateway as it is installed: a real village broker on one side, a real broker with mutual TLS on the other, `kill -9` in
//! between. Needs `mosquitto` and `mosquitto_passwd`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod heard;
mod support;

use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;

use support::broker::Broker;
use support::deaf::{DeafBroker, FLEETING_FRAME, KEPT_FRAME, Told};
use support::gateway::Gateway;
use support::hub::{Authority, CODE, Hub, SITE};
use support::village::{LORAWAN, NAME, Village, ZIGBEE};
use support::{TempDir, free_port, until, within};
use tokio::task::LocalSet;
use tongluo_protocols::event::Event;
use tongluo_protocols::id::{BootId, Epoch, Lane, StreamKey};
use tongluo_protocols::link::{BATCH_BYTES_MAX, BatchWriter, EntryView};

fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// A village with its broker, its gateway and the hub it belongs to.
struct Scene {
    _folders: [TempDir; 3],
    lan: Broker,
    hub_broker: Broker,
    hub: Hub,
    village: Village,
    gateway: Gateway,
}

impl Scene {
    /// What the hub was told of the devices' names, in the order of the presses.
    fn names_of_presses(&self) -> Vec<String> {
        let ledger = self.hub.ledger.borrow();
        ledger
            .entries
            .iter()
            .filter_map(|held| match Event::parse(held.kind, &held.body) {
                Ok(Event::Press(press)) => press.name.map(ToOwned::to_owned),
                _ => None,
            })
            .collect()
    }

    /// Everything runs; the gateway is enrolled, has been there once, and does not run now.
    async fn set() -> Self {
        let folders = ["lan", "hub", "edge"].map(TempDir::new);
        let [lan_folder, hub_folder, edge_folder] = &folders;
        let lan = Broker::village(lan_folder.path(), free_port()).await;
        let authority = Rc::new(Authority::new(hub_folder.path()));
        let hub_broker = Broker::hub(hub_folder.path(), free_port()).await;
        let hub = Hub::listen(&authority, hub_broker.port).await;
        let https_port = authority.clone().serve(hub_broker.port).await;
        let gateway = Gateway::new(edge_folder.path(), lan.port);
        let claim = claim(https_port, CODE, &authority.fingerprint());
        let enrolled = gateway.enroll(&claim).await;
        assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
        let village = Village::join(lan.port).await;
        // From its first visit on the broker keeps the village's messages for it.
        let mut gateway = gateway;
        gateway.start();
        until("the gateway to listen", || gateway.log().contains("devices are listened to")).await;
        assert!(gateway.stop());
        Self { _folders: folders, lan, hub_broker, hub, village, gateway }
    }

    /// Every confirmed press is in the ledger once, and the ledger holds nothing else.
    fn assert_exactly_once(&self, count: usize) {
        let confirmed: BTreeSet<_> = self.village.confirmed().into_iter().collect();
        let ledger = self.hub.ledger.borrow();
        let presses = ledger.presses();
        assert!(presses.values().all(|times| *times == 1), "a press is in the ledger twice: {presses:?}");
        let held: BTreeSet<_> = presses.into_keys().collect();
        assert_eq!(confirmed.difference(&held).count(), 0, "a confirmed press is not in the ledger");
        assert_eq!(held.len(), count);
        assert_eq!(ledger.lost, []);
    }
}

fn claim(port: u16, code: &str, fingerprint: &str) -> String {
    format!("tongluo:claim?url=https%3A%2F%2F127.0.0.1%3A{port}&code={code}&ca={fingerprint}")
}

#[test]
fn a_press_of_either_family_reaches_the_ledger_and_its_button() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        scene.gateway.start();
        scene.village.press_lorawan(1);
        scene.village.press_lorawan(1);
        scene.village.press_zigbee(100);
        scene.hub.until_presses(2).await;
        until("three confirmations", || scene.village.confirmed().len() == 3).await;
        scene.assert_exactly_once(2);

        let confirmations = scene.village.confirmations();
        assert_eq!(confirmations[0]["device"], format!("lorawan:{LORAWAN}"));
        assert_eq!(confirmations[0]["press"], confirmations[1]["press"], "the same frame is the same press");
        assert_eq!(confirmations[2]["device"], format!("zigbee:{ZIGBEE}"));
        assert!(confirmations[2]["source_key"].is_null());

        assert_eq!(scene.names_of_presses(), ["井边", NAME]);
        assert!(scene.gateway.stop());
        until("the farewell", || scene.hub.ledger.borrow().states.last().is_some_and(|s| s == r#"{"online":false}"#))
            .await;
    });
}

#[test]
fn presses_are_taken_while_the_hub_is_away_and_arrive_afterwards() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        scene.hub_broker.kill();
        scene.gateway.start();
        for number in 0..300 {
            scene.village.press_lorawan(number);
        }
        scene.village.until_confirmed(300).await;
        assert!(scene.gateway.stop(), "it ends well without its hub");
        scene.gateway.start();
        for number in 300..400 {
            scene.village.press_lorawan(number);
        }
        scene.village.until_confirmed(400).await;
        let told = scene.gateway.log().matches("the hub cannot be reached").count();
        assert_eq!(told, 2, "once per absence and run:\n{}", scene.gateway.log());
        scene.hub_broker.run().await;
        scene.hub.until_presses(400).await;
        scene.assert_exactly_once(400);
    });
}

#[test]
fn nothing_is_lost_or_repeated_over_kills_of_the_gateway() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        let mut number = 0;
        for round in 0..8 {
            scene.gateway.start();
            // Kills fall before the connection, amid the commits, and after them.
            for _ in 0..60 {
                scene.village.press_lorawan(number);
                scene.village.press_zigbee(number);
                number += 1;
            }
            let wanted = scene.village.confirmed().len() + 20 * round;
            until("some confirmations", || scene.village.confirmed().len() >= wanted.min(number as usize)).await;
            scene.gateway.kill();
        }
        scene.gateway.start();
        scene.village.delivered().await;
        let count = number as usize * 2;
        scene.hub.until_presses(count).await;
        scene.village.until_confirmed(count).await;
        scene.assert_exactly_once(count);
    });
}

#[test]
fn nothing_is_lost_or_repeated_when_the_brokers_are_killed() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        scene.gateway.start();
        let mut number = 0;
        for _ in 0..4 {
            for _ in 0..50 {
                scene.village.press_lorawan(number);
                number += 1;
            }
            scene.hub_broker.kill();
            scene.village.delivered().await;
            scene.village.until_confirmed(number as usize).await;
            scene.lan.kill();
            scene.hub_broker.run().await;
            scene.lan.run().await;
        }
        scene.hub.until_presses(number as usize).await;
        scene.assert_exactly_once(number as usize);
    });
}

#[test]
fn a_broker_that_takes_no_confirmations_is_dialled_again_and_keeps_what_was_not_confirmed() {
    on_one_thread(async {
        let folder = TempDir::new("deaf");
        let broker = DeafBroker::listen().await;
        let mut gateway = Gateway::new(folder.path(), broker.port);
        gateway.start();
        let told = || broker.told.borrow().clone();
        until("the message to be acknowledged", || told().iter().any(|told| matches!(told, Told::Acknowledged(_))))
            .await;
        let confirmed = |wanted: u32, on: usize| {
            let is_wanted = |key: &str| key == format!("{LORAWAN}/{wanted}/d-{wanted}");
            let ids = told().into_iter().filter_map(move |told| match told {
                Told::Confirmed(number, press, key) if number == on && is_wanted(&key) => Some(press),
                _ => None,
            });
            ids.collect::<BTreeSet<_>>()
        };
        for frame in [KEPT_FRAME, FLEETING_FRAME] {
            until("the confirmation to be said again", || confirmed(frame, 2).len() == 1).await;
            assert_eq!(confirmed(frame, 1), confirmed(frame, 2), "the same frame is the same press");
        }
        let acknowledged = told().into_iter().filter(|told| matches!(told, Told::Acknowledged(_))).collect::<Vec<_>>();
        assert_eq!(acknowledged, [Told::Acknowledged(2)], "not before its confirmation was taken");
        assert!(gateway.log().contains("it took none of"), "{}", gateway.log());
        assert!(gateway.stop());
    });
}

#[test]
fn a_hub_that_returns_from_a_backup_gets_everything_again() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        scene.gateway.start();
        for number in 0..50 {
            scene.village.press_lorawan(number);
        }
        scene.hub.until_presses(50).await;
        scene.gateway.stop();
        scene.gateway.start();
        scene.village.press_lorawan(50);
        scene.hub.until_presses(51).await;
        scene.hub.ledger.borrow_mut().forget();
        // The gateway hears of it by the answers to its next beats.
        scene.hub.until_presses(51).await;
        scene.assert_exactly_once(51);
    });
}

#[test]
fn what_cannot_be_understood_is_kept_whole() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        scene.gateway.start();
        let wholes = ["{\"action\":\"backflip\"}", "\u{fffd}garbage", "{\"sos\":true}"];
        for payload in wholes {
            scene.village.publish(&format!("zigbee2mqtt/{NAME}"), payload, false);
        }
        scene.village.publish("zigbee2mqtt/a stranger", "{\"action\":\"emergency\"}", false);
        let kept = || {
            let ledger = scene.hub.ledger.borrow();
            let payloads = ledger.entries.iter().filter_map(|held| match Event::parse(held.kind, &held.body) {
                Ok(Event::UnknownAlarm(alarm)) => Some(String::from_utf8(alarm.payload.to_vec()).unwrap()),
                _ => None,
            });
            payloads.collect::<Vec<_>>()
        };
        until("four unknown alarms", || kept().len() == 4).await;
        assert_eq!(kept()[..3], wholes);
        scene.village.press_zigbee(1);
        scene.hub.until_presses(1).await;
    });
}

#[test]
fn orders_of_unknown_kinds_are_kept_and_acknowledged_once_on_disk() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        scene.gateway.start();
        until("the gateway to be on line", || !scene.hub.ledger.borrow().beats.is_empty()).await;
        let key = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(77) };
        let batch = |sequences: std::ops::RangeInclusive<u64>| {
            let mut buffer = vec![0; BATCH_BYTES_MAX];
            let mut batch = BatchWriter::new(&mut buffer, key, 1, *sequences.end()).unwrap();
            for sequence in sequences {
                let boot_id = BootId::from_random(1);
                let entry = EntryView { sequence, boot_id, wall_ms: 1, mono_ms: 1, kind: 999, body: &[0xf6] };
                assert!(batch.push(&entry).unwrap());
            }
            batch.finish().to_vec()
        };
        let acks = || scene.hub.ledger.borrow().down_acks.iter().map(|a| (a.committed, a.gap)).collect::<Vec<_>>();
        scene.hub.send_down(&batch(1..=3));
        until("the first ack", || acks() == [(3, false)]).await;
        scene.hub.send_down(&batch(2..=4));
        until("the second ack", || acks() == [(3, false), (4, false)]).await;
        scene.hub.send_down(&batch(6..=6));
        until("the third ack", || acks() == [(3, false), (4, false), (4, true)]).await;
        scene.hub.send_down(b"garbage");

        scene.gateway.kill();
        scene.gateway.start();
        // What the killed one had said last may come after its end, so nothing tells when the new one listens.
        let is_taken = || acks().last() == Some(&(5, false));
        scene.hub.send_down_until("the ack after a kill", &batch(1..=5), is_taken).await;
    });
}

#[test]
fn enrolment_refuses_the_wrong_hub_and_the_wrong_code_and_can_be_repeated() {
    on_one_thread(async {
        let folder = TempDir::new("enrolment");
        let authority = Rc::new(Authority::new(folder.path()));
        let port = authority.clone().serve(1).await;
        let gateway = Gateway::new(folder.path(), 1);
        let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();

        let output = gateway.enroll(&claim(port, CODE, &"0".repeat(64))).await;
        assert!(!output.status.success());
        assert!(said(&output).contains("is not the one that the claim names"), "{}", said(&output));

        let output = gateway.enroll(&claim(port, "WRONG234", &authority.fingerprint())).await;
        assert!(!output.status.success());
        assert!(said(&output).contains("refused the code: Unknown code"), "{}", said(&output));
        assert!(said(&output).contains("ask for a new one"), "{}", said(&output));

        let output = gateway.enroll(&claim(free_port(), CODE, &authority.fingerprint())).await;
        assert!(said(&output).contains("cannot be reached"), "{}", said(&output));

        let right = claim(port, CODE, &authority.fingerprint());
        let identity = || std::fs::read_to_string(gateway.data_dir().join("identity.json")).unwrap();
        let output = gateway.enroll(&right).await;
        assert!(output.status.success(), "{}", said(&output));
        let first = identity();
        assert!(first.contains(SITE));
        let output = within("the same again", gateway.enroll(&right)).await;
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(identity(), first, "the same key and code give the same answer");

        let other_folder = TempDir::new("enrolment-other");
        let other = Gateway::new(other_folder.path(), 1);
        let output = other.enroll(&right).await;
        assert!(!output.status.success());
        assert!(said(&output).contains("Used code"), "{}", said(&output));
    });
}
