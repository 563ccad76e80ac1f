//! Backup of a running hub, and its way back.
//!
//! A backup is a folder: the database as of one moment, the county's keys, the contents (evidence, exports, notices), and a
//! manifest. Contents never change, so where the backup lies on the same disk they are linked and cost nothing. SQLite copies itself
//! (`vacuum into`), PostgreSQL's own tools do it for PostgreSQL. After a restore the hub is behind what gateways were
//! acknowledged; they keep acknowledged entries for a week, and the hub asks for them again by itself. Pages that
//! followed the former change log are told to start over, because the same sequence would now mean something else.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::config::Config;
use crate::content;
use crate::lock::DataLock;
use crate::store::{Store, StoreLocation};

/// The authority's folder, in the data folder and in a backup.
const AUTHORITY: &str = "authority";
/// The SQLite database's name, in the data folder and in a backup.
const SQLITE_FILE: &str = "hub.db";
/// `PostgreSQL`'s archive in a backup.
const POSTGRES_FILE: &str = "hub.pgdump";
/// Whole contents, in the content's folder and in a backup. Uploads under way are sent again.
const CONTENT: &str = "content";
const MANIFEST: &str = "manifest.json";

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The hub's version that wrote it.
    version: String,
    /// `sqlite` or `postgres`.
    database: String,
    /// UTC milliseconds.
    made_ms: i64,
}

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
    make_private_folder(to)?;
    match config.store() {
        StoreLocation::Sqlite(path) => {
            ensure!(path.exists(), "{} does not exist; has `tongluo-hub init` been run?", path.display());
            let store = Store::open(&config.store()).await.context("cannot open the database")?;
            let target = to.join(SQLITE_FILE);
            let copied = sqlx::query("vacuum into $1").bind(target.display().to_string()).execute(store.reader()).await;
            store.close().await;
            copied.context("the database could not be copied")?;
        }
        StoreLocation::Postgres(address) => {
            let archive = to.join(POSTGRES_FILE);
            run("pg_dump", &["--format=custom".as_ref(), "--file".as_ref(), archive.as_os_str()], &address).await?;
        }
    }
    copy_folder(&config.data_dir.join(AUTHORITY), &to.join(AUTHORITY))?;
    let contents = content::folder(&config.data_dir, &config.content).join(content::WHOLE);
    if contents.exists() {
        link_tree(&contents, &to.join(CONTENT))?;
    }
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: database_name(config).to_owned(),
        made_ms: clock::utc_ms(),
    };
    std::fs::write(to.join(MANIFEST), serde_json::to_vec_pretty(&manifest)?)?;
    Ok(Done(format!("The backup is in {}. It holds the county's keys: keep it as safe as the hub.", to.display())))
}

