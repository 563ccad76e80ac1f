//! The pipe between a gateway and its decoding helper: pictures in, a JPEG or a judgement out.
//!
//! A codec is a million lines of C that read what a camera sends, so it works in a process of its own, which may crash, hang or
//! grow without anybody noticing but this pipe. Each message is its length in four bytes (big endian) and its body. One request,
//! one answer, in turn.

use super::Codec;
use crate::Error;

/// The longest request: a group of pictures as large as one is ever kept.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The longest answer: a JPEG in the size of the largest camera.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Task, codec, width, bytes, length of the parameters.
const HEADER_BYTES: usize = 12;

/// What is to be made of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The last one as a JPEG.
    Jpeg {
        /// At most so many pixels wide; wider pictures are made smaller.
        width_max: u16,
        /// At most so many bytes; the quality is lowered until it fits.
        bytes_max: u32,
    },
    /// What the first one shows.
    Judge,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is to be done.
    pub task: Task,
    /// How the pictures are encoded.
    pub codec: Codec,
    /// The body of an `avcC` or `hvcC` box.
    pub parameters: &'a [u8],
    /// Pictures in decode order, each after its length in four bytes, the first a keyframe; a picture is NAL units, each after
    /// its length in four bytes.
    pub pictures: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// Bytes that end early, or a task or codec that is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let malformed = Error::Malformed { what: "a request to the decoder", at: bytes.len() };
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(malformed)?;
        let &[task, codec, w0, w1, b0, b1, b2, b3, p0, p1, p2, p3] = header;
        let task = match task {
            1 => {
                Task::Jpeg { width_max: u16::from_be_bytes([w0, w1]), bytes_max: u32::from_be_bytes([b0, b1, b2, b3]) }
            }
            2 => Task::Judge,
            task => return Err(Error::Refused { what: "a decoder's task is 1 or 2", found: task.into() }),
        };
        let codec = Codec::from_number(codec)?;
        let length = usize::try_from(u32::from_be_bytes([p0, p1, p2, p3])).unwrap_or(usize::MAX);
        let malformed = Error::Malformed { what: "a codec's parameters", at: rest.len() };
        let (parameters, pictures) = rest.split_at_checked(length).ok_or(malformed)?;
        Ok(Self { task, codec, parameters, pictures })
    }

    /// What stands before the parameters.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let (task, width_max, bytes_max) = match self.task {
            Task::Jpeg { width_max, bytes_max } => (1, width_max, bytes_max),
            Task::Judge => (2, 0, 0),
        };
        let [w0, w1] = width_max.to_be_bytes();
        let [b0, b1, b2, b3] = bytes_max.to_be_bytes();
        let [p0, p1, p2, p3] = u32::try_from(self.parameters.len()).unwrap_or(u32::MAX).to_be_bytes();
        [task, self.codec.number(), w0, w1, b0, b1, b2, b3, p0, p1, p2, p3]
    }
}

/// Blocks in which a picture's brightness is judged: 32 across, 18 down.
pub const BLOCKS: (usize, usize) = (32, 18);

/// How many blocks there are.
pub const BLOCK_COUNT: usize = BLOCKS.0 * BLOCKS.1;

/// Mean, spread and checksum, before the blocks.
const LOOKS_HEADER_BYTES: usize = 10;

/// The bytes of a picture's looks in an answer.
pub const LOOKS_BYTES: usize = LOOKS_HEADER_BYTES + BLOCK_COUNT;

/// What a picture shows, as far as a machine must know: whether it is black, and whether it is the same as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// The mean brightness, 0 to 255.
    pub mean: u8,
    /// The difference between the brightest and the darkest block, 0 to 255.
    pub spread: u8,
    /// A checksum over all brightness values: the same picture decoded again has the same.
    pub checksum: u64,
    /// The mean brightness of each block, row by row. How coarsely a picture is encoded moves none of them by more than one.
    pub blocks: [u8; BLOCK_COUNT],
}

/// One answer.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and this crate has no heap to put it on")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Why there is none, as a sentence.
    Failed(&'a str),
    /// A JPEG.
    Jpeg(&'a [u8]),
    /// What the picture shows.
    Looks(Looks),
}

impl<'a> Answer<'a> {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [0, reason @ ..] => Ok(Self::Failed(core::str::from_utf8(reason).unwrap_or("no reason in words"))),
            [1, jpeg @ ..] => Ok(Self::Jpeg(jpeg)),
            [2, mean, spread, rest @ ..] => {
                let malformed = Error::Malformed { what: "a picture's looks", at: bytes.len() };
                let (checksum, blocks) = rest.split_first_chunk::<8>().ok_or(malformed)?;
                let blocks = blocks.try_into().map_err(|_| malformed)?;
                let checksum = u64::from_be_bytes(*checksum);
                Ok(Self::Looks(Looks { mean: *mean, spread: *spread, checksum, blocks }))
            }
            [kind, ..] => Err(Error::Refused { what: "a decoder's answer is 0, 1 or 2", found: u64::from(*kind) }),
            [] => Err(Error::Malformed { what: "a decoder's answer", at: 0 }),
        }
    }

    /// The kind byte and what follows it. Looks are written into `buffer`.
    pub fn parts<'b>(&'b self, buffer: &'b mut [u8; LOOKS_BYTES]) -> (u8, &'b [u8]) {
        match self {
            Self::Failed(reason) => (0, reason.as_bytes()),
            Self::Jpeg(jpeg) => (1, jpeg),
            Self::Looks(looks) => {
                buffer[0] = looks.mean;
                buffer[1] = looks.spread;
                buffer[2..LOOKS_HEADER_BYTES].copy_from_slice(&looks.checksum.to_be_bytes());
                buffer[LOOKS_HEADER_BYTES..].copy_from_slice(&looks.blocks);
                (2, buffer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn requests_survive_the_pipe() {
        for task in [Task::Judge, Task::Jpeg { width_max: 1_280, bytes_max: 300_000 }] {
            let request = Request { task, codec: Codec::H265, parameters: b"hvcC", pictures: b"\0\0\0\x01x" };
            let mut bytes = Vec::from(request.header());
            bytes.extend_from_slice(request.parameters);
            bytes.extend_from_slice(request.pictures);
            assert_eq!(Request::parse(&bytes), Ok(request));
            for cut in 0..HEADER_BYTES + request.parameters.len() {
                assert!(Request::parse(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
        assert!(Request::parse(&[3; 40]).is_err());
        assert!(Request::parse(&[1; 40]).is_err(), "parameters that are longer than all");
    }

    #[test]
    fn answers_survive_the_pipe() {
        let looks = Looks { mean: 7, spread: 200, checksum: u64::MAX - 1, blocks: [9; BLOCK_COUNT] };
        for answer in [Answer::Failed("no picture"), Answer::Jpeg(b"\xff\xd8"), Answer::Looks(looks)] {
            let mut buffer = [0; LOOKS_BYTES];
            let (kind, rest) = answer.parts(&mut buffer);
            let mut bytes = Vec::from([kind]);
            bytes.extend_from_slice(rest);
            assert_eq!(Answer::parse(&bytes), Ok(answer));
        }
        for bad in [&b""[..], b"\x02", b"\x02\x00\x00123456789", b"\x03", b"\xff"] {
            assert!(Answer::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Answer::parse(b"\0\xff"), Ok(Answer::Failed("no reason in words")));
    }
}
