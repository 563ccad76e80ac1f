//! Certificates for the load. All gateways share one key: it costs the same in TLS and saves the making.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use tongluo_hub::broker::Credentials;

/// The files in which the gateways' process finds what it needs.
pub(crate) const AUTHORITY: &str = "ca.pem";
pub(crate) const GATEWAYS: &str = "gateways.pem";
pub(crate) const GATEWAYS_KEY: &str = "gateways.key.pem";

/// A certificate authority in a folder.
pub(crate) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

/// What a certificate is for.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Client,
    Server,
}

/// The id of a gateway's site.
pub(crate) fn site(index: usize) -> String {
    format!("site-{index}")
}

impl Pki {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "load");
        let key = KeyPair::generate()?;
        std::fs::write(folder.join(AUTHORITY), params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), folder: folder.to_owned() })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn issue(&self, name: &str, purpose: Use) -> Result<Credentials> {
        let key = KeyPair::generate()?;
        let path = |kind: &str| self.folder.join(format!("{name}.{kind}.pem"));
        std::fs::write(path("certificate"), self.certificate(name, purpose, &key)?)?;
        std::fs::write(path("key"), key.serialize_pem())?;
        Ok(Credentials { certificate: path("certificate"), key: path("key"), authority: self.folder.join(AUTHORITY) })
    }

    pub(crate) fn issue_gateways(&self, count: usize) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificates: Result<String> =
            (0..count).map(|index| self.certificate(&site(index), Use::Client, &key)).collect();
        std::fs::write(self.folder.join(GATEWAYS), certificates?)?;
        std::fs::write(self.folder.join(GATEWAYS_KEY), key.serialize_pem())?;
        Ok(())
    }

    pub(crate) fn empty_revocations(&self) -> Result<PathBuf> {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.folder.join("revoked.pem");
        std::fs::write(&path, list.signed_by(&self.issuer)?.pem()?)?;
        Ok(path)
    }

    fn certificate(&self, name: &str, purpose: Use, key: &KeyPair) -> Result<String> {
        let (names, usage) = match purpose {
            Use::Client => (vec![], ExtendedKeyUsagePurpose::ClientAuth),
            Use::Server => (vec!["localhost".to_owned()], ExtendedKeyUsagePurpose::ServerAuth),
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}
