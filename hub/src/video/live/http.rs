//! The viewers' two sockets: how they are opened, and what both do while they are open.

use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tongluo_protocols::media::Quality;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::{CameraAccess, Look, LookKind, access};
use super::playback::Playback;
use super::relay::{Relay, RelayError};
use super::viewing::Viewing;
use crate::clock;
use crate::identity::Identity;
use crate::ids::CameraId;
use crate::store::Store;
use crate::viewer::Viewer;
use crate::web::{Problem, ProblemDocument};

/// How often the rights of an open socket are looked at without being told; a session that ends is noticed at once.
pub(super) const RECHECK_EVERY: Duration = Duration::from_secs(3);
/// How long one message may take to a viewer. One who takes nothing for so long is gone.
const SEND_MAX: Duration = Duration::from_secs(8);
/// The longest message of a viewer: it gives credit, and says no more.
const VIEWER_MESSAGE_BYTES_MAX: usize = 1_024;
/// The longest span that is played in one go, in milliseconds: a day.
const SPAN_MS_MAX: i64 = 24 * 3_600 * 1_000;

/// What the sockets need of the hub.
#[derive(Clone, Debug)]
pub struct LivePictures {
    /// Where pictures come from.
    pub relay: Relay,
    /// To notice that a session has ended.
    pub identity: Identity,
    /// Who may look, and that they did.
    pub store: Store,
}

impl LivePictures {
    async fn admit(&self, viewer: &Viewer, camera: &CameraId) -> Result<CameraAccess, Problem> {
        access(&mut *self.store.reader().acquire().await?, viewer, camera).await
    }

    /// A look that cannot be written down does not happen.
    async fn look(
        self,
        viewer: Viewer,
        camera: &CameraAccess,
        kind: LookKind,
        quality: Quality,
    ) -> Result<Watch, Problem> {
        let detail = format!("quality={}", quality.as_str());
        let look = Look::begin(&self.store, &viewer, camera, kind, &detail).await?;
        Ok(Watch { room: self, viewer, camera: camera.camera_id.clone(), _look: look })
    }
}

/// The sockets' routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<LivePictures> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(playback))
}

#[derive(Debug, Deserialize, IntoParams)]
struct Which {
    /// `main` (default) or `sub`.
    quality: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct Span {
    /// From, UTC milliseconds.
    from_ms: i64,
    /// To, UTC milliseconds; a day later at most.
    to_ms: i64,
    /// `main` (default) or `sub`.
    quality: Option<String>,
}

/// Watch a camera. A WebSocket: a text `track`, then the init segment, the pictures since the last keyframe in one message, and
/// each further picture as it comes; texts `clock`, `state` and `end` in between.
#[utoipa::path(
    get, path = "/api/v1/cameras/{id}/live", tag = "video", params(("id" = String, Path), Which),
    responses(
        (status = 101, description = "Pictures follow"),
        (status = 403, description = "Not from a page of the hub's own", body = ProblemDocument),
        (status = 404, description = "No such camera here", body = ProblemDocument),
        (status = 503, description = "Too many watch", body = ProblemDocument),
    )
)]
async fn live(
    State(room): State<LivePictures>,
    viewer: Viewer,
    Path(id): Path<CameraId>,
    Query(which): Query<Which>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let quality = quality(which.quality.as_deref())?;
    let camera = room.admit(&viewer, &id).await?;
    let upgrade = upgrade.map_err(|_| no_socket())?;
    // A camera with one stream comes up once, whatever was asked for.
    let quality = if camera.has_sub { quality } else { Quality::Main };
    let subscription = room.relay.watch(&camera.site_id, id.as_str(), quality).map_err(refused)?;
    let watch = room.look(viewer, &camera, LookKind::Live, quality).await?;
    Ok(upgrade.max_message_size(VIEWER_MESSAGE_BYTES_MAX).write_buffer_size(0).on_upgrade(|socket| async {
        Viewing::new(watch, subscription).run(Pipe(socket)).await;
    }))
}

