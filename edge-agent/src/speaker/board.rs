//! Who plays what, and what is said of each loudspeaker: pure, no clock, no socket.
//!
//! Sinks know a play by its number, which is drawn at random and never used twice; everybody else by its name. The board keeps
//! the two together, has one play replace another, and draws each loudspeaker's report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tongluo_protocols::configuration::{self, SpeakerKind};
use tongluo_protocols::device::speaker::State;

use super::{News, Play, SpeakerState, States, What};

/// A loudspeaker that does not change is reported so often all the same, as proof of life.
const REPORT_MS: u64 = 600_000;
/// Plays that are open at once, at all loudspeakers together: each plays one, one may be about to take its place, and one may
/// still be about to end. Beyond it a play fails at once.
const OPEN_MAX: usize = 3 * super::machine::SPEAKERS_MAX;

/// What is to be done at one loudspeaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Play { sink: Sink, play: u64, what: What, volume_percent: u8 },
    Stop { sink: Sink, play: u64 },
    Tell(News),
}

/// Where a loudspeaker is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sink {
    /// One of ours on the village's broker, by its serial there.
    Mqtt(String),
    /// A sound card of the gateway's.
    LineOut {
        /// Its name with ALSA; empty for the default.
        device: String,
        warm_up_ms: u16,
    },
}

/// What a sink says of a play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) play: u64,
    pub(super) state: State,
    pub(super) played_ms: u32,
    pub(super) times: u8,
    pub(super) detail: Option<String>,
}

/// Whether a loudspeaker lives, and what else its sink knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) health: Health,
    /// When it last proved that it lives, in UTC milliseconds.
    pub(super) heard_ms: Option<i64>,
    pub(super) detail: String,
}

/// How a loudspeaker is. What is worse comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    Starting,
    Ok,
    Failed,
    Refused,
    Silent,
}

/// What is reported of a loudspeaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) speaker: String,
    pub(super) health: Health,
    pub(super) since_ms: i64,
    pub(super) heard_ms: Option<i64>,
    pub(super) detail: String,
    pub(super) volume_percent: u8,
    pub(super) playing: Option<Arc<str>>,
}

/// The loudspeakers of a village.
#[derive(Default)]
pub(super) struct Board {
    speakers: BTreeMap<String, Entry>,
    open: Vec<Open>,
}

struct Entry {
    sink: Sink,
    volume_percent_max: u8,
    life: Life,
    /// Why its last play failed; none once one did not.
    failure: Option<String>,
    health: Health,
    since_ms: i64,
    report_at_ms: u64,
}

/// A play that has not ended at one loudspeaker.
struct Open {
    play: u64,
    name: Arc<str>,
    speaker: String,
    replaced: bool,
}

impl Board {
    /// The loudspeakers are these from now on. Gives the plays that end with those that are gone.
    pub(super) fn configure(&mut self, now_ms: u64, now_utc_ms: i64, speakers: &[configuration::Speaker]) -> Vec<Act> {
        let mut before = std::mem::take(&mut self.speakers);
        for speaker in speakers.iter().take(super::machine::SPEAKERS_MAX) {
            let sink = sink_of(speaker);
            let entry = match before.remove(&speaker.id) {
                Some(entry) if entry.sink == sink => entry,
                _ => Entry {
                    sink,
                    volume_percent_max: 0,
                    life: Life { health: Health::Starting, heard_ms: None, detail: String::new() },
                    failure: None,
                    health: Health::Starting,
                    since_ms: now_utc_ms,
                    report_at_ms: now_ms,
                },
            };
            let entry = Entry { volume_percent_max: speaker.volume_percent.min(100), ..entry };
            self.speakers.insert(speaker.id.clone(), entry);
        }
        let speakers = &self.speakers;
        let gone = self.open.extract_if(.., |open| !speakers.contains_key(&open.speaker));
        let mut acts = Vec::new();
        for open in gone {
            if let Some(entry) = before.get(&open.speaker) {
                acts.push(Act::Stop { sink: entry.sink.clone(), play: open.play });
            }
            acts.push(Act::Tell(failed(open.name, open.speaker, "the loudspeaker was taken out of the configuration")));
        }
        acts
    }

    /// Has something heard; `draw` gives a number that was never used.
    pub(super) fn play(&mut self, play: &Play, mut draw: impl FnMut() -> u64) -> Vec<Act> {
        let mut acts = Vec::new();
        for id in &play.speakers {
            if self.open.iter().any(|open| open.speaker == *id && open.name == play.name && !open.replaced) {
                continue;
            }
            let Some(entry) = self.speakers.get(id) else {
                acts.push(Act::Tell(failed(play.name.clone(), id.clone(), "there is no such loudspeaker")));
                continue;
            };
            if self.open.len() >= OPEN_MAX {
                acts.push(Act::Tell(failed(play.name.clone(), id.clone(), "too much is open at the loudspeakers")));
                continue;
            }
            for open in self.open.iter_mut().filter(|open| open.speaker == *id) {
                open.replaced = true;
            }
            let number = draw();
            self.open.push(Open { play: number, name: play.name.clone(), speaker: id.clone(), replaced: false });
            acts.push(Act::Play {
                sink: entry.sink.clone(),
                play: number,
                what: play.what.clone(),
                volume_percent: play.volume_percent.min(entry.volume_percent_max),
            });
        }
        acts
    }

