//! The way down over real brokers: orders wait, go, are acknowledged, and go again, and a gateway takes each once.

use std::collections::HashMap;
use std::sync::Arc;

use rumqttc::{PublishOptions, QoS};
use tokio::task::JoinHandle;
use tongluo_hub::clock;
use tongluo_hub::ids::SiteId;
use tongluo_hub::link::{DownLane, Intake, Outbox};
use tongluo_hub::live::Live;
use tongluo_hub::store::{Store, StoreLocation};
use tongluo_protocols::id::{Lane, StreamKey};
use tongluo_protocols::link::{Ack, BatchView, Receiver};

use crate::gateway::{Gateway, Plan};
use crate::house::House;
use crate::within;

const SITE: &str = "a";
const ONCE: PublishOptions = PublishOptions::new(QoS::AtLeastOnce);

/// The part of a hub that gives orders, on a real broker.
struct Hub {
    house: House,
    store: Store,
    broker: Arc<tongluo_hub::broker::Broker>,
    outbox: Outbox,
    tasks: [JoinHandle<()>; 2],
}

impl Hub {
    async fn new(house: House) -> Self {
        let store = Store::open(&StoreLocation::Sqlite(house.folder.join("hub.db"))).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        for statement in [
            "insert into region (code, name, level) values ('411728', 'x', 'county')",
            "insert into site (id, name, region_code, created_ms) values ('a', 'x', '411728', 0)",
        ] {
            sqlx::query(statement).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        Self::start(house, store).await
    }

    async fn start(mut house: House, store: Store) -> Self {
        let broker = Arc::new(house.broker.take().unwrap());
        let outbox = Outbox::new();
        let live = Live::open(store.clone()).await.unwrap();
        let intake = Intake::new(store.clone(), live, Arc::clone(&broker), outbox.clone(), 60_000);
        let down = DownLane::new(store.clone(), Arc::clone(&broker), outbox.clone());
        let tasks = [tokio::spawn(intake.run(house.arrivals.take().unwrap())), tokio::spawn(down.run())];
        Self { house, store, broker, outbox, tasks }
    }

    /// The hub ends wherever it is, and starts again with another epoch.
    async fn restart(self) -> Self {
        let Self { mut house, store, broker, outbox, tasks } = self;
        drop(outbox);
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        house.broker = Some(Arc::into_inner(broker).expect("nobody else holds the broker"));
        house.restart_hub().await;
        Self::start(house, store).await
    }

    async fn order(&self, lane: Lane, what: &str) {
        let site = SiteId::from_known(SITE);
        let mut transaction = self.store.begin().await.unwrap();
        self.outbox.append(&mut transaction, clock::utc_ms(), &site, lane, 2, what.as_bytes()).await.unwrap();
        transaction.commit().await.unwrap();
        self.outbox.wake(&site);
    }

    async fn until_nothing_waits(&self) {
        within("every order to be acknowledged", async {
            while self.outbox.waiting(&self.store).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A gateway's memory of what it was ordered.
#[derive(Default)]
struct Village {
    receivers: HashMap<StreamKey, Receiver>,
    taken: Vec<String>,
}

impl Village {
    /// Connects, subscribes and speaks, as gateways do.
    async fn greet(plan: &Plan) -> Gateway {
        let mut gateway = plan.connect().await;
        gateway.listen(SITE).await;
        gateway.send("tl/1/a/beat", "a beat", PublishOptions::new(QoS::AtMostOnce));
        gateway
    }

    /// Takes what comes until it has taken so many orders; acknowledges if it is to.
    async fn take(&mut self, gateway: &mut Gateway, count: usize, acknowledges: bool) {
        while self.taken.len() < count {
            let (topic, payload) = gateway.message().await;
            assert_eq!(topic, "tl/1/a/down");
            let batch = BatchView::parse(&payload).unwrap();
            let receiver = self.receivers.entry(batch.key()).or_insert(Receiver::at(0));
            let offer = receiver.offer(batch.extent());
            receiver.commit(&offer);
            let orders = batch.entries().skip(offer.skip).take(offer.take);
            self.taken.extend(orders.map(|entry| String::from_utf8(entry.body.to_vec()).unwrap()));
            if acknowledges {
                let mut buffer = [0; Ack::BYTES_MAX];
                let length = offer.ack(batch.key()).emit(&mut buffer).unwrap();
                gateway.publish("tl/1/a/down/ack", buffer[..length].to_vec(), ONCE).await;
            }
        }
    }
}

pub(crate) async fn orders_wait_for_their_gateway_and_go_when_it_is_heard(house: House) {
    let plan = house.enrol(SITE);
    let hub = Hub::new(house).await;
    hub.order(Lane::Routine, "routine").await;
    hub.order(Lane::Urgent, "first").await;
    hub.order(Lane::Urgent, "second").await;
    assert_eq!(hub.outbox.waiting(&hub.store).await.unwrap(), 3);
    let mut village = Village::default();
    let mut gateway = Village::greet(&plan).await;
    village.take(&mut gateway, 3, true).await;
    assert_eq!(village.taken, ["first", "second", "routine"]);
    hub.order(Lane::Urgent, "third").await;
    village.take(&mut gateway, 4, true).await;
    assert_eq!(village.taken[3], "third");
    tokio::select! {
        () = hub.until_nothing_waits() => {}
        () = gateway.drive() => panic!("the connection ended"),
    }
}

pub(crate) async fn a_new_run_of_the_hub_sends_again_and_nothing_is_taken_twice(house: House) {
    let plan = house.enrol(SITE);
    let hub = Hub::new(house).await;
    let mut village = Village::default();
    let mut gateway = Village::greet(&plan).await;
    hub.order(Lane::Urgent, "heard, and not acknowledged").await;
    village.take(&mut gateway, 1, false).await;
    drop(gateway);
    hub.order(Lane::Urgent, "not heard").await;
    let hub = hub.restart().await;
    hub.order(Lane::Urgent, "of the next run").await;
    let mut gateway = Village::greet(&plan).await;
    village.take(&mut gateway, 3, true).await;
    assert_eq!(village.taken, ["heard, and not acknowledged", "not heard", "of the next run"]);
    assert_eq!(village.receivers.len(), 2, "two runs, two epochs");
    tokio::select! {
        () = hub.until_nothing_waits() => {}
        () = gateway.drive() => panic!("the connection ended"),
    }
}

pub(crate) async fn a_gateway_whose_disk_was_set_back_gets_everything_again(house: House) {
    let plan = house.enrol(SITE);
    let hub = Hub::new(house).await;
    let mut gateway = Village::greet(&plan).await;
    hub.order(Lane::Routine, "configuration").await;
    Village::default().take(&mut gateway, 1, true).await;
    tokio::select! {
        () = hub.until_nothing_waits() => {}
        () = gateway.drive() => panic!("the connection ended"),
    }
    drop(gateway);
    let mut forgetful = Village::default();
    let mut gateway = Village::greet(&plan).await;
    forgetful.take(&mut gateway, 1, true).await;
    assert_eq!(forgetful.taken, ["configuration"]);
}
