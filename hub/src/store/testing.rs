//! Fresh databases for tests: every store test runs on SQLite, and on PostgreSQL when there is one.
//!
//! `./run test` starts a private PostgreSQL and names it in `TONGLUO_TEST_POSTGRES` (an address without a database,
//! e.g. `postgres://tester@127.0.0.1:5499`). Without it only SQLite is tried, and the output says so.

use sqlx::{AssertSqlSafe, Connection};

use super::{Store, StoreLocation};
use crate::ids::{self, RegionCode, SiteId};

/// A county, a township and a village of it, which most tests need.
pub(crate) const COUNTY: &str = "411728";
/// A township.
pub(crate) const TOWNSHIP: &str = "411728102";
/// A village.
pub(crate) const VILLAGE: &str = "411728102201";

/// Runs `test` on an empty, migrated database of each kind.
pub(crate) async fn each_store(test: impl AsyncFn(Store)) {
    each_location(async |location| {
        let store = Store::open(&location).await.unwrap();
        test(store.clone()).await;
        store.close().await;
    })
    .await;
}

/// Runs `test` where an empty database of each kind can be.
pub(crate) async fn each_location(test: impl AsyncFn(StoreLocation)) {
    on_sqlite(&test).await;
    match std::env::var("TONGLUO_TEST_POSTGRES") {
        Ok(server) => on_postgres(&server, &test).await,
        Err(_) => eprintln_once(),
    }
}

async fn on_sqlite(test: &impl AsyncFn(StoreLocation)) {
    let folder = std::env::temp_dir().join(format!("tongluo-store-{}", ids::opaque()));
    std::fs::create_dir(&folder).unwrap();
    test(StoreLocation::Sqlite(folder.join("hub.db"))).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn on_postgres(server: &str, test: &impl AsyncFn(StoreLocation)) {
    sqlx::any::install_default_drivers();
    let name = format!("tongluo_{}", ids::opaque());
    let mut server_connection = sqlx::AnyConnection::connect(&format!("{server}/postgres")).await.unwrap();
    // The name is made here, of letters and digits.
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut server_connection).await.unwrap();
    test(StoreLocation::Postgres(format!("{server}/{name}"))).await;
    sqlx::query(AssertSqlSafe(format!("drop database {name}"))).execute(&mut server_connection).await.unwrap();
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests by hand should know what was not tried")]
fn eprintln_once() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| eprintln!("TONGLUO_TEST_POSTGRES is not set: these tests run on SQLite only"));
}

/// The region code of a literal.
pub(crate) fn region(code: &str) -> RegionCode {
    RegionCode::parse(code).unwrap()
}

/// Adds the county, the township, the village and a site in it.
pub(crate) async fn add_site(store: &Store, id: &str) -> SiteId {
    let mut transaction = store.begin().await.unwrap();
    for (code, level, parent) in
        [(COUNTY, "county", None), (TOWNSHIP, "township", Some(COUNTY)), (VILLAGE, "village", Some(TOWNSHIP))]
    {
        sqlx::query("insert into region (code, name, level, parent) values ($1, $1, $2, $3) on conflict do nothing")
            .bind(code)
            .bind(level)
            .bind(parent)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    sqlx::query("insert into site (id, name, region_code, created_ms) values ($1, $1, $2, 0)")
        .bind(id)
        .bind(VILLAGE)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    SiteId::from_known(id)
}
