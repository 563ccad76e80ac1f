//! The decoding helper, from the gateway's side: a process that is started when a picture must be looked at, and that may crash,
//! hang or lie without harm.
//!
//! One request at a time, each with a time limit; whoever exceeds it is killed. After a failure the next start waits, longer each
//! time. Snapshots go before judgements. A helper that had nothing to do for a while is ended: FFmpeg's libraries take 15 MB.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tongluo_protocols::media::decoder::{ANSWER_BYTES_MAX, Answer, Looks, REQUEST_BYTES_MAX, Request, Task};

use super::ring::Frame;
use crate::clock::Clock;

/// Requests that may wait, of each kind: one for each camera. At the bound a request is refused.
const WAITING_MAX: usize = 64;

/// An answer takes 20 to 300 ms; the helper's start 100 ms.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the helper lives without work: longer than the pause between two judgements.
const IDLE_MS: u64 = 60_000;

/// The first pause after a failure, and the longest.
const PAUSE_MS: (u64, u64) = (500, 30_000);

/// The width of a snapshot: enough for a face-free overview on a wall, a third of the bytes of 1080p.
const SNAPSHOT_WIDTH_MAX: u16 = 1_280;

/// The most bytes of a snapshot: two seconds of a 1 Mbit/s uplink.
const SNAPSHOT_BYTES_MAX: u32 = 256 * 1024;

/// The helper's file name.
const PROGRAM: &str = "tongluo-decoder";

/// Why there is no picture.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum EyeError {
    /// The helper has more to do than it can, or its last end is too near.
    #[error("the decoder is busy or recovering")]
    Busy,
    /// The helper crashed, took too long, or answered nonsense.
    #[error("the decoder failed")]
    Failed,
    /// The helper says why.
    #[error("{0}")]
    Refused(String),
}

type Reply<T> = oneshot::Sender<Result<T, EyeError>>;
type SnapshotDue = (Vec<Arc<Frame>>, Reply<Vec<u8>>);
type JudgementDue = (Arc<Frame>, Reply<Looks>);

/// A handle to the helper.
#[derive(Clone)]
pub(super) struct Eye {
    snapshots: mpsc::Sender<SnapshotDue>,
    judgements: mpsc::Sender<JudgementDue>,
}

impl Eye {
    /// The handle, and the task that serves it.
    pub(super) fn new(program: PathBuf, clock: Clock) -> (Self, EyeTask) {
        let (snapshots, snapshots_due) = mpsc::channel(WAITING_MAX);
        let (judgements, judgements_due) = mpsc::channel(WAITING_MAX);
        let task = EyeTask {
            snapshots: snapshots_due,
            judgements: judgements_due,
            helper: None,
            program,
            clock,
            failures_in_a_row: 0,
            start_at_ms: 0,
        };
        (Self { snapshots, judgements }, task)
    }

    /// The last of these pictures as a JPEG; the first must be a keyframe.
    pub(super) async fn snapshot(&self, frames: Vec<Arc<Frame>>) -> Result<Vec<u8>, EyeError> {
        let (reply, answer) = oneshot::channel();
        self.snapshots.try_send((frames, reply)).map_err(|_| EyeError::Busy)?;
        answer.await.unwrap_or(Err(EyeError::Failed))
    }

    /// What a keyframe shows.
    pub(super) async fn judge(&self, frame: Arc<Frame>) -> Result<Looks, EyeError> {
        let (reply, answer) = oneshot::channel();
        self.judgements.try_send((frame, reply)).map_err(|_| EyeError::Busy)?;
        answer.await.unwrap_or(Err(EyeError::Failed))
    }
}

/// Where the helper is when the configuration does not say: beside this program.
pub(super) fn default_program() -> PathBuf {
    let here = std::env::current_exe().ok();
    here.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from(PROGRAM), |folder| folder.join(PROGRAM))
}

/// Serves an [`Eye`].
pub(super) struct EyeTask {
    snapshots: mpsc::Receiver<SnapshotDue>,
    judgements: mpsc::Receiver<JudgementDue>,
    helper: Option<Helper>,
    program: PathBuf,
    clock: Clock,
    failures_in_a_row: u32,
    start_at_ms: u64,
}

impl EyeTask {
    /// Runs until all handles are gone.
    pub(super) async fn run(mut self) {
        loop {
            let idle_at_ms = self.helper.is_some().then(|| self.clock.mono_ms() + IDLE_MS);
            tokio::select! {
                biased;
                due = self.snapshots.recv() => {
                    let Some((frames, reply)) = due else { return };
                    let task = Task::Jpeg { width_max: SNAPSHOT_WIDTH_MAX, bytes_max: SNAPSHOT_BYTES_MAX };
                    let made = self.ask(task, &frames).await;
                    let _ = reply.send(made.and_then(|answer| match Answer::parse(&answer) {
                        Ok(Answer::Jpeg(jpeg)) => Ok(jpeg.to_vec()),
                        other => Err(refusal(other)),
                    }));
                }
                Some((frame, reply)) = self.judgements.recv() => {
                    let judged = self.ask(Task::Judge, &[frame]).await;
                    let _ = reply.send(judged.and_then(|answer| match Answer::parse(&answer) {
                        Ok(Answer::Looks(looks)) => Ok(looks),
                        other => Err(refusal(other)),
                    }));
                }
                () = self.clock.until(idle_at_ms) => self.helper = None,
            }
        }
    }

