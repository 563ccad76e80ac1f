//! The room's own task: follows the configuration, opens and closes streams, answers who asks, and reports on each camera.
//!
//! It runs on the room's thread beside one task per stream, and holds what they share.

mod report;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use retina::client::SessionGroup;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::media::Quality;
use tongluo_protocols::media::decoder::Looks;

use super::eye::{Eye, EyeError};
use super::guard::Guard;
use super::health::{Health, State};
use super::picture::PictureJudge;
use super::plan::{CameraPlan, Plan};
use super::probe::{Probed, probe};
use super::recording::{Reading, Recordings};
use super::ring::{Frame, Watching};
use super::session::Address;
use super::stream::{Hearing, Shown, Slots, Stream};
use super::{Refusal, Report, Snapshot, StreamFacts, follow};
use crate::clock::Clock;

/// How often streams that nobody needs are closed, waiting viewers are served, and cameras are judged.
const TICK_MS: u64 = 500;

/// How long a stream stays open after the last viewer left: they often come back at once, in another size.
const LINGER_MS: u64 = 10_000;

/// How long a viewer waits for a first picture; a camera that is asleep needs some seconds, and 10 s of a long group.
const FIRST_PICTURE_MS: u64 = 14_000;

/// Viewers that wait at once.
const WAITING_MAX: usize = 64;

/// Tests of addresses at once. Each is a technician.
const PROBES_MAX: usize = 4;

/// A group with more pictures than this is not decoded for a snapshot; its keyframe is.
const SNAPSHOT_FRAMES_MAX: usize = 75;

/// What the room is asked.
pub(super) enum Command {
    Watch { camera: Arc<str>, quality: Quality, reply: oneshot::Sender<Result<Watching, Refusal>> },
    Stopgap { camera: Arc<str>, reply: oneshot::Sender<Option<Watching>> },
    Snapshot { camera: Arc<str>, reply: oneshot::Sender<Result<Snapshot, Refusal>> },
    Read { camera: Arc<str>, from_ms: i64, to_ms: i64, reply: oneshot::Sender<Result<Reading, Refusal>> },
    Span { camera: Arc<str>, reply: oneshot::Sender<Option<(i64, i64)>> },
    Probe { address: Address, reply: oneshot::Sender<Probed> },
}

type StreamKey = (Arc<str>, Quality);

/// One stream and its task.
struct Running {
    wanted: watch::Sender<bool>,
    shown: Rc<RefCell<Shown>>,
    /// It is open even if nobody watches.
    stands: bool,
    needed_until_ms: u64,
    task: JoinHandle<()>,
}

/// Somebody who waits for a first picture.
struct Waiting {
    stream: StreamKey,
    until_ms: u64,
    reply: oneshot::Sender<Result<Watching, Refusal>>,
}

/// What is known of one camera.
struct Camera {
    plan: CameraPlan,
    /// Sessions that were closed and may still stand at the recorder.
    group: Arc<SessionGroup>,
    health: Health,
    judge: PictureJudge,
    /// Which keyframe was judged last.
    judged_90k: Option<u64>,
    reported_at_ms: Option<u64>,
    /// What that report said of its main and sub stream, and whether since when it is recorded.
    reported: Told,
}

/// What beside its state is worth a report when it changes: the main and the sub stream, and whether anything is recorded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Told {
    main: Option<StreamFacts>,
    sub: Option<StreamFacts>,
    is_recorded: bool,
}

/// Credentials at a recorder, and what became of them.
struct Guarded {
    credentials: Option<(String, String)>,
    guard: Rc<RefCell<Guard>>,
}

/// The room.
pub(super) struct Room {
    configurations: watch::Receiver<Arc<Configuration>>,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::Sender<Report>,
    recordings: Recordings,
    eye: Eye,
    clock: Clock,
    cameras: BTreeMap<Arc<str>, Camera>,
    streams: HashMap<StreamKey, Running>,
    guards: HashMap<(String, u16), Guarded>,
    slots: HashMap<Arc<str>, Rc<Slots>>,
    waiting: Vec<Waiting>,
    changed: Rc<Notify>,
    judged: (mpsc::Sender<Judged>, mpsc::Receiver<Judged>),
    probes: Rc<()>,
}

