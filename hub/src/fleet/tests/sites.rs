//! Sites: who may see and change them, and what is refused.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::County;
use crate::fleet::routes;
use crate::store::testing::{COUNTY, TOWNSHIP, VILLAGE, each_store};
use crate::viewer::Role;
use crate::viewer::testing::{as_somebody, ask};

#[tokio::test]
async fn who_may_do_what_where() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let elsewhere = "411728103";
        let site = format!("/api/v1/sites/{}", county.site);
        let routes_of_site = [
            ("GET", site.clone(), Value::Null),
            ("PATCH", site.clone(), json!({ "name": "x" })),
            ("POST", format!("{site}/claims"), Value::Null),
            ("DELETE", format!("{site}/claims"), Value::Null),
            ("POST", format!("{site}/revoke"), json!({ "reason": "x" })),
        ];
        let before = county.count("select count(*) from audit").await;
        for (method, path, body) in &routes_of_site {
            let foreign = ask(&county.asked_by(Role::Administrator, elsewhere), method, path, body.clone()).await;
            assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "not_found"), "{method} {path}");
            let nobody = as_somebody(routes().with_state(county.room.clone()), None);
            let nobody = ask(&nobody, method, path, body.clone()).await;
            assert_eq!(
                (nobody.status, nobody.code()),
                (StatusCode::UNAUTHORIZED, "unauthenticated"),
                "{method} {path}"
            );
            if *method != "GET" {
                for role in [Role::Operator, Role::VillageHead] {
                    let answer = ask(&county.asked_by(role, COUNTY), method, path, body.clone()).await;
                    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "forbidden"), "{method} {path}");
                }
            }
        }
        assert_eq!(county.count("select count(*) from audit").await, before, "nothing was changed");
        let listed = async |region: &str| {
            let answer = ask(&county.asked_by(Role::Operator, region), "GET", "/api/v1/sites", Value::Null).await;
            answer.body["sites"].as_array().unwrap().len()
        };
        assert_eq!((listed(COUNTY).await, listed(VILLAGE).await, listed(elsewhere).await), (1, 1, 0));
        let create = json!({ "name": "x", "region_code": VILLAGE });
        let foreign = ask(&county.asked_by(Role::Technician, elsewhere), "POST", "/api/v1/sites", create.clone()).await;
        assert_eq!(foreign.code(), "invalid");
        let own = ask(&county.asked_by(Role::Technician, TOWNSHIP), "POST", "/api/v1/sites", create).await;
        assert_eq!(own.status, StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn wrong_bodies_are_refused_as_problems_and_change_nothing() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let router = county.administrator();
        let good = json!({ "name": "村委会", "region_code": VILLAGE, "latitude": 33.1, "longitude": 114.0 });
        let with = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            body
        };
        for body in [
            json!([]),
            json!({}),
            with("name", json!(" ")),
            with("name", json!("字".repeat(81))),
            with("name", json!("two\nlines")),
            with("name", json!(7)),
            with("region_code", json!("4117")),
            with("region_code", json!("411728999")),
            with("latitude", json!(90.1)),
            with("longitude", json!(-180.1)),
            with("colour", json!("red")),
        ] {
            let answer = ask(&router, "POST", "/api/v1/sites", body.clone()).await;
            assert!(answer.status.is_client_error(), "{body}");
            assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{body}");
        }
        assert_eq!(county.count("select count(*) from site").await, 1);
        assert_eq!(county.count("select value from counter where name = 'event'").await, 0);
        let created = ask(&router, "POST", "/api/v1/sites", good).await;
        assert_eq!(created.status, StatusCode::CREATED);
        let path = format!("/api/v1/sites/{}", created.body["id"].as_str().unwrap());
        let moved = ask(&router, "PATCH", &path, json!({ "latitude": 33.2 })).await;
        assert_eq!((&moved.body["latitude"], &moved.body["name"]), (&json!(33.2), &json!("村委会")));
        assert_eq!(county.count("select count(*) from event where kind = 'site'").await, 2);
        assert_eq!(county.count("select count(*) from audit where outcome = 'done'").await, 2);
    })
    .await;
}
