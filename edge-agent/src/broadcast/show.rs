//! What is to be heard at some loudspeakers, and how far it has come at each: an order's broadcast, or an alarm's voice. Pure.
//!
//! [`super::machine`] decides what goes before what; here is the run of one *show*: its *parts*, one for each loudspeaker, each
//! of which begins once and has one last word. What a greater show broke off goes on, begins again or is over, as its order
//! says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tongluo_protocols::device::speaker::{Sound, State};
use tongluo_protocols::event::PlayState;
use tongluo_protocols::id::ContentId;
use tongluo_protocols::order::{Interrupted, Priority};

use super::CHIME_MS;
use crate::alarm::{Voice, VoiceKind};
use crate::journal::PlayMark;
use crate::speaker::{News, Play, What};

/// Pauses between tries for a file that cannot be had: the first, doubled each time, and the longest.
const FETCH_PAUSE_MS: (u64, u64) = (2_000, 60_000);
/// Why a broadcast is not heard, or not now: words that stand for sentences on the pages. Other reasons come as they are, from
/// a disk, a line or a loudspeaker.
pub(super) mod why {
    /// The gateway was started anew while it sounded.
    pub(crate) const STARTED_ANEW: &str = "gateway_started_anew";
    /// Something more urgent is heard first, or took its place.
    pub(crate) const MORE_URGENT: &str = "more_urgent";
    /// The loudspeaker does not answer.
    pub(crate) const NO_ANSWER: &str = "no_answer";
    /// Its time was over before it could be heard.
    pub(crate) const LATE: &str = "late";
    /// Its time was over before it could go on.
    pub(crate) const LATE_TO_GO_ON: &str = "late_to_go_on";
}

/// What a chime's name ends with; a broadcast's has its own before it.
const CHIME_SUFFIX: &str = "#chime";

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
    /// Get the file of a broadcast, then say [`super::machine::Machine::fetched`].
    Fetch { name: Arc<str>, content: ContentId, bytes: u64 },
    /// Commit that it is begun at these loudspeakers, then say [`super::machine::Machine::committed`].
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

impl Ordered {
    /// How long it sounds, all times and the pauses in between.
    fn whole_ms(&self) -> i64 {
        let gaps_ms = i64::from(self.times.saturating_sub(1)) * i64::from(self.gap_ms);
        i64::from(self.times) * i64::from(self.length_ms) + gaps_ms
    }
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

/// Something to be heard.
#[derive(Debug)]
pub(super) struct Show {
    pub(super) name: Arc<str>,
    pub(super) rank: Rank,
    pub(super) parts: BTreeMap<String, Part>,
    interrupted: Interrupted,
    length_ms: u32,
    kind: Kind,
    /// Whether its file is at hand.
    ready: bool,
    /// When to try for its file once more, and after which pause.
    fetch_again: Option<(u64, u64)>,
    /// Why its file could not be had when it was tried last.
    trouble: Option<String>,
}

/// What goes before what, the greater before the lesser: by priority, and among alarms' voices by what they are for.
pub(super) type Rank = (Priority, Option<VoiceKind>);

#[derive(Debug)]
enum Kind {
    Ordered(Ordered),
    Voice { voice: Voice, until_mono_ms: u64 },
}

/// How far a show has come at one loudspeaker.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) step: Step,
    /// Its beginning is committed.
    pub(super) begun: bool,
    /// How much was heard before the present play of it.
    before_ms: u32,
    /// How much was heard by now.
    played_ms: u32,
    told: Option<PlayState<'static>>,
}

/// What a part is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
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
    pub(super) const fn is_active(self) -> bool {
        matches!(self, Self::Committing | Self::Chiming | Self::Playing | Self::Stopping)
    }
}

/// Where a show puts what is to be done.
type Outputs = VecDeque<Output>;

impl Show {
    /// A broadcast. `marks` are those of earlier runs: a part that is over stays so, and one that was taken out of the
    /// configuration since then has its last word all the same.
    pub(super) fn ordered(ordered: Ordered, marks: &BTreeMap<String, PlayMark>) -> Self {
        let part = |speaker: &String| {
            let over = marks.get(speaker) == Some(&PlayMark::Over);
            (speaker.clone(), Part::new(if over { Step::Over } else { Step::Waiting }))
        };
        Self {
            name: ordered.name.clone(),
            rank: (ordered.priority, None),
            parts: ordered.speakers.iter().chain(marks.keys()).map(part).collect(),
            interrupted: ordered.interrupted,
            length_ms: ordered.length_ms,
            ready: false,
            fetch_again: None,
            trouble: None,
            kind: Kind::Ordered(ordered),
        }
    }

