//! A county's certificate authority, made for one test.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tongluo_hub::broker::Credentials;

/// A certificate authority and the folder in which its files lie.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    folder: PathBuf,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) serial: Vec<u8>,
}

/// What a certificate may be used for.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Gateway,
    Server,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), &certificate).unwrap();
        let authority = Self { issuer: Issuer::new(params, key), certificate, folder };
        authority.revoke(&[]);
        authority
    }

    pub(crate) fn issue(&self, name: &str, purpose: Use) -> Identity {
        let mut params = CertificateParams::new(match purpose {
            Use::Gateway => vec![],
            Use::Server => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        })
        .unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "gateway-of-the-test");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Use::Gateway => ExtendedKeyUsagePurpose::ClientAuth,
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).unwrap();
        serial[0] = serial[0] & 0x7f | 0x01;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { name: name.to_owned(), certificate, key: key.serialize_pem(), serial: serial.to_vec() }
    }

    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Writes an identity into the folder.
    pub(crate) fn files(&self, identity: &Identity) -> Credentials {
        let path = |kind: &str| self.folder.join(format!("{}.{kind}.pem", identity.name));
        std::fs::write(path("certificate"), &identity.certificate).unwrap();
        std::fs::write(path("key"), &identity.key).unwrap();
        Credentials { certificate: path("certificate"), key: path("key"), authority: self.folder.join("ca.pem") }
    }

    pub(crate) fn revocations(&self) -> PathBuf {
        self.folder.join("revoked.pem")
    }

    /// Writes the revocation list anew.
    pub(crate) fn revoke(&self, serials: &[Vec<u8>]) {
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(u64::try_from(serials.len()).unwrap() + 1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        std::fs::write(self.revocations(), list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
    }
}
