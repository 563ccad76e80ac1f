//! The devices' side of a village's broker: publishes as Zigbee2MQTT and ChirpStack do, and sees what the gateway confirms.

use std::time::Duration;

use anyhow::{Context, Result};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, PublishOptions, QoS};
use serde_json::Value;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use crate::button::Message;
use crate::mosquitto::Login;
use crate::{clock, wait};

/// Where the gateway says that a press is on its disk: the button's light.
pub const CONFIRMED_TOPIC: &str = "tongluo/confirmed";

/// Between two attempts to reach a broker that has just been killed.
const RETRY: Duration = Duration::from_millis(100);

/// Messages waiting for the socket; a test that outruns it waits.
const REQUESTS_MAX: usize = 1_000;

/// A client that comes back by itself.
#[derive(Debug)]
pub struct Lan {
    client: AsyncClient,
    confirmed: UnboundedReceiver<Confirmed>,
    task: JoinHandle<()>,
}

/// The gateway's word that a press is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The press's id.
    pub press: String,
    /// The device's key.
    pub device: String,
    /// The device's own number of it, where it has one.
    pub source_key: Option<String>,
}

impl Lan {
    /// Connects to a village's broker. The session is kept, so that no confirmation is missed while it is away.
    ///
    /// # Errors
    /// Nothing answered, or the password is wrong.
    pub async fn connect(port: u16, login: &Login, client_id: &str) -> Result<Self> {
        let mut options = MqttOptions::new(client_id, ("127.0.0.1", port));
        options.set_credentials(login.username.clone(), login.password.clone());
        options.set_keep_alive(10);
        options.set_clean_session(false);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        let (sender, confirmed) = mpsc::unbounded_channel();
        let (up, mut is_up) = mpsc::channel(1);
        let task = tokio::spawn(listen(client.clone(), events, sender, up));
        tokio::time::timeout(wait::PATIENCE, is_up.recv()).await.context("no answer from the village's broker")?;
        Ok(Self { client, confirmed, task })
    }

    /// Publishes with QoS 1. Returns once it is on its way; the gateway's confirmation is what counts.
    ///
    /// # Errors
    /// The topic is none.
    pub async fn publish(&self, message: &Message) -> Result<()> {
        let mut options = PublishOptions::at_least_once();
        if message.retain {
            options = options.retained();
        }
        self.client.publish(message.topic.clone(), message.payload.clone(), options).await?;
        Ok(())
    }

    /// Publishes several.
    ///
    /// # Errors
    /// As [`Lan::publish`].
    pub async fn publish_all(&self, messages: &[Message]) -> Result<()> {
        for message in messages {
            self.publish(message).await?;
        }
        Ok(())
    }

    /// The next confirmation.
    ///
    /// # Errors
    /// None came within the usual patience.
    pub async fn confirmed(&mut self) -> Result<Confirmed> {
        let next = tokio::time::timeout(wait::PATIENCE, self.confirmed.recv()).await;
        next.context("the gateway confirmed nothing")?.context("the village's broker is gone")
    }

    /// The next confirmation of a device's press. Others are passed over: a gateway that was killed before it could say to
    /// its broker what it has confirms it again.
    ///
    /// # Errors
    /// None came within the usual patience.
    pub async fn confirmed_of(&mut self, device: &str) -> Result<Confirmed> {
        loop {
            let confirmed = self.confirmed().await?;
            if confirmed.device == device {
                return Ok(confirmed);
            }
        }
    }

    /// Publishes a press and waits until the gateway has confirmed it.
    ///
    /// # Errors
    /// It did not.
    pub async fn press(&mut self, message: &Message) -> Result<Confirmed> {
        self.publish(message).await?;
        self.confirmed().await
    }

    /// A confirmation that has come already, if any.
    pub fn try_confirmed(&mut self) -> Option<Confirmed> {
        self.confirmed.try_recv().ok()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    client: AsyncClient,
    mut events: EventLoop,
    confirmed: UnboundedSender<Confirmed>,
    up: mpsc::Sender<()>,
) {
    loop {
        match events.poll().await {
            // A broker that was killed may have forgotten the subscription.
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                // The request channel is full only while thousands of presses wait; the next connection subscribes.
                let _ = client.try_subscribe(CONFIRMED_TOPIC, QoS::AtLeastOnce);
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                // Whoever waits for the first needs no second.
                let _ = up.try_send(());
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if let Some(word) = read(&publish.payload)
                    && confirmed.send(word).is_err()
                {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => clock::pause(RETRY).await,
        }
    }
}

fn read(payload: &[u8]) -> Option<Confirmed> {
    let word: Value = serde_json::from_slice(payload).ok()?;
    let text = |name: &str| word[name].as_str().map(str::to_owned);
    Some(Confirmed { press: text("press")?, device: text("device")?, source_key: text("source_key") })
}
