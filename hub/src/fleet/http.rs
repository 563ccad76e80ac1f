//! The fleet's routes: sites and their claims, enrolment, devices.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::device::{self, DeviceChange};
use super::response::{self, ResponsePatch};
use super::view::{self, DeviceView, SiteView};
use super::{FleetRoom, claim, configuration, enrolment, store};
use crate::audit;
use crate::clock;
use crate::identity::{Right, Viewer, remote_address};
use crate::ids::{self, DeviceId, GatewayId, RegionCode, SiteId};
use crate::live;
use crate::region;
use crate::web::{Problem, ProblemDocument};

/// Most characters of a site's, a device's or a place's name.
const NAME_CHARS_MAX: usize = 80;

/// The fleet's routes.
pub fn routes() -> OpenApiRouter<FleetRoom> {
    OpenApiRouter::new()
        .routes(routes!(list_sites, create_site))
        .routes(routes!(get_site, change_site))
        .routes(routes!(create_claim, withdraw_claims))
        .routes(routes!(revoke_gateway))
        .routes(routes!(enrol))
        .routes(routes!(list_devices))
        .routes(routes!(change_device))
}

/// Sites, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SitePage {
    /// Sequence of the change log at which this was read.
    pub(super) sequence: i64,
    /// The sites, by region and name.
    pub(super) sites: Vec<SiteView>,
}

/// A site to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteCreate {
    /// 1–80 characters.
    pub(super) name: String,
    /// A known region within the viewer's.
    pub(super) region_code: RegionCode,
    /// WGS 84 degrees.
    pub(super) latitude: Option<f64>,
    /// WGS 84 degrees.
    pub(super) longitude: Option<f64>,
}

/// What to change of a site; absent fields stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SitePatch {
    /// 1–80 characters.
    pub(super) name: Option<String>,
    /// WGS 84 degrees.
    pub(super) latitude: Option<f64>,
    /// WGS 84 degrees.
    pub(super) longitude: Option<f64>,
}

/// The one-time right to enrol a gateway; its code is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClaimView {
    /// Opaque.
    pub(super) id: String,
    /// The site it is for.
    pub(super) site_id: SiteId,
    /// Eight capitals and digits.
    pub(super) code: String,
    /// The hub's HTTPS address.
    pub(super) url: String,
    /// SHA-256 of the hub's CA certificate, hexadecimal.
    pub(super) ca_fingerprint: String,
    /// When it ends.
    pub(super) expires_ms: i64,
    /// All of it as one text for a gateway's command line.
    pub(super) text: String,
    /// That text as a QR code: an `<svg>` element.
    pub(super) qr_svg: String,
}

/// Why a gateway is put out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// 1–200 characters.
    pub(super) reason: String,
}

/// A gateway that wants to fill a site.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolmentRequest {
    /// The claim's code; case, spaces and hyphens do not matter.
    pub(super) code: String,
    /// PKCS #10 in PEM, with an EC key on P-256. Only the key is taken from it.
    pub(super) certificate_request: String,
}

/// All that a gateway needs to reach its hub.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Enrolment {
    /// The site it fills; CN of the certificate and MQTT client id.
    pub(super) site_id: SiteId,
    /// Its own name; O of the certificate.
    pub(super) gateway_id: GatewayId,
    /// PEM.
    pub(super) certificate: String,
    /// The CA's certificate, PEM, to be pinned.
    pub(super) ca_certificate: String,
    /// Where the broker is.
    pub(super) mqtt_host: String,
    /// Its port.
    pub(super) mqtt_port: u16,
    /// Port for files and media, by mutual TLS, on the host of `hub_url`.
    pub(super) media_port: u16,
    /// Ed25519 public key of the root of orders, 32 raw bytes in base64, to be pinned.
    pub(super) order_key: String,
    /// The hub's HTTPS address.
    pub(super) hub_url: String,
    /// The hub's clock.
    pub(super) server_time_ms: i64,
}

/// Devices, as of one moment of the change log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DevicePage {
    /// Sequence of the change log at which this was read.
    pub(super) sequence: i64,
    /// The devices, by site and age.
    pub(super) devices: Vec<DeviceView>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct DeviceQuery {
    /// Only this site's.
    #[param(value_type = Option<String>)]
    site_id: Option<SiteId>,
}

/// What to change of a device; absent fields stay, an empty text clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DevicePatch {
    /// At most 80 characters.
    pub(super) name: Option<String>,
    /// At most 80 characters.
    pub(super) place: Option<String>,
    /// WGS 84 degrees.
    pub(super) latitude: Option<f64>,
    /// WGS 84 degrees.
    pub(super) longitude: Option<f64>,
    /// What a press of it sets off, as its household or place has chosen.
    pub(super) response: Option<ResponsePatch>,
}

