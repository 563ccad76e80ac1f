//! A day of a camera that will not stay: thousands of sessions, and nothing left behind by any of them.
//!
//! What is real: the room with all its tasks, retina, the sockets, the recorder's thread and its files. What is virtual: time
//! ([`Course`]), which stands still while anything can go on, so that a day passes in seconds; and the camera, which is this
//! room's own ([`Rtsp`]), on the same thread. The few timers inside retina (keep-alives, how long an unheard TEARDOWN is
//! repeated) count real time, and the decoding helper is missing, as on a gateway whose helper was not installed.
//!
//! Files and memory are a process's. So the test starts itself once more, alone in a process of its own.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};
use tongluo_protocols::configuration::{self, Camera, CameraKind, Configuration, Recorder};
use tongluo_protocols::media::Quality;

use super::recording::{self, Budget, Recordings};
use super::room::Room;
use super::rtsp::{Behaviour, Rtsp};
use super::testing::START_MS;
use super::{COMMANDS_MAX, Cameras, REPORTS_MAX, eye};
use crate::clock::Clock;
use crate::clock::testing::Course;
use crate::testing::TempDir;

const NAME: &str = "camera::endurance::a_day_of_reconnects_leaves_nothing_behind";

/// Set in the process that does the work.
const ALONE: &str = "TONGLUO_ENDURANCE_ALONE";

const MINUTE_MS: u64 = 60_000;
const HOURS: u64 = 24;

/// What the recorder may keep: a fiftieth of what a day brings, so that files come and go.
const KEPT_BYTES: u64 = 1024 * 1024;

/// What memory may grow by after the first hours: an allocator's slack, not a byte for each of the sessions.
const GROWTH_KB_MAX: u64 = 3 * 1024;

/// A memory file system, where there is one: a day's fsyncs on a slow disk take longer than the day.
const FAST_FOLDER: &str = "/dev/shm";

#[test]
fn a_day_of_reconnects_leaves_nothing_behind() {
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", NAME, "--nocapture"]).env(ALONE, "1").stdin(Stdio::null());
    if Path::new(FAST_FOLDER).is_dir() {
        alone.env("TMPDIR", FAST_FOLDER);
    }
    let output = alone.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// What stands at one moment.
#[derive(Clone, Copy, Debug)]
struct Stock {
    /// Sessions and connections at the camera.
    sessions: usize,
    connections: u32,
    /// Open files and sockets of this process, the camera's included.
    files: usize,
    /// Tasks beside the room's own: sessions that are being torn down.
    tasks: usize,
    /// Timers that run.
    timers: usize,
    memory_kb: u64,
    recordings: usize,
    recorded_bytes: u64,
}

fn work() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (clock, course) = Clock::start_virtual(START_MS);
        // Not within the local set, which would go on without a look at the sockets.
        tokio::spawn(course.run());
        let (day, ends) = Day::start(clock, course).await;
        day.pass().await;
        day.end(ends).await;
    });
}

/// The room, its camera, and the day's dice.
struct Day {
    clock: Clock,
    course: &'static Course,
    camera: Rtsp,
    cameras: Cameras,
    /// Pictures that viewers saw.
    seen: Rc<Cell<u64>>,
    dice: Cell<u64>,
    folder: PathBuf,
    _configure: watch::Sender<Arc<Configuration>>,
    _dir: TempDir,
}

/// What ends the day in order.
struct Ends {
    stop: watch::Sender<bool>,
    room: JoinHandle<()>,
    recorder: recording::Closing,
}

impl Day {
    async fn start(clock: Clock, course: &'static Course) -> (Self, Ends) {
        let camera = Rtsp::start(clock).await;
        *camera.behaviour.borrow_mut() = well();
        let dir = TempDir::new("endurance");
        let folder = dir.path().join("recordings");
        let budget = Budget { folder: folder.clone(), bytes_max: KEPT_BYTES, keep_free_bytes: 0 };
        let (recordings, recorder) = Recordings::start(budget, clock).unwrap();
        let (configure, configurations) = watch::channel(configuration(camera.port));
        let (commands, commands_due) = mpsc::channel(COMMANDS_MAX);
        let (reports, mut reports_due) = mpsc::channel(REPORTS_MAX);
        let (stop, stopped) = watch::channel(false);
        let (eye, eye_task) = eye::Eye::new(PathBuf::from("/nonexistent"), clock);
        tokio::task::spawn_local(eye_task.run());
        tokio::task::spawn_local(async move { while reports_due.recv().await.is_some() {} });
        let room = Room::new(configurations, commands_due, reports, recordings.clone(), eye, clock);
        let room = tokio::task::spawn_local(room.run(stopped));
        let day = Self {
            clock,
            course,
            camera,
            cameras: Cameras { commands, recordings },
            seen: Rc::default(),
            dice: Cell::new(42),
            folder,
            _configure: configure,
            _dir: dir,
        };
        (day, Ends { stop, room, recorder })
    }

    /// Ends everything; the camera has no session left.
    async fn end(&self, ends: Ends) {
        ends.stop.send_replace(true);
        ends.room.await.unwrap();
        ends.recorder.wait();
        self.wait(MINUTE_MS).await;
        let left = self.stock();
        assert_eq!((left.sessions, left.connections), (0, 0), "{left:?}");
    }

