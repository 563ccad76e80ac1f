//! Headers that every answer carries.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// Everything comes from the hub itself and nothing is in line (live pictures are fed to the browser as a `blob:`); nobody
/// frames the pages; no address leaks to others.
const ALWAYS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// No page looks through the device's camera; a technician may say where a site is.
const PERMISSIONS: &str = "camera=(), microphone=(), geolocation=(self)";
/// A village head speaks, on the village page and nowhere else.
const PERMISSIONS_TO_SPEAK: &str = "camera=(), microphone=(self), geolocation=()";
const PAGE_THAT_LISTENS: &str = "/village";

/// Layer that adds them. What the interface answers is never cached: it is about now, and about one person's rights.
pub async fn secure(request: Request, next: Next) -> Response {
    let is_interface = request.uri().path().starts_with("/api/");
    let permissions = if request.uri().path() == PAGE_THAT_LISTENS { PERMISSIONS_TO_SPEAK } else { PERMISSIONS };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static(permissions));
    if is_interface {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn only_the_village_page_may_listen() {
        for (path, listens) in [
            ("/village", true),
            ("/command", false),
            ("/field", false),
            ("/village/", false),
            ("/api/v1/village", false),
        ] {
            let site = Router::new().fallback(get(|| async { "" })).layer(from_fn(secure));
            let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
            let response = site.oneshot(request).await.expect("a router never fails");
            let policy = response.headers()[PERMISSIONS_POLICY].to_str().expect("plain text");
            assert_eq!(policy.contains("microphone=(self)"), listens, "{path}: {policy}");
            assert!(policy.contains("camera=()"), "{path}: {policy}");
        }
    }
}
