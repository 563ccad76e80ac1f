//! `GET /metrics`: what the hub is doing, for Prometheus. Counts only; nothing about a person or a place. Answered to
//! this machine alone: a scraper elsewhere comes through the reverse proxy, which decides who it is.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serde_json::json;

use crate::broker::Broker;
use crate::content::Content;
use crate::identity::remote_address;
use crate::link::{DownGauges, IntakeGauges, Outbox};
use crate::live::Live;
use crate::store::Store;
use crate::video::live::Relay;
use crate::web::Problem;

/// What is asked when the hub is scraped.
#[derive(Clone, Debug)]
pub struct MetricsRoom {
    /// For the counts of open alarms and faults.
    pub store: Store,
    /// Open streams.
    pub live: Live,
    /// Connections and messages.
    pub broker: Arc<Broker>,
    /// Entries and transactions.
    pub intake: IntakeGauges,
    /// Files from and for gateways.
    pub content: Content,
    /// Orders on their way.
    pub down: DownGauges,
    /// Orders that wait.
    pub outbox: Outbox,
    /// Live pictures.
    pub relay: Relay,
}

/// `/metrics` and `/healthz`.
pub fn routes(room: MetricsRoom) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(room).route("/healthz", get(healthz))
}

/// Alive, and which version. Says nothing about gateways: a hub without any is healthy.
async fn healthz() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

async fn metrics(State(room): State<MetricsRoom>, request: Request) -> Result<Response, Problem> {
    if !remote_address(request.extensions(), request.headers()).is_loopback() {
        return Err(Problem::not_found());
    }
    let (open_alarms, open_faults) = open_counts(&room.store).await?;
    let (contents, content_bytes) = room.content.totals().await?;
    let mut registry = Registry::with_prefix("tongluo_hub");
    let orders_waiting = room.outbox.waiting(&room.store).await?;
    room.intake.register(&mut registry);
    room.down.register(&mut registry);
    let broker = room.broker.stats();
    let relay = room.relay.stats();
    let gauges = [
        ("alarms_open", "Alarms that nobody has closed", open_alarms),
        ("faults_open", "Faults that stand", open_faults),
        ("event_streams", "Pages that follow the change log", room.live.streams() as i64),
        ("event_sequence", "Newest entry of the change log", room.live.newest()),
        ("gateways_connected", "Gateways that the broker holds", broker.online as i64),
        ("contents", "Files from and for gateways", contents),
        ("content_bytes", "What they take", content_bytes),
        ("content_uploads", "Uploads from gateways under way", room.content.uploads() as i64),
        ("gateways_listening", "Gateways that take orders", room.outbox.listening() as i64),
        ("orders_waiting", "Orders that their gateways have not committed", orders_waiting),
        ("broker_waiting", "Messages from gateways that wait for the ledger", broker.waiting as i64),
        ("video_uploads", "Streams of cameras that come up now", relay.uploads as i64),
        ("video_viewers", "People who watch a camera now", relay.viewers as i64),
        ("video_connections", "Gateways whose media connection stands", relay.connections as i64),
        ("video_group_bytes", "Pictures kept for who begins to watch", relay.group_bytes as i64),
    ];
    for (name, help, value) in gauges {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    let counters = [
        ("broker_received", "Messages taken from gateways", broker.received),
        (
            "broker_received_dropped",
            "Messages dropped because too many waited; gateways send again",
            broker.received_dropped,
        ),
        ("broker_received_denied", "Messages dropped because they were not allowed", broker.received_denied),
        ("broker_connects_refused", "Connections refused", broker.connects_refused),
        ("content_uploads_refused", "Uploads refused for want of room", room.content.uploads_refused()),
        ("video_frames", "Pictures taken from gateways", relay.frames),
        ("video_viewer_jumps", "How often a slow viewer lost pictures up to a keyframe", relay.viewer_jumps),
    ];
    for (name, help, value) in counters {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let resident = Gauge::<i64>::default();
    resident.set(resident_bytes());
    registry.register_with_unit("resident_memory", "Memory in use", Unit::Bytes, resident);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(anyhow::Error::new)?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

async fn open_counts(store: &Store) -> Result<(i64, i64), sqlx::Error> {
    let mut connection = store.reader().acquire().await?;
    let alarms =
        sqlx::query_scalar("select count(*) from alarm where state <> 'closed'").fetch_one(&mut *connection).await?;
    let faults =
        sqlx::query_scalar("select count(*) from fault where state = 'open'").fetch_one(&mut *connection).await?;
    Ok((alarms, faults))
}

/// Resident memory as the kernel counts it; 0 where it does not say.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.map_or(0, |kilobytes: i64| kilobytes * 1024)
}
