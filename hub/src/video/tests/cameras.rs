//! Entering, changing and deleting cameras.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::*;

/// Where a test's log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_camera_is_entered_changed_and_deleted() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village
            .enter(json!({
                "url": "rtsp://admin:secret@Recorder.lan:8554/ch1/main", "sub_url": "/ch1/sub", "place": "广场",
                "latitude": 33.1, "longitude": 114.0, "direction_degrees": 90, "sessions_max": 6
            }))
            .await;
        assert_eq!(camera["url"], "rtsp://recorder.lan:8554/ch1/main");
        assert_eq!(camera["sub_url"], "rtsp://recorder.lan:8554/ch1/sub");
        assert_eq!(camera["has_credentials"], true);
        assert_eq!((&camera["kind"], &camera["record"]), (&json!("public"), &json!("main")));
        assert_eq!(camera["state"]["name"], "new");
        assert_eq!((&camera["revision"], &camera["sessions_max"]), (&json!(1), &json!(6)));

        let second = village.enter(json!({"name": "二", "url": "rtsp://recorder.lan:8554/ch2/main"})).await;
        assert_eq!(second["recorder_id"], camera["recorder_id"], "one address, one recorder");
        assert_eq!((&second["has_credentials"], &second["sessions_max"]), (&json!(true), &json!(6)));

        let path = format!("/api/v1/cameras/{}", camera["id"].as_str().unwrap());
        let changed = village.ask("PATCH", &path, json!({"name": "北口", "direction_degrees": -1, "place": ""})).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!((&changed.body["name"], &changed.body["revision"]), (&json!("北口"), &json!(2)));
        assert!(changed.body["direction_degrees"].is_null() && changed.body["place"].is_null());
        assert_eq!(changed.body["sub_url"], camera["sub_url"], "what is not named stays");

        let moved = village.ask("PATCH", &path, json!({"url": "rtsp://10.0.0.7/x", "sub_url": ""})).await;
        assert_eq!(moved.status, 200, "{moved:?}");
        assert_eq!(moved.body["has_credentials"], false, "credentials do not follow to another host");
        assert!(moved.body["sub_url"].is_null());
        assert_eq!(village.number("select count(*) from recorder").await, 2);

        let listed = village.ask("GET", "/api/v1/cameras?site_id=site1", Value::Null).await;
        assert_eq!(listed.body["cameras"].as_array().unwrap().len(), 2);
        assert_eq!(village.ask("DELETE", &path, Value::Null).await.status, 204);
        assert_eq!(village.ask("DELETE", &path, Value::Null).await.status, 404);
        assert_eq!(village.number("select count(*) from camera").await, 1);
        assert_eq!(village.number("select count(*) from recorder").await, 1, "an idle recorder is forgotten");

        let told = village.texts("select body from event where kind = 'camera' order by sequence").await;
        assert_eq!(told.len(), 5);
        assert!(told[4].contains("\"deleted\":true") && told[3].contains("\"deleted\":false"));
        let done = village.texts("select action from audit order by id").await;
        assert_eq!(done, ["camera.create", "camera.create", "camera.change", "camera.change", "camera.delete"]);
    })
    .await;
}

#[tokio::test]
async fn credentials_are_sealed_and_nowhere_else() {
    const SECRET: &str = "hunter2hunter2";
    const NAME: &str = "rtspadmin";
    let log = Log::default();
    let written = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    each_store(async |store| {
        tracing::info!("this log is read");
        let village = Village::new(&store).await;
        let mut seen = Vec::new();
        for (url, username, password) in [
            (format!("rtsp://{NAME}:{SECRET}@10.0.0.1/1"), None, None),
            (format!("rtsp://10.0.0.2/user={NAME}&password={SECRET}&channel=1"), None, None),
            ("rtsp://10.0.0.3/1".to_owned(), Some(NAME), Some(SECRET)),
            // Refused ones are told, too.
            (format!("rtsp://{NAME}:{SECRET}#@10.0.0.4/1"), None, None),
            (format!("http://{NAME}:{SECRET}@10.0.0.4/1"), None, None),
            ("rtsp://10.0.0.4/1".to_owned(), None, Some(SECRET)),
        ] {
            let body = json!({"site_id": village.site, "name": "一", "url": url, "sub_url": "/2",
                "username": username, "password": password});
            seen.push(village.ask("POST", "/api/v1/cameras", body).await.body.to_string());
        }
        let listed = village.ask("GET", "/api/v1/cameras", Value::Null).await.body;
        assert_eq!(listed["cameras"].as_array().unwrap().len(), 3);
        let path = format!("/api/v1/cameras/{}", listed["cameras"][0]["id"].as_str().unwrap());
        let body = json!({"username": NAME, "password": format!("{SECRET}!")});
        seen.push(village.ask("PATCH", &path, body).await.body.to_string());
        seen.push(listed.to_string());
        for sql in [
            "select body from event",
            "select action || subject || detail from audit",
            "select name || main_path || coalesce(sub_path, '') || state_detail from camera",
            "select id || host from recorder",
        ] {
            let rows = village.texts(sql).await;
            assert!(!rows.is_empty(), "{sql}");
            seen.extend(rows);
        }
        let sealed: Vec<Vec<u8>> =
            sqlx::query_scalar("select credentials from recorder order by id").fetch_all(store.reader()).await.unwrap();
        assert_eq!(sealed.len(), 3);
        seen.extend(sealed.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
        for text in seen {
            assert!(!text.contains(SECRET) && !text.contains(NAME), "{text}");
        }
    })
    .await;
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("this log is read"));
    assert!(!log.contains(SECRET), "{log}");
    assert!(!crate::serve::openapi_json().contains(SECRET));
}

