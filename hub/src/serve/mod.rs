//! `tongluo-hub serve`: the rooms put together, and taken apart again in order.

mod ending;
mod https;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::alarm::{self, AlarmRoom};
use crate::audit::{self, AuditRoom};
use crate::backup;
use crate::broadcast::{self, BroadcastRoom};
use crate::broker::{Arrivals, Broker, BrokerConfig, Credentials, Gate};
use crate::clock;
use crate::config::Config;
use crate::configuration::{self, ConfigurationRoom, Configurations, Contributor};
use crate::content::{self, Content};
use crate::fault::{self, FaultRoom};
use crate::fleet::{self, Addresses, Authority, FleetRoom, Roster};
use crate::gateways::{self, Gateways};
use crate::identity::{self, AllowedHosts, Identity};
use crate::ids::SiteId;
use crate::link::{self, DownLane, Intake, Outbox};
use crate::live::{self, Live, LiveRoom};
use crate::lock::DataLock;
use crate::map::{self, MapRoom};
use crate::metrics::{self, MetricsRoom};
use crate::open_files;
use crate::order::{self, OrderRoom, Orders};
use crate::region::{self, RegionRoom};
use crate::seal::Seal;
use crate::store::Store;
use crate::video::live::{LivePictures, Relay};
use crate::video::{self, VideoRoom};
use crate::voice::{self, Espeak, VoiceRoom};
use crate::web::{headers, pages, problem, server};

pub use ending::Ending;

use ending::Requests;

/// Largest body of a request, except where a route says otherwise.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How often old records are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);

/// The interface's description; its paths are added by the rooms.
#[derive(OpenApi)]
#[openapi(info(
    title = "Tongluo hub",
    description = "The interface of one county's hub. Errors are RFC 9457 problem documents."
))]
struct Description;

/// Every room, ready to answer.
struct Rooms {
    alarm: AlarmRoom,
    fault: FaultRoom,
    fleet: FleetRoom,
    region: RegionRoom,
    map: MapRoom,
    audit: AuditRoom,
    identity: Identity,
    live: LiveRoom,
    video: VideoRoom,
    pictures: LivePictures,
    voice: VoiceRoom,
    broadcast: BroadcastRoom,
    order: OrderRoom,
}

impl Rooms {
    fn routes(self) -> OpenApiRouter {
        OpenApiRouter::with_openapi(Description::openapi())
            .merge(identity::routes().with_state(self.identity))
            .merge(region::routes().with_state(self.region))
            .merge(map::routes().with_state(self.map))
            .merge(fleet::routes().with_state(self.fleet))
            .merge(alarm::routes().with_state(self.alarm))
            .merge(fault::routes().with_state(self.fault))
            .merge(audit::routes().with_state(self.audit))
            .merge(live::routes().with_state(self.live))
            .merge(video::routes().with_state(self.video))
            .merge(video::live::routes().with_state(self.pictures))
            .merge(voice::routes().with_state(self.voice))
            .merge(broadcast::routes().with_state(self.broadcast))
            .merge(order::routes().with_state(self.order))
    }
}

/// The interface's OpenAPI document, as `GET /api/v1/openapi.json` answers it.
pub fn openapi_json() -> String {
    let mut api = Description::openapi();
    for room in [
        identity::routes().into_openapi(),
        region::routes().into_openapi(),
        map::routes().into_openapi(),
        fleet::routes().into_openapi(),
        alarm::routes().into_openapi(),
        fault::routes().into_openapi(),
        audit::routes().into_openapi(),
        live::routes().into_openapi(),
        video::routes().into_openapi(),
        video::live::routes().into_openapi(),
        voice::routes().into_openapi(),
        broadcast::routes().into_openapi(),
        order::routes().into_openapi(),
    ] {
        api.merge(room);
    }
    to_json(&api)
}

fn to_json(api: &utoipa::openapi::OpenApi) -> String {
    api.to_pretty_json().expect("the document is plain data")
}