    /// An alarm's voice, which needs no file. What calls people begins again after what took its place; what told a truth is
    /// told, or was not heard.
    pub(super) fn voice(now: Now, voice: Voice) -> Self {
        let Play { name, speakers, what, .. } = &voice.play;
        Self {
            name: name.clone(),
            rank: (Priority::AlarmVoice, Some(voice.kind)),
            parts: speakers.iter().map(|speaker| (speaker.clone(), Part::new(Step::Waiting))).collect(),
            interrupted: if voice.kind == VoiceKind::Call { Interrupted::Restart } else { Interrupted::Drop },
            length_ms: u32::try_from(what.whole_ms()).unwrap_or(u32::MAX),
            ready: true,
            fetch_again: None,
            trouble: None,
            kind: Kind::Voice { until_mono_ms: now.mono_ms + u64::from(voice.within_ms), voice },
        }
    }

    /// Whether it calls people.
    pub(super) fn is_call(&self) -> bool {
        self.rank.1 == Some(VoiceKind::Call)
    }

    /// Whether it says of an alarm what was true before this.
    pub(super) fn is_outdated_by(&self, new: &Voice) -> bool {
        let is_truth = |voice: &Voice| voice.kind == VoiceKind::Truth;
        is_truth(new)
            && matches!(&self.kind, Kind::Voice { voice, .. } if is_truth(voice) && voice.device == new.device)
    }

    pub(super) const fn is_ordered(&self) -> bool {
        matches!(self.kind, Kind::Ordered(_))
    }

    /// Whether a chime is heard before it.
    pub(super) const fn chimes(&self) -> bool {
        matches!(&self.kind, Kind::Ordered(ordered) if ordered.chime)
    }

    /// Whether a part of it may begin, or go on, as far as that depends on the show itself.
    pub(super) fn may_sound(&self, part: &Part, now: Now) -> bool {
        let is_kept_by_night = self.is_ordered() && now.night && self.rank.0 != Priority::Emergency;
        self.ready && !is_kept_by_night && self.is_late(part, now) == Some(false)
    }

    /// Whether a part's time is over; `None` while nobody knows what time it is. A broadcast that has begun may go on for as long
    /// as it would sound had it begun at the last moment.
    fn is_late(&self, part: &Part, now: Now) -> Option<bool> {
        match &self.kind {
            Kind::Voice { until_mono_ms, .. } => Some(now.mono_ms >= *until_mono_ms),
            Kind::Ordered(ordered) => {
                let goes_on_ms = if part.begun { ordered.whole_ms() } else { 0 };
                Some(now.utc_ms? > ordered.not_after_ms.saturating_add(goes_on_ms))
            }
        }
    }

