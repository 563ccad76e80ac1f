//! Backup of a running hub, and its way back into a running hub.
//!
//! A backup is a folder: the database as of one moment, the county's keys, the contents (evidence, exports, notices), and a
//! manifest. Contents never change, so where the backup lies on the same disk they are linked and cost nothing. SQLite copies itself
//! (`vacuum into`), PostgreSQL's own tools do it for PostgreSQL.
//!
//! A restore reads the backup through (`manifest.rs`), lays it whole beside what the hub has (`stage.rs`), decides by one
//! rename, and moves it into place (`swap.rs`). Only for the moves must nobody serve. If a hub is running, it is asked by a
//! signal: it ends in good order, its process becomes a new one of the same id, and that carries out what is decided before
//! it serves again. A crash anywhere leaves the old whole, or a decision that the next start carries out.
//!
//! After a restore the hub is behind what gateways were acknowledged; they keep acknowledged entries for a week, and the hub
//! asks for them again by itself. Pages that followed the former change log are told to start over, because the same
//! sequence would now mean something else.

mod files;
mod manifest;
mod postgres;
mod stage;
mod swap;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock;
use crate::config::Config;
use crate::content;
use crate::fleet::Authority;
use crate::lock::{BackupLock, DataLock};
use crate::store::{Store, StoreLocation};

use swap::{Outcome, Plan};

/// The authority's folder, in the data folder and in a backup.
const AUTHORITY: &str = "authority";
/// The SQLite database's name, in the data folder and in a backup.
const SQLITE_FILE: &str = "hub.db";
/// `PostgreSQL`'s archive in a backup.
const POSTGRES_FILE: &str = "hub.pgdump";
/// Whole contents, in the content's folder and in a backup. Uploads under way are sent again.
const CONTENT: &str = "content";

/// What asks a running hub to carry out a restore. No terminal and no supervisor sends it by itself.
const ASK: Signal = Signal::SIGUSR1;
/// How long a hub that has just started may take until it serves and can be asked.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a hub may take to end, carry out and serve again. `PostgreSQL` writes and reads the whole ledger meanwhile.
const RESTART_PATIENCE: Duration = Duration::from_secs(3600);
/// How often is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What was done, as a sentence.
#[derive(Clone, Debug)]
pub struct Done(String);

