//! The interface as a whole: its document is the checked-in one, and every route keeps to rights and regions.
//!
//! The walk takes its routes from the OpenAPI document, so a route that nobody classified below fails it.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use sha2::Digest as _;
use tongluo_protocols::content::{ContentHash, MediaType};
use tower::ServiceExt as _;

use super::*;
use crate::content::Audience;
use crate::identity::testing::begin_session;
use crate::ids::RegionCode;
use crate::store::testing::{each_store, region};
use crate::viewer::{Right, Role};

/// What a route demands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Demands {
    /// Nothing: whoever asks proves themselves in the request.
    Nothing,
    /// A session; what is answered is the viewer's own region.
    Session,
    /// A right, and that the thing lies in the viewer's region.
    Right(Right),
}

/// One route: method, path, what it demands, and a body that would be good.
struct Classified(Method, &'static str, Demands, Option<Value>);

fn classification() -> Vec<Classified> {
    use Demands::{Nothing, Session};
    let right = Demands::Right;
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let route = |method: &Method, path, demands, body| Classified(method.clone(), path, demands, body);
    vec![
        route(&post, "/api/v1/session", Nothing, Some(json!({"username": "nobody", "password": "wrong"}))),
        route(&get, "/api/v1/session", Session, None),
        route(&delete, "/api/v1/session", Nothing, None),
        route(
            &Method::PUT,
            "/api/v1/session/password",
            Session,
            Some(json!({"current": "not the present one", "new": "long-enough-password"})),
        ),
        route(&get, "/api/v1/regions", Session, None),
        route(&post, "/api/v1/regions/import", right(Right::RegionManage), None),
        route(&get, "/api/v1/map", Session, None),
        route(&get, "/api/v1/sites", Session, None),
        route(
            &post,
            "/api/v1/sites",
            right(Right::SiteManage),
            Some(json!({"name": "新站", "region_code": "{region}"})),
        ),
        route(&get, "/api/v1/sites/{id}", Session, None),
        route(&patch, "/api/v1/sites/{id}", right(Right::SiteManage), Some(json!({"name": "改名"}))),
        route(&post, "/api/v1/sites/{id}/claims", right(Right::SiteManage), None),
        route(&delete, "/api/v1/sites/{id}/claims", right(Right::SiteManage), None),
        route(&post, "/api/v1/sites/{id}/revoke", right(Right::SiteManage), Some(json!({"reason": "换网关"}))),
        route(&post, "/api/v1/enrolments", Nothing, Some(json!({"code": "AAAA2222", "certificate_request": "x"}))),
        route(&get, "/api/v1/devices", Session, None),
        route(&patch, "/api/v1/devices/{id}", right(Right::SiteManage), Some(json!({"name": "床头"}))),
        route(&get, "/api/v1/alarms", Session, None),
        route(&get, "/api/v1/alarms/{id}", Session, None),
        route(&post, "/api/v1/alarms/{id}/acknowledge", right(Right::AlarmHandle), None),
        route(&post, "/api/v1/alarms/{id}/going", right(Right::AlarmHandle), None),
        route(&post, "/api/v1/alarms/{id}/arrived", right(Right::AlarmHandle), None),
        route(&post, "/api/v1/alarms/{id}/close", right(Right::AlarmHandle), Some(json!({"reason": "test"}))),
        route(&get, "/api/v1/faults", Session, None),
        route(&post, "/api/v1/faults/{id}/clear", right(Right::SiteManage), Some(json!({"note": "换了电池"}))),
        route(&get, "/api/v1/users", right(Right::UserManage), None),
        route(
            &post,
            "/api/v1/users",
            right(Right::UserManage),
            Some(json!({
                "username": "{new}", "display_name": "新人", "password": "long-enough-password", "role": "operator",
                "region_code": "{region}"
            })),
        ),
        route(&patch, "/api/v1/users/{id}", right(Right::UserManage), Some(json!({"display_name": "改名"}))),
        route(&get, "/api/v1/audit", right(Right::AuditRead), None),
        route(&get, "/api/v1/events", Session, None),
        route(&get, "/api/v1/cameras", Session, None),
        route(&get, "/api/v1/alarms/{id}/video", Session, None),
        route(
            &post,
            "/api/v1/cameras/try",
            right(Right::SiteManage),
            Some(json!({"site_id": "{site}", "url": "rtsp://10.0.0.9/1"})),
        ),
        route(&get, "/api/v1/cameras/{id}/recordings", Session, None),
        route(&get, "/api/v1/evidence/{id}/file", Session, None),
        route(
            &post,
            "/api/v1/cameras",
            right(Right::SiteManage),
            Some(json!({"site_id": "{site}", "name": "村口", "url": "rtsp://10.0.0.9/1"})),
        ),
        route(&patch, "/api/v1/cameras/{id}", right(Right::SiteManage), Some(json!({"place": "村口东"}))),
        route(&delete, "/api/v1/cameras/{id}", right(Right::SiteManage), None),
        route(&get, "/api/v1/cameras/{id}/live", Session, None),
        route(&get, "/api/v1/cameras/{id}/playback", Session, None),
        route(
            &post,
            "/api/v1/cameras/{id}/exports",
            right(Right::RecordingExport),
            Some(json!({"from_ms": 1000, "to_ms": 5000, "reason": "核对"})),
        ),
        route(&get, "/api/v1/exports", right(Right::RecordingExport), None),
        route(&get, "/api/v1/exports/{id}", right(Right::RecordingExport), None),
        route(&delete, "/api/v1/exports/{id}", right(Right::RecordingExport), None),
        route(&get, "/api/v1/exports/{id}/file", right(Right::RecordingExport), None),
        route(&post, "/api/v1/sounds", right(Right::BroadcastSend), None),
        route(&post, "/api/v1/sounds/speech", right(Right::BroadcastSend), Some(json!({"text": "停水通知"}))),
        route(&get, "/api/v1/sounds/{sha256}", Session, None),
        route(&get, "/api/v1/speakers", Session, None),
        route(
            &post,
            "/api/v1/speakers",
            right(Right::SiteManage),
            Some(json!({"site_id": "{site}", "name": "村口", "kind": "mqtt", "device": "{new}"})),
        ),
        route(&patch, "/api/v1/speakers/{id}", right(Right::SiteManage), Some(json!({"place": "村口东"}))),
        route(&delete, "/api/v1/speakers/{id}", right(Right::SiteManage), None),
        route(&post, "/api/v1/speakers/{id}/test", right(Right::SiteManage), None),
        route(&get, "/api/v1/notices", Session, None),
        route(&get, "/api/v1/notices/{id}", Session, None),
        route(
            &post,
            "/api/v1/notices",
            right(Right::BroadcastSend),
            Some(json!({"region_code": "{region}", "sound_sha256": "{sound}", "level": "notice"})),
        ),
        route(&post, "/api/v1/notices/reach", right(Right::BroadcastSend), Some(json!({"region_code": "{region}"}))),
        route(&post, "/api/v1/notices/{id}/confirm", right(Right::BroadcastSend), None),
        route(&post, "/api/v1/notices/{id}/refuse", right(Right::BroadcastSend), Some(json!({"reason": "不合适"}))),
        route(&post, "/api/v1/notices/{id}/stop", right(Right::BroadcastSend), None),
        route(&get, "/api/v1/templates", Session, None),
        route(
            &post,
            "/api/v1/templates",
            right(Right::BroadcastSend),
            Some(json!({"region_code": "{region}", "title": "停水", "text": "今天停水"})),
        ),
        route(&delete, "/api/v1/templates/{id}", right(Right::BroadcastSend), None),
        route(&get, "/api/v1/order-keys", right(Right::RegionManage), None),
        route(&post, "/api/v1/order-keys/{id}/withdraw", right(Right::RegionManage), Some(json!({"reason": "泄露"}))),
    ]
}

/// Two villages of two townships; people work in the first.
const OWN_TOWNSHIP: &str = "411728001";
const OWN: &str = "411728001001";
const FOREIGN: &str = "411728002001";
/// What must never be read in the first: it stands in the names of everything in the second.
const FOREIGN_MARK: &str = "foreign-village";

struct County {
    app: Router,
    store: Store,
    content: Content,
    folder: std::path::PathBuf,
}

impl County {
    async fn new(store: Store) -> Self {
        let folder = std::env::temp_dir().join(format!("tongluo-walk-{}", crate::ids::opaque()));
        std::fs::create_dir(&folder).unwrap();
        let now_ms = clock::utc_ms();
        region::seed(&store, None).await.unwrap();
        let authority = Arc::new(Authority::create(&folder, now_ms).unwrap());
        let live = Live::open(store.clone()).await.unwrap();
        let roster = Roster::load(&store).await.unwrap();
        let identity = Identity::new(store.clone(), 8443);
        let config = Config::default();
        let content = Content::open(store.clone(), &folder, &config.content).unwrap();
        let video = VideoRoom {
            store: store.clone(),
            live: live.clone(),
            seal: crate::seal::for_test(),
            content: content.clone(),
            relay: crate::video::live::Relay::new(),
            evidence_days: 90,
            exports: crate::video::Exports::default(),
        };
        let orders = Orders::new(Arc::clone(&authority), crate::seal::for_test(), Outbox::new());
        let voice = VoiceRoom::new(store.clone(), content.clone(), Arc::new(Espeak::new("espeak-ng".into())));
        let rooms = Rooms {
            alarm: AlarmRoom { store: store.clone(), live: live.clone(), orders: orders.clone() },
            fault: FaultRoom { store: store.clone(), live: live.clone() },
            fleet: FleetRoom {
                store: store.clone(),
                live: live.clone(),
                authority,
                roster,
                addresses: Addresses::of(&config),
            },
            region: RegionRoom { store: store.clone() },
            map: MapRoom { store: store.clone() },
            audit: AuditRoom { store: store.clone() },
            identity: identity.clone(),
            live: LiveRoom { live: live.clone(), identity: identity.clone() },
            video,
            pictures: LivePictures { relay: Relay::new(), identity: identity.clone(), store: store.clone() },
            voice: voice.clone(),
            broadcast: BroadcastRoom {
                store: store.clone(),
                live: live.clone(),
                seal: crate::seal::for_test(),
                content: content.clone(),
                orders: orders.clone(),
                voice,
                night: crate::broadcast::Night::NONE,
            },
            order: OrderRoom { store: store.clone(), orders },
        };
        let app = application(rooms, Router::new(), identity, AllowedHosts::of(&config));
        Self { app, store, content, folder }
    }

    /// Puts one of everything into a village; ids are the code with a letter before it.
    async fn furnish(&self, code: &str, mark: &str) {
        let sound = self.content.put(0, code.as_bytes(), MediaType::Wav, Audience::Gateways).await.unwrap();
        assert_eq!(sound.to_string(), sound_in(code));
        let mut transaction = self.store.begin().await.unwrap();
        for sql in [
            "insert into site (id, name, region_code, created_ms) values ($1, $3, $2, 0) on conflict do nothing",
            "insert into device (id, site_id, key, family, kind, name, first_heard_ms, last_heard_ms) \
             values ($1, $1, $2, 'zigbee2mqtt', 'button', $3, 0, 0) on conflict do nothing",
            "insert into fault (id, site_id, region_code, source, code, detail, state, count, first_ms, last_ms) \
             values ($1, $1, $2, 'gateway', 'lan.disconnected', $3, 'open', 1, 0, 0) on conflict (id) do update set state = 'open'",
            "insert into alarm (id, site_id, region_code, source, kind, state, sounding, late, presses, occurred_ms, \
             raised_ms, last_press_ms, revision) values ($1, $1, $2, $3, 'sos', 'unacknowledged', 1, 0, 1, 0, 0, 0, 1) \
             on conflict (id) do update set state = 'unacknowledged'",
            "insert into account (id, username, display_name, password_hash, role, region_code, language, disabled, \
             created_ms) values ($1, $1, $3, '-', 'operator', $2, 'zh-CN', 0, 0) on conflict do nothing",
            "insert into audit (id, at_ms, actor, action, subject, region_code, outcome, detail) \
             values ($1, 0, $3, 'session.begin', $1, $2, 'done', '') on conflict do nothing",
            "insert into evidence (id, site_id, region_code, press_id, camera_id, camera_name, home, kind, state, from_ms, \
             to_ms, told_ms, expires_ms) values ($1, $1, $2, $1, $1, $3, 0, 'clip', 'saved', 0, 0, 0, 0) \
             on conflict do nothing",
            "insert into export (id, site_id, region_code, camera_id, camera_name, home, quality, from_ms, to_ms, reason, \
             requested_by, account_id, state, progress_percent, created_ms, expires_ms) \
             values ($1, $1, $2, $1, $3, 0, 'main', 0, 1, '', $3, $1, 'ready', 100, 0, 0) on conflict do nothing",
            "insert into recorder (id, site_id, host, port, sessions_max, created_ms) \
             values ($1, $1, $2 || $3, 554, 4, 0) on conflict do nothing",
            "insert into camera (id, site_id, recorder_id, name, kind, main_path, place, record, days_max, bytes_max, \
             audio, created_ms, revision, state, state_since_ms, state_detail, stale) \
             values ($1, $1, $1, $3, 'public', '/1', $2, 'main', 7, 1, 0, 0, 1, 'ok', 0, '', 0) on conflict do nothing",
            "insert into sound (sha256, region_code, bytes, duration_ms, loudness_lufs, spoken_text, account_id, made_ms) \
             values ($4, $2, 12, 1, 1.0, $3, $1, 0) on conflict do nothing",
            "insert into speaker (id, site_id, name, kind, device, place, volume_percent, warm_up_ms, created_ms, revision, \
             state, state_since_ms, state_detail, stale) \
             values ($1, $1, $3, 'mqtt', $1, $2, 80, 0, 0, 1, 'new', 0, '', 0) on conflict do nothing",
            "insert into notice (id, account_id, author_username, author, request_sha256, title, region_code, reach_code, level, \
             sound_sha256, sound_bytes, duration_ms, times, gap_ms, valid_for_ms, night_confirmed, state, villages, sites, \
             speakers, online, created_ms, second_needed, settled, revision) values ($1, $1, $3, $3, '', $3, $2, $2, 'notice', \
             $4, 12, 1, 1, 0, 900000, 0, 'waiting_for_second', 2, 2, 2, 2, 9000000000000, 1, 0, 1) \
             on conflict (id) do update set state = 'waiting_for_second', settled = 0",
            "insert into notice_template (id, region_code, title, spoken_text, author, created_ms) \
             values ($1, $2, $3, $3, $3, 0) on conflict do nothing",
            "insert into named_sound (name, recipe, sha256, bytes, duration_ms) values ('tone', $1 || $2 || $3, $4, 12, 1) \
             on conflict do nothing",
        ] {
            let query = sqlx::query(sql).bind(id_in(code)).bind(code).bind(mark);
            // Some name a sound, too; PostgreSQL takes no value that the statement does not ask for.
            let query = if sql.contains("$4") { query.bind(sound_in(code)) } else { query };
            query.execute(&mut *transaction).await.unwrap();
        }
        let key = "insert into order_key (issuer, region_code, key, not_before_ms, not_after_ms) values ($1, $2, $3, 0, $4) \
                   on conflict (issuer) do update set not_after_ms = excluded.not_after_ms";
        let (secret, not_after_ms) = (mark.as_bytes(), 9_000_000_000_000_i64);
        let query = sqlx::query(key).bind(id_in(code)).bind(code).bind(secret).bind(not_after_ms);
        query.execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn ask(&self, route: &Classified, path: &str, own: &str, cookie: Option<&str>) -> (StatusCode, String) {
        let Classified(method, .., body) = route;
        let mut request = Request::builder().method(method.clone()).uri(path).header(header::HOST, "localhost:8080");
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                let name = format!("new-{}", crate::ids::opaque());
                let body = body.to_string().replace("{region}", own).replace("{site}", &id_in(own));
                Body::from(body.replace("{new}", &name).replace("{sound}", &sound_in(own)))
            }
            None => Body::empty(),
        };
        let response = self.app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        if path.starts_with("/api/v1/events") && status == StatusCode::OK {
            return (status, String::new());
        }
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 22).await.unwrap();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn id_in(code: &str) -> String {
    format!("in-{code}")
}

fn sound_in(code: &str) -> String {
    ContentHash::new(sha2::Sha256::digest(code).into()).to_string()
}

fn in_village(path: &str, code: &str) -> String {
    path.replace("{id}", &id_in(code)).replace("{sha256}", &sound_in(code))
}

#[test]
fn every_route_is_classified() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let classified: Vec<(String, String)> = classification()
        .iter()
        .map(|Classified(method, path, ..)| (method.as_str().to_lowercase(), (*path).to_owned()))
        .collect();
    let mut documented = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            documented.push((method.clone(), path.clone()));
        }
    }
    for route in &documented {
        assert!(classified.contains(route), "{route:?} is new: say in classification() what it demands");
    }
    for route in &classified {
        assert!(documented.contains(route), "{route:?} is classified but not served");
    }
}

