//! The task between the machine and its world: the journal, the files, the loudspeakers, the time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::device::speaker::State;
use tongluo_protocols::event::{Event, PlayReport};
use tongluo_protocols::id::{ContentId, Lane};

use super::machine::Machine;
use super::show::{Now, Output, Told};
use super::{Ask, Asked, ConfirmedTime, Place};
use crate::clock::Clock;
use crate::event_body;
use crate::journal::{Draft, Fact, Journal, OrderState, PlayMark, PlayMarked};
use crate::speaker::{Busy, News, Play, Sounds, Speakers, States};

/// What was begun and is not finished at the disk or the line. Each open broadcast has one of these at most.
const DONE_MAX: usize = 64;

/// Loudspeakers, as the task needs them.
pub(crate) trait Sinks {
    /// Has something heard.
    ///
    /// # Errors
    /// When too much is asked at once.
    fn play(&self, play: Play) -> Result<(), Busy>;

    /// Ends it at one loudspeaker.
    ///
    /// # Errors
    /// When too much is asked at once.
    fn stop(&self, name: &str, speaker: &str) -> Result<(), Busy>;

    /// How they are.
    fn states(&self) -> watch::Receiver<States>;
}

impl Sinks for Speakers {
    fn play(&self, play: Play) -> Result<(), Busy> {
        self.play(play)
    }

    fn stop(&self, name: &str, speaker: &str) -> Result<(), Busy> {
        self.stop(name, Some(speaker))
    }

    fn states(&self) -> watch::Receiver<States> {
        self.states()
    }
}

/// Something that took its time is done.
enum Done {
    Fetched(Arc<str>, Result<(), String>),
    Committed(Arc<str>, Vec<String>),
}

/// Decides what is heard.
pub(crate) struct Task<S> {
    machine: Machine,
    sinks: S,
    sounds: Sounds,
    journal: Journal,
    clock: Clock,
    time: ConfirmedTime,
    configurations: watch::Receiver<Arc<Configuration>>,
    news: mpsc::Receiver<News>,
    inbox: mpsc::Receiver<Ask>,
    /// What earlier runs have begun, by broadcast.
    marks: HashMap<String, BTreeMap<String, PlayMark>>,
    places: HashMap<Arc<str>, Place>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
}

/// What the task works with.
pub(crate) struct World<S> {
    pub(crate) sinks: S,
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) sounds: Sounds,
    pub(crate) journal: Journal,
    pub(crate) clock: Clock,
    pub(crate) time: ConfirmedTime,
    pub(crate) configurations: watch::Receiver<Arc<Configuration>>,
}

impl<S: Sinks> Task<S> {
    /// A task that has begun nothing yet.
    pub(crate) fn new(asked: Asked, world: World<S>) -> Self {
        let mut marks: HashMap<String, BTreeMap<String, PlayMark>> = HashMap::new();
        for PlayMarked { broadcast, speaker, mark } in asked.marks {
            marks.entry(broadcast).or_default().insert(speaker, mark);
        }
        let World { sinks, news, sounds, journal, clock, time, configurations } = world;
        let (machine, places, done) = (Machine::default(), HashMap::new(), mpsc::channel(DONE_MAX));
        let inbox = asked.inbox;
        Self { machine, sinks, sounds, journal, clock, time, configurations, news, inbox, marks, places, done }
    }

    /// Works until nobody can ask any more.
    pub(crate) async fn run(mut self) {
        let mut states = self.sinks.states();
        loop {
            let deadline_ms = self.machine.next_deadline(self.now());
            tokio::select! {
                ask = self.inbox.recv() => match ask {
                    Some(ask) => self.asked(ask),
                    None => return,
                },
                Some(news) = self.news.recv() => self.machine.news(self.now(), &news),
                Some(done) = self.done.1.recv() => match done {
                    Done::Fetched(name, result) => self.machine.fetched(self.now(), &name, result),
                    Done::Committed(name, speakers) => self.machine.committed(self.now(), &name, &speakers),
                },
                Ok(()) = states.changed() => {
                    let now: States = states.borrow_and_update().clone();
                    let away = now.iter().filter(|(_, state)| !state.online).map(|(id, _)| id.clone()).collect();
                    self.machine.away(self.now(), away);
                }
                // What was admitted before a restart waits for nothing but this.
                Ok(()) = self.time.changed() => self.machine.tick(self.now()),
                () = self.clock.until(deadline_ms) => self.machine.tick(self.now()),
            }
            self.carry_out();
        }
    }

