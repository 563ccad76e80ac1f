//! One stream that comes up from a village: muxed once, kept from its last keyframe, shared by all who watch.
//!
//! Whoever begins to watch gets the track, the pictures since the last keyframe, and all that follow, in one step under one
//! lock, so that no picture is missing or doubled in between. Pictures are shared bytes; a viewer costs a socket and a place
//! in a queue. A viewer who is slower than the camera loses pictures up to the next keyframe, and slows nobody.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tongluo_protocols::media::mp4::{Sample, Sound, SoundSample, Track, fragment_with_sound, init_segment};
use tongluo_protocols::media::{FrameView, Quality};

use super::catch_up::CatchUp;
use super::sound::SoundLine;
use super::timeline::{Place, Timeline};

/// Signals that a viewer may fall behind: two and a half seconds at 25 pictures a second. At the bound it jumps to the
/// next keyframe.
const BEHIND_MAX: usize = 64;

/// The longest group of pictures that is kept for who begins to watch, in bytes: 16 s at 4 Mbit/s. Some cameras send
/// keyframes hardly ever; beyond the bound whoever comes waits for the next.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// … and in pictures: 20 s at 30 a second.
const GROUP_FRAMES_MAX: usize = 600;

/// What all groups of the hub may hold together. Beyond it new groups are not kept, and viewers wait for a keyframe.
const GROUPS_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What a decoder must know before the first picture.
#[derive(Debug, PartialEq, Eq)]
pub struct TrackHead {
    /// The codecs as RFC 6381 names them.
    pub codec: String,
    /// Whether there is sound beside the pictures.
    pub sounds: bool,
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
    /// `ftyp` and `moov`.
    pub init: Bytes,
}

/// One picture, muxed.
#[derive(Debug)]
pub struct Picture {
    /// `moof` and `mdat`.
    pub bytes: Bytes,
    /// Whether a decoder can begin with it.
    pub key: bool,
    /// When it is decoded.
    pub decode_90k: u64,
    /// How much later it is shown.
    pub composition_90k: i32,
    /// How long it claims to be.
    pub claim_90k: u32,
    /// How long pictures really are.
    pub frame_90k: u32,
    /// When the camera took it, in the gateway's UTC milliseconds.
    pub captured_ms: i64,
    /// When it came, in the hub's UTC milliseconds.
    pub hub_ms: i64,
}

/// Why nothing comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// A camera state, or `gateway_offline`, `line_lost`.
    pub state: Arc<str>,
    /// Words for a technician.
    pub detail: Arc<str>,
}

impl StreamState {
    pub(super) fn named(state: &str) -> Self {
        Self { state: state.into(), detail: "".into() }
    }

    /// As a gateway says it: the state, and the detail after a colon.
    pub(super) fn of_reason(reason: &str) -> Self {
        let (state, detail) = reason.split_once(':').unwrap_or((reason, ""));
        Self { state: state.trim().into(), detail: detail.trim().into() }
    }
}

/// What a viewer is told.
#[derive(Clone, Debug)]
pub enum Signal {
    /// What the pictures are from now on; a keyframe follows.
    Track(Arc<TrackHead>),
    /// The pictures since the last keyframe, joined; and the last of them.
    Group(Bytes, Arc<Picture>),
    /// The next picture.
    Picture(Arc<Picture>),
    /// Nothing comes at the moment, and why.
    State(StreamState),
    /// Nothing comes any more.
    Ended,
}

/// Counts over all uploads, for `/metrics` and the bounds.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) viewers: AtomicUsize,
    pub(super) viewer_jumps: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) group_bytes: AtomicUsize,
}

