//! The task between the journal, the plan, the cameras and the hub.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore, watch};
use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::content::{ContentHash, MediaType};
use tongluo_protocols::event::{Event, Evidence, EvidenceKind, EvidenceState, Fault, Press};
use tongluo_protocols::id::{Lane, PressId};

use super::Eyes;
use super::clip::Clip;
use super::machine::{self, Kind};
use super::store::{Item, Store, Untold, Upload};
use crate::camera::Snapshot;
use crate::clock::Clock;
use crate::event_body;
use crate::fleet::Identity;
use crate::journal::{Draft, Journal, Receipt, Source};
use crate::media::client::{HubClient, TransferError};

/// Presses older than this when they are first looked at set off nothing: what the cameras see now is another story.
const PRESS_AGE_MS_MAX: i64 = 3_600_000;
/// A snapshot later than this after its press is none.
const SNAPSHOT_LATE_MS_MAX: i64 = 60_000;
/// Clips that are read at once; more wait, and are read from the recording. Each holds a reader of the cameras.
const CLIPS_MAX: usize = 8;
/// Bytes of evidence that wait here; beyond, new clips are refused and say so. Ten clips of 4 Mbit/s in both directions of an
/// outage of a day, and little beside what recordings take.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How long a file stays after the hub has it: a hub that returns from a backup may lack it.
const KEPT_MS: i64 = 7 * DAY_MS;
/// How long the recording around a press is kept from being overwritten.
const PROTECTED_MS: i64 = 90 * DAY_MS;
const DAY_MS: i64 = 24 * 3_600_000;
/// The first and the longest pause between two tries to bring a file. After an outage somebody waits for it, and a try is cheap.
const PAUSE_MS: (u64, u64) = (1_000, 15_000);
/// How often is looked for what was shed or not enrolled.
const LOOK_MS: u64 = 2_000;

/// Everything that makes evidence, on one thread.
pub(super) struct Task<E> {
    store: RefCell<Store>,
    folder: PathBuf,
    data_dir: PathBuf,
    journal: Journal,
    eyes: E,
    configurations: watch::Receiver<Arc<Configuration>>,
    clock: Clock,
    clips: Semaphore,
    /// Something was settled.
    settled: Notify,
    /// There is something to bring.
    upload: Notify,
    /// Whether the hub has said that it takes no more.
    refused: Cell<bool>,
}

impl<E: Eyes> Task<E> {
    pub(super) fn new(
        store: Store,
        folder: PathBuf,
        data_dir: PathBuf,
        journal: Journal,
        eyes: E,
        configurations: watch::Receiver<Arc<Configuration>>,
        clock: Clock,
    ) -> Rc<Self> {
        Rc::new(Self {
            store: RefCell::new(store),
            folder,
            data_dir,
            journal,
            eyes,
            configurations,
            clock,
            clips: Semaphore::new(CLIPS_MAX),
            settled: Notify::new(),
            upload: Notify::new(),
            refused: Cell::new(false),
        })
    }

