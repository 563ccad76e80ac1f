//! Who a request comes from, and whether that gateway is still welcome.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::fleet::Roster;
use crate::ids::SiteId;
use crate::web::Problem;

/// What a certificate said in the handshake. Every request of its connection carries it.
#[derive(Clone, Debug)]
pub(super) struct Presented {
    /// CN.
    pub(super) site: SiteId,
    /// Big-endian.
    pub(super) serial: Vec<u8>,
}

impl Presented {
    /// Reads a certificate that the TLS verifier has accepted. `None`: it is not a gateway's.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let site = names.next()?.as_str().ok()?;
        // The hub's own client certificate has a common name, too, but no site of that name is in the roster.
        if names.next().is_some() || site.is_empty() {
            return None;
        }
        Some(Self { site: SiteId::from_known(site), serial: certificate.raw_serial().to_vec() })
    }

    /// Whether it is the certificate under which the site lives now.
    pub(super) fn is_live(&self, roster: &Roster) -> bool {
        roster.allows(&self.site, &self.serial)
    }
}

/// The site whose gateway asks: proved by its certificate, which was live when the request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySite(pub SiteId);

impl<S: Sync> FromRequestParts<S> for GatewaySite {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(not_admitted)
    }
}

/// Layer that turns a certificate that is live now into a [`GatewaySite`], and refuses any other.
pub(super) async fn admit(State(roster): State<Roster>, mut request: Request, next: Next) -> Response {
    let site = request
        .extensions()
        .get::<Presented>()
        .filter(|presented| presented.is_live(&roster))
        .map(|presented| GatewaySite(presented.site.clone()));
    let Some(site) = site else {
        return not_admitted().into_response();
    };
    request.extensions_mut().insert(site);
    next.run(request).await
}

fn not_admitted() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "gateway.not_admitted",
        "这张网关证书已经失效，请重新认领。",
        "This gateway's certificate is good no more. Enrol it again.",
    )
}
