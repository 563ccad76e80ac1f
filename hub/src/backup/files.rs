//! Files that are whole or not there, also after a power cut.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

/// Has the disk keep a file, or a folder's list of files.
pub(super) fn sync(path: &Path) -> anyhow::Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.with_context(|| format!("cannot sync {}", path.display()))
}

/// Renames, and has the disk keep that.
pub(super) fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    for path in [to, from] {
        sync(path.parent().context("what is moved lies in a folder")?)?;
    }
    Ok(())
}

/// Copies a file. It keeps its permissions: keys stay readable by their owner alone.
pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    sync(to)
}

/// Copies the files of a folder that holds nothing else.
pub(super) fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    make_private_folder(to)?;
    for file in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let file = file?;
        copy(&file.path(), &to.join(file.file_name()))?;
    }
    sync(to)
}

/// A folder of folders of files that never change: linked where the disk is the same, else copied. What expires meanwhile
/// is left out.
pub(super) fn link_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    make_private_folder(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link_tree(&source, &target)?;
            continue;
        }
        let linked = std::fs::hard_link(&source, &target)
            .or_else(|_| std::fs::copy(&source, &target).and_then(|_| File::open(&target)?.sync_all()));
        match linked {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            linked => linked.with_context(|| format!("cannot copy {}", source.display()))?,
        }
    }
    sync(to)
}

/// Makes a folder for its owner alone.
pub(super) fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Removes a folder with all that is in it; that it is not there is fine.
pub(super) fn remove_folder(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
