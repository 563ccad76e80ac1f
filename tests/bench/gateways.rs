//! Gateways that are enrolled for real, and of which only the certificate is used.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tongluo_tests::api::Api;
use tongluo_tests::village::text;

/// A village of 玉山镇.
pub(crate) const VILLAGE: &str = "411728102201";

/// A site with its own certificate.
#[derive(Clone)]
pub(crate) struct Enrolled {
    pub(crate) site_id: String,
    pub(crate) tls: Arc<ClientConfig>,
}

/// Makes so many sites and enrols a gateway in each, by the same requests as a technician and a gateway.
///
/// # Errors
/// The hub refuses one of them.
pub(crate) async fn enrol(api: &Api, count: usize) -> Result<Vec<Enrolled>> {
    let mut enrolled = Vec::with_capacity(count);
    for number in 0..count {
        let name = format!("load {number}");
        let site = api.post("/api/v1/sites", json!({ "name": name, "region_code": VILLAGE })).await?;
        let site_id = text(&site, "id")?;
        let claim = api.post(&format!("/api/v1/sites/{site_id}/claims"), json!({})).await?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?.pem()?;
        let body = json!({ "code": text(&claim, "code")?, "certificate_request": request });
        let answer = api.post("/api/v1/enrolments", body).await.with_context(|| format!("enrolment {number}"))?;
        let tls = tls(&text(&answer, "ca_certificate")?, &text(&answer, "certificate")?, &key)?;
        enrolled.push(Enrolled { site_id, tls });
    }
    Ok(enrolled)
}

fn tls(authority: &str, certificate: &str, key: &KeyPair) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    Ok(Arc::new(config))
}
