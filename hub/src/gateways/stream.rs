//! From a TCP connection to one whose gateway is known, and which breaks when that gateway is put out.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_rustls::server::TlsStream;
use tower_http::add_extension::AddExtension;

use super::admission::Presented;
use crate::fleet::Roster;
use crate::ids::SiteId;

/// Handshakes at once; more wait their turn. A handshake costs about 1 ms of a core, so a county that comes back at once
/// passes in seconds, and whoever connects without speaking holds a place for ten seconds at most.
const HANDSHAKES_MAX: usize = 1_024;
/// Connections of one site at once; more are closed. A gateway uses one for media, one for files, one for its
/// configuration; the rest is for connections that died without a word.
pub(super) const CONNECTIONS_PER_SITE_MAX: usize = 8;

type Seats = Arc<Mutex<HashMap<SiteId, usize>>>;

/// Takes connections that present a certificate of the county's authority.
#[derive(Clone, Debug)]
pub(super) struct GatewayAcceptor {
    tls: RustlsAcceptor<NoDelayAcceptor>,
    roster: Roster,
    handshakes: Arc<Semaphore>,
    seats: Seats,
}

impl GatewayAcceptor {
    pub(super) fn new(tls: Arc<rustls::ServerConfig>, roster: Roster) -> Self {
        Self {
            tls: RustlsAcceptor::new(RustlsConfig::from_config(tls)).acceptor(NoDelayAcceptor::new()),
            roster,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            seats: Seats::default(),
        }
    }
}

type Accepted<S> = (GatewayStream, AddExtension<axum_server::tls::TlsService<S>, Presented>);

impl<S: Send + 'static> Accept<TcpStream, S> for GatewayAcceptor {
    type Stream = GatewayStream;
    type Service = AddExtension<axum_server::tls::TlsService<S>, Presented>;
    type Future = Pin<Box<dyn Future<Output = io::Result<Accepted<S>>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.clone();
        Box::pin(async move {
            let turn = acceptor.handshakes.acquire().await.expect("the semaphore is never closed");
            let (tls, service) = acceptor.tls.accept(stream, service).await?;
            drop(turn);
            let presented = tls.get_ref().1.peer_certificates().and_then(|chain| Presented::of(chain.first()?));
            let presented = presented.ok_or_else(|| refused("its certificate is not a gateway's"))?;
            let seat = Seat::take(&acceptor.seats, &presented.site).ok_or_else(|| {
                tracing::warn!(site.id = %presented.site, "A gateway opened too many connections");
                refused("its site has too many connections")
            })?;
            let stream = GatewayStream::new(tls, acceptor.roster.clone(), presented.clone(), seat);
            Ok((stream, AddExtension::new(service, presented)))
        })
    }
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

/// A gateway's connection. Every read and write fails from the moment on at which its certificate is revoked; that ends a
/// request, an upload and a WebSocket alike.
pub(super) struct GatewayStream {
    tls: TlsStream<TcpStream>,
    roster: Roster,
    presented: Presented,
    /// A certificate that was not live when it came is refused by the answer to its request, not by breaking that off.
    was_live: bool,
    /// Wakes the reader, which every connection has at all times, when a certificate is revoked.
    revocation: Pin<Box<dyn Future<Output = ()> + Send>>,
    _seat: Seat,
}

impl GatewayStream {
    fn new(tls: TlsStream<TcpStream>, roster: Roster, presented: Presented, seat: Seat) -> Self {
        let revocations = roster.revocations();
        let was_live = presented.is_live(&roster);
        let revocation = Box::pin(revoked(roster.clone(), revocations, presented.clone()));
        Self { tls, roster, presented, was_live, revocation, _seat: seat }
    }

    fn check(&self) -> io::Result<()> {
        if self.was_live && !self.presented.is_live(&self.roster) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the gateway's certificate was revoked"));
        }
        Ok(())
    }
}

/// Ends when the certificate is live no more.
async fn revoked(roster: Roster, mut revocations: Receiver<SiteId>, presented: Presented) {
    loop {
        match revocations.recv().await {
            Ok(site) if site != presented.site => {}
            Ok(_) | Err(RecvError::Lagged(_)) => {
                if !presented.is_live(&roster) {
                    tracing::info!(site.id = %presented.site, "A gateway was put out; its connection ends");
                    return;
                }
            }
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

impl AsyncRead for GatewayStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        if self.was_live && self.revocation.as_mut().poll(context).is_ready() {
            self.revocation = Box::pin(std::future::pending());
            self.check()?;
        }
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for GatewayStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}

/// One of the connections that a site may have; given back when dropped.
struct Seat {
    seats: Seats,
    site: SiteId,
}

impl Seat {
    fn take(seats: &Seats, site: &SiteId) -> Option<Self> {
        let mut taken = seats.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(site.clone()).or_default();
        if *count >= CONNECTIONS_PER_SITE_MAX {
            return None;
        }
        *count += 1;
        Some(Self { seats: Arc::clone(seats), site: site.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.site) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.site);
            }
        }
    }
}
