//! That the demo runs once, who it is, and how it is told to end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tongluo_tests::{child, wait};

/// Process id and start time of the running demo.
const PID_FILE: &str = "demo.pid";

/// Ending hub, gateways and brokers in good order takes a second or two.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// The demo's folder, `target/demo`: beside the folder of this program, whatever was the working directory.
pub(crate) fn folder() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let target = this.parent().and_then(Path::parent).context("this program lies in target/debug")?;
    Ok(target.join("demo"))
}

/// The one running demo; its mark is removed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    folder: PathBuf,
}

impl Running {
    /// Starts from nothing: what an earlier demo left is deleted.
    pub(crate) fn begin() -> Result<Self> {
        let folder = folder()?;
        if let Some(pid) = process(&folder) {
            bail!("the demo is already running (process {pid}); `./run demo --stop` ends it");
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)?;
        let pid = std::process::id();
        let started = start_time(pid).context("this process is in /proc")?;
        std::fs::write(folder.join(PID_FILE), format!("{pid} {started}\n"))?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without it the mark names a process that is no more, which is seen by its start time.
        let _ = std::fs::remove_file(self.folder.join(PID_FILE));
    }
}

/// Process id of the running demo. A number that another process got since is told by its start time.
pub(crate) fn process(folder: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(folder.join(PID_FILE)).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (start_time(pid)? == started).then_some(pid)
}

/// `./run demo --stop`.
pub(crate) async fn stop() -> Result<()> {
    let folder = folder()?;
    let Some(pid) = process(&folder) else {
        crate::say("the demo is not running");
        return Ok(());
    };
    child::signal(pid, "TERM")?;
    let gone = async || Ok(process(&folder).is_none().then_some(()));
    wait::until_within(STOP_PATIENCE, "the demo to end", gone).await?;
    crate::say("the demo has ended");
    Ok(())
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)): clock ticks from the machine's start to the process's.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19).map(str::to_owned)
}

/// Ctrl-C, `--stop`, or a terminal that was closed.
#[derive(Debug)]
pub(crate) struct Ending([Signal; 3]);

impl Ending {
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    /// Returns when somebody asks for the end.
    pub(crate) async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
