//! The recorder: budgets, protection, crashes.

use std::fs;
use std::path::Path;

use super::*;
use crate::camera::testing::{START_MS, frame, frames, track};
use crate::testing::TempDir;
use tongluo_protocols::media::mp4::{self, Track};

const MIB: u64 = 1024 * 1024;

struct Recorder {
    recordings: Recordings,
    closing: Closing,
}

fn start(dir: &TempDir, bytes_max: u64, keep_free_bytes: u64) -> Recorder {
    let budget = Budget { folder: dir.path().join("recordings"), bytes_max, keep_free_bytes };
    let (recordings, closing) = Recordings::start(budget, Clock::start()).unwrap();
    Recorder { recordings, closing }
}

/// Records seconds of a camera; each second is a group.
fn record(recorder: &Recorder, camera: &str, track: &Arc<Track>, seconds: std::ops::Range<u64>) {
    let mut feed = recorder.recordings.feed(camera.into(), Quality::Main);
    for frame in frames(track, seconds.start * 25..seconds.end * 25, 25) {
        feed.push(&frame, false);
    }
    feed.interrupt();
}

/// Everything of a camera, as (from, to) in seconds.
fn spans(recordings: &Recordings, camera: &str) -> Vec<(i64, i64)> {
    let camera: Arc<str> = camera.into();
    let spans = recordings.spans(&camera, START_MS, START_MS + 100_000_000);
    spans.iter().map(|span| ((span.from_ms - START_MS) / 1_000, (span.to_ms - START_MS) / 1_000)).collect()
}

#[test]
fn what_was_recorded_is_found_after_a_restart() {
    let dir = TempDir::new("recording");
    let recorder = start(&dir, 100 * MIB, 0);
    record(&recorder, "c1", &track(), 0..20);
    record(&recorder, "c1", &track(), 30..40);
    recorder.closing.wait();
    assert_eq!(spans(&recorder.recordings, "c1"), [(0, 20), (30, 40)]);
    let recorder = start(&dir, 100 * MIB, 0);
    recorder.closing.wait();
    assert_eq!(spans(&recorder.recordings, "c1"), [(0, 20), (30, 40)]);
    assert!(recorder.recordings.totals("c1").bytes > 0);
    assert_eq!(recorder.recordings.totals("c1").from_ms, Some(START_MS));
}

#[test]
fn after_a_crash_catalogue_and_files_agree_and_one_fragment_at_most_is_lost() {
    let dir = TempDir::new("recording-crash");
    let recorder = start(&dir, 100 * MIB, 0);
    record(&recorder, "c1", &track(), 0..20);
    // What a killed program leaves behind: an open row, and a file that ends anywhere. Copied while nothing is closed.
    let copy = TempDir::new("recording-crash-copy");
    let (from, to) = (dir.path().join("recordings"), copy.path().join("recordings"));
    let files = || {
        let found = writer_files(&from);
        (found.len() == 1 && fs::metadata(from.join(&found[0])).unwrap().len() > 30_000).then_some(found)
    };
    let deadline = Clock::start();
    let found = loop {
        if let Some(found) = files() {
            break found;
        }
        assert!(deadline.mono_ms() < 10_000, "nothing is written");
        std::thread::yield_now();
    };
    fs::create_dir_all(to.join(&found[0]).parent().unwrap()).unwrap();
    for name in ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm", &found[0]] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    recorder.closing.wait();
    let film = to.join(&found[0]);
    let length = fs::metadata(&film).unwrap().len();
    fs::OpenOptions::new().write(true).open(&film).unwrap().set_len(length - 100).unwrap();
    let whole = whole_ms(&fs::read(&film).unwrap());
    let recorder = start(&copy, 100 * MIB, 0);
    recorder.closing.wait();
    assert!(whole >= 1_000, "something is whole");
    assert_eq!(spans(&recorder.recordings, "c1"), [(0, whole / 1_000)], "every fragment that is whole");
    assert_eq!(fs::metadata(&film).unwrap().len(), recorder.recordings.totals("c1").bytes);
}

