//! A restore that is cut short at each of its steps, and backups that are refused.

use std::path::{Path, PathBuf};

use super::swap::{self, Outcome, Plan};
use super::{AUTHORITY, CONTENT, POSTGRES_FILE, SQLITE_FILE, backup, files, restore, stage};
use crate::config::Config;
use crate::init::init;
use crate::lock::DataLock;
use crate::store::testing::{COUNTY, each_location};
use crate::store::{Store, StoreLocation};

/// Something done to a backup's folder.
type Spoil<'a> = &'a dyn Fn(&Path);

/// A county with a backup of when it was called "then"; meanwhile it is called "since".
struct County {
    config: Config,
    folder: PathBuf,
}

impl County {
    async fn new(location: StoreLocation) -> Self {
        let folder = std::env::temp_dir().join(format!("tongluo-backup-{}", crate::ids::opaque()));
        let database = match location {
            StoreLocation::Sqlite(_) => "sqlite".to_owned(),
            StoreLocation::Postgres(address) => address,
        };
        let config = Config { data_dir: folder.join("data"), database, ..Config::default() };
        init(&config, None, None).await.unwrap();
        let county = Self { config, folder };
        county.becomes("then").await;
        backup(&county.config, &county.backup()).await.unwrap();
        county.becomes("since").await;
        county
    }

    fn backup(&self) -> PathBuf {
        self.folder.join("backup")
    }

    fn contents(&self) -> PathBuf {
        self.config.data_dir.join("content/whole")
    }

    async fn becomes(&self, name: &str) {
        let store = Store::open(&self.config.store()).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        let change = sqlx::query("update region set name = $1 where code = $2").bind(name).bind(COUNTY);
        assert_eq!(change.execute(&mut *transaction).await.unwrap().rows_affected(), 1);
        transaction.commit().await.unwrap();
        store.close().await;
        files::remove_folder(&self.contents()).unwrap();
        std::fs::create_dir_all(self.contents().join("ab")).unwrap();
        std::fs::write(self.contents().join("ab").join(name), name).unwrap();
    }

    /// What it is called now, by its database and by its contents, and where its change log stands.
    async fn is(&self) -> (String, Vec<String>, i64) {
        let (name, log) = name_and_log(&self.config.store()).await;
        let contents = std::fs::read_dir(self.contents().join("ab")).unwrap();
        (name, contents.map(|file| file.unwrap().file_name().into_string().unwrap()).collect(), log)
    }

    /// Everything in the data folder.
    fn lies(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.config.data_dir).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".lock"));
        names.sort();
        names
    }
}

