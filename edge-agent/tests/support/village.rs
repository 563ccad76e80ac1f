//! The devices of a village: they publish at QoS 1 and see their confirmations.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use serde_json::Value;

use super::broker::{PASSWORD, USER};
use super::until;

/// The address and the friendly name of the Zigbee button.
pub(crate) const ZIGBEE: &str = "0x00158d0001a2b3c4";
pub(crate) const NAME: &str = "院子/按钮";

/// The `DevEUI` of the LoRaWAN button.
pub(crate) const LORAWAN: &str = "24e124535b316056";

/// A client on the village's network that stands for all its devices.
pub(crate) struct Village {
    client: AsyncClient,
    taken: Rc<Cell<usize>>,
    published: Cell<usize>,
    confirmed: Rc<RefCell<Vec<Value>>>,
}

impl Village {
    pub(crate) async fn join(port: u16) -> Self {
        let mut options = MqttOptions::new(format!("village-{port}"), ("127.0.0.1", port));
        options.set_credentials(USER, PASSWORD);
        options.set_clean_session(false);
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(10_000).build();
        let taken = Rc::new(Cell::new(0));
        let confirmed = Rc::new(RefCell::new(Vec::new()));
        let subscribed = Rc::new(Cell::new(false));
        let (count, list, ready) = (taken.clone(), confirmed.clone(), subscribed.clone());
        let subscriber = client.clone();
        tokio::task::spawn_local(async move {
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(50));
            loop {
                match eventloop.poll().await {
                    Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                        subscriber.try_subscribe("tongluo/confirmed", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Incoming::SubAck(_))) => ready.set(true),
                    Ok(Event::Incoming(Incoming::PubAck(_))) => count.set(count.get() + 1),
                    Ok(Event::Incoming(Incoming::Publish(publish))) => {
                        list.borrow_mut().push(serde_json::from_slice(&publish.payload).unwrap());
                    }
                    Ok(_) => {}
                    Err(_) => drop(pause.tick().await),
                }
            }
        });
        let village = Self { client, taken, published: Cell::new(0), confirmed };
        until("the village to subscribe", || subscribed.get()).await;
        village.publish("zigbee2mqtt/bridge/devices", &directory(), true);
        village
    }

    pub(crate) fn publish(&self, topic: &str, payload: &str, retained: bool) {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retained);
        self.client.try_publish(topic, payload, options).unwrap();
        self.published.set(self.published.get() + 1);
    }

    /// Returns once the broker has everything that was published.
    pub(crate) async fn delivered(&self) {
        until("the broker to take all messages", || self.taken.get() >= self.published.get()).await;
    }

    pub(crate) fn press_zigbee(&self, link_quality: u32) {
        let payload = format!(r#"{{"action":"emergency","battery":100,"linkquality":{link_quality}}}"#);
        self.publish(&format!("zigbee2mqtt/{NAME}"), &payload, false);
    }

    pub(crate) fn press_lorawan(&self, frame_count: u32) {
        let (topic, payload) = lorawan(frame_count);
        self.publish(&topic, &payload, false);
    }

    /// The press ids that were confirmed, in the order in which they were, with repetitions.
    pub(crate) fn confirmed(&self) -> Vec<String> {
        self.confirmed.borrow().iter().map(|value| value["press"].as_str().unwrap().to_owned()).collect()
    }

    /// The confirmations themselves.
    pub(crate) fn confirmations(&self) -> Vec<Value> {
        self.confirmed.borrow().clone()
    }

    pub(crate) async fn until_confirmed(&self, count: usize) {
        until(&format!("{count} confirmations"), || {
            let mut ids = self.confirmed();
            ids.sort();
            ids.dedup();
            ids.len() >= count
        })
        .await;
    }
}

fn directory() -> String {
    format!(
        r#"[{{"ieee_address":"{ZIGBEE}","friendly_name":"{NAME}","type":"EndDevice","definition":{{"model":"TS0215A_sos"}}}}]"#
    )
}

/// Topic and payload of a LoRaWAN press. FF 2E 01: a short press of a Milesight WS101.
pub(crate) fn lorawan(frame_count: u32) -> (String, String) {
    let payload = format!(
        r#"{{"deduplicationId":"d-{frame_count}","deviceInfo":{{"devEui":"{LORAWAN}","deviceName":"井边"}},"fCnt":{frame_count},"fPort":85,"data":"/y4B"}}"#
    );
    (format!("application/1/device/{LORAWAN}/event/up"), payload)
}
