//! A short list inside an order: of a slice when it is written, of the order's own bytes when it was read.

use core::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// At most `MAX` values.
#[derive(Clone, Copy)]
pub struct List<'a, T, const MAX: usize>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Slice(&'a [T]),
    /// Checked elements of a CBOR array, and how many there are.
    Bytes(&'a [u8], usize),
}

impl<'a, T: Copy + Decode<'a, ()>, const MAX: usize> List<'a, T, MAX> {
    /// The list to be written. More than `MAX` values cannot be written; that is an error there.
    pub const fn new(values: &'a [T]) -> Self {
        Self(Source::Slice(values))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Slice(values) => values.len(),
            Source::Bytes(_, count) => count,
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values in their order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T, MAX> {
        let (values, mut decoder, count) = match self.0 {
            Source::Slice(values) => (values, Decoder::new(&[]), 0),
            Source::Bytes(bytes, count) => (&[][..], Decoder::new(bytes), count),
        };
        let read = (0..count).map(move |_| decoder.decode().expect("parsing has read every element"));
        values.iter().copied().chain(read)
    }
}

impl<'a, T: Copy + PartialEq + Decode<'a, ()>, const MAX: usize> PartialEq for List<'a, T, MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Copy + Eq + Decode<'a, ()>, const MAX: usize> Eq for List<'a, T, MAX> {}

impl<'a, T: Copy + fmt::Debug + Decode<'a, ()>, const MAX: usize> fmt::Debug for List<'a, T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, C, T: Copy + Encode<()> + Decode<'a, ()>, const MAX: usize> Encode<C> for List<'a, T, MAX> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        if self.len() > MAX {
            return Err(encode::Error::message("a list in an order has more values than it may"));
        }
        e.array(self.len() as u64)?;
        for value in self.iter() {
            e.encode(value)?;
        }
        Ok(())
    }
}

impl<'b, C, T: Decode<'b, ()>, const MAX: usize> Decode<'b, C> for List<'b, T, MAX> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let count = match d.array()?.map(usize::try_from) {
            Some(Ok(count)) if count <= MAX => count,
            _ => return Err(decode::Error::message("a list with too many values, or without their number").at(at)),
        };
        let start = d.position();
        for _ in 0..count {
            d.decode::<T>()?;
        }
        Ok(Self(Source::Bytes(&d.input()[start..d.position()], count)))
    }
}
