//! The relay: which streams are wanted of which gateway, what was asked of it, and the connection it keeps for that.
//!
//! Everything is counted per site. As long as anything is wanted the gateway is called over MQTT, and once its media
//! connection stands the leases go over that; both are repeated every three seconds and hold for ten. One stream is wanted
//! once, however many watch it. State is in memory alone: it is about now, and a hub that restarts is asked anew by the
//! pages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tongluo_protocols::media::mp4::{Sound, Track};
use tongluo_protocols::media::{GatewayMessage, HubMessage, LEASE_REPEAT_MS, LEASES_MAX, Lease, Leases, Quality};

use super::request::{Answered, FetchItem, Fetching, Request};
use super::upload::{Counters, StreamState, Subscription, Upload};
use crate::broker::{Broker, DownLeaf, PublishError};
use crate::clock;
use crate::ids::SiteId;

/// Streams that come up at once, over the whole county: sixteen walls of sixteen. At 1 Mbit/s each that is 256 Mbit/s into
/// the hub, beyond most county lines.
const UPLOADS_MAX: usize = 256;

/// Viewers at once, over the whole county.
const VIEWERS_MAX: usize = 1_000;

/// Questions and fetches of one gateway at once: its line carries no more, either.
const REQUESTS_PER_SITE_MAX: usize = 32;

/// Messages that wait for one gateway's line. They are small; a gateway that takes none of them is gone.
const OUTGOING_MAX: usize = 256;

/// How long a stream goes on after its last viewer: who reloads a page, or opens the next, finds it running.
const LINGER: Duration = Duration::from_secs(4);

/// How often the relay looks whether something is due.
const TICK: Duration = Duration::from_millis(500);

const LEASE_REPEAT: Duration = Duration::from_millis(LEASE_REPEAT_MS);

/// Why something cannot be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The gateway is not connected.
    #[error("the gateway is off line")]
    GatewayOffline,
    /// The gateway did not answer in time.
    #[error("the gateway did not answer in time")]
    TimedOut,
    /// As many streams as allowed come up already, from this gateway or from all.
    #[error("too many cameras are watched at once")]
    TooManyCameras,
    /// As many people as allowed watch already.
    #[error("too many viewers")]
    TooManyViewers,
    /// As many questions as allowed are open with this gateway.
    #[error("too many requests to one gateway")]
    TooManyRequests,
    /// The connection broke before the answer came.
    #[error("the connection to the gateway broke")]
    Broken,
}

impl RelayError {
    /// A stable name, as pages and records know it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::GatewayOffline => "gateway_offline",
            Self::TimedOut => "timed_out",
            Self::TooManyCameras => "too_many_cameras",
            Self::TooManyViewers => "too_many_viewers",
            Self::TooManyRequests => "too_many_requests",
            Self::Broken => "line_lost",
        }
    }
}

/// Live pictures and recordings, as the rest of the hub asks for them.
#[derive(Clone, Debug)]
pub struct Relay {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    sites: Mutex<HashMap<SiteId, Site>>,
    pub(super) counters: Arc<Counters>,
    /// Streams, requests and connections are numbered from one count.
    last_number: AtomicU64,
    due: Notify,
}

#[derive(Debug, Default)]
struct Site {
    uploads: Vec<Wanted>,
    requests: HashMap<u32, Request>,
    connection: Option<Connection>,
    told: Option<Instant>,
    /// What is wanted has changed since the gateway was told.
    changed: bool,
}

#[derive(Debug)]
struct Wanted {
    upload: Arc<Upload>,
    /// Since when nobody watches.
    idle_since: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    outgoing: mpsc::Sender<Bytes>,
}

/// Figures for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayStats {
    /// Streams that come up now.
    pub uploads: usize,
    /// People who watch now.
    pub viewers: usize,
    /// Gateways whose media connection stands.
    pub connections: usize,
    /// Bytes of pictures kept for who comes next.
    pub group_bytes: usize,
    /// Pictures muxed since the start.
    pub frames: u64,
    /// How often a viewer was too slow and jumped to a keyframe, since the start.
    pub viewer_jumps: u64,
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

impl Relay {
    /// A relay of which nothing is wanted. Nothing is called until [`Relay::run`] does.
    pub fn new() -> Self {
        Self { inner: Arc::default() }
    }