#[test]
fn the_checked_in_document_is_the_one_that_is_served() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/shared/api/openapi.json");
    let checked_in = std::fs::read_to_string(path).unwrap();
    assert!(
        checked_in == openapi_json() + "\n",
        "the interface has changed: write it anew with `tongluo-hub openapi > dashboards/shared/api/openapi.json`, \
         then `npm run types` in dashboards/"
    );
}

#[tokio::test]
async fn every_route_keeps_to_rights_and_regions() {
    each_store(async |store| {
        let county = County::new(store).await;
        let document = Classified(Method::GET, "/api/v1/openapi.json", Demands::Nothing, None);
        let (_, served) = county.ask(&document, document.1, OWN, None).await;
        assert!(served == openapi_json(), "what is served is what was classified");
        for route in classification() {
            walk_without_session(&county, &route).await;
            for role in Role::ALL {
                walk(&county, &route, role, region(OWN)).await;
            }
            walk(&county, &route, Role::Administrator, region(OWN_TOWNSHIP)).await;
        }
        std::fs::remove_dir_all(&county.folder).unwrap();
    })
    .await;
}

async fn walk_without_session(county: &County, route: &Classified) {
    let Classified(method, path, demands, _) = route;
    let (status, body) = county.ask(route, &in_village(path, OWN), OWN, None).await;
    let what = format!("{method} {path} without a session: {status} {body}");
    if *demands == Demands::Nothing {
        // Logging out twice is done twice; the others judge what they were sent.
        assert!(status.is_client_error() || status == StatusCode::NO_CONTENT, "{what}");
        assert_ne!(status, StatusCode::FORBIDDEN, "{what}");
    } else {
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}");
    }
    let (forged_status, body) = county.ask(route, &in_village(path, OWN), OWN, Some("tongluo_session=00")).await;
    assert_eq!(forged_status, status, "{method} {path} with a forged cookie: {body}");
}