/// The sites of the viewer's region.
#[utoipa::path(get, path = "/api/v1/sites", tag = "fleet", responses(
    (status = OK, body = SitePage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list_sites(State(room): State<FleetRoom>, viewer: Viewer) -> Result<Json<SitePage>, Problem> {
    let now_ms = clock::utc_ms();
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let sites = view::sites(&mut snapshot, now_ms, &viewer.region).await?;
    Ok(Json(SitePage { sequence, sites }))
}

/// Create a site; a gateway can then claim it.
#[utoipa::path(post, path = "/api/v1/sites", tag = "fleet", request_body = SiteCreate, responses(
    (status = CREATED, body = SiteView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create_site(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Json(request): Json<SiteCreate>,
) -> Result<(StatusCode, Json<SiteView>), Problem> {
    viewer.may(Right::SiteManage)?;
    let name = site_name(&request.name)?;
    check_position(request.latitude, request.longitude)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    // Outside the viewer's region and absent look alike.
    if !viewer.sees(&request.region_code) || !region::exists(&mut transaction, &request.region_code).await? {
        return Err(Problem::invalid("region_code", "辖区里没有这个地方", "there is no such place in your region"));
    }
    let id = SiteId::from_known(ids::opaque());
    let site = store::NewSite {
        id: &id,
        name: &name,
        region: &request.region_code,
        latitude: request.latitude,
        longitude: request.longitude,
    };
    store::insert_site(&mut transaction, now_ms, &site).await?;
    let line = audit::Record::done(&viewer, "site.create", id.as_str(), &request.region_code);
    audit::record(&mut transaction, now_ms, line).await?;
    let view = enrolment::append_site(&mut transaction, now_ms, &id).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok((StatusCode::CREATED, Json(view)))
}

/// One site.
#[utoipa::path(get, path = "/api/v1/sites/{id}", tag = "fleet", params(("id" = String, Path)), responses(
    (status = OK, body = SiteView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn get_site(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Path(id): Path<SiteId>,
) -> Result<Json<SiteView>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let site = view::site(&mut snapshot, clock::utc_ms(), &id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&site.region_code)?;
    Ok(Json(site))
}

/// Rename or move a site.
#[utoipa::path(patch, path = "/api/v1/sites/{id}", tag = "fleet", params(("id" = String, Path)),
    request_body = SitePatch, responses(
    (status = OK, body = SiteView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn change_site(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Path(id): Path<SiteId>,
    Json(patch): Json<SitePatch>,
) -> Result<Json<SiteView>, Problem> {
    viewer.may(Right::SiteManage)?;
    let name = patch.name.as_deref().map(site_name).transpose()?;
    check_position(patch.latitude, patch.longitude)?;
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let region = enrolment::held_site(&mut transaction, &viewer, &id).await?;
    store::update_site(&mut transaction, &id, name.as_deref(), patch.latitude, patch.longitude).await?;
    configuration::mark(&mut transaction, now_ms, &id).await?;
    let line = audit::Record::done(&viewer, "site.change", id.as_str(), &region);
    audit::record(&mut transaction, now_ms, line).await?;
    let view = enrolment::append_site(&mut transaction, now_ms, &id).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok(Json(view))
}

/// Make a claim for a gateway; earlier ones are withdrawn.
#[utoipa::path(post, path = "/api/v1/sites/{id}/claims", tag = "fleet", params(("id" = String, Path)), responses(
    (status = CREATED, body = ClaimView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create_claim(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Path(id): Path<SiteId>,
) -> Result<(StatusCode, Json<ClaimView>), Problem> {
    let made = enrolment::create_claim(&room, &viewer, &id, clock::utc_ms()).await?;
    let (url, ca_fingerprint) = (room.addresses.hub_url.clone(), room.authority.fingerprint().to_owned());
    let text = claim::text(&url, &made.code, &ca_fingerprint);
    let qr_svg = claim::qr_svg(&text);
    let view = ClaimView {
        id: made.id,
        site_id: made.site,
        code: made.code,
        url,
        ca_fingerprint,
        expires_ms: made.expires_ms,
        text,
        qr_svg,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Withdraw a site's open claims.
#[utoipa::path(delete, path = "/api/v1/sites/{id}/claims", tag = "fleet", params(("id" = String, Path)), responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn withdraw_claims(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Path(id): Path<SiteId>,
) -> Result<StatusCode, Problem> {
    enrolment::withdraw_claims(&room, &viewer, &id, clock::utc_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke the certificate of a site's gateway and end its connection.
#[utoipa::path(post, path = "/api/v1/sites/{id}/revoke", tag = "fleet", params(("id" = String, Path)),
    request_body = Revocation, responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn revoke_gateway(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Path(id): Path<SiteId>,
    Json(request): Json<Revocation>,
) -> Result<StatusCode, Problem> {
    enrolment::revoke(&room, &viewer, &id, &request.reason, clock::utc_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Exchange a claim's code and a certificate request for a certificate. Needs no session; the same key with the same
/// code gets the same answer again.
#[utoipa::path(post, path = "/api/v1/enrolments", tag = "fleet", request_body = EnrolmentRequest, responses(
    (status = CREATED, body = Enrolment),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn enrol(
    State(room): State<FleetRoom>,
    extensions: Extensions,
    headers: HeaderMap,
    Json(request): Json<EnrolmentRequest>,
) -> Result<(StatusCode, Json<Enrolment>), Problem> {
    let now_ms = clock::utc_ms();
    let from = remote_address(&extensions, &headers);
    let enrolled = enrolment::enrol(&room, from, &request.code, &request.certificate_request, now_ms).await?;
    let answer = Enrolment {
        site_id: enrolled.site,
        gateway_id: enrolled.gateway,
        certificate: enrolled.certificate_pem,
        ca_certificate: room.authority.ca_pem().to_owned(),
        mqtt_host: room.addresses.mqtt_host.clone(),
        mqtt_port: room.addresses.mqtt_port,
        media_port: room.addresses.media_port,
        order_key: room.authority.order_public_base64(),
        hub_url: room.addresses.hub_url.clone(),
        server_time_ms: now_ms,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The devices of the viewer's region.
#[utoipa::path(get, path = "/api/v1/devices", tag = "fleet", params(DeviceQuery), responses(
    (status = OK, body = DevicePage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list_devices(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<DevicePage>, Problem> {
    let mut snapshot = room.store.snapshot().await?;
    let sequence = live::current(&mut snapshot).await?;
    let devices = view::devices(&mut snapshot, &viewer.region, query.site_id.as_ref()).await?;
    Ok(Json(DevicePage { sequence, devices }))
}

/// Name and place a device.
#[utoipa::path(patch, path = "/api/v1/devices/{id}", tag = "fleet", params(("id" = String, Path)),
    request_body = DevicePatch, responses(
    (status = OK, body = DeviceView),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn change_device(
    State(room): State<FleetRoom>,
    viewer: Viewer,
    Path(id): Path<DeviceId>,
    Json(patch): Json<DevicePatch>,
) -> Result<Json<DeviceView>, Problem> {
    viewer.may(Right::SiteManage)?;
    check_position(patch.latitude, patch.longitude)?;
    let change = DeviceChange {
        name: patch.name.as_deref().map(|name| text("name", name)).transpose()?,
        place: patch.place.as_deref().map(|place| text("place", place)).transpose()?,
        latitude: patch.latitude,
        longitude: patch.longitude,
    };
    let now_ms = clock::utc_ms();
    let mut transaction = room.store.begin().await?;
    let known = held_device(&mut transaction, &viewer, &id).await?;
    device::change(&mut transaction, &id, &change).await?;
    // Which cameras look at it is a matter of where it is.
    configuration::mark(&mut transaction, now_ms, &known.site_id).await?;
    let line = audit::Record::done(&viewer, "device.change", id.as_str(), &known.region_code);
    audit::record(&mut transaction, now_ms, line).await?;
    if let Some(patch) = patch.response {
        let chosen = patch.applied(known.response)?;
        response::refuse_strangers(&mut transaction, &known.site_id, &chosen.speaker_ids).await?;
        response::save(&mut transaction, &id, &chosen).await?;
        let line = audit::Record::done(&viewer, "device.response", id.as_str(), &known.region_code);
        audit::record(&mut transaction, now_ms, line.detail(chosen.in_words())).await?;
    }
    let view = view::device(&mut transaction, &id).await?.ok_or_else(Problem::not_found)?;
    live::append(&mut transaction, now_ms, &[view.draft()]).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok(Json(view))
}

/// Locks the row of a device's site, if the viewer may know of it, and reads the device: no loudspeaker goes while it is chosen.
async fn held_device(connection: &mut AnyConnection, viewer: &Viewer, id: &DeviceId) -> Result<DeviceView, Problem> {
    let found = view::device(connection, id).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&found.region_code)?;
    store::hold_site(connection, found.site_id.as_str()).await?;
    // Read again: between the first look and the lock somebody may have changed it.
    view::device(connection, id).await?.ok_or_else(Problem::not_found)
}

fn site_name(name: &str) -> Result<String, Problem> {
    let name = text("name", name)?;
    if name.is_empty() { Err(Problem::invalid("name", "不能为空", "it must not be empty")) } else { Ok(name) }
}

fn text(field: &'static str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    if value.chars().count() > NAME_CHARS_MAX || value.chars().any(char::is_control) {
        return Err(Problem::invalid(field, "最多 80 个字，不能换行", "at most 80 characters on one line"));
    }
    Ok(value.to_owned())
}

fn check_position(latitude: Option<f64>, longitude: Option<f64>) -> Result<(), Problem> {
    // Not a number lies in no range.
    if latitude.is_some_and(|degrees| !(-90.0..=90.0).contains(&degrees)) {
        return Err(Problem::invalid("latitude", "应在 -90 到 90 度之间", "it must be from -90 to 90 degrees"));
    }
    if longitude.is_some_and(|degrees| !(-180.0..=180.0).contains(&degrees)) {
        return Err(Problem::invalid("longitude", "应在 -180 到 180 度之间", "it must be from -180 to 180 degrees"));
    }
    Ok(())
}
