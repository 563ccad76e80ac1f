//! What becomes of orders that come before the one which says whose they are: with the real journal, in virtual time.

use std::path::Path;

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::SigningKey;
use tokio::task::LocalSet;
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::id::{BootId, Epoch};
use tongluo_protocols::order::{
    Algorithm, Class, Interrupted, List, ORDER_BYTES_MAX, Priority, ROOT, Sound, Target, Targets,
};

use super::*;
use crate::clock::testing::Course;
use crate::config::JournalConfig;
use crate::journal::{Opened, Received};
use crate::testing::{TempDir, speaker};

/// Noon in the village.
const NOON_MS: i64 = 1_795_363_200_000 + 12 * 3_600_000;
const REGION: &str = "411728102201";
const VILLAGE_KEY: &str = "411728102201-a";

fn root() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn village() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn identity() -> Identity {
    Identity {
        site_id: "s1te".to_owned(),
        gateway_id: String::new(),
        certificate: String::new(),
        ca_certificate: String::new(),
        mqtt_host: String::new(),
        mqtt_port: 0,
        media_port: 0,
        order_key: Base64::encode_string(root().verifying_key().as_bytes()),
        hub_url: String::new(),
        server_time_ms: 0,
        claim_sha256: String::new(),
        private_key: String::new(),
    }
}

fn configuration() -> Configuration {
    Configuration { region_code: REGION.to_owned(), speakers: vec![speaker("yard")], ..Configuration::default() }
}

/// One run of a gateway, and what its hub sends in two streams.
struct Run {
    desk: Desk,
    broadcasts: Broadcasts,
    journal: Journal,
    clock: Clock,
    course: &'static Course,
    sent: [u64; 2],
}

impl Run {
    /// Has something happen in one run of a gateway with this disk.
    fn tell(folder: &Path, sent: [u64; 2], story: impl AsyncFnOnce(&mut Self)) {
        let (clock, course) = Clock::start_virtual(NOON_MS);
        let config = JournalConfig { space_mib: 8, reserve_mib: 1, acked_days: 7 };
        let Opened { journal, memory, closing } = Journal::open(folder, &config, clock).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let ((broadcasts, _asked), (words, _heard)) = (Broadcasts::channel(memory.plays), Words::channel());
            let (confirmed, _time) = confirmed_time();
            let following = Following::of(configuration(), journal.clone());
            let rooms = Rooms { following, words, broadcasts: broadcasts.clone() };
            let mut desk = Desk::new(&identity(), memory.orders, journal.clone(), rooms, clock, confirmed).unwrap();
            desk.resume().await;
            let mut run = Self { desk, broadcasts, journal, clock, course, sent };
            story(&mut run).await;
        });
        drop((local, runtime));
        closing.wait();
    }

    /// The hub of this number orders: it is committed, and looked at.
    async fn take(&mut self, hub: usize, order: Order<'_>, by: &SigningKey) {
        let mut body = vec![0; ORDER_BYTES_MAX];
        let length = order.sign(by, &mut body).unwrap();
        body.truncate(length);
        self.sent[hub] += 1;
        let key = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(hub as u64 + 1) };
        let boot_id = BootId::from_random(1);
        let entry = Entry { sequence: self.sent[hub], boot_id, wall_ms: 1, mono_ms: 1, kind: order.kind, body };
        let received = Received { key, committed_after: self.sent[hub], lost: None, entries: vec![entry.clone()] };
        assert!(self.journal.receive(received).await);
        self.desk.take(key, &[entry]).await;
    }

    async fn confirm_time(&mut self) {
        let nonce = self.desk.question().unwrap();
        let answer = ClockAnswer { nonce, site: "s1te", utc_ms: NOON_MS, floors: List::new(&[]) };
        let mut body = [0; ClockAnswer::BYTES_MAX];
        let length = answer.emit(&mut body).unwrap();
        self.take(0, order(ROOT, 100 + self.sent[0], ClockAnswer::KIND, &body[..length]), &root()).await;
    }

    /// The village's key has a broadcast of this number heard, in the second hub's stream.
    async fn have_heard(&mut self, number: u64) {
        let broadcast = Broadcast {
            id: &format!("b{number}"),
            media_type: "audio/wav",
            bytes: 44,
            speakers: List::new(&[]),
            times: 1,
            pause_ms: 0,
            priority: Priority::Notice,
            interrupted: Interrupted::Drop,
            chime: false,
            volume_percent: 50,
            content_ms: 1_000,
            reach: REGION,
            persons: 1,
        };
        let mut body = [0; ORDER_BYTES_MAX];
        let length = broadcast.emit(&mut body).unwrap();
        let sound = Sound { class: Class::Daily, level: 0, longest_ms: 1_000, volume_percent_max: 50 };
        let order = order(VILLAGE_KEY, number, Broadcast::KIND, &body[..length]);
        let order = Order { sound: Some(sound), content: Some(ContentId([3; 32])), ..order };
        self.take(1, order, &village()).await;
    }

    /// The root says whose that key is, in the first hub's stream.
    async fn delegate(&mut self) {
        let delegation = Delegation {
            issuer: VILLAGE_KEY,
            algorithm: Algorithm::Ed25519.number(),
            key: village().verifying_key().to_bytes(),
            regions: List::new(&[REGION]),
            classes: List::new(&[Class::Daily]),
            not_before_ms: 0,
            not_after_ms: NOON_MS * 2,
        };
        let mut body = [0; 256];
        let length = delegation.emit(&mut body).unwrap();
        self.take(0, order(ROOT, 1, Delegation::KIND, &body[..length]), &root()).await;
    }

    /// Lets time pass until this moment of the run; then a heartbeat is due.
    async fn pass(&mut self, until_ms: u64) {
        tokio::select! {
            () = self.course.run() => unreachable!("time passes for ever"),
            () = self.clock.until(Some(until_ms)) => {}
        }
        self.desk.question();
    }

    /// Whether this broadcast was handed on to be heard.
    fn is_heard(&self, number: u64) -> bool {
        self.broadcasts.is_known(&format!("b{number}"))
    }

    /// How many orders were refused because nobody said whose they are.
    async fn unknown(&self) -> usize {
        // What was handed in before this is on disk before this.
        let fault = Fault { source: "test", code: code::CLOCK_OFF, detail: "", active: true };
        self.journal.append(draft(Lane::Urgent, &Event::Fault(fault), Vec::new())).await.unwrap();
        let streams = self.journal.shelf().streams();
        let key = streams.iter().find(|stream| stream.key.lane == Lane::Urgent && stream.present).unwrap().key;
        let entries = self.journal.read(key, 1).await;
        let is_one = |entry: &&Arc<Entry>| match Event::parse(entry.kind, &entry.body) {
            Ok(Event::Verdict(verdict)) => verdict.verdict == "unknown_issuer",
            _ => false,
        };
        entries.iter().filter(is_one).count()
    }
}

