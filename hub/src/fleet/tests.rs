//! The fleet as its routes show it, on every database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::authority::serial_bytes;
use super::presence::{self, Beat};
use super::{Addresses, Authority, DeviceHeard, FleetRoom, Roster, device, routes};
use crate::clock;
use crate::ids::{self, SiteId};
use crate::live::Live;
use crate::store::Store;
use crate::store::testing::{COUNTY, TOWNSHIP, VILLAGE, add_site, each_store, region};
use crate::viewer::Role;
use crate::viewer::testing::{Answer, as_somebody, ask, send, viewer};

/// A county with a site, asked by its administrator.
struct County {
    room: FleetRoom,
    site: SiteId,
    folder: PathBuf,
}

impl County {
    async fn new(store: &Store) -> Self {
        let folder = std::env::temp_dir().join(format!("tongluo-fleet-{}", ids::opaque()));
        let room = FleetRoom {
            store: store.clone(),
            live: Live::open(store.clone()).await.unwrap(),
            authority: Arc::new(Authority::create(&folder, clock::utc_ms()).unwrap()),
            roster: Roster::load(store).await.unwrap(),
            addresses: Addresses {
                hub_url: "https://hub.example:8443".to_owned(),
                mqtt_host: "hub.example".to_owned(),
                mqtt_port: 8883,
            },
        };
        Self { room, site: add_site(store, "s1te").await, folder }
    }

    fn asked_by(&self, role: Role, region: &str) -> Router {
        as_somebody(routes().with_state(self.room.clone()), Some(viewer(role, region)))
    }

    fn administrator(&self) -> Router {
        self.asked_by(Role::Administrator, COUNTY)
    }

    async fn claim(&self) -> String {
        let path = format!("/api/v1/sites/{}/claims", self.site);
        let answer = ask(&self.administrator(), "POST", &path, Value::Null).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body["code"].as_str().unwrap().to_owned()
    }

    async fn site(&self) -> Value {
        ask(&self.administrator(), "GET", &format!("/api/v1/sites/{}", self.site), Value::Null).await.body
    }

    /// A gateway asks, from an address.
    async fn enrol_from(&self, from: &str, code: &str, certificate_request: &str) -> Answer {
        let body = json!({ "code": code, "certificate_request": certificate_request });
        let mut request = Request::post("/api/v1/enrolments")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(from.parse().unwrap(), 1)));
        send(&as_somebody(routes().with_state(self.room.clone()), None), request).await
    }

    async fn enrol(&self, code: &str, certificate_request: &str) -> Answer {
        self.enrol_from("192.0.2.1", code, certificate_request).await
    }

    fn allows(&self, serial: &Value) -> bool {
        self.room.roster.allows(&self.site, &serial_bytes(serial.as_str().unwrap()).unwrap())
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.room.store.reader()).await.unwrap()
    }
}

