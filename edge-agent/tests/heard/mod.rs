//! An order all the way to the sound card: the real gateway starts the real `tongluo-line-out`, which plays through ALSA's file
//! plug-in. The relay is a named pipe: whoever switches it waits until somebody looks, so that the order of things is
//! certain on the slowest machine. The order comes by the most awkward way there is: from two hubs at once.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ed25519_dalek::SigningKey;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tongluo_edge::clock::Clock;
use tongluo_protocols::configuration::{Configuration, Night, Speaker, SpeakerKind};
use tongluo_protocols::event::{Event, PlayState};
use tongluo_protocols::id::{BootId, ContentId, Epoch, Lane, StreamKey};
use tongluo_protocols::link::{Ack, BATCH_BYTES_MAX, BatchWriter, EntryView};
use tongluo_protocols::order::{
    Algorithm, Broadcast, Class, ClockAnswer, Delegation, Interrupted, List, Nonce, ORDER_BYTES_MAX, Order, Priority,
    ROOT, Sound, Stop, Target, Targets,
};

use crate::support::hub::{Held, Hub, ORDER_SEED, SITE};
use crate::support::until;
use crate::{Scene, on_one_thread};

const REGION: &str = "411728102201";
/// The village's key, and its name.
const VILLAGE_KEY: &str = "411728102201-a";
const VILLAGE_SEED: [u8; 32] = [9; 32];
/// Noon in the village.
const NOON_MS: i64 = 1_795_363_200_000 + 12 * 3_600_000;
const RATE_HZ: u32 = 16_000;
const SOUND_MS: u32 = 500;
const WARM_UP_MS: u16 = 700;
const VOLUME_PERCENT: u8 = 50;

/// A sound whose every sample is its own.
fn sound() -> Vec<i16> {
    (0..i16::try_from(RATE_HZ * SOUND_MS / 1_000).unwrap()).map(|at| 10_000 + at % 4_000).collect()
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = u32::try_from(samples.len() * 2).unwrap();
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1_u16, 1].iter().flat_map(|number| number.to_le_bytes()));
    wav.extend([RATE_HZ, RATE_HZ * 2].iter().flat_map(|number| number.to_le_bytes()));
    wav.extend([2_u16, 16].iter().flat_map(|number| number.to_le_bytes()));
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    wav
}

/// What the card has played so far, behind the header.
fn played(tape: &Path) -> Vec<i16> {
    let bytes = std::fs::read(tape).unwrap_or_default();
    bytes.get(44..).unwrap_or_default().chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Somebody who looks at the relay; until then, whoever switches it waits.
struct Look {
    pipe: File,
    seen: String,
}

impl Look {
    fn at(relay: &Path) -> Self {
        // Not to wait for a writer here: a test that fails must be able to end.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        let pipe = OpenOptions::new().read(true).custom_flags(flags).open(relay).unwrap();
        Self { pipe, seen: String::new() }
    }

    /// Waits until the relay has been switched like this since the look began.
    async fn until_switched(&mut self, how: &str) {
        until(&format!("the relay to be switched {how}"), || {
            // What is not there yet is no error.
            let _ = self.pipe.read_to_string(&mut self.seen);
            self.seen.len() >= how.len()
        })
        .await;
        assert_eq!(self.seen, how);
    }
}

/// Who orders: the issuer's name, its key, and the order's counter.
struct Signer<'a>(&'a str, [u8; 32], u64);

/// One hub's orders, one after the other in its stream.
struct Ordering {
    epoch: Epoch,
    sequence: u64,
}

impl Ordering {
    fn of(hub: u64) -> Self {
        Self { epoch: Epoch::from_random(hub), sequence: 0 }
    }

    fn send(
        &mut self,
        hub: &Hub,
        Signer(issuer, seed, counter): Signer<'_>,
        kind: u16,
        heard: Option<(Sound, ContentId)>,
        body: &[u8],
    ) {
        self.sequence += 1;
        let targets = [Target::Site(SITE)];
        let order = Order {
            kind,
            issuer,
            lane: Lane::Urgent,
            counter,
            not_before_ms: NOON_MS - 60_000,
            not_after_ms: NOON_MS + 900_000,
            targets: Targets::new(&targets),
            sound: heard.map(|(sound, _)| sound),
            content: heard.map(|(_, content)| content),
            body,
        };
        let mut signed = [0; ORDER_BYTES_MAX];
        let length = order.sign(&SigningKey::from_bytes(&seed), &mut signed).unwrap();
        let (mut buffer, boot_id) = (vec![0; BATCH_BYTES_MAX], BootId::from_random(1));
        let mut batch = BatchWriter::new(&mut buffer, self.key(), 1, self.sequence).unwrap();
        let entry =
            EntryView { sequence: self.sequence, boot_id, wall_ms: 1, mono_ms: 1, kind, body: &signed[..length] };
        assert!(batch.push(&entry).unwrap());
        hub.send_down(batch.finish());
    }

