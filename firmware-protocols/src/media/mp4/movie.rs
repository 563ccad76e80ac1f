//! Whole movies: an ordinary MP4 with its index in front, for evidence and exports, which people open with whatever
//! player they have.

use std::string::String;
use std::vec;
use std::vec::Vec;

use mp4_atom::{
    Co64, Ctts, CttsEntry, Desc, Encode as _, FourCC, Hdlr, Ilst, Meta, Stbl, Stsc, StscEntry, Stss, Stsz, StszSamples,
    Stts, SttsEntry, Udta,
};

use super::track::ftyp;
use super::{Mp4Error, Sample, Track};

/// The header of an `mdat` whose length has 64 bits.
const MDAT_HEADER_BYTES: u64 = 16;

/// What the index of a movie says about a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovieSample {
    /// Length in bytes.
    pub bytes: u32,
    /// How long it is shown, in ticks.
    pub duration_90k: u32,
    /// How much later than decoded it is shown, in ticks.
    pub composition_90k: i32,
    /// Whether a decoder can begin with it.
    pub key: bool,
}

/// From 1904, where the times of MP4 begin, to 1970, in seconds.
const MP4_EPOCH_S: i64 = 2_082_844_800;

/// What is written into a movie about itself, where players and archives look for it (the item `desc`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovieLabel {
    /// What it shows, where it comes from, and whatever else whoever finds it must know.
    pub description: String,
    /// When its first picture was taken, UTC milliseconds; to the second.
    pub taken_ms: i64,
}

/// Collects what a movie's index says; the samples themselves stay where they are, and are copied behind the header.
#[derive(Clone, Debug)]
pub struct MovieWriter {
    track: Track,
    samples: Vec<MovieSample>,
    /// Length in bytes and in ticks of each piece of sound.
    sound: Vec<(u32, u32)>,
    /// How the bytes of pictures and of sound take turns.
    chunks: Vec<Chunk>,
    label: Option<MovieLabel>,
}

/// Samples of one track whose bytes lie one after the other.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    sounds: bool,
    samples: u32,
    bytes: u64,
}

impl MovieWriter {
    /// A movie without samples.
    pub fn new(track: Track) -> Self {
        Self { track, samples: Vec::new(), sound: Vec::new(), chunks: Vec::new(), label: None }
    }

    /// Says in the movie itself what it is.
    pub fn label(&mut self, label: MovieLabel) {
        self.label = Some(label);
    }

    /// The next sample, in decode order.
    pub fn push(&mut self, sample: MovieSample) {
        self.lies(false, sample.bytes);
        self.samples.push(sample);
    }

    /// The next piece of sound, of so many bytes, which is to sound from `at_90k` on. Sound in a movie has no holes: the piece
    /// before it is made as long as it takes. `false`: the movie has no sound, or has come further already; it is left out.
    pub fn push_sound(&mut self, bytes: u32, at_90k: i64, duration_90k: u32) -> bool {
        let ends_90k = self.sound_90k().cast_signed();
        let late_90k = at_90k.saturating_sub(ends_90k);
        if self.track.sound.is_none() || late_90k < -i64::from(duration_90k / 2) {
            return false;
        }
        let late = u32::try_from(late_90k).unwrap_or(0);
        match self.sound.last_mut() {
            Some((_, duration)) => *duration = duration.saturating_add(late),
            // The first one sounds early, and all others in time.
            None => return self.put_sound(bytes, duration_90k.saturating_add(late)),
        }
        self.put_sound(bytes, duration_90k)
    }

    fn put_sound(&mut self, bytes: u32, duration_90k: u32) -> bool {
        self.lies(true, bytes);
        self.sound.push((bytes, duration_90k));
        true
    }

