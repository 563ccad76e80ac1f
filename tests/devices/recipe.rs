//! What a file of video is like, and its making: once, by ffmpeg, into `target/media`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::face;
use super::view::View;
use crate::child;

/// Grows when the same recipe would give other files.
const VERSION: u32 = 1;

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264, as every browser plays.
    H264,
    /// H.265, as most new cameras send.
    H265,
}

/// What is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Picture {
    /// A moving test picture with the clock of [`face`].
    Clock,
    /// The first picture of [`Picture::Clock`], for ever.
    Frozen,
    /// Nothing.
    Black,
    /// A place in a village, for people to look at; without the clock of [`face`].
    Village(View),
}

/// Everything that makes one file of video different from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    /// How it is encoded.
    pub codec: Codec,
    /// Pixels across; a multiple of 2.
    pub width: u32,
    /// Pixels down; a multiple of 2.
    pub height: u32,
    /// Pictures a second.
    pub frames_per_s: u32,
    /// Pictures from one keyframe to the next; divides the pictures of the file.
    pub gop_frames: u32,
    /// Length of the file, which is played again and again.
    pub seconds: u32,
    /// Bit rate in kbit/s.
    pub kbit_per_s: u32,
    /// B-frames between two others; 0 for none, as most cameras have it.
    pub b_frames: u32,
    /// Pictures that are shown before a keyframe may refer to those before it (H.265's CRA): only the first keyframe of the file
    /// forgets everything.
    pub open_gop: bool,
    /// What is to be seen.
    pub picture: Picture,
}

impl Recipe {
    /// 1080p25 with 4 Mbit/s and a keyframe every 2 s: an ordinary main stream, 5 MB.
    pub const MAIN: Self = Self {
        codec: Codec::H264,
        width: 1920,
        height: 1080,
        frames_per_s: 25,
        gop_frames: 50,
        seconds: 10,
        kbit_per_s: 4_000,
        b_frames: 0,
        open_gop: false,
        picture: Picture::Clock,
    };

    /// 360p25 with 512 kbit/s and a keyframe every 2 s: an ordinary sub stream.
    pub const SUB: Self = Self { width: 640, height: 360, kbit_per_s: 512, ..Self::MAIN };

    /// 720p25 with 2 Mbit/s: between the two.
    pub const HD: Self = Self { width: 1280, height: 720, kbit_per_s: 2_000, ..Self::MAIN };

    /// 320 × 180 with a keyframe every 400 ms: quickly made and quickly started, for tests that ask nothing of the picture.
    pub const TINY: Self = Self { width: 320, height: 180, gop_frames: 10, seconds: 8, kbit_per_s: 200, ..Self::MAIN };

    /// The sub stream that goes with [`Recipe::TINY`].
    pub const TINY_SUB: Self = Self { width: 160, height: 90, kbit_per_s: 100, ..Self::TINY };

    /// As [`Recipe::TINY`], in H.265.
    pub const TINY_H265: Self = Self { codec: Codec::H265, ..Self::TINY };

    /// As [`Recipe::TINY`], with pictures that are sent in another order than they are shown in.
    pub const TINY_B_FRAMES: Self = Self { b_frames: 2, ..Self::TINY };

    /// As [`Recipe::TINY_H265`], with keyframes that are followed by pictures from before them.
    pub const TINY_OPEN_GOP: Self = Self { b_frames: 3, open_gop: true, ..Self::TINY_H265 };

    /// Pictures in the file.
    pub fn frames(&self) -> u32 {
        self.frames_per_s * self.seconds
    }

    /// How old a picture is that shows `number` at `utc_us`, in microseconds: pictures are sent by the wall clock, number 0 at
    /// each multiple of the file's length. Right for anything younger than that length.
    pub fn age_us(&self, number: u32, utc_us: i64) -> i64 {
        let shown_us = i64::from(number) * 1_000_000 / i64::from(self.frames_per_s);
        (utc_us - shown_us).rem_euclid(i64::from(self.seconds) * 1_000_000)
    }