    /// Works until it is told to stop. What was under way goes on at the next start.
    pub(super) async fn run(self: Rc<Self>, mut stop: watch::Receiver<bool>) {
        self.sweep();
        match self.store.borrow().due() {
            Ok(due) => due.into_iter().for_each(|item| self.clone().make(item)),
            Err(error) => failed("the plan cannot be read", &error),
        }
        tokio::select! {
            () = self.clone().follow() => {}
            () = self.tell() => {}
            () = self.bring() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// A kill between a file and its row leaves a file that nobody knows.
    fn sweep(&self) {
        let store = self.store.borrow();
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for file in files {
            let name = file.file_name();
            let hash = name.to_str().and_then(ContentHash::parse);
            if hash.is_some_and(|hash| store.knows(&hash).is_ok_and(|known| !known)) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }

    /// Plans each press of the journal once.
    async fn follow(self: Rc<Self>) {
        let mut changes = self.journal.shelf().changes();
        loop {
            changes.mark_unchanged();
            if let Err(error) = self.clone().plan_new().await {
                failed("a press cannot be planned", &error);
                self.clock.until(Some(self.clock.mono_ms() + LOOK_MS)).await;
                continue;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn plan_new(self: Rc<Self>) -> rusqlite::Result<()> {
        for stream in self.journal.shelf().streams().into_iter().filter(|stream| stream.key.lane == Lane::Urgent) {
            let epoch = stream.key.epoch;
            let mut next = (self.store.borrow().followed(epoch)? + 1).max(stream.oldest);
            while next <= stream.head {
                let entries = self.journal.read(stream.key, next).await;
                let Some(last) = entries.last() else { break };
                let through = last.sequence;
                for entry in entries.iter().filter(|entry| entry.kind == Press::KIND) {
                    if let Ok(press) = Press::parse(&entry.body) {
                        self.clone().press(PressId { epoch, sequence: entry.sequence }, &press)?;
                    }
                }
                self.store.borrow_mut().follow(epoch, through)?;
                next = through + 1;
            }
        }
        Ok(())
    }

    fn press(self: Rc<Self>, id: PressId, press: &Press<'_>) -> rusqlite::Result<()> {
        let pressed_ms = press.heard_ms;
        if self.clock.utc_ms() - pressed_ms > PRESS_AGE_MS_MAX {
            return Ok(());
        }
        let configuration = self.configurations.borrow().clone();
        let cameras = machine::cameras_of(&configuration, press.device.as_str());
        if cameras.is_empty() {
            return Ok(());
        }
        let plan = |kind, begun: &[machine::Begun]| machine::plan(kind, pressed_ms, begun);
        let items = self.store.borrow_mut().plan(id, cameras, plan)?;
        for camera in cameras {
            let (from_ms, to_ms) = (pressed_ms - machine::BEFORE_MS, pressed_ms + machine::AFTER_MS);
            self.eyes.protect(camera, from_ms, to_ms, pressed_ms + PROTECTED_MS);
        }
        for item in items {
            tracing::info!(press.id = %id, camera.id = item.camera, evidence.kind = item.kind.name(), "evidence is being made");
            self.clone().make(item);
        }
        Ok(())
    }

    /// Makes one item beside the others.
    fn make(self: Rc<Self>, item: Item) {
        tokio::task::spawn_local(async move {
            let made = match item.kind {
                Kind::Snapshot => self.snapshot(item.clone()).await,
                Kind::Clip => self.clip(item.clone()).await,
            };
            if let Err(reason) = made {
                tracing::warn!(camera.id = item.camera, evidence.reason = reason, "there is no evidence");
                if let Err(error) = self.store.borrow_mut().missing(item.id, &reason) {
                    failed("it cannot be written that evidence is missing", &error);
                }
            }
            self.settled.notify_one();
            self.upload.notify_one();
        });
    }

    async fn snapshot(&self, mut item: Item) -> Result<(), String> {
        let now_ms = self.clock.utc_ms();
        if now_ms - item.from_ms > SNAPSHOT_LATE_MS_MAX {
            return Err("the gateway was off when it was to be taken".to_owned());
        }
        let Snapshot { jpeg, captured_ms } = self.eyes.snapshot(&item.camera).await?;
        let planned_to_ms = item.to_ms;
        // What it shows, not when it was ready: a moment before the press as likely as after it.
        (item.from_ms, item.to_ms) = (captured_ms, captured_ms);
        let hash = ContentHash::new(Sha256::digest(&jpeg).into());
        write_whole(&self.folder, &hash, &jpeg).map_err(|error| format!("the gateway cannot write it: {error}"))?;
        let file = (&hash, jpeg.len() as u64);
        self.store.borrow_mut().made(&item, planned_to_ms, file, None).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Reads a clip, goes on reading while presses extend it, and settles it.
    async fn clip(&self, mut item: Item) -> Result<(), String> {
        let _turn = self.clips.acquire().await.map_err(|error| error.to_string())?;
        if self.store.borrow().bytes().map_err(|error| error.to_string())? > BYTES_MAX {
            return Err("the gateway has no room for more evidence until the hub has taken some".to_owned());
        }
        let write = |error: std::io::Error| format!("the gateway cannot write it: {error}");
        let asked_from_ms = item.from_ms;
        let mut clip = Clip::create(&self.folder.join(format!("{}.part", item.id)), asked_from_ms).map_err(write)?;
        let mut end_ms = self.store.borrow().end_ms(item.id).map_err(|error| error.to_string())?;
        loop {
            let is_future = end_ms > self.clock.utc_ms();
            match self.eyes.read(&item.camera, clip.last_ms(), end_ms).await {
                Ok(mut pieces) => clip.take(&mut pieces).await.map_err(write)?,
                Err(reason) if clip.is_empty() && !is_future => return Err(reason),
                Err(_) => {}
            }
            // A camera that breaks off may come back before the clip's end.
            if is_future && clip.last_ms() < end_ms {
                self.clock.until(Some(self.clock.mono_ms() + LOOK_MS)).await;
                continue;
            }
            let extended_ms = self.store.borrow().end_ms(item.id).map_err(|error| error.to_string())?;
            if extended_ms > end_ms {
                end_ms = extended_ms;
                continue;
            }
            let finished = clip.finish(asked_from_ms, end_ms).map_err(write)?;
            let finished = finished.ok_or_else(|| "nothing was recorded at that time".to_owned())?;
            clip.keep(&path_of(&self.folder, &finished.hash)).map_err(write)?;
            (item.from_ms, item.to_ms) = (finished.from_ms, finished.to_ms);
            let file = (&finished.hash, finished.bytes);
            let made = self.store.borrow_mut().made(&item, end_ms, file, finished.reason.as_deref());
            // Extended between the look and the commit would need another thread; there is none, but it costs nothing to see.
            if made.map_err(|error| error.to_string())? {
                return Ok(());
            }
        }
    }

    /// Journals what is settled. A repeat is recognised by the journal.
    async fn tell(&self) {
        loop {
            let untold = self.store.borrow().untold().unwrap_or_else(|error| {
                failed("the plan cannot be read", &error);
                Vec::new()
            });
            let mut shed = false;
            for one in untold {
                match self.journal.append(draft(&one)).await {
                    Ok(Receipt::Committed(..) | Receipt::Repeated(..)) => {
                        if let Err(error) = self.store.borrow().told(one.item.id, one.press) {
                            failed("it cannot be written that evidence was told", &error);
                        }
                    }
                    Ok(Receipt::Shed) => shed = true,
                    Err(_) => return,
                }
            }
            if shed {
                self.clock.until(Some(self.clock.mono_ms() + LOOK_MS)).await;
            } else {
                self.settled.notified().await;
            }
        }
    }

    /// Brings files to the hub, one after another, for ever.
    async fn bring(&self) {
        let client = self.client().await;
        let mut pause_ms = PAUSE_MS.0;
        loop {
            let upload = self.store.borrow().next_upload().unwrap_or_else(|error| {
                failed("the plan cannot be read", &error);
                None
            });
            let Some(upload) = upload else {
                self.remove_old();
                self.upload.notified().await;
                continue;
            };
            match self.bring_one(&client, &upload).await {
                Ok(()) => pause_ms = PAUSE_MS.0,
                Err(error) => {
                    tracing::info!(evidence.error = %error, "evidence waits for the hub");
                    let asked_ms = match error {
                        TransferError::Refused { retry_after_s, .. } => retry_after_s.unwrap_or(0) * 1_000,
                        _ => 0,
                    };
                    let spread_ms = getrandom::u64().unwrap_or(0) % (pause_ms / 2);
                    let again_ms = self.clock.mono_ms() + asked_ms.max(pause_ms) + spread_ms;
                    tokio::select! {
                        () = self.clock.until(Some(again_ms)) => pause_ms = (pause_ms * 2).min(PAUSE_MS.1),
                        // Something new is worth a try at once.
                        () = self.upload.notified() => pause_ms = PAUSE_MS.0,
                    }
                }
            }
        }
    }

    async fn bring_one(&self, client: &HubClient, upload: &Upload) -> Result<(), TransferError> {
        let path = path_of(&self.folder, &upload.hash);
        let media_type = match upload.kind {
            Kind::Snapshot => MediaType::Jpeg,
            Kind::Clip => MediaType::Mp4,
        };
        let brought = client.put(&path, &upload.hash, upload.bytes, media_type).await;
        let settled = match &brought {
            Ok(()) => {
                tracing::info!(content.hash = %upload.hash, content.bytes = upload.bytes, "evidence is at the hub");
                self.store.borrow().uploaded(upload.item, self.clock.utc_ms())
            }
            Err(TransferError::File(error)) => {
                self.store.borrow_mut().missing(upload.item, &format!("its file is lost: {error}"))
            }
            Err(TransferError::Refused { code, .. }) if code == "content.wrong_hash" => {
                self.store.borrow_mut().missing(upload.item, "its file was damaged on the gateway")
            }
            Err(_) => Ok(()),
        };
        if let Err(error) = settled {
            failed("it cannot be written what became of a file", &error);
        }
        self.settled.notify_one();
        self.tell_refusal(&brought);
        brought
    }

    /// That the hub takes no more is a fault, until it does again.
    fn tell_refusal(&self, brought: &Result<(), TransferError>) {
        let (refused, detail) = match brought {
            Ok(()) => (false, String::new()),
            Err(TransferError::Refused { detail, .. }) => (true, detail.clone()),
            Err(_) => return,
        };
        if self.refused.replace(refused) == refused {
            return;
        }
        let fault = Fault { source: "evidence", code: "evidence.refused", detail: &detail, active: refused };
        let event = Event::Fault(fault);
        let (kind, body) = (event.kind(), event_body(&event));
        drop(self.journal.append(Draft { lane: Lane::Routine, kind, body, source: None, facts: Vec::new() }));
    }

    /// Waits until the gateway is enrolled.
    async fn client(&self) -> HubClient {
        loop {
            if let Ok(Some(identity)) = Identity::load(&self.data_dir) {
                match HubClient::new(&identity, self.clock) {
                    Ok(client) => return client,
                    Err(error) => tracing::error!(error = format!("{error:#}"), "the identity is of no use for files"),
                }
            }
            self.clock.until(Some(self.clock.mono_ms() + LOOK_MS)).await;
        }
    }

    fn remove_old(&self) {
        let store = self.store.borrow();
        while let Ok(Some((item, hash))) = store.removable(self.clock.utc_ms() - KEPT_MS) {
            let gone = std::fs::remove_file(path_of(&self.folder, &hash));
            let is_gone = gone.as_ref().map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |()| true);
            if !is_gone || store.removed(item).is_err() {
                return;
            }
        }
    }
}

fn draft(untold: &Untold) -> Draft {
    let Untold { item, press, reason, file } = untold;
    let (kind, media_type) = match item.kind {
        Kind::Snapshot => (EvidenceKind::Snapshot, MediaType::Jpeg),
        Kind::Clip => (EvidenceKind::Clip, MediaType::Mp4),
    };
    let event = Event::Evidence(Evidence {
        press: *press,
        camera: &item.camera,
        kind,
        state: if file.is_some() { EvidenceState::Saved } else { EvidenceState::Missing },
        reason: reason.as_deref(),
        sha256: file.map(|(hash, _)| *hash.as_bytes()),
        bytes: file.map(|(_, bytes)| bytes),
        media_type: file.map(|_| media_type.name()),
        from_ms: item.from_ms,
        to_ms: item.to_ms,
    });
    let state = if file.is_some() { "saved" } else { "missing" };
    let key = format!("evidence/{press}/{}/{}/{state}", item.camera, item.kind.name());
    let source = Some(Source { key, may_repeat: true });
    Draft { lane: Lane::Routine, kind: event.kind(), body: event_body(&event), source, facts: Vec::new() }
}

fn path_of(folder: &Path, hash: &ContentHash) -> PathBuf {
    folder.join(hash.to_string())
}

fn write_whole(folder: &Path, hash: &ContentHash, bytes: &[u8]) -> std::io::Result<()> {
    let (part, path) = (folder.join(format!("{hash}.part")), path_of(folder, hash));
    std::fs::write(&part, bytes)?;
    std::fs::File::open(&part)?.sync_all()?;
    std::fs::rename(&part, &path)?;
    std::fs::File::open(folder)?.sync_all()
}

fn failed(what: &str, error: &rusqlite::Error) {
    tracing::error!(evidence.error = %error, "{what}");
}