impl Drop for County {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn request_with(algorithm: &'static SignatureAlgorithm) -> String {
    let key = KeyPair::generate_for(algorithm).unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

fn request() -> String {
    request_with(&PKCS_ECDSA_P256_SHA256)
}

#[tokio::test]
async fn a_claim_becomes_a_certificate_once_and_the_same_key_may_ask_again() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let code = county.claim().await;
        assert_eq!(county.site().await["gateway"], Value::Null);
        assert!(county.site().await["claim"].is_object());

        let key = request();
        let first = county.enrol(&format!("{}-{}", code[..4].to_lowercase(), &code[4..]), &key).await;
        assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
        assert_eq!(first.body["mqtt_port"], 8883);
        assert_eq!(first.body["ca_certificate"], county.room.authority.ca_pem());
        let pem = first.body["certificate"].as_str().unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(certificate.subject().iter_common_name().next().unwrap().as_str(), Ok(county.site.as_str()));
        assert!(county.room.roster.allows(&county.site, certificate.raw_serial()));

        let site = county.site().await;
        assert_eq!(site["gateway"]["id"], first.body["gateway_id"]);
        assert_eq!(site["gateway"]["online"], false);
        assert_eq!(site["claim"], Value::Null);

        let again = county.enrol(&code, &key).await;
        assert_eq!(again.status, StatusCode::CREATED);
        assert_eq!(again.body["certificate"], first.body["certificate"]);
        assert_eq!(again.body["gateway_id"], first.body["gateway_id"]);
        assert_eq!(county.enrol(&code, &request()).await.code(), "claim.used");
        assert_eq!(county.count("select count(*) from certificate").await, 1);
        assert_eq!(
            county.count("select count(*) from audit where action = 'gateway.enrol' and outcome = 'refused'").await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn a_wrong_an_old_and_a_withdrawn_claim_are_told_apart() {
    each_store(async |store| {
        let county = County::new(&store).await;
        assert_eq!(county.enrol("ABCD2345", &request()).await.code(), "claim.unknown");
        assert_eq!(county.enrol("not a code", &request()).await.code(), "claim.unknown");

        let older = county.claim().await;
        let newer = county.claim().await;
        assert_eq!(county.enrol(&older, &request()).await.code(), "claim.withdrawn");

        sqlx::query("update claim set expires_ms = 1 where withdrawn_ms is null")
            .execute(store.reader())
            .await
            .unwrap();
        assert_eq!(county.enrol(&newer, &request()).await.code(), "claim.expired");

        let taken_back = county.claim().await;
        let path = format!("/api/v1/sites/{}/claims", county.site);
        for _ in 0..2 {
            assert_eq!(ask(&county.administrator(), "DELETE", &path, Value::Null).await.status, StatusCode::NO_CONTENT);
        }
        assert_eq!(county.enrol(&taken_back, &request()).await.code(), "claim.withdrawn");
        assert_eq!(county.count("select count(*) from certificate").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_new_box_puts_the_old_one_out() {
    each_store(async |store| {
        let county = County::new(&store).await;
        county.enrol(&county.claim().await, &request()).await;
        let old = county.site().await["gateway"]["certificate_serial"].clone();
        assert!(county.allows(&old));
        let mut revocations = county.room.roster.revocations();

        county.enrol(&county.claim().await, &request()).await;
        let new = county.site().await["gateway"]["certificate_serial"].clone();
        assert!(county.allows(&new) && !county.allows(&old));
        assert_eq!(revocations.try_recv().unwrap(), county.site);
        assert_eq!(county.count("select count(*) from certificate where revoked_ms is null").await, 1);
        // A hub that starts now sees the same.
        let fresh = Roster::load(&store).await.unwrap();
        assert!(!fresh.allows(&county.site, &serial_bytes(old.as_str().unwrap()).unwrap()));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_gateway_is_out_and_on_the_list() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let code = county.claim().await;
        let key = request();
        county.enrol(&code, &key).await;
        let serial = county.site().await["gateway"]["certificate_serial"].clone();
        let path = format!("/api/v1/sites/{}/revoke", county.site);
        let revoke =
            async |reason: &str| ask(&county.administrator(), "POST", &path, json!({ "reason": reason })).await;
        assert_eq!(revoke("  ").await.code(), "invalid");
        assert!(county.allows(&serial));
        assert_eq!(revoke("stolen").await.status, StatusCode::NO_CONTENT);
        assert!(!county.allows(&serial));
        assert_eq!(county.site().await["gateway"], Value::Null);
        assert_eq!(revoke("stolen").await.code(), "site.no_gateway");
        assert_eq!(county.enrol(&code, &key).await.code(), "claim.used", "its claim is worth nothing any more");
        let list = std::fs::read(county.room.authority.revocation_list()).unwrap();
        let (_, list) = x509_parser::pem::parse_x509_pem(&list).unwrap();
        let (_, list) = x509_parser::parse_x509_crl(&list.contents).unwrap();
        let revoked: Vec<_> = list.iter_revoked_certificates().map(|one| one.raw_serial().to_vec()).collect();
        assert_eq!(revoked, [serial_bytes(serial.as_str().unwrap()).unwrap()]);
    })
    .await;
}

#[tokio::test]
async fn a_request_with_a_wrong_key_or_signature_does_not_use_the_claim() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let code = county.claim().await;
        let good = request();
        let mut forged = good.clone();
        // One character of the signature, which ends the request.
        let at = forged.rfind("\n-----END").unwrap() - 12;
        let other = if forged.as_bytes()[at] == b'A' { "B" } else { "A" };
        forged.replace_range(at..=at, other);
        for wrong in ["", "no request", &request_with(&PKCS_ECDSA_P384_SHA384), &forged] {
            let answer = county.enrol(&code, wrong).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{wrong}");
        }
        assert_eq!(county.enrol(&code, &good).await.status, StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn guessing_codes_is_slowed_down_per_address_and_remembered() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let key = request();
        let code = county.claim().await;
        // Good ones are free, however many.
        for _ in 0..8 {
            assert_eq!(county.enrol_from("192.0.2.7", &code, &key).await.status, StatusCode::CREATED);
        }
        for _ in 0..6 {
            assert_eq!(county.enrol_from("192.0.2.7", "ABCD2345", &key).await.status, StatusCode::NOT_FOUND);
        }
        let slowed = county.enrol_from("192.0.2.7", &code, &key).await;
        assert_eq!((slowed.status, slowed.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"));
        assert_eq!(slowed.headers[header::RETRY_AFTER], "1");
        assert_eq!(county.enrol_from("192.0.2.8", &code, &key).await.status, StatusCode::CREATED);
    })
    .await;
}

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

fn heard<'a>(county: &'a County, place: &'a crate::ids::RegionCode, heard_ms: i64) -> DeviceHeard<'a> {
    DeviceHeard {
        site_id: &county.site,
        region: place,
        key: "zigbee:0x00158d0001a2b3c4",
        family: "zigbee",
        kind: "unknown",
        reported_name: Some("button 7"),
        battery_percent: None,
        link_quality: Some(80),
        available: None,
        tamper: None,
        heard_ms,
    }
}

#[tokio::test]
async fn a_device_is_made_by_being_heard_and_written_only_when_there_is_news() {
    const START_MS: i64 = 1_800_000_000_000;
    each_store(async |store| {
        let county = County::new(&store).await;
        let place = region(VILLAGE);
        let hear = async |heard: DeviceHeard<'_>| {
            let mut transaction = store.begin().await.unwrap();
            let result = device::heard(&mut transaction, heard.heard_ms, &heard).await.unwrap();
            transaction.commit().await.unwrap();
            result
        };
        let first = hear(heard(&county, &place, START_MS)).await;
        let told = first.draft.unwrap();
        assert_eq!((told.kind, &told.body["kind"]), ("device", &json!("unknown")));
        // Still alive: not written within a minute, not told within ten.
        for (after_ms, link_quality) in [(59_999, 10), (60_000, 20)] {
            let again = DeviceHeard { link_quality: Some(link_quality), ..heard(&county, &place, START_MS + after_ms) };
            assert!(hear(again).await.draft.is_none());
        }
        let written = county.count("select last_heard_ms from device").await;
        assert_eq!(written, START_MS + 60_000);
        assert_eq!(county.count("select link_quality from device").await, 20);
        assert!(hear(heard(&county, &place, START_MS + 600_000)).await.draft.is_some());
        // News is told at once, and what was not said stays.
        let pressed = DeviceHeard {
            kind: "button",
            reported_name: None,
            battery_percent: Some(92),
            ..heard(&county, &place, START_MS + 600_001)
        };
        let told = hear(pressed).await.draft.unwrap();
        assert_eq!((&told.body["kind"], &told.body["battery_percent"]), (&json!("button"), &json!(92)));
        assert_eq!(told.body["reported_name"], "button 7");
        assert!(hear(heard(&county, &place, START_MS + 600_002)).await.draft.is_none(), "a button stays one");
        assert_eq!(first.id, hear(heard(&county, &place, START_MS + 600_003)).await.id);
    })
    .await;
}

#[tokio::test]
async fn devices_are_named_by_people_of_their_region() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let place = region(VILLAGE);
        let mut transaction = store.begin().await.unwrap();
        let id = device::heard(&mut transaction, 1, &heard(&county, &place, 1)).await.unwrap().id.unwrap();
        transaction.commit().await.unwrap();
        let path = format!("/api/v1/devices/{id}");
        let name = json!({ "name": " 王奶奶家按钮 ", "place": "东屋床头" });
        for (role, region, status) in [
            (Role::Operator, COUNTY, StatusCode::FORBIDDEN),
            (Role::Technician, "411728103", StatusCode::NOT_FOUND),
            (Role::Technician, TOWNSHIP, StatusCode::OK),
        ] {
            assert_eq!(ask(&county.asked_by(role, region), "PATCH", &path, name.clone()).await.status, status);
        }
        let router = county.administrator();
        let listed = ask(&router, "GET", &format!("/api/v1/devices?site_id={}", county.site), Value::Null).await;
        assert_eq!(listed.body["devices"][0]["name"], "王奶奶家按钮");
        let cleared = ask(&router, "PATCH", &path, json!({ "place": "" })).await;
        assert_eq!((&cleared.body["place"], &cleared.body["name"]), (&Value::Null, &json!("王奶奶家按钮")));
        let none = ask(&county.asked_by(Role::Operator, "411728103"), "GET", "/api/v1/devices", Value::Null).await;
        assert_eq!(none.body["devices"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn presence_is_told_when_a_person_would_act_on_it() {
    const START_MS: i64 = 1_800_000_000_000;
    each_store(async |store| {
        let county = County::new(&store).await;
        county.enrol(&county.claim().await, &request()).await;
        let site = &county.site;
        let mut tx = store.begin().await.unwrap();
        let gateway = |draft: Option<crate::live::Draft>| draft.unwrap().body["gateway"].clone();
        let up = gateway(presence::online(&mut tx, START_MS, site).await.unwrap());
        assert_eq!((&up["online"], &up["online_changed_ms"]), (&json!(true), &json!(START_MS)));
        let beat = Beat { boot_id: 7, uptime_ms: 5_000, version: "0.1.0", journal_pending: 0, lan_connected: true };
        let first = gateway(presence::beat(&mut tx, START_MS + 1, site, &beat).await.unwrap());
        assert_eq!((&first["version"], &first["boot_ms"]), (&json!("0.1.0"), &json!(START_MS - 4_999)));
        assert!(presence::beat(&mut tx, START_MS + 5_000, site, &beat).await.unwrap().is_none());
        let behind = Beat { journal_pending: 3, ..beat };
        assert_eq!(
            gateway(presence::beat(&mut tx, START_MS + 6_000, site, &behind).await.unwrap())["journal_pending"],
            3
        );
        let cut = Beat { lan_connected: false, ..behind };
        assert_eq!(
            gateway(presence::beat(&mut tx, START_MS + 7_000, site, &cut).await.unwrap())["lan_connected"],
            false
        );
        assert!(presence::started(&mut tx, START_MS + 8_000, site, 7, "0.1.0").await.unwrap().is_none());
        assert!(presence::started(&mut tx, START_MS + 9_000, site, 8, "0.1.0").await.unwrap().is_some());
        assert_eq!(gateway(presence::offline(&mut tx, START_MS + 9_500, site).await.unwrap())["online"], false);
        assert!(presence::offline(&mut tx, START_MS + 9_600, site).await.unwrap().is_none());
        presence::online(&mut tx, START_MS + 9_700, site).await.unwrap();
        let after_restart = presence::all_offline(&mut tx, START_MS + 9_800).await.unwrap();
        assert_eq!((after_restart.len(), &after_restart[0].body["gateway"]["online"]), (1, &json!(false)));
        tx.commit().await.unwrap();
        assert_eq!(county.site().await["gateway"]["online"], false);
    })
    .await;
}