    /// The loudspeakers at which it waits.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.parts.iter().filter(|(_, part)| part.step == Step::Waiting).map(|(id, _)| id.clone()).collect()
    }

    /// Asks for its file, if a loudspeaker waits for it.
    pub(super) fn fetch(&mut self, outputs: &mut Outputs) {
        let Kind::Ordered(Ordered { content, bytes, .. }) = self.kind else { return };
        let waiting = self.waiting();
        for speaker in &waiting {
            self.tell(speaker, PlayState::Fetching, "", outputs);
        }
        if !waiting.is_empty() {
            outputs.push_back(Output::Fetch { name: self.name.clone(), content, bytes });
        }
    }

    /// Its file is at hand, or could not be had this time.
    pub(super) fn fetched(&mut self, now: Now, result: Result<(), String>, outputs: &mut Outputs) {
        match result {
            Ok(()) => {
                (self.ready, self.trouble) = (true, None);
                for speaker in self.waiting() {
                    self.tell(&speaker, PlayState::Waiting, "", outputs);
                }
            }
            Err(why) => {
                let pause_ms =
                    self.fetch_again.map_or(FETCH_PAUSE_MS.0, |(_, pause)| (pause * 2).min(FETCH_PAUSE_MS.1));
                self.fetch_again = Some((now.mono_ms + pause_ms, pause_ms));
                self.trouble = Some(why);
            }
        }
    }

    /// Time has passed: its file is tried for again, and what waits too long is over.
    pub(super) fn tick(&mut self, now: Now, outputs: &mut Outputs) {
        if let (Kind::Ordered(ordered), Some((at_ms, pause_ms)), Some(_)) =
            (&self.kind, self.fetch_again, &self.trouble)
            && now.mono_ms >= at_ms
        {
            let (content, bytes) = (ordered.content, ordered.bytes);
            // The next answer says when to try after this.
            self.fetch_again = Some((u64::MAX, pause_ms));
            outputs.push_back(Output::Fetch { name: self.name.clone(), content, bytes });
        }
        for speaker in self.waiting() {
            let part = &self.parts[&speaker];
            if self.is_late(part, now) != Some(true) {
                continue;
            }
            let (state, detail) = match self.trouble.clone() {
                Some(trouble) => (PlayState::Failed, trouble),
                None if part.begun => (PlayState::Interrupted, why::LATE_TO_GO_ON.to_owned()),
                None => (PlayState::Expired, why::LATE.to_owned()),
            };
            self.end(&speaker, state, &detail, outputs);
        }
    }

    /// Ends it everywhere.
    pub(super) fn stop(&mut self, outputs: &mut Outputs) {
        let steps: Vec<(String, Step)> = self.parts.iter().map(|(id, part)| (id.clone(), part.step)).collect();
        for (speaker, step) in steps {
            match step {
                Step::Waiting | Step::Committing => self.end(&speaker, PlayState::Stopped, "", outputs),
                Step::Chiming | Step::Playing => self.silence(&speaker, step, outputs),
                Step::Stopping | Step::Over => {}
            }
        }
    }

    /// Hands parts that are begun to their loudspeakers.
    pub(super) fn play(&mut self, now: Now, speakers: Vec<String>, chimes: bool, outputs: &mut Outputs) {
        // Loudspeakers that go on from another place are told so one by one.
        let mut plays: Vec<Play> = Vec::new();
        for speaker in speakers {
            let Some(part) = self.parts.get_mut(&speaker) else { continue };
            part.step = if chimes { Step::Chiming } else { Step::Playing };
            part.before_ms = part.played_ms;
            let (what, volume_percent) = self.kind.what(now, part.before_ms, chimes);
            match plays.iter_mut().find(|play| play.what == what) {
                Some(play) => play.speakers.push(speaker),
                None => {
                    let name = if chimes { chime_of(&self.name) } else { self.name.clone() };
                    plays.push(Play { name, speakers: vec![speaker], what, volume_percent });
                }
            }
        }
        outputs.extend(plays.into_iter().map(Output::Play));
    }

    fn silence(&mut self, speaker: &str, step: Step, outputs: &mut Outputs) {
        let Some(part) = self.parts.get_mut(speaker) else { return };
        part.step = Step::Stopping;
        let name = if step == Step::Chiming { chime_of(&self.name) } else { self.name.clone() };
        outputs.push_back(Output::Silence { name, speaker: speaker.to_owned() });
    }

    /// A loudspeaker said how far it has come. `is_away`: it does not answer.
    pub(super) fn news(&mut self, now: Now, news: &News, is_away: bool, outputs: &mut Outputs) {
        let speaker = news.speaker.as_str();
        let Some(part) = self.parts.get_mut(speaker).filter(|part| part.step.is_active()) else { return };
        if is_chime(&news.name) {
            return self.chimed(now, speaker, news.state, outputs);
        }
        part.played_ms = part.before_ms.saturating_add(news.played_ms);
        let detail = news.detail.as_deref().unwrap_or_default();
        match news.state {
            State::Fetching => self.tell(speaker, PlayState::Fetching, detail, outputs),
            State::Started => self.tell(speaker, PlayState::Playing, detail, outputs),
            State::Finished => self.end(speaker, PlayState::Played, detail, outputs),
            State::Stopped => self.end(speaker, PlayState::Stopped, detail, outputs),
            State::Replaced => self.broke_off(speaker, outputs),
            State::Failed => self.failed(speaker, detail, is_away, outputs),
        }
    }

    fn chimed(&mut self, now: Now, speaker: &str, state: State, outputs: &mut Outputs) {
        match (self.parts[speaker].step, state) {
            (_, State::Fetching | State::Started) => {}
            // A loudspeaker that cannot chime is heard all the same.
            (Step::Chiming, State::Finished | State::Failed) => {
                self.play(now, vec![speaker.to_owned()], false, outputs)
            }
            (Step::Chiming, State::Stopped | State::Replaced) => self.broke_off(speaker, outputs),
            (Step::Stopping, _) => self.end(speaker, PlayState::Stopped, "", outputs),
            _ => {}
        }
    }

    /// A greater show took its place.
    fn broke_off(&mut self, speaker: &str, outputs: &mut Outputs) {
        let Some(part) = self.parts.get_mut(speaker) else { return };
        if part.step == Step::Stopping {
            return self.end(speaker, PlayState::Stopped, "", outputs);
        }
        match self.interrupted {
            Interrupted::Drop => {
                return self.end(speaker, PlayState::Interrupted, why::MORE_URGENT, outputs);
            }
            Interrupted::Resume => {}
            Interrupted::Restart => part.played_ms = 0,
        }
        part.step = Step::Waiting;
        self.tell(speaker, PlayState::Waiting, why::MORE_URGENT, outputs);
    }

    /// It could not be heard, or not to its end. One that was never heard, at a loudspeaker that does not answer, waits for it.
    fn failed(&mut self, speaker: &str, detail: &str, is_away: bool, outputs: &mut Outputs) {
        let is_ordered = self.is_ordered();
        let Some(part) = self.parts.get_mut(speaker) else { return };
        if part.step == Step::Stopping {
            return self.end(speaker, PlayState::Stopped, detail, outputs);
        }
        if is_away && is_ordered && part.played_ms == 0 && part.told != Some(PlayState::Playing) {
            part.step = Step::Waiting;
            return self.tell(speaker, PlayState::Waiting, why::NO_ANSWER, outputs);
        }
        self.end(speaker, PlayState::Failed, detail, outputs);
    }

    /// Says the last word of a part.
    pub(super) fn end(&mut self, speaker: &str, state: PlayState<'static>, detail: &str, outputs: &mut Outputs) {
        if let Some(part) = self.parts.get_mut(speaker) {
            part.step = Step::Over;
        }
        self.tell(speaker, state, detail, outputs);
    }

    /// Tells a change of an order's part; nobody asks after a voice.
    fn tell(&mut self, speaker: &str, state: PlayState<'static>, detail: &str, outputs: &mut Outputs) {
        let Kind::Ordered(ordered) = &self.kind else { return };
        let Some(part) = self.parts.get_mut(speaker) else { return };
        if part.told == Some(state) {
            return;
        }
        part.told = Some(state);
        let (played_ms, most) = (part.played_ms, ordered.times);
        let times = match state {
            PlayState::Played => most,
            _ => whole_times(played_ms, self.length_ms).min(most),
        };
        let (name, speaker, detail) = (self.name.clone(), speaker.to_owned(), detail.to_owned());
        outputs.push_back(Output::Tell(Told { name, speaker, state, times, played_ms, detail }));
    }
}