    /// Its file of access units, one after the other in Annex B form, and the list of their sizes and times. Makes both if they
    /// are absent, which takes seconds.
    ///
    /// # Errors
    /// ffmpeg is not installed or fails, or the recipe asks for what cannot be.
    pub fn files(&self) -> Result<(PathBuf, PathBuf)> {
        ensure!(
            self.gop_frames > 0 && self.frames().is_multiple_of(self.gop_frames),
            "{self}: the last GOP would be short"
        );
        ensure!(self.frames() <= 1 << face::NUMBER_BITS, "{self}: too long for the clock in the picture");
        let folder = folder()?;
        let path = |extension: &str| folder.join(format!("{self}.{extension}"));
        let (video, list) = (path("video"), path("list"));
        if !(video.is_file() && list.is_file()) {
            std::fs::create_dir_all(&folder)?;
            self.make(&video, &list)?;
        }
        Ok((video, list))
    }

    /// Two programs may make the same file at once: each works beside it, and the last rename wins. The list comes last, so that
    /// where there is one, both are whole.
    fn make(&self, video: &Path, list: &Path) -> Result<()> {
        let work = |path: &Path| path.with_extension(format!("{}.part", std::process::id()));
        let (raw, frames) = (work(video).with_extension("raw"), work(list).with_extension("frames"));
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", &self.source()]);
        command.args(["-pix_fmt", "yuv420p"]).args(self.encoder());
        let rate = format!("{}k", self.kbit_per_s);
        command.args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate]);
        // One encoding into both: the stream itself, and a line for each access unit.
        let format = match self.codec {
            Codec::H264 => "h264",
            Codec::H265 => "hevc",
        };
        let both = format!("[f={format}]{}|[f=framecrc]{}", raw.display(), frames.display());
        command.args(["-map", "0:v", "-f", "tee", &both]);
        child::output("ffmpeg", &mut command).with_context(|| format!("cannot make {self}"))?;
        std::fs::rename(raw, video)?;
        std::fs::rename(frames, list)?;
        Ok(())
    }

    fn source(&self) -> String {
        let Self { width, height, frames_per_s, seconds, .. } = self;
        let size = format!("size={width}x{height}:rate={frames_per_s}:duration={seconds}");
        // Noise, as every camera has: without it the encoder would not need its bit rate.
        let moving = || format!("testsrc2={size},noise=alls=10:allf=t{}", face::filters(*width, *height));
        match self.picture {
            Picture::Clock => moving(),
            Picture::Frozen => {
                format!("{},trim=end_frame=1,loop=loop={}:size=1", moving(), self.frames() - 1)
            }
            Picture::Black => format!("color=color=black:{size}"),
            Picture::Village(view) => view.source(*width, *height, *frames_per_s, *seconds),
        }
    }

    /// Keyframes exactly where they are expected, each the start of a GOP that needs none before it unless that is asked for.
    fn encoder(&self) -> Vec<String> {
        let (name, option) = match self.codec {
            Codec::H264 => ("libx264", "-x264-params"),
            Codec::H265 => ("libx265", "-x265-params"),
        };
        let (gop, b_frames, open_gop) = (self.gop_frames, self.b_frames, u8::from(self.open_gop));
        let mut options =
            format!("keyint={gop}:min-keyint={gop}:scenecut=0:open-gop={open_gop}:bframes={b_frames}:b-adapt=0");
        if self.codec == Codec::H265 {
            options += ":repeat-headers=1:log-level=error";
        }
        ["-c:v", name, "-preset", "ultrafast", option, &options].map(str::to_owned).to_vec()
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = match self.codec {
            Codec::H264 => "h264",
            Codec::H265 => "h265",
        };
        let picture = match self.picture {
            Picture::Clock => "clock",
            Picture::Frozen => "frozen",
            Picture::Black => "black",
            Picture::Village(view) => view.name(),
        };
        let Self { width, height, frames_per_s, gop_frames, seconds, kbit_per_s, b_frames, .. } = self;
        write!(to, "v{VERSION}-{codec}-{width}x{height}-{frames_per_s}fps-gop{gop_frames}-{seconds}s-{kbit_per_s}k")?;
        write!(to, "-b{b_frames}{}-{picture}", if self.open_gop { "-open" } else { "" })
    }
}

/// `target/media`: beside the folder of the profile, in which cargo keeps its fingerprints.
///
/// # Errors
/// This program was not built by cargo.
pub fn folder() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let profile = this.ancestors().find(|folder| folder.join(".fingerprint").is_dir());
    Ok(profile.and_then(Path::parent).context("this program does not lie in cargo's target folder")?.join("media"))
}
