//! Keeping house: what is too old, over a camera's budget, or over the whole one, goes; the oldest first, evidence never.
//!
//! Deletion goes in steps that a crash may separate: the row is marked, the file unlinked, its folder synced, the row forgotten.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::catalog::{Catalog, Row};
use super::writer::sync_folder;
use super::{Budget, Limits, Shared};

/// Segments that go in one round: ten hours of one camera. A larger backlog goes over the next rounds, so that writing goes on.
const ROUND_MAX: usize = 128;

const DAY_MS: i64 = 24 * 3_600_000;

/// The recorder's house.
pub(super) struct House {
    budget: Budget,
    limits: HashMap<Arc<str>, Limits>,
    /// Bytes of each camera, open segments included.
    bytes: HashMap<Arc<str>, u64>,
    /// Cameras whose own budget is used up by what must not go.
    shut: Vec<Arc<str>>,
    is_shut: bool,
}

impl House {
    pub(super) fn new(budget: Budget, catalog: &Catalog) -> anyhow::Result<Self> {
        let bytes = catalog.totals()?.into_iter().map(|(camera, bytes)| (camera.into(), bytes)).collect();
        Ok(Self { budget, limits: HashMap::new(), bytes, shut: Vec::new(), is_shut: false })
    }

    pub(super) fn limit(&mut self, limits: HashMap<Arc<str>, Limits>) {
        self.limits = limits;
    }

    /// Whether nothing may be written of a camera, because there is no room that could be made.
    pub(super) fn is_shut(&self, camera: &Arc<str>) -> bool {
        self.is_shut || self.shut.contains(camera)
    }

    /// Something was written.
    pub(super) fn grew(&mut self, camera: &Arc<str>, bytes: u64, shared: &Shared) {
        *self.bytes.entry(camera.clone()).or_default() += bytes;
        if let Some(totals) = shared.cameras().get_mut(camera) {
            totals.bytes += bytes;
        }
        shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The disk said so.
    pub(super) fn is_full(&mut self, shared: &Shared) {
        self.is_shut = true;
        shared.disk_full.store(true, Ordering::Relaxed);
    }

    /// Lets go of what must go, and says whether there is room. `queued_bytes` are about to be written.
    pub(super) fn tidy(&mut self, catalog: &Catalog, shared: &Shared, queued_bytes: u64, now_utc_ms: i64) {
        if let Err(error) = self.try_tidy(catalog, queued_bytes, now_utc_ms) {
            tracing::error!(recording.error = format!("{error:#}"), "old recordings cannot be deleted");
        }
        self.publish(catalog, shared);
        let is_full = self.is_shut || !self.shut.is_empty();
        if shared.disk_full.swap(is_full, Ordering::Relaxed) != is_full {
            tracing::warn!(
                recording.disk_full = is_full,
                recording.folder = %self.budget.folder.display(),
                "whether there is room for video has changed"
            );
        }
    }

    /// Tells the room how much there is of each camera.
    pub(super) fn publish(&self, catalog: &Catalog, shared: &Shared) {
        let cameras: Vec<Arc<str>> = self.bytes.keys().cloned().collect();
        for camera in cameras {
            let from_ms = catalog.earliest(&camera).ok().flatten();
            let bytes = self.bytes.get(&camera).copied().unwrap_or(0);
            let mut cameras = shared.cameras();
            let totals = cameras.entry(camera).or_default();
            (totals.bytes, totals.from_ms) = (bytes, from_ms);
        }
        shared.bytes.store(self.bytes.values().sum(), Ordering::Relaxed);
    }

    fn try_tidy(&mut self, catalog: &Catalog, queued_bytes: u64, now_utc_ms: i64) -> anyhow::Result<()> {
        catalog.unprotect(now_utc_ms)?;
        let mut going = Going { rows: 0, folders: BTreeSet::new(), forgotten: Vec::new() };
        for (camera, limits) in self.limits.clone() {
            let before_ms = now_utc_ms - i64::from(limits.days_max) * DAY_MS;
            while limits.days_max > 0
                && going.rows < ROUND_MAX
                && let Some(row) = catalog.oldest(Some(camera.as_ref()), before_ms, now_utc_ms)?
            {
                self.unlink(catalog, &row, &mut going)?;
            }
        }
        self.shut.clear();
        for (camera, limits) in self.limits.clone() {
            while limits.bytes_max > 0 && self.bytes.get(&camera).is_some_and(|bytes| *bytes > limits.bytes_max) {
                if going.rows >= ROUND_MAX {
                    break;
                }
                let Some(row) = catalog.oldest(Some(camera.as_ref()), i64::MAX, now_utc_ms)? else {
                    // One segment may be open; a camera whose budget is smaller than that still records it.
                    if self.bytes.get(&camera).is_some_and(|bytes| *bytes / 2 > limits.bytes_max) {
                        self.shut.push(camera.clone());
                    }
                    break;
                };
                self.unlink(catalog, &row, &mut going)?;
            }
        }
        self.is_shut = false;
        while self.is_over(queued_bytes, &going) {
            if going.rows >= ROUND_MAX {
                break;
            }
            let Some(row) = catalog.oldest(None, i64::MAX, now_utc_ms)? else {
                self.is_shut = true;
                break;
            };
            self.unlink(catalog, &row, &mut going)?;
        }
        going.end(catalog, &self.budget.folder)
    }

    fn is_over(&self, queued_bytes: u64, going: &Going) -> bool {
        let bytes: u64 = self.bytes.values().sum();
        if bytes + queued_bytes > self.budget.bytes_max {
            return true;
        }
        // Unlinked files may still be read by somebody, and are given back late: what just went is counted as free.
        match rustix::fs::statvfs(&self.budget.folder) {
            Ok(disk) => disk.f_bavail * disk.f_frsize + going.bytes() < self.budget.keep_free_bytes + queued_bytes,
            Err(_) => false,
        }
    }

    fn unlink(&mut self, catalog: &Catalog, row: &Row, going: &mut Going) -> anyhow::Result<()> {
        catalog.leave(row.id)?;
        let path = self.budget.folder.join(&row.path);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(bytes) = self.bytes.get_mut(row.camera.as_str()) {
            *bytes = bytes.saturating_sub(row.bytes);
        }
        going.rows += 1;
        going.forgotten.push((row.id, row.bytes));
        going.folders.extend(path.parent().map(PathBuf::from));
        Ok(())
    }
}

/// What was unlinked in a round and is not yet forgotten.
struct Going {
    rows: usize,
    folders: BTreeSet<PathBuf>,
    forgotten: Vec<(i64, u64)>,
}

impl Going {
    fn bytes(&self) -> u64 {
        self.forgotten.iter().map(|(_, bytes)| bytes).sum()
    }

    fn end(self, catalog: &Catalog, root: &std::path::Path) -> anyhow::Result<()> {
        for folder in self.folders {
            // A day that is empty goes, too; one that is not stays.
            if folder != root && fs::remove_dir(&folder).is_ok() {
                continue;
            }
            sync_folder(&folder)?;
        }
        for (id, _) in self.forgotten {
            catalog.forget(id)?;
        }
        Ok(())
    }
}
