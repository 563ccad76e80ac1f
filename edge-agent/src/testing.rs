//! What several tests need.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tongluo_protocols::configuration::{Speaker, SpeakerKind};

/// A directory that goes away with its owner.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tongluo-edge-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A loudspeaker of ours, by its id.
pub(crate) fn speaker(id: &str) -> Speaker {
    Speaker {
        id: id.to_owned(),
        name: "村口".to_owned(),
        kind: SpeakerKind::Mqtt,
        device: id.to_owned(),
        key: None,
        volume_percent: 80,
        warm_up_ms: 0,
    }
}
