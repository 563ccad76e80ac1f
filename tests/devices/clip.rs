//! A file of video in memory: its access units, already cut into packets, and what a client must know before the first.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::packet::{self, Packets};
use super::recipe::{Codec, Recipe};

/// One access unit.
#[derive(Debug)]
pub struct Unit {
    /// Number of its picture in the file, which is also what its clock shows.
    pub picture: u32,
    /// Whether decoding can begin here.
    pub is_key: bool,
    /// Its packets.
    pub packets: Packets,
}

/// A file of video. Shared by all cameras that play it.
#[derive(Debug)]
pub struct Clip {
    /// How it was made.
    pub recipe: Recipe,
    /// In decoding order.
    pub units: Vec<Unit>,
    /// How many pictures' time an access unit is sent after its picture was taken: what B-frames cost.
    pub delay_frames: u32,
    /// Parameter sets, without start codes, in the order of the stream.
    parameters: Vec<Vec<u8>>,
}

impl Clip {
    /// Loads what a recipe gives, making it first if needed. Blocks for seconds then.
    ///
    /// # Errors
    /// As [`Recipe::files`], or the files do not fit together.
    pub fn load(recipe: Recipe) -> Result<Arc<Self>> {
        let (video, list) = recipe.files()?;
        let bytes = std::fs::read(&video).with_context(|| format!("cannot read {}", video.display()))?;
        let list = std::fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        let clip = Self::of(recipe, &bytes, &list).with_context(|| format!("{recipe} is damaged; delete it"))?;
        Ok(Arc::new(clip))
    }

    fn of(recipe: Recipe, bytes: &[u8], list: &str) -> Result<Self> {
        let mut units = Vec::new();
        let mut parameters = Vec::new();
        let (mut from, mut delay_frames) = (0, 0);
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let (picture, size) = entry(line).with_context(|| format!("the line {line:?}"))?;
            let unit = bytes.get(from..from + size).context("the list is longer than the stream")?;
            from += size;
            let nals: Vec<&[u8]> =
                packet::nals(unit).filter(|nal| packet::is_worth_sending(recipe.codec, nal)).collect();
            ensure!(!nals.is_empty(), "an access unit without anything in it");
            if units.is_empty() {
                let sets = nals.iter().filter(|nal| packet::is_parameter_set(recipe.codec, nal));
                parameters = sets.map(|nal| nal.to_vec()).collect();
            }
            let is_key = nals.iter().any(|nal| packet::is_key(recipe.codec, nal));
            let place = u32::try_from(units.len())?;
            delay_frames = delay_frames.max(picture.saturating_sub(place));
            units.push(Unit { picture, is_key, packets: Packets::cut(recipe.codec, &nals) });
        }
        ensure!(from == bytes.len(), "the stream is longer than the list");
        ensure!(units.len() == recipe.frames() as usize, "{} access units", units.len());
        ensure!(units[0].is_key, "it does not begin with a keyframe");
        Ok(Self { recipe, units, delay_frames, parameters })
    }

    /// The lines of its media description (RFC 4566, RFC 6184, RFC 7798).
    pub(crate) fn description(&self) -> String {
        let sets: Vec<String> = self.parameters.iter().map(|set| STANDARD.encode(set)).collect();
        let (name, format) = match self.recipe.codec {
            Codec::H264 => {
                let profile: String =
                    self.parameters[0].get(1..4).unwrap_or_default().iter().map(|byte| format!("{byte:02X}")).collect();
                let sets = sets.join(",");
                ("H264", format!("packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}"))
            }
            Codec::H265 => {
                let named = ["vps", "sps", "pps"].iter().zip(&sets);
                let named: Vec<String> = named.map(|(name, set)| format!("sprop-{name}={set}")).collect();
                ("H265", named.join(";"))
            }
        };
        let payload = packet::PAYLOAD_TYPE;
        format!(
            "m=video 0 RTP/AVP {payload}\r\na=rtpmap:{payload} {name}/90000\r\na=framerate:{}\r\na=fmtp:{payload} {format}\r\n",
            self.recipe.frames_per_s
        )
    }
}

/// Number of the picture and size in bytes, of a line of ffmpeg's `framecrc`: stream, dts, pts, duration, size, checksum.
fn entry(line: &str) -> Result<(u32, usize)> {
    let mut fields = line.split(',').map(str::trim);
    let picture = fields.nth(2).context("no pts")?.parse()?;
    let size = fields.nth(1).context("no size")?.parse()?;
    Ok((picture, size))
}
