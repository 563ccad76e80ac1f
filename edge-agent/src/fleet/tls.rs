//! TLS towards the hub: one CA is trusted, and nothing else.
//!
//! During enrolment the CA is known only by its fingerprint, so the server must send it along in its chain
//! ([`PinnedByFingerprint`]). Afterwards the CA itself is at hand and the usual verifier does ([`mutual`]). A gateway without a
//! battery clock wakes up in 1970 and would refuse every certificate as not yet valid; its clock cannot be earlier than its own
//! enrolment, so that is the least time that certificates are checked against ([`NotBefore`]).

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tongluo_protocols::enrolment::ENROLMENT_PROTOCOL;

use super::Identity;
use crate::clock::Clock;

/// The server's chain does not hold the CA that the claim names.
#[derive(Debug, thiserror::Error)]
#[error("the hub did not present the CA with fingerprint {wanted}; it presented {presented}")]
pub(crate) struct WrongCa {
    wanted: String,
    presented: String,
}

/// Trusts a server whose chain contains, and leads to, the CA with this SHA-256.
#[derive(Debug)]
pub(crate) struct PinnedByFingerprint {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl PinnedByFingerprint {
    /// `fingerprint` is 64 lower-case hexadecimal digits.
    pub(crate) fn new(fingerprint: &str, provider: Arc<CryptoProvider>) -> Self {
        Self { fingerprint: fingerprint.to_owned(), provider }
    }
}

impl ServerCertVerifier for PinnedByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(ca) = intermediates.iter().find(|certificate| fingerprint(certificate) == self.fingerprint) else {
            let presented: Vec<String> = intermediates.iter().map(|c| fingerprint(c)).collect();
            return Err(TlsError::Other(OtherError(Arc::new(WrongCa {
                wanted: self.fingerprint.clone(),
                presented: if presented.is_empty() { "no CA at all".to_owned() } else { presented.join(", ") },
            }))));
        };
        let verifier = web_pki(ca.clone().into_owned(), self.provider.clone())?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The machine's clock, but never earlier than a moment that is known to be past.
#[derive(Debug)]
struct NotBefore {
    clock: Clock,
    floor_ms: i64,
}

impl TimeProvider for NotBefore {
    fn current_time(&self) -> Option<UnixTime> {
        let now_ms = self.clock.utc_ms().max(self.floor_ms);
        let since = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// TLS for enrolment: no client certificate yet, the CA by fingerprint. It asks for the hub's own certificate, because browsers
/// may be served another one on the same port.
pub(crate) fn enrolling(ca_fingerprint: &str) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = PinnedByFingerprint::new(ca_fingerprint, provider.clone());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ENROLMENT_PROTOCOL.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Mutual TLS with the hub: its CA only, and this gateway's certificate.
pub(crate) fn mutual(identity: &Identity, clock: Clock) -> anyhow::Result<ClientConfig> {
    use anyhow::Context as _;

    let ca = CertificateDer::from_pem_slice(identity.ca_certificate.as_bytes())
        .context("the CA certificate in identity.json is not PEM")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .context("the certificate in identity.json is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes())
        .context("the private key in identity.json is not PEM")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = web_pki(ca, provider.clone()).context("the CA in identity.json is of no use")?;
    let time = NotBefore { clock, floor_ms: identity.server_time_ms };
    ClientConfig::builder_with_details(provider, Arc::new(time))
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .context("the key and the certificate in identity.json do not fit")
}

/// The usual verifier, with a single CA.
fn web_pki(ca: CertificateDer<'static>, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| TlsError::General(error.to_string()))
}

/// SHA-256 of a certificate's DER, as 64 lower-case hexadecimal digits.
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    hex(&Sha256::digest(certificate))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes whatever is written");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    struct Pki {
        ca: CertifiedIssuer<'static, KeyPair>,
        leaf: CertificateDer<'static>,
    }

    fn pki(name: &str) -> Pki {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        Pki { leaf: leaf.der().clone(), ca }
    }

    /// 2026-11-23, within the validity that rcgen gives by default.
    const NOW: Duration = Duration::from_secs(1_795_392_000);

    fn verify(
        pinned: &str,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &str,
        now: Duration,
    ) -> Result<ServerCertVerified, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(now);
        PinnedByFingerprint::new(pinned, provider).verify_server_cert(leaf, chain, &name, &[], now)
    }

    #[test]
    fn only_a_chain_with_and_to_the_pinned_ca_is_accepted() {
        let (ours, theirs) = (pki("hub.example"), pki("hub.example"));
        let (our_ca, their_ca) = (ours.ca.der().clone(), theirs.ca.der().clone());
        let pin = fingerprint(&our_ca);
        let chain = [our_ca.clone()];

        verify(&pin, &ours.leaf, &chain, "hub.example", NOW).unwrap();

        let another_ca = verify(&pin, &theirs.leaf, std::slice::from_ref(&their_ca), "hub.example", NOW);
        let message = another_ca.unwrap_err().to_string();
        assert!(message.contains(&pin) && message.contains(&fingerprint(&their_ca)), "{message}");

        let no_ca = verify(&pin, &ours.leaf, &[], "hub.example", NOW);
        assert!(no_ca.unwrap_err().to_string().contains("no CA at all"));

        // An impostor that shows our CA beside a leaf of its own.
        let borrowed = verify(&pin, &theirs.leaf, &chain, "hub.example", NOW);
        assert!(matches!(borrowed, Err(TlsError::InvalidCertificate(_))));

        let another_name = verify(&pin, &ours.leaf, &chain, "other.example", NOW);
        assert!(matches!(another_name, Err(TlsError::InvalidCertificate(_))));

        let a_later_century = verify(&pin, &ours.leaf, &chain, "hub.example", NOW * 100);
        assert!(matches!(a_later_century, Err(TlsError::InvalidCertificate(_))));
    }

    #[test]
    fn a_clock_before_the_enrolment_is_not_believed() {
        let floor_ms = i64::MAX / 2;
        let time = NotBefore { clock: Clock::start(), floor_ms };
        let seconds = time.current_time().unwrap().as_secs();
        assert_eq!(seconds, u64::try_from(floor_ms / 1000).unwrap());
    }
}
