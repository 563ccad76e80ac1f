//! Spoken or recorded sound: one channel of 16-bit samples, and how it is brought to one loudness.
//!
//! Village loudspeakers are horns driven hard, so every notice leaves with the same loudness and a ceiling for its peaks:
//! a whispered recording and a shouted one sound alike, and nothing clips.

use std::io::Cursor;

use ebur128::{EbuR128, Mode};

/// Loudness of everything that is played, LUFS (EBU R 128's measure; speech for horns is mixed louder than broadcasts' -23).
pub const LOUDNESS_LUFS: f64 = -18.0;
/// No sample is higher than this after levelling: -1.5 dBFS leaves room for what a loudspeaker's converter adds.
pub const PEAK_MAX: f32 = 0.841;
/// Quieter than this is silence (LUFS): raising it would play the room's noise to the village.
const SILENCE_LUFS: f64 = -55.0;
/// Most that a quiet recording is raised, dB.
const GAIN_DB_MAX: f64 = 30.0;
/// How far the limiter looks ahead and behind.
const LIMITER_MS: u32 = 5;
/// Longest sound that is taken: ten minutes. Longer announcements are programmes.
pub const SOUND_MS_MAX: u64 = 600_000;

/// One channel of 16-bit samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Samples a second, 8,000–48,000.
    pub rate_hz: u32,
    /// In order.
    pub samples: Vec<i16>,
}

/// Why something is no sound that can be played.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SoundError {
    /// Not a WAV file, or damaged.
    #[error("this is no WAV file that can be read: {0}")]
    Unreadable(String),
    /// A form that is not taken.
    #[error("{0}; taken are 16-bit PCM, one or two channels, 8,000 to 48,000 samples a second")]
    Form(String),
    /// Nothing in it.
    #[error("there is nothing to hear in it")]
    Silent,
    /// Longer than [`SOUND_MS_MAX`].
    #[error("it is {0} ms long; at most {SOUND_MS_MAX} ms are played")]
    TooLong(u64),
}

impl Sound {
    /// Reads a WAV file; two channels become one.
    ///
    /// # Errors
    /// Whatever is not a WAV file of a form that is taken, and whatever is too long.
    pub fn from_wav(bytes: &[u8]) -> Result<Self, SoundError> {
        let reader = hound::WavReader::new(Cursor::new(bytes)).map_err(unreadable)?;
        let spec = reader.spec();
        let takes = spec.sample_format == hound::SampleFormat::Int
            && spec.bits_per_sample == 16
            && (1..=2).contains(&spec.channels)
            && (8_000..=48_000).contains(&spec.sample_rate);
        if !takes {
            let (rate, bits, channels) = (spec.sample_rate, spec.bits_per_sample, spec.channels);
            return Err(SoundError::Form(format!("{channels} channels of {bits} bits at {rate} Hz")));
        }
        let duration_ms = u64::from(reader.duration()) * 1_000 / u64::from(spec.sample_rate);
        if duration_ms > SOUND_MS_MAX {
            return Err(SoundError::TooLong(duration_ms));
        }
        let interleaved: Vec<i16> = reader.into_samples::<i16>().collect::<Result<_, _>>().map_err(unreadable)?;
        let samples = match spec.channels {
            1 => interleaved,
            _ => interleaved.chunks_exact(2).map(|pair| middle(pair[0], pair[1])).collect(),
        };
        if samples.is_empty() {
            return Err(SoundError::Silent);
        }
        Ok(Self { rate_hz: spec.sample_rate, samples })
    }

    /// The sound as a WAV file.
    pub fn to_wav(&self) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: self.rate_hz,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = Cursor::new(Vec::with_capacity(44 + self.samples.len() * 2));
        let written = hound::WavWriter::new(&mut bytes, spec).and_then(|mut writer| {
            self.samples.iter().try_for_each(|sample| writer.write_sample(*sample))?;
            writer.finalize()
        });
        written.expect("memory takes any file of this length");
        bytes.into_inner()
    }

    /// Its length.
    pub fn duration_ms(&self) -> u64 {
        self.samples.len() as u64 * 1_000 / u64::from(self.rate_hz)
    }

    /// Integrated loudness, LUFS; minus infinity for silence.
    pub fn loudness_lufs(&self) -> f64 {
        let mut meter = EbuR128::new(1, self.rate_hz, Mode::I).expect("one channel at this rate can be measured");
        meter.add_frames_i16(&self.samples).expect("the meter was made for one channel");
        meter.loudness_global().unwrap_or(f64::NEG_INFINITY)
    }

    /// The same sound at [`LOUDNESS_LUFS`], with no peak above [`PEAK_MAX`].
    ///
    /// # Errors
    /// When there is nothing to hear.
    pub fn levelled(&self) -> Result<Self, SoundError> {
        let loudness = self.loudness_lufs();
        if loudness < SILENCE_LUFS {
            return Err(SoundError::Silent);
        }
        let gain_db = (LOUDNESS_LUFS - loudness).min(GAIN_DB_MAX);
        let gain = 10_f64.powf(gain_db / 20.0) as f32;
        let raised: Vec<f32> = self.samples.iter().map(|sample| f32::from(*sample) / 32_768.0 * gain).collect();
        let limits = limiter_gains(&raised, (self.rate_hz * LIMITER_MS / 1_000) as usize);
        let samples = raised.iter().zip(limits).map(|(sample, limit)| (sample * limit * 32_767.0) as i16).collect();
        Ok(Self { rate_hz: self.rate_hz, samples })
    }
}

