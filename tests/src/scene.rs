//! A stage for one test: a folder of its own, a runtime on the test's own thread, and the ends of all logs on failure.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::child;

/// How much of each log a failure shows.
const TAIL_LINES: usize = 40;

/// A temporary folder for one test's data and logs, removed with it. On a panic it prints the ends of its logs first.
/// `TONGLUO_KEEP=1` keeps it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder under the system's folder for temporary files: a database server that runs as another user must be
    /// able to reach it, which a home folder may prevent.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tongluo-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A folder inside, made if absent.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn inside(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// The ends of all logs inside.
    pub fn tails(&self) -> String {
        let mut logs = Vec::new();
        collect_logs(&self.0, &mut logs);
        logs.sort();
        let tail = |log: &PathBuf| format!("==> {} <==\n{}\n", log.display(), child::tail(log, TAIL_LINES));
        logs.iter().map(tail).collect()
    }
}

impl Drop for Folder {
    #[expect(clippy::print_stderr, reason = "a failed test tells what its programs said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tails());
        }
        if std::env::var_os("TONGLUO_KEEP").is_none() {
            // A folder that stays behind in the folder for temporary files harms nobody.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn collect_logs(folder: &Path, logs: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_logs(&path, logs);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
}

/// Plays one test on the calling thread.
///
/// # Panics
/// When the test fails.
pub fn play(name: &str, story: impl AsyncFnOnce(&Folder) -> Result<()>) {
    let folder = Folder::new(name).expect("a folder for the test");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for the test");
    if let Err(error) = runtime.block_on(story(&folder)) {
        // Panicking while the folder lives makes it print the logs.
        panic!("{name}: {error:#}");
    }
}
