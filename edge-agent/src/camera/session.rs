//! One RTSP session: from an address to pictures, or to the exact reason why there are none.
//!
//! Every step has a time limit, because cameras hang in each of them. The session rides on TCP (retina does not reorder UDP), and
//! takes the video track, and the sound where somebody decided so. What cameras are known to do wrong is tolerated: odd time stamps in the answer to PLAY, session
//! ids that change, RTCP from strangers. A picture after lost packets is dropped with all that follow until a decoder can begin
//! again. `retina` speaks the protocol; what is decided here is what an error means for the technician.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use retina::client::{
    Demuxed, Described, InitialTimestampPolicy, PlayOptions, SessionGroup, SessionIdPolicy, SessionOptions,
    SetupOptions, UnknownRtcpSsrcPolicy,
};
use retina::codec::{AudioFrame, CodecItem, FrameFormat, ParametersRef, VideoFrame, VideoParametersCodec};
use tongluo_protocols::media::mp4::Track;
use tongluo_protocols::media::{Codec, TIMESCALE, is_random_access};
use url::Url;

use super::machine::Failure;
use super::sound::{self, Format, Heard};
use crate::clock::Clock;

/// Each of DESCRIBE, SETUP and PLAY is answered within this time, or not at all. Over a village's network they take 5 to 50 ms;
/// a recorder that wakes a sleeping channel takes seconds.
const STEP_TIMEOUT_MS: u64 = 5_000;

/// A session in which no picture comes for so long is given up. Cameras that send fewer than one a second are not served.
const SILENCE_MS: u64 = 8_000;

/// A stream that starts, or lost packets, must bring a picture to begin with within this time. Long GOPs ("smart" codecs) have 10 s.
const KEY_WAIT_MS: u64 = 15_000;

/// How long a new session waits for the last one's TEARDOWN: a recorder counts it until then.
const TEARDOWN_TIMEOUT_MS: u64 = 2_000;

/// The longest picture that is taken: three times a 4K camera's keyframe, and less than a fragment or a message may have.
const PICTURE_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The longest detail of a failure, in bytes.
const DETAIL_BYTES_MAX: usize = 200;

/// NTP counts from 1900, UTC here from 1970.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;

/// A camera whose time is before 2010 has no clock (it counts from its start), rather than a wrong one.
const PLAUSIBLE_UTC_MS: i64 = 1_262_304_000_000;

/// Where a stream is, and with what one may ask for it.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Address {
    url: Url,
    credentials: Option<(String, String)>,
}

/// Why a text is no address of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the address of an RTSP stream, as in rtsp://192.168.1.64:554/Streaming/Channels/101")]
pub(crate) struct BadAddress;

impl Address {
    /// Reads an `rtsp://` URL. Credentials within it are taken out, unless others are given.
    pub(crate) fn parse(text: &str, credentials: Option<(String, String)>) -> Result<Self, BadAddress> {
        let mut url = Url::parse(text).map_err(|_| BadAddress)?;
        if url.scheme() != "rtsp" || url.host_str().is_none_or(str::is_empty) {
            return Err(BadAddress);
        }
        let within = (!url.username().is_empty())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        url.set_username("").map_err(|()| BadAddress)?;
        url.set_password(None).map_err(|()| BadAddress)?;
        Ok(Self { url, credentials: credentials.or(within) })
    }

    /// Host and port: what a recorder is known by.
    pub(super) fn host(&self) -> (String, u16) {
        (self.url.host_str().unwrap_or_default().to_owned(), self.url.port().unwrap_or(554))
    }

    /// Whether a password will be presented.
    pub(super) const fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// What is presented.
    pub(super) const fn credentials(&self) -> Option<&(String, String)> {
        self.credentials.as_ref()
    }
}

/// Credentials are never printed.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// Undoes percent-encoding, in which a URL holds a password's special characters.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(*byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Why there is no session, for the machine and for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) detail: String,
}

