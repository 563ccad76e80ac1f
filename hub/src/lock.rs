//! One hub process at a time: the embedded broker and SQLite stand on it.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context as _, bail};

/// The data folder, held by this process. The operating system lets go of it however the process ends.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "held, not read")] File);

impl DataLock {
    /// Takes the data folder, making it if it is not there.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written.
    pub fn take(data_dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
        let path = data_dir.join("hub.lock");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                bail!("another tongluo-hub is using {}; end it first", data_dir.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DataLock;

    #[test]
    fn the_second_one_is_refused_by_name_and_the_next_one_is_not() {
        let folder = std::env::temp_dir().join(format!("tongluo-lock-{}", crate::ids::opaque()));
        let first = DataLock::take(&folder).unwrap();
        let message = DataLock::take(&folder).unwrap_err().to_string();
        assert!(message.contains("another tongluo-hub"), "{message}");
        drop(first);
        DataLock::take(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