#[tokio::test]
async fn bad_forms_are_refused_by_field_and_change_nothing() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let table = [
            (json!({"name": " "}), "name"),
            (json!({"name": "长".repeat(81)}), "name"),
            (json!({"name": "两\n行"}), "name"),
            (json!({"url": "http://10.0.0.9/"}), "url"),
            (json!({"url": "rtsps://10.0.0.9/"}), "url"),
            (json!({"url": "rtsp://"}), "url"),
            (json!({"sub_url": "rtsp://10.0.0.10/2"}), "sub_url"),
            (json!({"password": "x"}), "username"),
            (json!({"username": "x", "password": "长".repeat(129)}), "password"),
            (json!({"latitude": 91.0}), "latitude"),
            (json!({"longitude": -181.0}), "longitude"),
            (json!({"direction_degrees": 360}), "direction_degrees"),
            (json!({"direction_degrees": -1}), "direction_degrees"),
            (json!({"days_max": 0}), "days_max"),
            (json!({"days_max": 366}), "days_max"),
            (json!({"bytes_max": 1}), "bytes_max"),
            (json!({"sessions_max": 0}), "sessions_max"),
            (json!({"record": "sub"}), "record"),
            (json!({"kind": "home", "record": "main"}), "record"),
            (json!({"kind": "home", "audio": true}), "audio"),
            (json!({"kind": "home", "household_device_ids": ["nobody's"]}), "household_device_ids"),
            (json!({"household_device_ids": ["nobody's"]}), "household_device_ids"),
        ];
        for (more, field) in table {
            let mut body = json!({"site_id": village.site, "name": "村口", "url": "rtsp://10.0.0.9/1"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = village.ask("POST", "/api/v1/cameras", body).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid"), "{more} {answer:?}");
            assert!(answer.body["detail"].as_str().unwrap().contains(&format!("“{field}”")), "{more} {answer:?}");
        }
        let nowhere = json!({"site_id": "site2", "name": "村口", "url": "rtsp://10.0.0.9/1"});
        assert_eq!(village.ask("POST", "/api/v1/cameras", nowhere).await.status, 404);
        let unknown = json!({"site_id": village.site, "name": "村口", "url": "rtsp://10.0.0.9/1", "colour": 1});
        assert!(village.ask("POST", "/api/v1/cameras", unknown).await.status.is_client_error());
        for table in ["select count(*) from camera", "select count(*) from recorder", "select count(*) from event"] {
            assert_eq!(village.number(table).await, 0, "{table}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_home_camera_stays_one_and_consent_is_given_and_withdrawn_by_name() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        village
            .execute(
                "insert into device (id, site_id, key, family, kind, first_heard_ms, last_heard_ms) \
                 values ('d1', 'site1', 'zigbee:1', 'zigbee2mqtt', 'button', 0, 0)",
            )
            .await;
        let home = village.enter(json!({"kind": "home", "household_device_ids": ["d1", "d1"]})).await;
        assert_eq!((&home["record"], &home["household_device_ids"]), (&json!("off"), &json!(["d1"])));
        assert!(home["consent_ms"].is_null());
        let path = format!("/api/v1/cameras/{}", home["id"].as_str().unwrap());
        let refused = village.ask("PATCH", &path, json!({"kind": "public"})).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        let given = village.ask("PATCH", &path, json!({"consent": true})).await.body;
        assert!(given["consent_ms"].is_i64());
        let again = village.ask("PATCH", &path, json!({"consent": true})).await.body;
        assert_eq!(again["consent_ms"], given["consent_ms"], "the first one stands");
        let withdrawn = village.ask("PATCH", &path, json!({"consent": false})).await.body;
        assert!(withdrawn["consent_ms"].is_null());
        let public = village.enter(json!({"name": "二"})).await;
        let path = format!("/api/v1/cameras/{}", public["id"].as_str().unwrap());
        assert_eq!(village.ask("PATCH", &path, json!({"consent": true})).await.status, 422);
        let told = village.texts("select action from audit where action like 'camera.consent%' order by id").await;
        assert_eq!(told, ["camera.consent", "camera.consent_withdrawn"]);
    })
    .await;
}

#[tokio::test]
async fn a_site_has_a_bound() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        for number in 0..64 {
            village.enter(json!({"url": format!("rtsp://10.0.0.9/{number}")})).await;
        }
        let body = json!({"site_id": village.site, "name": "多", "url": "rtsp://10.0.0.9/64"});
        let answer = village.ask("POST", "/api/v1/cameras", body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (409, "camera.too_many"));
        assert_eq!(village.number("select count(*) from recorder").await, 1);
    })
    .await;
}
