//! A backup that lies ready takes the place of what the hub has.
//!
//! **Decided** is a restore when its folder has been renamed to `restore` in the data folder; whoever then opens the data
//! folder carries it out before anything else. What is to be done next is read off what lies where, never remembered, so
//! that after a crash between any two steps the rest is done: before the decision the hub has the old whole, after it the
//! new whole.
//!
//! PostgreSQL comes first: it is one transaction, and should it fail, the restore is refused and nothing has changed. Then
//! come moves within one disk, the old out of the way and the new to its place.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::{AUTHORITY, POSTGRES_FILE, SQLITE_FILE, files, postgres};
use crate::config::Config;
use crate::content;
use crate::store::StoreLocation;

/// The script that replaces what `PostgreSQL` holds.
pub(super) const SCRIPT: &str = "hub.sql";
const PLAN: &str = "plan.json";
const DECIDED: &str = "restore";
const STAGED: &str = "restoring";
/// Why a decided restore was not carried out.
const REASON: &str = "reason.txt";
/// The database, and what SQLite keeps beside one that was not closed in good order.
const SQLITE_FILES: [&str; 3] = [SQLITE_FILE, "hub.db-wal", "hub.db-shm"];

/// One restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// UTC milliseconds at which it began: a name for what it sets aside.
    pub(super) id: i64,
}

/// What became of a decided restore.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Carried out; what was there before is in this folder.
    InPlace(PathBuf),
    /// The database refused, and the hub has what it had.
    Refused(String),
}

impl Plan {
    /// Where its contents are laid; the decision leaves them there.
    pub(super) fn staged_contents(self, config: &Config) -> PathBuf {
        content::folder(&config.data_dir, &config.content).join(format!("restored-{}", self.id))
    }

    /// Where what was there before is kept.
    pub(super) fn aside(self, config: &Config) -> PathBuf {
        config.data_dir.join(format!("replaced-{}", self.id))
    }

    fn refused(self, config: &Config) -> PathBuf {
        config.data_dir.join(format!("refused-{}", self.id))
    }

