//! Routes of sessions.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Identity, cookie, peer};
use crate::clock;
use crate::ids::RegionCode;
use crate::region;
use crate::viewer::{Right, Role, Viewer};
use crate::web::{Language, Problem, ProblemDocument};

/// Largest log-in request.
const LOGIN_BYTES_MAX: usize = 4 * 1024;

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new().routes(routes!(log_in, me, log_out))
}

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    /// In any case of letters.
    username: String,
    /// As it was given.
    password: String,
}

/// The person who is logged in.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// What they log in with.
    username: String,
    /// What colleagues call them.
    display_name: String,
    /// What they are here for.
    role: Role,
    /// Where.
    region_code: RegionCode,
    /// That region's name.
    region_name: String,
    /// The language they read.
    language: Language,
    /// When the session ends by itself, UTC milliseconds.
    expires_ms: i64,
    /// What they may do, e.g. `alarm.handle`.
    rights: Vec<&'static str>,
}

impl Identity {
    async fn me(&self, viewer: Viewer) -> Result<Me, Problem> {
        let mut connection = self.store.reader().acquire().await?;
        let region_name = region::name(&mut connection, &viewer.region).await?.unwrap_or_default();
        Ok(Me {
            rights: viewer.role.rights().iter().map(|right: &Right| right.as_str()).collect(),
            username: viewer.username,
            display_name: viewer.display_name,
            role: viewer.role,
            region_name,
            region_code: viewer.region,
            language: viewer.language,
            expires_ms: viewer.expires_ms,
        })
    }
}

/// Log in. The answer sets the session cookie, which lasts twelve hours.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "identity", request_body = LogIn,
    responses(
        (status = 200, body = Me),
        (status = 401, description = "Wrong name or password", body = ProblemDocument),
        (status = 429, description = "Too many tries", body = ProblemDocument),
    )
)]
async fn log_in(State(identity): State<Identity>, request: Request) -> Result<Response, Problem> {
    let secure = peer::is_secure(request.extensions(), request.headers());
    let from = peer::remote_address(request.extensions(), request.headers());
    let login: LogIn = read(request).await?;
    let begun = identity.log_in(clock::utc_ms(), from, &login.username, login.password).await?;
    let me = identity.me(begun.viewer).await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::SET_COOKIE, cookie::set(&begun.token, secure));
    Ok((headers, Json(me)).into_response())
}

async fn read(request: Request) -> Result<LogIn, Problem> {
    let refused = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "请求内容有误：需要用户名和密码。",
            "The request is not as it should be: it wants a username and a password.",
        )
    };
    let bytes = axum::body::to_bytes(request.into_body(), LOGIN_BYTES_MAX).await.map_err(|_| refused())?;
    serde_json::from_slice(&bytes).map_err(|_| refused())
}

/// Who is logged in.
#[utoipa::path(
    get, path = "/api/v1/session", tag = "identity",
    responses((status = 200, body = Me), (status = 401, body = ProblemDocument))
)]
async fn me(State(identity): State<Identity>, viewer: Viewer) -> Result<Json<Me>, Problem> {
    identity.me(viewer).await.map(Json)
}

/// Log out.
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "identity",
    responses((status = 204, description = "The session has ended"), (status = 401, body = ProblemDocument))
)]
async fn log_out(State(identity): State<Identity>, viewer: Viewer, request: Request) -> Result<Response, Problem> {
    identity.log_out(clock::utc_ms(), &viewer).await?;
    let secure = peer::is_secure(request.extensions(), request.headers());
    let mut headers = HeaderMap::new();
    headers.insert(header::SET_COOKIE, cookie::clear(secure));
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}