    /// Begins to watch a camera.
    ///
    /// # Errors
    /// A bound is reached.
    pub fn watch(&self, site: &SiteId, camera: &str, quality: Quality) -> Result<Subscription, RelayError> {
        if self.inner.counters.viewers.load(Ordering::Relaxed) >= VIEWERS_MAX {
            return Err(RelayError::TooManyViewers);
        }
        let mut sites = self.inner.sites();
        let uploads: usize = sites.values().map(|site| site.uploads.len()).sum();
        let entry = sites.entry(site.clone()).or_default();
        let known = entry.uploads.iter_mut().find(|wanted| wanted.upload.is(camera, quality));
        if let Some(wanted) = known {
            wanted.idle_since = None;
            return Ok(wanted.upload.watch());
        }
        if uploads >= UPLOADS_MAX || entry.uploads.len() >= LEASES_MAX {
            return Err(RelayError::TooManyCameras);
        }
        let counters = Arc::clone(&self.inner.counters);
        let upload = Upload::new(self.inner.number(), camera.into(), quality, counters);
        let subscription = upload.watch();
        entry.uploads.push(Wanted { upload, idle_since: None });
        entry.changed = true;
        self.inner.due.notify_one();
        Ok(subscription)
    }

    /// Asks a gateway something: JSON in; JSON, or the bytes that were asked for, out.
    ///
    /// # Errors
    /// The gateway is off line, silent, or asked too much already.
    pub async fn ask(&self, site: &SiteId, body: &serde_json::Value, patience: Duration) -> Result<Bytes, RelayError> {
        let body = body.to_string();
        let (request, answer) = Request::ask();
        let number =
            self.open(site, request, |number| emitted(&HubMessage::Ask { request: number, body: body.as_bytes() }))?;
        let _guard = Answered::new(self.clone(), site.clone(), number);
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RelayError::Broken),
            Err(_) => Err(RelayError::TimedOut),
        }
    }

    /// Fetches a span of a recording, in UTC milliseconds of the gateway's clock. Nothing comes before
    /// [`Fetching::more`] says how much may.
    ///
    /// # Errors
    /// The gateway is asked too much already.
    pub fn fetch(
        &self,
        site: &SiteId,
        camera: &str,
        quality: Quality,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Fetching, RelayError> {
        let (request, items, credit) = Request::fetch();
        let number = self
            .open(site, request, |request| emitted(&HubMessage::Fetch { request, camera, quality, from_ms, to_ms }))?;
        Ok(Fetching::new(Answered::new(self.clone(), site.clone(), number), items, credit))
    }

    /// Figures of now.
    pub fn stats(&self) -> RelayStats {
        let sites = self.inner.sites();
        let counters = &self.inner.counters;
        RelayStats {
            uploads: sites.values().map(|site| site.uploads.len()).sum(),
            viewers: counters.viewers.load(Ordering::Relaxed),
            connections: sites.values().filter(|site| site.connection.is_some()).count(),
            group_bytes: counters.group_bytes.load(Ordering::Relaxed),
            frames: counters.frames.load(Ordering::Relaxed),
            viewer_jumps: counters.viewer_jumps.load(Ordering::Relaxed),
        }
    }

    /// Calls gateways and repeats leases, for ever.
    pub async fn run(self, broker: Arc<Broker>) {
        loop {
            // A time-out is as good as a notice: either way the relay looks what is due.
            let _ = tokio::time::timeout(TICK, self.inner.due.notified()).await;
            for (site, call) in self.inner.due_calls(clock::instant()) {
                if let Err(PublishError::Away(_)) = broker.publish(&site, DownLeaf::Call, call).await {
                    self.inner.gateway_away(&site);
                }
            }
        }
    }

    /// A request, under a number of its own; sent at once where the connection stands, else as soon as it does.
    fn open(&self, site: &SiteId, request: Request, message: impl FnOnce(u32) -> Bytes) -> Result<u32, RelayError> {
        let number = self.inner.number();
        let mut sites = self.inner.sites();
        let site = sites.entry(site.clone()).or_default();
        if site.requests.len() >= REQUESTS_PER_SITE_MAX {
            return Err(RelayError::TooManyRequests);
        }
        let message = message(number);
        let request = match &site.connection {
            Some(connection) if connection.outgoing.try_send(message.clone()).is_ok() => request,
            _ => request.waiting(message),
        };
        site.requests.insert(number, request);
        site.changed = true;
        self.inner.due.notify_one();
        Ok(number)
    }

    /// Forgets a request, and tells the gateway unless it is done.
    pub(super) fn close(&self, site: &SiteId, number: u32) {
        let mut sites = self.inner.sites();
        let Some(site) = sites.get_mut(site) else { return };
        if site.requests.remove(&number).is_some() {
            site.send(emitted(&HubMessage::Cancel { request: number }));
        }
    }

    /// More may be sent for a fetch.
    pub(super) fn more(&self, site: &SiteId, number: u32, bytes: u32) {
        let mut sites = self.inner.sites();
        let Some(site) = sites.get_mut(site) else { return };
        match site.requests.get_mut(&number) {
            Some(Request { waiting: Some(_), credit_waiting, .. }) => {
                *credit_waiting = credit_waiting.saturating_add(bytes)
            }
            Some(_) => site.send(emitted(&HubMessage::More { request: number, bytes })),
            None => {}
        }
    }

    /// A gateway's media connection stands; an older one of the same site is forgotten. Answers its number.
    pub(in crate::video) fn connected(&self, site: &SiteId) -> (u64, mpsc::Receiver<Bytes>) {
        let (outgoing, receiver) = mpsc::channel(OUTGOING_MAX);
        let number = u64::from(self.inner.number());
        let mut sites = self.inner.sites();
        let site = sites.entry(site.clone()).or_default();
        site.connection = Some(Connection { number, outgoing });
        site.requests.retain(|_, request| request.waiting.is_some());
        site.send(site.leases());
        let mut first = Vec::new();
        for (&number, request) in &mut site.requests {
            first.extend(request.waiting.take());
            let bytes = std::mem::take(&mut request.credit_waiting);
            if bytes > 0 {
                first.push(emitted(&HubMessage::More { request: number, bytes }));
            }
        }
        first.into_iter().for_each(|message| site.send(message));
        site.told = Some(clock::instant());
        site.changed = false;
        (number, receiver)
    }

    /// A media connection ended. What was under way on it is broken; viewers wait for the next.
    pub(super) fn disconnected(&self, site: &SiteId, number: u64) {
        let mut sites = self.inner.sites();
        let Some(site) = sites.get_mut(site) else { return };
        if site.connection.as_ref().is_some_and(|connection| connection.number == number) {
            site.connection = None;
            site.changed = true;
            site.requests.retain(|_, request| request.waiting.is_some());
            for wanted in &site.uploads {
                wanted.upload.say(StreamState::named("line_lost"));
            }
        }
    }

    /// A message came on a site's connection. `false`: that connection is not the site's any more.
    pub(in crate::video) fn heard(&self, site: &SiteId, number: u64, message: GatewayMessage<'_>) -> bool {
        let mut sites = self.inner.sites();
        let Some(site) = sites.get_mut(site) else { return false };
        if site.connection.as_ref().is_none_or(|connection| connection.number != number) {
            return false;
        }
        let upload = |stream| site.uploads.iter().find(|wanted| wanted.upload.stream == stream);
        match message {
            GatewayMessage::Frame(frame) => {
                let upload = upload(frame.stream).map(|wanted| Arc::clone(&wanted.upload));
                drop(sites);
                if let Some(upload) = upload {
                    upload.frame(&frame, clock::utc_ms());
                }
            }
            GatewayMessage::Track { stream, codec, width, height, parameters } => {
                if let Some(wanted) = upload(stream) {
                    let parameters = parameters.to_vec();
                    wanted.upload.track(Track { codec, parameters, width, height, sound: None });
                }
            }
            GatewayMessage::SoundTrack { stream, codec, rate_hz, channels, parameters } => {
                if let Some(wanted) = upload(stream) {
                    wanted.upload.sound_track(Sound { codec, rate_hz, channels, parameters: parameters.to_vec() });
                }
            }
            GatewayMessage::Sound { stream, decode_90k, duration_90k, data } => {
                if let Some(wanted) = upload(stream) {
                    wanted.upload.sound(decode_90k, duration_90k, data);
                }
            }
            GatewayMessage::Stopped { stream, reason } => {
                if let Some(wanted) = upload(stream) {
                    wanted.upload.say(StreamState::of_reason(reason));
                }
            }
            GatewayMessage::Answer { request, body } => {
                if let Some(request) = site.requests.remove(&request) {
                    request.answer(Ok(Bytes::copy_from_slice(body)));
                }
            }
            GatewayMessage::Init { request, rfc6381, data } => {
                let item = FetchItem::Init { codec: rfc6381.to_owned(), data: Bytes::copy_from_slice(data) };
                site.item(request, item);
            }
            GatewayMessage::Fragment { request, wall_ms, duration_ms, data } => {
                site.item(request, FetchItem::Fragment { wall_ms, duration_ms, data: Bytes::copy_from_slice(data) });
            }
            GatewayMessage::Gap { request, from_ms, to_ms } => site.item(request, FetchItem::Gap { from_ms, to_ms }),
            GatewayMessage::End { request, reason } => {
                site.item(request, FetchItem::End { reason: reason.to_owned() });
                site.requests.remove(&request);
            }
            // A newer gateway says more than this hub understands.
            GatewayMessage::Unknown { .. } => {}
        }
        true
    }
}

