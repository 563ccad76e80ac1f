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
    label: Option<MovieLabel>,
}

impl MovieWriter {
    /// A movie without samples.
    pub fn new(track: Track) -> Self {
        Self { track, samples: Vec::new(), label: None }
    }

    /// Says in the movie itself what it is.
    pub fn label(&mut self, label: MovieLabel) {
        self.label = Some(label);
    }

    /// The next sample, in decode order.
    pub fn push(&mut self, sample: MovieSample) {
        self.samples.push(sample);
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
        let data_bytes: u64 = self.samples.iter().map(|sample| u64::from(sample.bytes)).sum();
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
        let count = u32::try_from(samples.len()).map_err(|_| Mp4Error::TooLarge)?;
        let keys: Vec<u32> = (1..).zip(samples).filter(|(_, sample)| sample.key).map(|(number, _)| number).collect();
        let is_reordered = samples.iter().any(|sample| sample.composition_90k != 0);
        let durations = runs(samples.iter().map(|sample| sample.duration_90k));
        let compositions = runs(samples.iter().map(|sample| sample.composition_90k));
        let stbl = Stbl {
            stts: Stts {
                entries: durations
                    .into_iter()
                    .map(|(sample_count, sample_delta)| SttsEntry { sample_count, sample_delta })
                    .collect(),
            },
            ctts: is_reordered.then(|| Ctts {
                entries: compositions
                    .into_iter()
                    .map(|(sample_count, offset)| CttsEntry { sample_count, sample_offset: offset.into() })
                    .collect(),
            }),
            stss: Some(Stss { entries: keys }),
            // One chunk: the samples lie one after the other.
            stsc: Stsc {
                entries: vec![StscEntry { first_chunk: 1, samples_per_chunk: count, sample_description_index: 1 }],
            },
            stsz: Stsz {
                samples: StszSamples::Different { sizes: samples.iter().map(|sample| sample.bytes).collect() },
            },
            co64: Some(Co64 { entries: vec![data_offset] }),
            ..Stbl::default()
        };
        let mut moov = self.track.moov(stbl, self.duration_90k())?;
        if let Some(label) = &self.label {
            moov.mvhd.creation_time = u64::try_from(label.taken_ms / 1_000 + MP4_EPOCH_S).unwrap_or(0);
            moov.mvhd.modification_time = moov.mvhd.creation_time;
            moov.udta = Some(label.udta());
        }
        Ok(moov)
    }
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