    const fn key(&self) -> StreamKey {
        StreamKey { lane: Lane::Urgent, epoch: self.epoch }
    }

    /// Waits until the gateway has all of it on disk.
    async fn until_taken(&self, hub: &Hub) {
        let (key, committed) = (self.key(), self.sequence);
        let is_it = |ack: &Ack| ack.key == key && ack.committed >= committed;
        until("the gateway to take an order", || hub.ledger.borrow().down_acks.iter().any(is_it)).await;
    }

    fn tell_the_time(&mut self, hub: &Hub, counter: u64, nonce: Nonce) {
        let answer = ClockAnswer { nonce, site: SITE, utc_ms: NOON_MS, floors: List::new(&[]) };
        let mut body = [0; ClockAnswer::BYTES_MAX];
        let length = answer.emit(&mut body).unwrap();
        self.send(hub, Signer(ROOT, ORDER_SEED, counter), ClockAnswer::KIND, None, &body[..length]);
    }

    fn delegate(&mut self, hub: &Hub, counter: u64) {
        let delegation = Delegation {
            issuer: VILLAGE_KEY,
            algorithm: Algorithm::Ed25519.number(),
            key: SigningKey::from_bytes(&VILLAGE_SEED).verifying_key().to_bytes(),
            regions: List::new(&[REGION]),
            classes: List::new(&[Class::Daily]),
            not_before_ms: NOON_MS - 60_000,
            not_after_ms: NOON_MS + 900_000,
        };
        let mut body = [0; ORDER_BYTES_MAX];
        let length = delegation.emit(&mut body).unwrap();
        self.send(hub, Signer(ROOT, ORDER_SEED, counter), Delegation::KIND, None, &body[..length]);
    }

    fn stop(&mut self, hub: &Hub, counter: u64, id: &str) {
        let mut body = [0; 64];
        let length = Stop { id: Some(id) }.emit(&mut body).unwrap();
        self.send(hub, Signer(ROOT, ORDER_SEED, counter), Stop::KIND, None, &body[..length]);
    }

    fn have_heard(&mut self, hub: &Hub, counter: u64, id: &str, content: ContentId, bytes: usize) {
        let broadcast = Broadcast {
            id,
            media_type: "audio/wav",
            bytes: u64::try_from(bytes).unwrap(),
            speakers: List::new(&["yard"]),
            times: 1,
            pause_ms: 0,
            priority: Priority::Notice,
            interrupted: Interrupted::Drop,
            chime: false,
            volume_percent: VOLUME_PERCENT,
            content_ms: SOUND_MS,
            reach: REGION,
            persons: 1,
        };
        let mut body = [0; ORDER_BYTES_MAX];
        let length = broadcast.emit(&mut body).unwrap();
        let loud = Sound { class: Class::Daily, level: 0, longest_ms: SOUND_MS, volume_percent_max: VOLUME_PERCENT };
        let signer = Signer(VILLAGE_KEY, VILLAGE_SEED, counter);
        self.send(hub, signer, Broadcast::KIND, Some((loud, content)), &body[..length]);
    }
}

