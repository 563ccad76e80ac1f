//! What is heard in the village: the last judge of what may be, and of what goes before what.
//!
//! ```text
//! order (genuine, for us, new, in time) ─► judge ─► verdict, committed ─► machine ─► "begun", committed ─► loudspeakers
//! an alarm's voice ─────────────────────────────────────────────────────►    │
//!                                                          play reports ◄───┘◄── what loudspeakers say
//! ```
//!
//! [`judge`] says whether a genuine order may be heard here and now, with a name for each refusal. [`machine`] has it wait for
//! its file, its loudspeakers and what goes before it, begins it once, and says what became of it, loudspeaker by loudspeaker.
//! [`task`] owns the journal, the files and the loudspeakers. Nothing begins before it is on disk that it begins; after a crash
//! what was begun is interrupted and not begun again, and what was not begun has its chance for as long as its order says.

mod judge;
mod machine;
mod show;
mod task;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tongluo_protocols::id::{Sequence, StreamKey};

pub(crate) use judge::{Bench, Refusal, judge};
pub(crate) use show::Ordered;
pub(crate) use task::{Task, World};

use crate::alarm::{Voice, Voices};
use crate::journal::PlayMarked;
use crate::speaker::Busy;

/// How long the chime before a notice lasts.
pub(crate) const CHIME_MS: u32 = 2_000;
/// Requests that wait for the task, which takes them at once. So many at a time are a bug elsewhere.
const ASKS_MAX: usize = 256;

/// What the hub confirmed: this UTC at this monotonic time. `None` before.
pub(crate) type ConfirmedTime = watch::Receiver<Option<Confirmed>>;

/// A time that is certain, carried on by monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) utc_ms: i64,
    pub(crate) at_mono_ms: u64,
}

impl Confirmed {
    /// UTC at a monotonic time.
    pub(crate) fn utc_ms(&self, mono_ms: u64) -> i64 {
        let since_ms = i64::try_from(mono_ms.saturating_sub(self.at_mono_ms)).unwrap_or(i64::MAX);
        self.utc_ms.saturating_add(since_ms)
    }
}

/// Where an order stands in the hub's journal.
pub(crate) type Place = (StreamKey, Sequence);

/// A handle to the task. Copies lead to the same one.
#[derive(Clone)]
pub(crate) struct Broadcasts {
    asks: mpsc::Sender<Ask>,
    /// Names of all broadcasts that were begun, or may be; and of those that were stopped before they came.
    known: Arc<Mutex<HashSet<Arc<str>>>>,
}

/// What is asked of the task.
#[derive(Debug)]
enum Ask {
    Begin(Ordered, Place),
    Stop(Option<String>, Place),
    Voice(Voice),
    Hush(Arc<str>),
}

/// Where the task hears what is asked of it.
pub(crate) struct Asked {
    inbox: mpsc::Receiver<Ask>,
    marks: Vec<PlayMarked>,
}

impl Broadcasts {
    /// The handle, and where the task hears it. `marks` are those of earlier runs.
    pub(crate) fn channel(marks: Vec<PlayMarked>) -> (Self, Asked) {
        let (asks, inbox) = mpsc::channel(ASKS_MAX);
        let known = marks.iter().map(|marked| Arc::from(marked.broadcast.as_str())).collect();
        (Self { asks, known: Arc::new(Mutex::new(known)) }, Asked { inbox, marks })
    }

    /// Whether a broadcast of this name came before.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Has a broadcast heard that the judge lets be; its verdict is on disk.
    pub(crate) async fn begin(&self, ordered: Ordered, place: Place) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(ordered.name.clone());
        self.ask(Ask::Begin(ordered, place)).await;
    }

    /// Has a broadcast end, or all of them; the verdict is on disk. One that comes later than its stop, as it may from another
    /// hub, is not begun.
    pub(crate) async fn stop(&self, name: Option<&str>, place: Place) {
        if let Some(name) = name {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into());
        }
        self.ask(Ask::Stop(name.map(str::to_owned), place)).await;
    }

    async fn ask(&self, ask: Ask) {
        if self.asks.send(ask).await.is_err() {
            tracing::error!("nobody decides what is heard any more: the program is ending");
        }
    }
}

impl Voices for Broadcasts {
    fn sound(&self, voice: Voice) -> Result<(), Busy> {
        self.asks.try_send(Ask::Voice(voice)).map_err(|_| Busy)
    }

    fn hush(&self, name: &str) -> Result<(), Busy> {
        self.asks.try_send(Ask::Hush(name.into())).map_err(|_| Busy)
    }
}

#[cfg(test)]
mod machine_tests;
