//! Any MQTT broker that somebody else runs, with the hub as one of its clients.
//!
//! Each connection starts from nothing: a new client, all subscriptions, and presence learned anew from the retained
//! states. So it does not matter what the broker has forgotten, and nothing half sent is carried over. While the broker
//! is out of reach, every site is off line as far as can be known.
//!
//! What is heard is believed as far as the broker keeps gateways to their own topics: [`super::mosquitto`] writes the
//! configuration that does. A retained state may outlive its gateway when a broker that stores states is killed, so "on
//! line" is a claim here, which the gateway's heartbeat confirms.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ClientError, ConnectionError, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS, SubAck,
    SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::config::{Credentials, ExternalConfig};
use super::counters::Counters;
use super::inbox::{Arrivals, Inbox, WAITING_MAX};
use super::topic::{self, DownLeaf, ROOT, UpLeaf};
use super::{BrokerError, BrokerStats, HUB_CLIENT_ID, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX, PublishError};
use crate::clock;
use crate::ids::SiteId;

/// Messages for gateways that may wait for the broker's socket; more are dropped, and `publish` says so.
const REQUESTS_MAX: usize = 1_024;

/// Messages that the broker has not acknowledged to the hub.
const INFLIGHT_MAX: u16 = 100;

/// How often the hub proves to the broker, and the broker to the hub, that it is alive.
const KEEP_ALIVE_S: u16 = 15;

/// A connection that is not ready (TLS, CONNACK, SUBACK) after this is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// First pause before another attempt, doubled after each up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// A goodbye that takes longer is left unsaid.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a state that the hub writes for a gateway says.
const OFFLINE: &[u8] = br#"{"online":false}"#;

/// What matters here of a state.
#[derive(Deserialize)]
struct State {
    online: bool,
}

/// A running client of an external broker.
pub(super) struct External {
    dialler: Dialler,
    counters: Arc<Counters>,
    inbox: Inbox,
    /// The client of the connection that stands; `None` while there is none.
    client: Arc<RwLock<Option<AsyncClient>>>,
    task: JoinHandle<()>,
    closing: oneshot::Sender<()>,
}

impl std::fmt::Debug for External {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("External").field("host", &self.dialler.host).finish_non_exhaustive()
    }
}

impl External {
    pub(super) fn start(config: &ExternalConfig, credentials: &Credentials) -> Result<(Self, Arrivals), BrokerError> {
        let dialler = Dialler::new(config, credentials)?;
        let counters = Arc::new(Counters::default());
        let (inbox, arrivals) = Inbox::new(WAITING_MAX, Arc::clone(&counters));
        let client = Arc::default();
        let (closing, closed) = oneshot::channel();
        let session = Session {
            dialler: dialler.clone(),
            counters: Arc::clone(&counters),
            inbox: inbox.clone(),
            client: Arc::clone(&client),
        };
        let task = tokio::spawn(session.run(closed));
        Ok((Self { dialler, counters, inbox, client, task, closing }, arrivals))
    }

    pub(super) fn publish(&self, site: &SiteId, leaf: DownLeaf, payload: Bytes) -> Result<(), PublishError> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        let qos = if leaf.at_least_once() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let sent =
            match client.as_ref().map(|client| client.try_publish(leaf.topic(site), payload, PublishOptions::new(qos)))
            {
                Some(Ok(())) => Ok(()),
                Some(Err(ClientError::RequestChannelFull(_))) => Err(PublishError::Full(site.clone())),
                Some(Err(_)) | None => Err(PublishError::Away(site.clone())),
            };
        if sent.is_ok() {
            self.counters.sent.add()
        } else {
            self.counters.sent_dropped.add()
        }
        sent
    }

    /// MQTT has no word for it, but whoever connects with a client id ends the session that had it. The hub does, and says
    /// in the gateway's place that it is off line.
    pub(super) async fn disconnect(&self, site: &SiteId) {
        let done = tokio::time::timeout(CONNECT_TIMEOUT, self.take_over(site)).await;
        if let Err(error) = done.map_err(anyhow::Error::from).flatten() {
            tracing::error!(site.id = %site, %error, "could not end a gateway's session at the external broker");
        }
    }

    async fn take_over(&self, site: &SiteId) -> anyhow::Result<()> {
        let (client, mut events) = self.dialler.dial(site.as_str());
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    client.try_publish(
                        UpLeaf::State.topic(site),
                        OFFLINE,
                        PublishOptions::at_least_once().retained(),
                    )?;
                }
                Ok(Event::Incoming(Packet::PubAck(_))) => client.try_disconnect()?,
                Ok(_) => {}
                Err(ConnectionError::RequestsDone) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn stats(&self) -> BrokerStats {
        self.counters.read()
    }

    pub(super) async fn shutdown(self) {
        // The receiver is gone only if the task is.
        let _ = self.closing.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the external broker's client had failed");
        }
        self.inbox.close();
    }
}

