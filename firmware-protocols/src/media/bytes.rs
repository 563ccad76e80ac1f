//! Reading and writing the fields of a message: big endian, in order, never beyond the end.

use core::str;

use super::{CAMERA_ID_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::Error;

/// Takes fields off the front of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// `what` names the message in errors.
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge { what, found: bytes.len(), max: MESSAGE_BYTES_MAX });
        }
        Ok(Self { what, bytes, at: 0 })
    }

    pub(super) fn named(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    pub(super) fn malformed(&self) -> Error {
        Error::Malformed { what: self.what, at: self.at }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count).ok_or_else(|| self.malformed())?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| self.malformed())?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take answers as many bytes as were asked for"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Error> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Error> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Text of so many bytes.
    pub(super) fn text(&mut self, count: usize) -> Result<&'a str, Error> {
        let start = *self;
        str::from_utf8(self.take(count)?).map_err(|_| start.malformed())
    }

    /// A length byte, and a camera's id.
    pub(super) fn camera(&mut self) -> Result<&'a str, Error> {
        let start = *self;
        let count = usize::from(self.u8()?);
        let camera = self.text(count)?;
        if is_camera_id(camera) { Ok(camera) } else { Err(start.malformed()) }
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// Text up to the end, at most so long.
    pub(super) fn rest_text(&mut self, max: usize) -> Result<&'a str, Error> {
        let found = self.bytes.len() - self.at;
        if found > max {
            return Err(Error::TooLarge { what: self.what, found, max });
        }
        self.text(found)
    }

    pub(super) fn end(self) -> Result<(), Error> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.malformed()) }
    }
}

/// Whether a text can be a camera's id: 1 to [`CAMERA_ID_BYTES_MAX`] visible ASCII characters.
pub(super) fn is_camera_id(text: &str) -> bool {
    (1..=CAMERA_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Puts fields into the caller's buffer, whose length was checked before.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Checks that a message of `length` bytes may be sent and fits.
    pub(super) fn new(what: &'static str, buffer: &'a mut [u8], length: usize) -> Result<Self, Error> {
        if length > MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge { what, found: length, max: MESSAGE_BYTES_MAX });
        }
        if buffer.len() < length {
            return Err(Error::Full { what, capacity: buffer.len() });
        }
        Ok(Self { buffer, length: 0 })
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn i64(&mut self, value: i64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// A length byte and a text that was checked to be at most 255 bytes long.
    pub(super) fn short_text(&mut self, text: &str) -> &mut Self {
        let length = u8::try_from(text.len()).expect("the text was checked to be short");
        self.u8(length).put(text.as_bytes())
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

/// Refuses what could not be read back.
pub(super) fn check_text(what: &'static str, text: &str, max: usize) -> Result<(), Error> {
    if text.len() > max { Err(Error::TooLarge { what, found: text.len(), max }) } else { Ok(()) }
}

/// Refuses an id that is none.
pub(super) fn check_camera(camera: &str) -> Result<(), Error> {
    if is_camera_id(camera) {
        Ok(())
    } else {
        Err(Error::Refused { what: "a camera's id has 1 to 64 visible ASCII characters", found: camera.len() as u64 })
    }
}
