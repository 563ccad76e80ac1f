//! The whole room against a camera on loopback.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tongluo_protocols::configuration::{self, Camera, CameraKind, Configuration, Recorder};
use tongluo_protocols::media::Quality;
use tongluo_protocols::media::mp4;

use super::rtsp::{Behaviour, Rtsp};
use super::*;
use crate::testing::TempDir;

/// A gateway's room with one camera.
struct Village {
    camera: Rtsp,
    cameras: Cameras,
    reports: mpsc::Receiver<Report>,
    configure: watch::Sender<Arc<Configuration>>,
    closing: Option<Closing>,
    clock: Clock,
    _dir: TempDir,
}

fn configuration(port: u16, record: configuration::Record, password: &str) -> Arc<Configuration> {
    let recorder = Recorder {
        id: "r1".to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        username: (!password.is_empty()).then(|| "u".to_owned()),
        password: Some(password.to_owned()),
        sessions_max: 4,
    };
    let camera = Camera {
        id: "c1".to_owned(),
        recorder_id: "r1".to_owned(),
        name: "村口".to_owned(),
        main_path: "/main".to_owned(),
        sub_path: None,
        kind: CameraKind::Public,
        record,
        days_max: 7,
        bytes_max: 1 << 30,
        audio: false,
        household: vec![],
    };
    Arc::new(Configuration { recorders: vec![recorder], cameras: vec![camera], ..Configuration::default() })
}

impl Village {
    async fn start(behaviour: Behaviour, record: configuration::Record, password: &str) -> Self {
        let clock = Clock::start();
        let camera = Rtsp::start(clock).await;
        *camera.behaviour.borrow_mut() = behaviour;
        let dir = TempDir::new("cameras");
        let (configure, configurations) = watch::channel(configuration(camera.port, record, password));
        let config = CameraConfig { decoder: Some(PathBuf::from("/nonexistent")), ..CameraConfig::default() };
        let opened = Cameras::start(&config, dir.path(), configurations, clock).unwrap();
        let Opened { cameras, reports, closing } = opened;
        Self { camera, cameras, reports, configure, closing: Some(closing), clock, _dir: dir }
    }

    /// Reports until one has this state.
    async fn until(&mut self, state: State) -> Report {
        self.until_told(|report| report.state == state).await
    }

    /// Reports until one is as it should be; fails after a minute.
    async fn until_told(&mut self, is_it: impl Fn(&Report) -> bool) -> Report {
        let mut seen = Vec::new();
        let deadline_ms = self.clock.mono_ms() + 60_000;
        loop {
            tokio::select! {
                report = self.reports.recv() => {
                    let report = report.unwrap();
                    if is_it(&report) {
                        return report;
                    }
                    seen.push(report);
                }
                () = self.clock.until(Some(deadline_ms)) => panic!("only {seen:?}"),
            }
        }
    }

    async fn end(mut self) {
        let closing = self.closing.take().unwrap();
        tokio::task::spawn_blocking(|| closing.wait()).await.unwrap();
        let deadline_ms = self.clock.mono_ms() + 5_000;
        while self.camera.standing.get() > 0 {
            assert!(self.clock.mono_ms() < deadline_ms, "sessions stand after the end");
            self.clock.until(Some(self.clock.mono_ms() + 20)).await;
        }
    }
}

/// Runs a story with one camera.
fn with(behaviour: Behaviour, record: configuration::Record, password: &str, story: impl AsyncFnOnce(Village)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { story(Village::start(behaviour, record, password).await).await });
}

const OFF: configuration::Record = configuration::Record::Off;
const MAIN: configuration::Record = configuration::Record::Main;

#[test]
fn a_camera_is_watched_from_a_keyframe_on_without_a_hole() {
    with(Behaviour::default(), OFF, "", async |mut village: Village| {
        let mut watching = village.cameras.watch("c1", Quality::Sub).await.unwrap();
        assert_eq!((watching.gop[0].track.width, watching.gop[0].track.height), (320, 240));
        assert!(watching.gop[0].key);
        let mut last_90k = watching.gop.last().unwrap().decode_90k;
        for _ in 0..20 {
            let frame = watching.frames.recv().await.unwrap();
            assert_eq!(frame.decode_90k - last_90k, 1_800);
            let age_ms = village.clock.utc_ms() - frame.captured_ms;
            assert!((0..1_000).contains(&age_ms), "{age_ms} ms old");
            last_90k = frame.decode_90k;
        }
        let report = village.until(State::Ok).await;
        assert_eq!(report.main, Some(StreamFacts { codec: Codec::H264, width: 320, height: 240 }));
        assert_eq!(village.camera.made.get(), 1, "one session, however many ask");
        assert_eq!(village.cameras.watch("c9", Quality::Main).await.unwrap_err(), Refusal::Unknown);
        let snapshot = village.cameras.snapshot("c1").await;
        assert!(matches!(snapshot, Err(Refusal::Eye(_))), "without a decoder there is none, and nothing else suffers");
        village.end().await;
    });
}