/// How long the fragments last that are whole in a file that ends anywhere, as any player counts them.
fn whole_ms(film: &[u8]) -> i64 {
    let fragments = mp4::fragments(film).map_while(Result::ok);
    let ticks: u64 = fragments.map(|fragment| fragment.duration_90k).sum();
    i64::try_from(ticks / 90).unwrap()
}

fn writer_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "mp4") {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn a_catalogue_that_is_lost_or_damaged_is_built_anew_from_the_files() {
    for damage in [None, Some(&b"this is no database, whatever its name says"[..])] {
        let dir = TempDir::new("recording-catalogue");
        let recorder = start(&dir, 100 * MIB, 0);
        record(&recorder, "村口/1", &track(), 0..20);
        record(&recorder, "c2", &track(), 5..10);
        recorder.closing.wait();
        let catalogue = dir.path().join("recordings/catalogue.sqlite");
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(catalogue.with_file_name(format!("catalogue.sqlite{suffix}")));
        }
        match damage {
            Some(bytes) => fs::write(&catalogue, bytes.repeat(500)).unwrap(),
            None => fs::remove_file(&catalogue).unwrap(),
        }
        let recorder = start(&dir, 100 * MIB, 0);
        recorder.closing.wait();
        assert_eq!(spans(&recorder.recordings, "村口/1"), [(0, 20)]);
        assert_eq!(spans(&recorder.recordings, "c2"), [(5, 10)]);
    }
}

/// A track that differs from the others: each change begins a segment, so a test need not wait five minutes for one.
fn other(i: u64) -> Arc<Track> {
    let mut track = Track::clone(&track());
    track.width = 320 + u16::try_from(i).unwrap() * 2;
    Arc::new(track)
}

#[test]
fn the_oldest_go_first_and_evidence_stays() {
    let dir = TempDir::new("recording-budget");
    let recorder = start(&dir, 100 * MIB, 0);
    for i in 0..8 {
        record(&recorder, "c1", &other(i), i * 10..i * 10 + 10);
    }
    record(&recorder, "c2", &track(), 0..10);
    recorder.recordings.protect("c1".into(), START_MS + 12_000, START_MS + 13_000, i64::MAX);
    recorder.closing.wait();
    assert_eq!(spans(&recorder.recordings, "c1"), [(0, 80)]);
    let each = recorder.recordings.totals("c1").bytes / 8;
    let recorder = start(&dir, 100 * MIB, 0);
    recorder.recordings.limit(HashMap::from([("c1".into(), Limits { days_max: 0, bytes_max: each * 4 + each / 2 })]));
    recorder.closing.wait();
    assert_eq!(spans(&recorder.recordings, "c1"), [(10, 20), (50, 80)]);
    assert_eq!(spans(&recorder.recordings, "c2"), [(0, 10)], "another camera's budget is its own");
    let films = writer_files(&dir.path().join("recordings"));
    assert_eq!(films.len(), 5, "{films:?}");
}

#[test]
fn what_is_too_old_goes_and_a_protection_ends_on_its_date() {
    let dir = TempDir::new("recording-age");
    let recorder = start(&dir, 100 * MIB, 0);
    record(&recorder, "c1", &other(0), 0..10);
    record(&recorder, "c1", &other(1), 10..20);
    recorder.recordings.protect("c1".into(), START_MS, START_MS + 5_000, i64::MAX);
    recorder.recordings.protect("c1".into(), START_MS + 12_000, START_MS + 15_000, START_MS + 60_000);
    recorder.closing.wait();
    // These pictures are of November 2025, and a day is all that is kept.
    let recorder = start(&dir, 100 * MIB, 0);
    recorder.recordings.limit(HashMap::from([("c1".into(), Limits { days_max: 1, bytes_max: 0 })]));
    recorder.closing.wait();
    assert_eq!(spans(&recorder.recordings, "c1"), [(0, 10)]);
}

