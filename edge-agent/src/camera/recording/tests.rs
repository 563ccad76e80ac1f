//! The recorder: budgets, protection, crashes.

use std::fs;
use std::path::Path;

use super::*;
use crate::camera::testing::{START_MS, frame, frames, track};
use crate::testing::TempDir;
use tongluo_protocols::media::mp4::Track;

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
    let recorder = start(&copy, 100 * MIB, 0);
    recorder.closing.wait();
    let spans = spans(&recorder.recordings, "c1");
    assert_eq!(spans.len(), 1);
    assert!(spans[0].0 == 0 && spans[0].1 >= 1, "{spans:?}");
    assert_eq!(fs::metadata(&film).unwrap().len(), recorder.recordings.totals("c1").bytes);
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

#[test]
fn a_disk_that_does_not_keep_up_costs_groups_and_says_so() {
    let dir = TempDir::new("recording-slow");
    let recorder = start(&dir, 100 * MIB, 0);
    let mut feed = recorder.recordings.feed("c1".into(), Quality::Main);
    let track = track();
    recorder.recordings.shared.queued_bytes.fetch_add(QUEUE_BYTES_MAX, Ordering::Relaxed);
    for i in 0..60 {
        feed.push(&frame(&track, i, 25), false);
    }
    assert!(recorder.recordings.totals("c1").gap_at_ms.is_some());
    recorder.recordings.shared.queued_bytes.fetch_sub(QUEUE_BYTES_MAX, Ordering::Relaxed);
    for i in 60..100 {
        feed.push(&frame(&track, i, 25), false);
    }
    feed.interrupt();
    recorder.closing.wait();
    assert_eq!(spans(&recorder.recordings, "c1"), [(2, 4)], "the group that was under way, and what follows");
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
