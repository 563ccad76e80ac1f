//! The listeners: HTTPS for everybody, plain HTTP for this machine. Nothing waits to be sent in larger pieces: a picture that
//! waits is late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::{Extension, Router};
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tongluo_protocols::enrolment::ENROLMENT_PROTOCOL;

use crate::identity::Secure;

/// How long open requests may go on after the hub was told to stop. Streams end by themselves earlier.
const GRACE: Duration = Duration::from_secs(3);
/// A client that says nothing within this time is not one.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The listeners of one hub.
#[derive(Debug)]
pub struct Servers {
    handles: Vec<Handle<SocketAddr>>,
    tasks: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Servers {
    /// Listens and serves `app`. Both ports are taken when this returns.
    ///
    /// # Errors
    /// A port is taken by another program, named with its configuration key; or the certificate cannot be used.
    pub fn start(
        app: Router,
        plain: Option<SocketAddr>,
        secure: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
    ) -> anyhow::Result<Self> {
        let mut servers = Self { handles: Vec::new(), tasks: Vec::new() };
        if let Some(address) = plain {
            let listener = listen(address, "http.plain")?;
            let handle = Handle::new();
            let server = axum_server::from_tcp(listener)?
                .acceptor(NoDelayAcceptor::new())
                .handle(handle.clone())
                .first_request_timeout(FIRST_REQUEST_TIMEOUT)
                .serve(app.clone().into_make_service_with_connect_info::<SocketAddr>());
            servers.add(handle, server);
        }
        let listener = listen(secure, "http.secure")?;
        let handle = Handle::new();
        let server = axum_server::tls_rustls::from_tcp_rustls(listener, RustlsConfig::from_config(tls))?
            .map(|tls| tls.acceptor(NoDelayAcceptor::new()))
            .handle(handle.clone())
            .first_request_timeout(FIRST_REQUEST_TIMEOUT)
            .serve(app.layer(Extension(Secure)).into_make_service_with_connect_info::<SocketAddr>());
        servers.add(handle, server);
        Ok(servers)
    }

    fn add(&mut self, handle: Handle<SocketAddr>, server: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.handles.push(handle);
        self.tasks.push(tokio::spawn(server));
    }

    /// Stops listening, and waits a few seconds for open requests.
    pub async fn stop(self) {
        for handle in &self.handles {
            handle.graceful_shutdown(Some(GRACE));
        }
        for task in self.tasks {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "A web listener ended with an error"),
                Err(error) => tracing::warn!(%error, "A web listener's task failed"),
            }
        }
    }
}

fn listen(address: SocketAddr, key: &str) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} ({key}); is another program using the port?"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The TLS side of the HTTPS port; HTTP/2 and HTTP/1.1. Browsers are shown the `given` certificate where there is one; a gateway
/// that enrols, and has pinned the county's own authority, is always shown the hub's `own`.
pub fn tls(own: CertifiedKey, given: Option<CertifiedKey>) -> Arc<rustls::ServerConfig> {
    let own = Arc::new(own);
    let shown = given.map_or_else(|| Arc::clone(&own), Arc::new);
    let mut config =
        rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(Certificates { own, shown }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Which certificate is whose.
#[derive(Debug)]
struct Certificates {
    own: Arc<CertifiedKey>,
    shown: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let enrols = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ENROLMENT_PROTOCOL));
        Some(Arc::clone(if enrols { &self.own } else { &self.shown }))
    }
}

/// A chain and a key in PEM, as TLS shows them.
///
/// # Errors
/// The PEM cannot be read, or key and certificate do not belong together.
pub fn certificate(chain_pem: &str, key_pem: &str) -> anyhow::Result<CertifiedKey> {
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};

    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("the HTTPS certificate is not PEM")?;
    anyhow::ensure!(!chain.is_empty(), "there is no certificate in the HTTPS certificate's file");
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).context("the HTTPS key is not PEM")?;
    let provider = CryptoProvider::get_default().context("no cryptography was chosen for this process")?;
    CertifiedKey::from_der(chain, key, provider).context("the HTTPS certificate and key do not belong together")
}
