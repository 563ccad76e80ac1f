//! Evidence: what the cameras saw of a press, made here and brought to the hub, whatever happens to the line or the power.
//!
//! ```text
//! journal's urgent lane ─► plan (store) ─► snapshot, clip ─► file ─► entry "evidence" in the journal
//!                                                              └──► client ─► hub
//! ```
//!
//! It follows the journal as the uplink does, and writes down up to where it has planned in the same transaction as the plan
//! ([`store`]); so a press is planned once, whenever the gateway was killed, and nothing on the way of a press waits for any of
//! this. A clip that was being made when the gateway died is read again from the recording. Telling the hub and bringing the
//! file are separate: the entry goes with the journal, the file when the line allows.

mod clip;
mod machine;
mod store;
mod task;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tongluo_protocols::configuration::Configuration;

use crate::camera::{Cameras, Piece, Snapshot};
use crate::clock::Clock;
use crate::journal::Journal;

/// Where the plan and the files lie, under the data folder.
const FOLDER: &str = "evidence";

/// What evidence wants of the cameras. A refusal is a sentence for the people who look for the picture.
pub(crate) trait Eyes: Clone + Send + 'static {
    /// The newest picture.
    fn snapshot(&self, camera: &str) -> impl Future<Output = Result<Snapshot, String>>;

    /// A span of time from the keyframe at or before `from_ms`, followed where it reaches into the future.
    fn read(
        &self,
        camera: &str,
        from_ms: i64,
        to_ms: i64,
    ) -> impl Future<Output = Result<mpsc::Receiver<Piece>, String>>;

    /// Keeps the recording of a span until a date, in UTC milliseconds.
    fn protect(&self, camera: &str, from_ms: i64, to_ms: i64, until_ms: i64);
}

impl Eyes for Cameras {
    async fn snapshot(&self, camera: &str) -> Result<Snapshot, String> {
        Self::snapshot(self, camera).await.map_err(|refusal| refusal.to_string())
    }

    async fn read(&self, camera: &str, from_ms: i64, to_ms: i64) -> Result<mpsc::Receiver<Piece>, String> {
        let reading = Self::read(self, camera, from_ms, to_ms).await.map_err(|refusal| refusal.to_string())?;
        Ok(reading.pieces)
    }

    fn protect(&self, camera: &str, from_ms: i64, to_ms: i64, until_ms: i64) {
        Self::protect(self, camera, from_ms, to_ms, until_ms);
    }
}

/// Waits for the thread when the program ends.
pub(crate) struct Closing {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl Closing {
    /// Ends what is under way; it goes on at the next start.
    pub(crate) fn wait(self) {
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the evidence's thread panicked");
        }
    }
}

/// Starts the thread that makes evidence.
///
/// # Errors
/// When its folder or its plan cannot be opened, or the system gives no thread.
pub(crate) fn start<E: Eyes>(
    data_dir: &Path,
    journal: Journal,
    eyes: E,
    configurations: watch::Receiver<Arc<Configuration>>,
    clock: Clock,
) -> anyhow::Result<Closing> {
    let folder = data_dir.join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let store = store::Store::open(&folder.join("plan.db")).context("the plan of the evidence cannot be opened")?;
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let data_dir = data_dir.to_owned();
    let work = move || {
        let task = task::Task::new(store, folder, data_dir, journal, eyes, configurations, clock);
        LocalSet::new().block_on(&runtime, task.run(stopped));
    };
    let thread = std::thread::Builder::new().name("evidence".to_owned()).spawn(work)?;
    Ok(Closing { stop, thread })
}
