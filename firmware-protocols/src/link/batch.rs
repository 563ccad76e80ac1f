//! A batch: some entries of one stream, in order.
//!
//! `[1, lane, epoch, oldest, head, [entry…]]` in CBOR, where an entry is
//! `[sequence, boot id, wall clock ms, monotonic ms, kind, body]`. The envelope reads without the bodies: a body that is
//! garbage is still an entry, which is committed as it came. No bytes panic.

use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encoder, decode, encode};

use super::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, ENTRY_BODY_BYTES_MAX, LINK_VERSION};
use crate::Error;
use crate::cbor;
use crate::id::{BootId, Epoch, Lane, NUMBER_MAX, Sequence, StreamKey};

/// One entry of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView<'a> {
    /// Its number in the stream.
    pub sequence: Sequence,
    /// The run of the sender's program that wrote it.
    pub boot_id: BootId,
    /// The sender's wall clock when it wrote it, in UTC milliseconds. It may be off.
    pub wall_ms: i64,
    /// The sender's monotonic clock when it wrote it, in milliseconds of that run.
    pub mono_ms: u64,
    /// What the body is: see [`Event::parse`](crate::event::Event::parse).
    pub kind: u16,
    /// What it says, as CBOR that the envelope does not look into.
    pub body: &'a [u8],
}

impl<'a> EntryView<'a> {
    fn read(decoder: &mut Decoder<'a>) -> Result<Self, decode::Error> {
        cbor::array_of(decoder, 6)?;
        let at = decoder.position();
        let entry = Self {
            sequence: decoder.u64()?,
            boot_id: decoder.decode()?,
            wall_ms: decoder.i64()?,
            mono_ms: decoder.u64()?,
            kind: decoder.u16()?,
            body: decoder.bytes()?,
        };
        match entry.check() {
            Ok(()) => Ok(entry),
            Err(_) => Err(decode::Error::message("an entry beyond its limits").at(at)),
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.sequence == 0 || self.sequence > NUMBER_MAX {
            return Err(Error::Refused { what: "a sequence is 1 to 2^63 - 1", found: self.sequence });
        }
        if self.mono_ms > NUMBER_MAX {
            return Err(Error::Refused { what: "monotonic milliseconds have at most 63 bits", found: self.mono_ms });
        }
        if self.body.len() > ENTRY_BODY_BYTES_MAX {
            let found = self.body.len();
            return Err(Error::TooLarge { what: "the body of an entry", found, max: ENTRY_BODY_BYTES_MAX });
        }
        Ok(())
    }
}

impl<C> minicbor::Encode<C> for EntryView<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(6)?.u64(self.sequence)?.u64(self.boot_id.get())?.i64(self.wall_ms)?.u64(self.mono_ms)?;
        e.u16(self.kind)?.bytes(self.body)?.ok()
    }
}

/// What a batch says about its stream and about which part of it it carries: all that a
/// [`Receiver`](super::Receiver) needs to judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The lowest sequence that the sender still holds; `head + 1` if it holds none.
    pub oldest: Sequence,
    /// The highest sequence that the sender has ever written; 0 for none.
    pub head: Sequence,
    /// The sequence of the batch's first entry. Without meaning where `count` is 0.
    pub first: Sequence,
    /// How many entries the batch carries.
    pub count: usize,
}

/// A batch whose envelope was checked: its entries are of one stream, contiguous and ascending, and within the limits.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    key: StreamKey,
    extent: Extent,
    entries: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Checks the envelope of a batch, which must be all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let what = "batch";
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(Error::TooLarge { what: "a batch in bytes", found: bytes.len(), max: BATCH_BYTES_MAX });
        }
        let mut decoder = Decoder::new(bytes);
        cbor::expect_version(&mut decoder, what, 6, LINK_VERSION)?;
        let batch = Self::fields(&mut decoder).map_err(|error| Error::decoding(what, &error))?;
        cbor::expect_end(&decoder, what)?;
        for number in [batch.extent.oldest, batch.extent.head] {
            if number > NUMBER_MAX {
                return Err(Error::Refused { what: "oldest and head have at most 63 bits", found: number });
            }
        }
        Ok(batch)
    }

    fn fields(decoder: &mut Decoder<'a>) -> Result<Self, decode::Error> {
        let key = cbor::stream_key(decoder)?;
        let mut extent = Extent { oldest: decoder.u64()?, head: decoder.u64()?, first: 0, count: 0 };
        let at = decoder.position();
        extent.count = match decoder.array()?.map(usize::try_from) {
            Some(Ok(count)) if count <= BATCH_ENTRIES_MAX => count,
            _ => return Err(decode::Error::message("too many entries, or no count of them").at(at)),
        };
        let start = decoder.position();
        let mut expected = None;
        for _ in 0..extent.count {
            let at = decoder.position();
            let entry = EntryView::read(decoder)?;
            if entry.sequence != *expected.get_or_insert(entry.sequence) {
                return Err(decode::Error::message("entries that are not contiguous").at(at));
            }
            if extent.first == 0 {
                extent.first = entry.sequence;
            }
            expected = Some(entry.sequence + 1);
        }
        let entries = &decoder.input()[start..decoder.position()];
        Ok(Self { key, extent, entries })
    }

    /// The stream that the entries are of.
    pub fn key(&self) -> StreamKey {
        self.key
    }

    /// The stream's lane.
    pub fn lane(&self) -> Lane {
        self.key.lane
    }

    /// The stream's epoch.
    pub fn epoch(&self) -> Epoch {
        self.key.epoch
    }

    /// The lowest sequence that the sender still holds; `head + 1` if it holds none.
    pub fn oldest(&self) -> Sequence {
        self.extent.oldest
    }

    /// The highest sequence that the sender has ever written; 0 for none.
    pub fn head(&self) -> Sequence {
        self.extent.head
    }

    /// What the receiver judges.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// How many entries there are. None is legal: such a batch only announces `oldest` and `head`.
    pub fn len(&self) -> usize {
        self.extent.count
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.extent.count == 0
    }

    /// The entries in their order.
    pub fn entries(&self) -> Entries<'a> {
        Entries { decoder: Decoder::new(self.entries), remaining: self.extent.count }
    }
}