    /// Fifty minutes of each hour the camera suffers; then it is well, and what stands is counted.
    async fn pass(&self) {
        let mut stocks = Vec::new();
        let faults = faults();
        for hour in 0..HOURS {
            let (made, pictures, seen) = (self.camera.made.get(), self.camera.pictures.get(), self.seen.get());
            let well_from_ms = hour * 60 * MINUTE_MS + 50 * MINUTE_MS;
            while self.clock.mono_ms() < well_from_ms {
                let fault = self.below(faults.len() as u64) as usize;
                self.camera.behaviour.replace(faults[fault].clone());
                if self.below(3) == 0 {
                    tokio::task::spawn_local(look(self.cameras.clone(), self.seen.clone(), 1 + self.below(20)));
                }
                self.wait(2_000 + self.below(MINUTE_MS / 2)).await;
            }
            self.camera.behaviour.replace(well());
            self.wait((hour + 1) * 60 * MINUTE_MS - self.clock.mono_ms()).await;
            assert!(self.camera.made.get() > made + 100, "hour {hour}: hardly a reconnect");
            assert!(self.camera.pictures.get() > pictures + 300, "hour {hour}: the camera was not found again");
            assert!(self.seen.get() > seen, "hour {hour}: no viewer saw anything");
            let stock = self.stock();
            assert_eq!((stock.sessions, stock.connections), (1, 1), "hour {hour}: {stock:?}");
            stocks.push(stock);
        }
        check(&stocks);
    }

    fn stock(&self) -> Stock {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let mut recordings = (0, 0);
        count(&self.folder, &mut recordings);
        Stock {
            sessions: self.camera.sessions.borrow().len(),
            connections: self.camera.standing.get(),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            timers: self.course.timers(),
            memory_kb: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            recordings: recordings.0,
            recorded_bytes: recordings.1,
        }
    }

    async fn wait(&self, length_ms: u64) {
        self.clock.until(Some(self.clock.mono_ms() + length_ms)).await;
    }

    /// A number below `bound`; the same ones each time.
    fn below(&self, bound: u64) -> u64 {
        let next = self.dice.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice.set(next);
        (next >> 33) % bound
    }
}

/// Somebody looks at the smaller stream for some pictures, and leaves.
async fn look(cameras: Cameras, seen: Rc<Cell<u64>>, pictures: u64) {
    let Ok(mut watching) = cameras.watch("c1", Quality::Sub).await else { return };
    for _ in 0..pictures {
        if watching.frames.recv().await.is_none() {
            return;
        }
        seen.set(seen.get() + 1);
    }
}

/// What is there after an hour may come and go; it may not pile up.
fn check(stocks: &[Stock]) {
    let early = stocks[1];
    for (hour, now) in stocks.iter().enumerate().skip(2) {
        assert!(now.files <= early.files + 3, "hour {hour}: files\n{early:?}\n{now:?}");
        assert!(now.tasks <= early.tasks + 3, "hour {hour}: tasks\n{early:?}\n{now:?}");
        assert!(now.timers <= early.timers + 3, "hour {hour}: timers\n{early:?}\n{now:?}");
        assert!(now.memory_kb <= early.memory_kb + GROWTH_KB_MAX, "hour {hour}: memory\n{early:?}\n{now:?}");
        assert!(now.recorded_bytes <= 2 * KEPT_BYTES, "hour {hour}: the recorder's budget\n{now:?}");
        assert!(now.recordings <= early.recordings + 40, "hour {hour}: the recorder's files\n{early:?}\n{now:?}");
    }
}

/// Counts a folder's files and their bytes.
fn count(folder: &Path, into: &mut (usize, u64)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // What is deleted meanwhile does not count.
        match entry.metadata() {
            Ok(facts) if facts.is_dir() => count(&entry.path(), into),
            Ok(facts) if entry.path().extension().is_some_and(|name| name == "mp4") => {
                *into = (into.0 + 1, into.1 + facts.len());
            }
            _ => {}
        }
    }
}

/// A camera as it should be: a picture a second, three sessions, and a session whose viewer vanished is kept for a minute.
fn well() -> Behaviour {
    Behaviour { frame_ms: 1_000, sessions_max: 3, keeps_lost_ms: MINUTE_MS, ..Behaviour::default() }
}

/// What happens to it.
fn faults() -> Vec<Behaviour> {
    vec![
        well(),
        Behaviour { frames_max: 3, ..well() },
        Behaviour { frames_max: 20, ..well() },
        Behaviour { frames_max: 0, ..well() },
        Behaviour { describe: 500, ..well() },
        Behaviour { describe: 453, ..well() },
        Behaviour { codec: "MP4V-ES", ..well() },
        Behaviour { hangs_at: "DESCRIBE", ..well() },
        Behaviour { hangs_at: "SETUP", ..well() },
        Behaviour { hangs_at: "PLAY", ..well() },
        Behaviour { frame_ms: 120_000, ..well() },
        Behaviour { loses_before: 7, ..well() },
        Behaviour { group: 1_000, ..well() },
    ]
}

fn configuration(port: u16) -> Arc<Configuration> {
    let recorder = Recorder {
        id: "r1".to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        username: Some("u".to_owned()),
        password: Some("p".to_owned()),
        // Too few for the smaller stream to stand by: it is opened for each viewer.
        sessions_max: 2,
    };
    let camera = Camera {
        id: "c1".to_owned(),
        recorder_id: "r1".to_owned(),
        name: "村口".to_owned(),
        main_path: "/main".to_owned(),
        sub_path: Some("/sub".to_owned()),
        kind: CameraKind::Public,
        record: configuration::Record::Main,
        days_max: 7,
        bytes_max: KEPT_BYTES,
        audio: false,
        household: vec![],
    };
    Arc::new(Configuration { recorders: vec![recorder], cameras: vec![camera], ..Configuration::default() })
}