impl Trouble {
    fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }
}

/// One picture as the camera sent it.
pub(super) struct Picture {
    /// NAL units, each after its length in four bytes.
    pub(super) data: Bytes,
    /// Whether a decoder can begin with it.
    pub(super) key: bool,
    /// The camera's time stamp in ticks of 90 kHz.
    pub(super) stamp_90k: i64,
    /// What a decoder must know; the same `Arc` while it does not change.
    pub(super) track: Arc<Track>,
    /// What was heard since the picture before.
    pub(super) heard: Vec<Heard>,
    /// Pictures before it were lost on the way, or could not be decoded without one that was.
    pub(super) after_loss: bool,
}

/// What a session hears, if anything.
struct Ear {
    stream: usize,
    format: Format,
    /// What waits for the next picture; at [`sound::PIECES_MAX`] the oldest goes.
    heard: VecDeque<Heard>,
}

/// A session that plays.
pub(super) struct Session {
    demuxed: Demuxed,
    stream: usize,
    ear: Option<Ear>,
    /// Why nothing is heard though somebody wants to.
    deafness: Option<String>,
    track: Option<Arc<Track>>,
    /// Pictures are dropped until one to begin with.
    wants_key: bool,
    /// Pictures of this session were lost since the last one that was given.
    has_lost: bool,
    last_picture_ms: u64,
    wants_key_since_ms: u64,
    frames_per_s: Option<f32>,
    clock_off_ms: Option<i64>,
    clock: Clock,
}