/// Serves until SIGTERM or Ctrl-C, or until a restore wants the place. One that was decided before is carried out first.
///
/// # Errors
/// Anything that keeps the hub from starting, named with what to do about it.
pub async fn serve(config: Config) -> anyhow::Result<Ending> {
    let lock = DataLock::take(&config.data_dir)?;
    backup::carry_out(&config).await?;
    let now_ms = clock::utc_ms();
    let authority = Arc::new(Authority::open(&config.data_dir)?);
    let seal = Seal::open(&config.data_dir)?;
    let store = Store::open(&config.store()).await.context("cannot open the database")?;
    let live = Live::open(store.clone()).await?;
    mark_all_offline(&store, now_ms).await?;
    fleet::write_revocation_list(&store, &authority, now_ms).await?;
    let roster = Roster::load(&store).await?;
    let content = Content::open(store.clone(), &config.data_dir, &config.content)?;
    let server = authority.server(&config.public_names, now_ms)?;
    authority.client(now_ms).context("the hub's certificate for an external broker")?;
    if let BrokerConfig::Embedded(embedded) = &config.broker {
        open_files::raise_limit(embedded.connections_max);
    }
    let (broker, arrivals) = start_broker(&config, roster.clone()).await?;

    let relay = Relay::new();
    let identity = Identity::new(store.clone(), config.public_https_port());
    let outbox = Outbox::new();
    let orders = Orders::new(Arc::clone(&authority), seal.clone(), outbox.clone());
    let espeak = Arc::new(Espeak::new(config.voice.program.clone()));
    let voice = VoiceRoom::new(store.clone(), content.clone(), espeak);
    let broadcast = BroadcastRoom {
        store: store.clone(),
        live: live.clone(),
        seal: seal.clone(),
        content: content.clone(),
        orders: orders.clone(),
        voice: voice.clone(),
        night: config.broadcast.night,
    };
    let video = VideoRoom {
        store: store.clone(),
        live: live.clone(),
        seal: seal.clone(),
        content: content.clone(),
        relay: relay.clone(),
        evidence_days: config.video.evidence_days,
        exports: crate::video::Exports::default(),
    };
    let rooms = Rooms {
        alarm: AlarmRoom { store: store.clone(), live: live.clone(), orders: orders.clone() },
        fault: FaultRoom { store: store.clone(), live: live.clone() },
        fleet: FleetRoom {
            store: store.clone(),
            live: live.clone(),
            authority: Arc::clone(&authority),
            roster: roster.clone(),
            addresses: Addresses::of(&config),
        },
        region: RegionRoom { store: store.clone() },
        map: MapRoom { store: store.clone() },
        audit: AuditRoom { store: store.clone() },
        identity: identity.clone(),
        live: LiveRoom { live: live.clone(), identity: identity.clone() },
        video: video.clone(),
        pictures: LivePictures { relay: relay.clone(), identity: identity.clone(), store: store.clone() },
        voice,
        broadcast: broadcast.clone(),
        order: OrderRoom { store: store.clone(), orders: orders.clone() },
    };
    let late_after_ms = i64::from(config.alarm.late_after_s) * 1_000;
    let intake = Intake::new(store.clone(), live.clone(), Arc::clone(&broker), outbox.clone(), late_after_ms);
    let down = DownLane::new(store.clone(), Arc::clone(&broker), outbox.clone());
    let metrics_room = MetricsRoom {
        store: store.clone(),
        live: live.clone(),
        broker: Arc::clone(&broker),
        intake: intake.gauges(),
        content: content.clone(),
        down: down.gauges(),
        outbox,
        relay: relay.clone(),
    };
    // The rooms that have something to say in gateways' configurations.
    let contributors: Vec<Arc<dyn Contributor>> = vec![Arc::new(video.clone()), Arc::new(broadcast.clone())];
    let configurations = Configurations::new(store.clone(), seal.clone(), orders.clone(), contributors);
    let gateway_routes = gateway_routes(&content, &broadcast, ConfigurationRoom { store: store.clone(), seal }, &relay);
    let app = application(rooms, metrics::routes(metrics_room), identity, AllowedHosts::of(&config));
    let tls = https::side(&config, &server)?;
    let servers = server::Servers::start(app, config.http.plain, config.http.secure, tls)?;
    let gateways_tls = gateways::tls(&server, authority.ca_pem())?;
    let gateways = Gateways::start(gateway_routes, config.gateways.listen, gateways_tls, &roster)?;

    let tasks = [
        tokio::spawn(live.clone().run()),
        tokio::spawn(intake.run(arrivals)),
        tokio::spawn(down.run()),
        tokio::spawn(configurations.run()),
        tokio::spawn(order::answer_clocks(store.clone(), orders)),
        tokio::spawn(kick_revoked(roster, Arc::clone(&broker))),
        tokio::spawn(relay.run(Arc::clone(&broker))),
        tokio::spawn(expire(store.clone())),
        tokio::spawn(content::run(content)),
        tokio::spawn(video.run()),
        tokio::spawn(broadcast.run()),
    ];
    tracing::info!(http = ?config.http.plain, https = %config.http.secure, gateways = %gateways.address(), "The hub serves");
    let mut requests = Requests::listen()?;
    lock.announce()?;
    let ending = requests.next(&config).await;
    lock.retract()?;
    tracing::info!(?ending, "The hub stops");
    tokio::join!(servers.stop(), gateways.stop());
    for task in tasks {
        task.abort();
        // The error is the cancellation just asked for.
        let _ = task.await;
    }
    // A connection that outlived its grace may still hold the broker; the process ends it then.
    if let Some(broker) = Arc::into_inner(broker) {
        broker.shutdown().await;
    }
    store.close().await;
    Ok(ending)
}