    /// Notes where a sample's bytes lie: behind those of the one before it.
    fn lies(&mut self, sounds: bool, bytes: u32) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.sounds == sounds => {
                chunk.samples += 1;
                chunk.bytes += u64::from(bytes);
            }
            _ => self.chunks.push(Chunk { sounds, samples: 1, bytes: bytes.into() }),
        }
    }

    fn sound_90k(&self) -> u64 {
        self.sound.iter().map(|(_, duration)| u64::from(*duration)).sum()
    }

    /// How long the movie is so far, in ticks.
    pub fn duration_90k(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration_90k)).sum()
    }

    /// All that comes before the samples' bytes, which follow in the order in which they were pushed: `ftyp`, `moov`, and the
    /// header of `mdat`.
    ///
    /// # Errors
    /// Parameters that are no record of the codec.
    pub fn header(&self) -> Result<Vec<u8>, Mp4Error> {
        let data_bytes: u64 = self.chunks.iter().map(|chunk| chunk.bytes).sum();
        let mut bytes = Vec::new();
        ftyp(b"isom", &[b"isom", b"iso2", b"mp41"]).encode(&mut bytes).map_err(Mp4Error::Box)?;
        let start = bytes.len();
        // Offsets have a fixed width: written once to learn the length, once more with the right offset.
        self.moov(0)?.encode(&mut bytes).map_err(Mp4Error::Box)?;
        let offset = bytes.len() as u64 + MDAT_HEADER_BYTES;
        bytes.truncate(start);
        self.moov(offset)?.encode(&mut bytes).map_err(Mp4Error::Box)?;
        bytes.extend_from_slice(&1u32.to_be_bytes());
        bytes.extend_from_slice(b"mdat");
        bytes.extend_from_slice(&(data_bytes + MDAT_HEADER_BYTES).to_be_bytes());
        Ok(bytes)
    }

    fn moov(&self, data_offset: u64) -> Result<mp4_atom::Moov, Mp4Error> {
        let samples = &self.samples;
        u32::try_from(samples.len()).map_err(|_| Mp4Error::TooLarge)?;
        let keys: Vec<u32> = (1..).zip(samples).filter(|(_, sample)| sample.key).map(|(number, _)| number).collect();
        let is_reordered = samples.iter().any(|sample| sample.composition_90k != 0);
        let durations = runs(samples.iter().map(|sample| sample.duration_90k));
        let compositions = runs(samples.iter().map(|sample| sample.composition_90k));
        let stbl = Stbl {
            stts: stts(&durations),
            ctts: is_reordered.then(|| Ctts {
                entries: compositions
                    .into_iter()
                    .map(|(sample_count, offset)| CttsEntry { sample_count, sample_offset: offset.into() })
                    .collect(),
            }),
            stss: Some(Stss { entries: keys }),
            stsz: Stsz {
                samples: StszSamples::Different { sizes: samples.iter().map(|sample| sample.bytes).collect() },
            },
            ..self.chunk_tables(false, data_offset)
        };
        let sound = Stbl {
            stts: stts(&runs(self.sound.iter().map(|(_, duration)| *duration))),
            stsz: Stsz {
                samples: StszSamples::Different { sizes: self.sound.iter().map(|(bytes, _)| *bytes).collect() },
            },
            ..self.chunk_tables(true, data_offset)
        };
        let mut moov = self.track.moov(stbl, self.duration_90k(), sound, self.sound_90k())?;
        if let Some(label) = &self.label {
            moov.mvhd.creation_time = u64::try_from(label.taken_ms / 1_000 + MP4_EPOCH_S).unwrap_or(0);
            moov.mvhd.modification_time = moov.mvhd.creation_time;
            moov.udta = Some(label.udta());
        }
        Ok(moov)
    }

    /// Where a track's chunks lie, and how many samples each has. Without sound there is one: pictures lie one after the other.
    fn chunk_tables(&self, sounds: bool, data_offset: u64) -> Stbl {
        let mut offset = data_offset;
        let mut entries = Vec::new();
        let mut counts = Vec::new();
        for chunk in &self.chunks {
            if chunk.sounds == sounds {
                entries.push(offset);
                counts.push(chunk.samples);
            }
            offset += chunk.bytes;
        }
        let mut first_chunk = 1;
        let mut stsc = Stsc::default();
        for (count, samples_per_chunk) in runs(counts.into_iter()) {
            stsc.entries.push(StscEntry { first_chunk, samples_per_chunk, sample_description_index: 1 });
            first_chunk += count;
        }
        Stbl { stsc, co64: Some(Co64 { entries }), ..Stbl::default() }
    }
}

fn stts(durations: &[(u32, u32)]) -> Stts {
    let entry = |&(sample_count, sample_delta): &(u32, u32)| SttsEntry { sample_count, sample_delta };
    Stts { entries: durations.iter().map(entry).collect() }
}

impl MovieLabel {
    fn udta(&self) -> Udta {
        let (country_indicator, language_indicator) = (0, 0);
        let desc = Desc { country_indicator, language_indicator, text: self.description.clone() };
        let items = Ilst { desc: Some(desc), ..Ilst::default() };
        let hdlr = Hdlr { handler: FourCC::new(b"mdir"), name: String::new() };
        Udta { meta: Some(Meta { hdlr, items: vec![items.into()] }), ..Udta::default() }
    }
}

/// Equal neighbours as counts.
fn runs<T: PartialEq + Copy>(values: impl Iterator<Item = T>) -> Vec<(u32, T)> {
    let mut runs: Vec<(u32, T)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => runs.push((1, value)),
        }
    }
    runs
}

/// A short movie, whole in memory.
///
/// # Errors
/// Parameters that are no record of the codec, or a sample of more than 4 GiB.
pub fn movie(track: &Track, samples: &[Sample<'_>]) -> Result<Vec<u8>, Mp4Error> {
    let mut writer = MovieWriter::new(track.clone());
    for sample in samples {
        writer.push(MovieSample {
            bytes: u32::try_from(sample.data.len()).map_err(|_| Mp4Error::TooLarge)?,
            duration_90k: sample.duration_90k,
            composition_90k: sample.composition_90k,
            key: sample.key,
        });
    }
    let mut bytes = writer.header()?;
    for sample in samples {
        bytes.extend_from_slice(sample.data);
    }
    Ok(bytes)
}