#[test]
fn the_whole_budget_counts_all_cameras_and_a_full_disk_is_said() {
    let dir = TempDir::new("recording-full");
    let recorder = start(&dir, 100 * MIB, 0);
    for i in 0..4 {
        record(&recorder, "c1", &other(i), i * 10..i * 10 + 10);
        record(&recorder, "c2", &other(i), i * 10..i * 10 + 10);
    }
    recorder.closing.wait();
    let each = recorder.recordings.totals("c1").bytes / 4;
    let recorder = start(&dir, each * 3, 0);
    recorder.closing.wait();
    let (one, two) = (spans(&recorder.recordings, "c1"), spans(&recorder.recordings, "c2"));
    assert!(one == [(20, 40)] || two == [(20, 40)] || one == [(30, 40)], "{one:?} {two:?}");
    assert!(!recorder.recordings.is_disk_full());
    // More is to be left free than any disk has: everything goes, and nothing is written.
    let recorder = start(&dir, 100 * MIB, u64::MAX / 2);
    record(&recorder, "c1", &track(), 50..60);
    recorder.closing.wait();
    assert!(recorder.recordings.is_disk_full());
    assert_eq!(spans(&recorder.recordings, "c1"), []);
    assert!(recorder.recordings.totals("c1").gap_at_ms.is_some());
}

/// A picture of a quarter of a megabyte: what waits for a disk is soon too much. All share their bytes.
fn large(track: &Arc<Track>, i: u64, data: &bytes::Bytes) -> Arc<Frame> {
    Arc::new(Frame { data: data.clone(), ..Frame::clone(&frame(track, i, 10)) })
}

#[test]
fn a_disk_that_does_not_keep_up_costs_groups_and_says_so() {
    let dir = TempDir::new("recording-slow");
    let recorder = start(&dir, 1_000 * MIB, 0);
    let shared = recorder.recordings.shared.clone();
    let mut feed = recorder.recordings.feed("c1".into(), Quality::Main);
    let (track, data) = (track(), bytes::Bytes::from(vec![1; 256 * 1024]));
    let mut i = 0;
    let mut push = |until: u64| {
        while i < until {
            feed.push(&large(&track, i, &data), false);
            i += 1;
            assert!(shared.queued_bytes.load(Ordering::Relaxed) <= QUEUE_BYTES_MAX, "more waits than may");
        }
    };
    let stuck = shared.disk.lock().unwrap();
    // Four seconds and 25 MiB, which wait; nobody waits for them.
    push(100);
    assert_eq!(recorder.recordings.totals("c1").gap_at_ms, None);
    push(400);
    assert!(recorder.recordings.totals("c1").gap_at_ms.is_some(), "what is shed is said");
    drop(stuck);
    let deadline = Clock::start();
    while shared.queued_bytes.load(Ordering::Relaxed) > 0 {
        assert!(deadline.mono_ms() < 30_000, "the disk is free and nothing is written");
        std::thread::yield_now();
    }
    push(500);
    feed.interrupt();
    recorder.closing.wait();
    let spans = spans(&recorder.recordings, "c1");
    assert_eq!(spans.len(), 2, "{spans:?}");
    // Groups are 400 ms long; the first is what came in the first second.
    assert!((4..=5).contains(&spans[0].1) && spans[0].0 == 0, "{spans:?}: what was there first is kept");
    assert_eq!(spans[1], (15, 20), "the group that was under way when the disk was free, and what follows");
}

