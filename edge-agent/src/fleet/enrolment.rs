//! The one HTTPS request that turns a claim into an identity.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::identity::{Identity, IdentityError, load_pending_key, media_port_default, store_pending_key};
use super::{Claim, tls};
use crate::clock::Clock;

/// How long the hub may take for the whole request, on a slow mobile line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer holds two certificates and a few names; ten times that is refused.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// From this difference on between the hub's clock and ours, the technician is told.
const CLOCK_DIFFERENCE_MS_MAX: u64 = 60_000;

/// Why a gateway could not be enrolled. The text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// Key or identity cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The gateway could not make its key or request.
    #[error("the gateway cannot make a certificate request: {0}")]
    Key(#[from] rcgen::Error),
    /// No connection, or it broke.
    #[error("the hub {url} cannot be reached: {reason}. Check the line and the address, then run this again")]
    Unreachable {
        /// The hub's address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// Somebody answered who is not the claim's hub.
    #[error("the hub {url} is not the one that the claim names: {reason}")]
    Untrusted {
        /// The hub's address.
        url: String,
        /// What did not fit.
        reason: String,
    },
    /// The hub said no to this code.
    #[error("the hub refused the code: {0}")]
    Refused(String),
    /// The hub answered something else than the contract says.
    #[error("the hub {url} gave an answer that cannot be used: {reason}")]
    Unusable {
        /// The hub's address.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// `POST /api/v1/enrolments`, the request.
#[derive(Serialize)]
struct Question<'a> {
    code: &'a str,
    certificate_request: &'a str,
}

/// `POST /api/v1/enrolments`, the answer.
#[derive(Deserialize)]
struct Answer {
    site_id: String,
    gateway_id: String,
    certificate: String,
    ca_certificate: String,
    mqtt_host: String,
    mqtt_port: u16,
    #[serde(default = "media_port_default")]
    media_port: u16,
    order_key: String,
    hub_url: String,
    server_time_ms: i64,
}

/// RFC 9457 problem details, as far as they concern us.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
}

/// Uses a claim: keeps a key, asks the hub, keeps the answer. Safe to repeat at any point with the same code.
///
/// # Errors
/// When the hub is unreachable, is not the claim's, or refuses the code; and when the disk does.
pub async fn enrol(claim: &Claim, data_dir: &Path, clock: Clock) -> Result<Identity, EnrolmentError> {
    let claim_sha256 = tls::hex(&Sha256::digest(claim.code.as_bytes()));
    let key = key_for(&claim_sha256, data_dir)?;
    let mut params = CertificateParams::new(Vec::new())?;
    // The hub takes only the public key and writes the subject itself.
    params.distinguished_name = DistinguishedName::new();
    let certificate_request = params.serialize_request(&key)?.pem()?;
    let question = serde_json::to_vec(&Question { code: &claim.code, certificate_request: &certificate_request })
        .expect("two texts always serialize");

    let unreachable = |reason: String| EnrolmentError::Unreachable { url: claim.url.clone(), reason };
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, post(claim, question))
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())))??;
    tell_clock_difference(answer.server_time_ms, clock);
    let identity = Identity {
        site_id: answer.site_id,
        gateway_id: answer.gateway_id,
        certificate: answer.certificate,
        ca_certificate: answer.ca_certificate,
        mqtt_host: answer.mqtt_host,
        mqtt_port: answer.mqtt_port,
        media_port: answer.media_port,
        order_key: answer.order_key,
        hub_url: answer.hub_url,
        server_time_ms: answer.server_time_ms,
        claim_sha256,
        private_key: key.serialize_pem(),
    };
    check(&identity, claim, clock)?;
    identity.store(data_dir)?;
    Ok(identity)
}

