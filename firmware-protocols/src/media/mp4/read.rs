//! Reading what was written here: our own init segments and fragments, from a file that may end anywhere.

use std::vec::Vec;

use mp4_atom::{Atom as _, Codec as SampleEntry, Decode as _, Header, Moof, Moov};

use super::super::Codec;
use super::{FLAG_NOT_SYNC, Mp4Error, Track};

/// The track of an init segment, and how many bytes the segment has.
///
/// # Errors
/// Bytes that are no whole init segment with one H.264 or H.265 track.
pub fn read_init(bytes: &[u8]) -> Result<(Track, usize), Mp4Error> {
    let mut rest = bytes;
    while let Some((header, body, after)) = next_box(rest)? {
        rest = after;
        if header != *b"moov" {
            continue;
        }
        let moov = Moov::decode_body(&mut &body[..]).map_err(Mp4Error::Box)?;
        let entry = moov.trak.first().and_then(|trak| trak.mdia.minf.stbl.stsd.codecs.first());
        let track = entry.ok_or(Mp4Error::Foreign("no track"))?;
        return Ok((track_of(track)?, bytes.len() - rest.len()));
    }
    Err(Mp4Error::Foreign("no whole moov"))
}

fn track_of(entry: &SampleEntry) -> Result<Track, Mp4Error> {
    let mut parameters = Vec::new();
    let (codec, visual) = match entry {
        SampleEntry::Avc1(avc1) => {
            avc1.avcc.encode_body(&mut parameters).map_err(Mp4Error::Box)?;
            (Codec::H264, &avc1.visual)
        }
        SampleEntry::Hvc1(hvc1) => {
            hvc1.hvcc.encode_body(&mut parameters).map_err(Mp4Error::Box)?;
            (Codec::H265, &hvc1.visual)
        }
        _ => return Err(Mp4Error::Foreign("a track that is neither avc1 nor hvc1")),
    };
    Ok(Track { codec, parameters, width: visual.width, height: visual.height })
}

/// The whole fragments at the front of `bytes`. One that is cut short ends them, as after a loss of power.
pub fn fragments(bytes: &[u8]) -> Fragments<'_> {
    Fragments { all: bytes, at: 0 }
}

/// See [`fragments`].
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Fragments<'a> {
    /// How many bytes the fragments that were answered have, with what lies between them: where a whole file ends.
    pub fn position(&self) -> usize {
        self.at
    }

    fn read(&mut self) -> Result<Option<Fragment<'a>>, Mp4Error> {
        loop {
            let start = self.at;
            let Some((name, body, after)) = next_box(&self.all[start..])? else { return Ok(None) };
            if name != *b"moof" {
                self.at = self.all.len() - after.len();
                continue;
            }
            let Some((name, _, end)) = next_box(after)? else { return Ok(None) };
            if name != *b"mdat" {
                return Err(Mp4Error::Foreign("a moof without its mdat"));
            }
            let moof = Moof::decode_body(&mut &body[..]).map_err(Mp4Error::Box)?;
            let bytes = &self.all[start..self.all.len() - end.len()];
            let fragment = Fragment::new(bytes, &moof)?;
            self.at = start + bytes.len();
            return Ok(Some(fragment));
        }
    }
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<Fragment<'a>, Mp4Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if let Some(Err(_)) = item {
            // Nothing behind a damaged box can be trusted.
            self.all = &self.all[..self.at];
        }
        item
    }
}

/// One fragment of ours.
#[derive(Clone, Debug)]
pub struct Fragment<'a> {
    /// `moof` and `mdat`, whole.
    pub bytes: &'a [u8],
    /// When its first sample is decoded.
    pub decode_90k: u64,
    /// The sum of its samples' durations.
    pub duration_90k: u64,
    samples: Vec<(usize, usize, u32, i32, bool)>,
}

impl<'a> Fragment<'a> {
    fn new(bytes: &'a [u8], moof: &Moof) -> Result<Self, Mp4Error> {
        let [traf] = &moof.traf[..] else { return Err(Mp4Error::Foreign("not one track in a fragment")) };
        let [trun] = &traf.trun[..] else { return Err(Mp4Error::Foreign("not one run in a fragment")) };
        let decode_90k = traf.tfdt.as_ref().ok_or(Mp4Error::Foreign("no tfdt"))?.base_media_decode_time;
        let offset = trun.data_offset.and_then(|offset| usize::try_from(offset).ok());
        let mut at = offset.ok_or(Mp4Error::Foreign("no data offset"))?;
        let mut samples = Vec::new();
        let mut duration_90k = 0u64;
        if trun.samples.len() > bytes.len() {
            return Err(Mp4Error::Foreign("more samples than bytes"));
        }
        for entry in trun.samples.iter() {
            let (Some(duration), Some(size), Some(flags)) = (entry.duration, entry.size, entry.flags) else {
                return Err(Mp4Error::Foreign("a sample without duration, size or flags"));
            };
            let end = at.checked_add(size as usize).filter(|&end| end <= bytes.len());
            let end = end.ok_or(Mp4Error::Foreign("a sample that ends beyond its fragment"))?;
            let composition = i32::try_from(entry.cts.unwrap_or(0)).map_err(|_| Mp4Error::TooLarge)?;
            samples.push((at, end, duration, composition, flags & FLAG_NOT_SYNC == 0));
            duration_90k += u64::from(duration);
            at = end;
        }
        Ok(Self { bytes, decode_90k, duration_90k, samples })
    }

    /// Its samples, in decode order.
    pub fn samples(&self) -> Samples<'_> {
        Samples { fragment: self, next: 0, decode_90k: self.decode_90k }
    }
}

/// A sample, and when it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSample<'a> {
    /// When it is decoded.
    pub decode_90k: u64,
    /// The sample.
    pub sample: super::Sample<'a>,
}

/// The samples of a [`Fragment`].
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    fragment: &'a Fragment<'a>,
    next: usize,
    decode_90k: u64,
}

impl<'a> Iterator for Samples<'a> {
    type Item = ReadSample<'a>;

    fn next(&mut self) -> Option<ReadSample<'a>> {
        let &(start, end, duration_90k, composition_90k, key) = self.fragment.samples.get(self.next)?;
        self.next += 1;
        let decode_90k = self.decode_90k;
        self.decode_90k = decode_90k.saturating_add(u64::from(duration_90k));
        let data = &self.fragment.bytes[start..end];
        Some(ReadSample { decode_90k, sample: super::Sample { data, duration_90k, composition_90k, key } })
    }
}

/// The name and the body of the box at the front, and what follows; `None` if it is not whole.
type NextBox<'a> = Option<([u8; 4], &'a [u8], &'a [u8])>;

fn next_box(bytes: &[u8]) -> Result<NextBox<'_>, Mp4Error> {
    let mut rest = bytes;
    if rest.len() < 8 {
        return Ok(None);
    }
    let header = Header::decode(&mut rest).map_err(Mp4Error::Box)?;
    let length = header.size.ok_or(Mp4Error::Foreign("a box without an end"))?;
    Ok(rest.split_at_checked(length).map(|(body, after)| (header.kind.into(), body, after)))
}