/// Puts a backup in place. What the hub had is moved into `replaced-…` beside it.
///
/// # Errors
/// The hub is running, the backup is of the other database, or files cannot be moved.
pub async fn restore(config: &Config, from: &Path) -> anyhow::Result<Done> {
    let _lock = DataLock::take(&config.data_dir)?;
    let manifest = std::fs::read(from.join(MANIFEST)).with_context(|| format!("{} is not a backup", from.display()))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).context("the backup's manifest cannot be read")?;
    let wanted = database_name(config);
    if manifest.database != wanted {
        bail!("the backup is of a {} database, the configuration names {wanted}", manifest.database);
    }
    let aside = config.data_dir.join(format!("replaced-{}", clock::utc_ms()));
    make_private_folder(&aside)?;
    set_aside(&config.data_dir, &aside, AUTHORITY)?;
    copy_folder(&from.join(AUTHORITY), &config.data_dir.join(AUTHORITY))?;
    match config.store() {
        StoreLocation::Sqlite(path) => {
            for name in [SQLITE_FILE, "hub.db-wal", "hub.db-shm"] {
                set_aside(&config.data_dir, &aside, name)?;
            }
            std::fs::copy(from.join(SQLITE_FILE), &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        StoreLocation::Postgres(address) => {
            let archive = from.join(POSTGRES_FILE);
            let arguments =
                ["--clean".as_ref(), "--if-exists".as_ref(), "--single-transaction".as_ref(), archive.as_os_str()];
            run("pg_restore", &arguments, &address).await?;
        }
    }
    restore_contents(config, from, &aside)?;
    begin_a_new_log(&config.store()).await?;
    let aside = aside.display();
    Ok(Done(format!(
        "The backup is in place; what was there before is in {aside}. Start the hub: gateways will send again what it lacks."
    )))
}

/// Contents lie where the configuration says, perhaps on another disk: what was there is set aside beside them.
fn restore_contents(config: &Config, from: &Path, aside: &Path) -> anyhow::Result<()> {
    let folder = content::folder(&config.data_dir, &config.content);
    let whole = folder.join(content::WHOLE);
    if whole.exists() {
        let name = aside.file_name().context("what is set aside has a name")?;
        let beside = folder.join(name);
        std::fs::rename(&whole, &beside).with_context(|| format!("cannot set {} aside", whole.display()))?;
    }
    if from.join(CONTENT).exists() {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        link_tree(&from.join(CONTENT), &whole)?;
    }
    Ok(())
}

/// A folder of folders of files that never change: linked where the disk is the same, else copied. What expires meanwhile
/// is left out.
fn link_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    make_private_folder(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link_tree(&source, &target)?;
            continue;
        }
        let linked = std::fs::hard_link(&source, &target).or_else(|_| std::fs::copy(&source, &target).map(|_| ()));
        match linked {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            linked => linked.with_context(|| format!("cannot copy {}", source.display()))?,
        }
    }
    Ok(())
}

/// Empties the change log and moves its counter far on, so that no page takes up where another history left off.
async fn begin_a_new_log(location: &StoreLocation) -> anyhow::Result<()> {
    let store = Store::open(location).await.context("the restored database cannot be opened")?;
    let mut transaction = store.begin().await?;
    sqlx::query("delete from event").execute(&mut *transaction).await?;
    sqlx::query("update counter set value = value + 1000000 where name = 'event'").execute(&mut *transaction).await?;
    transaction.commit().await?;
    store.close().await;
    Ok(())
}

fn database_name(config: &Config) -> &'static str {
    match config.store() {
        StoreLocation::Sqlite(_) => "sqlite",
        StoreLocation::Postgres(_) => "postgres",
    }
}

/// Runs one of `PostgreSQL`'s tools. The address may hold a password, so it goes by the environment, not the command line.
async fn run(program: &str, arguments: &[&std::ffi::OsStr], address: &str) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new(program);
    if program == "pg_restore" {
        command.arg("--dbname=");
    }
    for (name, value) in connection_environment(address)? {
        command.env(name, value);
    }
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("cannot run {program}; install PostgreSQL's client tools"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// libpq's environment of a `postgres://` address.
fn connection_environment(address: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let options: sqlx::postgres::PgConnectOptions = address.parse().context("the database address cannot be read")?;
    let mut environment = vec![
        ("PGHOST", options.get_host().to_owned()),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
        ("PGDATABASE", options.get_database().unwrap_or(options.get_username()).to_owned()),
    ];
    let password =
        address.split_once("://").and_then(|(_, rest)| rest.split_once('@')).and_then(|(user, _)| user.split_once(':'));
    environment.extend(password.map(|(_, password)| ("PGPASSWORD", password.to_owned())));
    Ok(environment)
}

fn set_aside(data_dir: &Path, aside: &Path, name: &str) -> anyhow::Result<()> {
    let path = data_dir.join(name);
    if path.exists() {
        std::fs::rename(&path, aside.join(name)).with_context(|| format!("cannot set {} aside", path.display()))?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    make_private_folder(to)?;
    let files = std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for file in files {
        let file: PathBuf = file?.path();
        let name = file.file_name().context("a folder's entries have names")?;
        // `copy` keeps permissions: keys stay readable by their owner alone.
        std::fs::copy(&file, to.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}
