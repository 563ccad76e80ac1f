//! One clip: fragments from the cameras, joined into a file that any player opens.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tongluo_protocols::content::{CONTENT_BYTES_MAX, ContentHash};
use tongluo_protocols::media::mp4;

use crate::camera::Piece;

/// A hole that is worth a word; less is the spread of a camera's clock.
const GAP_MS_MIN: i64 = 2_000;
/// Ticks of the files' timescale per millisecond.
const TICKS_PER_MS: u64 = 90;

/// A clip that is being written.
pub(super) struct Clip {
    path: PathBuf,
    file: File,
    sha256: Sha256,
    bytes: u64,
    init: Option<Vec<u8>>,
    /// The begin of the first fragment, UTC milliseconds.
    first_ms: Option<i64>,
    /// The end of the last one.
    last_ms: i64,
    missing_ms: i64,
    /// Nothing more fits: the camera changed its form, or the file is as long as may be.
    full: bool,
}

/// A finished file, still under the name it was written as.
pub(super) struct Finished {
    pub(super) hash: ContentHash,
    pub(super) bytes: u64,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    /// What is missing of what was asked for.
    pub(super) reason: Option<String>,
}

impl Clip {
    /// Begins anew, whatever an earlier life had written.
    pub(super) fn create(path: &Path, from_ms: i64) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: File::create(path)?,
            sha256: Sha256::new(),
            bytes: 0,
            init: None,
            first_ms: None,
            last_ms: from_ms,
            missing_ms: 0,
            full: false,
        })
    }

    /// Whether there is any picture in it.
    pub(super) fn is_empty(&self) -> bool {
        self.first_ms.is_none()
    }

    /// Up to where it reaches, UTC milliseconds.
    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Takes what a reading gives, to its end.
    pub(super) async fn take(&mut self, pieces: &mut mpsc::Receiver<Piece>) -> io::Result<()> {
        while let Some(piece) = pieces.recv().await {
            match piece {
                _ if self.full => return Ok(()),
                Piece::Init { data, .. } => self.init(data)?,
                Piece::Fragment { wall_ms, duration_ms, data, .. } => self.fragment(wall_ms, duration_ms, data)?,
                // It shows in the times of what follows, or in the clip's end.
                Piece::Gap { .. } => {}
            }
        }
        Ok(())
    }

    fn init(&mut self, data: Vec<u8>) -> io::Result<()> {
        match &self.init {
            Some(init) if *init == data => Ok(()),
            // One file has one form. What follows the change stays in the recording.
            Some(_) => {
                self.full = true;
                Ok(())
            }
            None => {
                self.write(&data)?;
                self.init = Some(data);
                Ok(())
            }
        }
    }

    fn fragment(&mut self, wall_ms: i64, duration_ms: u32, mut data: Vec<u8>) -> io::Result<()> {
        let end_ms = wall_ms + i64::from(duration_ms);
        if self.first_ms.is_some() {
            // Where one reading follows another, the group at the seam comes twice.
            if end_ms - self.last_ms <= i64::from(duration_ms / 2) {
                return Ok(());
            }
            let hole_ms = wall_ms - self.last_ms;
            self.missing_ms += if hole_ms >= GAP_MS_MIN { hole_ms } else { 0 };
        }
        let first_ms = *self.first_ms.get_or_insert(wall_ms);
        let decode_90k = u64::try_from(wall_ms - first_ms).unwrap_or(0) * TICKS_PER_MS;
        mp4::retime(&mut data, decode_90k).map_err(io::Error::other)?;
        if self.bytes + data.len() as u64 > CONTENT_BYTES_MAX {
            self.full = true;
            return Ok(());
        }
        self.write(&data)?;
        self.last_ms = self.last_ms.max(end_ms);
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.sha256.update(data);
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// Syncs it. `None`: there is no picture in it.
    pub(super) fn finish(&self, asked_from_ms: i64, asked_to_ms: i64) -> io::Result<Option<Finished>> {
        let Some(from_ms) = self.first_ms else { return Ok(None) };
        self.file.sync_all()?;
        let mut lacks = Vec::new();
        let seconds = |ms: i64| (ms + 500) / 1_000;
        if from_ms - asked_from_ms >= GAP_MS_MIN {
            lacks.push(format!("the first {} s were not recorded", seconds(from_ms - asked_from_ms)));
        }
        if self.missing_ms >= GAP_MS_MIN {
            lacks.push(format!("{} s in between were not recorded", seconds(self.missing_ms)));
        }
        if asked_to_ms - self.last_ms >= GAP_MS_MIN {
            lacks.push(format!("the last {} s were not recorded", seconds(asked_to_ms - self.last_ms)));
        }
        Ok(Some(Finished {
            hash: ContentHash::new(self.sha256.clone().finalize().into()),
            bytes: self.bytes,
            from_ms,
            to_ms: self.last_ms,
            reason: (!lacks.is_empty()).then(|| lacks.join("; ")),
        }))
    }

    /// Gives the file its name.
    pub(super) fn keep(&self, to: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, to)?;
        let folder = to.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}