impl Drop for County {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

async fn name_and_log(location: &StoreLocation) -> (String, i64) {
    let store = Store::open(location).await.unwrap();
    let name = sqlx::query_scalar("select name from region where code = $1").bind(COUNTY);
    let name = name.fetch_one(store.reader()).await.unwrap();
    let log = sqlx::query_scalar("select value from counter where name = 'event'");
    let log = log.fetch_one(store.reader()).await.unwrap();
    store.close().await;
    (name, log)
}

#[tokio::test]
async fn a_restore_that_is_cut_short_at_any_step_is_the_old_or_becomes_the_new() {
    each_location(async |location| {
        let county = County::new(location).await;
        let (config, then) = (&county.config, (String::from("then"), vec![String::from("then")]));
        // Laid beside and not decided: nothing has changed, and the next one does not stumble over it.
        stage::stage(config, &county.backup(), Plan { id: 1 }).await.unwrap();
        super::carry_out(config).await.unwrap();
        assert_eq!(county.is().await.0, "since");
        for steps in 0.. {
            let plan = Plan { id: 1_000 + steps };
            stage::stage(config, &county.backup(), plan).await.unwrap();
            leave_a_log_behind(config);
            plan.decide(config).unwrap();
            for _ in 0..steps {
                if let Some(step) = swap::next(config, plan).unwrap() {
                    step.take().await.unwrap();
                }
            }
            let last = !swap::is_decided(config);
            super::carry_out(config).await.unwrap();
            let (name, contents, log) = county.is().await;
            assert_eq!((name, contents), then, "cut after {steps} steps");
            assert!(log >= 1_000_000, "pages of the other history start over");
            expect_the_old_aside(&county, plan).await;
            county.becomes("since").await;
            if last {
                assert!(steps > 4, "each step was tried");
                break;
            }
        }
    })
    .await;
}

/// As after a crash: what lies there belongs to the old database and would spoil the new one.
fn leave_a_log_behind(config: &Config) {
    if let StoreLocation::Sqlite(path) = config.store() {
        std::fs::write(path.with_extension("db-shm"), b"not of the new one").unwrap();
        std::fs::write(path.with_extension("db-wal"), b"not of the new one").unwrap();
    }
}

async fn expect_the_old_aside(county: &County, plan: Plan) {
    let aside = plan.aside(&county.config);
    assert!(aside.join(AUTHORITY).join("ca-key.pem").exists());
    let contents = county.config.data_dir.join(format!("content/replaced-{}/ab/since", plan.id));
    assert!(contents.exists(), "{}", contents.display());
    match county.config.store() {
        StoreLocation::Sqlite(_) => {
            for companion in ["hub.db-wal", "hub.db-shm"] {
                std::fs::remove_file(aside.join(companion)).unwrap();
            }
            assert_eq!(name_and_log(&StoreLocation::Sqlite(aside.join(SQLITE_FILE))).await.0, "since");
        }
        StoreLocation::Postgres(_) => assert!(aside.join(POSTGRES_FILE).metadata().unwrap().len() > 0),
    }
}

#[tokio::test]
async fn a_hub_at_rest_is_restored_at_once_and_a_newer_table_does_not_stay() {
    each_location(async |location| {
        let county = County::new(location).await;
        let store = Store::open(&county.config.store()).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        sqlx::query("create table newer (code text references region (code))")
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        store.close().await;
        restore(&county.config, &county.backup()).await.unwrap();
        assert_eq!(county.is().await.0, "then");
        let store = Store::open(&county.config.store()).await.unwrap();
        assert!(sqlx::query("select code from newer").fetch_optional(store.reader()).await.is_err());
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_database_that_refuses_leaves_everything_as_it_was() {
    each_location(async |location| {
        let StoreLocation::Postgres(_) = location else { return };
        let county = County::new(location).await;
        let plan = Plan { id: 7 };
        stage::stage(&county.config, &county.backup(), plan).await.unwrap();
        let script = swap::staged(&county.config).join(swap::SCRIPT);
        let mut text = std::fs::read_to_string(&script).unwrap();
        text.push_str("insert into nowhere values (1);\n");
        std::fs::write(&script, text).unwrap();
        plan.decide(&county.config).unwrap();
        let outcome = swap::carry_out(&county.config).await.unwrap();
        assert!(matches!(outcome, Some(Outcome::Refused(reason)) if reason.contains("nowhere")));
        assert!(plan.reason(&county.config).unwrap().contains("nowhere"));
        assert_eq!(county.is().await.0, "since");
        assert_eq!(county.is().await.1, ["since"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_whole_backup_for_this_hub_is_refused_by_name_and_nothing_moves() {
    each_location(async |location| {
        let county = County::new(location).await;
        let database = if county.config.database == "sqlite" { SQLITE_FILE } else { POSTGRES_FILE };
        let manifest = |from: &'static str, to: &'static str| {
            move |folder: &Path| {
                let path = folder.join("manifest.json");
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.contains(from), "{text}");
                std::fs::write(path, text.replace(from, to)).unwrap();
            }
        };
        let other = if database == SQLITE_FILE { "\"postgres\"" } else { "\"sqlite\"" };
        let same = if database == SQLITE_FILE { "\"sqlite\"" } else { "\"postgres\"" };
        let cases: [(&str, Spoil<'_>, &[&str]); 8] = [
            (
                "no manifest",
                &|folder| std::fs::remove_file(folder.join("manifest.json")).unwrap(),
                &["is not a backup"],
            ),
            ("half a manifest", &manifest("}", ""), &["manifest.json cannot be read"]),
            ("the other database", &manifest(same, other), &["the backup is of a", "the configuration names"]),
            ("newer", &manifest("\"schema\": ", "\"schema\": 9"), &["newer than this hub", "update the hub first"]),
            ("cut short", &|folder| cut_short(&folder.join(database)), &[database, "bytes, and had"]),
            ("altered", &|folder| alter(&folder.join(database)), &[database, "SHA-256 differs"]),
            (
                "a key is missing",
                &|folder| std::fs::remove_file(folder.join("authority/ca-key.pem")).unwrap(),
                &["authority/ca-key.pem is missing"],
            ),
            (
                "contents are missing",
                &|folder| std::fs::remove_file(folder.join(CONTENT).join("ab/then")).unwrap(),
                &["content holds 0 files of 0 bytes", "had 1 of 4"],
            ),
        ];
        // Beside a hub that runs: this process, which would not outlive being asked to make room.
        let lock = DataLock::take(&county.config.data_dir).unwrap();
        lock.announce().unwrap();
        let before = county.lies();
        for (what, spoil, expected) in cases {
            let spoilt = county.folder.join("spoilt");
            copy_of(&county.backup(), &spoilt);
            spoil(&spoilt);
            let message = format!("{:#}", restore(&county.config, &spoilt).await.expect_err(what));
            assert!(expected.iter().all(|word| message.contains(word)), "{what}: {message}");
            assert_eq!(county.lies(), before, "{what}");
            std::fs::remove_dir_all(&spoilt).unwrap();
        }
        drop(lock);
        assert_eq!(county.is().await.0, "since");
    })
    .await;
}

#[tokio::test]
async fn a_running_hub_is_not_given_the_keys_of_another_county() {
    let folder = std::env::temp_dir().join(format!("tongluo-other-{}", crate::ids::opaque()));
    let (county, other) =
        (County::new(StoreLocation::Sqlite(folder.clone())).await, County::new(StoreLocation::Sqlite(folder)).await);
    let lock = DataLock::take(&county.config.data_dir).unwrap();
    lock.announce().unwrap();
    let message = restore(&county.config, &other.backup()).await.unwrap_err().to_string();
    assert!(message.contains("another county"), "{message}");
    assert!(!swap::is_decided(&county.config));
    drop(lock);
    assert_eq!(county.is().await.0, "since");
    // Onto a hub at rest it is put: so does a county move to a new machine.
    restore(&county.config, &other.backup()).await.unwrap();
    assert_eq!(county.is().await.0, "then");
}

fn copy_of(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.metadata().unwrap().is_dir() {
            copy_of(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn cut_short(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

fn alter(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