/// Knows how to reach the broker, and with which proof.
#[derive(Clone)]
struct Dialler {
    host: String,
    port: u16,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    Certificate(Arc<ClientConfig>),
    Password { username: String, password: String },
}

impl Dialler {
    fn new(config: &ExternalConfig, credentials: &Credentials) -> Result<Self, BrokerError> {
        let proof = match (&config.username, &config.password_file) {
            (None, None) => Proof::Certificate(Arc::new(tls(credentials)?)),
            (Some(username), Some(file)) => password(config, username, file)?,
            _ => {
                return Err(BrokerError::Config {
                    key: "username, broker.password_file",
                    value: "only one of the two".to_owned(),
                    allowed: "both, or neither",
                });
            }
        };
        Ok(Self { host: config.host.clone(), port: config.port, proof })
    }

    /// A client that has not connected yet; polling connects it.
    fn dial(&self, client_id: &str) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(client_id, (self.host.clone(), self.port));
        options.set_keep_alive(KEEP_ALIVE_S);
        options.set_clean_session(true);
        options.set_inflight(INFLIGHT_MAX);
        let packet_bytes_max = usize::try_from(PACKET_BYTES_MAX).expect("a u32 fits");
        options.set_max_packet_size(packet_bytes_max, packet_bytes_max);
        match &self.proof {
            Proof::Certificate(tls) => {
                options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))));
            }
            Proof::Password { username, password } => {
                options.set_credentials(username.clone(), password.clone());
            }
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        let mut network = events.network_options();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        (client, events)
    }
}

fn password(config: &ExternalConfig, username: &str, file: &Path) -> Result<Proof, BrokerError> {
    let is_loopback = config.host.parse().map_or(config.host == "localhost", |host: IpAddr| host.is_loopback());
    if !is_loopback {
        return Err(BrokerError::Config {
            key: "username",
            value: format!("{username}, for the host {}", config.host),
            allowed: "a password for a loopback host only, because it goes over the wire as it is; else mutual TLS",
        });
    }
    let text = std::fs::read_to_string(file).map_err(|error| BrokerError::Config {
        key: "password_file",
        value: format!("{}: {error}", file.display()),
        allowed: "a file that the hub may read",
    })?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    Ok(Proof::Password { username: username.to_owned(), password })
}

