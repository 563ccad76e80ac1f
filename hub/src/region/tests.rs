//! Regions on every database.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{RegionRoom, county, path_names, routes, seed};
use crate::store::Store;
use crate::store::testing::{COUNTY, TOWNSHIP, each_store, region};
use crate::viewer::Role;
use crate::viewer::testing::{Answer, as_somebody, ask, send, viewer};

fn asked_by(store: &Store, role: Role, place: &str) -> Router {
    as_somebody(routes().with_state(RegionRoom { store: store.clone() }), Some(viewer(role, place)))
}

async fn import(router: &Router, rows: &str) -> Answer {
    let text = format!("code,name,level,parent\n{rows}");
    let request = Request::post("/api/v1/regions/import").header(header::CONTENT_TYPE, "text/csv");
    send(router, request.body(Body::from(text)).unwrap()).await
}

async fn count(store: &Store) -> i64 {
    sqlx::query_scalar("select count(*) from region").fetch_one(store.reader()).await.unwrap()
}

#[tokio::test]
async fn a_new_hub_knows_suiping_and_keeps_what_it_knows() {
    each_store(async |store| {
        assert_eq!(seed(&store, None).await.unwrap(), region(COUNTY));
        assert_eq!(count(&store).await, 223);
        let other = "code,name,level,parent\n411729,新蔡县,county,\n";
        assert_eq!(seed(&store, Some(other)).await.unwrap(), region(COUNTY), "what is there stays");
        let mut connection = store.reader().acquire().await.unwrap();
        assert_eq!(county(&mut connection).await.unwrap(), Some(region(COUNTY)));
        let names = path_names(&mut connection, &region("411728501503")).await.unwrap();
        assert_eq!((names.len(), names[0].as_str(), names[2].as_str()), (3, "遂平县", "栗园生活区"));
    })
    .await;
}

#[tokio::test]
async fn another_county_may_be_seeded_and_a_bad_one_leaves_nothing() {
    each_store(async |store| {
        assert!(seed(&store, Some("code,name,level,parent\n411729001,古吕,township,411729\n")).await.is_err());
        assert_eq!(count(&store).await, 0);
        let two = "code,name,level,parent\n411729,新蔡县,county,\n411728,遂平县,county,\n";
        let refused = seed(&store, Some(two)).await.unwrap_err().to_string();
        assert!(refused.contains("line 3: a hub serves one county"), "{refused}");
        let good = "code,name,level,parent\n411729,新蔡县,county,\n411729001,古吕街道,township,411729\n";
        assert_eq!(seed(&store, Some(good)).await.unwrap(), region("411729"));
    })
    .await;
}

#[tokio::test]
async fn an_import_adds_and_renames_all_or_nothing() {
    each_store(async |store| {
        seed(&store, None).await.unwrap();
        let router = asked_by(&store, Role::Administrator, COUNTY);
        let name = "411728102,玉山,township,411728\n";
        let answer = import(&router, &format!("{name}411728999,新镇,township,411728\n411728,遂平县,county,\n")).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({ "added": 1, "changed": 1, "unchanged": 1 })));
        for (rows, word) in [
            ("411728998,甲镇,township,411728\n411728997001,甲村,village,411728997\n", "第 3 行"),
            ("411729,新蔡县,county,\n", ""),
            ("411728998,甲镇,village,411728\n", "第 2 行"),
            ("", ""),
        ] {
            let answer = import(&router, rows).await;
            if !rows.is_empty() {
                assert!(answer.status.is_client_error(), "{rows}");
                assert!(answer.body["detail"].as_str().unwrap().contains(word), "{answer:?}");
            }
            assert_eq!(count(&store).await, 224, "{rows}");
        }
        let listed = ask(&router, "GET", "/api/v1/regions?parent=411728", Value::Null).await;
        assert_eq!(listed.body["regions"].as_array().unwrap().len(), 19);
        let lines: i64 = sqlx::query_scalar("select count(*) from audit where action = 'region.import'")
            .fetch_one(store.reader())
            .await
            .unwrap();
        assert_eq!(lines, 2, "the one that changed something, and the empty one");
    })
    .await;
}

#[tokio::test]
async fn only_ones_own_places_are_seen_and_imported() {
    each_store(async |store| {
        seed(&store, None).await.unwrap();
        let township = asked_by(&store, Role::Administrator, TOWNSHIP);
        let own = ask(&township, "GET", "/api/v1/regions", Value::Null).await;
        assert_eq!(own.body["regions"][0]["code"], TOWNSHIP);
        assert_eq!(own.body["regions"].as_array().unwrap().len(), 1);
        let above = ask(&township, "GET", "/api/v1/regions?parent=411728", Value::Null).await;
        assert_eq!(above.code(), "not_found");
        let wrong = ask(&township, "GET", "/api/v1/regions?parent=4117", Value::Null).await;
        assert!(wrong.status.is_client_error());
        assert_eq!(import(&township, "411728103,他镇,township,411728\n").await.code(), "forbidden");
        assert_eq!(import(&township, "411728102999,新村,village,411728102\n").await.status, StatusCode::OK);
        let operator = asked_by(&store, Role::Operator, COUNTY);
        assert_eq!(import(&operator, "411728103,他镇,township,411728\n").await.code(), "forbidden");
    })
    .await;
}
