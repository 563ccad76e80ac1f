//! What is played: a file as often as is wanted, or a sound that is built in.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// The rate of built-in sounds.
const BUILT_IN_RATE_HZ: u32 = 16_000;
/// How loud they are, of 32,767.
const BUILT_IN_PEAK: f64 = 23_000.0;
/// The lowest and the highest rate of a file, in samples a second.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// A sound that needs no file.
#[derive(Clone, Copy)]
pub(crate) enum BuiltIn {
    /// Two falling tones.
    Chime,
    /// Up and down, once in two seconds.
    Siren,
    /// 1 kHz.
    Test,
}

/// Samples, one after the other.
pub(crate) struct Source {
    rate_hz: u32,
    samples: Samples,
}

enum Samples {
    File { reader: hound::WavReader<BufReader<File>>, times_left: u8, gap: u32, gap_left: u32 },
    BuiltIn { sound: BuiltIn, at: u32, count: u32, phase: f64 },
}

/// What comes next.
pub(crate) enum Next {
    Sample(i16),
    /// Silence between two times: it is not part of the sound.
    Pause,
    /// A time has come to its end.
    Once,
    Over,
}

impl Source {
    /// A WAV file.
    ///
    /// # Errors
    /// When it cannot be read, or is of another form than this program plays.
    pub(crate) fn file(path: &Path, times: u8, gap_ms: u32, from_ms: u32) -> anyhow::Result<Self> {
        let mut reader = hound::WavReader::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let spec = reader.spec();
        let fits = spec.channels == 1 && spec.bits_per_sample == 16 && spec.sample_format == hound::SampleFormat::Int;
        ensure!(fits, "it has {} channels of {} bits, not one of 16", spec.channels, spec.bits_per_sample);
        let rate_hz = spec.sample_rate;
        ensure!(RATES_HZ.contains(&rate_hz), "{rate_hz} samples a second are out of bounds");
        reader.seek(count(rate_hz, from_ms).min(reader.duration())).context("the beginning cannot be found")?;
        let samples = Samples::File { reader, times_left: times, gap: count(rate_hz, gap_ms), gap_left: 0 };
        Ok(Self { rate_hz, samples })
    }

    /// A sound that needs no file, for so long.
    pub(crate) fn built_in(sound: BuiltIn, length_ms: u32) -> Self {
        let (rate_hz, count) = (BUILT_IN_RATE_HZ, count(BUILT_IN_RATE_HZ, length_ms));
        Self { rate_hz, samples: Samples::BuiltIn { sound, at: 0, count, phase: 0.0 } }
    }

    /// Samples a second.
    pub(crate) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the file cannot be read any further.
    pub(crate) fn next(&mut self) -> anyhow::Result<Next> {
        match &mut self.samples {
            Samples::File { gap_left, .. } if *gap_left > 0 => {
                *gap_left -= 1;
                Ok(Next::Pause)
            }
            Samples::File { times_left: 0, .. } => Ok(Next::Over),
            Samples::File { reader, times_left, gap, gap_left } => match reader.samples::<i16>().next() {
                Some(sample) => Ok(Next::Sample(sample.context("the file is broken")?)),
                None => {
                    *times_left -= 1;
                    if *times_left > 0 {
                        *gap_left = *gap;
                        reader.seek(0).context("the beginning cannot be found")?;
                    }
                    Ok(Next::Once)
                }
            },
            Samples::BuiltIn { at, count, .. } if *at > *count => Ok(Next::Over),
            Samples::BuiltIn { at, count, .. } if *at == *count => {
                *at += 1;
                Ok(Next::Once)
            }
            Samples::BuiltIn { sound, at, phase, .. } => {
                let seconds = f64::from(*at) / f64::from(BUILT_IN_RATE_HZ);
                *at += 1;
                *phase += sound.pitch_hz(seconds) * std::f64::consts::TAU / f64::from(BUILT_IN_RATE_HZ);
                Ok(Next::Sample((phase.sin() * BUILT_IN_PEAK) as i16))
            }
        }
    }
}

impl BuiltIn {
    fn pitch_hz(self, seconds: f64) -> f64 {
        match self {
            Self::Chime => {
                if seconds < 0.6 {
                    659.0
                } else {
                    523.0
                }
            }
            Self::Siren => 900.0 + 350.0 * (seconds * std::f64::consts::PI).sin(),
            Self::Test => 1_000.0,
        }
    }
}

fn count(rate_hz: u32, length_ms: u32) -> u32 {
    u32::try_from(u64::from(rate_hz) * u64::from(length_ms) / 1_000).unwrap_or(u32::MAX)
}