fn order<'a>(issuer: &'a str, counter: u64, kind: u16, body: &'a [u8]) -> Order<'a> {
    const TARGETS: &[Target<'_>] = &[Target::Site("s1te")];
    Order {
        kind,
        issuer,
        lane: Lane::Urgent,
        counter,
        not_before_ms: NOON_MS - 60_000,
        not_after_ms: NOON_MS + 900_000,
        targets: Targets::new(TARGETS),
        sound: None,
        content: None,
        body,
    }
}

#[test]
fn it_waits_until_somebody_says_whose_it_is_over_a_restart_too() {
    let dir = TempDir::new("whose");
    let mut sent = [0; 2];
    Run::tell(dir.path(), sent, async |run| {
        run.have_heard(5).await;
        run.confirm_time().await;
        assert!(!run.is_heard(5));
        sent = run.sent;
    });
    Run::tell(dir.path(), sent, async |run| {
        assert!(!run.is_heard(5), "it is as new as before");
        run.confirm_time().await;
        run.delegate().await;
        assert!(run.is_heard(5));
        // And its counter counts from then on.
        run.have_heard(4).await;
        run.have_heard(6).await;
        assert!(!run.is_heard(4) && run.is_heard(6));
        assert_eq!(run.unknown().await, 0);
    });
}

#[test]
fn it_does_not_wait_for_ever_and_not_too_many_do() {
    let dir = TempDir::new("nobodys");
    Run::tell(dir.path(), [0; 2], async |run| {
        run.confirm_time().await;
        for number in 1..=HELD_UNKNOWN_MAX as u64 {
            run.have_heard(number).await;
        }
        assert_eq!(run.unknown().await, 0);
        run.have_heard(99).await;
        assert_eq!(run.unknown().await, 1, "one too many is refused at once");
        run.pass(HELD_MS_MAX).await;
        assert_eq!(run.unknown().await, 1);
        run.pass(HELD_MS_MAX + 1).await;
        assert_eq!(run.unknown().await, 1 + HELD_UNKNOWN_MAX);
        run.delegate().await;
        assert!((1..=HELD_UNKNOWN_MAX as u64).all(|number| !run.is_heard(number)), "refused is refused");
        run.have_heard(100).await;
        assert!(run.is_heard(100));
    });
}
