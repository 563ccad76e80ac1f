//! Loudspeakers and notices on real databases: entered and sent by people, played and refused by gateways.

mod notices;
mod reports;
mod speakers;
mod templates;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use ed25519_dalek::VerifyingKey;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use tongluo_protocols::content::{ContentHash, MediaType};
use tongluo_protocols::order::{Body as OrderBody, Order, ROOT, SignedOrder};

use super::*;
use crate::config::ContentConfig;
use crate::content::Audience;
use crate::fleet::Authority;
use crate::ids::{AccountId, SiteId};
use crate::link::Outbox;
use crate::store::testing::{TOWNSHIP, VILLAGE, add_site, each_store};
use crate::viewer::testing::{Answer, as_somebody, ask, send, viewer};
use crate::viewer::{Role, Viewer};
use crate::voice::Espeak;

/// Another village of the same township.
const NEIGHBOUR: &str = "411728102202";

/// Two villages with a site each, whose gateways are on line, and a hub without nights.
struct Township {
    store: Store,
    room: BroadcastRoom,
    authority: Arc<Authority>,
    folder: std::path::PathBuf,
    sound: String,
}

impl Township {
    async fn new(store: &Store) -> Self {
        add_site(store, "site1").await;
        let folder = std::env::temp_dir().join(format!("tongluo-broadcast-{}", crate::ids::opaque()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Arc::new(Authority::create(&folder, 1_795_000_000_000).unwrap());
        let config = ContentConfig { keep_free_mib: 0, ..ContentConfig::default() };
        let content = Content::open(store.clone(), &folder, &config).unwrap();
        content.put(0, b"a sound", MediaType::Wav, Audience::Gateways).await.unwrap();
        let voice = VoiceRoom::new(store.clone(), content.clone(), Arc::new(Espeak::new("espeak-ng".into())));
        let room = BroadcastRoom {
            store: store.clone(),
            live: Live::open(store.clone()).await.unwrap(),
            seal: crate::seal::for_test(),
            content,
            orders: Orders::new(Arc::clone(&authority), crate::seal::for_test(), Outbox::new()),
            voice,
            night: Night::NONE,
        };
        let sound = ContentHash::new(Sha256::digest(b"a sound").into()).to_string();
        let township = Self { store: store.clone(), room, authority, folder, sound };
        for sql in [
            "insert into region (code, name, level, parent) values ('411728102202', '邻村', 'village', '411728102')",
            "insert into site (id, name, region_code, created_ms) values ('site2', 'site2', '411728102202', 0)",
            "insert into presence (site_id, online, online_changed_ms) values ('site1', 1, 5), ('site2', 1, 5)",
        ] {
            township.execute(sql).await;
        }
        let insert = "insert into sound (sha256, region_code, bytes, duration_ms, loudness_lufs, account_id, made_ms) \
                      values ($1, '411728102', 7, 4000, -18.0, 'a', 0)";
        let mut transaction = store.begin().await.unwrap();
        sqlx::query(insert).bind(&township.sound).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        township
    }

    fn routes(&self, somebody: Viewer) -> Router {
        as_somebody(routes().with_state(self.room.clone()), Some(somebody))
    }

    async fn ask(&self, somebody: Viewer, method: &str, path: &str, body: Value) -> Answer {
        ask(&self.routes(somebody), method, path, body).await
    }

    /// Enters a loudspeaker and answers its id.
    async fn enter(&self, site: &str, device: &str) -> String {
        let body = json!({"site_id": site, "name": device, "kind": "mqtt", "device": device});
        let answer = self.ask(technician(), "POST", "/api/v1/speakers", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// A notice to a region, with whatever else it says.
    async fn notify(&self, somebody: Viewer, region: &str, more: Value) -> Answer {
        let mut body = json!({"region_code": region, "sound_sha256": self.sound, "level": "notice"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ask(somebody, "POST", "/api/v1/notices", body).await
    }

    async fn detail(&self, id: &Value) -> Value {
        let path = format!("/api/v1/notices/{}", id.as_str().unwrap());
        self.ask(operator(), "GET", &path, Value::Null).await.body
    }

    /// Every order so far but delegations, as its site and what `read` makes of it.
    async fn orders<T>(&self, read: impl Fn(Order<'_>) -> T) -> Vec<(String, T)> {
        let rows = sqlx::query("select site_id, body from outbox order by site_id, sequence")
            .fetch_all(self.store.reader())
            .await
            .unwrap();
        // Believed as gateways do: the root, and whom it has delegated to.
        let root = self.authority.order_key().verifying_key();
        let mut believed = HashMap::from([(ROOT.to_owned(), root)]);
        let mut orders = Vec::new();
        for row in &rows {
            let (site, body): (String, Vec<u8>) = (row.get("site_id"), row.get("body"));
            let signed = SignedOrder::parse(&body).unwrap();
            let order = signed.verify(&believed[signed.issuer()]).unwrap();
            assert!(order.is_for(&site, None));
            match order.body() {
                Ok(OrderBody::Delegation(delegation)) => {
                    let key = VerifyingKey::from_bytes(&delegation.key).unwrap();
                    believed.insert(delegation.issuer.to_owned(), key);
                }
                _ => orders.push((site, read(order))),
            }
        }
        orders
    }

    async fn execute(&self, sql: &'static str) {
        let mut transaction = self.store.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.store.reader()).await.unwrap()
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(self.store.reader()).await.unwrap()
    }
}

impl Drop for Township {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn head() -> Viewer {
    Viewer { account_id: AccountId::from_known("head"), ..viewer(Role::VillageHead, VILLAGE) }
}

fn operator() -> Viewer {
    Viewer { account_id: AccountId::from_known("operator"), ..viewer(Role::Operator, TOWNSHIP) }
}

fn another() -> Viewer {
    Viewer { account_id: AccountId::from_known("another"), ..viewer(Role::Operator, "411728") }
}

fn technician() -> Viewer {
    viewer(Role::Technician, TOWNSHIP)
}