/// Gives a gateway a sound card that writes what it plays, a relay that is a pipe, and a sound at hand. Answers tape and relay.
fn equip(scene: &mut Scene, content: ContentId, wav: &[u8]) -> (PathBuf, PathBuf) {
    let helper = Path::new(env!("CARGO_BIN_EXE_tongluo-edge")).with_file_name("tongluo-line-out");
    assert!(helper.exists(), "{} is missing: cargo build -p tongluo-line-out", helper.display());
    let folder = scene.gateway.data_dir().parent().unwrap().to_owned();
    let (tape, relay) = (folder.join("tape.wav"), folder.join("relay"));
    assert!(Command::new("mkfifo").arg(&relay).status().unwrap().success());
    let card =
        format!("pcm.tape {{ type file slave.pcm {{ type null }} file \"{}\" format \"wav\" }}\n", tape.display());
    std::fs::write(folder.join("asound.conf"), card).unwrap();
    scene.gateway.configure(&format!("[speaker]\nrelay = {relay:?}\n"));
    scene.gateway.set_environment("ALSA_CONFIG_PATH", &folder.join("asound.conf"));

    let yard = Speaker {
        id: "yard".to_owned(),
        name: "大院".to_owned(),
        kind: SpeakerKind::LineOut,
        device: "tape".to_owned(),
        key: None,
        volume_percent: 100,
        warm_up_ms: WARM_UP_MS,
    };
    let configuration = Configuration {
        revision: 1,
        site_id: SITE.to_owned(),
        region_code: REGION.to_owned(),
        speakers: vec![yard],
        night: Some(Night { from_minute: 0, to_minute: 0 }),
        ..Configuration::default()
    };
    let data = scene.gateway.data_dir();
    std::fs::write(data.join("configuration.cbor"), configuration.emit().unwrap()).unwrap();
    std::fs::create_dir_all(data.join("sounds")).unwrap();
    std::fs::write(data.join("sounds").join(content.to_string()), wav).unwrap();
    (tape, relay)
}

/// The last word that the hub was told of the broadcast.
fn told(hub: &Hub) -> Option<(String, u32)> {
    let ledger = hub.ledger.borrow();
    ledger.entries.iter().rev().find_map(|held| match Event::parse(held.kind, &held.body) {
        Ok(Event::PlayReport(report)) if report.broadcast == "b1" && report.state.is_final() => {
            Some((report.state.name().to_owned(), report.played_ms))
        }
        _ => None,
    })
}

/// What the gateway said of each order to have something heard.
fn verdicts(hub: &Hub) -> Vec<String> {
    let ledger = hub.ledger.borrow();
    let verdict = |held: &Held| match Event::parse(held.kind, &held.body) {
        Ok(Event::Verdict(verdict)) if verdict.kind == Broadcast::KIND => {
            Some(format!("{} {}", verdict.broadcast?, verdict.verdict))
        }
        _ => None,
    };
    let mut verdicts: Vec<String> = ledger.entries.iter().filter_map(verdict).collect();
    // They come in lanes of their own.
    verdicts.sort();
    verdicts
}

#[test]
fn an_order_is_heard_at_the_sound_card_after_its_amplifier_has_warmed_up() {
    on_one_thread(async {
        let mut scene = Scene::set().await;
        let wav = wav(&sound());
        let content = ContentId(Sha256::digest(&wav).into());
        let (tape, relay) = equip(&mut scene, content, &wav);
        scene.gateway.start();
        // The card is tried before anything is played on it; what a former run may have left on is switched off.
        Look::at(&relay).until_switched("00").await;

        // Two hubs order, each in its own stream, and the second's is faster: the village's key orders before anybody has said
        // whose it is, and something else of the root's overtakes the order that does.
        let (mut first, mut second) = (Ordering::of(78), Ordering::of(79));
        until("the gateway to ask for the time", || scene.hub.ledger.borrow().question.is_some()).await;
        let nonce = scene.hub.ledger.borrow().question.unwrap();
        second.have_heard(&scene.hub, 1, "b1", content, wav.len());
        second.have_heard(&scene.hub, 1, "b1", content, wav.len());
        second.tell_the_time(&scene.hub, 3, nonce);
        // And what was stopped by the one hub comes from the other after that.
        second.stop(&scene.hub, 4, "b0");
        second.until_taken(&scene.hub).await;
        first.delegate(&scene.hub, 2);
        first.have_heard(&scene.hub, 2, "b0", content, wav.len());
        let clock = Clock::start();
        let mut look = Look::at(&relay);
        look.until_switched("1").await;
        until("the first sample", || !played(&tape).is_empty()).await;
        assert!(clock.mono_ms() >= u64::from(WARM_UP_MS), "it waited for its amplifier");
        look.until_switched("10").await;

        until("the last word", || told(&scene.hub).is_some()).await;
        assert_eq!(told(&scene.hub), Some((PlayState::Played.name().to_owned(), SOUND_MS)));
        until("all verdicts", || verdicts(&scene.hub).len() == 3).await;
        // What came twice while it waited is obeyed once, and what was stopped before it came is not.
        assert_eq!(verdicts(&scene.hub), ["b0 repeated_broadcast", "b1 obeyed", "b1 repeated"]);
        let quieter: Vec<i16> = sound().iter().map(|sample| sample / 2).collect();
        assert_eq!(played(&tape), quieter, "the same sound, at half its level, and nothing else");
    });
}