#[test]
fn a_camera_that_is_recorded_can_be_read_while_it_goes_on() {
    with(Behaviour::default(), MAIN, "", async |mut village: Village| {
        village.until(State::Ok).await;
        let from_ms = village.clock.utc_ms();
        let mut reading = village.cameras.read("c1", from_ms, from_ms + 1_500).await.unwrap();
        let mut film = Vec::new();
        let mut ends_ms = None;
        while let Some(piece) = reading.pieces.recv().await {
            match piece {
                Piece::Init { rfc6381, data } => {
                    assert_eq!(rfc6381, "avc1.42c00d");
                    film.extend(data);
                }
                Piece::Fragment { wall_ms, duration_ms, data } => {
                    let fragment = mp4::fragments(&data).next().unwrap().unwrap();
                    assert!(fragment.samples().next().unwrap().sample.key, "a decoder can begin with each");
                    ends_ms = Some(wall_ms + i64::from(duration_ms));
                    film.extend(data);
                }
                Piece::Gap { from_ms, to_ms } => panic!("a gap from {from_ms} to {to_ms}"),
            }
        }
        assert!(ends_ms.unwrap() >= from_ms + 1_500, "to the end of the span");
        let decode: Vec<u64> = mp4::fragments(&film).map(|fragment| fragment.unwrap().decode_90k).collect();
        assert_eq!(decode[0], 0);
        // The first may be what the session began with, which lasts a second.
        assert!(decode[1..].windows(2).all(|pair| (8_100..9_900).contains(&(pair[1] - pair[0]))), "{decode:?}");
        village.cameras.protect("c1", from_ms, from_ms + 1_000, i64::MAX);
        let told = village.until_told(|report| report.recorded_from_ms.is_some()).await;
        assert!(told.recorded_from_ms.unwrap() <= from_ms, "the first recording is told of when there is one");
        let spans = village.cameras.spans("c1", from_ms, from_ms + 1_000).await;
        assert_eq!((spans.len(), spans[0].from_ms), (1, from_ms));
        // A fragment may end a millisecond before the next begins.
        assert!((from_ms + 995..=from_ms + 1_000).contains(&spans[0].to_ms), "{spans:?}");
        village.end().await;
    });
}

#[test]
fn what_is_not_recorded_is_read_from_memory_as_if_it_were() {
    with(Behaviour::default(), OFF, "", async |mut village: Village| {
        village.until(State::Ok).await;
        let now_ms = village.clock.utc_ms();
        let mut reading = village.cameras.read("c1", now_ms - 5_000, now_ms + 800).await.unwrap();
        let (mut first, mut last_ms) = (None, 0);
        while let Some(piece) = reading.pieces.recv().await {
            first.get_or_insert(matches!(piece, Piece::Gap { .. }));
            if let Piece::Fragment { wall_ms, duration_ms, .. } = piece {
                last_ms = wall_ms + i64::from(duration_ms);
            }
        }
        assert_eq!(first, Some(true), "before the camera was there, there is nothing");
        assert!(last_ms >= now_ms + 800, "{} ms are missing", now_ms + 800 - last_ms);
        village.end().await;
    });
}

#[test]
fn a_session_that_breaks_off_comes_back_on_the_same_timeline() {
    with(Behaviour { frames_max: 30, ..Behaviour::default() }, OFF, "", async |village: Village| {
        let mut watching = village.cameras.watch("c1", Quality::Main).await.unwrap();
        let mut last_90k = watching.gop.last().unwrap().decode_90k;
        let mut jumps = 0;
        for _ in 0..70 {
            let frame = watching.frames.recv().await.unwrap();
            assert!(frame.decode_90k > last_90k);
            if frame.decode_90k - last_90k > 9_000 {
                assert!(frame.key, "after a hole it goes on with a keyframe");
                jumps += 1;
            }
            last_90k = frame.decode_90k;
        }
        assert!(jumps >= 2 && village.camera.made.get() >= 3);
        assert!(village.camera.standing.get() <= 1);
        village.end().await;
    });
}

#[test]
fn lost_packets_cost_pictures_up_to_the_next_keyframe_and_no_session() {
    let behaviour = Behaviour { loses_before: 12, group: 10, ..Behaviour::default() };
    with(behaviour, OFF, "", async |village: Village| {
        let mut watching = village.cameras.watch("c1", Quality::Main).await.unwrap();
        let mut frames = watching.gop.clone();
        while frames.last().unwrap().decode_90k < 40 * 1_800 {
            frames.push(watching.frames.recv().await.unwrap());
        }
        let numbers: Vec<u64> = frames.iter().map(|frame| frame.decode_90k / 1_800).collect();
        assert!(!numbers.contains(&13) && numbers.contains(&20), "{numbers:?}");
        assert_eq!(village.camera.made.get(), 1);
        village.end().await;
    });
}