impl Inner {
    fn sites(&self) -> MutexGuard<'_, HashMap<SiteId, Site>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number. After four thousand million they begin anew, long after the first ones ended.
    fn number(&self) -> u32 {
        (self.last_number.fetch_add(1, Ordering::Relaxed) + 1) as u32
    }

    /// Ends what nobody wants any more, repeats leases on connections, and answers whom to call.
    pub(super) fn due_calls(&self, now: Instant) -> Vec<(SiteId, Bytes)> {
        let mut calls = Vec::new();
        self.sites().retain(|id, site| {
            site.end_idle(now);
            let repeat = site.told.is_none_or(|told| now.duration_since(told) >= LEASE_REPEAT);
            let wanted = !site.uploads.is_empty() || !site.requests.is_empty();
            if site.changed || (wanted && repeat) {
                site.changed = false;
                site.told = Some(now);
                let leases = site.leases();
                if site.connection.is_some() {
                    site.send(leases);
                } else if wanted {
                    calls.push((id.clone(), leases));
                }
            }
            wanted || site.connection.is_some()
        });
        calls
    }

    /// The broker does not hold the gateway, so it hears no call.
    pub(super) fn gateway_away(&self, site: &SiteId) {
        let mut sites = self.sites();
        let Some(site) = sites.get_mut(site) else { return };
        if site.connection.is_some() {
            return;
        }
        for wanted in &site.uploads {
            wanted.upload.say(StreamState::named("gateway_offline"));
        }
        for (_, request) in site.requests.drain() {
            request.answer(Err(RelayError::GatewayOffline));
        }
    }
}