    /// The last thing that is laid: then all is there.
    pub(super) fn write(self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(PLAN);
        std::fs::write(&path, serde_json::to_vec(&self)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        files::sync(&path)?;
        files::sync(folder)
    }

    fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(PLAN);
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Decides it: from here on whoever opens the data folder carries it out.
    pub(super) fn decide(self, config: &Config) -> anyhow::Result<()> {
        files::rename(&staged(config), &decided(config))
    }

    /// Why it was not carried out, if it was refused.
    pub(super) fn reason(self, config: &Config) -> Option<String> {
        std::fs::read_to_string(self.refused(config).join(REASON)).ok()
    }

    fn refuse(self, config: &Config, reason: &str) -> anyhow::Result<()> {
        let path = decided(config).join(REASON);
        std::fs::write(&path, reason).with_context(|| format!("cannot write {}", path.display()))?;
        files::rename(&decided(config), &self.refused(config))?;
        files::remove_folder(&self.staged_contents(config))
    }
}

/// Whether a restore is decided and not carried out yet.
pub(super) fn is_decided(config: &Config) -> bool {
    decided(config).exists()
}

/// Takes a decision back. The caller knows that nobody is carrying it out.
pub(super) fn take_back(config: &Config) -> anyhow::Result<()> {
    files::remove_folder(&staged(config))?;
    files::rename(&decided(config), &staged(config))
}

/// Where a backup is laid before it is decided.
pub(super) fn staged(config: &Config) -> PathBuf {
    config.data_dir.join(STAGED)
}

fn decided(config: &Config) -> PathBuf {
    config.data_dir.join(DECIDED)
}

/// Carries out what is decided; `None`: nothing is. The caller holds the data folder's lock.
pub(super) async fn carry_out(config: &Config) -> anyhow::Result<Option<Outcome>> {
    if !is_decided(config) {
        return Ok(None);
    }
    let plan = Plan::read(&decided(config))?;
    while let Some(step) = next(config, plan)? {
        let database = matches!(step, Step::DumpDatabase { .. } | Step::ReplaceDatabase { .. });
        match step.take().await {
            // Nothing was moved yet, and the script takes effect whole or not at all.
            Err(error) if database => {
                let reason = format!("{error:#}");
                plan.refuse(config, &reason)?;
                return Ok(Some(Outcome::Refused(reason)));
            }
            taken => taken?,
        }
    }
    Ok(Some(Outcome::InPlace(plan.aside(config))))
}

/// One thing to be done, which a crash leaves undone or done.
#[derive(Debug)]
pub(super) enum Step {
    MakeFolder(PathBuf),
    Move {
        from: PathBuf,
        to: PathBuf,
    },
    DumpDatabase {
        address: String,
        to: PathBuf,
    },
    ReplaceDatabase {
        address: String,
        script: PathBuf,
    },
    /// The decision is carried out: the folder goes.
    Finish {
        from: PathBuf,
        to: PathBuf,
    },
}

impl Step {
    pub(super) async fn take(self) -> anyhow::Result<()> {
        match self {
            Self::MakeFolder(path) => files::make_private_folder(&path),
            Self::Move { from, to } => files::rename(&from, &to),
            Self::DumpDatabase { address, to } => {
                let beside = to.with_extension("new");
                postgres::dump(&address, &beside).await?;
                files::rename(&beside, &to)
            }
            Self::ReplaceDatabase { address, script } => {
                postgres::run_script(&address, &script).await?;
                std::fs::remove_file(&script).with_context(|| format!("cannot remove {}", script.display()))
            }
            Self::Finish { from, to } => {
                files::remove_folder(&to)?;
                files::rename(&from, &to)?;
                files::remove_folder(&to)
            }
        }
    }
}

/// What is to be done next, read off what lies where. `None`: all is done.
pub(super) fn next(config: &Config, plan: Plan) -> anyhow::Result<Option<Step>> {
    let (ready, aside) = (decided(config), plan.aside(config));
    if !ready.exists() {
        return Ok(None);
    }
    if !aside.exists() {
        return Ok(Some(Step::MakeFolder(aside)));
    }
    if let StoreLocation::Postgres(address) = config.store() {
        let (script, dump) = (ready.join(SCRIPT), aside.join(POSTGRES_FILE));
        if script.exists() {
            let step = if dump.exists() {
                Step::ReplaceDatabase { address, script }
            } else {
                Step::DumpDatabase { address, to: dump }
            };
            return Ok(Some(step));
        }
    }
    match things(config, plan).iter().find(|thing| thing.ready.exists()) {
        Some(thing) => thing.next_move().map(Some),
        None => Ok(Some(Step::Finish { from: ready, to: staged(config) })),
    }
}

/// Something that is moved into its place.
#[derive(Debug)]
struct Thing {
    /// Where it lies ready; nothing there: it has been moved.
    ready: PathBuf,
    place: PathBuf,
    /// What is to be out of the way first, and where to.
    old: Vec<(PathBuf, PathBuf)>,
}

impl Thing {
    fn next_move(&self) -> anyhow::Result<Step> {
        let Some((from, to)) = self.old.iter().find(|(from, _)| from.exists()) else {
            return Ok(Step::Move { from: self.ready.clone(), to: self.place.clone() });
        };
        ensure!(
            !to.exists(),
            "a restore is half done, and yet both {} and {} are there: move away the one that is not needed",
            from.display(),
            to.display()
        );
        Ok(Step::Move { from: from.clone(), to: to.clone() })
    }
}

fn things(config: &Config, plan: Plan) -> Vec<Thing> {
    let (ready, data, aside) = (decided(config), &config.data_dir, plan.aside(config));
    let thing = |names: &[&str]| Thing {
        ready: ready.join(names[0]),
        place: data.join(names[0]),
        old: names.iter().map(|name| (data.join(name), aside.join(name))).collect(),
    };
    let contents = content::folder(data, &config.content);
    let whole = contents.join(content::WHOLE);
    let mut things = vec![
        thing(&[AUTHORITY]),
        Thing {
            ready: plan.staged_contents(config),
            place: whole.clone(),
            old: vec![(whole, contents.join(format!("replaced-{}", plan.id)))],
        },
    ];
    if let StoreLocation::Sqlite(_) = config.store() {
        things.push(thing(&SQLITE_FILES));
    }
    things
}
