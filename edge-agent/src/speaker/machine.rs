//! The rules of talking with our own loudspeakers: pure, no clock, no socket.
//!
//! Each speaker is asked whether it lives, with a challenge that only a live one can answer; until it has answered it gets no
//! command. A play is told again, with the same number, until the speaker says something of it: the number makes sure that
//! it sounds once. What a speaker says of a play is passed on; what it does not say within its time is passed on as well. A
//! speaker that started again may have begun what it was told in its former life: only a sound that every speaker has built
//! in, such as the siren, is then told once more.

use std::collections::{BTreeMap, VecDeque};

use tongluo_protocols::device::speaker::envelope::Direction;
use tongluo_protocols::device::speaker::{
    Command, Conversation, Keep, Key, MESSAGE_BYTES_MAX, Play, Refusal, Report, Ring, Sealed, Session, Sound, State,
};

/// How often a speaker that lives is asked.
const ASK_EVERY_MS: u64 = 20_000;
/// How soon one that does not answer is asked again: after a power cut speakers come back one by one.
const ASK_AGAIN_MS: u64 = 2_000;
/// How soon one that greets is asked; not at once, because a greeting that was recorded could be repeated in a flood.
const GREETED_MS: u64 = 200;
/// A speaker that was silent for so long is not on line: it missed two asks.
const SILENT_MS: u64 = 45_000;
/// How soon a command of which the speaker has said nothing is told again. The village's network takes milliseconds.
const TELL_AGAIN_MS: u64 = 700;
/// What a sound may take beyond its own length: fetching it over a weak radio, and the amplifier's warm-up.
const GRACE_MS: u64 = 30_000;
/// Plays that one speaker may have open. One sounds, one may replace it, and a stop may be under way.
const OPEN_MAX: usize = 4;
/// Speakers of one gateway.
pub(crate) const SPEAKERS_MAX: usize = 64;

/// A loudspeaker as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) id: String,
    pub(crate) key: Key,
}

/// What is to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A sound that the gateway serves.
    File { url: String, sha256: [u8; 32], bytes: u32, length_ms: u32, times: u8, gap_ms: u32, from_ms: u32 },
    /// A sound that every speaker has.
    BuiltIn { sound: Sound, length_ms: u32 },
}

impl What {
    /// How long it sounds, all times together.
    fn length_ms(&self) -> u64 {
        match self {
            Self::File { length_ms, times, gap_ms, .. } => {
                u64::from(*times) * u64::from(*length_ms) + u64::from(times.saturating_sub(1)) * u64::from(*gap_ms)
            }
            Self::BuiltIn { length_ms, .. } => u64::from(*length_ms),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Input<'a> {
    /// The village's speakers are these from now on.
    Configured(Vec<Speaker>),
    /// The connection to the village's broker stands; or it is gone.
    Connected(bool),
    /// A message from a speaker.
    Message { speaker: &'a str, bytes: &'a [u8] },
    /// Play something, under a number that was never used before.
    Play { play: u64, speaker: &'a str, what: What, volume_percent: u8 },
    /// Stop a play.
    Stop { play: u64, speaker: &'a str },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Publish this to the speaker.
    Send { speaker: String, bytes: Vec<u8> },
    /// How far a play has come at one speaker. A final state comes exactly once.
    Progress { play: u64, speaker: String, state: State, played_ms: u32, times: u8, detail: Option<String> },
}

/// How a speaker is, as far as its messages tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It has not had the time to answer.
    Starting,
    /// It answers.
    Ok,
    /// It does not answer.
    Silent,
    /// What comes under its name was not sealed with its key.
    Refused,
}

/// What is known of a speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look<'a> {
    pub(crate) health: Health,
    /// When it last proved that it lives.
    pub(crate) heard_ms: Option<u64>,
    /// Name and version of its program; empty before it was heard.
    pub(crate) firmware: &'a str,
}

/// The conversations with all speakers of a village.
#[derive(Default)]
pub(crate) struct Machine {
    speakers: BTreeMap<String, Talk>,
    connected: bool,
    outputs: VecDeque<Output>,
}

/// The conversation with one speaker.
struct Talk {
    speaker: Speaker,
    conversation: Conversation,
    health: Health,
    /// When it last said anything that its key had sealed; before, when its conversation began.
    since_ms: u64,
    heard: bool,
    /// When something last came under its name that its key had not sealed.
    unsealed_ms: Option<u64>,
    firmware: String,
    ask_at_ms: u64,
    open: Vec<Open>,
}

/// A play that has not ended.
struct Open {
    play: u64,
    what: What,
    volume_percent: u8,
    stopping: bool,
    /// Whether the speaker has said anything of it; until then it is told again.
    taken: bool,
    /// Whether it was told at all: then it may have begun, whatever was heard.
    told: bool,
    tell_at_ms: u64,
    /// When it is given up.
    until_ms: u64,
}

impl Machine {
    /// Takes in what happened. `challenge`: fresh random bytes, for an ask.
    pub(crate) fn handle(&mut self, now_ms: u64, challenge: [u8; 16], input: Input<'_>) {
        match input {
            Input::Configured(speakers) => self.configure(now_ms, speakers),
            Input::Connected(connected) => self.connect(now_ms, connected),
            Input::Message { speaker, bytes } => self.message(now_ms, speaker, bytes),
            Input::Play { play, speaker, what, volume_percent } => {
                self.play(now_ms, play, speaker, what, volume_percent);
            }
            Input::Stop { play, speaker } => self.stop(now_ms, play, speaker),
            Input::Tick => {}
        }
        self.tick(now_ms, challenge);
    }

    /// What is to be done next.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call again, if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let of = |talk: &Talk| {
            let waits = matches!(talk.health, Health::Starting | Health::Ok);
            let silent = waits.then_some(talk.since_ms + SILENT_MS);
            let told = talk.open.iter().filter(|open| !open.taken && self.connected).map(|open| open.tell_at_ms);
            let given_up = talk.open.iter().map(|open| open.until_ms);
            let ask = self.connected.then_some(talk.ask_at_ms);
            silent.into_iter().chain(told).chain(given_up).chain(ask).min()
        };
        self.speakers.values().filter_map(of).min()
    }