/// For each sample, by how much to turn down so that no peak passes the ceiling: the lowest that any neighbour needs,
/// averaged so that the turning itself is not heard. The average of lower bounds is one too, so the ceiling holds.
fn limiter_gains(samples: &[f32], reach: usize) -> Vec<f32> {
    let needed: Vec<f32> = samples.iter().map(|sample| (PEAK_MAX / sample.abs().max(PEAK_MAX)).min(1.0)).collect();
    let lowest = window_minimum(&needed, reach);
    let mut gains = Vec::with_capacity(samples.len());
    let mut sum = 0.0_f64;
    for at in 0..lowest.len() {
        if at == 0 {
            sum = lowest.iter().take(reach + 1).map(|gain| f64::from(*gain)).sum();
        } else {
            sum += lowest.get(at + reach).map_or(0.0, |gain| f64::from(*gain));
            sum -= if at > reach { f64::from(lowest[at - reach - 1]) } else { 0.0 };
        }
        let count = (at + reach).min(lowest.len() - 1) - at.saturating_sub(reach) + 1;
        gains.push((sum / count as f64) as f32);
    }
    gains
}

/// The lowest value within `reach` on both sides of each place.
fn window_minimum(values: &[f32], reach: usize) -> Vec<f32> {
    // Places whose value may yet be the lowest, in order, with rising values.
    let mut candidates = std::collections::VecDeque::new();
    let mut lowest = Vec::with_capacity(values.len());
    let mut next = 0;
    for at in 0..values.len() {
        while next < values.len() && next <= at + reach {
            while candidates.back().is_some_and(|last: &usize| values[*last] >= values[next]) {
                candidates.pop_back();
            }
            candidates.push_back(next);
            next += 1;
        }
        while candidates.front().is_some_and(|first| first + reach < at) {
            candidates.pop_front();
        }
        lowest.push(values[*candidates.front().expect("this place itself is a candidate")]);
    }
    lowest
}

fn middle(left: i16, right: i16) -> i16 {
    ((i32::from(left) + i32::from(right)) / 2) as i16
}

fn unreadable(error: hound::Error) -> SoundError {
    SoundError::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tone of 440 Hz.
    fn tone(amplitude: f32, duration_ms: u32) -> Sound {
        let rate_hz = 16_000;
        let samples = (0..rate_hz * duration_ms / 1_000)
            .map(|at| {
                ((at as f32 * 440.0 * std::f32::consts::TAU / rate_hz as f32).sin() * amplitude * 32_767.0) as i16
            })
            .collect();
        Sound { rate_hz, samples }
    }

    fn peak(sound: &Sound) -> f32 {
        sound.samples.iter().map(|sample| f32::from(*sample).abs() / 32_767.0).fold(0.0, f32::max)
    }

    #[test]
    fn a_whisper_and_a_shout_come_out_alike() {
        for amplitude in [0.02, 0.1, 0.9] {
            let levelled = tone(amplitude, 3_000).levelled().unwrap();
            let loudness = levelled.loudness_lufs();
            assert!((loudness - LOUDNESS_LUFS).abs() < 0.5, "amplitude {amplitude} came out at {loudness} LUFS");
            assert_eq!(levelled.duration_ms(), 3_000);
        }
    }

    #[test]
    fn a_click_in_a_quiet_recording_does_not_clip() {
        let mut sound = tone(0.02, 3_000);
        for sample in &mut sound.samples[20_000..20_010] {
            *sample = i16::MAX;
        }
        let levelled = sound.levelled().unwrap();
        assert!(peak(&levelled) <= PEAK_MAX + 0.001, "the peak is {}", peak(&levelled));
        // Away from the click the limiter lets go.
        assert!(levelled.samples[..8_000].iter().any(|sample| i32::from(*sample).abs() > 3_000));
    }

    #[test]
    fn a_wav_file_survives_being_written_and_read() {
        let sound = tone(0.5, 100);
        assert_eq!(Sound::from_wav(&sound.to_wav()).unwrap(), sound);
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_reason() {
        assert!(matches!(Sound::from_wav(b"RIFF"), Err(SoundError::Unreadable(_))));
        assert!(matches!(Sound::from_wav(&[]), Err(SoundError::Unreadable(_))));
        let silence = Sound { rate_hz: 16_000, samples: vec![0; 16_000] };
        assert_eq!(silence.levelled(), Err(SoundError::Silent));
        assert_eq!(Sound::from_wav(&Sound { rate_hz: 16_000, samples: vec![] }.to_wav()), Err(SoundError::Silent));
        let fast = Sound { rate_hz: 96_000, samples: vec![1; 96] };
        assert!(matches!(Sound::from_wav(&fast.to_wav()), Err(SoundError::Form(form)) if form.contains("96000")));
        let long = Sound { rate_hz: 8_000, samples: vec![1; 8_000 * 601] };
        assert_eq!(Sound::from_wav(&long.to_wav()), Err(SoundError::TooLong(601_000)));
        let mut cut = tone(0.5, 100).to_wav();
        cut.truncate(1_001);
        assert!(matches!(Sound::from_wav(&cut), Err(SoundError::Unreadable(_))));
    }

    proptest! {
        #[test]
        fn no_peak_passes_the_ceiling(samples in prop::collection::vec(any::<i16>(), 16_000..20_000)) {
            let sound = Sound { rate_hz: 16_000, samples };
            if let Ok(levelled) = sound.levelled() {
                prop_assert!(peak(&levelled) <= PEAK_MAX + 0.001);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Sound::from_wav(&bytes);
        }
    }
}