    async fn ask(&mut self, task: Task, frames: &[Arc<Frame>]) -> Result<Vec<u8>, EyeError> {
        let now_ms = self.clock.mono_ms();
        if self.helper.is_none() {
            if now_ms < self.start_at_ms {
                return Err(EyeError::Busy);
            }
            match Helper::start(&self.program) {
                Ok(helper) => self.helper = Some(helper),
                Err(error) => {
                    if self.failures_in_a_row == 0 {
                        tracing::error!(
                            decoder.path = %self.program.display(),
                            decoder.error = %error,
                            "the decoder cannot be started; there are no snapshots, and nobody sees black pictures"
                        );
                    }
                    return Err(self.failed(now_ms));
                }
            }
        }
        let helper = self.helper.as_mut().expect("it was started above");
        match tokio::time::timeout(ANSWER_TIMEOUT, helper.ask(task, frames)).await {
            Ok(Ok(answer)) if Answer::parse(&answer).is_ok() => {
                self.failures_in_a_row = 0;
                Ok(answer)
            }
            ended => {
                let how = match ended {
                    Ok(Ok(_)) => "answered nonsense",
                    Ok(Err(_)) => "ended",
                    Err(_) => "took too long",
                };
                tracing::warn!(
                    decoder.how = how,
                    "the decoder failed at a picture; it is started again when it is needed"
                );
                // Dropping it kills it.
                self.helper = None;
                Err(self.failed(now_ms))
            }
        }
    }

    fn failed(&mut self, now_ms: u64) -> EyeError {
        self.start_at_ms = now_ms + PAUSE_MS.1.min(PAUSE_MS.0 << self.failures_in_a_row.min(10));
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        EyeError::Failed
    }
}

fn refusal(answer: Result<Answer<'_>, tongluo_protocols::Error>) -> EyeError {
    match answer {
        Ok(Answer::Failed(reason)) => EyeError::Refused(reason.to_owned()),
        _ => EyeError::Failed,
    }
}

/// The process.
struct Helper {
    input: ChildStdin,
    output: ChildStdout,
    _child: Child,
}

impl Helper {
    fn start(program: &Path) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let (input, output) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        Ok(Self { input, output, _child: child })
    }

    async fn ask(&mut self, task: Task, frames: &[Arc<Frame>]) -> std::io::Result<Vec<u8>> {
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
        let track = &frames.first().ok_or_else(invalid)?.track;
        let request = Request { task, codec: track.codec, parameters: &track.parameters, pictures: &[] };
        let header = request.header();
        let pictures_bytes: usize = frames.iter().map(|frame| 4 + frame.data.len()).sum();
        let length = header.len() + track.parameters.len() + pictures_bytes;
        if length > REQUEST_BYTES_MAX {
            return Err(invalid());
        }
        let word = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.input.write_all(&word(length)).await?;
        self.input.write_all(&header).await?;
        self.input.write_all(&track.parameters).await?;
        for frame in frames {
            self.input.write_all(&word(frame.data.len())).await?;
            self.input.write_all(&frame.data).await?;
        }
        self.input.flush().await?;
        let length = self.output.read_u32().await? as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(invalid());
        }
        let mut answer = vec![0; length];
        self.output.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::camera::testing::{frames, track};
    use crate::testing::TempDir;

    /// What becomes of a snapshot when the helper is this shell script.
    async fn snapshot(script: &str) -> (Result<Vec<u8>, EyeError>, Result<Vec<u8>, EyeError>) {
        let dir = TempDir::new("eye");
        let program = dir.path().join("helper");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let (eye, task) = Eye::new(program, Clock::start());
        let task = tokio::spawn(task.run());
        let frames = frames(&track(), 0..3, 3);
        let first = eye.snapshot(frames.clone()).await;
        let second = eye.snapshot(frames).await;
        drop(eye);
        task.await.unwrap();
        (first, second)
    }

    #[tokio::test]
    async fn whatever_the_helper_does_it_is_an_answer_or_an_error() {
        let jpeg = r"while :; do printf '\000\000\000\003\001ab'; head -c 1 >/dev/null || exit; sleep 0.1; done";
        assert_eq!(snapshot(jpeg).await.0, Ok(b"ab".to_vec()));
        let refused = r"head -c 20 >/dev/null; printf '\000\000\000\004\000why'; cat >/dev/null";
        assert_eq!(snapshot(refused).await.0, Err(EyeError::Refused("why".to_owned())));
        for bad in [
            "exit 1",
            "kill -9 $$",
            r"printf '\377\377\377\377'; cat >/dev/null",
            r"printf '\000\000\000\002\007x'; cat >/dev/null",
            r"printf '\000\000\000\000'; cat >/dev/null",
            r"printf '\000\000'",
        ] {
            let (first, second) = snapshot(bad).await;
            assert_eq!(first, Err(EyeError::Failed), "{bad}");
            assert_eq!(second, Err(EyeError::Busy), "{bad}: it is not started again at once");
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_given_up_and_one_that_is_missing_is_an_error() {
        assert_eq!(snapshot("exec sleep 100").await.0, Err(EyeError::Failed));
        let (eye, task) = Eye::new(PathBuf::from("/nonexistent/helper"), Clock::start());
        let task = tokio::spawn(task.run());
        assert_eq!(eye.judge(frames(&track(), 0..1, 1).remove(0)).await, Err(EyeError::Failed));
        drop(eye);
        task.await.unwrap();
    }
}
