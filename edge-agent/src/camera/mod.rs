//! Cameras: what happens in front of them is in memory or on disk before anybody asks for it.
//!
//! ```text
//! camera ─RTSP─► session ─► timeline ─► ring ─────► who watches (live, evidence, tests)
//!                                  └──► recorder ─► files ─► who reads (playback, evidence, exports)
//! ```
//!
//! All of it runs apart from the path of a press: a thread of its own with a runtime of its own for the sessions, another for the
//! recorder's disk, and a process for decoding. What is handed over is bounded everywhere, and video is what is dropped.
//!
//! | File        | What it knows                                                                             |
//! | ----------- | ----------------------------------------------------------------------------------------- |
//! | `plan`      | which streams the configuration asks for                                                  |
//! | `room`      | the room's task: streams by demand, questions, reports                                    |
//! | `stream`    | one stream's task: machine ⇄ session ⇄ ring and recorder                                  |
//! | `machine`   | when to open a session, when to give up for a while (pure)                                |
//! | `guard`     | how not to lock a recorder with a wrong password (pure)                                   |
//! | `session`   | one RTSP session, and what its errors mean                                                |
//! | `sound`     | what cameras hear, where somebody decided that it is kept                                |
//! | `timeline`  | a camera's time stamps → one timeline and the wall clock (pure)                           |
//! | `ring`      | the latest pictures in memory                                                             |
//! | `follow`    | reading from memory                                                                       |
//! | `recording` | the recorder                                                                              |
//! | `eye`       | the decoding helper                                                                       |
//! | `picture`   | black and frozen (pure)                                                                   |
//! | `health`    | one state per camera, since when (pure)                                                   |
//! | `probe`     | trying an address                                                                         |

#[cfg(test)]
mod endurance;
mod eye;
mod follow;
mod guard;
mod health;
mod machine;
mod picture;
mod plan;
mod probe;
mod recording;
mod ring;
mod room;
#[cfg(test)]
mod rtsp;
mod session;
mod sound;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timeline;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::event::{self, CameraReport};
use tongluo_protocols::media::{Codec, Quality};

use crate::clock::Clock;
use crate::config::CameraConfig;
pub(crate) use eye::EyeError;
pub(crate) use health::State;
pub(crate) use probe::Probed;
use recording::{Budget, Recordings};
pub(crate) use recording::{Piece, Reading, Span};
pub(crate) use ring::{Frame, Watching};
use room::{Command, Room};
use session::Address;

/// Questions that may wait for the room. At the bound who asks is refused.
const COMMANDS_MAX: usize = 64;

/// Reports that may wait to be journalled: two for each camera.
const REPORTS_MAX: usize = 128;

/// What is said of a camera: on each change, and every ten minutes.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The camera's id.
    pub(crate) camera: Arc<str>,
    /// The worst of what is so.
    pub(crate) state: State,
    /// Since when, UTC milliseconds.
    pub(crate) since_ms: i64,
    /// A sentence for the technician; may be empty.
    pub(crate) detail: String,
    /// What the main stream carries; `None`: not seen yet.
    pub(crate) main: Option<StreamFacts>,
    /// What the sub stream carries; `None`: there is none, or it was not seen yet.
    pub(crate) sub: Option<StreamFacts>,
    /// The beginning of the oldest recording, UTC milliseconds.
    pub(crate) recorded_from_ms: Option<i64>,
    /// How many bytes the recordings take.
    pub(crate) recorded_bytes: Option<u64>,
    /// When the last picture came, UTC milliseconds.
    pub(crate) last_frame_ms: Option<i64>,
    /// When this was so, UTC milliseconds.
    pub(crate) heard_ms: i64,
}

impl Report {
    /// The report as the journal takes it.
    pub(crate) fn event(&self) -> CameraReport<'_> {
        CameraReport {
            camera: &self.camera,
            state: self.state.reported(),
            since_ms: self.since_ms,
            detail: &self.detail,
            main: self.main.map(StreamFacts::event),
            sub: self.sub.map(StreamFacts::event),
            recorded_from_ms: self.recorded_from_ms,
            recorded_bytes: self.recorded_bytes,
            last_frame_ms: self.last_frame_ms,
            heard_ms: self.heard_ms,
        }
    }
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct StreamFacts {
    /// How it is encoded.
    pub(crate) codec: Codec,
    /// In pixels.
    pub(crate) width: u16,
    /// In pixels.
    pub(crate) height: u16,
}

impl StreamFacts {
    fn event(self) -> event::StreamFacts<'static> {
        event::StreamFacts { codec: self.codec.as_str(), width: self.width, height: self.height }
    }
}

/// Why somebody gets no picture.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The configuration names no such camera.
    #[error("no such camera")]
    Unknown,
    /// The camera gives none, and why.
    #[error("{}: {detail}", .state.name())]
    NoPicture {
        /// The camera's state.
        state: State,
        /// A sentence; may be empty.
        detail: String,
    },
    /// More is asked for than is served at once.
    #[error("too much is asked for at once")]
    Busy,
    /// The decoder makes no picture of it.
    #[error(transparent)]
    Eye(EyeError),
}

/// One picture for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Snapshot {
    /// A JPEG of at most 256 kB.
    pub(crate) jpeg: Vec<u8>,
    /// When it was captured: see [`Frame::captured_ms`].
    pub(crate) captured_ms: i64,
}

