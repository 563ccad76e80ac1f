//! What is asked of a village's gateway: whether an address opens, and what is recorded there.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::AnyConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::camera::{self, Secret};
use super::configuration::{open, place};
use super::live::RelayError;
use super::{VideoRoom, access, store};
use crate::audit;
use crate::clock;
use crate::ids::{CameraId, SiteId};
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// How long a gateway may take to try an address: a camera that does not answer is given ten seconds, and a gateway that has
/// to open its media connection first another five.
const TRY_PATIENCE: Duration = Duration::from_secs(15);
/// How long a gateway may take to say what it has recorded.
const SPANS_PATIENCE: Duration = Duration::from_secs(10);
/// The longest stretch whose recordings are listed: a month.
const LISTED_MS_MAX: i64 = 31 * 24 * 3600 * 1000;
/// Most stretches in one answer. An hour of a camera that fails every few seconds has so many.
const SPANS_MAX: usize = 2_000;
/// Longest picture that is handed on, in characters of base64.
const PICTURE_CHARS_MAX: usize = 2 << 20;

/// The routes that ask a gateway.
pub(super) fn routes() -> OpenApiRouter<VideoRoom> {
    OpenApiRouter::new().routes(routes!(try_address)).routes(routes!(recordings))
}

/// An address to be tried before a camera is entered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TryRequest {
    /// Whose gateway tries it.
    site_id: SiteId,
    /// As when a camera is entered.
    url: Secret,
    /// Wins over one in the address. Absent: those that the recorder at this address is known by, if any.
    username: Option<String>,
    /// With the user name.
    password: Option<Secret>,
}

/// How a try ended.
#[derive(Debug, Serialize, ToSchema)]
struct Tried {
    /// Whether pictures came.
    ok: bool,
    /// `ok`, `unreachable`, `refused`, `tries_left` (not tried: one more wrong password may lock the recorder),
    /// `no_such_stream`, `unsupported`, `no_frames`, `gateway_offline` or `timed_out`.
    reason: String,
    /// What exactly, for the technician.
    detail: Option<String>,
    /// How many wrong passwords are still tried.
    tries_left: Option<i64>,
    /// What the stream carries.
    main: Option<TriedStream>,
    /// A picture of it, as a `data:` address.
    snapshot_url: Option<String>,
}

/// What a tried stream carries.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct TriedStream {
    /// `h264` or `h265`; others may come.
    codec: String,
    /// In pixels.
    width: i64,
    /// In pixels.
    height: i64,
    /// As counted; null: too few came.
    frames_per_s: Option<f64>,
}

/// A gateway's answer to a try.
#[derive(Debug, Deserialize)]
struct Probed {
    reason: String,
    detail: Option<String>,
    tries_left: Option<i64>,
    main: Option<TriedStream>,
    jpeg_base64: Option<String>,
}

/// Try an address from the village's gateway, with the exact reason when it fails.
#[utoipa::path(post, path = "/api/v1/cameras/try", operation_id = "try_camera", tag = "video",
    request_body = TryRequest, responses(
    (status = OK, body = Tried),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn try_address(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Json(request): Json<TryRequest>,
) -> Result<Json<Tried>, Problem> {
    viewer.may(Right::SiteManage)?;
    let address = camera::address(&request.url, request.username.as_deref(), request.password.as_ref())?;
    let site = &request.site_id;
    let mut transaction = room.store.begin().await?;
    let region = place(&mut transaction, site).await?.ok_or_else(Problem::not_found)?.region;
    viewer.require_region(&region)?;
    let known = store::recorders(&mut transaction, site).await?.into_iter().find(|known| known.place == address.place);
    let credentials = address.credentials.clone().or_else(|| open(&room.seal, known.as_ref()?));
    let line = audit::Record::done(&viewer, "camera.try", site.as_str(), &region);
    audit::record(&mut transaction, clock::utc_ms(), line).await?;
    let is_online = is_online(&mut transaction, site).await?;
    transaction.commit().await?;
    if !is_online {
        return Ok(Json(Tried::failed(RelayError::GatewayOffline)));
    }
    let question = json!({ "probe": {
        "url": address.place.url(&super::address::filled(&address.path, credentials.as_ref())),
        "username": credentials.as_ref().map(|known| &known.username),
        "password": credentials.as_ref().map(|known| &known.password),
    }});
    let answer = match room.relay.ask(site, &question, TRY_PATIENCE).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Json(Tried::failed(error))),
    };
    let probed: Probed = serde_json::from_slice(&answer).map_err(|_| not_understood())?;
    Ok(Json(Tried::from(probed)))
}

