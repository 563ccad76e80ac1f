//! One stream: opens its session when the machine says so, and hands the pictures on.
//!
//! A task per stream on the room's thread. It never waits for those who take the pictures: the ring drops for slow viewers, the
//! recorder's queue sheds. So the camera is always read, which its keep-alives depend on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use retina::client::SessionGroup;
use tokio::sync::{Notify, watch};
use tongluo_protocols::media::mp4::Track;

use super::guard::{Guard, Leave};
use super::health::State;
use super::machine::{Failure, Input, Machine, Output};
use super::recording::Feed;
use super::ring::{Frame, Ring};
use super::session::{Address, Picture, Session, Trouble};
use super::sound::Microphone;
use super::timeline::Timeline;
use crate::clock::Clock;

/// What the room knows of a stream while its task runs.
pub(super) struct Shown {
    pub(super) ring: Ring,
    /// `None` while nobody wants the stream.
    pub(super) state: Option<State>,
    pub(super) detail: String,
    pub(super) track: Option<Arc<Track>>,
    /// When the last picture came, UTC milliseconds.
    pub(super) last_frame_ms: Option<i64>,
    /// The last keyframe, for the judgement of pictures.
    pub(super) keyframe: Option<Arc<Frame>>,
    pub(super) clock_off_ms: Option<i64>,
}

impl Shown {
    pub(super) const fn new() -> Self {
        Self {
            ring: Ring::new(),
            state: None,
            detail: String::new(),
            track: None,
            last_frame_ms: None,
            keyframe: None,
            clock_off_ms: None,
        }
    }
}

/// How many sessions a recorder serves, and how many stand.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) max: Cell<u8>,
    taken: Cell<u8>,
}

impl Slots {
    fn take(self: &Rc<Self>) -> Option<Slot> {
        // A recorder whose limit nobody entered says itself when it is reached.
        if self.max.get() > 0 && self.taken.get() >= self.max.get() {
            return None;
        }
        self.taken.set(self.taken.get().saturating_add(1));
        Some(Slot(self.clone()))
    }
}

/// One of a recorder's sessions; given back when dropped.
struct Slot(Rc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get().saturating_sub(1));
    }
}

/// A session with sound that broke off so soon was perhaps broken by its sound.
const BROKEN_BY_SOUND_MS: u64 = 30_000;

/// So many of them in a row, and the next ones go without: sound never costs the picture.
const BROKEN_BY_SOUND_MAX: u32 = 2;

/// For so long; then sound is tried again with whatever session begins.
const DEAF_MS: u64 = 600_000;

/// Whether and how a stream listens.
pub(super) struct Hearing {
    wanted: bool,
    microphone: Option<Microphone>,
    /// Sessions with sound that broke off soon, in a row.
    breaks: u32,
    deaf_until_ms: u64,
    /// A sentence about the sound for the technician.
    note: Option<String>,
}

impl Hearing {
    pub(super) const fn new(wanted: bool) -> Self {
        Self { wanted, microphone: None, breaks: 0, deaf_until_ms: 0, note: None }
    }

    /// Whether the next session is to ask for sound.
    const fn listens(&self, now_ms: u64) -> bool {
        self.wanted && now_ms >= self.deaf_until_ms
    }

    /// A session plays.
    fn begin(&mut self, session: &Session, now_ms: u64) {
        if self.listens(now_ms) {
            self.note = session.deafness().map(str::to_owned);
        }
        match (session.sound(), &mut self.microphone) {
            (Some(format), Some(known)) if known.format() == format => known.untie(),
            (format, microphone) => *microphone = format.map(|format| Microphone::new(format.clone(), now_ms)),
        }
    }

    /// A session with sound ended by itself after so long.
    fn broke(&mut self, failure: Failure, lasted_ms: u64, now_ms: u64) {
        let by_sound = lasted_ms < BROKEN_BY_SOUND_MS && matches!(failure, Failure::Lost | Failure::NoFrames);
        self.breaks = if by_sound { self.breaks + 1 } else { 0 };
        if self.breaks >= BROKEN_BY_SOUND_MAX {
            self.breaks = 0;
            self.deaf_until_ms = now_ms + DEAF_MS;
            self.note = Some("no sound: sessions with it broke off; it is left out for a while".to_owned());
        }
    }
}