    /// What is known of each speaker.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (&str, Look<'_>)> {
        self.speakers.iter().map(|(id, talk)| {
            let heard_ms = talk.heard.then_some(talk.since_ms);
            (id.as_str(), Look { health: talk.health, heard_ms, firmware: &talk.firmware })
        })
    }

    fn configure(&mut self, now_ms: u64, speakers: Vec<Speaker>) {
        let mut before = std::mem::take(&mut self.speakers);
        for speaker in speakers.into_iter().take(SPEAKERS_MAX) {
            let talk = match before.remove(&speaker.id) {
                Some(talk) if talk.speaker.key == speaker.key => Talk { speaker, ..talk },
                _ => Talk {
                    speaker,
                    conversation: Conversation::default(),
                    health: Health::Starting,
                    since_ms: now_ms,
                    heard: false,
                    unsealed_ms: None,
                    firmware: String::new(),
                    ask_at_ms: now_ms,
                    open: Vec::new(),
                },
            };
            self.speakers.insert(talk.speaker.id.clone(), talk);
        }
        for talk in before.into_values() {
            for open in &talk.open {
                self.outputs.push_back(failed(
                    &talk.speaker.id,
                    open.play,
                    "the speaker was taken out of the configuration",
                ));
            }
        }
    }

    fn connect(&mut self, now_ms: u64, connected: bool) {
        self.connected = connected;
        for talk in self.speakers.values_mut() {
            talk.ask_at_ms = now_ms;
            for open in talk.open.iter_mut().filter(|open| !open.taken) {
                open.tell_at_ms = now_ms;
            }
        }
    }

    fn message(&mut self, now_ms: u64, id: &str, bytes: &[u8]) {
        let Some(talk) = self.speakers.get_mut(id) else {
            return;
        };
        let Ok(sealed) = Sealed::open(&talk.speaker.key, Direction::FromSpeaker, id, bytes) else {
            talk.unsealed_ms = Some(now_ms);
            return;
        };
        let heard = match talk.conversation.report(&sealed) {
            Ok(heard) => heard,
            Err(Refusal::WrongChallenge) => {
                talk.ask_at_ms = talk.ask_at_ms.min(now_ms + GREETED_MS);
                return;
            }
            Err(_) => return,
        };
        (talk.since_ms, talk.heard, talk.health) = (now_ms, true, Health::Ok);
        if heard.restarted {
            talk.restarted(now_ms, &mut self.outputs);
        }
        match heard.report {
            Report::Alive(alive) => {
                talk.ask_at_ms = now_ms + ASK_EVERY_MS;
                alive.firmware.clone_into(&mut talk.firmware);
                talk.end_what_is_not_ours(alive.playing, &mut self.outputs);
            }
            Report::Progress(progress) => {
                let Some(place) = talk.open.iter().position(|open| open.play == progress.play) else {
                    return;
                };
                talk.open[place].taken = !talk.open[place].stopping;
                if progress.state.is_final() {
                    talk.open.remove(place);
                }
                self.outputs.push_back(Output::Progress {
                    play: progress.play,
                    speaker: id.to_owned(),
                    state: progress.state,
                    played_ms: progress.played_ms,
                    times: progress.times,
                    detail: progress.detail.map(str::to_owned),
                });
            }
        }
    }

    fn play(&mut self, now_ms: u64, play: u64, id: &str, what: What, volume_percent: u8) {
        let begun = match self.speakers.get_mut(id) {
            Some(talk) => talk.begin(now_ms, play, what, volume_percent, &mut self.outputs),
            None => Err("there is no such speaker".to_owned()),
        };
        if let Err(why) = begun {
            self.outputs.push_back(failed(id, play, &why));
        }
    }

    fn stop(&mut self, now_ms: u64, play: u64, id: &str) {
        let open = self.speakers.get_mut(id).and_then(|talk| talk.open.iter_mut().find(|open| open.play == play));
        if let Some(open) = open {
            open.stopping = true;
            open.taken = false;
            open.tell_at_ms = now_ms;
        }
    }

    fn tick(&mut self, now_ms: u64, challenge: [u8; 16]) {
        for talk in self.speakers.values_mut() {
            talk.notice_silence(now_ms);
            talk.give_up(now_ms, &mut self.outputs);
            if !self.connected {
                continue;
            }
            if now_ms >= talk.ask_at_ms {
                talk.ask(challenge, &mut self.outputs);
                talk.ask_at_ms = now_ms + ASK_AGAIN_MS;
            }
            talk.tell(now_ms, &mut self.outputs);
        }
    }
}

