//! Files that hold keys and certificates: written whole or not at all, keys readable by the hub's user only.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Owner reads and writes; nobody else.
const PRIVATE: u32 = 0o600;
/// Everybody reads: certificates and revocation lists, which a broker of another user needs.
const PUBLIC: u32 = 0o644;

/// Writes a key.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    write(path, text, PRIVATE)
}

/// Writes something that is no secret.
pub(crate) fn write_public(path: &Path, text: &str) -> anyhow::Result<()> {
    write(path, text, PUBLIC)
}

pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Beside the target first, then renamed over it, then the folder synced: a crash leaves the old file or the new one.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let folder = path.parent().context("a key file lies in a folder")?;
    let attempt = || -> std::io::Result<()> {
        // What an earlier crash left may have another mode.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}