#[test]
fn a_hole_is_said_unless_the_cameras_state_says_why() {
    // (how many pictures are missing, whether the session ended, whether that was a state of its own) → a gap
    let table = [
        (0, false, false, false),
        (0, true, false, false),
        (25, true, false, false),
        (30, true, false, true),
        (30, false, false, true),
        (30, true, true, false),
    ];
    let track = track();
    for (missing, ends, is_said, is_gap) in table {
        let dir = TempDir::new("recording-hole");
        let recorder = start(&dir, 100 * MIB, 0);
        let mut feed = recorder.recordings.feed("c1".into(), Quality::Main);
        for i in 0..50 {
            feed.push(&frame(&track, i, 25), false);
        }
        if ends {
            feed.interrupt();
        }
        if is_said {
            feed.excuse();
        }
        feed.push(&frame(&track, 50 + missing, 5), false);
        let gap = recorder.recordings.totals("c1").gap_at_ms;
        assert_eq!(gap.is_some(), is_gap, "{missing} pictures, {ends}, {is_said}");
        recorder.closing.wait();
    }
}

/// Pictures of a session that begins with a burst: each was captured at the end of the burst or later, as far as was known.
fn after_burst(i: u64, burst: u64) -> Arc<Frame> {
    let mut known = Frame::clone(&frame(&track(), i, 10));
    known.captured_ms = known.captured_ms.max(START_MS + burst.cast_signed() * 40);
    Arc::new(known)
}

#[test]
fn a_session_that_begins_with_a_burst_is_recorded_when_it_was() {
    let dir = TempDir::new("recording-burst");
    let recorder = start(&dir, 100 * MIB, 0);
    let mut feed = recorder.recordings.feed("c1".into(), Quality::Main);
    for i in 0..200 {
        feed.push(&after_burst(i, 23), false);
    }
    feed.interrupt();
    recorder.closing.wait();
    let entries: Vec<_> = entries(&dir).iter().map(|entry| (entry.wall_ms - START_MS, entry.duration_ms)).collect();
    assert_eq!(entries[0], (0, 2_000), "the burst, and what followed within a second");
    let following: Vec<_> = (0..15).map(|group| (2_000 + group * 400, 400)).collect();
    assert_eq!(entries[1..], following);
}

#[test]
fn times_that_must_go_back_do_so_by_less_than_a_picture() {
    let dir = TempDir::new("recording-back");
    let recorder = start(&dir, 100 * MIB, 0);
    let mut feed = recorder.recordings.feed("c1".into(), Quality::Main);
    for i in 0..1_000 {
        // For four seconds the network was late by 100 ms.
        let mut known = Frame::clone(&frame(&track(), i, 10));
        known.captured_ms += if i < 100 { 100 } else { 0 };
        feed.push(&Arc::new(known), false);
    }
    feed.interrupt();
    recorder.closing.wait();
    let entries = entries(&dir);
    for pair in entries.windows(2) {
        assert!((0..=OVERLAP_MS_MAX).contains(&(pair[0].end_ms() - pair[1].wall_ms)), "{pair:?}");
    }
    let last = entries.last().unwrap();
    assert_eq!(last.end_ms(), START_MS + 40_000, "it is made up for");
}

/// The index of the one file that was recorded.
fn entries(dir: &TempDir) -> Vec<Entry> {
    let folder = dir.path().join("recordings");
    let files = writer_files(&folder);
    assert_eq!(files.len(), 1, "{files:?}");
    segment::recover(&folder.join(&files[0])).unwrap().entries
}

#[test]
fn a_wall_clock_that_is_set_back_begins_a_segment_and_loses_nothing() {
    let dir = TempDir::new("recording-clock");
    let recorder = start(&dir, 100 * MIB, 0);
    let mut feed = recorder.recordings.feed("c1".into(), Quality::Main);
    let track = track();
    for i in 0..50 {
        feed.push(&frame(&track, i, 25), false);
    }
    for i in 50..100 {
        let mut set_back = Frame::clone(&frame(&track, i, 25));
        set_back.captured_ms -= 3_600_000;
        feed.push(&Arc::new(set_back), i == 50);
    }
    feed.interrupt();
    recorder.closing.wait();
    let camera: Arc<str> = "c1".into();
    let spans = recorder.recordings.spans(&camera, 0, i64::MAX);
    let seconds: Vec<i64> = spans.iter().map(|span| (span.to_ms - span.from_ms) / 1_000).collect();
    assert_eq!(seconds, [2, 2]);
}
