//! The three pages, as files inside the binary. They are built by `dashboards/` beforehand; a binary that was built
//! without them says so instead of showing nothing.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::Problem;

#[derive(RustEmbed)]
#[folder = "../dashboards/dist"]
#[allow_missing = true]
struct Dist;

/// Routes of the pages: `/` leads to the command page.
pub fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to("/command") }))
        .route("/command", get(|| async { page("command") }))
        .route("/field", get(|| async { page("field") }))
        .route("/village", get(|| async { page("village") }))
        .route("/assets/{*path}", get(asset))
}

fn page(name: &str) -> Response {
    match Dist::get(&format!("{name}/index.html")) {
        // The page names its hashed scripts, so it is asked for anew each time.
        Some(file) => serve(file, "text/html; charset=utf-8", "no-cache"),
        None => Problem::new(
            StatusCode::NOT_FOUND,
            "pages_not_built",
            "这个程序没有带网页。请先构建 dashboards，再重新构建程序。",
            "This program was built without its pages. Build the dashboards, then build it again.",
        )
        .into_response(),
    }
}

async fn asset(Path(path): Path<String>) -> Response {
    let Some(file) = Dist::get(&format!("assets/{path}")) else {
        return Problem::not_found().into_response();
    };
    let kind = file.metadata.mimetype().to_owned();
    // Names hold a hash of the content, or a number that is counted up: what has one name never changes.
    serve(file, &kind, "public, max-age=31536000, immutable")
}

fn serve(file: EmbeddedFile, kind: &str, caching: &'static str) -> Response {
    let mut response = Body::from(file.data).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}
