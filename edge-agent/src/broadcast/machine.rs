//! What is heard at each loudspeaker now: the rules of priority, of beginning once, and of what is said afterwards. Pure.
//!
//! A *show* is something to be heard at some loudspeakers: an order's broadcast, or an alarm's voice. At each loudspeaker it has
//! a *part*, which waits until its file is at hand, the loudspeaker answers, its hours allow it and nothing greater sounds there;
//! which is begun, once, after that was committed; and which ends with one last word. What a greater show broke off goes on,
//! begins again or is over, as its order says. That is no second beginning: it follows from this run's own knowledge of how far
//! it came, and is lost with it.
//!
//! Alarm voices are not ordered, so nothing is committed or told for them, and they wait for nothing but greater shows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tongluo_protocols::device::speaker::{Sound, State};
use tongluo_protocols::event::PlayState;
use tongluo_protocols::id::ContentId;
use tongluo_protocols::order::{Interrupted, Priority};

use super::CHIME_MS;
use crate::journal::PlayMark;
use crate::speaker::{News, Play, What};

/// An alarm's voice that has waited longer says nothing true any more.
const VOICE_WAITS_MS: u64 = 30_000;
/// Pauses between tries for a file that cannot be had: the first, doubled each time, and the longest.
const FETCH_PAUSE_MS: (u64, u64) = (2_000, 60_000);

/// What time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) mono_ms: u64,
    /// UTC if it is certain.
    pub(crate) utc_ms: Option<i64>,
    /// Whether nothing but danger may be heard.
    pub(crate) night: bool,
}

/// A broadcast that the judge lets be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ordered {
    pub(crate) name: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) interrupted: Interrupted,
    pub(crate) speakers: Vec<String>,
    pub(crate) content: ContentId,
    pub(crate) bytes: u64,
    pub(crate) length_ms: u32,
    pub(crate) times: u8,
    pub(crate) gap_ms: u32,
    pub(crate) chime: bool,
    pub(crate) volume_percent: u8,
    /// It begins nowhere after that, in UTC milliseconds.
    pub(crate) not_after_ms: i64,
}

/// What the task is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Get the file of a broadcast, then say [`Machine::fetched`].
    Fetch { name: Arc<str>, content: ContentId, bytes: u64 },
    /// Commit that it is begun at these loudspeakers, then say [`Machine::committed`].
    Commit { name: Arc<str>, speakers: Vec<String> },
    /// Have something heard.
    Play(Play),
    /// End what is heard.
    Silence { name: Arc<str>, speaker: String },
    /// Tell how far a broadcast has come.
    Tell(Told),
    /// Nothing is left to do for a broadcast.
    Over { name: Arc<str> },
}

/// How far a broadcast has come at a loudspeaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: Arc<str>,
    pub(crate) speaker: String,
    pub(crate) state: PlayState<'static>,
    pub(crate) times: u8,
    pub(crate) played_ms: u32,
    pub(crate) detail: String,
}

#[derive(Debug)]
struct Show {
    priority: Priority,
    interrupted: Interrupted,
    length_ms: u32,
    kind: Kind,
    /// Whether its file is at hand.
    ready: bool,
    /// When to try for its file once more, and after which pause.
    fetch_again: Option<(u64, u64)>,
    /// Why its file could not be had when it was tried last.
    trouble: Option<String>,
    parts: BTreeMap<String, Part>,
}

#[derive(Debug)]
enum Kind {
    Ordered(Ordered),
    Voice { play: Play, until_mono_ms: u64 },
}

#[derive(Clone, Debug)]
struct Part {
    step: Step,
    /// Its beginning is committed.
    begun: bool,
    /// How much was heard before the present play of it.
    before_ms: u32,
    /// How much was heard by now.
    played_ms: u32,
    told: Option<PlayState<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Waiting,
    /// Its beginning is being committed.
    Committing,
    /// The chime before it is heard.
    Chiming,
    /// It was handed to the loudspeaker.
    Playing,
    /// The loudspeaker was told to end it.
    Stopping,
    Over,
}

impl Step {
    /// Whether the loudspeaker is taken by it.
    const fn is_active(self) -> bool {
        matches!(self, Self::Committing | Self::Chiming | Self::Playing | Self::Stopping)
    }
}