impl Talk {
    /// Opens a play; the next tick tells the speaker. An open one of the same number is the same play.
    fn begin(
        &mut self,
        now_ms: u64,
        play: u64,
        what: What,
        volume_percent: u8,
        outputs: &mut VecDeque<Output>,
    ) -> Result<(), String> {
        if self.open.iter().any(|open| open.play == play) {
            return Ok(());
        }
        if self.open.len() >= OPEN_MAX {
            return Err("the speaker has not ended what it was told before".to_owned());
        }
        let until_ms = now_ms + what.length_ms() + GRACE_MS;
        let open = Open {
            play,
            what,
            volume_percent,
            stopping: false,
            taken: false,
            told: false,
            tell_at_ms: now_ms,
            until_ms,
        };
        open.command().emit(&mut [0; MESSAGE_BYTES_MAX]).map_err(|error| error.to_string())?;
        self.overtake(now_ms, outputs);
        self.open.push(open);
        Ok(())
    }

    /// What the speaker has not taken must not be told after what takes its place.
    fn overtake(&mut self, now_ms: u64, outputs: &mut VecDeque<Output>) {
        let untold = self.open.extract_if(.., |open| !open.taken && !open.told).collect::<Vec<_>>();
        for open in untold {
            outputs.push_back(ended(&self.speaker.id, open.play, State::Replaced, None));
        }
        for open in self.open.iter_mut().filter(|open| !open.taken && !open.stopping) {
            (open.stopping, open.tell_at_ms) = (true, now_ms);
        }
    }

    /// A gateway that starts again knows nothing of what its speakers still play: that is over, and is not begun again.
    fn end_what_is_not_ours(&mut self, playing: Option<u64>, outputs: &mut VecDeque<Output>) {
        if let Some(play) = playing
            && !self.open.iter().any(|open| open.play == play)
            && let Some((session, counter)) = self.conversation.next_command()
        {
            let bytes = self.seal(session, counter, &Command::Stop(Some(play)));
            outputs.push_back(Output::Send { speaker: self.speaker.id.clone(), bytes });
        }
    }

