//! The configuration that makes a mosquitto (2.0 or later) fit to stand between gateways and hub.
//!
//! An external broker must itself do what the embedded one does in its hooks, and mosquitto can: the certificate's common
//! name becomes the user name and the client id, and patterns on the user name keep each gateway to its own topics. What it
//! cannot do is to refuse retained messages elsewhere than on `state`; the hub passes these over. Revocation is a list
//! signed by the hub's CA, which mosquitto reads again on SIGHUP; then [`super::Broker::disconnect`] ends the session.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::topic::{DownLeaf, HUB_CLIENT_ID, ROOT, UpLeaf};
use super::{Credentials, PACKET_BYTES_MAX};

/// Messages that mosquitto may hold for one client; for the hub this is a county that speaks at once. More are dropped.
const QUEUED_MESSAGES_MAX: usize = 16_384;

/// Bytes that mosquitto may hold for one client. More are dropped.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages that a client has not acknowledged; more are queued for it.
const INFLIGHT_MAX: usize = 100;

/// What a mosquitto for one county needs to know.
#[derive(Clone, Debug)]
pub struct MosquittoPlan {
    /// Where gateways connect.
    pub gateways: SocketAddr,
    /// Where the hub connects, on another port: here it chooses its client id, which it must to end a session. Loopback, or
    /// a network of its own.
    pub hub: SocketAddr,
    /// How many gateways may connect at once.
    pub connections_max: u32,
    /// The broker's server certificate, its key, and the hub's CA.
    pub credentials: Credentials,
    /// The CA's revocation list (PEM). It must always be there and valid, or nobody gets in.
    pub revocations: PathBuf,
    /// Where [`access_list`] is written.
    pub access_list: PathBuf,
    /// The system user as which mosquitto runs when root starts it; `None` for its own default.
    pub user: Option<String>,
}

/// The text of `mosquitto.conf`.
pub fn mosquitto_config(plan: &MosquittoPlan) -> String {
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| writeln!(text, "{words}").expect("a String takes all");
    if let Some(user) = &plan.user {
        line(format_args!("user {user}"));
    }
    line(format_args!("# The link's journals remember; a retained state that outlives a crash would be a lie."));
    line(format_args!("persistence false"));
    line(format_args!("allow_anonymous false"));
    line(format_args!("acl_file {}", plan.access_list.display()));
    line(format_args!("set_tcp_nodelay true"));
    line(format_args!("sys_interval 0"));
    line(format_args!("max_packet_size {PACKET_BYTES_MAX}"));
    line(format_args!("max_inflight_messages {INFLIGHT_MAX}"));
    line(format_args!("max_queued_messages {QUEUED_MESSAGES_MAX}"));
    line(format_args!("max_queued_bytes {QUEUED_BYTES_MAX}"));
    line(format_args!("log_dest stderr"));
    line(format_args!("log_type error\nlog_type warning"));
    for (address, who, connections_max) in
        [(plan.gateways, "gateways", plan.connections_max), (plan.hub, "the hub", HUB_CONNECTIONS_MAX)]
    {
        line(format_args!("\n# For {who}."));
        line(format_args!("listener {} {}", address.port(), address.ip()));
        line(format_args!("max_connections {connections_max}"));
        line(format_args!("max_qos 1"));
        line(format_args!("cafile {}", plan.credentials.authority.display()));
        line(format_args!("certfile {}", plan.credentials.certificate.display()));
        line(format_args!("keyfile {}", plan.credentials.key.display()));
        line(format_args!("crlfile {}", plan.revocations.display()));
        line(format_args!("require_certificate true"));
        line(format_args!("use_identity_as_username true"));
        line(format_args!("use_username_as_clientid {}", who == "gateways"));
    }
    text
}

/// One for the hub, and some to end sessions with.
const HUB_CONNECTIONS_MAX: u32 = 16;

/// The text of the access list: `%u` is the certificate's common name, which is the site id.
pub fn access_list() -> String {
    let mut text = format!("user {HUB_CLIENT_ID}\ntopic readwrite {ROOT}#\n\n");
    for leaf in UpLeaf::ALL {
        writeln!(text, "pattern write {ROOT}%u/{}", leaf.suffix()).expect("a String takes all");
    }
    for leaf in DownLeaf::ALL {
        writeln!(text, "pattern read {ROOT}%u/{}", leaf.suffix()).expect("a String takes all");
    }
    text
}
