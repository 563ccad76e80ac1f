//! What a camera of GStreamer's recorder hears: sound drawn by ffmpeg, as AAC in pieces that a wall clock can send again and again.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::recipe;
use crate::child;

/// Grows when the same ambience would give another file.
const VERSION: u32 = 1;

/// Samples a second.
pub const RATE_HZ: u32 = 16_000;

/// Samples of a piece: AAC (LC) knows no other number.
pub const PIECE_SAMPLES: u32 = 1_024;

/// Pieces of the file, 16 s. So many hold whole periods of every sound here, so that nothing clicks where the file begins again.
const PIECES: usize = 250;

/// An encoder begins with pieces of silence and swings in: these are left out.
const PIECES_LEFT_OUT: usize = 8;

/// What is to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambience {
    /// The tone of [`super::TONE_HZ`] at [`super::TONE_RMS`], to be measured.
    Tone,
    /// A square in the evening, for people to listen to: wind, a cricket, and a gong every eight seconds.
    Square,
}

impl Ambience {
    const fn name(self) -> &'static str {
        match self {
            Self::Tone => "tone",
            Self::Square => "square",
        }
    }

    /// A source of ffmpeg that comes again after [`PIECES`], wherever one begins; the wind alone does not, and nobody hears that.
    fn source(self) -> String {
        match self {
            Self::Tone => format!("aevalsrc='0.25*sin(2*PI*440*t)':s={RATE_HZ}"),
            Self::Square => format!(
                "aevalsrc='0.012*(random(0)-0.5)*(2+sin(2*PI*t/8))+0.015*sin(2*PI*4200*t)*gt(sin(2*PI*16*t),0.6)*lt(mod(t,4),1.2)\
                 +exp(-1.1*mod(t,8))*(0.2*sin(2*PI*196*t)+0.1*sin(2*PI*311*t)+0.05*sin(2*PI*523*t))':s={RATE_HZ}"
            ),
        }
    }

    /// Its file of pieces, each with its ADTS header. Makes it if it is absent.
    ///
    /// # Errors
    /// ffmpeg is not installed or fails.
    pub fn file(self) -> Result<PathBuf> {
        let folder = recipe::folder()?;
        let file = folder.join(format!("v{VERSION}-{}.aac", self.name()));
        if !file.is_file() {
            std::fs::create_dir_all(&folder)?;
            self.make(&file)?;
        }
        Ok(file)
    }

    /// As a recipe's files: beside it, and the last rename wins.
    fn make(self, file: &Path) -> Result<()> {
        let whole = file.with_extension(format!("{}.whole", std::process::id()));
        let part = whole.with_extension("part");
        let seconds = (PIECES + 2 * PIECES_LEFT_OUT) as f64 * f64::from(PIECE_SAMPLES) / f64::from(RATE_HZ);
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", &self.source()]);
        command.args(["-t", &seconds.to_string(), "-c:a", "aac", "-b:a", "48k", "-f", "adts"]).arg(&whole);
        child::output("ffmpeg", &mut command).with_context(|| format!("cannot make {}", file.display()))?;
        let stream = std::fs::read(&whole)?;
        std::fs::remove_file(&whole)?;
        let pieces = pieces(&stream)?;
        let kept = pieces.get(PIECES_LEFT_OUT..PIECES_LEFT_OUT + PIECES).context("ffmpeg wrote too little sound")?;
        std::fs::write(&part, kept.concat())?;
        Ok(std::fs::rename(part, file)?)
    }
}

/// The pieces of an ADTS stream (ISO 13818-7, 6.2): a header says with 13 bits how long it and its piece are.
fn pieces(mut stream: &[u8]) -> Result<Vec<&[u8]>> {
    let mut pieces = Vec::new();
    while let [0xff, sync, _, high, middle, low, ..] = *stream {
        let length = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
        ensure!(sync >> 4 == 0xf && length > 7 && length <= stream.len(), "no ADTS after {} pieces", pieces.len());
        let (piece, rest) = stream.split_at(length);
        pieces.push(piece);
        stream = rest;
    }
    ensure!(stream.is_empty(), "no ADTS after {} pieces", pieces.len());
    Ok(pieces)
}
