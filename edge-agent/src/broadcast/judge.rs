//! Whether a genuine order may be heard in this village now: within its hours, volume and length. Pure.
//!
//! The gate (`crate::order`) has found out whose order it is, that it is for this site, new, and in time. Here is what the
//! gateway adds of its own: it is the last judge, and a fault at the county must not sound a village at midnight. Each refusal
//! has a name, which the hub is told, and a sentence for people.

use std::fmt;

use tongluo_protocols::configuration::Configuration;
use tongluo_protocols::order::{Broadcast, Class, Order, Priority, ROOT};

use super::CHIME_MS;

/// Nothing is heard for longer than this, all times and pauses together, whatever an order allows.
const WHOLE_MS_MAX: u64 = 60 * 60 * 1_000;
/// The largest file: ten minutes of 16 bits at 22,050 a second, and some.
const CONTENT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// So often at most; loudspeakers take no more.
const TIMES_MAX: u8 = 20;
/// The longest silence in between; loudspeakers take no longer one.
const PAUSE_MS_MAX: u32 = 60_000;
/// How many digits a village's code has. A shorter one means more than one village.
const VILLAGE_DIGITS: usize = 12;
/// What every loudspeaker plays.
const MEDIA_TYPE: &str = "audio/wav";

/// Where and when an order is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench<'a> {
    /// What this gateway follows: where it stands, its loudspeakers, its night.
    pub(crate) configuration: &'a Configuration,
    /// The time if it is certain.
    pub(crate) utc_ms: Option<i64>,
    /// For which regions the issuer may order; `None`: for all.
    pub(crate) regions: Option<&'a [String]>,
    /// Whether a broadcast of this name was heard before, or refused no chance to be, or stopped.
    pub(crate) known: bool,
}

/// Why a genuine order is not to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody has confirmed what time it is.
    ClockUnconfirmed,
    /// A broadcast of this name was begun before, or stopped before it came.
    RepeatedBroadcast,
    /// It has no name.
    Unnamed,
    /// It does not say how loud and long it may be.
    Unbounded,
    /// Its class is not known here.
    UnknownClass(u8),
    /// Its priority is not one that its class has.
    PriorityNotOfClass,
    /// It is longer than it may be.
    TooLong {
        /// How long it is.
        whole_ms: u64,
        /// How long it may be.
        max_ms: u64,
    },
    /// It is louder than it may be.
    TooLoud {
        /// How loud it is.
        volume_percent: u8,
        /// How loud it may be.
        max: u8,
    },
    /// It sounds never, too often, or with too long a silence.
    BadTimes,
    /// It does not say what is to be heard.
    NoContent,
    /// What is to be heard is too large a file.
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
    /// Loudspeakers do not understand this form of sound.
    UnknownFormat,
    /// It was given for a region in which this village does not lie, or beyond its issuer's.
    WrongReach,
    /// It was given for more than one village, and one person alone stands behind it.
    SecondMissing,
    /// It is night, and it is no danger.
    Night,
    /// It names a loudspeaker that is not of this village.
    UnknownSpeaker(String),
    /// This village has no loudspeaker.
    NoSpeakers,
    /// Somebody stopped it before it was judged.
    Stopped,
}

impl Refusal {
    /// Its name in verdicts.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::ClockUnconfirmed => "clock_unconfirmed",
            Self::RepeatedBroadcast => "repeated_broadcast",
            Self::Unnamed => "unnamed",
            Self::Unbounded => "unbounded",
            Self::UnknownClass(_) => "unknown_class",
            Self::PriorityNotOfClass => "priority_not_of_class",
            Self::TooLong { .. } => "too_long",
            Self::TooLoud { .. } => "too_loud",
            Self::BadTimes => "bad_times",
            Self::NoContent => "no_content",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownFormat => "unknown_format",
            Self::WrongReach => "wrong_reach",
            Self::SecondMissing => "second_missing",
            Self::Night => "night",
            Self::UnknownSpeaker(_) => "unknown_speaker",
            Self::NoSpeakers => "no_speakers",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockUnconfirmed => f.write_str("nobody has confirmed what time it is here"),
            Self::RepeatedBroadcast => f.write_str("a broadcast of this name was begun or stopped before"),
            Self::Unnamed => f.write_str("it has no name"),
            Self::Unbounded => f.write_str("it does not say how loud and how long it may be"),
            Self::UnknownClass(number) => write!(f, "its class {number} is unknown to this gateway"),
            Self::PriorityNotOfClass => f.write_str("danger goes before everything, and nothing else does"),
            Self::TooLong { whole_ms, max_ms } => write!(f, "it lasts {whole_ms} ms and may last {max_ms}"),
            Self::TooLoud { volume_percent, max } => write!(f, "its volume is {volume_percent} % and may be {max}"),
            Self::BadTimes => write!(f, "it must be heard 1 to {TIMES_MAX} times, at most {PAUSE_MS_MAX} ms apart"),
            Self::NoContent => f.write_str("it does not say what is to be heard"),
            Self::TooLarge { bytes } => write!(f, "its file has {bytes} bytes and may have {CONTENT_BYTES_MAX}"),
            Self::UnknownFormat => write!(f, "its sound is not {MEDIA_TYPE}"),
            Self::WrongReach => f.write_str("it was given for another region, or beyond its issuer's"),
            Self::SecondMissing => f.write_str("beyond one village it takes a second person"),
            Self::Night => f.write_str("it is night here, and it is no danger"),
            Self::UnknownSpeaker(id) => write!(f, "this village has no loudspeaker {id:?}"),
            Self::NoSpeakers => f.write_str("this village has no loudspeaker"),
            Self::Stopped => f.write_str("it was stopped before it was judged"),
        }
    }
}

