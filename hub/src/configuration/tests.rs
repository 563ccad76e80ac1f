//! From a mark to an order, on both databases.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sqlx::{AnyConnection, Row};
use tongluo_protocols::configuration::{ANY_DEVICE, Configuration, DeviceCameras};
use tongluo_protocols::order::{Body, ConfigurationOrder, SignedOrder};

use super::*;
use crate::fleet::{self, Authority};
use crate::link::Outbox;
use crate::order::Orders;
use crate::seal::{self, Seal};
use crate::store::Store;
use crate::store::testing::{VILLAGE, add_site, each_store};

/// Says which camera looks, or fails.
#[derive(Default)]
struct Room {
    camera: Mutex<Option<String>>,
    fails: AtomicU32,
}

#[async_trait]
impl Contributor for Room {
    async fn contribute(
        &self,
        _: &mut AnyConnection,
        _: &SiteId,
        configuration: &mut Configuration,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(self.fails.load(Ordering::Relaxed) == 0, "the room cannot say");
        let cameras = self.camera.lock().unwrap().iter().cloned().collect();
        configuration.watch.push(DeviceCameras { device: ANY_DEVICE.to_owned(), cameras });
        Ok(())
    }
}

struct Bench {
    store: Store,
    seal: Seal,
    room: Arc<Room>,
    authority: Arc<Authority>,
    configurations: Configurations,
    folder: std::path::PathBuf,
}

impl Bench {
    fn new(store: Store) -> Self {
        let folder = std::env::temp_dir().join(format!("tongluo-configuration-{}", crate::ids::opaque()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Arc::new(Authority::create(&folder, 1_795_000_000_000).unwrap());
        let orders = Orders::new(Arc::clone(&authority), seal::for_test(), Outbox::new());
        let (seal, room) = (seal::for_test(), Arc::<Room>::default());
        let contributors: Vec<Arc<dyn Contributor>> = vec![Arc::<Room>::clone(&room)];
        let configurations = Configurations::new(store.clone(), seal.clone(), orders, contributors);
        Self { store, seal, room, authority, configurations, folder }
    }

    async fn mark(&self, site: &SiteId, now_ms: i64) {
        let mut transaction = self.store.begin().await.unwrap();
        fleet::configuration::mark(&mut transaction, now_ms, site).await.unwrap();
        transaction.commit().await.unwrap();
        self.configurations.round(now_ms).await.unwrap();
    }

    async fn orders(&self) -> Vec<Vec<u8>> {
        let rows =
            sqlx::query("select body from outbox order by sequence").fetch_all(self.store.reader()).await.unwrap();
        rows.iter().map(|row| row.get("body")).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_change_is_ordered_once_and_only_its_site_reads_it() {
    each_store(async |store| {
        let (bench, site) = (Bench::new(store.clone()), add_site(&store, "site1").await);
        bench.mark(&site, 1_000).await;
        bench.mark(&site, 2_000).await;
        assert_eq!(bench.orders().await.len(), 1, "nothing has changed");
        *bench.room.camera.lock().unwrap() = Some("c1".to_owned());
        bench.mark(&site, 3_000).await;
        let orders = bench.orders().await;
        assert_eq!(orders.len(), 2);

        let order =
            SignedOrder::parse(&orders[1]).unwrap().verify(&bench.authority.order_key().verifying_key()).unwrap();
        assert!(order.is_for("site1", None) && !order.is_for("site2", None));
        let Ok(Body::Configuration(ConfigurationOrder { revision: 2, bytes })) = order.body() else {
            panic!("{:?}", order.body());
        };
        let sha256 = order.content.unwrap().to_string();
        let mut connection = store.reader().acquire().await.unwrap();
        let sealed = super::store::sealed(&mut connection, &site, &sha256).await.unwrap().unwrap();
        let document = bench.seal.unseal(&http::label(&site), &sealed).unwrap();
        assert_eq!(document.len() as u64, bytes);
        let document = Configuration::parse(&document).unwrap();
        assert_eq!((document.revision, document.region_code.as_str()), (2, VILLAGE));
        assert_eq!(document.watch[0].cameras, ["c1"]);
        let other = SiteId::from_known("site2");
        assert_eq!(super::store::sealed(&mut connection, &other, &sha256).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_built_waits_and_changes_nothing() {
    each_store(async |store| {
        let (bench, site) = (Bench::new(store.clone()), add_site(&store, "site1").await);
        bench.room.fails.store(1, Ordering::Relaxed);
        bench.mark(&site, 1_000).await;
        assert_eq!(bench.orders().await.len(), 0);
        let due: i64 =
            sqlx::query_scalar("select marked_ms from configuration_due").fetch_one(store.reader()).await.unwrap();
        assert_eq!(due, 61_000, "it waits behind the others");
        bench.room.fails.store(0, Ordering::Relaxed);
        bench.configurations.round(62_000).await.unwrap();
        assert_eq!(bench.orders().await.len(), 1);
    })
    .await;
}
