//! The trail on every database.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{AuditRoom, KEPT_MS, LINES_MAX, Record, expire, record, refused, routes, store as sql};
use crate::store::Store;
use crate::store::testing::{COUNTY, TOWNSHIP, VILLAGE, each_store, region};
use crate::viewer::Role;
use crate::viewer::testing::{Answer, as_somebody, ask, viewer};

const NOW_MS: i64 = 1_800_000_000_000;

async fn write(store: &Store, at_ms: i64, subject: &str, place: &str) {
    let mut transaction = store.begin().await.unwrap();
    let line = Record::done(&viewer(Role::Operator, COUNTY), "alarm.close", subject, &region(place)).detail("why");
    record(&mut transaction, at_ms, line).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn read(store: &Store, role: Role, place: &str, query: &str) -> Answer {
    let router = as_somebody(routes().with_state(AuditRoom { store: store.clone() }), Some(viewer(role, place)));
    ask(&router, "GET", &format!("/api/v1/audit{query}"), Value::Null).await
}

fn subjects(answer: &Answer) -> Vec<&str> {
    answer.body["entries"].as_array().unwrap().iter().map(|entry| entry["subject"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_page_follows_a_page_newest_first() {
    each_store(async |store| {
        for number in 1..=5 {
            write(&store, NOW_MS + number, &number.to_string(), VILLAGE).await;
        }
        let first = read(&store, Role::Administrator, COUNTY, "?limit=2").await;
        assert_eq!(subjects(&first), ["5", "4"]);
        let mut next = first.body["next"].as_str().unwrap().to_owned();
        let second = read(&store, Role::Administrator, COUNTY, &format!("?limit=2&after={next}")).await;
        assert_eq!(subjects(&second), ["3", "2"]);
        next = second.body["next"].as_str().unwrap().to_owned();
        let last = read(&store, Role::Administrator, COUNTY, &format!("?limit=2&after={next}")).await;
        assert_eq!((subjects(&last), &last.body["next"]), (vec!["1"], &Value::Null));
        let entry = &last.body["entries"][0];
        assert_eq!(
            (&entry["actor"], &entry["outcome"], &entry["detail"]),
            (&json!("a"), &json!("done"), &json!("why"))
        );
    })
    .await;
}

#[tokio::test]
async fn only_administrators_read_and_only_their_region() {
    each_store(async |store| {
        write(&store, NOW_MS, "village", VILLAGE).await;
        write(&store, NOW_MS + 1, "county", COUNTY).await;
        refused(&store, NOW_MS + 2, Record::done_by("gateway", "gateway.enrol", "elsewhere", &region("411728103")))
            .await;
        assert_eq!(subjects(&read(&store, Role::Administrator, COUNTY, "").await), ["elsewhere", "county", "village"]);
        assert_eq!(subjects(&read(&store, Role::Administrator, TOWNSHIP, "").await), ["village"]);
        for role in [Role::Operator, Role::VillageHead, Role::Technician] {
            assert_eq!(read(&store, role, COUNTY, "").await.status, StatusCode::FORBIDDEN);
        }
        assert_eq!(read(&store, Role::Administrator, COUNTY, "?limit=many").await.status, StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn lines_are_kept_for_their_time_and_number_and_no_longer() {
    each_store(async |store| {
        let old_ms = NOW_MS - KEPT_MS;
        for (at_ms, subject) in [(old_ms - 1, "old"), (old_ms, "just kept"), (NOW_MS, "new")] {
            write(&store, at_ms, subject, COUNTY).await;
        }
        assert_eq!(expire(&store, NOW_MS).await.unwrap(), 1);
        let kept = read(&store, Role::Administrator, COUNTY, "").await;
        assert_eq!(subjects(&kept), ["new", "just kept"]);
        assert_eq!(sql::expire(&store, 0, LINES_MAX).await.unwrap(), 0);
        assert_eq!(sql::expire(&store, 0, 1).await.unwrap(), 1);
        assert_eq!(subjects(&read(&store, Role::Administrator, COUNTY, "").await), ["new"]);
    })
    .await;
}

#[tokio::test]
async fn an_act_that_came_to_nothing_leaves_no_line() {
    each_store(async |store| {
        let mut transaction = store.begin().await.unwrap();
        let long = "x".repeat(2_000);
        let line = Record::done_by("system", "user.create", "s", &region(COUNTY)).detail(&long);
        record(&mut transaction, NOW_MS, line).await.unwrap();
        let detail: String = sqlx::query_scalar("select detail from audit").fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(detail.len(), 500);
        transaction.rollback().await.unwrap();
        assert_eq!(subjects(&read(&store, Role::Administrator, COUNTY, "").await), [] as [&str; 0]);
    })
    .await;
}