/// Judges a broadcast whose order the gate has admitted.
pub(crate) fn judge(order: &Order<'_>, broadcast: &Broadcast<'_>, bench: Bench<'_>) -> Result<(), Refusal> {
    let Some(now_ms) = bench.utc_ms else { return Err(Refusal::ClockUnconfirmed) };
    if broadcast.id.is_empty() {
        return Err(Refusal::Unnamed);
    }
    if bench.known {
        return Err(Refusal::RepeatedBroadcast);
    }
    let class = judge_sound(order, broadcast)?;
    judge_content(order, broadcast)?;
    judge_reach(order, broadcast, class, bench)?;
    if class != Class::Emergency && bench.configuration.night().is_at(now_ms) {
        return Err(Refusal::Night);
    }
    judge_speakers(broadcast, bench.configuration)
}

fn judge_sound(order: &Order<'_>, broadcast: &Broadcast<'_>) -> Result<Class, Refusal> {
    let Some(sound) = order.sound else { return Err(Refusal::Unbounded) };
    if let Class::Unknown(number) = sound.class {
        return Err(Refusal::UnknownClass(number));
    }
    let is_danger = sound.class == Class::Emergency;
    // Alarm voices are this gateway's own: nobody orders them.
    if (broadcast.priority == Priority::Emergency) != is_danger || broadcast.priority == Priority::AlarmVoice {
        return Err(Refusal::PriorityNotOfClass);
    }
    if broadcast.times == 0 || broadcast.times > TIMES_MAX || broadcast.pause_ms > PAUSE_MS_MAX {
        return Err(Refusal::BadTimes);
    }
    let chime_ms = if broadcast.chime { u64::from(CHIME_MS) } else { 0 };
    let (whole_ms, max_ms) = (broadcast.whole_ms() + chime_ms, u64::from(sound.longest_ms).min(WHOLE_MS_MAX));
    if whole_ms > max_ms {
        return Err(Refusal::TooLong { whole_ms, max_ms });
    }
    let (volume_percent, max) = (broadcast.volume_percent, sound.volume_percent_max.min(100));
    if volume_percent > max {
        return Err(Refusal::TooLoud { volume_percent, max });
    }
    Ok(sound.class)
}

fn judge_content(order: &Order<'_>, broadcast: &Broadcast<'_>) -> Result<(), Refusal> {
    if order.content.is_none() || broadcast.content_ms == 0 || broadcast.bytes == 0 {
        return Err(Refusal::NoContent);
    }
    if broadcast.bytes > CONTENT_BYTES_MAX {
        return Err(Refusal::TooLarge { bytes: broadcast.bytes });
    }
    if broadcast.media_type != MEDIA_TYPE {
        return Err(Refusal::UnknownFormat);
    }
    Ok(())
}

/// Whether it was given for this village, by whom may speak to so many, and by enough people.
fn judge_reach(order: &Order<'_>, broadcast: &Broadcast<'_>, class: Class, bench: Bench<'_>) -> Result<(), Refusal> {
    let (reach, here) = (broadcast.reach, bench.configuration.region_code.as_str());
    let is_here = !reach.is_empty() && here.starts_with(reach);
    let is_allowed = bench.regions.is_none_or(|regions| regions.iter().any(|code| reach.starts_with(code.as_str())));
    if !is_here || !is_allowed {
        return Err(Refusal::WrongReach);
    }
    let is_local = reach.len() >= VILLAGE_DIGITS;
    // Danger beyond one village is the county's to call.
    if class == Class::Emergency && order.issuer != ROOT && !is_local {
        return Err(Refusal::WrongReach);
    }
    if !is_local && broadcast.persons < 2 {
        return Err(Refusal::SecondMissing);
    }
    Ok(())
}

fn judge_speakers(broadcast: &Broadcast<'_>, configuration: &Configuration) -> Result<(), Refusal> {
    if configuration.speakers.is_empty() {
        return Err(Refusal::NoSpeakers);
    }
    match broadcast.speakers.iter().find(|id| configuration.speaker(id).is_none()) {
        Some(id) => Err(Refusal::UnknownSpeaker(id.to_owned())),
        None => Ok(()),
    }
}
