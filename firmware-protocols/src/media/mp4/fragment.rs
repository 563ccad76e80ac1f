//! Fragments: some pictures, and where they stand in time, in one piece that can be appended, shared and moved.

use core::ops::Range;
use std::vec;
use std::vec::Vec;

use mp4_atom::{Encode as _, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::sound::shorten;
use super::{Mp4Error, SOUND_TRACK_ID, Sample, SoundSample, TRACK_ID};

/// The header of a box: length and name.
const HEADER_BYTES: usize = 8;

/// What stands before the entries of a `trun` of ours: version and flags, count, data offset.
const TRUN_HEADER_BYTES: usize = 12;

/// Duration and size of a piece of sound.
const SOUND_ENTRY_BYTES: usize = 8;

/// `moof` and `mdat` with these samples, the first of which is decoded at `decode_90k`.
///
/// Offsets count from the `moof` itself, so a fragment stands by itself wherever it is put.
///
/// # Errors
/// More than 2 GiB of samples.
pub fn fragment(sequence: u32, decode_90k: u64, samples: &[Sample<'_>]) -> Result<Vec<u8>, Mp4Error> {
    fragment_with_sound(sequence, decode_90k, samples, 0, &[])
}

/// A [`fragment`] with what sounded meanwhile, which begins at `sound_90k`; pieces of sound follow each other without a hole.
/// Where it would begin before zero its first pieces are shortened.
///
/// # Errors
/// More than 2 GiB of samples.
pub fn fragment_with_sound(
    sequence: u32,
    decode_90k: u64,
    samples: &[Sample<'_>],
    sound_90k: i64,
    sound: &[SoundSample<'_>],
) -> Result<Vec<u8>, Mp4Error> {
    let picture_bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let data_bytes = picture_bytes + sound.iter().map(|piece| piece.data.len()).sum::<usize>();
    let mdat_bytes = u32::try_from(data_bytes + HEADER_BYTES).map_err(|_| Mp4Error::TooLarge)?;
    let mut bytes = Vec::with_capacity(160 + 16 * samples.len() + 8 * sound.len() + data_bytes);
    // The offsets to the data have a fixed width, so the header's length is known once it was written with any offset.
    let mut moof = Moof { mfhd: Mfhd { sequence_number: sequence }, traf: vec![pictures(decode_90k, samples)] };
    if !sound.is_empty() {
        moof.traf.push(sounds(sound_90k, sound));
    }
    moof.encode(&mut bytes).map_err(Mp4Error::Box)?;
    let mut offset = i32::try_from(bytes.len() + HEADER_BYTES).map_err(|_| Mp4Error::TooLarge)?;
    for traf in &mut moof.traf {
        traf.trun[0].data_offset = Some(offset);
        offset =
            i32::try_from(picture_bytes).ok().and_then(|bytes| offset.checked_add(bytes)).ok_or(Mp4Error::TooLarge)?;
    }
    bytes.clear();
    moof.encode(&mut bytes).map_err(Mp4Error::Box)?;
    bytes.extend_from_slice(&mdat_bytes.to_be_bytes());
    bytes.extend_from_slice(b"mdat");
    for data in samples.iter().map(|sample| sample.data).chain(sound.iter().map(|piece| piece.data)) {
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

fn pictures(decode_90k: u64, samples: &[Sample<'_>]) -> Traf {
    let entry = |sample: &Sample<'_>| TrunEntry {
        duration: Some(sample.duration_90k),
        size: Some(u32::try_from(sample.data.len()).unwrap_or(u32::MAX)),
        flags: Some(sample.flags()),
        cts: Some(sample.composition_90k.into()),
    };
    traf(TRACK_ID, decode_90k, samples.iter().map(entry).collect())
}

/// Its entries are a duration and a size each, eight bytes, as [`retime`] finds them.
fn sounds(sound_90k: i64, sound: &[SoundSample<'_>]) -> Traf {
    let mut durations: Vec<u32> = sound.iter().map(|piece| piece.duration_90k).collect();
    shorten(durations.iter_mut(), sound_90k.min(0).unsigned_abs());
    let entry = |(piece, duration): (&SoundSample<'_>, u32)| TrunEntry {
        duration: Some(duration),
        size: Some(u32::try_from(piece.data.len()).unwrap_or(u32::MAX)),
        flags: None,
        cts: None,
    };
    traf(SOUND_TRACK_ID, sound_90k.max(0).unsigned_abs(), sound.iter().zip(durations).map(entry).collect())
}

fn traf(track_id: u32, decode_90k: u64, entries: Vec<TrunEntry>) -> Traf {
    Traf {
        tfhd: Tfhd { track_id, default_base_is_moof: true, ..Tfhd::default() },
        tfdt: Some(Tfdt { base_media_decode_time: decode_90k }),
        trun: vec![Trun { data_offset: Some(0), samples: entries.into() }],
        ..Traf::default()
    }
}

/// Moves one of our own fragments in time: its first picture is decoded at `decode_90k` from now on, and its sound keeps its
/// distance from the pictures. Sound that would begin before zero is shortened at its beginning.
///
/// # Errors
/// Bytes that do not begin with a `moof` of the form that [`fragment`] writes; they are left as they were.
pub fn retime(fragment: &mut [u8], decode_90k: u64) -> Result<(), Mp4Error> {
    let moof = find(fragment, 0, b"moof")?;
    let pictures = find(fragment, moof.start, b"traf")?;
    let at = decode_time_at(fragment, pictures.start)?;
    // What stands behind the pictures' track within the moof, if anything does, is the sound's.
    if let Some(within) = fragment.get(..moof.end)
        && let Ok(sound) = find(within, pictures.end, b"traf")
    {
        let sound_at = decode_time_at(fragment, sound.start)?;
        let trun = find(within, sound.start, b"trun")?;
        let entries = trun.start + TRUN_HEADER_BYTES;
        if entries > trun.end || trun.end > moof.end {
            return Err(Mp4Error::Foreign("a trun that ends early"));
        }
        let moved =
            i128::from(read_time(fragment, sound_at)) + i128::from(decode_90k) - i128::from(read_time(fragment, at));
        write_time(fragment, sound_at, u64::try_from(moved.max(0)).unwrap_or(u64::MAX));
        shorten_entries(&mut fragment[entries..trun.end], u64::try_from(-moved.min(0)).unwrap_or(u64::MAX));
    }
    write_time(fragment, at, decode_90k);
    Ok(())
}

/// [`shorten`]s the pieces of sound in a `trun` of ours.
fn shorten_entries(entries: &mut [u8], early_90k: u64) {
    if early_90k == 0 {
        return;
    }
    let (entries, _) = entries.as_chunks_mut::<SOUND_ENTRY_BYTES>();
    let duration = |entry: &[u8; SOUND_ENTRY_BYTES]| u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
    let mut durations: Vec<u32> = entries.iter().map(duration).collect();
    shorten(durations.iter_mut(), early_90k);
    for (entry, duration) in entries.iter_mut().zip(durations) {
        entry[..4].copy_from_slice(&duration.to_be_bytes());
    }
}

fn read_time(fragment: &[u8], at: usize) -> u64 {
    let bytes = fragment[at..at + 8].try_into().expect("eight bytes were asked for");
    u64::from_be_bytes(bytes)
}

fn write_time(fragment: &mut [u8], at: usize, decode_90k: u64) {
    fragment[at..at + 8].copy_from_slice(&decode_90k.to_be_bytes());
}

/// Where the 64-bit decode time of a track of ours stands.
fn decode_time_at(fragment: &[u8], traf: usize) -> Result<usize, Mp4Error> {
    let tfdt = find(fragment, traf, b"tfdt")?.start;
    let body = fragment.get(tfdt..tfdt + 12).ok_or(Mp4Error::Foreign("a tfdt that ends early"))?;
    if body[0] == 1 { Ok(tfdt + 4) } else { Err(Mp4Error::Foreign("a tfdt of 32 bits")) }
}

/// Where the body of the first box with this name lies, among those that begin at `at`; it may claim to end beyond the bytes.
fn find(bytes: &[u8], mut at: usize, name: &[u8; 4]) -> Result<Range<usize>, Mp4Error> {
    loop {
        let header = at.checked_add(HEADER_BYTES).and_then(|end| bytes.get(at..end));
        let header = header.ok_or(Mp4Error::Foreign("a fragment without moof, traf and tfdt"))?;
        let (length, found) = header.split_first_chunk::<4>().expect("a header has eight bytes");
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Mp4Error::TooLarge)?;
        if length < HEADER_BYTES {
            return Err(Mp4Error::Foreign("a box shorter than its header"));
        }
        let end = at.checked_add(length).ok_or(Mp4Error::TooLarge)?;
        if found == name {
            return Ok(at + HEADER_BYTES..end);
        }
        at = end;
    }
}