/// All shows of a village.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// In the order in which they came.
    shows: Vec<(Arc<str>, Show)>,
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
        let (name, content, bytes) = (ordered.name.clone(), ordered.content, ordered.bytes);
        if self.show(&name).is_some() {
            return;
        }
        let part = |speaker: &String| {
            let over = marks.get(speaker) == Some(&PlayMark::Over);
            (speaker.clone(), Part::new(if over { Step::Over } else { Step::Waiting }))
        };
        let show = Show {
            priority: ordered.priority,
            interrupted: ordered.interrupted,
            length_ms: ordered.length_ms,
            // One that was taken out of the configuration since then has its last word all the same.
            parts: ordered.speakers.iter().chain(marks.keys()).map(part).collect(),
            ready: false,
            fetch_again: None,
            trouble: None,
            kind: Kind::Ordered(ordered),
        };
        self.shows.push((name.clone(), show));
        for (speaker, _) in marks.iter().filter(|(_, mark)| **mark == PlayMark::Begun) {
            self.end(&name, speaker, PlayState::Interrupted, "the gateway was started anew while it sounded");
        }
        for speaker in self.waiting(&name) {
            self.tell(&name, &speaker, PlayState::Fetching, "");
        }
        if !self.waiting(&name).is_empty() {
            self.outputs.push_back(Output::Fetch { name, content, bytes });
        }
        self.settle(now);
    }

    /// Takes an alarm's voice, which takes the place of another voice.
    pub(crate) fn voice(&mut self, now: Now, play: Play) {
        let name = play.name.clone();
        if self.show(&name).is_some() {
            return;
        }
        let length_ms = u32::try_from(play.what.whole_ms()).unwrap_or(u32::MAX);
        let parts = play.speakers.iter().map(|speaker| (speaker.clone(), Part::new(Step::Waiting))).collect();
        let until_mono_ms = now.mono_ms + VOICE_WAITS_MS;
        let show = Show {
            priority: Priority::AlarmVoice,
            interrupted: Interrupted::Drop,
            length_ms,
            kind: Kind::Voice { play, until_mono_ms },
            ready: true,
            fetch_again: None,
            trouble: None,
            parts,
        };
        self.shows.push((name, show));
        self.settle(now);
    }

    /// The file of a broadcast is at hand, or could not be had this time: it is tried again for as long as it may begin.
    pub(crate) fn fetched(&mut self, now: Now, name: &str, result: Result<(), String>) {
        let Some(show) = self.show(name) else { return };
        match result {
            Ok(()) => {
                (show.ready, show.trouble) = (true, None);
                for speaker in self.waiting(name) {
                    self.tell(name, &speaker, PlayState::Waiting, "");
                }
            }
            Err(why) => {
                let pause_ms =
                    show.fetch_again.map_or(FETCH_PAUSE_MS.0, |(_, pause)| (pause * 2).min(FETCH_PAUSE_MS.1));
                show.fetch_again = Some((now.mono_ms + pause_ms, pause_ms));
                show.trouble = Some(why);
            }
        }
        self.settle(now);
    }

    /// It is on disk that a broadcast is begun at these loudspeakers.
    pub(crate) fn committed(&mut self, now: Now, name: &str, speakers: &[String]) {
        let Some(show) = self.show(name) else { return };
        let (priority, mut go) = (show.priority, Vec::new());
        let chimes = matches!(&show.kind, Kind::Ordered(ordered) if ordered.chime);
        for speaker in speakers {
            let is_taken = self.shows.iter().any(|(_, other)| {
                other.priority > priority && other.parts.get(speaker).is_some_and(|part| part.step.is_active())
            });
            let part = self.show(name).and_then(|show| show.parts.get_mut(speaker));
            let Some(part) = part.filter(|part| part.step == Step::Committing) else { continue };
            part.begun = true;
            if is_taken {
                // Something greater came while the disk was written: that is heard first.
                part.step = Step::Waiting;
            } else {
                go.push(speaker.clone());
            }
        }
        self.play(name, go, chimes);
        self.settle(now);
    }

    /// A loudspeaker said how far it has come.
    pub(crate) fn news(&mut self, now: Now, news: &News) {
        let (name, chimed) = match news.name.strip_suffix(CHIME_SUFFIX) {
            Some(name) => (name, true),
            None => (&*news.name, false),
        };
        let speaker = news.speaker.as_str();
        let Some(show) = self.show(name) else { return };
        let Some(part) = show.parts.get_mut(speaker).filter(|part| part.step.is_active()) else { return };
        if chimed {
            if part.step == Step::Chiming && news.state.is_final() {
                match news.state {
                    // A loudspeaker that cannot chime is heard all the same.
                    State::Finished | State::Failed => self.play(name, vec![speaker.to_owned()], false),
                    _ => self.broke_off(name, speaker),
                }
            } else if part.step == Step::Stopping && news.state.is_final() {
                self.end(name, speaker, PlayState::Stopped, "");
            }
            return self.settle(now);
        }
        part.played_ms = part.before_ms.saturating_add(news.played_ms);
        let detail = news.detail.as_deref().unwrap_or_default();
        match news.state {
            State::Fetching => self.tell(name, speaker, PlayState::Fetching, detail),
            State::Started => self.tell(name, speaker, PlayState::Playing, detail),
            State::Finished => self.end(name, speaker, PlayState::Played, detail),
            State::Stopped => self.end(name, speaker, PlayState::Stopped, detail),
            State::Replaced => self.broke_off(name, speaker),
            State::Failed => self.failed(name, speaker, detail),
        }
        self.settle(now);
    }

    /// Which loudspeakers do not answer.
    pub(crate) fn away(&mut self, now: Now, away: Vec<String>) {
        self.away = away;
        self.settle(now);
    }

    /// Ends a broadcast or a voice; `None`: every broadcast, and no voice.
    pub(crate) fn stop(&mut self, now: Now, name: Option<&str>) {
        let meant: Vec<Arc<str>> = self
            .shows
            .iter()
            .filter(|(of, show)| match name {
                Some(name) => **of == *name,
                None => matches!(show.kind, Kind::Ordered(_)),
            })
            .map(|(of, _)| of.clone())
            .collect();
        for name in meant {
            let steps: Vec<(String, Step)> = self
                .show(&name)
                .map(|show| show.parts.iter().map(|(id, part)| (id.clone(), part.step)).collect())
                .unwrap_or_default();
            for (speaker, step) in steps {
                match step {
                    Step::Waiting | Step::Committing => self.end(&name, &speaker, PlayState::Stopped, ""),
                    Step::Chiming | Step::Playing => self.silence(&name, &speaker, step),
                    Step::Stopping | Step::Over => {}
                }
            }
        }
        self.settle(now);
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Now) {
        let mut over = Vec::new();
        for (name, show) in &mut self.shows {
            if let (Kind::Ordered(ordered), Some((at_ms, _)), Some(_)) = (&show.kind, show.fetch_again, &show.trouble)
                && now.mono_ms >= at_ms
            {
                let (content, bytes) = (ordered.content, ordered.bytes);
                // The next answer says when to try after this.
                show.fetch_again = show.fetch_again.map(|(_, pause_ms)| (u64::MAX, pause_ms));
                self.outputs.push_back(Output::Fetch { name: name.clone(), content, bytes });
            }
            let late = match &show.kind {
                Kind::Ordered(ordered) => now.utc_ms.is_some_and(|utc_ms| utc_ms > ordered.not_after_ms),
                Kind::Voice { until_mono_ms, .. } => now.mono_ms > *until_mono_ms,
            };
            if late {
                let waiting = show.parts.iter().filter(|(_, part)| part.step == Step::Waiting);
                let trouble = show.trouble.clone();
                over.extend(waiting.map(|(id, part)| (name.clone(), id.clone(), part.begun, trouble.clone())));
            }
        }
        for (name, speaker, begun, trouble) in over {
            match trouble {
                Some(why) => self.end(&name, &speaker, PlayState::Failed, &why),
                None if begun => {
                    self.end(&name, &speaker, PlayState::Interrupted, "its time was over before it could go on");
                }
                None => self.end(&name, &speaker, PlayState::Expired, "its time was over before it could be heard"),
            }
        }
        self.settle(now);
    }

    fn show(&mut self, name: &str) -> Option<&mut Show> {
        self.shows.iter_mut().find(|(of, _)| **of == *name).map(|(_, show)| show)
    }

    fn waiting(&mut self, name: &str) -> Vec<String> {
        let Some(show) = self.show(name) else { return Vec::new() };
        show.parts.iter().filter(|(_, part)| part.step == Step::Waiting).map(|(id, _)| id.clone()).collect()
    }

    /// Begins what may begin, and forgets what is over.
    fn settle(&mut self, now: Now) {
        let mut begins: Vec<(Arc<str>, Vec<String>, bool)> = Vec::new();
        for at in 0..self.shows.len() {
            let (name, show) = &self.shows[at];
            if !show.may_begin(now) {
                continue;
            }
            let speakers: Vec<String> = show
                .parts
                .iter()
                .filter(|(speaker, part)| part.step == Step::Waiting && self.is_next(at, speaker, now))
                .map(|(speaker, _)| speaker.clone())
                .collect();
            if speakers.is_empty() {
                continue;
            }
            let is_ordered = matches!(show.kind, Kind::Ordered(_));
            let (fresh, again): (Vec<_>, Vec<_>) =
                speakers.into_iter().partition(|speaker| is_ordered && !show.parts[speaker].begun);
            let name = name.clone();
            begins.extend((!fresh.is_empty()).then(|| (name.clone(), fresh, true)));
            begins.extend((!again.is_empty()).then_some((name, again, false)));
        }
        for (name, speakers, fresh) in begins {
            if fresh {
                let show = self.show(&name).expect("it was found a moment ago");
                for speaker in &speakers {
                    show.parts.get_mut(speaker).expect("it is a part of it").step = Step::Committing;
                }
                self.outputs.push_back(Output::Commit { name, speakers });
            } else {
                self.play(&name, speakers, false);
            }
        }
        let outputs = &mut self.outputs;
        self.shows.retain(|(name, show)| {
            let open = show.parts.values().any(|part| part.step != Step::Over);
            if !open && matches!(show.kind, Kind::Ordered(_)) {
                outputs.push_back(Output::Over { name: name.clone() });
            }
            open
        });
    }

    /// Whether nothing goes before this show at a loudspeaker. Of equals the earlier one goes first, but among voices the
    /// latest.
    fn is_next(&self, at: usize, speaker: &str, now: Now) -> bool {
        let show = &self.shows[at].1;
        let is_voice = matches!(show.kind, Kind::Voice { .. });
        if !is_voice && self.away.iter().any(|away| away == speaker) {
            return false;
        }
        self.shows.iter().enumerate().all(|(other_at, (_, other))| {
            let Some(part) = other.parts.get(speaker).filter(|_| other_at != at) else { return true };
            let contends = part.step.is_active() || (part.step == Step::Waiting && other.may_begin(now));
            let goes_first = if other.priority == show.priority {
                // What is being stopped ends in a moment: two at once would replace one another for nothing.
                if is_voice { other_at > at } else { other_at < at || part.step.is_active() }
            } else {
                other.priority > show.priority
            };
            !(contends && goes_first)
        })
    }

    /// Hands parts that are begun to their loudspeakers.
    fn play(&mut self, name: &str, speakers: Vec<String>, chimes: bool) {
        let Some((name, show)) = self.shows.iter_mut().find(|(of, _)| **of == *name) else { return };
        // Loudspeakers that go on from another place are told so one by one.
        let mut plays: Vec<Play> = Vec::new();
        for speaker in speakers {
            let Some(part) = show.parts.get_mut(&speaker) else { continue };
            part.step = if chimes { Step::Chiming } else { Step::Playing };
            part.before_ms = part.played_ms;
            let (what, volume_percent) = show.kind.what(part.before_ms, chimes);
            let called: Arc<str> = if chimes { format!("{name}{CHIME_SUFFIX}").into() } else { name.clone() };
            match plays.iter_mut().find(|play| play.what == what) {
                Some(play) => play.speakers.push(speaker),
                None => plays.push(Play { name: called, speakers: vec![speaker], what, volume_percent }),
            }
        }
        self.outputs.extend(plays.into_iter().map(Output::Play));
    }

    fn silence(&mut self, name: &str, speaker: &str, step: Step) {
        let Some(part) = self.show(name).and_then(|show| show.parts.get_mut(speaker)) else { return };
        part.step = Step::Stopping;
        let name = if step == Step::Chiming { format!("{name}{CHIME_SUFFIX}") } else { name.to_owned() };
        self.outputs.push_back(Output::Silence { name: name.into(), speaker: speaker.to_owned() });
    }

    /// A greater show took its place.
    fn broke_off(&mut self, name: &str, speaker: &str) {
        let Some(show) = self.show(name) else { return };
        let interrupted = show.interrupted;
        let Some(part) = show.parts.get_mut(speaker) else { return };
        if part.step == Step::Stopping {
            return self.end(name, speaker, PlayState::Stopped, "");
        }
        match interrupted {
            Interrupted::Drop => {
                return self.end(name, speaker, PlayState::Interrupted, "something more urgent took its place");
            }
            Interrupted::Resume => {}
            Interrupted::Restart => part.played_ms = 0,
        }
        part.step = Step::Waiting;
        self.tell(name, speaker, PlayState::Waiting, "something more urgent is heard first");
    }

    /// It could not be heard, or not to its end. One that was never heard, at a loudspeaker that does not answer, waits for it.
    fn failed(&mut self, name: &str, speaker: &str, detail: &str) {
        let is_away = self.away.iter().any(|away| away == speaker);
        let Some(show) = self.show(name) else { return };
        let is_ordered = matches!(show.kind, Kind::Ordered(_));
        let Some(part) = show.parts.get_mut(speaker) else { return };
        if part.step == Step::Stopping {
            return self.end(name, speaker, PlayState::Stopped, detail);
        }
        if is_away && is_ordered && part.played_ms == 0 && part.told != Some(PlayState::Playing) {
            part.step = Step::Waiting;
            return self.tell(name, speaker, PlayState::Waiting, "the loudspeaker does not answer");
        }
        self.end(name, speaker, PlayState::Failed, detail);
    }

    fn end(&mut self, name: &str, speaker: &str, state: PlayState<'static>, detail: &str) {
        if let Some(part) = self.show(name).and_then(|show| show.parts.get_mut(speaker)) {
            part.step = Step::Over;
        }
        self.tell(name, speaker, state, detail);
    }

    /// Tells a change of an order's part; nobody asks after a voice.
    fn tell(&mut self, name: &str, speaker: &str, state: PlayState<'static>, detail: &str) {
        let Some((name, show)) = self.shows.iter_mut().find(|(of, _)| **of == *name) else { return };
        let Kind::Ordered(ordered) = &show.kind else { return };
        let (name, length_ms, most) = (name.clone(), show.length_ms, ordered.times);
        let Some(part) = show.parts.get_mut(speaker) else { return };
        if part.told == Some(state) {
            return;
        }
        part.told = Some(state);
        let played_ms = part.played_ms;
        let whole = if state == PlayState::Played { most } else { whole_times(played_ms, length_ms).min(most) };
        let told =
            Told { name, speaker: speaker.to_owned(), state, times: whole, played_ms, detail: detail.to_owned() };
        self.outputs.push_back(Output::Tell(told));
    }
}

