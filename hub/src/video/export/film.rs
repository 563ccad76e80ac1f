//! A film: the pictures of a recording, as they were encoded, on their way into one ordinary MP4.
//!
//! An MP4 that begins to play before it is whole has its index in front, and the index is known last: so the pictures go into a
//! scratch file first, and are copied behind the index at the end.

use std::io::SeekFrom;

use anyhow::{Context as _, anyhow};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tongluo_protocols::content::{CONTENT_BYTES_MAX, ContentHash, MediaType};
use tongluo_protocols::media::mp4::{MovieLabel, MovieSample, MovieWriter, Track, fragments, read_init};

use crate::content::{Audience, Content};

/// Room for the index: 80 bytes for each picture of [`PICTURES_MAX`] are more than it takes.
const INDEX_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The most pictures of one film: an hour at 50 a second.
const PICTURES_MAX: usize = 180_000;
/// What is copied at once.
const COPY_BYTES: usize = 256 * 1024;
/// A hole that is worth a word; less is the spread of a camera's clock.
const GAP_MS_MIN: i64 = 2_000;
const TICKS_PER_MS: u64 = 90;

/// Why a film ends before the stretch that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortened {
    /// It has as many bytes as a content may have.
    TooLarge,
    /// The camera sends pictures of another form from here on, and one film has one form.
    OtherForm,
}

impl Shortened {
    /// As stored, and as the pages read it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::OtherForm => "other_form",
        }
    }
}

/// A film that is being collected. Times are UTC milliseconds of the gateway's clock.
pub(super) struct Film {
    scratch: File,
    to_ms: i64,
    track: Option<(Track, MovieWriter)>,
    bytes: u64,
    pictures: usize,
    /// Where its first picture is.
    from_ms: Option<i64>,
    /// Up to where it reaches.
    last_ms: i64,
    gaps: Vec<(i64, i64)>,
    shortened: Option<Shortened>,
}

/// A film that is whole, with what is missing of what was asked for.
pub(super) struct Finished {
    pub(super) hash: ContentHash,
    pub(super) bytes: u64,
    pub(super) gaps: Vec<(i64, i64)>,
    pub(super) shortened: Option<Shortened>,
}

impl Film {
    /// Begins to collect a stretch into a scratch file.
    pub(super) fn new(scratch: File, from_ms: i64, to_ms: i64) -> Self {
        Self {
            scratch,
            to_ms,
            track: None,
            bytes: 0,
            pictures: 0,
            from_ms: None,
            last_ms: from_ms,
            gaps: Vec::new(),
            shortened: None,
        }
    }

    /// Up to where it reaches.
    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Whether nothing more goes in.
    pub(super) fn is_full(&self) -> bool {
        self.shortened.is_some() || self.last_ms >= self.to_ms
    }

    /// The recording begins, or changes its form.
    pub(super) fn init(&mut self, data: &[u8]) -> anyhow::Result<()> {
        let (track, _) = read_init(data).map_err(|error| anyhow!("a recording's beginning: {error}"))?;
        match &self.track {
            None => self.track = Some((track.clone(), MovieWriter::new(track))),
            Some((known, _)) if *known != track => self.shortened = Some(Shortened::OtherForm),
            Some(_) => {}
        }
        Ok(())
    }

    /// Some pictures, from `wall_ms` on. Those at or after the end of the stretch are left out.
    pub(super) async fn fragment(&mut self, wall_ms: i64, data: &[u8]) -> anyhow::Result<()> {
        let (_, writer) = self.track.as_mut().context("pictures before what a decoder must know for them")?;
        for fragment in fragments(data) {
            let fragment = fragment.map_err(|error| anyhow!("a piece of a recording: {error}"))?;
            let begins_90k = fragment.decode_90k;
            let film_90k = writer.duration_90k().cast_signed();
            for picture in fragment.samples() {
                let at_ms = wall_ms.saturating_add_unsigned((picture.decode_90k - begins_90k) / TICKS_PER_MS);
                if at_ms >= self.to_ms || self.shortened.is_some() {
                    return Ok(());
                }
                let sample = picture.sample;
                let bytes = sample.data.len() as u64;
                if self.bytes + bytes + INDEX_BYTES_MAX > CONTENT_BYTES_MAX || self.pictures == PICTURES_MAX {
                    self.shortened = Some(Shortened::TooLarge);
                    return Ok(());
                }
                self.scratch.write_all(sample.data).await.context("the disk takes no more")?;
                writer.push(MovieSample {
                    bytes: u32::try_from(bytes).context("a picture of more than 4 GiB")?,
                    duration_90k: sample.duration_90k,
                    composition_90k: sample.composition_90k,
                    key: sample.key,
                });
                (self.bytes, self.pictures) = (self.bytes + bytes, self.pictures + 1);
                if at_ms - self.last_ms >= GAP_MS_MIN {
                    self.gaps.push((self.last_ms, at_ms));
                }
                self.from_ms.get_or_insert(at_ms);
                self.last_ms = at_ms.saturating_add(i64::from(sample.duration_90k) / TICKS_PER_MS as i64);
            }
            // What sounded meanwhile lies behind its pictures; where a hole was taken out of them its sound is left out.
            for piece in fragment.sound() {
                let after_90k = piece.decode_90k.cast_signed().saturating_sub(begins_90k.cast_signed());
                let bytes = piece.sample.data.len();
                if self.bytes + bytes as u64 + INDEX_BYTES_MAX > CONTENT_BYTES_MAX {
                    self.shortened = Some(Shortened::TooLarge);
                    return Ok(());
                }
                let length = u32::try_from(bytes).context("a piece of sound of more than 4 GiB")?;
                if writer.push_sound(length, film_90k.saturating_add(after_90k), piece.sample.duration_90k) {
                    self.scratch.write_all(piece.sample.data).await.context("the disk takes no more")?;
                    self.bytes += bytes as u64;
                }
            }
        }
        Ok(())
    }

    /// Writes the movie. `None`: there is not one picture in it.
    pub(super) async fn finish(
        mut self,
        content: &Content,
        now_ms: i64,
        description: impl FnOnce(&[(i64, i64)]) -> String,
    ) -> anyhow::Result<Option<Finished>> {
        let (Some((_, mut writer)), Some(from_ms)) = (self.track.take(), self.from_ms) else { return Ok(None) };
        if self.to_ms - self.last_ms >= GAP_MS_MIN {
            self.gaps.push((self.last_ms, self.to_ms));
        }
        writer.label(MovieLabel { description: description(&self.gaps), taken_ms: from_ms });
        let header = writer.header().map_err(|error| anyhow!("no index could be made: {error}"))?;
        let mut draft = content.draft(MediaType::Mp4, Audience::Hub).await?;
        draft.write(&header).await?;
        self.scratch.flush().await.context("the disk takes no more")?;
        self.scratch.seek(SeekFrom::Start(0)).await?;
        let mut piece = vec![0; COPY_BYTES];
        loop {
            let count = self.scratch.read(&mut piece).await.context("a scratch file cannot be read")?;
            if count == 0 {
                break;
            }
            draft.write(&piece[..count]).await?;
        }
        let bytes = draft.bytes();
        let hash = draft.finish(now_ms).await?;
        Ok(Some(Finished { hash, bytes, gaps: self.gaps, shortened: self.shortened }))
    }
}
