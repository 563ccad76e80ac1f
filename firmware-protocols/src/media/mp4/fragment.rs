//! Fragments: some pictures, and where they stand in time, in one piece that can be appended, shared and moved.

use std::vec;
use std::vec::Vec;

use mp4_atom::{Encode as _, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::{Mp4Error, Sample, TRACK_ID};

/// The header of a box: length and name.
const HEADER_BYTES: usize = 8;

/// `moof` and `mdat` with these samples, the first of which is decoded at `decode_90k`.
///
/// Offsets count from the `moof` itself, so a fragment stands by itself wherever it is put.
///
/// # Errors
/// More than 2 GiB of samples.
pub fn fragment(sequence: u32, decode_90k: u64, samples: &[Sample<'_>]) -> Result<Vec<u8>, Mp4Error> {
    let data_bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let mdat_bytes = u32::try_from(data_bytes + HEADER_BYTES).map_err(|_| Mp4Error::TooLarge)?;
    let mut bytes = Vec::with_capacity(128 + 16 * samples.len() + data_bytes);
    // The offset to the data has a fixed width, so the header's length is known once it was written with any offset.
    moof(sequence, decode_90k, samples, 0).encode(&mut bytes).map_err(Mp4Error::Box)?;
    let offset = i32::try_from(bytes.len() + HEADER_BYTES).map_err(|_| Mp4Error::TooLarge)?;
    bytes.clear();
    moof(sequence, decode_90k, samples, offset).encode(&mut bytes).map_err(Mp4Error::Box)?;
    bytes.extend_from_slice(&mdat_bytes.to_be_bytes());
    bytes.extend_from_slice(b"mdat");
    for sample in samples {
        bytes.extend_from_slice(sample.data);
    }
    Ok(bytes)
}

fn moof(sequence: u32, decode_90k: u64, samples: &[Sample<'_>], data_offset: i32) -> Moof {
    let entries: Vec<TrunEntry> = samples
        .iter()
        .map(|sample| TrunEntry {
            duration: Some(sample.duration_90k),
            size: Some(u32::try_from(sample.data.len()).unwrap_or(u32::MAX)),
            flags: Some(sample.flags()),
            cts: Some(sample.composition_90k.into()),
        })
        .collect();
    Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd { track_id: TRACK_ID, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time: decode_90k }),
            trun: vec![Trun { data_offset: Some(data_offset), samples: entries.into() }],
            ..Traf::default()
        }],
    }
}

/// Moves one of our own fragments in time: its first sample is decoded at `decode_90k` from now on.
///
/// # Errors
/// Bytes that do not begin with a `moof` of the form that [`fragment`] writes; they are left as they were.
pub fn retime(fragment: &mut [u8], decode_90k: u64) -> Result<(), Mp4Error> {
    let at = decode_time_at(fragment)?;
    fragment[at..at + 8].copy_from_slice(&decode_90k.to_be_bytes());
    Ok(())
}

/// Where the 64-bit decode time of a fragment of ours stands.
fn decode_time_at(fragment: &[u8]) -> Result<usize, Mp4Error> {
    let moof = find(fragment, 0, b"moof")?;
    let traf = find(fragment, moof, b"traf")?;
    let tfdt = find(fragment, traf, b"tfdt")?;
    let body = fragment.get(tfdt..tfdt + 12).ok_or(Mp4Error::Foreign("a tfdt that ends early"))?;
    if body[0] == 1 { Ok(tfdt + 4) } else { Err(Mp4Error::Foreign("a tfdt of 32 bits")) }
}

/// Where the body of the first box with this name begins, among those that begin at `at`.
fn find(bytes: &[u8], mut at: usize, name: &[u8; 4]) -> Result<usize, Mp4Error> {
    loop {
        let header = at.checked_add(HEADER_BYTES).and_then(|end| bytes.get(at..end));
        let header = header.ok_or(Mp4Error::Foreign("a fragment without moof, traf and tfdt"))?;
        let (length, found) = header.split_first_chunk::<4>().expect("a header has eight bytes");
        if found == name {
            return Ok(at + HEADER_BYTES);
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Mp4Error::TooLarge)?;
        if length < HEADER_BYTES {
            return Err(Mp4Error::Foreign("a box shorter than its header"));
        }
        at = at.checked_add(length).ok_or(Mp4Error::TooLarge)?;
    }
}