    /// The speaker has forgotten what it was told. What it had begun is over: it must not sound twice.
    fn restarted(&mut self, now_ms: u64, outputs: &mut VecDeque<Output>) {
        let (begun, waiting): (Vec<Open>, Vec<Open>) = self.open.drain(..).partition(Open::may_have_begun);
        for open in &begun {
            outputs.push_back(failed(&self.speaker.id, open.play, "the speaker started again in the middle of it"));
        }
        self.open = waiting;
        for open in &mut self.open {
            open.tell_at_ms = now_ms;
        }
    }

    fn notice_silence(&mut self, now_ms: u64) {
        if now_ms < self.since_ms + SILENT_MS {
            return;
        }
        let unsealed = self.unsealed_ms.is_some_and(|at_ms| now_ms < at_ms + SILENT_MS);
        self.health = if unsealed { Health::Refused } else { Health::Silent };
    }

    fn give_up(&mut self, now_ms: u64, outputs: &mut VecDeque<Output>) {
        for open in self.open.extract_if(.., |open| now_ms >= open.until_ms).collect::<Vec<_>>() {
            let why = if open.taken { "the speaker did not say how it ended" } else { "the speaker did not answer" };
            outputs.push_back(failed(&self.speaker.id, open.play, why));
        }
    }

    fn ask(&mut self, challenge: [u8; 16], outputs: &mut VecDeque<Output>) {
        self.conversation.ask(challenge);
        let bytes = self.seal(Session::NONE, 0, &Command::Ask(challenge));
        outputs.push_back(Output::Send { speaker: self.speaker.id.clone(), bytes });
    }

    /// Tells the speaker what it has not said anything of.
    fn tell(&mut self, now_ms: u64, outputs: &mut VecDeque<Output>) {
        for place in 0..self.open.len() {
            if self.open[place].taken || now_ms < self.open[place].tell_at_ms {
                continue;
            }
            let Some((session, counter)) = self.conversation.next_command() else {
                return;
            };
            self.open[place].tell_at_ms = now_ms + TELL_AGAIN_MS;
            self.open[place].told = true;
            let bytes = self.seal(session, counter, &self.open[place].command());
            outputs.push_back(Output::Send { speaker: self.speaker.id.clone(), bytes });
        }
    }

    fn seal(&self, session: Session, counter: u64, command: &Command<'_>) -> Vec<u8> {
        let mut body = [0; MESSAGE_BYTES_MAX];
        let length = command.emit(&mut body).expect("a play was encoded once when it was opened");
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let length = Sealed { session, counter, body: &body[..length] }
            .emit(&self.speaker.key, Direction::ToSpeaker, &self.speaker.id, &mut message)
            .expect("a command is shorter than any message");
        message.truncate(length);
        message
    }
}

impl Open {
    /// Whether a speaker that has started again may have begun it before. A siren is at least once.
    fn may_have_begun(&self) -> bool {
        let repeatable = matches!(self.what, What::BuiltIn { .. });
        self.taken || self.stopping || (self.told && !repeatable)
    }

    fn command(&self) -> Command<'_> {
        if self.stopping {
            return Command::Stop(Some(self.play));
        }
        let (play, volume_percent) = (self.play, self.volume_percent);
        match &self.what {
            What::File { url, sha256, bytes, times, gap_ms, from_ms, .. } => {
                let sound = Keep { url, sha256: *sha256, bytes: *bytes };
                let (times, gap_ms, from_ms) = (*times, *gap_ms, *from_ms);
                Command::Play(Play { play, sound, times, gap_ms, volume_percent, from_ms })
            }
            What::BuiltIn { sound, length_ms } => {
                Command::Ring(Ring { play, sound: *sound, length_ms: *length_ms, volume_percent })
            }
        }
    }
}

fn failed(speaker: &str, play: u64, why: &str) -> Output {
    ended(speaker, play, State::Failed, Some(why))
}

fn ended(speaker: &str, play: u64, state: State, why: Option<&str>) -> Output {
    let (speaker, detail) = (speaker.to_owned(), why.map(str::to_owned));
    Output::Progress { play, speaker, state, played_ms: 0, times: 0, detail }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