    fn now(&self) -> Now {
        let mono_ms = self.clock.mono_ms();
        let utc_ms = self.time.borrow().map(|confirmed| confirmed.utc_ms(mono_ms));
        let night = utc_ms.is_some_and(|utc_ms| self.configurations.borrow().night().is_at(utc_ms));
        Now { mono_ms, utc_ms, night }
    }

    fn asked(&mut self, ask: Ask) {
        let now = self.now();
        match ask {
            Ask::Begin(ordered, place) => {
                let marks = self.marks.remove(&*ordered.name).unwrap_or_default();
                self.places.insert(ordered.name.clone(), place);
                self.machine.begin(now, ordered, &marks);
            }
            Ask::Stop(name, place) => {
                self.machine.stop(now, name.as_deref());
                self.carry_out();
                self.finish(place);
            }
            Ask::Voice(voice) => self.machine.voice(now, voice),
            Ask::Hush(name) => self.machine.stop(now, Some(&name)),
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Fetch { name, content, bytes } => self.fetch(name, content, bytes),
                Output::Commit { name, speakers } => self.commit(name, speakers),
                Output::Play(play) => self.play(&play),
                Output::Silence { name, speaker } => {
                    if self.sinks.stop(&name, &speaker).is_err() {
                        tracing::error!(broadcast.id = %name, speaker.id = speaker, "a loudspeaker cannot be told to be silent");
                    }
                }
                Output::Tell(told) => self.tell(&told),
                Output::Over { name } => {
                    if let Some(place) = self.places.remove(&name) {
                        self.finish(place);
                    }
                }
            }
        }
    }

    fn fetch(&self, name: Arc<str>, content: ContentId, bytes: u64) {
        let (sounds, done) = (self.sounds.clone(), self.done.0.clone());
        tokio::task::spawn_local(async move {
            let result = sounds.get(content, bytes).await.map(drop);
            let _ = done.send(Done::Fetched(name, result)).await;
        });
    }

    /// All of them share one sync of the disk.
    fn commit(&self, name: Arc<str>, speakers: Vec<String>) {
        let begun = |speaker: &String| {
            let marked = PlayMarked { broadcast: name.to_string(), speaker: speaker.clone(), mark: PlayMark::Begun };
            self.journal.remember(Fact::Play(marked))
        };
        let commits: Vec<_> = speakers.iter().map(begun).collect();
        let done = self.done.0.clone();
        tokio::task::spawn_local(async move {
            for commit in commits {
                if commit.await.is_err() {
                    return tracing::error!("what begins to be heard cannot be written, and is not heard");
                }
            }
            let _ = done.send(Done::Committed(name, speakers)).await;
        });
    }

    fn play(&mut self, play: &Play) {
        if self.sinks.play(play.clone()).is_ok() {
            return;
        }
        for speaker in &play.speakers {
            let detail = Some(Busy.to_string());
            let (name, speaker) = (play.name.clone(), speaker.clone());
            let failed = News { name, speaker, state: State::Failed, played_ms: 0, times: 0, detail };
            self.machine.news(self.now(), &failed);
        }
    }

    /// Journals how far a broadcast has come. The last word is never shed, and says in the same commit that it was said.
    fn tell(&self, told: &Told) {
        let Told { name, speaker, state, times, played_ms, detail } = told;
        let event = Event::PlayReport(PlayReport {
            broadcast: name,
            speaker,
            state: *state,
            times: *times,
            played_ms: *played_ms,
            detail,
            at_ms: self.now().utc_ms.unwrap_or_else(|| self.clock.utc_ms()),
        });
        let over = || PlayMarked { broadcast: name.to_string(), speaker: speaker.clone(), mark: PlayMark::Over };
        let facts = if state.is_final() { vec![Fact::Play(over())] } else { Vec::new() };
        let draft = Draft { lane: Lane::Routine, kind: event.kind(), body: event_body(&event), source: None, facts };
        drop(self.journal.append(draft));
    }

    /// Nothing is left to do for an order. It goes to disk after what was told before it.
    fn finish(&self, (key, sequence): Place) {
        self.journal.remember_lazily(Fact::Order(key, sequence, OrderState::Done));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::LocalSet;
    use tongluo_protocols::id::{Epoch, StreamKey};
    use tongluo_protocols::order::{Interrupted, Priority};

    use super::super::{Broadcasts, Confirmed, Ordered};
    use super::*;
    use crate::config::JournalConfig;
    use crate::journal::Opened;
    use crate::testing::TempDir;

    const NOON_MS: i64 = 1_795_406_400_000;
    /// How long a busy machine may take.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Loudspeakers that tell what they are asked for.
    struct Asks(mpsc::UnboundedSender<Play>);

    impl Sinks for Asks {
        fn play(&self, play: Play) -> Result<(), Busy> {
            self.0.send(play).map_err(|_| Busy)
        }

        fn stop(&self, _: &str, _: &str) -> Result<(), Busy> {
            Ok(())
        }

        fn states(&self) -> watch::Receiver<States> {
            watch::channel(States::default()).1
        }
    }

    fn notice() -> Ordered {
        Ordered {
            name: "notice".into(),
            priority: Priority::Notice,
            interrupted: Interrupted::Drop,
            speakers: vec!["sp1".to_owned()],
            content: ContentId([3; 32]),
            bytes: 44,
            length_ms: 1_000,
            times: 1,
            gap_ms: 0,
            chime: false,
            volume_percent: 70,
            not_after_ms: NOON_MS + 900_000,
        }
    }

    /// Time does not pass here, so nothing is looked at because time has passed.
    #[test]
    fn what_was_admitted_before_a_restart_is_heard_as_soon_as_the_time_is_certain() {
        let dir = TempDir::new("certain");
        let (clock, _) = Clock::start_virtual(0);
        let config = JournalConfig { space_mib: 8, reserve_mib: 1, acked_days: 7 };
        let Opened { journal, closing, .. } = Journal::open(dir.path(), &config, clock).unwrap();
        let ((confirm, time), (_news, news)) = (watch::channel(None), mpsc::channel(1));
        let (_configure, configurations) = watch::channel(Arc::default());
        let (sinks, mut played) = mpsc::unbounded_channel();
        let (_broadcasts, asked) = Broadcasts::channel(Vec::new());
        let (sinks, sounds) = (Asks(sinks), Sounds::at(dir.path()));
        let world = World { sinks, news, sounds, journal, clock, time, configurations };
        let mut task = Task::new(asked, world);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            // Everything is at hand but the time.
            let place = (StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(1) }, 1);
            task.asked(Ask::Begin(notice(), place));
            task.machine.fetched(task.now(), "notice", Ok(()));
            while let Some(output) = task.machine.poll() {
                assert!(!matches!(output, Output::Play(_) | Output::Commit { .. }), "{output:?}");
            }
            tokio::task::spawn_local(task.run());
            confirm.send_replace(Some(Confirmed { utc_ms: NOON_MS, at_mono_ms: 0 }));
            let play = tokio::time::timeout(PATIENCE, played.recv()).await.expect("it is heard").unwrap();
            assert_eq!((&*play.name, play.speakers.as_slice()), ("notice", &["sp1".to_owned()][..]));
        });
        drop((local, runtime));
        closing.wait();
    }
}
