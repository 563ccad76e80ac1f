//! The sound card, through ALSA.

use alsa::pcm::{Access, Format, HwParams, PCM};
use alsa::{Direction, ValueOr};
use anyhow::{Context as _, ensure};

/// What the card holds in advance: long enough for a busy machine, short enough that a stop is at once.
const BUFFER_US: u32 = 120_000;
/// A card that runs dry is started again so often for one piece; more often it is broken.
const RECOVERIES_MAX: u8 = 3;

/// A card that plays one channel of 16-bit samples.
pub(crate) struct Card {
    pcm: PCM,
    rate_hz: u32,
}

impl Card {
    /// Opens the card of this name for samples of this rate, which ALSA may convert.
    ///
    /// # Errors
    /// When there is none, it is in use, or it plays nothing like that.
    pub(crate) fn open(device: &str, rate_hz: u32) -> anyhow::Result<Self> {
        let pcm = PCM::new(device, Direction::Playback, false)
            .with_context(|| format!("the sound card {device} cannot be opened"))?;
        {
            let parameters = HwParams::any(&pcm)?;
            parameters.set_channels(1).context("the sound card plays no single channel: name it plughw:…")?;
            parameters.set_rate(rate_hz, ValueOr::Nearest)?;
            parameters.set_format(Format::s16())?;
            parameters.set_access(Access::RWInterleaved)?;
            parameters.set_buffer_time_near(BUFFER_US, ValueOr::Nearest)?;
            pcm.hw_params(&parameters)?;
            let given_hz = parameters.get_rate()?;
            ensure!(given_hz == rate_hz, "the sound card plays {given_hz} Hz, not {rate_hz}: name it plughw:…");
        }
        Ok(Self { pcm, rate_hz })
    }

    pub(crate) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Hands samples over; returns once the card has room for more.
    ///
    /// # Errors
    /// When it takes them no more.
    pub(crate) fn write(&self, mut samples: &[i16]) -> anyhow::Result<()> {
        let io = self.pcm.io_i16()?;
        let mut recoveries = 0;
        while !samples.is_empty() {
            match io.writei(samples) {
                Ok(count) => samples = &samples[count..],
                Err(error) if recoveries < RECOVERIES_MAX => {
                    recoveries += 1;
                    self.pcm.try_recover(error, true).context("the sound card failed")?;
                }
                Err(error) => return Err(error).context("the sound card failed"),
            }
        }
        Ok(())
    }

    /// Returns once everything was played.
    ///
    /// # Errors
    /// When the card cannot say so.
    pub(crate) fn drain(&self) -> anyhow::Result<()> {
        self.pcm.drain().context("the sound card did not play to the end")
    }

    /// Silence, at once.
    pub(crate) fn hush(&self) {
        // It is closed in a moment, which silences it as well.
        let _ = self.pcm.drop();
    }
}