/// A handle to the room. All copies lead to the same threads.
#[derive(Clone)]
pub(crate) struct Cameras {
    commands: mpsc::Sender<Command>,
    recordings: Recordings,
}

/// Waits for the room's threads when the program ends.
pub(crate) struct Closing {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
    recorder: recording::Closing,
}

impl Closing {
    /// Ends all sessions and recordings in order.
    pub(crate) fn wait(self) {
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the cameras' thread panicked");
        }
        self.recorder.wait();
    }
}

/// What starting the room gives.
pub(crate) struct Opened {
    pub(crate) cameras: Cameras,
    /// What is to be told to the hub.
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) closing: Closing,
}

impl Cameras {
    /// Starts the room's threads; they follow the configuration.
    pub(crate) fn start(
        config: &CameraConfig,
        data_dir: &Path,
        configurations: watch::Receiver<Arc<Configuration>>,
        clock: Clock,
    ) -> anyhow::Result<Opened> {
        let (recordings, recorder) =
            Recordings::start(budget(config, data_dir), clock).context("the recorder's thread cannot be started")?;
        let (commands, commands_due) = mpsc::channel(COMMANDS_MAX);
        let (reports, reports_due) = mpsc::channel(REPORTS_MAX);
        let (stop, stopped) = watch::channel(false);
        let program = config.decoder.clone().unwrap_or_else(eye::default_program);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let kept = recordings.clone();
        let work = move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                let (eye, eye_task) = eye::Eye::new(program, clock);
                tokio::task::spawn_local(eye_task.run());
                Room::new(configurations, commands_due, reports, recordings, eye, clock).run(stopped).await;
            });
        };
        let thread = std::thread::Builder::new().name("cameras".to_owned()).spawn(work)?;
        let cameras = Self { commands, recordings: kept };
        Ok(Opened { cameras, reports: reports_due, closing: Closing { stop, thread, recorder } })
    }

    /// The group of pictures that is under way, and what follows without a hole. Opens the stream if it is not open, and waits
    /// for its first picture. A quality that the camera does not have is served by the other.
    pub(crate) async fn watch(&self, camera: &str, quality: Quality) -> Result<Watching, Refusal> {
        self.ask(|reply| Command::Watch { camera: camera.into(), quality, reply }).await?
    }

    /// The smaller stream's pictures, if they flow at this moment: to be shown until those come that were asked for.
    pub(crate) async fn stopgap(&self, camera: &str) -> Option<Watching> {
        self.ask(|reply| Command::Stopgap { camera: camera.into(), reply }).await.ok().flatten()
    }

    /// The newest picture.
    pub(crate) async fn snapshot(&self, camera: &str) -> Result<Snapshot, Refusal> {
        self.ask(|reply| Command::Snapshot { camera: camera.into(), reply }).await?
    }

    /// Tries an address from here; takes up to 12 s.
    pub(crate) async fn probe(&self, url: &str, username: Option<&str>, password: Option<&str>) -> Probed {
        let credentials = username.map(|username| (username.to_owned(), password.unwrap_or_default().to_owned()));
        let address = match Address::parse(url, credentials) {
            Ok(address) => address,
            Err(error) => return Probed::failed("unreachable", error.to_string()),
        };
        let probed = self.ask(|reply| Command::Probe { address, reply }).await;
        probed.unwrap_or_else(|refusal| Probed::failed("unreachable", refusal.to_string()))
    }

    /// What of a span there is to read, on disk and in memory, in either quality: a camera is kept in one.
    pub(crate) async fn spans(&self, camera: &str, from_ms: i64, to_ms: i64) -> Vec<Span> {
        let camera: Arc<str> = camera.into();
        let recordings = self.recordings.clone();
        let recorded = {
            let camera = camera.clone();
            tokio::task::spawn_blocking(move || recordings.spans(&camera, from_ms, to_ms)).await.unwrap_or_default()
        };
        if !recorded.is_empty() {
            return recorded;
        }
        let memory = self.ask(|reply| Command::Span { camera, reply }).await.ok().flatten();
        let span = memory.map(|(first_ms, last_ms)| Span { from_ms: first_ms.max(from_ms), to_ms: last_ms.min(to_ms) });
        span.filter(|span| span.from_ms < span.to_ms).into_iter().collect()
    }

    /// Reads a span, from disk or from memory. One that reaches into the future is followed while it happens.
    pub(crate) async fn read(&self, camera: &str, from_ms: i64, to_ms: i64) -> Result<Reading, Refusal> {
        self.ask(|reply| Command::Read { camera: camera.into(), from_ms, to_ms, reply }).await?
    }

    /// Keeps what is and will be recorded of a span until a date (UTC milliseconds).
    pub(crate) fn protect(&self, camera: &str, from_ms: i64, to_ms: i64, until_ms: i64) {
        self.recordings.protect(camera.into(), from_ms, to_ms, until_ms);
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|_| Refusal::Busy)?;
        answer.await.map_err(|_| Refusal::Busy)
    }
}

fn budget(config: &CameraConfig, data_dir: &Path) -> Budget {
    let mib = |count: u32| u64::from(count) * 1024 * 1024;
    Budget {
        folder: config.folder.clone().unwrap_or_else(|| PathBuf::from(data_dir).join("recordings")),
        bytes_max: mib(config.budget_mib),
        keep_free_bytes: mib(config.keep_free_mib),
    }
}
