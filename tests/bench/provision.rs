//! A county's worth of sites, each with its own certificate, put into a hub's ledger before it is started.
//!
//! A technician would need days for so many, and the hub several minutes, because each enrolment is several transactions that are
//! synced. What is measured with them begins at the connection, for which it does not matter how the rows came to be there.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SerialNumber};
use rusqlite::{Connection, params};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tongluo_tests::clock;

use crate::gateways::{Enrolled, VILLAGE};

/// Long enough for any run.
const VALID_MS: i64 = 24 * 3600 * 1000;

/// Makes so many sites in the data folder of a hub that does not run. All gateways share one key: it costs the same in TLS and
/// saves the making.
///
/// # Errors
/// The folder is not that of a hub as this program knows it.
pub(crate) fn provision(data_dir: &Path, count: usize) -> Result<Vec<Enrolled>> {
    let authority_pem = read(data_dir, "authority/ca.pem")?;
    let authority_key = KeyPair::from_pem(&read(data_dir, "authority/ca-key.pem")?)?;
    let issuer = Issuer::from_ca_cert_pem(&authority_pem, authority_key)?;
    let key = KeyPair::generate()?;
    let tls_key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority_pem.as_bytes())?)?;
    let roots = Arc::new(roots);
    let provider = Arc::new(ring::default_provider());

    let mut ledger = Connection::open(data_dir.join("hub.db"))?;
    let rows = ledger.transaction()?;
    let now_ms = clock::utc_ms();
    let mut enrolled = Vec::with_capacity(count);
    for number in 0..count {
        let site_id = format!("county-{number}");
        // Sixteen bytes, as the hub's own; the first is not zero, so that it reads the same as a number.
        let serial = (0x40_u128 << 120) + number as u128;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, site_id.as_str());
        params.distinguished_name.push(DnType::OrganizationName, format!("gateway-{number}"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&serial.to_be_bytes()));
        let certificate = params.signed_by(&key, &issuer)?;
        rows.prepare_cached("insert into site (id, name, region_code, created_ms) values (?1, ?1, ?2, ?3)")?
            .execute(params![site_id, VILLAGE, now_ms])?;
        rows.prepare_cached(
            "insert into certificate (serial, site_id, gateway_id, pem, issued_ms, expires_ms) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            format!("{serial:032x}"),
            site_id,
            format!("gateway-{number}"),
            certificate.pem(),
            now_ms,
            now_ms + VALID_MS
        ])?;
        let mut tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(vec![certificate.der().clone()], tls_key.clone_key())?;
        // After a blackout nobody remembers a session.
        tls.resumption = rustls::client::Resumption::disabled();
        enrolled.push(Enrolled { site_id, tls: Arc::new(tls) });
    }
    rows.commit()?;
    Ok(enrolled)
}

fn read(data_dir: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(data_dir.join(name)).with_context(|| format!("the hub's folder holds no {name}"))
}