/// Play a recording. A WebSocket: a text `track`, the init segment, then pieces, each after a text `fragment`; texts `gap` and `end`.
/// Nothing comes without credit: the page sends `{"type":"more","bytes":n}`.
#[utoipa::path(
    get, path = "/api/v1/cameras/{id}/playback", tag = "video", params(("id" = String, Path), Span),
    responses(
        (status = 101, description = "The recording follows"),
        (status = 403, description = "Not from a page of the hub's own", body = ProblemDocument),
        (status = 404, description = "No such camera here", body = ProblemDocument),
        (status = 503, description = "Too much is asked of the gateway", body = ProblemDocument),
    )
)]
async fn playback(
    State(room): State<LivePictures>,
    viewer: Viewer,
    Path(id): Path<CameraId>,
    Query(span): Query<Span>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let quality = quality(span.quality.as_deref())?;
    if span.from_ms < 0 || span.to_ms <= span.from_ms || span.to_ms - span.from_ms > SPAN_MS_MAX {
        return Err(bad_span());
    }
    let camera = room.admit(&viewer, &id).await?;
    let upgrade = upgrade.map_err(|_| no_socket())?;
    let fetching =
        room.relay.fetch(&camera.site_id, id.as_str(), quality, span.from_ms, span.to_ms).map_err(refused)?;
    let watch = room.look(viewer, &camera, LookKind::Recording, quality).await?;
    Ok(upgrade.max_message_size(VIEWER_MESSAGE_BYTES_MAX).on_upgrade(move |socket| async move {
        Playback::new(watch, fetching, span.from_ms).run(Pipe(socket)).await;
    }))
}

fn quality(name: Option<&str>) -> Result<Quality, Problem> {
    name.map_or(Some(Quality::Main), Quality::parse).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "video.quality", "画质只有 main 和 sub。", "Quality is main or sub.")
    })
}

fn bad_span() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "video.span",
        "时间段不对：结束要晚于开始，最长一天。",
        "The span is not as it should be: its end comes after its beginning, a day later at most.",
    )
}

fn no_socket() -> Problem {
    Problem::new(
        StatusCode::UPGRADE_REQUIRED,
        "video.web_socket",
        "画面要用 WebSocket 打开。",
        "Pictures are opened with a WebSocket.",
    )
}

fn refused(error: RelayError) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "video.too_many",
        "同时看的画面太多，请关掉几个再试。",
        "Too many pictures are watched at once. Close some and try again.",
    )
    .retry_after_s(match error {
        RelayError::TooManyRequests => 5,
        _ => 15,
    })
}

/// Somebody who looks at a camera, and the look that is written down.
pub(super) struct Watch {
    room: LivePictures,
    viewer: Viewer,
    camera: CameraId,
    _look: Look,
}

impl Watch {
    /// Whether they still may. An error is the reason the page is told.
    pub(super) async fn still_may(&mut self) -> Result<(), &'static str> {
        match self.room.identity.recheck(&self.viewer, clock::utc_ms()).await {
            Ok(Some(viewer)) => self.viewer = viewer,
            Ok(None) => return Err("session_ended"),
            Err(error) => {
                tracing::error!(%error, "The rights of somebody who looks at a camera cannot be read");
                return Err("rights_unknown");
            }
        }
        self.room.admit(&self.viewer, &self.camera).await.map(drop).map_err(|_| "not_allowed")
    }

    /// Changes whenever some session ended.
    pub(super) fn sessions_ended(&self) -> tokio::sync::watch::Receiver<u64> {
        self.room.identity.sessions_ended()
    }
}

/// The viewer has gone, or takes nothing any more.
pub(super) struct Gone;

/// One viewer's socket.
pub(super) struct Pipe(pub(super) WebSocket);

impl Pipe {
    pub(super) async fn binary(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.send(Message::Binary(bytes)).await
    }

    pub(super) async fn text(&mut self, value: &serde_json::Value) -> Result<(), Gone> {
        self.send(Message::Text(Utf8Bytes::from(value.to_string()))).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match tokio::time::timeout(SEND_MAX, self.0.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// The next text of the viewer's.
    pub(super) async fn heard(&mut self) -> Result<Utf8Bytes, Gone> {
        loop {
            match self.0.recv().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
            }
        }
    }

    /// Says why nothing more comes, and closes.
    pub(super) async fn end(mut self, reason: &str) {
        let _ = self.text(&json!({ "type": "end", "reason": reason })).await;
        let _ = self.send(Message::Close(None)).await;
    }
}
