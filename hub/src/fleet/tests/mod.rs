//! The fleet as its routes show it, on every database.

mod enrolment;
mod hearing;
mod sites;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use serde_json::{Value, json};

use super::authority::serial_bytes;
use super::{Addresses, Authority, FleetRoom, Roster, routes};
use crate::clock;
use crate::ids::{self, SiteId};
use crate::live::Live;
use crate::store::Store;
use crate::store::testing::{COUNTY, add_site};
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
                media_port: 8884,
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