/// One stream of one camera.
#[derive(Debug)]
pub(super) struct Upload {
    /// The number under which the gateway sends it.
    pub(super) stream: u32,
    pub(super) camera: Arc<str>,
    pub(super) quality: Quality,
    viewers: AtomicUsize,
    shared: Mutex<Shared>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Shared {
    track: Option<Arc<TrackHead>>,
    /// What the next track sounds like.
    next_sound: Option<Sound>,
    sound: SoundLine,
    timeline: Timeline,
    sequence: u32,
    group: Vec<Arc<Picture>>,
    group_bytes: usize,
    /// Nothing is passed on before a keyframe of the present track.
    wants_key: bool,
    catch_up: CatchUp,
    state: Option<StreamState>,
    sender: broadcast::Sender<Signal>,
}

impl Upload {
    pub(super) fn new(stream: u32, camera: Arc<str>, quality: Quality, counters: Arc<Counters>) -> Arc<Self> {
        let shared = Shared {
            track: None,
            next_sound: None,
            sound: SoundLine::default(),
            timeline: Timeline::new(),
            sequence: 0,
            group: Vec::new(),
            group_bytes: 0,
            wants_key: true,
            catch_up: CatchUp::Begins,
            state: None,
            sender: broadcast::Sender::new(BEHIND_MAX),
        };
        Arc::new(Self { stream, camera, quality, viewers: AtomicUsize::new(0), shared: Mutex::new(shared), counters })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// The gateway says what the next track sounds like.
    pub(super) fn sound_track(&self, sound: Sound) {
        self.shared().next_sound = Some(sound);
    }

    /// A piece of sound, which belongs to the next picture.
    pub(super) fn sound(&self, decode_90k: u64, duration_90k: u32, data: &[u8]) {
        self.shared().sound.push(decode_90k, duration_90k, data);
    }

    /// The gateway says what the pictures are from now on. Parameters that are none stop the stream; a sound that is none is
    /// left out.
    pub(super) fn track(&self, mut track: Track) {
        track.sound = self.shared().next_sound.take();
        if track.sound.is_some() && init_segment(&track).is_err() {
            track.sound = None;
        }
        let track = &track;
        let head = match (init_segment(track), track.rfc6381()) {
            (Ok(init), Ok(codec)) => {
                let (width, height, sounds) = (track.width, track.height, track.sound.is_some());
                Arc::new(TrackHead { codec, sounds, width, height, init: init.into() })
            }
            (Err(error), _) | (_, Err(error)) => {
                let state = StreamState { state: "unsupported".into(), detail: error.to_string().into() };
                return self.say(state);
            }
        };
        let mut shared = self.shared();
        if shared.track.as_ref() == Some(&head) {
            return;
        }
        shared.forget_group(&self.counters);
        shared.wants_key = true;
        shared.track = Some(Arc::clone(&head));
        let _ = shared.sender.send(Signal::Track(head));
    }

    /// The next picture; `hub_ms` is UTC now.
    pub(super) fn frame(&self, frame: &FrameView<'_>, hub_ms: i64) {
        let mut shared = self.shared();
        if shared.track.is_none() || (shared.wants_key && !frame.key) {
            shared.sound.forget();
            return;
        }
        let Some(picture) = shared.mux(frame, hub_ms) else { return };
        self.counters.frames.fetch_add(1, Ordering::Relaxed);
        if std::mem::replace(&mut shared.wants_key, false) {
            shared.catch_up = CatchUp::Begins;
        }
        shared.state = None;
        let picture = Arc::new(picture);
        shared.keep(&picture, &self.counters);
        let was_behind = shared.catch_up.is_behind();
        if shared.catch_up.holds(picture.captured_ms, hub_ms) {
            return;
        }
        // A group that was too long to be kept is not passed on: viewers wait for the next keyframe.
        let signal = match was_behind && !shared.group.is_empty() {
            true => Signal::Group(joined(&shared.group), picture),
            false => Signal::Picture(picture),
        };
        let _ = shared.sender.send(signal);
    }

    /// Nothing comes at the moment, and why. What was under way cannot be continued.
    pub(super) fn say(&self, state: StreamState) {
        let mut shared = self.shared();
        if shared.state.as_ref() == Some(&state) {
            return;
        }
        shared.forget_group(&self.counters);
        shared.wants_key = true;
        shared.state = Some(state.clone());
        let _ = shared.sender.send(Signal::State(state));
    }

    /// Begins to watch: what there is, and what follows, in one step.
    pub(super) fn watch(self: &Arc<Self>) -> Subscription {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        self.counters.viewers.fetch_add(1, Ordering::Relaxed);
        let shared = self.shared();
        let mut first = VecDeque::new();
        first.extend(shared.track.clone().map(Signal::Track));
        // What is held comes in one piece, soon.
        let group = &shared.group[..if shared.catch_up.is_behind() { 0 } else { shared.group.len() }];
        first.extend(group.last().map(|last| Signal::Group(joined(group), Arc::clone(last))));
        first.extend(shared.state.clone().map(Signal::State));
        Subscription {
            first,
            wants_key: group.is_empty(),
            track: shared.track.clone(),
            receiver: shared.sender.subscribe(),
            upload: Arc::clone(self),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let counters = Arc::clone(&self.counters);
        self.shared().forget_group(&counters);
    }
}

impl Shared {
    fn mux(&mut self, frame: &FrameView<'_>, hub_ms: i64) -> Option<Picture> {
        let Place { decode_90k, claim_90k, frame_90k } = self.timeline.push(frame.decode_90k);
        self.sequence = self.sequence.wrapping_add(1);
        let sample = Sample {
            data: frame.data,
            duration_90k: claim_90k,
            composition_90k: frame.composition_90k,
            key: frame.key,
        };
        // An error would be a picture of more than 2 GiB: no message is that long.
        let (sound_90k, pieces) = self.sound.with_picture(frame.decode_90k, decode_90k);
        // A track without sound has no room for any.
        let has_sound = self.track.as_ref().is_some_and(|head| head.sounds);
        let sound: Vec<SoundSample<'_>> = pieces
            .iter()
            .filter(|_| has_sound)
            .map(|piece| SoundSample { data: &piece.data, duration_90k: piece.duration_90k })
            .collect();
        let bytes = fragment_with_sound(self.sequence, decode_90k, &[sample], sound_90k, &sound).ok()?.into();
        Some(Picture {
            bytes,
            key: frame.key,
            decode_90k,
            composition_90k: frame.composition_90k,
            claim_90k,
            frame_90k,
            captured_ms: frame.captured_ms,
            hub_ms,
        })
    }

    /// Keeps the picture for who comes next, within the bounds.
    fn keep(&mut self, picture: &Arc<Picture>, counters: &Counters) {
        if picture.key {
            self.forget_group(counters);
        } else if self.group.is_empty() {
            return;
        }
        let bytes = picture.bytes.len();
        let total = counters.group_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.group_bytes += bytes;
        self.group.push(Arc::clone(picture));
        if total > GROUPS_BYTES_MAX || self.group_bytes > GROUP_BYTES_MAX || self.group.len() > GROUP_FRAMES_MAX {
            tracing::debug!(
                group.bytes = self.group_bytes,
                group.frames = self.group.len(),
                "A live stream goes on too long without a keyframe to be kept; new viewers wait for the next"
            );
            self.forget_group(counters);
        }
    }

    fn forget_group(&mut self, counters: &Counters) {
        counters.group_bytes.fetch_sub(self.group_bytes, Ordering::Relaxed);
        self.group_bytes = 0;
        self.group.clear();
    }
}

fn joined(pictures: &[Arc<Picture>]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(pictures.iter().map(|picture| picture.bytes.len()).sum());
    for picture in pictures {
        bytes.extend_from_slice(&picture.bytes);
    }
    bytes.freeze()
}

/// One viewer's place. Dropping it ends the watching.
#[derive(Debug)]
pub struct Subscription {
    upload: Arc<Upload>,
    first: VecDeque<Signal>,
    receiver: broadcast::Receiver<Signal>,
    /// What the viewer was told last.
    track: Option<Arc<TrackHead>>,
    wants_key: bool,
}

impl Subscription {
    /// What comes next. After [`Signal::Ended`] nothing does.
    pub async fn next(&mut self) -> Signal {
        if let Some(signal) = self.first.pop_front() {
            return signal;
        }
        loop {
            match self.receiver.recv().await {
                Ok(Signal::Picture(picture)) => {
                    if self.wants_key && !picture.key {
                        continue;
                    }
                    self.wants_key = false;
                    return Signal::Picture(picture);
                }
                Ok(Signal::Track(track)) => {
                    self.wants_key = true;
                    self.track = Some(Arc::clone(&track));
                    return Signal::Track(track);
                }
                Ok(signal) => {
                    self.wants_key &= !matches!(signal, Signal::Group(..));
                    return signal;
                }
                Err(RecvError::Lagged(_)) => {
                    self.upload.counters.viewer_jumps.fetch_add(1, Ordering::Relaxed);
                    self.wants_key = true;
                    // The track may have been among what was missed.
                    let track = self.upload.shared().track.clone();
                    if track != self.track {
                        self.track.clone_from(&track);
                        if let Some(track) = track {
                            return Signal::Track(track);
                        }
                    }
                }
                Err(RecvError::Closed) => return Signal::Ended,
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.upload.viewers.fetch_sub(1, Ordering::Relaxed);
        self.upload.counters.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}