/// What gateways may ask; each room adds its own routes, which take a [`gateways::GatewaySite`].
fn gateway_routes(
    content: &Content,
    broadcast: &BroadcastRoom,
    configuration: ConfigurationRoom,
    relay: &Relay,
) -> Router {
    Router::new()
        .merge(content::gateway_routes(content.clone(), Arc::new(broadcast.clone())))
        .merge(configuration::gateway_routes(configuration))
        .merge(video::live::gateway_routes(relay.clone()))
}

/// Every route behind every layer; `inner` are routes that are not part of the interface.
fn application(rooms: Rooms, inner: Router, identity: Identity, hosts: AllowedHosts) -> Router {
    let (routes, api) = rooms.routes().split_for_parts();
    let document: Arc<str> = to_json(&api).into();
    let openapi = axum::routing::get(move || {
        let document = document.to_string();
        async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], document) }
    });
    // The innermost layer comes first: a request passes them from the last to the first.
    routes
        .route("/api/v1/openapi.json", openapi)
        .merge(inner)
        .merge(pages::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(identity, identity::authenticate))
        .layer(middleware::from_fn_with_state(hosts, identity::guard))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(problem::localise))
        .layer(middleware::from_fn(headers::secure))
        .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(NotForContentType::new("video/"))))
}

async fn start_broker(config: &Config, roster: Roster) -> anyhow::Result<(Arc<Broker>, Arrivals)> {
    let folder = config.data_dir.join("authority");
    let name = match &config.broker {
        BrokerConfig::Embedded(_) => "server",
        BrokerConfig::External(_) => "client",
    };
    let credentials = Credentials {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}-key.pem")),
        authority: folder.join("ca.pem"),
    };
    let (broker, arrivals) = Broker::start(&config.broker, &credentials, Arc::new(LiveCertificates(roster))).await?;
    Ok((Arc::new(broker), arrivals))
}

/// The broker asks the fleet's roster whom to let in.
struct LiveCertificates(Roster);

impl Gate for LiveCertificates {
    fn allows(&self, site: &SiteId, serial: &[u8]) -> bool {
        self.0.allows(site, serial)
    }
}

/// Ends the connection of each site whose certificate was revoked.
async fn kick_revoked(roster: Roster, broker: Arc<Broker>) {
    use tokio::sync::broadcast::error::RecvError;

    let mut revocations = roster.revocations();
    loop {
        match revocations.recv().await {
            Ok(site) => broker.disconnect(&site).await,
            // Whom it missed is refused at the next connect and can publish nothing: the broker asks the roster each time.
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "Some revoked gateways were not disconnected at once")
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// No gateway is connected to a hub that has just started.
async fn mark_all_offline(store: &Store, now_ms: i64) -> Result<(), sqlx::Error> {
    let mut transaction = store.begin().await?;
    let drafts = fleet::presence::all_offline(&mut transaction, now_ms).await?;
    live::append(&mut transaction, now_ms, &drafts).await?;
    transaction.commit().await
}

/// Removes what is kept no longer, every hour.
async fn expire(store: Store) {
    loop {
        if let Err(error) = expire_once(&store).await {
            tracing::error!(%error, "Old records could not be removed; the next try is in an hour");
        }
        clock::pause(EXPIRE_EVERY).await;
    }
}

async fn expire_once(store: &Store) -> Result<(), sqlx::Error> {
    let now_ms = clock::utc_ms();
    audit::expire(store, now_ms).await?;
    identity::expire(store, now_ms).await?;
    let mut transaction = store.begin().await?;
    live::expire(&mut transaction).await?;
    link::expire_outbox(&mut transaction, now_ms).await?;
    transaction.commit().await
}