impl Tried {
    fn failed(error: RelayError) -> Self {
        let reason = error.code().to_owned();
        Self { ok: false, reason, detail: None, tries_left: None, main: None, snapshot_url: None }
    }
}

impl From<Probed> for Tried {
    fn from(probed: Probed) -> Self {
        let picture = probed.jpeg_base64.filter(|picture| picture.len() <= PICTURE_CHARS_MAX);
        Self {
            ok: probed.reason == "ok",
            reason: probed.reason,
            detail: probed.detail,
            tries_left: probed.tries_left,
            main: probed.main,
            snapshot_url: picture.map(|picture| format!("data:image/jpeg;base64,{picture}")),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct SpanQuery {
    /// UTC milliseconds.
    from_ms: i64,
    /// UTC milliseconds; at most 31 days later.
    to_ms: i64,
}

/// What is recorded of a camera in its village.
#[derive(Debug, Serialize, ToSchema)]
struct Recordings {
    /// In order; at most 2,000.
    spans: Vec<Span>,
    /// Why the gateway could not be asked; null: it was.
    state: Option<String>,
}

/// A stretch without a gap.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Span {
    /// The gateway's clock.
    from_ms: i64,
    /// The gateway's clock.
    to_ms: i64,
}

/// What is recorded of a camera in its village, asked of its gateway.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/recordings", operation_id = "list_recordings", tag = "video",
    params(("id" = String, Path), SpanQuery), responses(
    (status = OK, body = Recordings),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn recordings(
    State(room): State<VideoRoom>,
    viewer: Viewer,
    Path(id): Path<CameraId>,
    Query(SpanQuery { from_ms, to_ms }): Query<SpanQuery>,
) -> Result<Json<Recordings>, Problem> {
    let (camera, is_online) = {
        let mut connection = room.store.reader().acquire().await?;
        let camera = access::access(&mut connection, &viewer, &id).await?;
        let is_online = is_online(&mut connection, &camera.site_id).await?;
        (camera, is_online)
    };
    if !to_ms.checked_sub(from_ms).is_some_and(|length_ms| (1..=LISTED_MS_MAX).contains(&length_ms)) {
        let (zh, en) = ("应晚于 from_ms，最多 31 天", "it must be after from_ms, by at most 31 days");
        return Err(Problem::invalid("to_ms", zh, en));
    }
    let unasked = |error: RelayError| Json(Recordings { spans: Vec::new(), state: Some(error.code().to_owned()) });
    if !is_online {
        return Ok(unasked(RelayError::GatewayOffline));
    }
    let question = json!({ "spans": { "camera": id, "from_ms": from_ms, "to_ms": to_ms } });
    match room.relay.ask(&camera.site_id, &question, SPANS_PATIENCE).await {
        Ok(answer) => {
            #[derive(Deserialize)]
            struct Answer {
                spans: Vec<Span>,
            }
            let Answer { mut spans } = serde_json::from_slice(&answer).map_err(|_| not_understood())?;
            spans.truncate(SPANS_MAX);
            Ok(Json(Recordings { spans, state: None }))
        }
        Err(error) => Ok(unasked(error)),
    }
}

async fn is_online(connection: &mut AnyConnection, site: &SiteId) -> Result<bool, sqlx::Error> {
    let online: Option<i64> = sqlx::query_scalar("select online from presence where site_id = $1")
        .bind(site.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(online == Some(1))
}

fn not_understood() -> Problem {
    Problem::new(
        axum::http::StatusCode::BAD_GATEWAY,
        "gateway.not_understood",
        "网关的回答看不懂，请检查两边的版本。",
        "The gateway's answer cannot be read. Compare the versions of both.",
    )
}
