//! The broker inside this process: rmqtt, tuned to gateways and nothing else.
//!
//! rmqtt carries the protocol; who may connect, and what becomes of each message, is decided in its hooks (`hooks`). No
//! message is stored or retained: presence is the connection itself, and every session ends with it.

mod hooks;
mod house;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rmqtt::codec::types::{Publish as PublishPacket, QoS};
use rmqtt::context::ServerContext;
use rmqtt::net::{Builder, Listener};
use rmqtt::server::MqttServer;
use rmqtt::types::{ClientId, From as Sender, Id, Publish};
use tokio::task::{JoinHandle, JoinSet};

use super::config::{Credentials, EmbeddedConfig};
use super::counters::Counters;
use super::inbox::{Arrivals, Inbox, WAITING_MAX};
use super::topic::{DownLeaf, SITE_ID_BYTES_MAX};
use super::{BrokerError, BrokerStats, Gate, HUB_CLIENT_ID, PACKET_BYTES_MAX, PublishError};
use crate::ids::SiteId;
use house::{House, OUTSTANDING_MAX};

/// rmqtt names listeners by number; there is one.
const LISTENER: u16 = 1;

/// Connections that may wait to be accepted: a county that comes back at once after a blackout. The kernel caps it.
const BACKLOG: i32 = 4_096;

/// A handshake (TLS, then CONNECT) that takes longer is dropped. Each has its own task, so a slow one delays no other.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// CONNECTs judged at the same time; more wait. One that takes over a session may wait for the old one to end.
const HANDSHAKES_MAX: usize = 1_000;

/// A gateway that takes nothing for so long is disconnected.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Shorter keep-alives are refused: they would be an attack. A gateway is off line after one and a half of its own.
const KEEP_ALIVE_S_MIN: u16 = 5;
/// Longer keep-alives are refused, as is none: silence must not be taken for health.
const KEEP_ALIVE_S_MAX: u16 = 300;

/// Messages sent to one gateway that it has not acknowledged; more wait in its queue.
const INFLIGHT_MAX: NonZeroU16 = NonZeroU16::new(16).expect("16 is not zero");

/// A message that was not acknowledged for so long is given up, which makes room again; the link has sent it anew.
const MESSAGE_EXPIRY: Duration = Duration::from_secs(30);

/// A gateway needs three.
const SUBSCRIPTIONS_MAX: usize = 8;

/// `tl/1/{site}/up/ack` has five.
const TOPIC_LEVELS_MAX: usize = 5;

/// A running embedded broker.
pub(super) struct Embedded {
    context: ServerContext,
    house: Arc<House>,
    server: JoinHandle<()>,
    address: SocketAddr,
    /// The sender that rmqtt records for what the hub publishes.
    own: Id,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Embedded").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Embedded {
    pub(super) async fn start(
        config: &EmbeddedConfig,
        credentials: &Credentials,
        gate: Arc<dyn Gate>,
    ) -> Result<(Self, Arrivals), BrokerError> {
        let counters = Arc::new(Counters::default());
        let listener = listen(config, credentials)?;
        let bind = |reason: rmqtt::Error| BrokerError::Bind { address: config.listen, reason: reason.to_string() };
        let address = listener.local_addr().map_err(bind)?;
        let context = ServerContext::new()
            // The check refuses gateways while the CPU is busy, which is just when a county comes back.
            .busy_check_enable(false)
            .mqtt_max_sessions(isize::try_from(config.connections_max).unwrap_or(isize::MAX))
            .build()
            .await;
        let (inbox, arrivals) = Inbox::new(WAITING_MAX, Arc::clone(&counters));
        let house = Arc::new(House::new(inbox, gate, counters));
        hooks::install(&context, &house).await;
        let server = MqttServer::new(context.clone()).listener_by_id(listener, LISTENER).build();
        // `run`, not `start`: the latter may end the whole process.
        let server = tokio::spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "the embedded broker has stopped");
            }
        });
        let own = Id::from(context.node.id(), ClientId::from_static(HUB_CLIENT_ID));
        tracing::info!(broker.address = %address, "the embedded broker listens for gateways");
        Ok((Self { context, house, server, address, own }, arrivals))
    }

    pub(super) async fn publish(&self, site: &SiteId, leaf: DownLeaf, payload: Bytes) -> Result<(), PublishError> {
        let counters = &self.house.counters;
        let Some(connection) = self.house.connection(site.as_str()) else {
            counters.sent_dropped.add();
            return Err(PublishError::Away(site.clone()));
        };
        let bytes = payload.len();
        if !connection.reserve(bytes) {
            counters.sent_dropped.add();
            return Err(PublishError::Full(site.clone()));
        }
        let packet = PublishPacket {
            dup: false,
            retain: false,
            qos: if leaf.at_least_once() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            topic: leaf.topic(site).into(),
            packet_id: None,
            payload,
            properties: None,
        };
        // rmqtt's own clock, because rmqtt compares with it to give a message up.
        let publish = Publish::new(Box::new(packet), None, None, Some(rmqtt::utils::timestamp_millis()));
        let shared = self.context.extends.shared().await;
        match shared.forwards(None, Sender::from_system(self.own.clone()), publish).await {
            Ok(recipients) if recipients > 0 => {
                counters.sent.add();
                Ok(())
            }
            Ok(_) | Err(_) => {
                connection.release(bytes);
                counters.sent_dropped.add();
                Err(PublishError::Away(site.clone()))
            }
        }
    }

    pub(super) async fn disconnect(&self, site: &SiteId) {
        if let Some(connection) = self.house.connection(site.as_str()) {
            connection.revoke();
        }
        kick(&self.context, Id::from(self.context.node.id(), ClientId::from(site.as_str()))).await;
    }

    pub(super) fn stats(&self) -> BrokerStats {
        self.house.counters.read()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// rmqtt has no end of its own: its accept loop is aborted, which closes the port, then each session is ended.
    pub(super) async fn shutdown(self) {
        self.house.close();
        self.server.abort();
        // The error is the cancellation just asked for.
        let _ = self.server.await;
        let sessions: Vec<Id> = self.context.extends.shared().await.iter().map(|entry| entry.id()).collect();
        let mut kicks: JoinSet<()> = JoinSet::new();
        for session in sessions {
            let context = self.context.clone();
            kicks.spawn(async move { kick(&context, session).await });
        }
        kicks.join_all().await;
        self.house.inbox.close();
    }
}