impl Session {
    /// Connects, asks for the video track, and for the sound if it is wanted, and starts them.
    pub(super) async fn open(
        address: &Address,
        group: Arc<SessionGroup>,
        with_sound: bool,
        clock: Clock,
    ) -> Result<Self, Trouble> {
        // Whether the last session's end was heard does not matter; that it had its time does.
        tokio::select! {
            _ = group.await_teardown() => {}
            () = clock.until(Some(clock.mono_ms() + TEARDOWN_TIMEOUT_MS)) => {}
        }
        let described = retina::client::Session::describe(address.url.clone(), options(address, group));
        let mut session = step("DESCRIBE", described, clock).await?;
        let stream = video_stream(&session)?;
        let setup = SetupOptions::default().frame_format(FrameFormat::MP4);
        step("SETUP", session.setup(stream, setup), clock).await?;
        let (ear, deafness) = match with_sound {
            true => listen(&mut session, clock).await.map_or_else(|why| (None, Some(why)), |ear| (Some(ear), None)),
            false => (None, None),
        };
        let frames_per_s = session.streams()[stream].framerate();
        let play = PlayOptions::default()
            .initial_timestamp(InitialTimestampPolicy::Permissive)
            .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::DropPackets);
        let playing = step("PLAY", session.play(play), clock).await?;
        let demuxed = playing.demuxed().map_err(|error| Trouble::new(Failure::Unsupported, first_line(&error)))?;
        let now_ms = clock.mono_ms();
        Ok(Self {
            demuxed,
            stream,
            ear,
            deafness,
            track: None,
            wants_key: true,
            has_lost: false,
            last_picture_ms: now_ms,
            wants_key_since_ms: now_ms,
            frames_per_s,
            clock_off_ms: None,
            clock,
        })
    }

    /// The next picture that can be decoded. May be cancelled and called again.
    pub(super) async fn next(&mut self) -> Result<Picture, Trouble> {
        loop {
            let silent_at_ms = self.last_picture_ms + SILENCE_MS;
            let item = tokio::select! {
                biased;
                item = self.demuxed.next() => item,
                () = self.clock.until(Some(silent_at_ms)) => {
                    return Err(Trouble::new(Failure::NoFrames, format!("no picture for {} s", SILENCE_MS / 1_000)));
                }
            };
            match item {
                Some(Ok(CodecItem::VideoFrame(frame))) if frame.stream_id() == self.stream => {
                    if let Some(picture) = self.take(frame)? {
                        return Ok(picture);
                    }
                }
                Some(Ok(CodecItem::AudioFrame(piece))) => self.hear(&piece),
                Some(Ok(CodecItem::Rtcp(packet))) => self.read_clock(&packet),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Trouble::new(Failure::Lost, first_line(&error))),
                None => return Err(Trouble::new(Failure::Lost, "the camera closed the connection")),
            }
        }
    }

    /// How many frames a second the camera announces, if it does.
    pub(super) const fn frames_per_s(&self) -> Option<f32> {
        self.frames_per_s
    }

    /// What the sound is, if there is any.
    pub(super) fn sound(&self) -> Option<&Format> {
        self.ear.as_ref().map(|ear| &ear.format)
    }

    /// Why nothing is heard though somebody wants to: a sentence.
    pub(super) fn deafness(&self) -> Option<&str> {
        self.deafness.as_deref()
    }

    /// How far the camera's clock is ahead of ours, by its last sender report.
    pub(super) const fn clock_off_ms(&self) -> Option<i64> {
        self.clock_off_ms
    }

    fn take(&mut self, frame: VideoFrame) -> Result<Option<Picture>, Trouble> {
        let now_ms = self.clock.mono_ms();
        self.last_picture_ms = now_ms;
        if frame.has_new_parameters() || self.track.is_none() {
            self.learn_track()?;
        }
        let (lost, stamp) = (frame.loss() > 0, frame.timestamp());
        let data = Bytes::from(frame.into_data());
        // The parameters may come with a later picture; without them nothing can be decoded or written.
        let key = self.track.as_ref().is_some_and(|track| is_random_access(track.codec, &data));
        if lost && !self.wants_key {
            self.has_lost = true;
            self.wants_key = true;
            self.wants_key_since_ms = now_ms;
        }
        let fits = !data.is_empty() && data.len() <= PICTURE_BYTES_MAX;
        if self.wants_key && !(key && fits) {
            if now_ms >= self.wants_key_since_ms + KEY_WAIT_MS {
                let seconds = KEY_WAIT_MS / 1_000;
                return Err(Trouble::new(
                    Failure::NoFrames,
                    format!("no keyframe or no parameters within {seconds} s"),
                ));
            }
            return Ok(None);
        }
        if !fits {
            self.has_lost = true;
            self.wants_key = true;
            self.wants_key_since_ms = now_ms;
            return Ok(None);
        }
        self.wants_key = false;
        let track = self.track.clone().expect("a keyframe is only recognised with the track's codec");
        let stamp_90k = rescaled(stamp.elapsed(), stamp.clock_rate().get());
        let heard = self.ear.as_mut().map(|ear| Vec::from(std::mem::take(&mut ear.heard))).unwrap_or_default();
        let after_loss = std::mem::take(&mut self.has_lost);
        Ok(Some(Picture { data, key, stamp_90k, track, heard, after_loss }))
    }

    fn hear(&mut self, piece: &AudioFrame) {
        let arrived_ms = self.clock.mono_ms();
        let Some(ear) = self.ear.as_mut().filter(|ear| ear.stream == piece.stream_id()) else { return };
        if ear.heard.len() == sound::PIECES_MAX {
            ear.heard.pop_front();
        }
        let stamp = piece.timestamp();
        ear.heard.push_back(Heard {
            stamp_90k: rescaled(stamp.elapsed(), stamp.clock_rate().get()),
            arrived_ms,
            samples: piece.frame_length().get(),
            data: Bytes::copy_from_slice(piece.data()),
        });
    }

    fn learn_track(&mut self) -> Result<(), Trouble> {
        let Some(ParametersRef::Video(parameters)) = self.demuxed.streams()[self.stream].parameters() else {
            return Ok(());
        };
        let codec = match parameters.codec_params() {
            VideoParametersCodec::H264 { .. } => Codec::H264,
            VideoParametersCodec::H265 { .. } => Codec::H265,
            _ => return Err(Trouble::new(Failure::Unsupported, "the codec is neither H.264 nor H.265")),
        };
        let (width, height) = parameters.pixel_dimensions();
        let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height)) else {
            return Err(Trouble::new(Failure::Unsupported, format!("pictures of {width} × {height}")));
        };
        let sound = self.ear.as_ref().map(|ear| ear.format.sound.clone());
        let track = Track { codec, parameters: parameters.extra_data().to_vec(), width, height, sound };
        if self.track.as_deref() != Some(&track) {
            self.track = Some(Arc::new(track));
            // What comes before the next keyframe refers to pictures of another shape.
            self.wants_key = true;
            self.wants_key_since_ms = self.clock.mono_ms();
        }
        Ok(())
    }

    fn read_clock(&mut self, packet: &retina::rtcp::ReceivedCompoundPacket) {
        let now_utc_ms = self.clock.utc_ms();
        if now_utc_ms < PLAUSIBLE_UTC_MS {
            return;
        }
        for report in packet.pkts() {
            let Ok(Some(report)) = report.as_sender_report() else { continue };
            let theirs_ms = unix_ms(report.ntp_timestamp().0);
            self.clock_off_ms = (theirs_ms >= PLAUSIBLE_UTC_MS).then_some(theirs_ms - now_utc_ms);
        }
    }
}

