//! The demo's cameras: GStreamer's RTSP server as a recorder with channels, playing files of access units.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::child::{self, Child};
use crate::devices::{Ambience, Recipe, ambience};
use crate::mosquitto::Login;
use crate::{ports, wait};

/// Python and GStreamer's libraries are loaded from a cold disk at worst.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Its program. Cargo builds this crate where its sources lie.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/devices/gst_camera.py");

/// One stream of a recorder.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Path of its address.
    pub path: String,
    /// What is to be seen.
    pub recipe: Recipe,
    /// What is to be heard; `None` for a camera without a microphone.
    pub ambience: Option<Ambience>,
}

/// A running recorder. Ends when dropped.
#[derive(Debug)]
pub struct GstRecorder {
    port: u16,
    login: Login,
    process: Child,
    log: PathBuf,
}

impl GstRecorder {
    /// Makes the files of its streams, which takes seconds the first time, and starts it.
    ///
    /// # Errors
    /// A file cannot be made, or GStreamer's packages are not installed.
    pub async fn start(folder: &Path, streams: &[Stream]) -> Result<Self> {
        let (port, login) = (ports::free()?, Login { username: "admin".to_owned(), password: crate::secret() });
        let streams = streams.to_vec();
        let streams =
            tokio::task::spawn_blocking(move || streams.iter().map(Stream::plan).collect::<Result<Vec<_>>>()).await??;
        let plan = json!({
            "port": port,
            "username": login.username,
            "password": login.password,
            "sound": { "rate_hz": ambience::RATE_HZ, "piece_samples": ambience::PIECE_SAMPLES },
            "streams": streams,
        });
        // The password is for its eyes only: not in the list of processes.
        let (plan_path, log) = (folder.join("recorder.json"), folder.join("recorder.log"));
        write_private(&plan_path, &plan.to_string())?;
        let mut command: Command = child::leashed("sh");
        command.args(["-c", "exec \"$0\" <\"$1\"", PROGRAM]).arg(&plan_path);
        let process = Child::spawn("the demo's recorder", &log, command)?;
        let mut recorder = Self { port, login, process, log };
        recorder.wait_until_listening().await?;
        Ok(recorder)
    }

    async fn wait_until_listening(&mut self) -> Result<()> {
        wait::until_within(START_PATIENCE, "the recorder to listen", async || {
            self.process.check()?;
            Ok(child::tail(&self.log, 20).lines().any(|line| line == "listening").then_some(()))
        })
        .await
    }

    /// URL of a channel, without name and password.
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.port)
    }

    /// Its user.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Its process.
    pub fn running(&mut self) -> &mut Child {
        &mut self.process
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// It had to be killed.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop().await
    }
}

impl Stream {
    /// What the program is told of it, once its files are made.
    fn plan(&self) -> Result<Value> {
        let (video, list) = self.recipe.files()?;
        let sound = self.ambience.map(Ambience::file).transpose()?;
        let frames_per_s = self.recipe.frames_per_s;
        Ok(json!({ "path": self.path, "video": video, "list": list, "frames_per_s": frames_per_s, "sound": sound }))
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
