//! A gateway as the broker sees it: an MQTT client with a certificate.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Packet, PublishOptions, QoS,
    TlsConfiguration, Transport,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::{Authority, Identity};
use crate::within;

/// How a gateway connects.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) trusted: String,
    pub(crate) identity: Option<Identity>,
    pub(crate) client_id: String,
    pub(crate) will: Option<LastWill>,
    /// One configuration for all connections, so that TLS sessions are resumed as real gateways do.
    pub(crate) tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// A connected gateway.
pub(crate) struct Gateway {
    client: AsyncClient,
    events: EventLoop,
}

impl Plan {
    pub(crate) fn new(port: u16, authority: &Authority, identity: &Identity) -> Self {
        Self {
            port,
            trusted: authority.certificate().to_owned(),
            client_id: identity.name.clone(),
            identity: Some(identity.clone()),
            will: Some(LastWill::new(
                format!("tl/1/{}/state", identity.name),
                "{\"online\":false}",
                QoS::AtLeastOnce,
                true,
            )),
            tls: Arc::default(),
        }
    }

    pub(crate) fn tls_config(&self) -> Arc<ClientConfig> {
        Arc::clone(self.tls.get_or_init(|| self.new_tls()))
    }

    fn new_tls(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.trusted.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        Arc::new(config)
    }

    /// Tries once; an error is a refusal.
    pub(crate) async fn try_connect(&self) -> Result<Gateway, ConnectionError> {
        let mut options = MqttOptions::new(self.client_id.clone(), ("127.0.0.1", self.port));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(self.tls_config())));
        options.set_keep_alive(30);
        options.set_clean_session(true);
        options.set_max_packet_size(1 << 20, 1 << 20);
        if let Some(will) = &self.will {
            options.set_last_will(will.clone());
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(1_000).build();
        loop {
            if let Event::Incoming(Packet::ConnAck(_)) = within("an answer to CONNECT", events.poll()).await? {
                return Ok(Gateway { client, events });
            }
        }
    }

    /// Connects, and says so in its retained state, as gateways do.
    pub(crate) async fn connect(&self) -> Gateway {
        let mut gateway = match self.try_connect().await {
            Ok(gateway) => gateway,
            Err(error) => panic!("{} could not connect: {error:?}", self.client_id),
        };
        let state = format!("tl/1/{}/state", self.client_id);
        gateway.publish(&state, "{\"online\":true}", PublishOptions::at_least_once().retained()).await;
        gateway
    }
}

impl Gateway {
    /// Publishes with QoS 1 or as `options` say, and waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, topic: &str, payload: impl Into<Bytes>, options: PublishOptions) {
        self.send(topic, payload, options);
        self.until("a PUBACK", |packet| matches!(packet, Packet::PubAck(_))).await;
    }

    /// Publishes without waiting for anything; `drive` makes it happen.
    pub(crate) fn send(&mut self, topic: &str, payload: impl Into<Bytes>, options: PublishOptions) {
        self.client.try_publish(topic, payload.into(), options).unwrap();
    }

    /// Subscribes, and waits for the answer, whatever it is.
    pub(crate) async fn subscribe(&mut self, filters: &[&str]) {
        for filter in filters {
            self.client.try_subscribe(*filter, QoS::AtLeastOnce).unwrap();
            self.until("a SUBACK", |packet| matches!(packet, Packet::SubAck(_))).await;
        }
    }

    /// Subscribes to what a gateway needs.
    pub(crate) async fn listen(&mut self, site: &str) {
        let topics = ["up/ack", "down", "call"].map(|leaf| format!("tl/1/{site}/{leaf}"));
        self.subscribe(&topics.each_ref().map(String::as_str)).await;
    }

    /// The next message from the hub.
    pub(crate) async fn message(&mut self) -> (String, Bytes) {
        match self.until("a message", |packet| matches!(packet, Packet::Publish(_))).await {
            Packet::Publish(publish) => (String::from_utf8(publish.topic.to_vec()).unwrap(), publish.payload),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the broker ends the connection.
    pub(crate) async fn ended(&mut self) -> ConnectionError {
        within("the end of a connection", async {
            loop {
                if let Err(error) = self.events.poll().await {
                    return error;
                }
            }
        })
        .await
    }

    /// Keeps the connection going and takes whatever comes, until it ends or the future is dropped.
    pub(crate) async fn drive(&mut self) {
        while self.events.poll().await.is_ok() {}
    }

    async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Packet) -> bool) -> Packet {
        within(what, async {
            loop {
                match self.events.poll().await {
                    Ok(Event::Incoming(packet)) if wanted(&packet) => return packet,
                    Ok(_) => {}
                    Err(error) => panic!("the connection ended: {error:?}"),
                }
            }
        })
        .await
    }
}
