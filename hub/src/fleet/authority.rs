//! The county's certificate authority, and the root of its orders.
//!
//! `init` makes both once, in `authority/` under the data folder; whoever has that folder is the county. Everything here
//! is P-256, because browsers refuse Ed25519 in server certificates; the order key is Ed25519, which small devices
//! verify quickly. Nothing is ever issued to a name that the asker chose.
//!
//! | file | holds |
//! | --- | --- |
//! | `ca.pem`, `ca-key.pem` | the authority; gateways pin it at enrolment |
//! | `server.pem`, `server-key.pem` | the hub itself, for its public names: the chain leaf, then CA |
//! | `client.pem`, `client-key.pem` | the hub as a client of an external broker, CN `tongluo-hub` |
//! | `revoked.pem` | revocation list for an external broker |
//! | `order-key.pem` | Ed25519, PKCS #8: the root from which the right to give orders is delegated |
//! | `seal-key` | for secrets at rest, kept by `seal.rs` |

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

use super::request::GatewayKey;
use crate::ids::{GatewayId, SiteId};
use crate::key_file::{read, write_private, write_public};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// The authority outlives the boxes that pin it.
const CA_VALID_MS: i64 = 30 * 365 * DAY_MS;
/// A gateway is replaced or enrolled anew within its hardware's life.
const GATEWAY_VALID_MS: i64 = 5 * 365 * DAY_MS;
/// Below the 825 days that Apple's browsers grant private authorities.
const SERVER_VALID_MS: i64 = 800 * DAY_MS;
/// Renewed at a start when less than this is left: a hub that runs on for a year still does not run out.
const SERVER_RENEW_MS: i64 = 400 * DAY_MS;
/// Before "now", because clocks in villages differ.
const BACKDATED_MS: i64 = DAY_MS;
/// Brokers refuse everybody under an outdated list, and this one is rewritten at each start and each revocation.
const REVOCATION_LIST_VALID_MS: i64 = 5 * 365 * DAY_MS;
/// Common name of the hub's own client certificate. No site id looks like it.
pub const HUB_CLIENT_NAME: &str = "tongluo-hub";

/// The county's authority, opened.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    fingerprint: String,
    order_key: SigningKey,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// A certificate with its key, as PEM: what a TLS server or client needs.
#[derive(Clone)]
pub struct Credential {
    /// The certificate, then the CA's.
    pub chain_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// A certificate just issued to a gateway.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Lower-case hexadecimal, 32 digits.
    pub serial: String,
    /// The certificate alone.
    pub pem: String,
    /// UTC.
    pub expires_ms: i64,
}

/// A certificate that is good no more.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// As in [`Issued`].
    pub serial: String,
    /// UTC.
    pub revoked_ms: i64,
}

impl Authority {
    /// Makes the county's authority and order key under the data folder.
    ///
    /// # Errors
    /// There is one already (it is never overwritten), or the folder cannot be written.
    pub fn create(data_dir: &Path, now_ms: i64) -> anyhow::Result<Self> {
        let folder = folder(data_dir);
        if folder.join("ca-key.pem").exists() || folder.join("ca.pem").exists() {
            bail!("{} already holds a certificate authority; it is never overwritten", folder.display());
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Tongluo county authority {}", crate::ids::opaque()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, now_ms, CA_VALID_MS)?;
        params.serial_number = Some(new_serial());
        let certificate = params.self_signed(&key).context("cannot sign the authority's own certificate")?;

        let order_key = SigningKey::from_bytes(&random());
        let order_pem = order_key.to_pkcs8_pem(LineEnding::LF).context("cannot write the order key as PKCS #8")?;
        write_private(&folder.join("order-key.pem"), &order_pem)?;
        write_public(&folder.join("ca.pem"), &certificate.pem())?;
        // Last, because its presence means that all is there.
        write_private(&folder.join("ca-key.pem"), &key.serialize_pem())?;
        let authority = Self::open(data_dir)?;
        authority.write_revocations(&[], now_ms)?;
        Ok(authority)
    }

    /// Opens what [`Authority::create`] made.
    ///
    /// # Errors
    /// A file is missing or cannot be understood.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let folder = folder(data_dir);
        let ca_pem = read(&folder.join("ca.pem"))?;
        let key = KeyPair::from_pem(&read(&folder.join("ca-key.pem"))?)
            .with_context(|| format!("{} holds no usable key", folder.join("ca-key.pem").display()))?;
        let der = CertificateDer::from_pem_slice(ca_pem.as_bytes())
            .with_context(|| format!("{} holds no certificate", folder.join("ca.pem").display()))?;
        let fingerprint = hexadecimal(&Sha256::digest(&der));
        let issuer = Issuer::from_ca_cert_der(&der, key).context("ca.pem is not an authority's certificate")?;
        let order_key = SigningKey::from_pkcs8_pem(&read(&folder.join("order-key.pem"))?)
            .with_context(|| format!("{} holds no Ed25519 key", folder.join("order-key.pem").display()))?;
        Ok(Self { folder, issuer, ca_pem, fingerprint, order_key })
    }

