//! What a backup says of itself, and whether that is so.
//!
//! The manifest is written last: a folder without one is not a whole backup. It names each file of database and keys with
//! its length and SHA-256, and how many contents there are and how long; each content's name is its own hash. It is read
//! before anything else is touched, so that what is wrong, cut short or too new is refused by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{AUTHORITY, CONTENT, database_name};
use crate::clock;
use crate::config::Config;
use crate::store::Store;

const MANIFEST: &str = "manifest.json";
/// A manifest has a line for each key of the county, and there are a dozen.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The hub's version that wrote it.
    version: String,
    /// `sqlite` or `postgres`.
    database: String,
    /// UTC milliseconds.
    made_ms: i64,
    /// The newest change of the tables that it contains; 0: written before this was noted.
    #[serde(default)]
    schema: i64,
    /// Database and keys, by their path in the backup. Empty: written before they were noted.
    #[serde(default)]
    files: BTreeMap<String, Sum>,
    /// The contents, all together.
    #[serde(default)]
    contents: Option<Extent>,
}

/// What a file must be.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    /// Lower-case hexadecimal.
    sha256: String,
}

/// How much there is in a folder.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Extent {
    files: u64,
    bytes: u64,
}

/// Declares the backup whole.
pub(super) fn write(config: &Config, folder: &Path) -> anyhow::Result<()> {
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: database_name(config).to_owned(),
        made_ms: clock::utc_ms(),
        schema: Store::newest_schema(),
        files: sums(folder)?,
        contents: Some(extent(&folder.join(CONTENT))?),
    };
    let path = folder.join(MANIFEST);
    std::fs::write(&path, serde_json::to_vec_pretty(&manifest)?)?;
    super::files::sync(&path)?;
    super::files::sync(folder)
}

/// Reads a backup through: that it is one, of this kind of database, not newer than this hub, and all there.
pub(super) fn check(config: &Config, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(MANIFEST);
    let not_one = || format!("{} is not a backup: it has no {MANIFEST}", folder.display());
    ensure!(path.metadata().with_context(not_one)?.len() <= MANIFEST_BYTES_MAX, "the backup's {MANIFEST} is too long");
    let manifest = std::fs::read(&path).with_context(not_one)?;
    let manifest: Manifest =
        serde_json::from_slice(&manifest).with_context(|| format!("the backup's {MANIFEST} cannot be read"))?;
    let wanted = database_name(config);
    if manifest.database != wanted {
        bail!("the backup is of a {} database, the configuration names {wanted}", manifest.database);
    }
    let known = Store::newest_schema();
    if manifest.schema > known {
        let (theirs, ours) = (&manifest.version, env!("CARGO_PKG_VERSION"));
        bail!(
            "the backup is newer than this hub: its tables are of version {} (tongluo-hub {theirs}), known are those up \
             to {known} (tongluo-hub {ours}); update the hub first",
            manifest.schema
        );
    }
    compare(&manifest, folder)
}

fn compare(manifest: &Manifest, folder: &Path) -> anyhow::Result<()> {
    if manifest.files.is_empty() {
        return Ok(());
    }
    let found = sums(folder)?;
    for (name, sum) in &manifest.files {
        let Some(found) = found.get(name) else { bail!("the backup is not whole: {name} is missing") };
        let (is, was) = (found.bytes, sum.bytes);
        ensure!(is == was, "the backup is damaged: {name} has {is} bytes, and had {was} when it was written");
        ensure!(found == sum, "the backup is damaged: {name} is not what was written (its SHA-256 differs)");
    }
    if let Some(was) = &manifest.contents {
        let is = extent(&folder.join(CONTENT))?;
        let (files, bytes) = (was.files, was.bytes);
        ensure!(
            is == *was,
            "the backup is damaged: {CONTENT} holds {} files of {} bytes together, and had {files} of {bytes}",
            is.files,
            is.bytes
        );
    }
    Ok(())
}

/// The files of database and keys.
fn sums(folder: &Path) -> anyhow::Result<BTreeMap<String, Sum>> {
    let mut sums = BTreeMap::new();
    for (folder, prefix) in [(folder.to_owned(), String::new()), (folder.join(AUTHORITY), format!("{AUTHORITY}/"))] {
        let entries = std::fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("the backup is not whole: cannot read {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.metadata()?.is_file() && name != MANIFEST {
                sums.insert(format!("{prefix}{}", name.to_string_lossy()), sum(&entry.path())?);
            }
        }
    }
    Ok(sums)
}

fn sum(path: &Path) -> anyhow::Result<Sum> {
    let cannot = || format!("cannot read {}", path.display());
    let mut hash = Sha256::new();
    let bytes = std::io::copy(&mut File::open(path).with_context(cannot)?, &mut hash).with_context(cannot)?;
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Sum { bytes, sha256 })
}

/// All files under a folder; none if there is no folder.
fn extent(folder: &Path) -> anyhow::Result<Extent> {
    let mut extent = Extent::default();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(extent),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let more =
            if metadata.is_dir() { self::extent(&entry.path())? } else { Extent { files: 1, bytes: metadata.len() } };
        extent.files += more.files;
        extent.bytes += more.bytes;
    }
    Ok(extent)
}