#[test]
fn pictures_that_were_lost_on_the_way_are_a_gap_in_the_recording() {
    let behaviour = Behaviour { loses_before: 12, group: 10, ..Behaviour::default() };
    with(behaviour, MAIN, "", async |mut village: Village| {
        village.until(State::Ok).await;
        let report = village.until(State::RecordingGap).await;
        assert!(report.detail.contains("lost on the way"), "{}", report.detail);
        village.end().await;
    });
}

#[test]
fn a_recorder_whose_sessions_are_all_in_use_says_so_until_it_may_have_more() {
    with(Behaviour::default(), MAIN, "", async |mut village: Village| {
        let limited = |sessions_max| {
            let mut configuration = Configuration::clone(&configuration(village.camera.port, MAIN, ""));
            configuration.recorders[0].sessions_max = sessions_max;
            configuration.cameras[0].sub_path = Some("/sub".to_owned());
            Arc::new(configuration)
        };
        let (one, two) = (limited(1), limited(2));
        village.configure.send_replace(one);
        village.until_told(|report| report.state == State::Ok && report.recorded_from_ms.is_some()).await;
        let refusal = village.cameras.watch("c1", Quality::Sub).await.unwrap_err();
        let Refusal::NoPicture { state: State::Refused, detail } = refusal else { panic!("{refusal:?}") };
        assert_eq!(detail, "all 1 sessions of the recorder are in use here");
        assert!(village.cameras.watch("c1", Quality::Main).await.is_ok(), "what is open is watched without another");
        village.configure.send_replace(two);
        // The pause after the refusal may have to pass first.
        let watching = loop {
            match village.cameras.watch("c1", Quality::Sub).await {
                Ok(watching) => break watching,
                Err(Refusal::NoPicture { state: State::Refused, .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other:?}"),
            }
        };
        assert!(watching.gop[0].key);
        assert_eq!(village.camera.sessions.borrow().len(), 2);
        village.end().await;
    });
}

#[test]
fn each_refusal_has_its_state_and_ends_by_itself() {
    let table = [
        (Behaviour { describe: 404, ..Behaviour::default() }, State::NoSuchStream),
        (Behaviour { describe: 453, ..Behaviour::default() }, State::Refused),
        (Behaviour { describe: 500, ..Behaviour::default() }, State::Unreachable),
        (Behaviour { codec: "MP4V-ES", ..Behaviour::default() }, State::Unsupported),
        (Behaviour { hangs_at: "SETUP", ..Behaviour::default() }, State::Unreachable),
        (Behaviour { frame_ms: 60_000, ..Behaviour::default() }, State::NoFrames),
    ];
    for (behaviour, state) in table {
        with(behaviour, OFF, "", async |mut village: Village| {
            let report = village.until(state).await;
            assert!(!report.detail.is_empty(), "{state:?}");
            let refusal = village.cameras.watch("c1", Quality::Main).await.unwrap_err();
            assert!(matches!(refusal, Refusal::NoPicture { .. }), "{refusal:?}");
            village.end().await;
        });
    }
}

#[test]
fn a_camera_that_is_repaired_is_well_again() {
    with(Behaviour { describe: 500, ..Behaviour::default() }, OFF, "", async |mut village: Village| {
        village.until(State::Unreachable).await;
        village.camera.behaviour.borrow_mut().describe = 200;
        let report = village.until(State::Ok).await;
        assert_eq!(report.detail, "");
        village.end().await;
    });
}

#[test]
fn a_wrong_password_is_given_once_until_the_configuration_changes() {
    // u:right
    let behaviour = Behaviour { wants: Some("Basic dTpyaWdodA=="), ..Behaviour::default() };
    with(behaviour, OFF, "wrong", async |mut village: Village| {
        village.until(State::Refused).await;
        let wait_ms = village.clock.mono_ms() + 4_000;
        village.clock.until(Some(wait_ms)).await;
        assert_eq!(village.camera.wrong.get(), 1);
        let probed = village.cameras.probe(&village.camera.url(), Some("u"), Some("bad")).await;
        assert_eq!((probed.reason, probed.tries_left), ("refused", Some(3)));
        village.configure.send_replace(configuration(village.camera.port, OFF, "right"));
        village.until(State::Ok).await;
        assert_eq!(village.camera.wrong.get(), 2);
        village.end().await;
    });
}

#[test]
fn an_address_is_tried_and_says_what_it_carries() {
    with(Behaviour::default(), OFF, "", async |village: Village| {
        let probed = village.cameras.probe(&village.camera.url(), None, None).await;
        assert_eq!(probed.reason, "ok", "{}", probed.detail);
        assert_eq!(probed.facts, Some(StreamFacts { codec: Codec::H264, width: 320, height: 240 }));
        assert_eq!((probed.frames_per_s, probed.jpeg), (Some(50.0), None));
        let closed = village.cameras.probe("rtsp://127.0.0.1:1/x", None, None).await;
        assert_eq!(closed.reason, "unreachable");
        let nonsense = village.cameras.probe("http://x", None, None).await;
        assert_eq!(nonsense.reason, "unreachable");
        assert!(nonsense.detail.contains("rtsp://"));
        village.end().await;
    });
}