    /// The authority's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// SHA-256 of the authority's certificate (DER), lower-case hexadecimal: what claims carry and gateways check.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Public half of the root order key, 32 raw bytes in base64: what gateways pin at enrolment.
    pub fn order_public_base64(&self) -> String {
        BASE64.encode(self.order_key.verifying_key().as_bytes())
    }

    /// The root order key.
    pub fn order_key(&self) -> &SigningKey {
        &self.order_key
    }

    /// Where the revocation list for an external broker is.
    pub fn revocation_list(&self) -> PathBuf {
        self.folder.join("revoked.pem")
    }

    /// The hub's server certificate for `names`, kept from the last start while it fits, else issued anew.
    ///
    /// # Errors
    /// The folder cannot be written, or a name is none.
    pub fn server(&self, names: &[String], now_ms: i64) -> anyhow::Result<Credential> {
        let mut params = CertificateParams::new(names).context("public_names are not usable in a certificate")?;
        params.distinguished_name = common_name(names.first().map_or("tongluo", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.kept_or_new("server", params, now_ms, |certificate| has_names(certificate, names))
    }

    /// The hub's own client certificate, for an external broker.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn client(&self, now_ms: i64) -> anyhow::Result<Credential> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(HUB_CLIENT_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.kept_or_new("client", params, now_ms, |_| true)
    }

    /// Issues a gateway's certificate: CN = site, O = gateway, for TLS clients only.
    ///
    /// # Errors
    /// Signing fails.
    pub fn issue(&self, site: &SiteId, gateway: &GatewayId, key: &GatewayKey, now_ms: i64) -> anyhow::Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(site.as_str());
        params.distinguished_name.push(DnType::OrganizationName, gateway.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (serial, pem) = self.sign(params, &key.public, now_ms, GATEWAY_VALID_MS)?;
        Ok(Issued { serial, pem, expires_ms: now_ms + GATEWAY_VALID_MS })
    }

    /// Writes the revocation list anew.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_revocations(&self, revoked: &[Revoked], now_ms: i64) -> anyhow::Result<()> {
        let revoked_certs = revoked
            .iter()
            .map(|one| {
                Ok(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(
                        &serial_bytes(&one.serial).context("a serial is hexadecimal")?,
                    ),
                    revocation_time: asn1_time(one.revoked_ms)?.to_datetime(),
                    reason_code: None,
                    invalidity_date: None,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let list = CertificateRevocationListParams {
            this_update: asn1_time(now_ms - BACKDATED_MS)?.to_datetime(),
            next_update: asn1_time(now_ms + REVOCATION_LIST_VALID_MS)?.to_datetime(),
            crl_number: SerialNumber::from(u64::try_from(now_ms).unwrap_or(0)),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem =
            list.signed_by(&self.issuer).and_then(|list| list.pem()).context("cannot sign the revocation list")?;
        write_public(&self.revocation_list(), &pem)
    }

    fn kept_or_new(
        &self,
        name: &str,
        params: CertificateParams,
        now_ms: i64,
        fits: impl Fn(&X509Certificate<'_>) -> bool,
    ) -> anyhow::Result<Credential> {
        let chain_path = self.folder.join(format!("{name}.pem"));
        let key_path = self.folder.join(format!("{name}-key.pem"));
        if let (Ok(chain_pem), Ok(key_pem)) = (read(&chain_path), read(&key_path))
            && chain_pem.ends_with(&self.ca_pem)
            && is_kept(&chain_pem, &key_pem, now_ms, fits)
        {
            return Ok(Credential { chain_pem, key_pem });
        }
        let key = new_key()?;
        let (_, pem) = self.sign(params, &key, now_ms, SERVER_VALID_MS)?;
        let credential = Credential { chain_pem: format!("{pem}{}", self.ca_pem), key_pem: key.serialize_pem() };
        write_private(&key_path, &credential.key_pem)?;
        write_public(&chain_path, &credential.chain_pem)?;
        Ok(credential)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        now_ms: i64,
        valid_ms: i64,
    ) -> anyhow::Result<(String, String)> {
        let serial = new_serial();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial.clone());
        validity(&mut params, now_ms, valid_ms)?;
        let certificate = params.signed_by(key, &self.issuer).context("cannot sign a certificate")?;
        Ok((hexadecimal(&serial.to_bytes()), certificate.pem()))
    }
}

/// The bytes of a serial in hexadecimal, big-endian. `None`: not hexadecimal.
pub(super) fn serial_bytes(serial: &str) -> Option<Vec<u8>> {
    if !serial.len().is_multiple_of(2) {
        return None;
    }
    serial
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("authority")
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn new_key() -> anyhow::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// 126 random bits. The first two are 01, so that the number is positive and always 16 bytes long in DER.
fn new_serial() -> SerialNumber {
    let mut bytes: [u8; 16] = random();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn validity(params: &mut CertificateParams, now_ms: i64, valid_ms: i64) -> anyhow::Result<()> {
    params.not_before = asn1_time(now_ms - BACKDATED_MS)?.to_datetime();
    params.not_after = asn1_time(now_ms + valid_ms)?.to_datetime();
    Ok(())
}

fn asn1_time(at_ms: i64) -> anyhow::Result<ASN1Time> {
    ASN1Time::from_timestamp(at_ms / 1000).with_context(|| format!("{at_ms} ms is no date that certificates can hold"))
}

fn is_kept(chain_pem: &str, key_pem: &str, now_ms: i64, fits: impl Fn(&X509Certificate<'_>) -> bool) -> bool {
    let Ok(leaf) = CertificateDer::from_pem_slice(chain_pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&leaf) else { return false };
    let Ok(key) = KeyPair::from_pem(key_pem) else { return false };
    let same_key = certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
    let left_ms = certificate.validity().not_after.timestamp().saturating_mul(1000) - now_ms;
    same_key && left_ms > SERVER_RENEW_MS && fits(&certificate)
}

/// Whether the subject alternative names are exactly these.
fn has_names(certificate: &X509Certificate<'_>, names: &[String]) -> bool {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
    let found: Option<Vec<String>> = extension
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            },
            _ => None,
        })
        .collect();
    let wanted = names.iter().map(|name| name.parse::<IpAddr>().map_or_else(|_| name.clone(), |ip| ip.to_string()));
    found.is_some_and(|found| found.into_iter().eq(wanted))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::PKCS_ED25519;
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;
    use rustls_pki_types::{CertificateRevocationListDer, UnixTime};

    use super::super::request::read_request;
    use super::*;

    const NOW_MS: i64 = 1_795_000_000_000;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("tongluo-authority-{}", crate::ids::opaque()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn issue(authority: &Authority) -> (Issued, CertificateDer<'static>) {
        let key = new_key().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let key = read_request(&request).unwrap();
        let (site, gateway) = (SiteId::from_known("s1te"), GatewayId::from_known("gatew4y"));
        let issued = authority.issue(&site, &gateway, &key, NOW_MS).unwrap();
        let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
        (issued, der)
    }

    /// Whether a TLS server that trusts this authority and its revocation list lets a client in.
    fn lets_in(authority: &Authority, client: &CertificateDer<'_>) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()).unwrap();
        let list = CertificateRevocationListDer::from_pem_file(authority.revocation_list()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls([list]).build().unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(NOW_MS).unwrap()));
        verifier.verify_client_cert(client, &[], now).is_ok()
    }

    #[test]
    fn a_gateway_gets_the_names_the_hub_gives_and_only_a_clients_use() {
        let folder = Folder::new();
        let authority = Authority::create(&folder.0, NOW_MS).unwrap();
        let (issued, der) = issue(&authority);
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        let subject = certificate.subject();
        assert_eq!(subject.iter_common_name().next().unwrap().as_str(), Ok("s1te"));
        assert_eq!(subject.iter_organization().next().unwrap().as_str(), Ok("gatew4y"));
        let use_of_key = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(use_of_key.client_auth && !use_of_key.server_auth && !use_of_key.any);
        assert!(!certificate.is_ca());
        assert_eq!(certificate.raw_serial(), serial_bytes(&issued.serial).unwrap());
        assert_eq!(certificate.raw_serial().len(), 16);
        assert!(lets_in(&authority, &der));
    }

    #[test]
    fn a_revoked_certificate_is_on_the_list_and_is_not_let_in() {
        let folder = Folder::new();
        let authority = Authority::create(&folder.0, NOW_MS).unwrap();
        let (issued, first) = issue(&authority);
        let (_, second) = issue(&authority);
        authority.write_revocations(&[Revoked { serial: issued.serial, revoked_ms: NOW_MS }], NOW_MS).unwrap();
        assert!(!lets_in(&authority, &first));
        assert!(lets_in(&authority, &second));
    }

    #[test]
    fn another_countys_gateway_is_not_let_in() {
        let (folder, other) = (Folder::new(), Folder::new());
        let authority = Authority::create(&folder.0, NOW_MS).unwrap();
        let (_, stranger) = issue(&Authority::create(&other.0, NOW_MS).unwrap());
        assert!(!lets_in(&authority, &stranger));
    }

    #[test]
    fn keys_are_the_hubs_alone_and_are_never_overwritten() {
        let folder = Folder::new();
        let first = Authority::create(&folder.0, NOW_MS).unwrap();
        first.server(&["hub.example".to_owned()], NOW_MS).unwrap();
        for key in ["ca-key.pem", "order-key.pem", "server-key.pem"] {
            let mode = std::fs::metadata(folder.0.join("authority").join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        assert!(Authority::create(&folder.0, NOW_MS).is_err());
        let again = Authority::open(&folder.0).unwrap();
        assert_eq!(again.fingerprint(), first.fingerprint());
        assert_eq!(again.order_public_base64(), first.order_public_base64());
        assert_eq!(BASE64.decode(first.order_public_base64()).unwrap().len(), 32);
    }

    #[test]
    fn the_server_certificate_is_kept_until_names_change_or_time_runs_out() {
        let folder = Folder::new();
        let authority = Authority::create(&folder.0, NOW_MS).unwrap();
        let names = ["hub.example".to_owned(), "192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
        let first = authority.server(&names, NOW_MS).unwrap();
        assert!(first.chain_pem.ends_with(authority.ca_pem()));
        assert_eq!(authority.server(&names, NOW_MS + 300 * DAY_MS).unwrap().chain_pem, first.chain_pem);
        let later = authority.server(&names, NOW_MS + 401 * DAY_MS).unwrap();
        assert_ne!(later.chain_pem, first.chain_pem);
        let renamed = authority.server(&names[..1], NOW_MS + 401 * DAY_MS).unwrap();
        assert_ne!(renamed.chain_pem, later.chain_pem);
        // A key that does not belong to the certificate is as good as none.
        let strange = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
        std::fs::write(folder.0.join("authority/server-key.pem"), strange).unwrap();
        assert_ne!(authority.server(&names[..1], NOW_MS).unwrap().chain_pem, renamed.chain_pem);
    }

    #[test]
    fn the_hub_as_a_client_is_let_in_by_a_broker() {
        let folder = Folder::new();
        let authority = Authority::create(&folder.0, NOW_MS).unwrap();
        let client = authority.client(NOW_MS).unwrap();
        assert!(lets_in(&authority, &CertificateDer::from_pem_slice(client.chain_pem.as_bytes()).unwrap()));
    }
}
