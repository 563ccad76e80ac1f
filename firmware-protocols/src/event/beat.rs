//! The heartbeat: how a gateway is, right now. It is published at QoS 0 and never journalled: the next one replaces it.

use core::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{TEXT_BYTES_MAX, clip};
use crate::Error;
use crate::cbor;
use crate::id::{BootId, NUMBER_MAX, Sequence, StreamKey};
use crate::link::STREAMS_MAX;
use crate::order::Nonce;

/// How a gateway is, right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Beat<'a> {
    /// This run of the gateway's program.
    #[n(1)]
    pub boot_id: BootId,
    /// How long the program has been running.
    #[n(2)]
    pub uptime_ms: u64,
    /// The gateway's wall clock, in UTC milliseconds.
    #[n(3)]
    pub wall_ms: i64,
    /// The version of the program.
    #[b(4)]
    pub version: &'a str,
    /// The streams that the gateway holds, so that a hub which fell behind asks for them.
    #[b(5)]
    pub streams: Streams<'a>,
    /// How many streams it holds: more than are listed where [`STREAMS_MAX`] did not suffice.
    #[n(6)]
    pub streams_held: u32,
    /// How full the journal is.
    #[n(7)]
    pub journal: JournalGauges,
    /// Whether the gateway is connected to the village's broker.
    #[n(8)]
    pub lan_connected: bool,
    /// How many devices it knows.
    #[n(9)]
    pub devices_count: u32,
    /// The gateway asks what time it is; the hub orders the answer, with this number in it.
    #[n(10)]
    pub clock_nonce: Option<Nonce>,
}

/// How full the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JournalGauges {
    /// Urgent entries that the hub has not acked.
    #[n(1)]
    pub urgent_pending: u64,
    /// Routine entries that the hub has not acked.
    #[n(2)]
    pub routine_pending: u64,
    /// What the journal takes on disk.
    #[n(3)]
    pub bytes: u64,
    /// What it may take.
    #[n(4)]
    pub bytes_max: u64,
}

/// What a sender holds of one stream. On the wire `[lane, epoch, oldest, head]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The stream.
    pub key: StreamKey,
    /// The lowest sequence that the sender still holds; `head + 1` if it holds none.
    pub oldest: Sequence,
    /// The highest sequence that the sender has ever written; 0 for none.
    pub head: Sequence,
}

impl StreamState {
    fn read(decoder: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        cbor::array_of(decoder, 4)?;
        let at = decoder.position();
        let state = Self { key: cbor::stream_key(decoder)?, oldest: decoder.u64()?, head: decoder.u64()? };
        if state.oldest > NUMBER_MAX || state.head > NUMBER_MAX {
            return Err(decode::Error::message("oldest and head have at most 63 bits").at(at));
        }
        Ok(state)
    }
}

impl<C> Encode<C> for StreamState {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?.u8(self.key.lane.number())?.u64(self.key.epoch.get())?.u64(self.oldest)?.u64(self.head)?.ok()
    }
}

/// The streams in a beat: those of a slice when it is written, those of the bytes when it was read.
#[derive(Clone, Copy)]
pub struct Streams<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Slice(&'a [StreamState]),
    /// Checked elements of a CBOR array, and how many there are.
    Bytes(&'a [u8], usize),
}

impl<'a> Streams<'a> {
    /// The streams to be written, the newest [`STREAMS_MAX`] of them if there are more: the slice is in order of opening.
    pub fn new(states: &'a [StreamState]) -> Self {
        Self(Source::Slice(&states[states.len().saturating_sub(STREAMS_MAX)..]))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Slice(states) => states.len(),
            Source::Bytes(_, count) => count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The streams in their order.
    pub fn iter(&self) -> impl Iterator<Item = StreamState> + use<'a> {
        let (states, mut decoder, count) = match self.0 {
            Source::Slice(states) => (states, Decoder::new(&[]), 0),
            Source::Bytes(bytes, count) => (&[][..], Decoder::new(bytes), count),
        };
        let read = (0..count).map(move |_| StreamState::read(&mut decoder).expect("parsing has read every stream"));
        states.iter().copied().chain(read)
    }
}

impl PartialEq for Streams<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Streams<'_> {}

impl fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<C> Encode<C> for Streams<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.len() as u64)?;
        for state in self.iter() {
            e.encode(state)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Streams<'b> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let count = match d.array()?.map(usize::try_from) {
            Some(Ok(count)) if count <= STREAMS_MAX => count,
            _ => return Err(decode::Error::message("too many streams, or no count of them").at(at)),
        };
        let start = d.position();
        for _ in 0..count {
            StreamState::read(d)?;
        }
        Ok(Self(Source::Bytes(&d.input()[start..d.position()], count)))
    }
}

impl<'a> Beat<'a> {
    /// The longest a beat can get, in bytes: a buffer of this length always holds one.
    pub const BYTES_MAX: usize = 512 + STREAMS_MAX * (1 + 1 + 9 + 9 + 9);

    /// Reads a beat, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(Error::TooLarge { what: "a beat in bytes", found: bytes.len(), max: Self::BYTES_MAX });
        }
        cbor::parse("beat", bytes)
    }

    /// Writes the beat into `buffer`, its text clipped, and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("beat", &Beat { version: clip(self.version, TEXT_BYTES_MAX), ..*self }, buffer)
    }
}
