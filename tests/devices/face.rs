//! The clock in the picture: a strip of twenty cells along the top, a twentieth of the width each and a tenth of the height.
//!
//! ```text
//! cell   0     1     2 … 13             14 … 17                    18    19
//!        white black number, high first complement of its low four black white
//! ```
//!
//! White is 1. The number counts the pictures of a file from 0; twelve bits are enough for the longest. The outer cells and the
//! complement make it unlikely that anything else is taken for a clock: a picture without one reads as `None`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::recipe::Recipe;
use crate::child;

/// Cells of the strip.
pub const CELLS: u32 = 20;
/// The strip's share of the height: one part in so many.
pub const HEIGHT_PARTS: u32 = 10;
/// Bits of the number.
pub const NUMBER_BITS: u32 = 12;
/// Bits of the complement.
const CHECK_BITS: u32 = 4;
/// Cells before the number.
const FIRST: u32 = 2;
/// Pictures of a film that are read: ten minutes at 25 a second.
const PICTURES_MAX: u32 = 15_000;
/// From which brightness (0–255) a cell is white.
const WHITE: u8 = 128;

/// The ffmpeg filters that paint the strip; `n` is the picture's number there.
pub(crate) fn filters(width: u32, height: u32) -> String {
    let (cell, high) = (width / CELLS, height / HEIGHT_PARTS);
    let paint =
        |index: u32, when: &str| format!(",drawbox=x={}:y=0:w={cell}:h={high}:t=fill:color=white{when}", index * cell);
    let mut text = format!(",drawbox=x=0:y=0:w={width}:h={high}:t=fill:color=black");
    text += &paint(0, "");
    text += &paint(CELLS - 1, "");
    for bit in 0..NUMBER_BITS {
        text += &paint(FIRST + NUMBER_BITS - 1 - bit, &format!(":enable='mod(floor(n/{}),2)'", 1 << bit));
    }
    for bit in 0..CHECK_BITS {
        let index = FIRST + NUMBER_BITS + CHECK_BITS - 1 - bit;
        text += &paint(index, &format!(":enable='not(mod(floor(n/{}),2))'", 1 << bit));
    }
    text
}

/// Reads the number from a grey picture, row by row, one byte a pixel. `None`: there is no clock in it.
pub fn read(grey: &[u8], width: u32, height: u32) -> Option<u32> {
    if width < CELLS || height < HEIGHT_PARTS || grey.len() < (width as usize) * (height as usize) {
        return None;
    }
    let row = height / HEIGHT_PARTS / 2;
    let is_white = |index: u32| {
        let column = index * (width / CELLS) + width / CELLS / 2;
        grey[(row * width + column) as usize] >= WHITE
    };
    let bits =
        |first: u32, count: u32| (first..first + count).fold(0, |all, index| all << 1 | u32::from(is_white(index)));
    let number = bits(FIRST, NUMBER_BITS);
    let check = bits(FIRST + NUMBER_BITS, CHECK_BITS);
    let outer = is_white(0) && !is_white(1) && !is_white(CELLS - 2) && is_white(CELLS - 1);
    (outer && check == !number & ((1 << CHECK_BITS) - 1)).then_some(number)
}

/// Reads the numbers of all pictures of a file that ffmpeg can open (a JPEG, a movie), at most `pictures_max`.
///
/// # Errors
/// ffmpeg is not installed, or cannot read the file.
pub fn read_file(path: &Path, pictures_max: u32) -> Result<Vec<Option<u32>>> {
    const WIDTH: u32 = 320;
    const HEIGHT: u32 = 180;
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-i"]).arg(path);
    command.args(["-frames:v", &pictures_max.to_string(), "-vsync", "passthrough"]);
    command.args(["-vf", &format!("scale={WIDTH}:{HEIGHT}"), "-pix_fmt", "gray", "-f", "rawvideo", "-"]);
    let output = command.output().context("cannot start ffmpeg")?;
    ensure!(
        output.status.success(),
        "ffmpeg cannot read {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout.chunks_exact((WIDTH * HEIGHT) as usize).map(|grey| read(grey, WIDTH, HEIGHT)).collect())
}

/// Reads the numbers of all pictures of a file, of which each must be whole and follow the one before. Where a stream with
/// B-frames is cut, there may be holes between the last ones: they were sent before those that are shown before them.
///
/// # Errors
/// As [`read_file`]; or a picture is damaged or missing.
pub fn read_whole(path: &Path, recipe: Recipe) -> Result<Vec<u32>> {
    let numbers = read_file(path, PICTURES_MAX)?;
    ensure!(!numbers.is_empty(), "there is no picture in {}", path.display());
    let cut = (recipe.b_frames as usize).min(numbers.len());
    for (place, pair) in numbers[..numbers.len() - cut].windows(2).enumerate() {
        let follows = pair[0].map(|number| (number + 1) % recipe.frames());
        ensure!(pair[1].is_some() && pair[1] == follows, "{pair:?} at picture {place} of {}", path.display());
    }
    numbers.iter().map(|number| number.with_context(|| format!("a damaged picture in {}", path.display()))).collect()
}

/// What ffprobe says of a file's video.
#[derive(Debug)]
pub struct Looked {
    /// `h264`, `hevc`.
    pub codec: String,
    /// Places, in the order of decoding, of the pictures with which a decoder may begin.
    pub keyframes: Vec<usize>,
}

/// Looks at a file's video without decoding it; an error if ffprobe finds any fault in it.
///
/// # Errors
/// ffprobe is not installed, or complains.
pub fn look(path: &Path) -> Result<Looked> {
    let ask = |entries: &str| {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-select_streams", "v", "-show_entries", entries, "-of", "csv=p=0"]).arg(path);
        child::output("ffprobe", &mut command)
    };
    let flags = ask("packet=flags")?;
    let keyframes = flags.lines().enumerate().filter(|(_, flags)| flags.starts_with('K'));
    let keyframes = keyframes.map(|(place, _)| place).collect();
    Ok(Looked { codec: ask("stream=codec_name")?.trim().to_owned(), keyframes })
}

/// How many seconds of video a file holds, as ffprobe counts its packets; an error if it finds any fault in it.
///
/// # Errors
/// ffprobe is not installed, or complains.
pub fn probe(path: &Path) -> Result<f64> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]).arg(path);
    let said = child::output("ffprobe", &mut command)?;
    said.trim().parse().with_context(|| format!("ffprobe said {said:?}"))
}
