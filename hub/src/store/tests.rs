//! What every room relies on, on both databases.

use std::collections::BTreeMap;

use sqlx::Row;

use super::testing::each_store;
use super::{Store, StoreLocation};

/// The migrations of the two databases are written twice; this is what keeps them the same.
#[test]
fn both_schemas_have_the_same_columns() {
    let columns = |folder: &str| -> BTreeMap<String, String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let text = std::fs::read_to_string(path).unwrap();
                let text = text
                    .replace("bytea", "blob")
                    .replace(" collate \"C\"", "")
                    .replace("under sqlite/", "under postgres/");
                (name, text.split_whitespace().collect::<Vec<_>>().join(" "))
            })
            .collect()
    };
    assert_eq!(columns("sqlite"), columns("postgres"));
}

#[tokio::test]
async fn values_of_every_type_come_back_as_they_went() {
    each_store(async |store| {
        let mut transaction = store.begin().await.unwrap();
        sqlx::query("create table probe (a bigint, b text, c double precision)")
            .execute(&mut *transaction)
            .await
            .unwrap();
        sqlx::query("insert into probe (a, b, c) values ($1, $2, $3), ($4, $5, $6)")
            .bind(i64::MAX)
            .bind("铜锣 'quoted' \u{1F514}")
            .bind(33.146)
            .bind(None::<i64>)
            .bind(None::<String>)
            .bind(None::<f64>)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let rows =
            sqlx::query("select a, b, c from probe order by a nulls last").fetch_all(store.reader()).await.unwrap();
        assert_eq!(rows[0].get::<Option<i64>, _>("a"), Some(i64::MAX));
        assert_eq!(rows[0].get::<Option<String>, _>("b").as_deref(), Some("铜锣 'quoted' \u{1F514}"));
        assert_eq!(rows[0].get::<Option<f64>, _>("c"), Some(33.146));
        assert_eq!(rows[1].get::<Option<i64>, _>("a"), None);
        assert_eq!(rows[1].get::<Option<String>, _>("b"), None);
        assert_eq!(rows[1].get::<Option<f64>, _>("c"), None);
    })
    .await;
}

#[tokio::test]
async fn a_number_may_stand_where_none_stood_before() {
    each_store(async |store| {
        let mut transaction = store.begin().await.unwrap();
        sqlx::query("create table probe (c double precision)").execute(&mut *transaction).await.unwrap();
        for value in [None, Some(33.146), None, Some(-1.0)] {
            let query = sqlx::query("insert into probe (c) values ($1)").persistent(false).bind(value);
            query.execute(&mut *transaction).await.unwrap();
        }
        let sum: f64 = sqlx::query_scalar("select sum(c) from probe").fetch_one(&mut *transaction).await.unwrap();
        assert!((sum - 32.146).abs() < 1e-9, "{sum}");
    })
    .await;
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    each_store(async |store| {
        let mut transaction = store.begin().await.unwrap();
        sqlx::query("update counter set value = 7 where name = 'event'").execute(&mut *transaction).await.unwrap();
        drop(transaction);
        let value: i64 = sqlx::query_scalar("select value from counter").fetch_one(store.reader()).await.unwrap();
        assert_eq!(value, 0);
    })
    .await;
}

#[tokio::test]
async fn the_log_has_its_space_before_it_is_needed_and_commits_outlive_that() {
    let folder = std::env::temp_dir().join(format!("tongluo-log-{}", crate::ids::opaque()));
    std::fs::create_dir(&folder).unwrap();
    let location = StoreLocation::Sqlite(folder.join("hub.db"));
    let log_bytes = || std::fs::metadata(folder.join("hub.db-wal")).map_or(0, |log| log.len());
    for round in 0..3 {
        let store = Store::open(&location).await.unwrap();
        assert_eq!(log_bytes() > 16_000_000, round > 0, "an empty database begins without");
        let mut transaction = store.begin().await.unwrap();
        sqlx::query("update counter set value = value + 1").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        let read = sqlx::query_scalar::<_, i64>("select value from counter where name = 'event'");
        assert_eq!(read.fetch_one(store.reader()).await.unwrap(), round + 1);
        store.close().await;
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
