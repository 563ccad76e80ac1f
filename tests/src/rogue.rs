//! A gateway's certificate in the wrong hands: an MQTT client that tries what a gateway never would.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, PublishOptions, QoS, TlsConfiguration, Transport,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::village::text;
use crate::wait;

/// How long the broker may take to refuse.
const ANSWER: Duration = Duration::from_secs(10);

/// A connected client.
pub struct Rogue {
    client: AsyncClient,
    events: EventLoop,
}

impl std::fmt::Debug for Rogue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rogue").finish_non_exhaustive()
    }
}

impl Rogue {
    /// Connects to the hub's broker with what a gateway was given at enrolment (`identity.json`), its own client id, and a
    /// will if one is given. An error is a refusal.
    ///
    /// # Errors
    /// The broker does not let it in.
    pub async fn connect(identity: &Value, will_topic: Option<&str>) -> Result<Self> {
        let site_id = text(identity, "site_id")?;
        let port = identity["mqtt_port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("a port")?;
        let mut options = MqttOptions::new(site_id, (text(identity, "mqtt_host")?, port));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls(identity)?)));
        options.set_keep_alive(30);
        options.set_clean_session(true);
        if let Some(topic) = will_topic {
            options.set_last_will(LastWill::new(topic, "{\"online\":false}", QoS::AtLeastOnce, true));
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(100).build();
        loop {
            let event = tokio::time::timeout(ANSWER, events.poll()).await.context("the broker does not answer")?;
            if let Event::Incoming(Packet::ConnAck(_)) = event? {
                return Ok(Self { client, events });
            }
        }
    }

    /// Publishes with QoS 1 and waits for the PUBACK, which in MQTT 3.1.1 says nothing; being thrown out counts as well.
    ///
    /// # Errors
    /// Neither happens.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> Result<()> {
        self.client.publish(topic, payload.to_owned(), PublishOptions::at_least_once()).await?;
        self.until("a PUBACK", |packet| matches!(packet, Packet::PubAck(_))).await
    }

    /// Subscribes and waits for the answer; being thrown out counts as well.
    ///
    /// # Errors
    /// Neither happens.
    pub async fn subscribe(&mut self, filter: &str) -> Result<()> {
        self.client.subscribe(filter, QoS::AtLeastOnce).await?;
        self.until("a SUBACK", |packet| matches!(packet, Packet::SubAck(_))).await
    }

    /// The topic of the next message within a time, if one comes.
    pub async fn hears(&mut self, within: Duration) -> Option<String> {
        let listening = async {
            loop {
                match self.events.poll().await {
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        return Some(String::from_utf8_lossy(&publish.topic).into_owned());
                    }
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(within, listening).await.ok().flatten()
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Packet) -> bool) -> Result<()> {
        let waiting = async {
            loop {
                match self.events.poll().await {
                    Ok(Event::Incoming(packet)) if wanted(&packet) => return,
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        if tokio::time::timeout(wait::PATIENCE, waiting).await.is_err() {
            bail!("waited in vain for {what}");
        }
        Ok(())
    }
}

fn tls(identity: &Value) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(text(identity, "ca_certificate")?.as_bytes())?)?;
    let certificate = CertificateDer::from_pem_slice(text(identity, "certificate")?.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(text(identity, "private_key")?.as_bytes())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    Ok(Arc::new(config))
}
