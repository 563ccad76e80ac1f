//! Cameras on real databases: entered by people, reported by gateways, seen by those who may.

mod access;
mod cameras;
mod evidence;
mod export;
mod film;
mod recorders;
mod reports;

use axum::Router;
use serde_json::{Value, json};

use super::VideoRoom;
use crate::config::ContentConfig;
use crate::content::Content;
use crate::ids::SiteId;
use crate::live::{self, Live};
use crate::seal::{self, Seal};
use crate::store::Store;
use crate::store::testing::{VILLAGE, add_site, each_store};
use crate::viewer::testing::{Answer, as_somebody, ask, viewer};
use crate::viewer::{Role, Viewer};

/// A village with a gateway that is on line, and somebody who may do everything there.
struct Village {
    store: Store,
    site: SiteId,
    seal: Seal,
    room: VideoRoom,
    routes: Router,
}

impl Village {
    async fn new(store: &Store) -> Self {
        let site = add_site(store, "site1").await;
        let village = Self::with(store, site, viewer(Role::Administrator, VILLAGE)).await;
        village.execute("insert into presence (site_id, online, online_changed_ms) values ('site1', 1, 5)").await;
        village
    }

    /// The same village in somebody else's eyes.
    async fn with(store: &Store, site: SiteId, somebody: Viewer) -> Self {
        let live = Live::open(store.clone()).await.unwrap();
        let seal = seal::for_test();
        let folder = std::env::temp_dir().join(format!("tongluo-video-{}", crate::ids::opaque()));
        let content = Content::open(store.clone(), &folder, &ContentConfig::default()).unwrap();
        let room = VideoRoom {
            store: store.clone(),
            live,
            seal: seal.clone(),
            content,
            relay: crate::video::live::Relay::new(),
            evidence_days: 90,
            exports: crate::video::Exports::default(),
        };
        let routes = as_somebody(super::routes().with_state(room.clone()), Some(somebody));
        Self { store: store.clone(), site, seal, room, routes }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        ask(&self.routes, method, path, body).await
    }

    /// Enters a camera and answers it.
    async fn enter(&self, more: Value) -> Value {
        let mut body = json!({"site_id": self.site, "name": "村口", "url": "rtsp://10.0.0.9/1"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.ask("POST", "/api/v1/cameras", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    async fn execute(&self, sql: &'static str) {
        let mut transaction = self.store.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(self.store.reader()).await.unwrap()
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.store.reader()).await.unwrap()
    }
}
