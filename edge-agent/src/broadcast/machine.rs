//! What is heard at each loudspeaker now: which show goes before which. Pure.
//!
//! A *show* ([`super::show`]) is something to be heard at some loudspeakers: an order's broadcast, or an alarm's voice. At each
//! loudspeaker it has a *part*, which waits until its file is at hand, the loudspeaker answers, its hours allow it and nothing
//! greater sounds there; which is begun, once, after that was committed; and which ends with one last word. What a greater show
//! broke off goes on later: that is no second beginning, for it follows from this run's own knowledge of how far it came, and
//! is lost with it.
//!
//! Alarm voices are not ordered, so nothing is committed or told for them, and they wait for nothing but greater shows. One
//! that calls people goes on, too, for what is left of its time: whoever presses again meanwhile counts on it.

use std::collections::{BTreeMap, VecDeque};

use tongluo_protocols::event::PlayState;

use super::show::{Now, Ordered, Output, Show, Step, show_of, why};
use crate::alarm::Voice;
use crate::journal::PlayMark;
use crate::speaker::News;

/// All shows of a village.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// In the order in which they came.
    shows: Vec<Show>,
    /// Loudspeakers that do not answer. One of which nothing is known is tried.
    away: Vec<String>,
    outputs: VecDeque<Output>,
}

impl Machine {
    /// What is to be done next; call until it is `None`.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to [`Machine::tick`] again: while anything is open, each second.
    pub(crate) fn next_deadline(&self, now: Now) -> Option<u64> {
        (!self.shows.is_empty()).then(|| now.mono_ms + 1_000)
    }

    /// Takes a broadcast. `marks` are those of earlier runs: what they began is interrupted, what is over stays so.
    pub(crate) fn begin(&mut self, now: Now, ordered: Ordered, marks: &BTreeMap<String, PlayMark>) {
        if self.has(&ordered.name) {
            return;
        }
        let mut show = Show::ordered(ordered, marks);
        for (speaker, _) in marks.iter().filter(|(_, mark)| **mark == PlayMark::Begun) {
            show.end(speaker, PlayState::Interrupted, why::STARTED_ANEW, &mut self.outputs);
        }
        show.fetch(&mut self.outputs);
        self.shows.push(show);
        self.settle(now);
    }

    /// Takes an alarm's voice. A truth ends what was said of the same alarm before, which is not true any more.
    pub(crate) fn voice(&mut self, now: Now, voice: Voice) {
        if self.has(&voice.play.name) {
            return;
        }
        for show in self.shows.iter_mut().filter(|show| show.is_outdated_by(&voice)) {
            show.stop(&mut self.outputs);
        }
        self.shows.push(Show::voice(now, voice));
        self.settle(now);
    }

    /// The file of a broadcast is at hand, or could not be had this time: it is tried again for as long as it may begin.
    pub(crate) fn fetched(&mut self, now: Now, name: &str, result: Result<(), String>) {
        if let Some(show) = find(&mut self.shows, name) {
            show.fetched(now, result, &mut self.outputs);
            self.settle(now);
        }
    }

    /// It is on disk that a broadcast is begun at these loudspeakers.
    pub(crate) fn committed(&mut self, now: Now, name: &str, speakers: &[String]) {
        let Some(at) = self.shows.iter().position(|show| *show.name == *name) else { return };
        let rank = self.shows[at].rank;
        let is_taken = |speaker: &String| {
            self.shows
                .iter()
                .any(|other| other.rank > rank && other.parts.get(speaker).is_some_and(|part| part.step.is_active()))
        };
        // Where something greater came while the disk was written, that is heard first.
        let taken: Vec<bool> = speakers.iter().map(is_taken).collect();
        let (show, mut go) = (&mut self.shows[at], Vec::new());
        for (speaker, is_taken) in speakers.iter().zip(taken) {
            let part = show.parts.get_mut(speaker).filter(|part| part.step == Step::Committing);
            let Some(part) = part else { continue };
            part.begun = true;
            if is_taken {
                part.step = Step::Waiting;
            } else {
                go.push(speaker.clone());
            }
        }
        show.play(now, go, show.chimes(), &mut self.outputs);
        self.settle(now);
    }

