//! A backup laid beside what the hub has, whole, before anything is decided: the hub may be running all the while.
//!
//! What is laid there is what will be moved into place: the database with its change log begun anew, the keys, the contents.
//! So whatever can be wrong with a backup shows here, and the hub goes on untouched.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::swap::{self, Plan, SCRIPT};
use super::{AUTHORITY, CONTENT, POSTGRES_FILE, SQLITE_FILE, files, postgres};
use crate::config::Config;
use crate::content;
use crate::fleet::Authority;
use crate::store::{Store, StoreLocation};

/// Empties the change log and moves its counter far on, so that no page takes up where another history left off.
const NEW_LOG: [&str; 2] = ["delete from event", "update counter set value = value + 1000000 where name = 'event'"];

/// Lays the backup beside what the hub has. Nothing is decided yet.
pub(super) async fn stage(config: &Config, from: &Path, plan: Plan) -> anyhow::Result<()> {
    let place = swap::staged(config);
    files::remove_folder(&place)?;
    files::make_private_folder(&place)?;
    let (owner, own) = (config.data_dir.metadata()?.uid(), place.metadata()?.uid());
    ensure!(
        owner == own,
        "{} belongs to user {owner}, and this command runs as user {own}: the hub could not read what it writes; run it as \
         the hub's user",
        config.data_dir.display()
    );
    files::copy_folder(&from.join(AUTHORITY), &place.join(AUTHORITY))?;
    Authority::open(&place).context("the backup's keys cannot be used")?;
    match config.store() {
        StoreLocation::Sqlite(_) => {
            let database = place.join(SQLITE_FILE);
            files::copy(&from.join(SQLITE_FILE), &database)?;
            prepare_sqlite(database.clone()).await.context("the backup's hub.db cannot be used")?;
            files::sync(&database)?;
        }
        StoreLocation::Postgres(address) => {
            let last: String = NEW_LOG.iter().map(|statement| format!("{statement};\n")).collect();
            let archive = from.join(POSTGRES_FILE);
            postgres::script(&address, &archive, &place.join(SCRIPT), &last).await?;
        }
    }
    stage_contents(config, from, plan)?;
    plan.write(&place)
}

/// Contents lie where the configuration says, perhaps on another disk: they are laid there.
fn stage_contents(config: &Config, from: &Path, plan: Plan) -> anyhow::Result<()> {
    let folder = content::folder(&config.data_dir, &config.content);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let place = plan.staged_contents(config);
    files::remove_folder(&place)?;
    let contents = from.join(CONTENT);
    if contents.exists() { files::link_tree(&contents, &place) } else { files::make_private_folder(&place) }
}

/// Brings the tables up to date, reads the whole file through, and begins a new log.
async fn prepare_sqlite(database: PathBuf) -> anyhow::Result<()> {
    let store = Store::open(&StoreLocation::Sqlite(database)).await?;
    let found: String = sqlx::query_scalar("pragma integrity_check(1)").fetch_one(store.reader()).await?;
    ensure!(found == "ok", "it is damaged: {found}");
    let mut transaction = store.begin().await?;
    for statement in NEW_LOG {
        sqlx::query(statement).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    store.close().await;
    Ok(())
}