/// The entries of a [`BatchView`] in their order.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    decoder: Decoder<'a>,
    remaining: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = EntryView<'a>;

    fn next(&mut self) -> Option<EntryView<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        Some(EntryView::read(&mut self.decoder).expect("BatchView::parse has read every entry"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// Writes a batch into the caller's buffer, entry by entry, until it is full.
#[derive(Debug)]
pub struct BatchWriter<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// Where the header of the array of entries stands, which is written last.
    count_at: usize,
    count: usize,
    next: Option<Sequence>,
}

/// The header of the array of entries: always three bytes (`0x99` and 16 bits), as the count is known only at the end.
const COUNT_BYTES: usize = 3;

impl<'a> BatchWriter<'a> {
    /// The shortest buffer in which any batch can be begun: the envelope around no entry.
    pub const BUFFER_BYTES_MIN: usize = 1 + 1 + 1 + 9 + 9 + 9 + COUNT_BYTES;

    /// Begins a batch of the stream `key`. The batch is as long as `buffer` at most, and never longer than
    /// [`BATCH_BYTES_MAX`]; a buffer of [`BATCH_BYTES_MAX`] takes any entry.
    pub fn new(buffer: &'a mut [u8], key: StreamKey, oldest: Sequence, head: Sequence) -> Result<Self, Error> {
        let capacity = buffer.len().min(BATCH_BYTES_MAX);
        let buffer = &mut buffer[..capacity];
        if capacity < Self::BUFFER_BYTES_MIN {
            return Err(Error::Full { what: "a batch without entries", capacity });
        }
        let mut encoder = Encoder::new(Cursor::new(&mut *buffer));
        let header = (LINK_VERSION, key.lane.number(), key.epoch, oldest, head);
        encoder
            .array(6)
            .and_then(|e| e.encode(header.0)?.encode(header.1)?.encode(header.2)?.encode(header.3)?.encode(header.4))
            .expect("the buffer holds any envelope: checked above");
        let count_at = encoder.writer().position();
        Ok(Self { buffer, length: count_at + COUNT_BYTES, count_at, count: 0, next: None })
    }

    /// Adds an entry; `false` means that the batch is full and the entry is not in it.
    ///
    /// It is an error if the entry does not follow the one before, or is beyond the limits, so that it would never fit.
    pub fn push(&mut self, entry: &EntryView<'_>) -> Result<bool, Error> {
        entry.check()?;
        if self.next.is_some_and(|next| next != entry.sequence) {
            return Err(Error::Refused { what: "an entry follows the one before", found: entry.sequence });
        }
        if self.count == BATCH_ENTRIES_MAX {
            return Ok(false);
        }
        let Ok(length) = cbor::emit("entry", entry, &mut self.buffer[self.length..]) else {
            return Ok(false);
        };
        self.length += length;
        self.count += 1;
        self.next = Some(entry.sequence + 1);
        Ok(true)
    }

    /// The sequence of the last entry in the batch, if it has one.
    pub fn last(&self) -> Option<Sequence> {
        self.next.map(|next| next - 1)
    }

    /// Ends the batch and answers its bytes.
    pub fn finish(self) -> &'a [u8] {
        let count = u16::try_from(self.count).expect("a batch has at most 256 entries").to_be_bytes();
        self.buffer[self.count_at..self.count_at + COUNT_BYTES].copy_from_slice(&[0x99, count[0], count[1]]);
        &self.buffer[..self.length]
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