async fn walk(county: &County, route: &Classified, role: Role, home: RegionCode) {
    let Classified(method, path, demands, body) = route;
    if *demands == Demands::Nothing {
        return;
    }
    county.furnish(OWN, "own-village").await;
    county.furnish(FOREIGN, FOREIGN_MARK).await;
    let cookie = begin_session(&county.store, role, &home, clock::utc_ms()).await;
    let may = match demands {
        Demands::Right(right) => role.rights().contains(right),
        Demands::Session | Demands::Nothing => true,
    };
    let (status, answer) = county.ask(route, &in_village(path, OWN), OWN, Some(&cookie)).await;
    let what = format!("{method} {path} as {role:?} of {home}: {status} {answer}");
    assert!(!answer.contains(FOREIGN_MARK), "what lies outside is not shown: {what}");
    if may {
        let is_import = *path == "/api/v1/regions/import";
        let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
        // Importing regions is for the county's administrators alone, whatever their township.
        assert!(is_import || !is_refused, "{what}");
        assert!(!status.is_server_error(), "{what}");
    } else {
        assert_eq!(status, StatusCode::FORBIDDEN, "{what}");
    }
    let names_a_region =
        body.as_ref().is_some_and(|body| ["{region}", "{site}"].iter().any(|place| body.to_string().contains(place)));
    if path.contains('{') || names_a_region {
        let cookie = begin_session(&county.store, role, &home, clock::utc_ms()).await;
        let (status, answer) = county.ask(route, &in_village(path, FOREIGN), FOREIGN, Some(&cookie)).await;
        let what = format!("{method} {path} of a foreign village as {role:?} of {home}: {status} {answer}");
        assert!(status.is_client_error(), "{what}");
        assert!(!answer.contains(FOREIGN_MARK), "{what}");
    }
}

#[tokio::test]
async fn wrong_bodies_are_problems_and_change_nothing() {
    each_store(async |store| {
        let county = County::new(store).await;
        county.furnish(OWN, "own-village").await;
        let cookie = begin_session(&county.store, Role::Administrator, &region("411728"), clock::utc_ms()).await;
        for route in classification().into_iter().filter(|Classified(.., body)| body.is_some()) {
            let Classified(method, path, ..) = &route;
            for wrong in ["", "{", "[]", "null", "{\"colour\":1}", "\"\u{0}\"", &"[".repeat(10_000)] {
                let request = Request::builder()
                    .method(method.clone())
                    .uri(in_village(path, OWN))
                    .header(header::HOST, "localhost:8080")
                    .header(header::COOKIE, &cookie)
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Body::from(wrong.to_owned()))
                    .unwrap();
                let response = county.app.clone().oneshot(request).await.unwrap();
                let status = response.status();
                let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
                let what = format!("{method} {path} with {:.20}: {status} {kind}", wrong);
                assert!(status.is_client_error(), "{what}");
                assert_eq!(kind, "application/problem+json", "{what}");
            }
        }
        std::fs::remove_dir_all(&county.folder).unwrap();
    })
    .await;
}
