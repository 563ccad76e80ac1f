//! A program that runs beside us, and never longer than we do.
//!
//! Each child is in a process group of its own, so that Ctrl-C reaches only its parent, who ends the children in order.
//! `setpriv --pdeathsig` asks the kernel to kill it when the thread that started it ends, however that happens; therefore
//! children must be started from a thread that lives as long as they should (a test's own thread, or `main`).

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{clock, wait};

/// How long a program may take to end in good order before it is killed.
const FAREWELL: Duration = Duration::from_secs(10);

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    log: PathBuf,
}

/// A command that the kernel kills when its starter's thread ends.
pub fn leashed(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Child {
    /// Starts a command whose output goes to the end of a log file.
    ///
    /// # Errors
    /// The program or the log cannot be opened.
    pub fn spawn(name: &str, log: &Path, mut command: Command) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let process = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), process, log: log.to_owned() })
    }

    /// Its process id. Not reused before we have waited for it.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    /// The system will not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Fails if it has ended, with the end of its log: for use while waiting for what it should do.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, tail(&self.log, 20)),
        }
    }

    /// `kill -9`, at once.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// It had to be killed after ten seconds.
    pub async fn stop(&mut self) -> Result<()> {
        signal(self.pid(), "TERM")?;
        let (name, process) = (&self.name, &mut self.process);
        let ended = wait::until_within(FAREWELL, "the end", async || Ok(process.try_wait()?)).await;
        if ended.is_err() {
            process.kill()?;
            process.wait()?;
            bail!("{name} did not end within {} s of being asked:\n{}", FAREWELL.as_secs(), tail(&self.log, 20));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already; there is nothing to do about that.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal to one process. The shell's own `kill` needs no package and no `unsafe`.
///
/// # Errors
/// There is no such process, or it is somebody else's.
pub fn signal(pid: u32, signal: &str) -> Result<()> {
    let status = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid.to_string()]).status()?;
    if !status.success() {
        bail!("cannot send {signal} to process {pid}");
    }
    Ok(())
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// It cannot be started, or fails; then the text holds its error output.
pub fn output(name: &str, command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed with {}: {}{}", output.status, said.trim(), String::from_utf8_lossy(&output.stdout));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed something that is not text"))
}

/// One of our programs: built by the same cargo command, and therefore in the folder of this one.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built; `cargo build --workspace` builds it"))
}

/// The last lines of a file; empty if there is none.
pub fn tail(path: &Path, lines_max: usize) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(lines_max)..].join("\n")
}

/// How long ago something was, in whole milliseconds, for reports.
pub fn elapsed_ms(since: std::time::Instant) -> u128 {
    clock::now().duration_since(since).as_millis()
}
