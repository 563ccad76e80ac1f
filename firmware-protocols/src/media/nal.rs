//! NAL units, as far as a relay looks at them: where they begin, and where a decoder can.

use super::Codec;

/// Whether a decoder can begin with this picture: its first slice is an IDR picture (H.264), or an IRAP picture, which
/// includes the clean and broken random access pictures of an open GOP (H.265, types 16 to 21).
///
/// `data` are NAL units, each after its length in four bytes. Bytes that are none answer `false`.
pub fn is_random_access(codec: Codec, data: &[u8]) -> bool {
    LengthPrefixed(data)
        .filter_map(|nal| nal.first().copied())
        .find_map(|first| match codec {
            // Types 1 to 5 are slices: ISO/IEC 14496-10, table 7-1.
            Codec::H264 => match first & 0x1f {
                5 => Some(true),
                1..=4 => Some(false),
                _ => None,
            },
            // Types below 32 are slices: ISO/IEC 23008-2, table 7-1.
            Codec::H265 => match first >> 1 & 0x3f {
                16..=21 => Some(true),
                0..=31 => Some(false),
                _ => None,
            },
        })
        .unwrap_or(false)
}

/// The NAL units in `data`, each after its length in four bytes. Ends at the first that is not whole.
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a>(pub &'a [u8]);

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (nal, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(nal)
    }
}