/// The key that belongs to this code: the identity's if it was made with it, else the waiting one, else a new one, which is
/// on disk before the hub hears of it.
fn key_for(claim_sha256: &str, data_dir: &Path) -> Result<KeyPair, EnrolmentError> {
    // A damaged identity is what enrolling again repairs: it must not stand in the way.
    let identity = Identity::load(data_dir).ok().flatten();
    if let Some(identity) = identity.filter(|identity| identity.claim_sha256 == claim_sha256) {
        return Ok(KeyPair::from_pem(&identity.private_key)?);
    }
    if let Some(key) = load_pending_key(data_dir)?.and_then(|pem| KeyPair::from_pem(&pem).ok()) {
        return Ok(key);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    store_pending_key(data_dir, &key.serialize_pem())?;
    Ok(key)
}

async fn post(claim: &Claim, question: Vec<u8>) -> Result<Answer, EnrolmentError> {
    let url = &claim.url;
    let unreachable = |reason: String| EnrolmentError::Unreachable { url: url.clone(), reason };
    let unusable = |reason: String| EnrolmentError::Unusable { url: url.clone(), reason };
    let uri: Uri = format!("{url}/api/v1/enrolments")
        .parse()
        .map_err(|error| unreachable(format!("its address cannot be read: {error}")))?;
    let authority = uri.authority().ok_or_else(|| unreachable("its address names no host".to_owned()))?;
    let host = authority.host().trim_matches(['[', ']']);
    let server_name = ServerName::try_from(host.to_owned())
        .map_err(|error| unreachable(format!("{host:?} is not a host name: {error}")))?;

    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443)))
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let config = tls::enrolling(&claim.ca_fingerprint).map_err(|e| unusable(e.to_string()))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(server_name, tcp)
        .await
        .map_err(|error| untrusted_or_unreachable(url, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri.path())
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, application/problem+json")
        .body(Full::new(Bytes::from(question)))
        .map_err(|error| unusable(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| unreachable(error.to_string()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| unusable(error.to_string()))?
        .to_bytes();
    connection.abort();
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| unusable(error.to_string()));
    }
    Err(refusal(url, status, &body))
}

/// Sorts TLS failures: the wrong hub, our clock, or merely a broken line.
fn untrusted_or_unreachable(url: &str, error: &std::io::Error) -> EnrolmentError {
    let url = url.to_owned();
    let tls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls_error {
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidYet | rustls::CertificateError::NotValidYetContext { .. },
        )) => EnrolmentError::Untrusted {
            url,
            reason: "its certificate is not valid yet: set this gateway's clock".to_owned(),
        },
        Some(error) => EnrolmentError::Untrusted { url, reason: error.to_string() },
        None => EnrolmentError::Unreachable { url, reason: error.to_string() },
    }
}

/// What the hub said instead of an identity.
fn refusal(url: &str, status: StatusCode, body: &[u8]) -> EnrolmentError {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let said = match (problem.title.as_str(), problem.detail.as_str()) {
        ("", "") => format!("HTTP status {status}"),
        (title, "") => title.to_owned(),
        ("", detail) => detail.to_owned(),
        (title, detail) => format!("{title}: {detail}"),
    };
    if status == StatusCode::TOO_MANY_REQUESTS {
        EnrolmentError::Refused(format!("{said}. Too many attempts: wait a minute"))
    } else if status.is_client_error() {
        EnrolmentError::Refused(format!("{said}. A code lasts 15 minutes and serves one gateway: ask for a new one"))
    } else {
        EnrolmentError::Unusable { url: url.to_owned(), reason: said }
    }
}

/// Refuses an answer with which the gateway could not connect, or whose CA is not the claim's.
fn check(identity: &Identity, claim: &Claim, clock: Clock) -> Result<(), EnrolmentError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    let unusable = |reason: String| EnrolmentError::Unusable { url: claim.url.clone(), reason };
    let ca = CertificateDer::from_pem_slice(identity.ca_certificate.as_bytes())
        .map_err(|error| unusable(format!("its CA certificate is not PEM: {error}")))?;
    if tls::fingerprint(&ca) != claim.ca_fingerprint {
        return Err(unusable("its CA is not the one that the claim names".to_owned()));
    }
    let topic_safe = |id: &str| !id.is_empty() && !id.contains(['+', '#', '/', '\0']);
    if !topic_safe(&identity.site_id) {
        return Err(unusable(format!("the site id {:?} cannot be part of a topic", identity.site_id)));
    }
    tls::mutual(identity, clock).map_err(|error| unusable(format!("{error:#}")))?;
    Ok(())
}

fn tell_clock_difference(server_time_ms: i64, clock: Clock) {
    let difference_ms = clock.utc_ms().abs_diff(server_time_ms);
    if difference_ms > CLOCK_DIFFERENCE_MS_MAX {
        tracing::warn!(
            clock.difference_ms = difference_ms,
            "this gateway's clock and the hub's differ; set it, or times will be marked as uncertain"
        );
    }
}