impl Site {
    fn leases(&self) -> Bytes {
        let leases: Vec<Lease<'_>> = self
            .uploads
            .iter()
            .map(|Wanted { upload, .. }| Lease {
                stream: upload.stream,
                camera: &upload.camera,
                quality: upload.quality,
            })
            .collect();
        let mut buffer = vec![0; Leases::BYTES_MAX];
        // Ids and counts were checked when the streams were wanted.
        Leases::write(&leases, &mut buffer).map_or_else(|_| Bytes::new(), |leases| emitted(&HubMessage::Leases(leases)))
    }

    fn end_idle(&mut self, now: Instant) {
        let before = self.uploads.len();
        self.uploads.retain_mut(|wanted| {
            if wanted.upload.viewers() > 0 {
                wanted.idle_since = None;
                return true;
            }
            now.duration_since(*wanted.idle_since.get_or_insert(now)) < LINGER
        });
        self.changed |= self.uploads.len() != before;
    }

    /// Hands a message to the connection, if there is one. A connection that takes no more is closed, and opened anew.
    fn send(&mut self, message: Bytes) {
        if let Some(connection) = &self.connection
            && connection.outgoing.try_send(message).is_err()
        {
            self.connection = None;
            self.changed = true;
        }
    }

    fn item(&mut self, number: u32, item: FetchItem) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        if let Err(reason) = request.item(item) {
            tracing::warn!(media.reason = reason, "A gateway's recording was cut off");
            self.requests.remove(&number);
            self.send(emitted(&HubMessage::Cancel { request: number }));
        }
    }
}

impl Upload {
    fn is(&self, camera: &str, quality: Quality) -> bool {
        &*self.camera == camera && self.quality == quality
    }
}

/// A message as bytes. What is too long to be a message, or names a camera that cannot be one, becomes an empty message, which
/// gateways skip; both are checked where they come from.
fn emitted(message: &HubMessage<'_>) -> Bytes {
    let mut buffer = vec![0; message.encoded_len()];
    match message.emit(&mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            buffer.into()
        }
        Err(error) => {
            tracing::error!(%error, "A message to a gateway cannot be written");
            Bytes::new()
        }
    }
}
