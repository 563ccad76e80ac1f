//! The certificates of the HTTPS port, read before anything is served: the hub's own, and the one that was given.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::Config;
use crate::fleet::Credential;
use crate::web::server;

/// The TLS side: the hub's own certificate, and the one that browsers are shown if one was given.
///
/// # Errors
/// What was given cannot be read or served; the message names its files.
pub(super) fn side(config: &Config, own: &Credential) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let own = server::certificate(&own.chain_pem, &own.key_pem)?;
    let (Some(certificate), Some(key)) = (&config.http.certificate, &config.http.key) else {
        return Ok(server::tls(own, None));
    };
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let given = server::certificate(&read(certificate)?, &read(key)?).with_context(|| {
        format!("http.certificate = {}, http.key = {} cannot be served", certificate.display(), key.display())
    })?;
    Ok(server::tls(own, Some(given)))
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::enrolment::ENROLMENT_PROTOCOL;

    use super::*;
    use crate::clock;
    use crate::fleet::Authority;

    /// A certificate that was given, and cannot be served, keeps the hub from starting and is named.
    #[test]
    fn a_given_certificate_of_a_bad_form_is_refused_by_name() {
        // The program does so first of all; another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = std::env::temp_dir().join(format!("tongluo-https-{}", crate::ids::opaque()));
        std::fs::create_dir(&folder).unwrap();
        let authority = Authority::create(&folder, clock::utc_ms()).unwrap();
        let own = authority.server(&["localhost".to_owned()], clock::utc_ms()).unwrap();
        let strange = authority.client(clock::utc_ms()).unwrap();
        let mut config = Config::default();
        let (certificate, key) = (folder.join("given.pem"), folder.join("given-key.pem"));
        config.http.certificate = Some(certificate.clone());
        config.http.key = Some(key.clone());
        let refused = |config: &Config| format!("{:#}", side(config, &own).map(drop).unwrap_err());
        assert!(refused(&config).contains("given.pem"), "a file that is not there");
        for (chain, secret, why) in [
            ("", own.key_pem.as_str(), "no certificate"),
            ("let it be served", own.key_pem.as_str(), "no certificate"),
            (own.chain_pem.as_str(), "", "key is not PEM"),
            (own.chain_pem.as_str(), own.chain_pem.as_str(), "key is not PEM"),
            (own.chain_pem.as_str(), strange.key_pem.as_str(), "do not belong together"),
        ] {
            std::fs::write(&certificate, chain).unwrap();
            std::fs::write(&key, secret).unwrap();
            let refusal = refused(&config);
            assert!(refusal.contains("http.certificate") && refusal.contains(why), "{why}: {refusal}");
        }
        std::fs::write(&key, &own.key_pem).unwrap();
        assert!(side(&config, &own).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// Whether a client that trusts this authority alone, and offers these protocols, comes to speak with the server.
    fn connects(server: &Arc<rustls::ServerConfig>, authority: &Authority, protocols: &[&[u8]]) -> bool {
        use rustls_pki_types::pem::PemObject as _;

        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::clone(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut there).unwrap();
            server.read_tls(&mut there.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            server.write_tls(&mut back).unwrap();
            client.read_tls(&mut back.as_slice()).unwrap();
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        assert_eq!(client.alpn_protocol().map(<[u8]>::to_vec), protocols.last().map(|last| last.to_vec()));
        true
    }

    /// A public certificate serves the browsers, and a gateway can enrol all the same: its claim pins the county's own authority.
    #[test]
    fn a_given_certificate_is_for_browsers_and_the_hubs_own_for_gateways_that_enrol() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let [own, given] = ["own", "given"].map(|name| {
            let folder = std::env::temp_dir().join(format!("tongluo-{name}-{}", crate::ids::opaque()));
            std::fs::create_dir(&folder).unwrap();
            let authority = Authority::create(&folder, clock::utc_ms()).unwrap();
            let server = authority.server(&["localhost".to_owned()], clock::utc_ms()).unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            (authority, server::certificate(&server.chain_pem, &server.key_pem).unwrap())
        });
        let both = server::tls(own.1.clone(), Some(given.1));
        let enrolling: &[&[u8]] = &[ENROLMENT_PROTOCOL, b"http/1.1"];
        assert!(
            connects(&both, &given.0, &[b"h2"])
                && connects(&both, &given.0, &[b"http/1.1"])
                && connects(&both, &given.0, &[])
        );
        assert!(!connects(&both, &own.0, &[b"h2"]));
        assert!(connects(&both, &own.0, enrolling) && !connects(&both, &given.0, enrolling));
        let alone = server::tls(own.1, None);
        assert!(connects(&alone, &own.0, &[b"h2"]) && connects(&alone, &own.0, enrolling));
    }
}
