//! Content: files that travel between gateway and hub on their own, named by the SHA-256 of their bytes.
//!
//! Clips and snapshots go up, notices and configurations come down, over HTTPS (`/content/{hash}`), each resumable at any
//! byte. What an entry or an order says of a file is its hash; whoever receives the file checks that it is the one.

use core::fmt;

/// The most bytes of one content: five minutes of 4 Mbit/s are 150 MB, and a longer export is made of several files.
pub const CONTENT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Header of an upload: at which byte the body begins; in an answer: how many bytes the hub holds.
pub const UPLOAD_OFFSET: &str = "upload-offset";

/// SHA-256 of a content's bytes: its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The name of what has this SHA-256.
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// Reads 64 lower-case hexadecimal digits; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut sha256 = [0; 32];
        for (byte, pair) in sha256.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
        }
        Some(Self(sha256))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a content is. Nothing else is taken, so that nothing else can be served to a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// A snapshot.
    Jpeg,
    /// A clip, an export.
    Mp4,
    /// Speech or a notice, Opus in Ogg.
    Ogg,
    /// Speech or a notice, uncompressed.
    Wav,
    /// A document between hub and gateway.
    Cbor,
}

impl MediaType {
    const ALL: [Self; 5] = [Self::Jpeg, Self::Mp4, Self::Ogg, Self::Wav, Self::Cbor];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Mp4 => "video/mp4",
            Self::Ogg => "audio/ogg",
            Self::Wav => "audio/wav",
            Self::Cbor => "application/cbor",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|media_type| media_type.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn a_hash_reads_as_it_was_written() {
        let hash = ContentHash::new(core::array::from_fn(|index| (index * 9) as u8));
        let text = hash.to_string();
        assert!(text.starts_with("0009121b") && text.len() == 64, "{text}");
        assert_eq!(ContentHash::parse(&text), Some(hash));
        assert_eq!(format!("{hash:?}"), text);
    }

    #[test]
    fn what_is_no_hash_is_none() {
        let good = "ab".repeat(32);
        assert!(ContentHash::parse(&good).is_some());
        let (short, long, upper) = (&good[2..], format!("{good}ab"), good.to_uppercase());
        let (wide, path) = ("é".repeat(32), format!("../{}", &good[3..]));
        for wrong in ["", short, &long, &upper, &wide, &path] {
            assert_eq!(ContentHash::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn media_types_go_both_ways_and_others_are_none() {
        for media_type in MediaType::ALL {
            assert_eq!(MediaType::from_name(media_type.name()), Some(media_type));
        }
        for wrong in ["", "text/html", "image/svg+xml", "video/mp4; codecs=avc1", "Video/MP4"] {
            assert_eq!(MediaType::from_name(wrong), None, "{wrong}");
        }
    }
}