fn options(address: &Address, group: Arc<SessionGroup>) -> SessionOptions {
    let credentials = address.credentials.clone();
    let credentials = credentials.map(|(username, password)| retina::client::Credentials { username, password });
    SessionOptions::default()
        .creds(credentials)
        .session_group(group)
        .session_id(SessionIdPolicy::UseFirst)
        .user_agent("tongluo-edge".to_owned())
}

/// The first video track that we take.
fn video_stream(session: &retina::client::Session<Described>) -> Result<usize, Trouble> {
    let videos = || session.streams().iter().enumerate().filter(|(_, stream)| stream.media() == "video");
    let taken = videos().find(|(_, stream)| matches!(stream.encoding_name(), "h264" | "h265"));
    if let Some((index, _)) = taken {
        return Ok(index);
    }
    let codecs: Vec<_> = videos().map(|(_, stream)| stream.encoding_name()).collect();
    let detail = if codecs.is_empty() {
        "the stream has no video".to_owned()
    } else {
        format!("the codec is {}; set the camera to H.264 or H.265", codecs.join(", "))
    };
    Err(Trouble::new(Failure::Unsupported, clip(&detail)))
}

/// Sets up the sound; or says why there is none, which costs nothing else.
async fn listen(session: &mut retina::client::Session<Described>, clock: Clock) -> Result<Ear, String> {
    let (stream, format) = sound::choose(session)?;
    let setup = SetupOptions::default().frame_format(FrameFormat::MP4);
    match step("SETUP", session.setup(stream, setup), clock).await {
        Ok(()) => Ok(Ear { stream, format, heard: VecDeque::new() }),
        Err(trouble) => Err(clip(&format!("no sound: {}", trouble.detail))),
    }
}

/// One request with its time limit.
async fn step<T>(
    name: &str,
    request: impl Future<Output = Result<T, retina::Error>>,
    clock: Clock,
) -> Result<T, Trouble> {
    tokio::select! {
        biased;
        answer = request => answer.map_err(|error| meaning(name, &error)),
        () = clock.until(Some(clock.mono_ms() + STEP_TIMEOUT_MS)) => {
            let seconds = STEP_TIMEOUT_MS / 1_000;
            Err(Trouble::new(Failure::Unreachable, format!("no answer to {name} within {seconds} s")))
        }
    }
}

