//! The routes of sessions and users.

use axum::Json;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account::{self, User, UserCreate, UserPatch};
use super::{Identity, cookie, login, own_password, peer, session_ms, store};
use crate::clock;
use crate::ids::{AccountId, RegionCode};
use crate::viewer::{Right, Role, Viewer};
use crate::web::{Language, Problem, ProblemDocument};

/// Most bytes of a request here: an account with the longest names and password, several times over. What strangers
/// may send before they are known is small.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// The room's routes.
pub fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(log_in, who_am_i, log_out))
        .routes(routes!(change_password))
        .routes(routes!(list_users, create_user))
        .routes(routes!(change_user))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Who wants in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    /// Case does not matter.
    username: String,
    #[schema(format = Password)]
    password: String,
}

/// Another password for whoever is logged in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The present one.
    #[schema(format = Password)]
    current: String,
    /// 10–128 characters.
    #[schema(format = Password)]
    new: String,
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
    /// When the session ends by itself.
    expires_ms: i64,
    /// What the role may do in the region, e.g. `alarm.handle`.
    rights: Vec<&'static str>,
    /// Where the hub is reached by HTTPS, under the same names: browsers give a microphone to no page that came over an open line.
    https_port: u16,
}

/// The accounts of a region.
#[derive(Debug, Serialize, ToSchema)]
struct UserPage {
    /// By user name.
    users: Vec<User>,
}

/// Log in; the answer sets the session cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "identity", request_body = LogIn, responses(
    (status = OK, body = Me),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn log_in(
    State(identity): State<Identity>,
    extensions: Extensions,
    headers: HeaderMap,
    Json(request): Json<LogIn>,
) -> Result<impl IntoResponse, Problem> {
    let from = peer::remote_address(&extensions, &headers);
    let (token, viewer) = login::log_in(&identity, from, &request.username, request.password, clock::utc_ms()).await?;
    let cookie = cookie::set(&token, session_ms(viewer.role), peer::is_secure(&extensions, &headers));
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(me(&identity, viewer).await?)))
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/session", tag = "identity", responses(
    (status = OK, body = Me),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn who_am_i(State(identity): State<Identity>, viewer: Viewer) -> Result<Json<Me>, Problem> {
    Ok(Json(me(&identity, viewer).await?))
}

/// Log out. Fine without a session, too.
#[utoipa::path(delete, path = "/api/v1/session", tag = "identity", responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn log_out(
    State(identity): State<Identity>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    if let Some(viewer) = extensions.get::<Viewer>() {
        login::log_out(&identity, viewer, clock::utc_ms()).await?;
    }
    let cookie = cookie::clear(peer::is_secure(&extensions, &headers));
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, cookie)])))
}

/// Change one's own password. Ends one's other sessions.
#[utoipa::path(put, path = "/api/v1/session/password", tag = "identity", request_body = PasswordChange, responses(
    (status = NO_CONTENT),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn change_password(
    State(identity): State<Identity>,
    viewer: Viewer,
    Json(request): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    own_password::change(&identity, &viewer, request.current, request.new, clock::utc_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The accounts of the viewer's region.
#[utoipa::path(get, path = "/api/v1/users", tag = "identity", responses(
    (status = OK, body = UserPage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list_users(State(identity): State<Identity>, viewer: Viewer) -> Result<Json<UserPage>, Problem> {
    Ok(Json(UserPage { users: account::list(&identity, &viewer).await? }))
}

/// Make an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "identity", request_body = UserCreate, responses(
    (status = CREATED, body = User),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn create_user(
    State(identity): State<Identity>,
    viewer: Viewer,
    Json(request): Json<UserCreate>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let user = account::create(&identity, &viewer, request, clock::utc_ms()).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// Change an account.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "identity", params(("id" = String, Path)),
    request_body = UserPatch, responses(
    (status = OK, body = User),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn change_user(
    State(identity): State<Identity>,
    viewer: Viewer,
    Path(id): Path<AccountId>,
    Json(patch): Json<UserPatch>,
) -> Result<Json<User>, Problem> {
    Ok(Json(account::change(&identity, &viewer, &id, patch, clock::utc_ms()).await?))
}

async fn me(identity: &Identity, viewer: Viewer) -> Result<Me, Problem> {
    let region_name = store::region_name(identity.store.reader(), &viewer.region).await?;
    Ok(Me {
        username: viewer.username,
        display_name: viewer.display_name,
        role: viewer.role,
        region_name: region_name.unwrap_or_else(|| viewer.region.to_string()),
        region_code: viewer.region,
        language: viewer.language,
        expires_ms: viewer.expires_ms,
        rights: viewer.role.rights().iter().copied().map(Right::as_str).collect(),
        https_port: identity.https_port,
    })
}
