//! What a request must look like before anybody reads it: meant for this hub, and not sent by a foreign page.
//!
//! A browser sends the session cookie with whatever page makes it ask. `SameSite=Strict` already keeps foreign pages
//! out; this is the second wall. `Host` must be one of the hub's own names, which defeats DNS rebinding. A request that
//! changes something, and every WebSocket, must not carry a foreign `Origin` or say `Sec-Fetch-Site: cross-site`. An
//! absent `Origin` is fine for programs (a gateway enrolling, curl) but not for a WebSocket, which browsers always mark.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::peer;
use crate::config::Config;
use crate::web::Problem;

/// Ports that go without saying, one for each scheme.
const UNSAID_PORTS: [u16; 2] = [80, 443];

/// The hosts and ports under which the hub may be asked.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    names: Arc<[String]>,
    ports: Arc<[u16]>,
}

impl AllowedHosts {
    /// The configuration's public names, and the loopback names, which nobody else can own; on every port that this
    /// hub or the proxy before it is reached on.
    pub fn of(config: &Config) -> Self {
        let loopback = ["localhost", "127.0.0.1", "::1"].into_iter().map(str::to_owned);
        let names = config.public_names.iter().map(|name| written(name)).chain(loopback).collect();
        let ports = UNSAID_PORTS
            .into_iter()
            .chain([config.http.secure.port(), config.public_https_port()])
            .chain(config.http.plain.map(|plain| plain.port()))
            .collect();
        Self { names, ports }
    }

    /// Whether `authority` (`host` or `host:port`) is ours.
    fn allows(&self, authority: &str) -> bool {
        let Some((host, port)) = split(authority) else { return false };
        let known_port = port.is_none_or(|port| self.ports.contains(&port));
        known_port && self.names.contains(&host)
    }
}

/// Layer that refuses requests for other hosts and from foreign pages.
pub async fn guard(State(hosts): State<AllowedHosts>, request: Request, next: Next) -> Response {
    match check(&hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(hosts: &AllowedHosts, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    // HTTP/2 carries the host in the address of the request.
    let named =
        request.uri().authority().map(axum::http::uri::Authority::as_str).or_else(|| text(headers, header::HOST));
    let authority = named.ok_or_else(no_host)?;
    if !hosts.allows(authority) {
        return Err(wrong_host());
    }
    let is_web_socket =
        headers.get(header::UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_web_socket && !changes {
        return Ok(());
    }
    if text(headers, header::HeaderName::from_static("sec-fetch-site")) == Some("cross-site") {
        return Err(foreign_page());
    }
    match headers.get(header::ORIGIN) {
        None if is_web_socket => Err(foreign_page()),
        None => Ok(()),
        Some(origin) => {
            let scheme = if peer::is_secure(request.extensions(), headers) { "https" } else { "http" };
            let own =
                origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(found, rest)| {
                    found == scheme && split(rest).is_some() && same(scheme, rest, authority)
                });
            if own { Ok(()) } else { Err(foreign_page()) }
        }
    }
}

/// Whether two authorities are the same under a scheme whose port may go unsaid.
fn same(scheme: &str, left: &str, right: &str) -> bool {
    let unsaid = if scheme == "https" { 443 } else { 80 };
    let whole = |authority: &str| split(authority).map(|(host, port)| (host, port.unwrap_or(unsaid)));
    whole(left) == whole(right)
}

/// A configured name as [`split`] writes it.
fn written(name: &str) -> String {
    name.parse().map_or_else(|_| name.to_ascii_lowercase(), |address: IpAddr| address.to_string())
}

/// Host in lower case without brackets, and port if said.
fn split(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let address: Ipv6Addr = host.parse().ok()?;
            (
                IpAddr::V6(address).to_string(),
                after.strip_prefix(':').or(if after.is_empty() { None } else { Some("") }),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
            None => (authority.to_ascii_lowercase(), None),
        },
    };
    match port {
        None => Some((host, None)),
        Some(digits) => digits.parse().ok().map(|port| (host, Some(port))),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn no_host() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "host.missing",
        "请求没有写明主机名。",
        "The request does not say which host it is for.",
    )
}

fn wrong_host() -> Problem {
    Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "host.unknown",
        "平台不使用这个地址。请用管理员给的地址打开，或请管理员把它加到配置的 public_names 里。",
        "The hub does not answer to this address. Use the one your administrator gave you, or have it added to \
         public_names in the configuration.",
    )
}

fn foreign_page() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "origin.foreign",
        "请求来自别的网站，已拒绝，什么都没有改变。",
        "The request came from another site's page and was refused. Nothing was changed.",
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn refusal(method: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let config =
            Config { public_names: vec!["Hub.example".to_owned(), "FD00:0::1".to_owned()], ..Config::default() };
        let mut request = Request::builder().method(method).uri("/api/v1/sites");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&AllowedHosts::of(&config), &request.body(Body::empty()).unwrap()).err().map(|problem| problem.code())
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in ["hub.example", "HUB.example:8443", "127.0.0.1:8080", "localhost", "[fd00::1]:8443", "[::1]:8080"] {
            assert_eq!(refusal("GET", &[("host", host)]), None, "{host}");
        }
        for host in ["evil.example", "hub.example:9999", "hub.example.evil.example", "", "[", "hub.example:", "[::1]x"]
        {
            assert_eq!(refusal("GET", &[("host", host)]), Some("host.unknown"), "{host}");
        }
        assert_eq!(refusal("GET", &[]), Some("host.missing"));
    }

    #[test]
    fn foreign_pages_change_nothing() {
        let host = ("host", "hub.example:8080");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            assert_eq!(refusal(method, &[host]), None, "a program without Origin");
            assert_eq!(refusal(method, &[host, ("origin", "http://hub.example:8080")]), None);
            for origin in [
                "http://evil.example",
                "https://hub.example:8080",
                "http://hub.example:8443",
                "null",
                "http://",
                "http",
            ] {
                assert_eq!(refusal(method, &[host, ("origin", origin)]), Some("origin.foreign"), "{origin}");
            }
            assert_eq!(refusal(method, &[host, ("sec-fetch-site", "cross-site")]), Some("origin.foreign"));
        }
        assert_eq!(refusal("GET", &[host, ("origin", "http://evil.example")]), None, "reading is SameSite's business");
        assert_eq!(refusal("POST", &[("host", "hub.example"), ("origin", "http://hub.example:80")]), None);
    }

    #[test]
    fn a_web_socket_must_say_where_it_comes_from() {
        let host = ("host", "127.0.0.1:8080");
        let upgrade = ("upgrade", "WebSocket");
        assert_eq!(refusal("GET", &[host, upgrade]), Some("origin.foreign"));
        assert_eq!(refusal("GET", &[host, upgrade, ("origin", "http://evil.example")]), Some("origin.foreign"));
        assert_eq!(refusal("GET", &[host, upgrade, ("origin", "http://127.0.0.1:8080")]), None);
    }
}