fn tls(credentials: &Credentials) -> Result<ClientConfig, BrokerError> {
    let refused = |reason: String| BrokerError::Credentials {
        certificate: credentials.certificate.clone(),
        key: credentials.key.clone(),
        authority: credentials.authority.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let authority =
        CertificateDer::from_pem_file(&credentials.authority).map_err(|error| refused(error.to_string()))?;
    roots.add(authority).map_err(|error| refused(error.to_string()))?;
    let chain: Vec<_> = CertificateDer::pem_file_iter(&credentials.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| refused(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&credentials.key).map_err(|error| refused(error.to_string()))?;
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| refused(error.to_string()))
}

/// The task that keeps one connection to the broker.
struct Session {
    dialler: Dialler,
    counters: Arc<Counters>,
    inbox: Inbox,
    client: Arc<RwLock<Option<AsyncClient>>>,
}

impl Session {
    async fn run(self, mut closing: oneshot::Receiver<()>) {
        let mut retry = RETRY_FIRST;
        loop {
            let (client, mut events) = self.dialler.dial(HUB_CLIENT_ID);
            let connects_before = self.counters.read().connects;
            let reason = tokio::select! {
                error = self.serve(&client, &mut events) => error,
                _ = &mut closing => {
                    self.lost();
                    goodbye(&client, &mut events).await;
                    return;
                }
            };
            self.lost();
            if self.counters.read().connects > connects_before {
                retry = RETRY_FIRST;
            } else {
                self.counters.connects_refused.add();
            }
            tracing::warn!(
                broker.host = self.dialler.host, broker.port = self.dialler.port, error = %reason, retry_ms = retry.as_millis(),
                "the external broker is out of reach"
            );
            tokio::select! {
                () = clock::pause(retry) => {}
                _ = &mut closing => return,
            }
            retry = RETRY_LAST.min(retry * 2);
        }
    }

    /// Connects and takes what comes, until the connection fails; says why.
    async fn serve(&self, client: &AsyncClient, events: &mut EventLoop) -> anyhow::Error {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.subscribe(client, events)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return anyhow::anyhow!("no connection and subscription within {} s", CONNECT_TIMEOUT.as_secs()),
        }
        self.counters.connects.add();
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        tracing::info!(
            broker.host = self.dialler.host,
            broker.port = self.dialler.port,
            "connected to the external broker"
        );
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => self.take(&publish),
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// Connects and subscribes. Retained states may arrive before the broker's answer.
    async fn subscribe(&self, client: &AsyncClient, events: &mut EventLoop) -> anyhow::Result<()> {
        let filters =
            UpLeaf::ALL.map(|leaf| SubscribeFilter::new(format!("{ROOT}+/{}", leaf.suffix()), heard_with(leaf)));
        loop {
            match events.poll().await? {
                Event::Incoming(Packet::ConnAck(_)) => client.try_subscribe_many(filters.clone())?,
                Event::Incoming(Packet::Publish(publish)) => self.take(&publish),
                Event::Incoming(Packet::SubAck(SubAck { return_codes, .. })) => {
                    let granted = return_codes.iter().all(|code| *code != SubscribeReasonCode::Failure);
                    anyhow::ensure!(granted, "the broker does not let the hub subscribe to {ROOT}+/…");
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    fn take(&self, publish: &rumqttc::Publish) {
        let known = std::str::from_utf8(&publish.topic).ok().and_then(topic::parse_up);
        // Only states may be retained; a retained copy of anything else is an old message, not news.
        let known = known.filter(|(_, leaf)| !publish.retain || *leaf == UpLeaf::State);
        let known = known.filter(|_| publish.payload.len() <= PAYLOAD_BYTES_MAX);
        let Some((place, leaf)) = known.and_then(|(site, leaf)| Some((self.inbox.place(site)?, leaf))) else {
            self.counters.received_denied.add();
            return;
        };
        if leaf == UpLeaf::State
            && let Ok(state) = serde_json::from_slice::<State>(&publish.payload)
            && (state.online || place.is_online())
        {
            self.inbox.presence(&place, state.online);
        }
        self.inbox.message(&place, leaf, &publish.payload);
    }

    /// The connection is gone: nothing can be said, and of nobody is it known that he is there.
    fn lost(&self) {
        self.client.write().unwrap_or_else(PoisonError::into_inner).take();
        for place in self.inbox.online() {
            self.inbox.presence(&place, false);
        }
    }
}

/// Batches and beats are taken with QoS 0, whatever they were published with: their acknowledgement is the link's, and a
/// broker that must read the hub's PUBACKs between hundreds of gateways passes on a tenth of what it could. A state
/// is said once, so it is acknowledged.
const fn heard_with(leaf: UpLeaf) -> QoS {
    match leaf {
        UpLeaf::State => QoS::AtLeastOnce,
        UpLeaf::Up | UpLeaf::DownAck | UpLeaf::Beat => QoS::AtMostOnce,
    }
}

async fn goodbye(client: &AsyncClient, events: &mut EventLoop) {
    if client.try_disconnect_now().is_ok() {
        // When it is not said in time, closing the socket says it.
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, async { while events.poll().await.is_ok() {} }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn refused(host: &str, username: Option<&str>, password_file: Option<&str>) -> String {
        let config = ExternalConfig {
            host: host.to_owned(),
            port: 1883,
            username: username.map(str::to_owned),
            password_file: password_file.map(PathBuf::from),
        };
        let nowhere = PathBuf::from("/nonexistent.pem");
        let credentials = Credentials { certificate: nowhere.clone(), key: nowhere.clone(), authority: nowhere };
        Dialler::new(&config, &credentials).map(|_| ()).expect_err("it must be refused").to_string()
    }

    #[test]
    fn a_log_in_that_cannot_be_used_is_refused_by_key_and_value() {
        assert!(refused("mq.example", Some("hub"), Some("/p")).contains("mq.example"));
        assert!(refused("127.0.0.1", Some("hub"), None).contains("both, or neither"));
        assert!(refused("::1", Some("hub"), Some("/nonexistent")).contains("/nonexistent"));
        assert!(refused("mq.example", None, None).contains("/nonexistent.pem"));
    }
}
