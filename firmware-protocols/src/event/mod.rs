//! What a gateway tells the hub: the bodies of the entries that it journals upwards, and the heartbeat that it does not
//! journal.
//!
//! Each body is a CBOR map with small integer keys, one file per event. A key that is not known is passed over, so that an
//! event can grow; a kind that is not known is kept as [`Event::Unknown`], so that an old hub stores what a new gateway says.
//! Text is clipped where it is written ([`clip`]): an event always fits an entry.
//!
//! `Lost` is no event: a receiver records it when a stream's `oldest` has passed its watermark.

mod beat;
mod camera_report;
mod evidence;
mod fault;
mod play_report;
mod press;
mod speaker_report;
mod started;
mod supervision;
mod thinned;
mod unknown_alarm;
mod verdict;
mod word;

pub use beat::{Beat, JournalGauges, StreamState, Streams};
pub use camera_report::{CAMERA_ID_BYTES_MAX, CameraReport, CameraState, StreamFacts};
pub use evidence::{Evidence, EvidenceKind, EvidenceState};
pub use fault::{Fault, code};
pub use play_report::{PlayReport, PlayState};
pub use press::{Family, Press, Trigger};
pub use speaker_report::{SpeakerReport, SpeakerState};
pub use started::Started;
pub use supervision::Supervision;
pub use thinned::Thinned;
pub use unknown_alarm::{PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, UnknownAlarm};
pub use verdict::Verdict;
use word::word;

use crate::Error;

/// The longest text in an event, in bytes: names, sources, reasons and details are sentences, not documents. Longer text is
/// clipped where it is written, never refused.
pub const TEXT_BYTES_MAX: usize = 256;

/// The front of `text` that has at most `bytes_max` bytes and ends between two characters.
pub fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The body of an entry, read by its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// Kind 1: somebody pressed a button.
    Press(Press<'a>),
    /// Kind 2: something that may be an alarm and cannot be read.
    UnknownAlarm(UnknownAlarm<'a>),
    /// Kind 3: a device proved that it is alive.
    Supervision(Supervision<'a>),
    /// Kind 4: something is broken, or is whole again.
    Fault(Fault<'a>),
    /// Kind 5: the gateway's program started.
    Started(Started<'a>),
    /// Kind 6: the journal was full and dropped routine entries.
    Thinned(Thinned),
    /// Kind 7: how a camera is.
    CameraReport(CameraReport<'a>),
    /// Kind 8: what a camera saw of a press.
    Evidence(Evidence<'a>),
    /// Kind 9: how far a loudspeaker has come with a broadcast.
    PlayReport(PlayReport<'a>),
    /// Kind 10: what became of an order.
    Verdict(Verdict<'a>),
    /// Kind 11: how a loudspeaker is.
    SpeakerReport(SpeakerReport<'a>),
    /// A kind that this code does not know, kept as it came.
    Unknown {
        /// The entry's kind.
        kind: u16,
        /// The entry's body.
        body: &'a [u8],
    },
}

impl<'a> Event<'a> {
    /// Reads the body of an entry of this kind.
    pub fn parse(kind: u16, body: &'a [u8]) -> Result<Self, Error> {
        Ok(match kind {
            Press::KIND => Self::Press(Press::parse(body)?),
            UnknownAlarm::KIND => Self::UnknownAlarm(UnknownAlarm::parse(body)?),
            Supervision::KIND => Self::Supervision(Supervision::parse(body)?),
            Fault::KIND => Self::Fault(Fault::parse(body)?),
            Started::KIND => Self::Started(Started::parse(body)?),
            Thinned::KIND => Self::Thinned(Thinned::parse(body)?),
            CameraReport::KIND => Self::CameraReport(CameraReport::parse(body)?),
            Evidence::KIND => Self::Evidence(Evidence::parse(body)?),
            PlayReport::KIND => Self::PlayReport(PlayReport::parse(body)?),
            Verdict::KIND => Self::Verdict(Verdict::parse(body)?),
            SpeakerReport::KIND => Self::SpeakerReport(SpeakerReport::parse(body)?),
            kind => Self::Unknown { kind, body },
        })
    }

    /// The kind that an entry with this body has.
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Press(_) => Press::KIND,
            Self::UnknownAlarm(_) => UnknownAlarm::KIND,
            Self::Supervision(_) => Supervision::KIND,
            Self::Fault(_) => Fault::KIND,
            Self::Started(_) => Started::KIND,
            Self::Thinned(_) => Thinned::KIND,
            Self::CameraReport(_) => CameraReport::KIND,
            Self::Evidence(_) => Evidence::KIND,
            Self::PlayReport(_) => PlayReport::KIND,
            Self::Verdict(_) => Verdict::KIND,
            Self::SpeakerReport(_) => SpeakerReport::KIND,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Writes the body into `buffer` and answers how many bytes it took. A buffer of
    /// [`ENTRY_BODY_BYTES_MAX`](crate::link::ENTRY_BODY_BYTES_MAX) bytes takes any event.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self {
            Self::Press(press) => press.emit(buffer),
            Self::UnknownAlarm(alarm) => alarm.emit(buffer),
            Self::Supervision(supervision) => supervision.emit(buffer),
            Self::Fault(fault) => fault.emit(buffer),
            Self::Started(started) => started.emit(buffer),
            Self::Thinned(thinned) => thinned.emit(buffer),
            Self::CameraReport(report) => report.emit(buffer),
            Self::Evidence(evidence) => evidence.emit(buffer),
            Self::PlayReport(report) => report.emit(buffer),
            Self::Verdict(verdict) => verdict.emit(buffer),
            Self::SpeakerReport(report) => report.emit(buffer),
            Self::Unknown { body, .. } => {
                let capacity = buffer.len();
                let room = buffer.get_mut(..body.len()).ok_or(Error::Full { what: "an unknown event", capacity })?;
                room.copy_from_slice(body);
                Ok(body.len())
            }
        }
    }
}

#[cfg(test)]
mod tests;