/// What a chime's name ends with; a broadcast's has its own before it.
const CHIME_SUFFIX: &str = "#chime";

fn whole_times(played_ms: u32, length_ms: u32) -> u8 {
    u8::try_from(played_ms / length_ms.max(1)).unwrap_or(u8::MAX)
}

impl Part {
    const fn new(step: Step) -> Self {
        Self { step, begun: false, before_ms: 0, played_ms: 0, told: None }
    }
}

impl Show {
    /// Whether it may begin, or go on, as far as it depends on itself.
    fn may_begin(&self, now: Now) -> bool {
        match &self.kind {
            Kind::Voice { .. } => true,
            Kind::Ordered(ordered) => {
                let in_time = now.utc_ms.is_some_and(|utc_ms| utc_ms <= ordered.not_after_ms);
                self.ready && in_time && (!now.night || self.priority == Priority::Emergency)
            }
        }
    }
}

impl Kind {
    /// What is to be heard from `before_ms` on.
    fn what(&self, before_ms: u32, chimes: bool) -> (What, u8) {
        match self {
            Self::Voice { play, .. } => (play.what.clone(), play.volume_percent),
            Self::Ordered(ordered) if chimes => {
                (What::BuiltIn { sound: Sound::Chime, length_ms: CHIME_MS }, ordered.volume_percent)
            }
            Self::Ordered(ordered) => {
                let done = whole_times(before_ms, ordered.length_ms).min(ordered.times.saturating_sub(1));
                let from_ms = (before_ms - u32::from(done) * ordered.length_ms).min(ordered.length_ms);
                let what = What::File {
                    content: ordered.content,
                    bytes: ordered.bytes,
                    length_ms: ordered.length_ms,
                    times: ordered.times - done,
                    gap_ms: ordered.gap_ms,
                    from_ms,
                };
                (what, ordered.volume_percent)
            }
        }
    }
}
