//! The journal over openings, crashes, floods, damage and a full disk.

use std::path::Path;
use std::process::Command as Process;

use tongluo_protocols::event::Family;
use tongluo_protocols::event::{Event, Fault, Supervision, Thinned};
use tongluo_protocols::link::STREAMS_MAX;

use super::*;
use crate::testing::TempDir;

const CONFIG: JournalConfig = JournalConfig { space_mib: 8, reserve_mib: 1, acked_days: 7 };

/// A journal that ends when it is dropped, as at an orderly end.
struct Life {
    journal: Option<Journal>,
    memory: Memory,
    closing: Option<Closing>,
    runtime: tokio::runtime::Runtime,
}

impl Life {
    fn open(dir: &Path, config: &JournalConfig) -> Self {
        let Opened { journal, memory, closing } = Journal::open(dir, config, Clock::start()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { journal: Some(journal), memory, closing: Some(closing), runtime }
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    fn append(&self, draft: Draft) -> Receipt {
        let receipt = self.journal().append(draft);
        self.runtime.block_on(receipt).unwrap()
    }

    fn read(&self, key: StreamKey, from: Sequence) -> Vec<Arc<Entry>> {
        self.runtime.block_on(self.journal().read(key, from))
    }

    /// Entries of one kind, over all streams.
    fn entries(&self, kind: u16) -> Vec<(StreamKey, Arc<Entry>)> {
        let mut found = Vec::new();
        for stream in self.journal().shelf().streams() {
            let mut from = stream.oldest;
            while from <= stream.head {
                let entries = self.read(stream.key, from);
                from += entries.len() as u64;
                found.extend(entries.into_iter().filter(|entry| entry.kind == kind).map(|entry| (stream.key, entry)));
            }
        }
        found
    }

    /// Waits until something holds; the journal's thread needs its time.
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if holds(self) {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        panic!("it never came to be that {what}");
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.journal = None;
        if let Some(closing) = self.closing.take() {
            closing.wait();
        }
    }
}

fn press(text: &str) -> Draft {
    Draft { lane: Lane::Urgent, kind: 1, body: text.as_bytes().to_vec(), source: None, facts: Vec::new() }
}

fn press_of(key: &str, may_repeat: bool) -> Draft {
    Draft { source: Some(Source { key: key.to_owned(), may_repeat }), ..press(key) }
}

fn supervision(bytes: usize) -> Draft {
    Draft { lane: Lane::Routine, kind: Supervision::KIND, body: vec![7; bytes], source: None, facts: Vec::new() }
}

fn place(receipt: Receipt) -> (StreamKey, Sequence) {
    match receipt {
        Receipt::Committed(key, sequence) => (key, sequence),
        other => panic!("{other:?} is not a commit"),
    }
}

#[test]
fn each_opening_has_its_own_epoch_and_keeps_what_was_there() {
    let dir = TempDir::new("journal-epochs");
    let life = Life::open(dir.path(), &CONFIG);
    let (first, _) = place(life.append(press("a")));
    assert_eq!(place(life.append(press("b"))), (first, 2));
    let boot = life.journal().boot_id();
    drop(life);

    let life = Life::open(dir.path(), &CONFIG);
    let (second, sequence) = place(life.append(press("c")));
    assert_ne!(first.epoch, second.epoch);
    assert_eq!(sequence, 1);
    let bodies: Vec<_> = life.read(first, 1).iter().map(|entry| (entry.sequence, entry.body.clone())).collect();
    assert_eq!(bodies, [(1, b"a".to_vec()), (2, b"b".to_vec())]);
    assert!(life.read(first, 1).iter().all(|entry| entry.boot_id == boot));
    assert_ne!(life.journal().boot_id(), boot);
    // The receipt comes before the shelf shows it.
    life.until("both openings are on the shelf", |life| {
        let streams = life.journal().shelf().streams();
        streams.iter().map(|stream| (stream.key, stream.head)).eq([(first, 2), (second, 1)])
    });
}

#[test]
fn what_has_a_receipt_survives_a_crash() {
    let dir = TempDir::new("journal-crash");
    let copy = TempDir::new("journal-crash-copy");
    let life = Life::open(dir.path(), &CONFIG);
    let places: Vec<_> = (0..500).map(|number| place(life.append(press(&number.to_string())))).collect();
    // What a power cut leaves: the files as they are on disk, without the program's farewell.
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let life = Life::open(copy.path(), &CONFIG);
    let kept: Vec<_> = life.entries(1).into_iter().map(|(key, entry)| (key, entry.sequence)).collect();
    assert_eq!(kept, places);
}

#[test]
fn the_same_event_is_the_same_press() {
    let dir = TempDir::new("journal-repeat");
    let life = Life::open(dir.path(), &CONFIG);
    let (key, sequence) = place(life.append(press_of("device/5", true)));
    assert_eq!(life.append(press_of("device/5", true)), Receipt::Repeated(key, sequence));
    // Both copies in one commit.
    let copies = [life.journal().append(press_of("device/6", true)), life.journal().append(press_of("device/6", true))];
    let receipts = copies.map(|receipt| life.runtime.block_on(receipt).unwrap());
    assert_eq!(receipts, [Receipt::Committed(key, 2), Receipt::Repeated(key, 2)]);
    drop(life);

    let life = Life::open(dir.path(), &CONFIG);
    assert_eq!(life.append(press_of("device/5", true)), Receipt::Repeated(key, sequence), "in a later life too");
}

#[test]
fn a_packet_id_that_is_used_anew_is_another_press() {
    let dir = TempDir::new("journal-packet");
    let life = Life::open(dir.path(), &CONFIG);
    let (key, _) = place(life.append(press_of("mqtt/1/x", false)));
    assert_eq!(life.append(press_of("mqtt/1/x", true)), Receipt::Repeated(key, 1));
    assert_eq!(life.append(press_of("mqtt/1/x", false)), Receipt::Committed(key, 2));
    assert_eq!(life.append(press_of("mqtt/1/x", true)), Receipt::Repeated(key, 2));
    life.journal().remember_lazily(Fact::SettledAll("mqtt/"));
    life.append(press("another"));
    assert_eq!(life.append(press_of("mqtt/1/x", true)), Receipt::Committed(key, 4));
}

#[test]
fn what_is_remembered_outlives_a_restart() {
    let dir = TempDir::new("journal-memory");
    let life = Life::open(dir.path(), &CONFIG);
    let device = DeviceKey::zigbee(1);
    let names = vec![("kitchen/button".to_owned(), device)];
    life.runtime.block_on(life.journal().remember(Fact::Directory(names.clone()))).unwrap();
    life.append(Draft { facts: vec![Fact::AlarmLevel(device, true)], ..press("sos") });
    drop(life);
    let life = Life::open(dir.path(), &CONFIG);
    assert_eq!(life.memory.directory, names);
    assert_eq!(life.memory.alarm_levels, [(device, true)]);
}

#[test]
fn the_mark_of_what_the_hub_has_outlives_a_restart() {
    let dir = TempDir::new("journal-acked");
    let life = Life::open(dir.path(), &CONFIG);
    let (key, _) = place(life.append(press("a")));
    life.append(press("b"));
    life.journal().acked(key, 1);
    life.until("the shelf shows the mark", |life| life.journal().shelf().streams()[0].acked == 1);
    assert_eq!(life.journal().shelf().gauges().urgent_pending, 1);
    drop(life);
    let life = Life::open(dir.path(), &CONFIG);
    assert_eq!(life.journal().shelf().streams()[0].acked, 1);
    assert_eq!(life.read(key, 1).len(), 2, "acknowledged entries are kept for a hub that returns from a backup");
}

#[test]
fn over_the_budget_routine_is_thinned_and_presses_are_not() {
    let dir = TempDir::new("journal-thinned");
    let config = JournalConfig { space_mib: 1, ..CONFIG };
    let life = Life::open(dir.path(), &config);
    let (urgent, _) = place(life.append(press("first")));
    for _ in 0..12 {
        let receipts: Vec<_> = (0..500).map(|_| life.journal().append(supervision(400))).collect();
        for receipt in receipts {
            let _ = life.runtime.block_on(receipt).unwrap();
        }
    }
    life.append(press("last"));
    life.until("routine entries were thinned", |life| !life.entries(Thinned::KIND).is_empty());
    let gauges = life.journal().shelf().gauges();
    assert!(gauges.bytes <= gauges.bytes_max * 11 / 10, "{gauges:?}");

    // What was thinned and what is held make up the whole stream; where thinning reached an earlier `Thinned`, one tells of it.
    let stream = life.journal().shelf().streams().into_iter().find(|s| s.key.lane == Lane::Routine).unwrap();
    let told: Vec<_> = life.entries(Thinned::KIND).iter().map(|(_, e)| Thinned::parse(&e.body).unwrap()).collect();
    assert_eq!(told.iter().map(|thinned| thinned.to).max().unwrap() + 1, stream.oldest);
    assert!(told.iter().any(|thinned| thinned.kind == Supervision::KIND && thinned.count > 1_000), "{told:?}");
    let presses: Vec<_> = life.entries(1).into_iter().map(|(key, entry)| (key, entry.body.clone())).collect();
    assert_eq!(presses, [(urgent, b"first".to_vec()), (urgent, b"last".to_vec())]);
}

#[test]
fn acknowledged_entries_make_room_before_anything_is_thinned() {
    let dir = TempDir::new("journal-acked-first");
    let config = JournalConfig { space_mib: 1, ..CONFIG };
    let life = Life::open(dir.path(), &config);
    for _ in 0..12 {
        let receipts: Vec<_> = (0..500).map(|_| life.journal().append(supervision(400))).collect();
        for receipt in receipts {
            if let Receipt::Committed(key, sequence) = life.runtime.block_on(receipt).unwrap() {
                life.journal().acked(key, sequence);
            }
        }
    }
    life.until("acknowledged entries were dropped", |life| life.journal().shelf().streams()[0].oldest > 1);
    assert_eq!(life.entries(Thinned::KIND).len(), 0);
}

#[test]
fn more_lives_than_a_beat_lists_leave_by_age_once_acknowledged() {
    let dir = TempDir::new("journal-streams");
    for _ in 0..STREAMS_MAX + 3 {
        let life = Life::open(dir.path(), &CONFIG);
        let (key, sequence) = place(life.append(press("a")));
        life.journal().acked(key, sequence);
    }
    let life = Life::open(dir.path(), &CONFIG);
    let count = life.journal().shelf().streams().len();
    assert!(count <= STREAMS_MAX + 1, "{count} streams are held");
    assert!(count >= STREAMS_MAX - 1, "{count} streams are held: more were dropped than need be");
}

#[test]
fn a_second_gateway_on_the_same_folder_is_refused() {
    let dir = TempDir::new("journal-second");
    let life = Life::open(dir.path(), &CONFIG);
    life.append(press("a"));
    let refused = Journal::open(dir.path(), &CONFIG, Clock::start());
    let message = refused.err().expect("the journal is open already").to_string();
    assert!(message.contains("another gateway"), "{message}");
}

#[test]
fn a_file_that_is_no_journal_is_set_aside_and_presses_are_taken() {
    let dir = TempDir::new("journal-garbage");
    std::fs::write(dir.path().join("journal.sqlite"), vec![0x5a; 100_000]).unwrap();
    let life = Life::open(dir.path(), &CONFIG);
    place(life.append(press("a")));
    let faults = life.entries(Fault::KIND);
    let Ok(Event::Fault(fault)) = Event::parse(Fault::KIND, &faults[0].1.body) else { panic!("no fault") };
    assert_eq!((fault.source, fault.code, fault.active), ("journal", "journal.damaged", true));
    let set_aside = std::fs::read_dir(dir.path()).unwrap().flatten();
    assert_eq!(set_aside.filter(|f| f.file_name().to_string_lossy().starts_with("journal.damaged-")).count(), 1);
}

#[test]
fn what_can_be_read_of_a_damaged_journal_is_saved_under_its_own_number() {
    let dir = TempDir::new("journal-damaged");
    let life = Life::open(dir.path(), &CONFIG);
    let bodies: Vec<String> = (1..=2_000).map(|number| format!("{number} {}", "x".repeat(250))).collect();
    let receipts: Vec<_> = bodies.iter().map(|body| life.journal().append(press(body))).collect();
    let places: Vec<_> = receipts.into_iter().map(|receipt| place(life.runtime.block_on(receipt).unwrap())).collect();
    life.journal().acked(places[0].0, 1);
    drop(life);
    // A table that this program needs is gone; the alarms are still there.
    let file = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    file.execute_batch("drop table friendly_name").unwrap();
    drop(file);

    let life = Life::open(dir.path(), &CONFIG);
    let saved: Vec<_> = life.entries(1).into_iter().map(|(key, entry)| (key, entry.sequence)).collect();
    assert_eq!(saved, places[1..]);
    let faults = life.entries(Fault::KIND);
    let Ok(Event::Fault(fault)) = Event::parse(Fault::KIND, &faults[0].1.body) else { panic!("no fault") };
    assert!(
        fault.detail.contains("1999 alarms not yet at the hub were saved, 0 could not be read"),
        "{}",
        fault.detail
    );
}

/// A disk of its own, so that filling it hurts nobody. Needs root; without it the tests on it have nothing to stand on.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(mib: u32) -> Option<Self> {
        let dir = TempDir::new("journal-disk");
        let size = format!("size={mib}m");
        let mounted = Process::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        use std::io::Write as _;

        let mut file = std::fs::File::create(self.0.path().join("filler")).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_takes_presses_and_refuses_routine() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let dir = disk.0.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    let config = JournalConfig { reserve_mib: 3, ..CONFIG };
    let life = Life::open(&dir, &config);
    place(life.append(press("before")));
    let length = || std::fs::metadata(dir.join("journal.sqlite")).unwrap().len();
    life.until("the reserve is taken", |_| length() > 3 * 1024 * 1024);
    disk.fill();

    let mut kept = 0_u64;
    for _ in 0..30 {
        let receipts: Vec<_> = (0..100).map(|_| life.journal().append(press(&"x".repeat(250)))).collect();
        for receipt in receipts {
            place(life.runtime.block_on(receipt).unwrap());
            kept += 1;
        }
    }
    let refused = (0..2_000).map(|_| life.append(supervision(400))).filter(|receipt| *receipt == Receipt::Shed).count();
    assert!(refused > 0, "the space that presses gave up must not be filled by routine entries");
    assert_eq!(life.entries(1).len() as u64, kept + 1);
    life.until("a fault says so", |life| {
        life.entries(Fault::KIND).iter().any(|(_, entry)| Fault::parse(&entry.body).unwrap().code == "journal.full")
    });
    drop(life);
    let life = Life::open(&dir, &config);
    assert_eq!(life.entries(1).len() as u64, kept + 1, "after a restart on the full disk");
    place(life.append(press("after")));

    disk.empty();
    life.until("routine entries are welcome again", |life| {
        matches!(life.append(supervision(10)), Receipt::Committed(..))
    });
}

#[test]
fn a_lone_press_does_not_wait_for_company() {
    let dir = TempDir::new("journal-lone");
    let life = Life::open(dir.path(), &CONFIG);
    // No time is measured: the receipt must come although nothing else is ever handed in.
    let receipt = life.journal().append(press("a"));
    place(life.runtime.block_on(receipt).unwrap());
}

#[test]
fn what_the_hub_sends_is_committed_with_its_watermark() {
    let dir = TempDir::new("journal-received");
    let key = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(9) };
    let entry = |sequence| Entry {
        sequence,
        boot_id: BootId::from_random(1),
        wall_ms: 0,
        mono_ms: 0,
        kind: 900,
        body: vec![1, 2, 3],
    };
    let received = |sequences: std::ops::RangeInclusive<u64>| Received {
        key,
        committed_after: *sequences.end(),
        lost: None,
        entries: sequences.map(entry).collect(),
    };
    let life = Life::open(dir.path(), &CONFIG);
    assert_eq!(life.runtime.block_on(life.journal().watermark(key)), Some(0));
    assert!(life.runtime.block_on(life.journal().receive(received(1..=2))));
    assert!(!life.runtime.block_on(life.journal().receive(received(2..=3))), "the same entry twice is refused whole");
    assert_eq!(life.runtime.block_on(life.journal().watermark(key)), Some(2));
    // How far each order has got, and the counters, outlive the program.
    let facts = [
        Fact::Order(key, 1, OrderState::Done),
        Fact::OrderFloor("root".to_owned(), Lane::Urgent, 7),
        Fact::OrderFloor("root".to_owned(), Lane::Urgent, 5),
    ];
    for fact in facts {
        life.runtime.block_on(life.journal().remember(fact)).unwrap();
    }
    drop(life);
    let life = Life::open(dir.path(), &CONFIG);
    assert_eq!(life.runtime.block_on(life.journal().watermark(key)), Some(2));
    let orders = &life.memory.orders;
    let unfinished: Vec<_> =
        orders.unfinished.iter().map(|(key, entry, state)| (*key, entry.sequence, *state)).collect();
    assert_eq!(unfinished, [(key, 2, OrderState::Waiting)]);
    assert_eq!(orders.floors, [("root".to_owned(), Lane::Urgent, 7)], "a floor is never lowered");
}

#[test]
fn supervision_bodies_are_what_the_protocol_reads() {
    let event = Event::Supervision(Supervision::heard(DeviceKey::zigbee(1), Family::Zigbee2mqtt, 5));
    assert_eq!(Event::parse(event.kind(), &crate::event_body(&event)), Ok(event));
}