/// Ends the session of a client id. rmqtt waits up to 5 s for a session that is busy writing, then forgets it.
async fn kick(context: &ServerContext, session: Id) {
    let mut entry = context.extends.shared().await.entry(session);
    if let Err(error) = entry.kick(true, true, true).await {
        // The session ended by itself in the meantime.
        tracing::debug!(%error, "a session was already gone when it was to be ended");
    }
}

fn listen(config: &EmbeddedConfig, credentials: &Credentials) -> Result<Listener, BrokerError> {
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned);
    let connections_max = usize::try_from(config.connections_max).unwrap_or(usize::MAX);
    let refused = |reason: String| BrokerError::Credentials {
        certificate: credentials.certificate.clone(),
        key: credentials.key.clone(),
        authority: credentials.authority.clone(),
        reason,
    };
    let path = |path| text(path).ok_or_else(|| refused(format!("{} is not UTF-8", path.display())));
    Builder::new()
        .name("gateways")
        .laddr(config.listen)
        .backlog(BACKLOG)
        .reuseaddr(Some(true))
        .nodelay(true)
        .max_connections(connections_max)
        .max_handshaking_limit(HANDSHAKES_MAX)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .send_timeout(SEND_TIMEOUT)
        .max_packet_size(PACKET_BYTES_MAX)
        // Without a user name rmqtt would not even ask the hook.
        .allow_anonymous(false)
        .min_keepalive(KEEP_ALIVE_S_MIN)
        .max_keepalive(KEEP_ALIVE_S_MAX)
        .allow_zero_keepalive(false)
        .max_inflight(INFLIGHT_MAX)
        .max_mqueue_len(OUTSTANDING_MAX)
        .max_clientid_len(SITE_ID_BYTES_MAX)
        .max_qos_allowed(QoS::AtLeastOnce)
        .max_topic_levels(TOPIC_LEVELS_MAX)
        .max_subscriptions(SUBSCRIPTIONS_MAX)
        // A session ends with its connection: the link's journals are the session.
        .session_expiry_interval(Duration::ZERO)
        .message_retry_interval(Duration::ZERO)
        .message_expiry_interval(MESSAGE_EXPIRY)
        .collect_cert_info(true)
        .tls_cross_certificate(true)
        .tls_cert(Some(path(&credentials.certificate)?))
        .tls_key(Some(path(&credentials.key)?))
        .tls_client_ca_certs(Some(path(&credentials.authority)?))
        .bind()
        .map_err(|error| BrokerError::Bind { address: config.listen, reason: error.to_string() })?
        .tls()
        .map_err(|error| refused(format!("{error:#}")))
}
