//! What a camera and its connections share: its channels and what they show, its mood, its memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;

use super::clip::Clip;
use super::fault::Fault;
use super::guard::{Guard, Sessions};
use super::microphone::Microphone;
use super::player::{Origin, Sent};
use super::recipe::{Picture, Recipe};
use crate::clock;

/// Pictures of each channel whose sending is remembered: 40 s at 25 a second.
const SENT_MAX: usize = 1_000;
/// RTSP's own (RFC 2326 §12.37).
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// One stream under one path.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Path of its URL, without the first slash: `main`, `Streaming/Channels/101`.
    pub path: String,
    /// What it shows.
    pub recipe: Recipe,
}

/// What clients did to a camera since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were taken.
    pub connections: u64,
    /// DESCRIBEs with the right password.
    pub describes: u64,
    /// PLAYs that were answered with pictures.
    pub plays: u64,
    /// Sessions that were ended by TEARDOWN.
    pub teardowns: u64,
    /// Sessions that were not kept alive.
    pub timed_out: u64,
    /// Sessions that found no place.
    pub turned_away: u64,
    /// Wrong passwords that were not yet too many.
    pub wrong_passwords: u64,
    /// Requests while nobody was heard for too many wrong passwords, and the one that was too many.
    pub locked_out: u64,
}

/// What a camera's connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channels: Vec<Channel>,
    clips: Mutex<HashMap<Recipe, Arc<Clip>>>,
    pub(crate) mood: watch::Sender<Mood>,
    pub(crate) guard: Mutex<Guard>,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) session_timeout: Duration,
    pub(crate) microphone: Option<Microphone>,
    pub(crate) origin: Origin,
    pub(crate) phase: Duration,
    counts: Mutex<Counts>,
    /// For each channel: the picture, counted from 1970, and when it was sent, in UTC microseconds.
    sent: Mutex<Vec<VecDeque<(i64, i64)>>>,
}

/// What is wrong, and how often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mood {
    pub(crate) fault: Fault,
    pub(crate) jump_ms: i64,
    pub(crate) clock_off_ms: i64,
    pub(crate) resets: u64,
    pub(crate) forgets: u64,
}

impl Shared {
    /// An ordinary camera's, with nothing loaded.
    pub(crate) fn new(channels: Vec<Channel>, guard: Guard, sessions: Sessions) -> Self {
        Self {
            clips: Mutex::default(),
            mood: watch::Sender::default(),
            guard: Mutex::new(guard),
            sessions: Mutex::new(sessions),
            session_timeout: SESSION_TIMEOUT,
            microphone: None,
            origin: Origin { instant: clock::now(), utc_us: clock::utc_us() },
            phase: Duration::ZERO,
            counts: Mutex::default(),
            sent: Mutex::new(vec![VecDeque::new(); channels.len()]),
            channels,
        }
    }

    pub(crate) fn channel(&self, path: &str) -> Option<usize> {
        self.channels.iter().position(|channel| channel.path == path)
    }

    /// What a channel shows under a fault.
    ///
    /// # Panics
    /// If the fault was set without loading its files, which nobody can do.
    pub(crate) fn wanted(&self, channel: usize, fault: Fault) -> Arc<Clip> {
        let recipe = under(fault, self.channels[channel].recipe);
        self.clips.lock().expect("not poisoned")[&recipe].clone()
    }

    /// Makes and loads what the channels show under a fault.
    pub(crate) async fn load(&self, fault: Fault) -> Result<()> {
        for channel in &self.channels {
            let recipe = under(fault, channel.recipe);
            if !self.clips.lock().expect("not poisoned").contains_key(&recipe) {
                let clip = tokio::task::spawn_blocking(move || loaded(recipe)).await??;
                self.clips.lock().expect("not poisoned").insert(recipe, clip);
            }
        }
        Ok(())
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().expect("not poisoned"));
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().expect("not poisoned")
    }

    /// When the picture whose clock shows `number` was last sent.
    pub(crate) fn sent_us(&self, channel: usize, number: u32) -> Option<i64> {
        let frames = i64::from(self.channels[channel].recipe.frames());
        let sent = self.sent.lock().expect("not poisoned");
        let found = sent[channel].iter().rev().find(|(picture, _)| picture.rem_euclid(frames) == i64::from(number));
        found.map(|(_, utc_us)| *utc_us)
    }

    /// Number of the picture that was sent last, and when.
    pub(crate) fn last_sent(&self, channel: usize) -> Option<(u32, i64)> {
        let frames = i64::from(self.channels[channel].recipe.frames());
        let sent = self.sent.lock().expect("not poisoned");
        let (picture, utc_us) = sent[channel].back()?;
        Some((u32::try_from(picture.rem_euclid(frames)).ok()?, *utc_us))
    }

    pub(crate) fn note_sent(&self, channel: usize, sent: Sent, at: Instant) {
        let utc_us = self.origin.utc_us(at);
        let mut all = self.sent.lock().expect("not poisoned");
        let mine = &mut all[channel];
        if mine.len() == SENT_MAX {
            mine.pop_front();
        }
        mine.push_back((sent.picture, utc_us));
    }
}

/// Files are loaded once in a program, however many cameras play them.
fn loaded(recipe: Recipe) -> Result<Arc<Clip>> {
    static LOADED: Mutex<Option<HashMap<Recipe, Arc<Clip>>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().expect("not poisoned");
    let all = loaded.get_or_insert_default();
    if let Some(clip) = all.get(&recipe) {
        return Ok(clip.clone());
    }
    let clip = Clip::load(recipe)?;
    all.insert(recipe, clip.clone());
    Ok(clip)
}

/// What a fault makes of a picture. Rate, length and keyframes stay, so that one file can take over from another.
fn under(fault: Fault, recipe: Recipe) -> Recipe {
    match fault {
        Fault::Black => Recipe { picture: Picture::Black, ..recipe },
        Fault::Frozen => Recipe { picture: Picture::Frozen, ..recipe },
        // Three quarters of the size, in whole macroblocks, so that cells of the clock stay whole pixels.
        Fault::OtherParameters => Recipe { width: recipe.width / 64 * 48, height: recipe.height / 8 * 6, ..recipe },
        _ => recipe,
    }
}