    /// Ends a play at one loudspeaker, or at all. What is not open has ended.
    pub(super) fn stop(&self, name: &str, speaker: Option<&str>) -> Vec<Act> {
        let meant = |open: &&Open| &*open.name == name && speaker.is_none_or(|id| open.speaker == id);
        let stop = |open: &Open| {
            let sink = self.speakers.get(&open.speaker)?.sink.clone();
            Some(Act::Stop { sink, play: open.play })
        };
        self.open.iter().filter(meant).filter_map(stop).collect()
    }

    /// Ends everything.
    pub(super) fn stop_all(&self) -> Vec<Act> {
        let names: BTreeSet<_> = self.open.iter().map(|open| open.name.clone()).collect();
        names.iter().flat_map(|name| self.stop(name, None)).collect()
    }

    /// Takes in what a sink said; gives what is to be told.
    pub(super) fn said(&mut self, said: Said) -> Option<News> {
        let place = self.open.iter().position(|open| open.play == said.play)?;
        let Said { state, played_ms, times, detail, .. } = said;
        let open = &self.open[place];
        let (name, speaker) = (open.name.clone(), open.speaker.clone());
        // The sink may have learned of the end only by what came instead.
        let state = if open.replaced && state == State::Stopped { State::Replaced } else { state };
        if state.is_final() {
            self.open.remove(place);
        }
        if let Some(entry) = self.speakers.get_mut(&speaker) {
            match state {
                State::Failed => entry.failure = Some(detail.clone().unwrap_or_default()),
                State::Finished => entry.failure = None,
                _ => {}
            }
        }
        Some(News { name, speaker, state, played_ms, times, detail })
    }

    /// Notes how the loudspeaker at a sink is. What failed while it was away says nothing of one that has come back.
    pub(super) fn lives(&mut self, sink: &Sink, life: &Life) {
        for entry in self.speakers.values_mut().filter(|entry| entry.sink == *sink) {
            if entry.life.health != Health::Ok && life.health == Health::Ok {
                entry.failure = None;
            }
            entry.life.clone_from(life);
        }
    }

    /// Reports that are due: of what has changed, and of what was not reported for long.
    pub(super) fn reports(&mut self, now_ms: u64, now_utc_ms: i64) -> Vec<Report> {
        let mut reports = Vec::new();
        for (id, entry) in &mut self.speakers {
            let health = entry.now();
            let changed = std::mem::replace(&mut entry.health, health) != health;
            if changed {
                entry.since_ms = now_utc_ms;
            }
            // Until it has had the time to answer, there is nothing to say.
            if health == Health::Starting || !(changed || now_ms >= entry.report_at_ms) {
                continue;
            }
            entry.report_at_ms = now_ms + REPORT_MS;
            reports.push(Report {
                speaker: id.clone(),
                health,
                since_ms: entry.since_ms,
                heard_ms: entry.life.heard_ms,
                detail: entry.detail(),
                volume_percent: entry.volume_percent_max,
                playing: playing(&self.open, id),
            });
        }
        reports
    }

    /// When the next report is due, if nothing changes before.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let reported = self.speakers.values().filter(|entry| entry.health != Health::Starting);
        reported.map(|entry| entry.report_at_ms).min()
    }

    /// How each is.
    pub(super) fn states(&self) -> States {
        let state = |(id, entry): (&String, &Entry)| {
            let online = entry.life.health == Health::Ok;
            (id.clone(), SpeakerState { online, playing: playing(&self.open, id) })
        };
        Arc::new(self.speakers.iter().map(state).collect())
    }

    /// Where they are reached.
    pub(super) fn sinks(&self) -> impl Iterator<Item = &Sink> {
        self.speakers.values().map(|entry| &entry.sink)
    }
}

impl Entry {
    fn now(&self) -> Health {
        let failed = self.failure.is_some() && self.life.health == Health::Ok;
        if failed { Health::Failed } else { self.life.health }
    }

    fn detail(&self) -> String {
        match &self.failure {
            Some(why) if self.health == Health::Failed => format!("its last play failed: {why}"),
            _ => self.life.detail.clone(),
        }
    }
}

pub(super) fn sink_of(speaker: &configuration::Speaker) -> Sink {
    match speaker.kind {
        SpeakerKind::Mqtt => Sink::Mqtt(speaker.device.clone()),
        SpeakerKind::LineOut => Sink::LineOut { device: speaker.device.clone(), warm_up_ms: speaker.warm_up_ms },
    }
}

/// What a loudspeaker plays: the newest that it was told.
fn playing(open: &[Open], speaker: &str) -> Option<Arc<str>> {
    open.iter().rfind(|open| open.speaker == speaker && !open.replaced).map(|open| open.name.clone())
}

fn failed(name: Arc<str>, speaker: String, why: &str) -> News {
    News { name, speaker, state: State::Failed, played_ms: 0, times: 0, detail: Some(why.to_owned()) }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
