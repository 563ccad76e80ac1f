//! One hub process at a time: the embedded broker and SQLite stand on it.
//!
//! The lock's file also says which process serves, so that a restore can ask it to make room (`backup`).

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::unistd::Pid;

const HUB: &str = "hub.lock";
const BACKUP: &str = "backup.lock";

/// The data folder, held by this process. The operating system lets go of it however the process ends.
#[derive(Debug)]
pub struct DataLock(File);

impl DataLock {
    /// Takes the data folder, making it if it is not there.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written.
    pub fn take(data_dir: &Path) -> anyhow::Result<Self> {
        match Self::take_if_free(data_dir)? {
            Some(lock) => Ok(lock),
            None => bail!("another tongluo-hub is using {}; end it first", data_dir.display()),
        }
    }

    /// Takes the data folder, making it if it is not there. `None`: another process has it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn take_if_free(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let Some(file) = lock(data_dir, HUB)? else { return Ok(None) };
        // Whoever is named there served before us.
        file.set_len(0).context("cannot write the lock of the data folder")?;
        Ok(Some(Self(file)))
    }

    /// Says that this process serves and listens to signals.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self) -> anyhow::Result<()> {
        let pid = format!("{}\n", std::process::id());
        self.0.write_all_at(pid.as_bytes(), 0).context("cannot write into the lock of the data folder")
    }

    /// Takes that back: this process is about to end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn retract(&self) -> anyhow::Result<()> {
        self.0.set_len(0).context("cannot write the lock of the data folder")
    }

    /// The process that serves from a data folder which is taken. `None`: it has not begun to, or has just ended.
    pub fn server(data_dir: &Path) -> Option<Pid> {
        let text = std::fs::read_to_string(data_dir.join(HUB)).ok()?;
        text.trim().parse().ok().filter(|pid| *pid > 0).map(Pid::from_raw)
    }
}

/// The right to write a backup or to put one in place, one at a time, beside a hub that may be running.
#[derive(Debug)]
pub struct BackupLock(#[expect(dead_code, reason = "held, not read")] File);

impl BackupLock {
    /// Takes it.
    ///
    /// # Errors
    /// Another process has it, or the data folder cannot be written.
    pub fn take(data_dir: &Path) -> anyhow::Result<Self> {
        match lock(data_dir, BACKUP)? {
            Some(file) => Ok(Self(file)),
            None => bail!("another backup or restore of {} is under way", data_dir.display()),
        }
    }
}

fn lock(data_dir: &Path, name: &str) -> anyhow::Result<Option<File>> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
    let path = data_dir.join(name);
    // Not emptied here: it may be another's.
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::DataLock;

    #[test]
    fn the_second_one_is_refused_by_name_and_the_next_one_is_not() {
        let folder = std::env::temp_dir().join(format!("tongluo-lock-{}", crate::ids::opaque()));
        let first = DataLock::take(&folder).unwrap();
        first.announce().unwrap();
        let message = DataLock::take(&folder).unwrap_err().to_string();
        assert!(message.contains("another tongluo-hub"), "{message}");
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(DataLock::server(&folder).map(nix::unistd::Pid::as_raw), Some(own), "the refused one left it alone");
        drop(first);
        let next = DataLock::take(&folder).unwrap();
        assert_eq!(DataLock::server(&folder), None, "the next one does not serve yet");
        next.announce().unwrap();
        next.retract().unwrap();
        assert_eq!(DataLock::server(&folder), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
