//! Reading what was written here: our own init segments and fragments, from a file that may end anywhere.

use std::vec::Vec;

use mp4_atom::{Atom as _, Codec as SampleEntry, Decode as _, Header, Moof, Moov, Traf, TrunEntry};

use super::super::Codec;
use super::{FLAG_NOT_SYNC, Mp4Error, Sound, SoundSample, Track};

/// The track of an init segment, with its sound, and how many bytes the segment has.
///
/// # Errors
/// Bytes that are no whole init segment with one H.264 or H.265 track, and one of AAC or FLAC behind it or none.
pub fn read_init(bytes: &[u8]) -> Result<(Track, usize), Mp4Error> {
    let mut rest = bytes;
    while let Some((header, body, after)) = next_box(rest)? {
        rest = after;
        if header != *b"moov" {
            continue;
        }
        let moov = Moov::decode_body(&mut &body[..]).map_err(Mp4Error::Box)?;
        let mut entries = moov.trak.iter().map(|trak| trak.mdia.minf.stbl.stsd.codecs.first());
        let pictures = entries.next().flatten().ok_or(Mp4Error::Foreign("no track"))?;
        let sound = entries.next().flatten().map(Sound::of).transpose()?;
        return Ok((Track { sound, ..track_of(pictures)? }, bytes.len() - rest.len()));
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
    Ok(Track { codec, parameters, width: visual.width, height: visual.height, sound: None })
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
    /// When the sound begins, and its pieces.
    sound: (u64, Vec<(usize, usize, u32)>),
}

impl<'a> Fragment<'a> {
    fn new(bytes: &'a [u8], moof: &Moof) -> Result<Self, Mp4Error> {
        let (pictures, sound) = match &moof.traf[..] {
            [pictures] => (pictures, None),
            [pictures, sound] => (pictures, Some(sound)),
            _ => return Err(Mp4Error::Foreign("neither one nor two tracks in a fragment")),
        };
        let mut samples = Vec::new();
        let mut duration_90k = 0u64;
        let decode_90k = each_sample(bytes, pictures, |start, end, duration, entry| {
            let flags = entry.flags.ok_or(Mp4Error::Foreign("a picture without flags"))?;
            let composition = i32::try_from(entry.cts.unwrap_or(0)).map_err(|_| Mp4Error::TooLarge)?;
            samples.push((start, end, duration, composition, flags & FLAG_NOT_SYNC == 0));
            duration_90k += u64::from(duration);
            Ok(())
        })?;
        let mut pieces = Vec::new();
        let sound_90k = match sound {
            None => decode_90k,
            Some(sound) => each_sample(bytes, sound, |start, end, duration, _| {
                pieces.push((start, end, duration));
                Ok(())
            })?,
        };
        Ok(Self { bytes, decode_90k, duration_90k, samples, sound: (sound_90k, pieces) })
    }

    /// What sounded meanwhile, in order; nothing in a fragment without sound.
    pub fn sound(&self) -> impl Iterator<Item = ReadSound<'_>> {
        let (mut decode_90k, pieces) = (self.sound.0, &self.sound.1);
        pieces.iter().map(move |&(start, end, duration_90k)| {
            let begins_90k = decode_90k;
            decode_90k = decode_90k.saturating_add(u64::from(duration_90k));
            ReadSound { decode_90k: begins_90k, sample: SoundSample { data: &self.bytes[start..end], duration_90k } }
        })
    }

    /// Its samples, in decode order.
    pub fn samples(&self) -> Samples<'_> {
        Samples { fragment: self, next: 0, decode_90k: self.decode_90k }
    }
}

/// Where each sample of a track lies and how long it is, with what else its entry says. Answers when the first is decoded.
fn each_sample(
    bytes: &[u8],
    traf: &Traf,
    mut take: impl FnMut(usize, usize, u32, &TrunEntry) -> Result<(), Mp4Error>,
) -> Result<u64, Mp4Error> {
    let [trun] = &traf.trun[..] else { return Err(Mp4Error::Foreign("not one run in a track")) };
    let decode_90k = traf.tfdt.as_ref().ok_or(Mp4Error::Foreign("no tfdt"))?.base_media_decode_time;
    let offset = trun.data_offset.and_then(|offset| usize::try_from(offset).ok());
    let mut at = offset.ok_or(Mp4Error::Foreign("no data offset"))?;
    if trun.samples.len() > bytes.len() {
        return Err(Mp4Error::Foreign("more samples than bytes"));
    }
    for entry in trun.samples.iter() {
        let (Some(duration), Some(size)) = (entry.duration, entry.size) else {
            return Err(Mp4Error::Foreign("a sample without duration or size"));
        };
        let end = at.checked_add(size as usize).filter(|&end| end <= bytes.len());
        let end = end.ok_or(Mp4Error::Foreign("a sample that ends beyond its fragment"))?;
        take(at, end, duration, &entry)?;
        at = end;
    }
    Ok(decode_90k)
}

/// A piece of sound, and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSound<'a> {
    /// When it begins.
    pub decode_90k: u64,
    /// The piece.
    pub sample: SoundSample<'a>,
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
