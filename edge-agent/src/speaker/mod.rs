//! The village's loudspeakers.
//!
//! Whoever wants something heard asks [`Speakers`] for it under a name, and learns from [`News`] what came of it, loudspeaker by
//! loudspeaker. What is to be heard, and whether at all, is decided elsewhere; here is how. There are two sorts:
//!
//! - **Our own loudspeakers** on the village's broker, which obey only this gateway (`tongluo_protocols::device::speaker`):
//!   [`machine`] has the rules of talking with them, and [`serve`] gives them the sounds that they are to play.
//! - **The line-out** of the gateway's own sound card, with a relay for the amplifier of a horn ([`line_out`]).
//!
//! [`board`] knows who plays what, and what is said of each loudspeaker; [`task`] owns the connection. All of it lives on a thread
//! of its own: nothing about sound can hold up a press, and a slow disk holds up nothing but sound.
//!
//! **What "played" means** is said by the loudspeaker: one of ours, that it handed all samples to its amplifier; the line-out,
//! that the sound card took and played them all. Neither has listened.

mod board;
mod line_out;
mod machine;
mod serve;
mod sounds;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::device::speaker::{Sound, State};
use tongluo_protocols::id::ContentId;

use crate::clock::Clock;
use crate::config::Config;
use crate::journal::Journal;
pub(crate) use sounds::Sounds;

/// Where sounds lie, under the data folder.
const FOLDER: &str = "sounds";
/// Requests that wait for the task. It takes them at once; so many at a time are a bug elsewhere, and are refused.
const ASKS_MAX: usize = 256;
/// News that nobody has looked at yet: a whole village's, several times over. At the bound the task waits.
const NEWS_MAX: usize = 1_024;

/// Something that is to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Play {
    /// What it is called in [`News`]. The same name at a loudspeaker where it is open already is the same play.
    pub(crate) name: Arc<str>,
    /// At which loudspeakers, by the ids that the configuration gives them.
    pub(crate) speakers: Vec<String>,
    pub(crate) what: What,
    /// How loud, 0 to 100; never louder than the loudspeaker's ceiling.
    pub(crate) volume_percent: u8,
}

/// A sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A WAV file that [`Sounds`] holds.
    File {
        content: ContentId,
        bytes: u64,
        /// How long it sounds once.
        length_ms: u32,
        /// How often, 1 to 20.
        times: u8,
        gap_ms: u32,
        /// How far into it the first time begins.
        from_ms: u32,
    },
    /// A sound that every loudspeaker has.
    BuiltIn { sound: Sound, length_ms: u32 },
}

impl What {
    /// How long it sounds, all times together.
    pub(crate) fn whole_ms(&self) -> u64 {
        match *self {
            Self::File { length_ms, times, gap_ms, from_ms, .. } => {
                let gaps_ms = u64::from(times.saturating_sub(1)) * u64::from(gap_ms);
                (u64::from(times) * u64::from(length_ms) + gaps_ms).saturating_sub(from_ms.into())
            }
            Self::BuiltIn { length_ms, .. } => u64::from(length_ms),
        }
    }
}

/// How far a play has come at one loudspeaker. A final state comes exactly once for each of its loudspeakers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) name: Arc<str>,
    pub(crate) speaker: String,
    pub(crate) state: State,
    /// How much was heard so far, all times together.
    pub(crate) played_ms: u32,
    /// How often it was heard to its end.
    pub(crate) times: u8,
    /// Why it failed, as a sentence.
    pub(crate) detail: Option<String>,
}

/// How a loudspeaker is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpeakerState {
    /// Whether it has proved lately that it lives.
    pub(crate) online: bool,
    /// What it plays, by its name.
    pub(crate) playing: Option<Arc<str>>,
}

/// How all loudspeakers are, by their ids.
pub(crate) type States = Arc<BTreeMap<String, SpeakerState>>;

/// So many requests wait already that this one was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the loudspeakers' task does not keep up")]
pub(crate) struct Busy;

/// A handle to the loudspeakers. Copies lead to the same task.
#[derive(Clone)]
pub(crate) struct Speakers {
    asks: mpsc::Sender<Ask>,
    states: watch::Receiver<States>,
}

/// What is asked of the task.
#[derive(Debug)]
enum Ask {
    Play(Play),
    Stop { name: Arc<str>, speaker: Option<String> },
}

impl Speakers {
    /// Has something heard. It takes the place of what the same loudspeakers play. A loudspeaker that does not answer is told as
    /// soon as it does, for as long as the sound lasts and half a minute; then it has failed.
    ///
    /// # Errors
    /// When too much is asked at once.
    pub(crate) fn play(&self, play: Play) -> Result<(), Busy> {
        self.asks.try_send(Ask::Play(play)).map_err(|_| Busy)
    }

    /// Ends a play: at one loudspeaker, or at all.
    ///
    /// # Errors
    /// When too much is asked at once.
    pub(crate) fn stop(&self, name: &str, speaker: Option<&str>) -> Result<(), Busy> {
        let ask = Ask::Stop { name: name.into(), speaker: speaker.map(str::to_owned) };
        self.asks.try_send(ask).map_err(|_| Busy)
    }

    /// How they are, and whenever that changes.
    pub(crate) fn states(&self) -> watch::Receiver<States> {
        self.states.clone()
    }
}

/// What starting the loudspeakers gives.
pub(crate) struct Opened {
    pub(crate) speakers: Speakers,
    /// For the one who decides between sounds.
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) sounds: Sounds,
    pub(crate) closing: Closing,
}

/// Waits for the thread when the program ends.
pub(crate) struct Closing {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl Closing {
    /// Ends what sounds.
    pub(crate) fn wait(self) {
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the loudspeakers' thread panicked");
        }
    }
}

/// Starts the thread that talks with the loudspeakers which the configuration names.
///
/// # Errors
/// When the folder of sounds cannot be made, or the system gives no thread.
pub(crate) fn start(
    config: &Config,
    credentials: Option<(String, String)>,
    journal: Journal,
    configurations: watch::Receiver<Arc<Configuration>>,
    clock: Clock,
) -> anyhow::Result<Opened> {
    let (sounds, keeper) = Sounds::open(&config.data_dir.join(FOLDER), &config.data_dir, clock)?;
    let (asks, inbox) = mpsc::channel(ASKS_MAX);
    let (tell, news) = mpsc::channel(NEWS_MAX);
    let (show, states) = watch::channel(States::default());
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = task::Plan {
        lan: config.lan.clone(),
        speaker: config.speaker.clone(),
        credentials,
        folder: sounds.folder().to_owned(),
        clock,
    };
    let work = move || {
        LocalSet::new().block_on(&runtime, async move {
            tokio::task::spawn_local(keeper.run(configurations.clone()));
            let ends = task::Ends { asks: inbox, news: tell, states: show, journal, configurations };
            task::run(plan, ends, stopped).await;
        });
    };
    let thread = std::thread::Builder::new().name("speaker".to_owned()).spawn(work).context("no thread for sound")?;
    Ok(Opened { speakers: Speakers { asks, states }, news, sounds, closing: Closing { stop, thread } })
}
