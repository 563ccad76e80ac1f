//! What every CBOR message of this crate does alike: opening, closing, writing into a buffer, clipping text.

use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encode, decode};

use crate::Error;
use crate::id::StreamKey;

/// Opens an array of exactly `length` elements whose first is `version`.
pub(crate) fn expect_version(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    length: u64,
    version: u64,
) -> Result<(), Error> {
    let found_length = decoder.array().map_err(|error| Error::decoding(what, &error))?;
    let found = decoder.u64().map_err(|error| Error::decoding(what, &error))?;
    // The version is looked at first: another version may well have another length.
    if found != version {
        return Err(Error::Version { what, found });
    }
    if found_length != Some(length) {
        return Err(Error::Malformed { what, at: 0 });
    }
    Ok(())
}

/// Makes sure that nothing follows what was read.
pub(crate) fn expect_end(decoder: &Decoder<'_>, what: &'static str) -> Result<(), Error> {
    if decoder.position() != decoder.input().len() {
        return Err(Error::Malformed { what, at: decoder.position() });
    }
    Ok(())
}

/// Opens an array that says its length, which must be `length`.
pub(crate) fn array_of(decoder: &mut Decoder<'_>, length: u64) -> Result<(), decode::Error> {
    let at = decoder.position();
    match decoder.array()? {
        Some(found) if found == length => Ok(()),
        _ => Err(decode::Error::message("an array of another length").at(at)),
    }
}

/// Reads the two elements that name a stream.
pub(crate) fn stream_key(decoder: &mut Decoder<'_>) -> Result<StreamKey, decode::Error> {
    Ok(StreamKey { lane: decoder.decode()?, epoch: decoder.decode()? })
}

/// Reads one value that must be all of `bytes`.
pub(crate) fn parse<'b, T: minicbor::Decode<'b, ()>>(what: &'static str, bytes: &'b [u8]) -> Result<T, Error> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode().map_err(|error| Error::decoding(what, &error))?;
    expect_end(&decoder, what)?;
    Ok(value)
}

/// Writes `value` to the front of `buffer` and answers how many bytes it took.
pub(crate) fn emit(what: &'static str, value: &impl Encode<()>, buffer: &mut [u8]) -> Result<usize, Error> {
    let capacity = buffer.len();
    let mut cursor = Cursor::new(buffer);
    minicbor::encode(value, &mut cursor).map_err(|_| Error::Full { what, capacity })?;
    Ok(cursor.position())
}