/// What an error in answer to a request means.
fn meaning(step: &str, error: &retina::Error) -> Trouble {
    let status = error.status_code();
    let failure = match status {
        Some(401 | 403 | 407) => Failure::Refused,
        Some(404 | 410 | 454) => Failure::NoSuchStream,
        Some(453 | 503) => Failure::Full,
        // An answer that cannot be understood, a transport or a medium that is not there.
        Some(200..300 | 400 | 406 | 415 | 461) => Failure::Unsupported,
        Some(_) if step == "PLAY" => Failure::NoFrames,
        Some(_) | None => Failure::Unreachable,
    };
    let detail = match (failure, status) {
        (Failure::Refused, Some(403)) => "the user may not see this stream".to_owned(),
        (Failure::Refused, _) => "the user name or the password is wrong, or one is wanted".to_owned(),
        (Failure::NoSuchStream, Some(status)) => format!("the recorder has no such channel or path ({status})"),
        (Failure::Full, Some(status)) => format!("the recorder has no session left ({status})"),
        (_, Some(status)) if status >= 300 => format!("{step} was answered with {status}"),
        _ => first_line(error),
    };
    Trouble::new(failure, detail)
}

/// The sentence of an error, without the addresses and positions that follow it.
fn first_line(error: &retina::Error) -> String {
    clip(error.to_string().lines().next().unwrap_or_default())
}

fn clip(text: &str) -> String {
    text[..text.floor_char_boundary(DETAIL_BYTES_MAX)].to_owned()
}

/// Ticks of any rate in ticks of 90 kHz. H.264 and H.265 have that rate already.
fn rescaled(ticks: i64, rate_hz: u32) -> i64 {
    if rate_hz == TIMESCALE {
        return ticks;
    }
    let scaled = i128::from(ticks) * i128::from(TIMESCALE) / i128::from(rate_hz);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

/// UTC milliseconds of an NTP time stamp: 32 bits of seconds since 1900, 32 bits of fraction (RFC 3550 section 4).
fn unix_ms(ntp: u64) -> i64 {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
    (seconds.cast_signed() - NTP_TO_UNIX_S) * 1_000 + ((fraction * 1_000) >> 32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_credentials_and_never_print_them() {
        let address = Address::parse("rtsp://admin:p%40ss:w%zz@10.0.0.9/Streaming/Channels/101?a=b", None).unwrap();
        assert_eq!(address.credentials(), Some(&("admin".to_owned(), "p@ss:w%zz".to_owned())));
        assert_eq!(address.host(), ("10.0.0.9".to_owned(), 554));
        let printed = format!("{address:?}");
        assert!(printed.contains("rtsp://10.0.0.9/Streaming/Channels/101?a=b"), "{printed}");
        assert!(!printed.contains("p@ss") && !printed.contains("p%40ss"), "{printed}");
        let given = Some(("viewer".to_owned(), "other".to_owned()));
        let address = Address::parse("rtsp://admin:secret@[fe80::1]:8554/x", given.clone()).unwrap();
        assert_eq!(address.credentials(), given.as_ref());
        assert_eq!(address.host().1, 8554);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "rtsp://", "http://10.0.0.9/", "10.0.0.9/x", "rtsp:///x", "rtsps://10.0.0.9/x", "rtsp://a b/"]
        {
            assert_eq!(Address::parse(text, None), Err(BadAddress), "{text:?}");
        }
    }

    #[test]
    fn ntp_becomes_utc() {
        assert_eq!(unix_ms(0x83aa_7e80_0000_0000), 0);
        assert_eq!(unix_ms(0x83aa_7e81_8000_0000), 1_500);
        assert_eq!(unix_ms(0), -2_208_988_800_000);
    }

    #[test]
    fn other_clock_rates_are_rescaled() {
        assert_eq!(rescaled(7, 90_000), 7);
        assert_eq!(rescaled(1_000, 1_000), 90_000);
        assert_eq!(rescaled(i64::MAX, 1), i64::MAX);
    }
}
