//! What the hub takes from a gateway's certificate request: its public key, and nothing else.
//!
//! Names, uses and validity are the hub's to give. A request proves by its own signature that whoever sent it holds the
//! private key (RFC 2986).

use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer as _;

/// Most bytes of a request as PEM. One for P-256 has about 400; the rest is room for attributes that are ignored.
pub(super) const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Bytes of an uncompressed point on P-256 (SEC 1, 2.3.3): 04, x, y.
const POINT_BYTES: usize = 65;

/// A public key on P-256 whose holder has proved that they hold the private one.
#[derive(Clone, Debug)]
pub struct GatewayKey {
    pub(super) public: SubjectPublicKeyInfo,
    /// SHA-256 of the SubjectPublicKeyInfo: tells keys apart.
    pub(super) sha256: [u8; 32],
}

/// Why a certificate request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefused {
    /// Not one certificate request in PEM, or too large.
    #[error("it is not a PKCS #10 certificate request in PEM of at most 8 kB")]
    Unreadable,
    /// The key is not on P-256.
    #[error("its key is not an EC key on P-256")]
    WrongKey,
    /// The signature is not by the key inside.
    #[error("its signature was not made with its key")]
    WrongSignature,
}

/// Reads a certificate request (PKCS #10, PEM).
///
/// # Errors
/// See [`RequestRefused`].
pub fn read_request(pem: &str) -> Result<GatewayKey, RequestRefused> {
    if pem.len() > REQUEST_BYTES_MAX {
        return Err(RequestRefused::Unreadable);
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|_| RequestRefused::Unreadable)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| RequestRefused::Unreadable)?;
    if !rest.is_empty() {
        return Err(RequestRefused::Unreadable);
    }
    let key = &request.certification_request_info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let is_p256 = key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256);
    if !is_p256 || key.subject_public_key.data.len() != POINT_BYTES {
        return Err(RequestRefused::WrongKey);
    }
    request.verify_signature().map_err(|_| RequestRefused::WrongSignature)?;
    let public = SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| RequestRefused::WrongKey)?;
    Ok(GatewayKey { public, sha256: Sha256::digest(key.raw).into() })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
        PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
    };

    use super::*;

    fn request(algorithm: &'static SignatureAlgorithm) -> String {
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::new(vec![]).unwrap().serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn a_p256_key_is_taken_whatever_else_the_request_wants() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut wishes = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wishes.distinguished_name.push(DnType::CommonName, "somebody else");
        wishes.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
        let taken = read_request(&wishes.serialize_request(&key).unwrap().pem().unwrap()).unwrap();
        assert_eq!(taken.public, SubjectPublicKeyInfo::from_pem(&key.public_key_pem()).unwrap());
    }

    #[test]
    fn other_keys_are_refused() {
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            assert_eq!(read_request(&request(algorithm)).unwrap_err(), RequestRefused::WrongKey);
        }
    }

    #[test]
    fn a_signature_by_another_key_is_refused() {
        let pem = request(&PKCS_ECDSA_P256_SHA256);
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
        // The last bytes are the signature's s.
        let mut bytes = der.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let forged = pem_of(&bytes);
        assert_eq!(read_request(&forged).unwrap_err(), RequestRefused::WrongSignature);
    }

    #[test]
    fn anything_else_is_unreadable() {
        let whole = request(&PKCS_ECDSA_P256_SHA256);
        let der = CertificateSigningRequestDer::from_pem_slice(whole.as_bytes()).unwrap();
        let long = pem_of(&[der.as_ref(), b"more"].concat());
        let short = pem_of(&der[..der.len() - 1]);
        let huge = format!("{whole}{}", " ".repeat(REQUEST_BYTES_MAX));
        for wrong in ["", "hello", &whole[..whole.len() / 2], &long, &short, &huge] {
            assert_eq!(read_request(wrong).unwrap_err(), RequestRefused::Unreadable, "{wrong}");
        }
    }

    fn pem_of(der: &[u8]) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    }
}