impl Kind {
    /// What is to be heard now, from `before_ms` on. A siren ends when it was to end, whatever went before it.
    fn what(&self, now: Now, before_ms: u32, chimes: bool) -> (What, u8) {
        match self {
            Self::Voice { voice, until_mono_ms } => {
                let left_ms = u32::try_from(until_mono_ms.saturating_sub(now.mono_ms)).unwrap_or(u32::MAX);
                let what = match voice.play.what.clone() {
                    What::BuiltIn { sound, length_ms } => What::BuiltIn { sound, length_ms: length_ms.min(left_ms) },
                    file @ What::File { .. } => file,
                };
                (what, voice.play.volume_percent)
            }
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

impl Part {
    const fn new(step: Step) -> Self {
        Self { step, begun: false, before_ms: 0, played_ms: 0, told: None }
    }
}

/// The name of a show from what its loudspeakers call it: their chime has one of its own.
pub(super) fn show_of(name: &str) -> &str {
    name.strip_suffix(CHIME_SUFFIX).unwrap_or(name)
}

fn is_chime(name: &str) -> bool {
    name.ends_with(CHIME_SUFFIX)
}

fn chime_of(name: &str) -> Arc<str> {
    format!("{name}{CHIME_SUFFIX}").into()
}

fn whole_times(played_ms: u32, length_ms: u32) -> u8 {
    u8::try_from(played_ms / length_ms.max(1)).unwrap_or(u8::MAX)
}
