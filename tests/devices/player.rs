//! What is sent when: one stream of a session, by the wall clock.
//!
//! Access unit *g* since 1970 is due when its picture has been taken and encoded: `(g + delay) / frames per second`. So all
//! streams of one recipe show the same picture at the same time, wherever they were joined, and a picture's number tells its age.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clip::Clip;
use super::packet::Sender;

/// Video's RTP clock.
const RTP_HZ: i64 = 90_000;
/// Later than this, pictures are left out up to the next keyframe: a client that does not read must not be sent the past.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Between two sender reports.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// From 1900, where NTP begins, to 1970.
const NTP_OFFSET_S: i64 = 2_208_988_800;

/// A monotonic instant and what the wall clock said at it: so that the wall clock's steps do not disturb what is playing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) instant: Instant,
    pub(crate) utc_us: i64,
}

impl Origin {
    pub(crate) fn utc_us(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.instant);
        self.utc_us + i64::try_from(since.as_micros()).expect("not 292,000 years after the start")
    }

    fn instant(&self, utc_us: i64) -> Instant {
        self.instant + Duration::from_micros(u64::try_from(utc_us - self.utc_us).unwrap_or(0))
    }
}

/// One stream being sent.
#[derive(Debug)]
pub(crate) struct Player {
    clip: Arc<Clip>,
    sender: Sender,
    origin: Origin,
    phase: Duration,
    /// Where the random start of RTP times lies.
    rtp_start: u32,
    /// Number of the next access unit, counted from 1970.
    next: i64,
    report_due: Instant,
    packets_sent: u32,
    payload_bytes_sent: u32,
}

/// How a camera is wrong about time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Falsehood {
    /// By how much presentation times have jumped.
    pub(crate) jump_ms: i64,
    /// How far the wall clock of its reports is off.
    pub(crate) clock_off_ms: i64,
}

/// A picture that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Counted from 1970; the clock in it shows this modulo the file's length.
    pub(crate) picture: i64,
}

impl Player {
    /// Joins at the next access unit that is due, keyframe or not, as most cameras do.
    pub(crate) fn new(
        clip: Arc<Clip>,
        sender: Sender,
        rtp_start: u32,
        origin: Origin,
        phase: Duration,
        now: Instant,
    ) -> Self {
        let mut player = Self {
            clip,
            sender,
            origin,
            phase,
            rtp_start,
            next: 0,
            report_due: now,
            packets_sent: 0,
            payload_bytes_sent: 0,
        };
        player.next = player.unit_after(now);
        player
    }

    /// When something is to be sent next.
    pub(crate) fn due(&self) -> Instant {
        self.due_of(self.next)
    }

    /// RTP time of the next picture, as PLAY announces it.
    pub(crate) fn next_timestamp(&self, jump_ms: i64) -> u32 {
        self.timestamp(self.picture(self.next), jump_ms)
    }

    pub(crate) fn sender(&self) -> Sender {
        self.sender
    }

    /// Writes what is due. `wanted` is the file that should be playing: it takes over at its next keyframe.
    pub(crate) fn emit(
        &mut self,
        now: Instant,
        wanted: &Arc<Clip>,
        time: Falsehood,
        is_lost: impl FnMut() -> bool,
        to: &mut Vec<u8>,
    ) -> Option<Sent> {
        if now.saturating_duration_since(self.due()) > LATE_MAX {
            self.skip_to_key(now);
        }
        if now < self.due() {
            return None;
        }
        let place = self.place(self.next);
        if !Arc::ptr_eq(&self.clip, wanted) && wanted.units[place].is_key {
            self.clip = wanted.clone();
        }
        let picture = self.picture(self.next);
        let timestamp = self.timestamp(picture, time.jump_ms);
        if now >= self.report_due {
            self.report(now, time, to);
            self.report_due = now + REPORT_EVERY;
        }
        let (packets, bytes) = self.clip.units[place].packets.emit(to, &mut self.sender, timestamp, is_lost);
        self.packets_sent = self.packets_sent.wrapping_add(packets);
        self.payload_bytes_sent = self.payload_bytes_sent.wrapping_add(bytes);
        self.next += 1;
        Some(Sent { picture })
    }

    /// Lets what is due pass unsent.
    pub(crate) fn pass(&mut self, now: Instant) {
        self.next = self.unit_after(now);
    }

    fn skip_to_key(&mut self, now: Instant) {
        self.next = self.unit_after(now);
        while !self.clip.units[self.place(self.next)].is_key {
            self.next += 1;
        }
    }

    fn frames(&self) -> i64 {
        i64::from(self.clip.recipe.frames())
    }

    fn rate(&self) -> i64 {
        i64::from(self.clip.recipe.frames_per_s)
    }

    fn place(&self, unit: i64) -> usize {
        usize::try_from(unit.rem_euclid(self.frames())).expect("a remainder is not negative")
    }

    fn picture(&self, unit: i64) -> i64 {
        unit - unit.rem_euclid(self.frames()) + i64::from(self.clip.units[self.place(unit)].picture)
    }

    fn phase_us(&self) -> i64 {
        i64::try_from(self.phase.as_micros()).expect("a phase is less than a picture's time")
    }

    fn due_of(&self, unit: i64) -> Instant {
        let frames = unit + i64::from(self.clip.delay_frames);
        self.origin.instant(frames * 1_000_000 / self.rate() + self.phase_us())
    }

    fn unit_after(&self, now: Instant) -> i64 {
        let utc_us = self.origin.utc_us(now) - self.phase_us();
        utc_us * self.rate() / 1_000_000 + 1 - i64::from(self.clip.delay_frames)
    }

    fn timestamp(&self, picture: i64, jump_ms: i64) -> u32 {
        let ticks = picture * (RTP_HZ / self.rate()) + jump_ms * (RTP_HZ / 1000);
        self.rtp_start.wrapping_add(ticks as u32)
    }

    /// A sender report (RFC 3550 §6.4.1) for what the clock says now.
    fn report(&self, now: Instant, time: Falsehood, to: &mut Vec<u8>) {
        const WORDS_BESIDE_THE_FIRST: u16 = 6;
        let utc_us = self.origin.utc_us(now);
        let ticks = (utc_us - self.phase_us()) * (RTP_HZ / 1000) / 1000 + time.jump_ms * (RTP_HZ / 1000);
        let utc_us = utc_us + time.clock_off_ms * 1000;
        let ntp_seconds = (utc_us.div_euclid(1_000_000) + NTP_OFFSET_S) as u32;
        let ntp_fraction = ((utc_us.rem_euclid(1_000_000) << 32) / 1_000_000) as u32;
        to.extend([b'$', self.sender.channel + 1]);
        to.extend(((WORDS_BESIDE_THE_FIRST + 1) * 4).to_be_bytes());
        to.extend([0x80, 200]);
        to.extend(WORDS_BESIDE_THE_FIRST.to_be_bytes());
        let timestamp = self.rtp_start.wrapping_add(ticks as u32);
        for word in [self.sender.ssrc, ntp_seconds, ntp_fraction, timestamp, self.packets_sent, self.payload_bytes_sent]
        {
            to.extend(word.to_be_bytes());
        }
    }
}