    /// A loudspeaker said how far it has come.
    pub(crate) fn news(&mut self, now: Now, news: &News) {
        let is_away = self.is_away(&news.speaker);
        if let Some(show) = find(&mut self.shows, show_of(&news.name)) {
            show.news(now, news, is_away, &mut self.outputs);
            self.settle(now);
        }
    }

    /// Which loudspeakers do not answer.
    pub(crate) fn away(&mut self, now: Now, away: Vec<String>) {
        self.away = away;
        self.settle(now);
    }

    /// Ends a broadcast or a voice; `None`: every broadcast, and no voice.
    pub(crate) fn stop(&mut self, now: Now, name: Option<&str>) {
        for show in &mut self.shows {
            if name.map_or_else(|| show.is_ordered(), |name| *show.name == *name) {
                show.stop(&mut self.outputs);
            }
        }
        self.settle(now);
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Now) {
        for show in &mut self.shows {
            show.tick(now, &mut self.outputs);
        }
        self.settle(now);
    }

    fn has(&self, name: &str) -> bool {
        self.shows.iter().any(|show| *show.name == *name)
    }

    fn is_away(&self, speaker: &str) -> bool {
        self.away.iter().any(|away| away == speaker)
    }

    /// Begins what may begin, and forgets what is over.
    fn settle(&mut self, now: Now) {
        // All of it is found before any of it begins: who goes first is asked of how things stood.
        let begins: Vec<(Vec<String>, Vec<String>)> =
            (0..self.shows.len()).map(|at| self.what_begins(at, now)).collect();
        for (show, (fresh, again)) in self.shows.iter_mut().zip(begins) {
            for speaker in &fresh {
                show.parts.get_mut(speaker).expect("it is a part of it").step = Step::Committing;
            }
            if !fresh.is_empty() {
                self.outputs.push_back(Output::Commit { name: show.name.clone(), speakers: fresh });
            }
            show.play(now, again, false, &mut self.outputs);
        }
        let outputs = &mut self.outputs;
        self.shows.retain(|show| {
            let open = show.parts.values().any(|part| part.step != Step::Over);
            if !open && show.is_ordered() {
                outputs.push_back(Output::Over { name: show.name.clone() });
            }
            open
        });
    }

    /// At which loudspeakers a show begins now, for the first time and after that was committed.
    fn what_begins(&self, at: usize, now: Now) -> (Vec<String>, Vec<String>) {
        let show = &self.shows[at];
        let next = show.waiting().into_iter().filter(|speaker| self.is_next(at, speaker, now));
        next.partition(|speaker| show.is_ordered() && !show.parts[speaker].begun)
    }

    /// Whether a show may sound at a loudspeaker, and nothing goes before it there. Of equals the earlier one goes first; but
    /// of calls for people the latest, which is to be heard at once: the others go on after it.
    fn is_next(&self, at: usize, speaker: &str, now: Now) -> bool {
        let show = &self.shows[at];
        if !show.may_sound(&show.parts[speaker], now) || (show.is_ordered() && self.is_away(speaker)) {
            return false;
        }
        self.shows.iter().enumerate().all(|(other_at, other)| {
            let Some(part) = other.parts.get(speaker).filter(|_| other_at != at) else { return true };
            let contends = part.step.is_active() || (part.step == Step::Waiting && other.may_sound(part, now));
            let goes_first = if other.rank == show.rank {
                // What is being stopped ends in a moment: two at once would replace one another for nothing.
                if show.is_call() { other_at > at } else { other_at < at || part.step.is_active() }
            } else {
                other.rank > show.rank
            };
            !(contends && goes_first)
        })
    }
}

fn find<'a>(shows: &'a mut [Show], name: &str) -> Option<&'a mut Show> {
    shows.iter_mut().find(|show| *show.name == *name)
}
