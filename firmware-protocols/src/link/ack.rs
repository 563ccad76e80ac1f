//! The acknowledgement of a stream: up to where its entries are committed at the receiver.
//!
//! `[1, lane, epoch, committed, gap]` in CBOR. No bytes panic.

use minicbor::{Decoder, Encoder, decode, encode};

use super::LINK_VERSION;
use crate::Error;
use crate::cbor;
use crate::id::{NUMBER_MAX, Sequence, StreamKey};

/// The longest an ack can get, in bytes.
const ACK_BYTES_MAX: usize = 1 + 1 + 1 + 9 + 9 + 1;

/// "Of this stream I have committed everything up to here." Cumulative: an older one that arrives late changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The stream.
    pub key: StreamKey,
    /// The last entry committed (or recorded as lost); 0 for none.
    pub committed: Sequence,
    /// Whether the receiver lacks entries that the sender believes to be sent: it must go back to `committed + 1`.
    pub gap: bool,
}

impl Ack {
    /// The longest an ack can get, in bytes: a buffer of this length always holds one.
    pub const BYTES_MAX: usize = ACK_BYTES_MAX;

    /// Reads an ack, which must be all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let what = "ack";
        let mut decoder = Decoder::new(bytes);
        cbor::expect_version(&mut decoder, what, 5, LINK_VERSION)?;
        let ack = Self::fields(&mut decoder).map_err(|error| Error::decoding(what, &error))?;
        cbor::expect_end(&decoder, what)?;
        if ack.committed > NUMBER_MAX {
            return Err(Error::Refused { what: "an acked sequence has at most 63 bits", found: ack.committed });
        }
        Ok(ack)
    }

    /// Writes the ack into `buffer` and answers how many bytes it took.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        cbor::emit("ack", self, buffer)
    }

    fn fields(decoder: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        Ok(Self { key: cbor::stream_key(decoder)?, committed: decoder.u64()?, gap: decoder.bool()? })
    }
}

impl<C> minicbor::Encode<C> for Ack {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(5)?.u64(LINK_VERSION)?.u8(self.key.lane.number())?.u64(self.key.epoch.get())?;
        e.u64(self.committed)?.bool(self.gap)?.ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Epoch, Lane};

    const ACK: Ack =
        Ack { key: StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(0x1a2b) }, committed: 300, gap: true };
    const BYTES: [u8; 10] = [0x85, 0x01, 0x00, 0x19, 0x1a, 0x2b, 0x19, 0x01, 0x2c, 0xf5];

    #[test]
    fn known_bytes() {
        let mut buffer = [0; Ack::BYTES_MAX];
        let length = ACK.emit(&mut buffer).unwrap();
        assert_eq!(buffer[..length], BYTES);
        assert_eq!(Ack::parse(&BYTES), Ok(ACK));
    }

    #[test]
    fn what_is_not_an_ack_is_refused() {
        let with = |at: usize, byte: u8| {
            let mut bytes = BYTES;
            bytes[at] = byte;
            Ack::parse(&bytes)
        };
        assert_eq!(with(1, 2), Err(Error::Version { what: "ack", found: 2 }));
        assert!(matches!(with(0, 0x84), Err(Error::Malformed { .. })));
        assert!(matches!(with(2, 2), Err(Error::Malformed { .. })), "an unknown lane");
        assert!(matches!(with(9, 1), Err(Error::Malformed { .. })), "a gap that is no boolean");
        assert!(Ack::parse(&BYTES[..9]).is_err());
        assert!(Ack::parse(&[&BYTES[..], &[0]].concat()).is_err(), "trailing bytes");
    }

    #[test]
    fn the_longest_fits_its_bound_and_one_byte_less_is_an_error() {
        let key = StreamKey { lane: Lane::Routine, epoch: Epoch::from_random(u64::MAX) };
        let longest = Ack { key, committed: NUMBER_MAX, gap: false };
        assert_eq!(longest.emit(&mut [0; Ack::BYTES_MAX]), Ok(Ack::BYTES_MAX));
        assert_eq!(
            longest.emit(&mut [0; Ack::BYTES_MAX - 1]),
            Err(Error::Full { what: "ack", capacity: Ack::BYTES_MAX - 1 })
        );
    }

    proptest! {
        #[test]
        fn round_trip(urgent: bool, epoch: u64, committed in 0..=NUMBER_MAX, gap: bool) {
            let lane = if urgent { Lane::Urgent } else { Lane::Routine };
            let ack = Ack { key: StreamKey { lane, epoch: Epoch::from_random(epoch) }, committed, gap };
            let mut buffer = [0; Ack::BYTES_MAX];
            let length = ack.emit(&mut buffer).unwrap();
            prop_assert_eq!(Ack::parse(&buffer[..length]), Ok(ack));
        }

        #[test]
        fn no_bytes_panic(bytes: std::vec::Vec<u8>) {
            let _ = Ack::parse(&bytes);
        }
    }
}