impl fmt::Display for Done {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Writes a backup into the folder `to`, which must not exist. The hub may be running.
///
/// # Errors
/// The folder exists or cannot be written, or the database cannot be copied. What was half written is left for a look.
pub async fn backup(config: &Config, to: &Path) -> anyhow::Result<Done> {
    ensure!(!to.exists(), "{} exists; a backup is never written over another", to.display());
    let _turn = BackupLock::take(&config.data_dir)?;
    files::make_private_folder(to)?;
    match config.store() {
        StoreLocation::Sqlite(path) => {
            ensure!(path.exists(), "{} does not exist; has `tongluo-hub init` been run?", path.display());
            let store = Store::open(&config.store()).await.context("cannot open the database")?;
            let target = to.join(SQLITE_FILE);
            let copied = sqlx::query("vacuum into $1").bind(target.display().to_string()).execute(store.reader()).await;
            store.close().await;
            copied.context("the database could not be copied")?;
            files::sync(&target)?;
        }
        StoreLocation::Postgres(address) => postgres::dump(&address, &to.join(POSTGRES_FILE)).await?,
    }
    files::copy_folder(&config.data_dir.join(AUTHORITY), &to.join(AUTHORITY))?;
    let contents = content::folder(&config.data_dir, &config.content).join(content::WHOLE);
    if contents.exists() {
        files::link_tree(&contents, &to.join(CONTENT))?;
    }
    manifest::write(config, to)?;
    Ok(Done(format!("The backup is in {}. It holds the county's keys: keep it as safe as the hub.", to.display())))
}

/// Puts a backup in place, whether a hub is running or not; a running one serves again when this returns. What the hub had
/// is moved into `replaced-…` in the data folder.
///
/// # Errors
/// The backup is of the other database or another county, newer, damaged or not whole: then nothing has changed, and a
/// running hub has not noticed. Or the hub did not come back; then the sentence says what it has now.
pub async fn restore(config: &Config, from: &Path) -> anyhow::Result<Done> {
    let _turn = BackupLock::take(&config.data_dir)?;
    manifest::check(config, from)?;
    let plan = Plan { id: clock::utc_ms() };
    let deadline = clock::instant() + START_PATIENCE;
    loop {
        if let Some(lock) = DataLock::take_if_free(&config.data_dir)? {
            return restore_at_rest(config, from, plan, lock).await;
        }
        if let Some(hub) = DataLock::server(&config.data_dir) {
            return restore_running(config, from, plan, hub).await;
        }
        ensure!(
            clock::instant() < deadline,
            "another tongluo-hub is using {} and does not serve; end it first",
            config.data_dir.display()
        );
        clock::pause(LOOK_EVERY).await;
    }
}

/// Nobody serves, and nobody begins to as long as the lock is held.
async fn restore_at_rest(config: &Config, from: &Path, plan: Plan, _lock: DataLock) -> anyhow::Result<Done> {
    // One that was decided, and then nothing ran any more: it came first.
    swap::carry_out(config).await?;
    stage::stage(config, from, plan).await?;
    plan.decide(config)?;
    match swap::carry_out(config).await?.context("what was just decided is there")? {
        Outcome::Refused(reason) => bail!("the backup was not put in place, and nothing has changed: {reason}"),
        Outcome::InPlace(aside) => Ok(Done(format!(
            "The backup is in place; what was there before is in {}. Start the hub: gateways will send again what it lacks.",
            aside.display()
        ))),
    }
}

async fn restore_running(config: &Config, from: &Path, plan: Plan, hub: Pid) -> anyhow::Result<Done> {
    let asked = |error: Errno| format!("the running hub (process {hub}) cannot be asked: {error}");
    kill(hub, None).map_err(asked).map_err(anyhow::Error::msg)?;
    if swap::is_decided(config) {
        // A command that was ended before it asked: this one knows better.
        swap::take_back(config)?;
    }
    stage::stage(config, from, plan).await?;
    let (ours, theirs) = (Authority::open(&config.data_dir)?, Authority::open(&swap::staged(config))?);
    ensure!(
        ours.fingerprint() == theirs.fingerprint(),
        "the backup is of another county: its CA fingerprint is {}, the running hub's {}. No gateway of this one could \
         connect; if it is meant, end the hub first",
        theirs.fingerprint(),
        ours.fingerprint()
    );
    plan.decide(config)?;
    if let Err(error) = kill(hub, ASK) {
        swap::take_back(config)?;
        bail!(asked(error));
    }
    until_it_serves_again(config, plan, hub).await
}

async fn until_it_serves_again(config: &Config, plan: Plan, hub: Pid) -> anyhow::Result<Done> {
    let deadline = clock::instant() + RESTART_PATIENCE;
    loop {
        if !swap::is_decided(config) && DataLock::server(&config.data_dir) == Some(hub) {
            if let Some(reason) = plan.reason(config) {
                bail!("the backup was not put in place, and the hub serves what it had: {reason}");
            }
            let aside = plan.aside(config);
            return Ok(Done(format!(
                "The backup is in place, and the hub serves it; what was there before is in {}. Gateways send again what it lacks.",
                aside.display()
            )));
        }
        let what_now = "the restore is decided, and the next `tongluo-hub serve` carries it out";
        let what_now = if swap::is_decided(config) { what_now } else { "the restore is carried out" };
        ensure!(lives(hub), "the hub has ended, see its log; {what_now}");
        ensure!(clock::instant() < deadline, "the hub does not serve yet; {what_now}");
        clock::pause(LOOK_EVERY).await;
    }
}

/// Whether a process has not ended. One that nobody has asked for its status yet has.
fn lives(process: Pid) -> bool {
    // proc(5): the state follows the name, which is in brackets and may hold any character.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Whether a restore waits for the hub to make room.
pub fn is_decided(config: &Config) -> bool {
    swap::is_decided(config)
}

/// Carries out a restore that was decided before this process held the data folder's lock; without one it does nothing.
///
/// # Errors
/// Files cannot be moved. The rest is done at the next start.
pub async fn carry_out(config: &Config) -> anyhow::Result<()> {
    match swap::carry_out(config).await.context("a restore is decided and cannot be carried out")? {
        None => {}
        Some(Outcome::InPlace(aside)) => {
            tracing::warn!(aside = %aside.display(), "A backup was put in place; what was there before is set aside");
        }
        Some(Outcome::Refused(reason)) => {
            tracing::error!(%reason, "A backup was not put in place; nothing has changed")
        }
    }
    Ok(())
}

fn database_name(config: &Config) -> &'static str {
    match config.store() {
        StoreLocation::Sqlite(_) => "sqlite",
        StoreLocation::Postgres(_) => "postgres",
    }
}