/// What a stream's task works with.
pub(super) struct Stream {
    pub(super) address: Address,
    pub(super) guard: Rc<RefCell<Guard>>,
    pub(super) slots: Rc<Slots>,
    pub(super) group: Arc<SessionGroup>,
    pub(super) shown: Rc<RefCell<Shown>>,
    /// Told whenever a state changes or a first picture comes.
    pub(super) changed: Rc<Notify>,
    /// Where recorded pictures go.
    pub(super) feed: Option<Feed>,
    pub(super) hearing: Hearing,
    pub(super) clock: Clock,
}

/// How a session ended.
enum End {
    /// Nobody wants it any more.
    Released,
    /// By itself.
    Failed(Trouble, u64),
}

impl Stream {
    /// Runs until `wanted`'s sender is gone.
    pub(super) async fn run(mut self, mut wanted: watch::Receiver<bool>) {
        let mut machine = Machine::new();
        let mut timeline = Timeline::new();
        loop {
            let input = if *wanted.borrow_and_update() { Input::Want } else { Input::Release };
            machine.handle(self.clock.mono_ms(), input);
            while let Some(output) = machine.poll() {
                if output == Output::Close {
                    machine.handle(self.clock.mono_ms(), Input::Closed);
                    continue;
                }
                self.show(&machine, None);
                let end = self.play(&mut machine, &mut timeline, &mut wanted).await;
                self.end(&mut machine, end);
            }
            self.show(&machine, None);
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = self.clock.until(machine.next_deadline()) => machine.handle(self.clock.mono_ms(), Input::Tick),
            }
        }
    }

    /// Opens a session and takes its pictures until it ends.
    async fn play(
        &mut self,
        machine: &mut Machine,
        timeline: &mut Timeline,
        wanted: &mut watch::Receiver<bool>,
    ) -> End {
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = released(wanted) => return End::Released,
        };
        let (mut session, _slot) = match opened {
            Ok(opened) => opened,
            Err((trouble, not_before_ms)) => return End::Failed(trouble, not_before_ms),
        };
        timeline.begin_session();
        let began_ms = self.clock.mono_ms();
        self.hearing.begin(&session, began_ms);
        loop {
            tokio::select! {
                biased;
                () = released(wanted) => return End::Released,
                picture = session.next() => match picture {
                    Ok(picture) => {
                        machine.handle(self.clock.mono_ms(), Input::Picture);
                        self.shown.borrow_mut().clock_off_ms = session.clock_off_ms();
                        self.take(machine, timeline, picture);
                    }
                    Err(trouble) => {
                        let now_ms = self.clock.mono_ms();
                        if session.sound().is_some() {
                            self.hearing.broke(trouble.failure, now_ms - began_ms, now_ms);
                        }
                        return End::Failed(trouble, 0);
                    }
                },
            }
        }
    }

    /// Asks the guard and the recorder's slots for leave, then the camera.
    async fn open(&self) -> Result<(Session, Slot), (Trouble, u64)> {
        let asked = self.leave().await?;
        let Some(slot) = self.slots.take() else {
            let detail = format!("all {} sessions of the recorder are in use here", self.slots.max.get());
            return Err((Trouble { failure: Failure::Full, detail }, 0));
        };
        let with_sound = self.hearing.listens(self.clock.mono_ms());
        match Session::open(&self.address, self.group.clone(), with_sound, self.clock).await {
            Ok(session) => {
                asked.answer(Guard::right);
                Ok((session, slot))
            }
            Err(trouble) => {
                if trouble.failure == Failure::Refused {
                    let now_ms = self.clock.mono_ms();
                    asked.answer(|guard| guard.wrong(now_ms));
                }
                Err((trouble, 0))
            }
        }
    }

    /// Waits for the guard's leave to present the credentials, if there are any.
    async fn leave(&self) -> Result<Asked, (Trouble, u64)> {
        if !self.address.has_credentials() {
            return Ok(Asked(None));
        }
        loop {
            let leave = self.guard.borrow_mut().ask(self.clock.mono_ms());
            match leave {
                // However the try ends, cancelled too, the next stream may ask.
                Leave::Given => return Ok(Asked(Some(self.guard.clone()))),
                Leave::Soon(at_ms) => self.clock.until(Some(at_ms)).await,
                Leave::Closed(until_ms) => {
                    let detail = "the recorder refused the password; it is not tried again before a long pause";
                    return Err((Trouble { failure: Failure::Refused, detail: detail.to_owned() }, until_ms));
                }
            }
        }
    }

    fn take(&mut self, machine: &Machine, timeline: &mut Timeline, picture: Picture) {
        let (now_ms, now_utc_ms) = (self.clock.mono_ms(), self.clock.utc_ms());
        let was_dead = self.is_microphone_dead(now_ms);
        if let Some(microphone) = &mut self.hearing.microphone {
            for heard in &picture.heard {
                if let Some(pictures) = timeline.pictures(heard.arrived_ms) {
                    microphone.hear(heard, pictures);
                }
            }
        }
        let place = timeline.place(picture.stamp_90k, now_ms);
        let sound = match &mut self.hearing.microphone {
            Some(microphone) => {
                if place.jumped {
                    microphone.untie();
                }
                microphone.with_picture(place.decode_90k)
            }
            None => Vec::new(),
        };
        let (captured_ms, wall_set) = timeline.captured_ms(place, now_ms, now_utc_ms);
        let frame = Arc::new(Frame {
            track: picture.track,
            key: picture.key,
            decode_90k: place.decode_90k,
            composition_90k: place.composition_90k,
            captured_ms,
            data: picture.data,
            sound,
        });
        if let Some(feed) = &mut self.feed {
            if picture.after_loss {
                feed.gap();
            }
            feed.push(&frame, wall_set);
        }
        let mut shown = self.shown.borrow_mut();
        shown.ring.push(&frame);
        let was_waiting = shown.state != machine.state() || shown.last_frame_ms.is_none();
        shown.last_frame_ms = Some(now_utc_ms);
        if frame.key {
            shown.track = Some(frame.track.clone());
            shown.keyframe = Some(frame);
        }
        drop(shown);
        if was_waiting || was_dead != self.is_microphone_dead(now_ms) {
            self.show(machine, None);
        }
    }

    fn end(&mut self, machine: &mut Machine, end: End) {
        self.shown.borrow_mut().ring.interrupt();
        if let Some(feed) = &mut self.feed {
            feed.interrupt();
        }
        let now_ms = self.clock.mono_ms();
        match end {
            End::Released => machine.handle(now_ms, Input::Release),
            End::Failed(trouble, not_before_ms) => {
                let Trouble { failure, detail } = trouble;
                machine.handle(now_ms, Input::Failed { failure, random: random(), not_before_ms });
                self.show(machine, Some(detail));
            }
        }
        // A session that broke off, and whose successor is awaited, is no state of its own.
        let is_said = machine.state() != Some(State::Starting);
        if let Some(feed) = self.feed.as_mut().filter(|_| is_said) {
            feed.excuse();
        }
    }

    fn is_microphone_dead(&self, now_ms: u64) -> bool {
        self.hearing.microphone.as_ref().is_some_and(|microphone| microphone.is_dead(now_ms))
    }

    /// What is to be said of the sound of a camera that is otherwise well.
    fn about_sound(&self) -> Option<&str> {
        let dead = self.is_microphone_dead(self.clock.mono_ms());
        self.hearing.note.as_deref().or(dead.then_some("no sound: the camera's microphone sends nothing"))
    }

    /// Publishes the state, with a new detail if there is one.
    fn show(&self, machine: &Machine, detail: Option<String>) {
        let mut shown = self.shown.borrow_mut();
        let state = machine.state();
        if let Some(detail) = detail {
            shown.detail = detail;
        } else if matches!(state, None | Some(State::Ok)) {
            shown.detail.clear();
            shown.detail.push_str(self.about_sound().filter(|_| state.is_some()).unwrap_or_default());
        }
        shown.state = state;
        if state.is_none() {
            shown.keyframe = None;
            shown.last_frame_ms = None;
            shown.clock_off_ms = None;
        }
        self.changed.notify_one();
    }
}

/// Leave that the guard gave, to be answered once.
struct Asked(Option<Rc<RefCell<Guard>>>);

impl Asked {
    fn answer(mut self, answer: impl FnOnce(&mut Guard)) {
        if let Some(guard) = self.0.take() {
            answer(&mut guard.borrow_mut());
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            guard.borrow_mut().undecided();
        }
    }
}

/// Returns when the stream is not wanted any more.
async fn released(wanted: &mut watch::Receiver<bool>) {
    // A sender that is gone wants nothing either.
    let _ = wanted.wait_for(|wanted| !*wanted).await;
}

fn random() -> u16 {
    // The spread of pauses needs no more than the system's generator can always give.
    getrandom::u32().map_or(0x8000, |random| (random & 0xffff) as u16)
}
