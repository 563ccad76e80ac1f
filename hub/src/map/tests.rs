//! The map on every database.

use serde_json::{Value, json};

use super::{MapRoom, routes, seed};
use crate::store::Store;
use crate::store::testing::{COUNTY, TOWNSHIP, VILLAGE, add_site, each_store, region};
use crate::viewer::Role;
use crate::viewer::testing::{as_somebody, ask, viewer};

async fn map_of(store: &Store, place: &str) -> Value {
    let router =
        as_somebody(routes().with_state(MapRoom { store: store.clone() }), Some(viewer(Role::Operator, place)));
    let answer = ask(&router, "GET", "/api/v1/map", Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn run(store: &Store, sql: &'static str) {
    let mut transaction = store.begin().await.unwrap();
    sqlx::query(sql).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn add_camera(store: &Store, id: &str, place: &str, report: &str) {
    run(
        store,
        "insert into recorder (id, site_id, host, port, sessions_max, created_ms) values ('r', 's1', 'cam', 554, 4, 0) \
         on conflict do nothing",
    )
    .await;
    let sql = format!(
        "insert into camera (id, site_id, recorder_id, name, kind, main_path, latitude, longitude, direction_degrees, \
         record, days_max, bytes_max, audio, created_ms, revision, state, reported_ms, state_since_ms, state_detail, stale) \
         values ('{id}', 's1', 'r', '{id}', 'public', '/', {place}, 'main', 1, 1, 0, 0, 1, {report}, 0, '', 0)"
    );
    let mut transaction = store.begin().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn everything_of_the_region_stands_in_one_answer() {
    each_store(async |store| {
        add_site(&store, "s1").await;
        add_site(&store, "s2").await;
        run(&store, "update site set latitude = 33.15, longitude = 114.02 where id = 's1'").await;
        run(
            &store,
            "insert into certificate (serial, site_id, gateway_id, pem, issued_ms, expires_ms) \
             values ('01', 's1', 'g', '', 0, 1)",
        )
        .await;
        for (id, place) in [("d1", "33.2, 114.1"), ("d2", "null, null")] {
            let sql = format!(
                "insert into device (id, site_id, key, family, kind, reported_name, first_heard_ms, last_heard_ms, \
                 latitude, longitude) values ('{id}', 's1', '{id}', 'zigbee', 'button', 'sos', 0, 0, {place})"
            );
            let mut transaction = store.begin().await.unwrap();
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
        }
        add_camera(&store, "c1", "33.3, 114.2, 90", "'ok', 5").await;
        add_camera(&store, "c2", "null, null, null", "'new', null").await;
        let map = map_of(&store, COUNTY).await;
        assert_eq!(
            map["cameras"],
            json!([
                ["c1", "s1", "public", "c1", 33.3, 114.2, 90, "stale"],
                ["c2", "s1", "public", "c2", 33.15, 114.02, null, "new"]
            ]),
            "a camera without a place is at its site; what an absent gateway said of one is not believed"
        );
        assert_eq!(
            map["sites"],
            json!([["s1", "s1", VILLAGE, 33.15, 114.02, 0, 0], ["s2", "s2", VILLAGE, null, null, null, 0]]),
            "never connected is off line, no gateway is neither"
        );
        assert_eq!(map["devices"], json!([["d1", "s1", "button", "sos", 33.2, 114.1]]));
        assert_eq!((&map["outline"], &map["truncated"]), (&Value::Null, &json!(false)));

        run(&store, "insert into presence (site_id, online, online_changed_ms) values ('s1', 1, 0)").await;
        run(
            &store,
            "insert into alarm (id, site_id, region_code, source, kind, state, sounding, late, presses, occurred_ms, \
             raised_ms, last_press_ms, revision) values ('a', 's1', '411728102201', 'd1', 'sos', 'acknowledged', 0, 0, \
             1, 0, 0, 0, 1), ('b', 's1', '411728102201', 'd2', 'sos', 'closed', 0, 0, 1, 0, 0, 0, 1)",
        )
        .await;
        assert_eq!(map_of(&store, COUNTY).await["sites"][0], json!(["s1", "s1", VILLAGE, 33.15, 114.02, 1, 1]));
        assert_eq!(map_of(&store, "411728103").await["sites"], json!([]), "another township sees nothing of it");
        assert_eq!(map_of(&store, COUNTY).await["cameras"][0][7], "ok", "its gateway is there again");
        assert_eq!(map_of(&store, "411728103").await["devices"], json!([]));
        assert_eq!(map_of(&store, "411728103").await["cameras"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn the_outline_is_read_once_and_shown_to_every_part_of_the_county() {
    each_store(async |store| {
        add_site(&store, "s1").await;
        seed(&store, &region(COUNTY), None).await.unwrap();
        let outline = map_of(&store, TOWNSHIP).await["outline"].clone();
        assert_eq!(outline["type"], "MultiPolygon");
        let other = r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}"#;
        seed(&store, &region(COUNTY), Some(other)).await.unwrap();
        assert_eq!(map_of(&store, COUNTY).await["outline"], outline, "what is there stays");
        seed(&store, &region(VILLAGE), Some(other)).await.unwrap();
        assert_eq!(
            map_of(&store, VILLAGE).await["outline"]["coordinates"],
            json!([[[[0, 0], [1, 0], [1, 1], [0, 0]]]])
        );
        assert!(seed(&store, &region(COUNTY), Some("{}")).await.is_err());
    })
    .await;
}
