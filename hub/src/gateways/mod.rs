//! The gateways' own door: HTTPS with mutual TLS, for files both ways and for the media connection.
//!
//! Whoever knocks shows a certificate of the county's authority in the TLS handshake, or gets no further. The certificate
//! names the site ([`GatewaySite`]); whether it is still the live one of that site is asked of the [`Roster`] at each
//! request, and a connection that was open when its certificate was revoked breaks ([`stream`]). Rooms hand their routes
//! to [`Gateways::start`] and know nothing of certificates:
//!
//! ```ignore
//! async fn configuration(GatewaySite(site): GatewaySite, …) -> Result<Response, Problem>
//! ```

mod admission;
mod stream;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use axum_server::Handle;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tower_http::catch_panic::CatchPanicLayer;

use crate::fleet::{Credential, Roster};
use crate::web::problem;

pub use admission::GatewaySite;

/// How long open requests may go on after the hub was told to stop. A cut upload is resumed.
const GRACE: Duration = Duration::from_secs(1);
/// A gateway that asks nothing within this time after its handshake has gone.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest body that a route takes into memory whole. Content is streamed and has its own bound.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The listener for gateways.
#[derive(Debug)]
pub struct Gateways {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Gateways {
    /// Listens and serves `routes` to gateways whose certificate is live. The port is taken when this returns.
    ///
    /// # Errors
    /// The port is taken by another program, or the certificates cannot be used.
    pub fn start(
        routes: Router,
        listen: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
        roster: &Roster,
    ) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(listen).with_context(|| {
            format!("cannot listen on {listen} (gateways.listen); is another program using the port?")
        })?;
        let address = listener.local_addr()?;
        let handle = Handle::new();
        // The innermost layer comes first: a request passes them from the last to the first.
        let app = routes
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(roster.clone(), admission::admit))
            .layer(CatchPanicLayer::new())
            .layer(middleware::from_fn(problem::localise));
        let server = axum_server::from_tcp(listener)?
            .acceptor(stream::GatewayAcceptor::new(tls, roster.clone()))
            .handle(handle.clone())
            .first_request_timeout(FIRST_REQUEST_TIMEOUT)
            .serve(app.into_make_service());
        Ok(Self { address, handle, task: tokio::spawn(server) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and waits a moment for open requests.
    pub async fn stop(self) {
        self.handle.graceful_shutdown(Some(GRACE));
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "The gateways' listener ended with an error"),
            Err(error) => tracing::warn!(%error, "The gateways' listener failed"),
        }
    }
}

/// TLS for this listener: the hub's own certificate, and only clients of the county's authority. HTTP/1.1, because a
/// WebSocket needs it and one file at a time is all a village's line carries.
///
/// # Errors
/// The PEM cannot be read, or key and certificate do not belong together.
pub fn tls(server: &Credential, ca_pem: &str) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).context("the authority's certificate is not PEM")?;
    let mut roots = RootCertStore::empty();
    roots.add(ca).context("the authority's certificate cannot be trusted")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .context("the authority signs no clients")?;
    let chain = CertificateDer::pem_slice_iter(server.chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("the hub's certificate is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).context("the hub's key is not PEM")?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .context("the hub's certificate and key do not belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