type Judged = (Arc<str>, Result<Looks, EyeError>);

impl Room {
    pub(super) fn new(
        configurations: watch::Receiver<Arc<Configuration>>,
        commands: mpsc::Receiver<Command>,
        reports: mpsc::Sender<Report>,
        recordings: Recordings,
        eye: Eye,
        clock: Clock,
    ) -> Self {
        Self {
            configurations,
            commands,
            reports,
            recordings,
            eye,
            clock,
            cameras: BTreeMap::new(),
            streams: HashMap::new(),
            guards: HashMap::new(),
            slots: HashMap::new(),
            waiting: Vec::new(),
            changed: Rc::new(Notify::new()),
            judged: mpsc::channel(WAITING_MAX),
            probes: Rc::new(()),
        }
    }

    /// Runs until all handles are gone or the program ends.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.adopt();
        let mut tick_at_ms = 0;
        let mut follows = true;
        loop {
            // Without cameras nothing ticks.
            let deadline_ms = (!self.cameras.is_empty()).then_some(tick_at_ms);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                changed = self.configurations.changed(), if follows => match changed {
                    Ok(()) => self.adopt(),
                    Err(_) => follows = false,
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some((camera, looks)) = self.judged.1.recv() => self.see(&camera, looks),
                () = self.changed.notified() => self.look(),
                () = self.clock.until(deadline_ms) => {
                    tick_at_ms = self.clock.mono_ms() + TICK_MS;
                    self.look();
                }
            }
        }
        self.close().await;
    }

    /// Ends all sessions in order, so that recorders have them free again.
    async fn close(&mut self) {
        let tasks: Vec<_> = self.streams.drain().map(|(_, running)| running.end()).collect();
        for task in tasks {
            let _ = task.await;
        }
        for camera in self.cameras.values() {
            let teardown = camera.group.await_teardown();
            let _ = tokio::time::timeout(std::time::Duration::from_millis(TICK_MS), teardown).await;
        }
    }

    /// Takes a new configuration: what did not change goes on undisturbed.
    fn adopt(&mut self) {
        let plan = Plan::of(&self.configurations.borrow_and_update().clone());
        let gone: Vec<_> = self
            .cameras
            .iter()
            .filter(|(id, camera)| plan.cameras.get(*id) != Some(&camera.plan))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            for quality in [Quality::Main, Quality::Sub] {
                if let Some(running) = self.streams.remove(&(id.clone(), quality)) {
                    drop(running.end());
                }
            }
            if !plan.cameras.contains_key(&id) {
                self.cameras.remove(&id);
            }
        }
        for (recorder, sessions_max) in &plan.sessions_max {
            self.slots.entry(recorder.clone()).or_default().max.set(*sessions_max);
        }
        self.slots.retain(|recorder, slots| plan.sessions_max.contains_key(recorder) || Rc::strong_count(slots) > 1);
        for (id, camera) in &plan.cameras {
            self.add(id, camera);
        }
        let limits = plan.cameras.iter().filter_map(|(id, camera)| Some((id.clone(), camera.record?.limits))).collect();
        self.recordings.limit(limits);
        self.look();
    }

    fn add(&mut self, id: &Arc<str>, plan: &CameraPlan) {
        if self.streams.contains_key(&(id.clone(), Quality::Main)) {
            return;
        }
        let now_utc_ms = self.clock.utc_ms();
        let camera = self.cameras.entry(id.clone()).or_insert_with(|| Camera {
            plan: plan.clone(),
            group: Arc::new(SessionGroup::default()),
            health: Health::new(now_utc_ms),
            judge: PictureJudge::default(),
            judged_90k: None,
            reported_at_ms: None,
            reported: Told::default(),
        });
        camera.plan = plan.clone();
        camera.judge.forget();
        let group = camera.group.clone();
        self.start(id, plan, Quality::Main, group.clone());
        if plan.sub.is_some() {
            self.start(id, plan, Quality::Sub, group);
        }
    }

    fn start(&mut self, id: &Arc<str>, plan: &CameraPlan, quality: Quality, group: Arc<SessionGroup>) {
        let stands = plan.stands(quality);
        let records = plan.record.is_some_and(|record| record.quality == quality);
        let address = plan.address(quality).clone();
        let shown = Rc::new(RefCell::new(Shown::new()));
        shown.borrow_mut().ring.keep_past(plan.standing() == quality && !records);
        let stream = Stream {
            guard: self.guard(&address),
            address,
            slots: self.slots.entry(plan.recorder.clone()).or_default().clone(),
            group,
            shown: shown.clone(),
            changed: self.changed.clone(),
            feed: records.then(|| self.recordings.feed(id.clone(), quality)),
            hearing: Hearing::new(plan.audio),
            clock: self.clock,
        };
        let (wanted, is_wanted) = watch::channel(stands);
        let task = tokio::task::spawn_local(stream.run(is_wanted));
        self.streams.insert((id.clone(), quality), Running { wanted, shown, stands, needed_until_ms: 0, task });
    }

    /// The guard of a recorder; told when the credentials are others than before.
    fn guard(&mut self, address: &Address) -> Rc<RefCell<Guard>> {
        let guarded = self
            .guards
            .entry(address.host())
            .or_insert_with(|| Guarded { credentials: address.credentials().cloned(), guard: Rc::default() });
        if guarded.credentials.as_ref() != address.credentials() && address.has_credentials() {
            guarded.credentials = address.credentials().cloned();
            guarded.guard.borrow_mut().changed();
        }
        guarded.guard.clone()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Watch { camera, quality, reply } => self.watch(&camera, quality, reply),
            Command::Stopgap { camera, reply } => {
                let running = self.streams.get(&(camera, Quality::Sub));
                let _ = reply.send(running.and_then(|running| running.shown.borrow_mut().ring.watch()));
            }
            Command::Snapshot { camera, reply } => self.snapshot(&camera, reply),
            Command::Read { camera, from_ms, to_ms, reply } => {
                let _ = reply.send(self.read(&camera, from_ms, to_ms));
            }
            Command::Span { camera, reply } => {
                let span = self.standing(&camera).and_then(|running| running.shown.borrow().ring.span());
                let _ = reply.send(span);
            }
            Command::Probe { address, reply } => self.probe(address, reply),
        }
    }

    fn watch(&mut self, camera: &Arc<str>, quality: Quality, reply: oneshot::Sender<Result<Watching, Refusal>>) {
        let Some(known) = self.cameras.get(camera) else {
            let _ = reply.send(Err(Refusal::Unknown));
            return;
        };
        let stream = (camera.clone(), known.plan.served(quality));
        let now_ms = self.clock.mono_ms();
        let running = self.streams.get_mut(&stream).expect("a camera's streams run as long as it is known");
        running.needed_until_ms = now_ms + FIRST_PICTURE_MS;
        running.wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
        if self.waiting.len() >= WAITING_MAX {
            let _ = reply.send(Err(Refusal::Busy));
            return;
        }
        self.waiting.push(Waiting { stream, until_ms: now_ms + FIRST_PICTURE_MS, reply });
        self.serve_waiting(now_ms);
    }

    /// Gives pictures to those who wait for them, and a reason to those who will get none.
    fn serve_waiting(&mut self, now_ms: u64) {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            let answer = match self.streams.get(&waiting.stream) {
                None => Some(Err(Refusal::Unknown)),
                Some(running) => running.answer(now_ms >= waiting.until_ms),
            };
            match answer {
                Some(answer) => {
                    let _ = self.waiting.swap_remove(at).reply.send(answer);
                }
                None if waiting.reply.is_closed() => drop(self.waiting.swap_remove(at)),
                None => at += 1,
            }
        }
    }

    fn standing(&self, camera: &Arc<str>) -> Option<&Running> {
        let quality = self.cameras.get(camera)?.plan.standing();
        self.streams.get(&(camera.clone(), quality))
    }

    /// What to decode for a snapshot: the larger picture where it is open.
    fn snapshot_frames(&self, camera: &Arc<str>) -> Option<Vec<Arc<Frame>>> {
        [Quality::Main, Quality::Sub].into_iter().find_map(|quality| {
            let shown = self.streams.get(&(camera.clone(), quality))?.shown.borrow();
            let group = shown.ring.live_group()?;
            let count = if group.len() <= SNAPSHOT_FRAMES_MAX { group.len() } else { 1 };
            Some(group[..count].to_vec())
        })
    }

    fn snapshot(&self, camera: &Arc<str>, reply: oneshot::Sender<Result<Snapshot, Refusal>>) {
        if !self.cameras.contains_key(camera) {
            let _ = reply.send(Err(Refusal::Unknown));
            return;
        }
        let Some(frames) = self.snapshot_frames(camera) else {
            let refusal = self.standing(camera).map_or(Refusal::Unknown, |running| running.refusal());
            let _ = reply.send(Err(refusal));
            return;
        };
        let eye = self.eye.clone();
        let captured_ms = frames.last().map_or(0, |newest| newest.captured_ms);
        tokio::task::spawn_local(async move {
            let made = eye.snapshot(frames).await;
            let _ = reply.send(made.map(|jpeg| Snapshot { jpeg, captured_ms }).map_err(Refusal::Eye));
        });
    }

    fn read(&mut self, camera: &Arc<str>, from_ms: i64, to_ms: i64) -> Result<Reading, Refusal> {
        let is_recorded = self.cameras.get(camera).is_none_or(|known| known.plan.record.is_some());
        if is_recorded {
            // A camera that is no longer configured still has its recordings.
            return self.recordings.read(camera, from_ms, to_ms).ok_or(Refusal::Busy);
        }
        let running = self.standing(camera).ok_or(Refusal::Unknown)?;
        let mut shown = running.shown.borrow_mut();
        let past = shown.ring.past(from_ms);
        let watching = shown.ring.watch();
        drop(shown);
        Ok(follow::follow(past, watching, from_ms, to_ms, self.clock))
    }

    fn probe(&mut self, address: Address, reply: oneshot::Sender<Probed>) {
        if Rc::strong_count(&self.probes) > PROBES_MAX {
            return;
        }
        let token = self.probes.clone();
        let guard = self.guard_for_test(&address);
        let (eye, clock) = (self.eye.clone(), self.clock);
        tokio::task::spawn_local(async move {
            let _token = token;
            let _ = reply.send(probe(&address, &guard, &eye, clock).await);
        });
    }

    /// The guard that a test counts with: the recorder's, whichever credentials it knows.
    fn guard_for_test(&mut self, address: &Address) -> Rc<RefCell<Guard>> {
        let guarded = self.guards.entry(address.host());
        guarded.or_insert_with(|| Guarded { credentials: None, guard: Rc::default() }).guard.clone()
    }

    fn see(&mut self, camera: &Arc<str>, looks: Result<Looks, EyeError>) {
        let now_ms = self.clock.mono_ms();
        if let (Some(camera), Ok(looks)) = (self.cameras.get_mut(camera), looks) {
            camera.judge.see(looks, now_ms);
        }
        self.look();
    }

    /// Looks at everything that may have changed.
    fn look(&mut self) {
        let now_ms = self.clock.mono_ms();
        self.serve_waiting(now_ms);
        for running in self.streams.values_mut() {
            running.linger(now_ms);
        }
        let ids: Vec<_> = self.cameras.keys().cloned().collect();
        for id in ids {
            self.judge(&id, now_ms);
            self.report(&id, now_ms);
        }
    }
}

impl Running {
    /// Pictures, a reason why there are none, or `None`: wait.
    fn answer(&self, is_late: bool) -> Option<Result<Watching, Refusal>> {
        let mut shown = self.shown.borrow_mut();
        if let Some(watching) = shown.ring.watch() {
            return Some(Ok(watching));
        }
        let waits = matches!(shown.state, None | Some(State::Starting | State::Ok));
        drop(shown);
        (is_late || !waits).then(|| Err(self.refusal()))
    }

    fn refusal(&self) -> Refusal {
        let shown = self.shown.borrow();
        Refusal::NoPicture { state: shown.state.unwrap_or(State::Starting), detail: shown.detail.clone() }
    }

    /// Closes what nobody needed for a while.
    fn linger(&mut self, now_ms: u64) {
        if self.stands {
            return;
        }
        if self.shown.borrow().ring.has_viewers() {
            self.needed_until_ms = now_ms + LINGER_MS;
        }
        let needed = now_ms < self.needed_until_ms;
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, needed) != needed);
    }

    /// Lets the task end its session, and then itself.
    fn end(self) -> JoinHandle<()> {
        self.wanted.send_replace(false);
        self.task
    }
}
