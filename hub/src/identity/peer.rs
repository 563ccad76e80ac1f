//! From where a request came, and over what.
//!
//! A reverse proxy on the same machine stands between browsers and the loopback port; what it says in
//! `X-Forwarded-For` and `X-Forwarded-Proto` is believed, and from nobody else. A proxy must therefore overwrite these
//! headers, as nginx and Caddy do when told, because the last address in the list is the one it added itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};

/// Put into a request by the listener that took it over TLS.
#[derive(Clone, Copy, Debug)]
pub struct Secure;

/// The address of whoever sent a request. A request without one (made inside the process) counts as loopback.
pub fn remote_address(extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
    let direct = direct_address(extensions);
    if !direct.is_loopback() {
        return direct;
    }
    last(headers, "x-forwarded-for")
        .and_then(|address| address.parse().ok())
        .map_or(direct, |address: IpAddr| address.to_canonical())
}

/// Whether the person's browser speaks HTTPS, to the hub or to a proxy on the same machine.
pub(super) fn is_secure(extensions: &Extensions, headers: &HeaderMap) -> bool {
    let by_proxy = || direct_address(extensions).is_loopback() && last(headers, "x-forwarded-proto") == Some("https");
    extensions.get::<Secure>().is_some() || by_proxy()
}

fn direct_address(extensions: &Extensions) -> IpAddr {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| peer.ip().to_canonical())
}

fn last<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn from(peer: &str, forwarded: &[&str]) -> IpAddr {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        remote_address(&extensions, &headers)
    }

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        let clinic: IpAddr = "198.51.100.7".parse().unwrap();
        assert_eq!(from("198.51.100.7", &["203.0.113.9"]), clinic);
        assert_eq!(from("127.0.0.1", &["203.0.113.9, 198.51.100.7"]), clinic);
        assert_eq!(from("::1", &["203.0.113.9", "198.51.100.7"]), clinic);
        assert_eq!(from("::ffff:127.0.0.1", &["198.51.100.7"]), clinic);
        assert_eq!(from("127.0.0.1", &["unknown"]), IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
