//! Who gets through the door: real sockets, real handshakes, real certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{GatewaySite, Gateways, tls};
use crate::clock;
use crate::fleet::{Authority, Roster, read_request};
use crate::ids::{self, GatewayId, SiteId};
use crate::store::Store;
use crate::store::testing::{add_site, each_store};

/// Far more than a loopback answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A hub's door, and the sites behind it.
struct Door {
    store: Store,
    authority: Arc<Authority>,
    roster: Roster,
    gateways: Gateways,
    folder: PathBuf,
}

/// A gateway's key and certificate.
struct Papers {
    chain_pem: String,
    key_pem: String,
}

impl Door {
    async fn open(store: &Store) -> Self {
        let folder = std::env::temp_dir().join(format!("tongluo-door-{}", ids::opaque()));
        let now_ms = clock::utc_ms();
        let authority = Arc::new(Authority::create(&folder, now_ms).unwrap());
        let roster = Roster::load(store).await.unwrap();
        let server = authority.server(&["localhost".to_owned()], now_ms).unwrap();
        let tls = tls(&server, authority.ca_pem()).unwrap();
        let routes = Router::new()
            .route("/who", get(|GatewaySite(site): GatewaySite| async move { site.as_str().to_owned() }))
            .route("/for-ever", get(for_ever));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let gateways = Gateways::start(routes, listen, tls, &roster).unwrap();
        Self { store: store.clone(), authority, roster, gateways, folder }
    }

    /// A certificate as enrolment gives it, and the site lives under it.
    async fn enrol(&self, site: &SiteId) -> Papers {
        let (papers, serial) = self.papers(site);
        let mut transaction = self.store.begin().await.unwrap();
        for sql in [
            "update certificate set revoked_ms = 1 where site_id = $1 and revoked_ms is null and serial <> $2",
            "insert into certificate (site_id, serial, gateway_id, pem, issued_ms, expires_ms) \
             values ($1, $2, 'box', '', 0, 9000000000000)",
        ] {
            sqlx::query(sql).bind(site.as_str()).bind(&serial).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        self.roster.changed(&self.store, &self.authority, site, clock::utc_ms()).await;
        papers
    }

    fn papers(&self, site: &SiteId) -> (Papers, String) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let key_read = read_request(&request).unwrap();
        let gateway = GatewayId::from_known("box");
        let issued = self.authority.issue(site, &gateway, &key_read, clock::utc_ms()).unwrap();
        (Papers { chain_pem: issued.pem, key_pem: key.serialize_pem() }, issued.serial)
    }

    async fn revoke(&self, site: &SiteId) {
        let mut transaction = self.store.begin().await.unwrap();
        sqlx::query("update certificate set revoked_ms = 1 where site_id = $1")
            .bind(site.as_str())
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        self.roster.changed(&self.store, &self.authority, site, clock::utc_ms()).await;
    }

    /// Connects and sends a request. An error is a connection that the hub ended.
    async fn ask(&self, papers: Option<&Papers>, path: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let ca = CertificateDer::from_pem_slice(self.authority.ca_pem().as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match papers {
            None => builder.with_no_client_auth(),
            Some(papers) => {
                let chain = vec![CertificateDer::from_pem_slice(papers.chain_pem.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(papers.key_pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.gateways.address()).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        Ok(stream)
    }

    /// The whole answer as text.
    async fn answer(&self, papers: Option<&Papers>, path: &str) -> std::io::Result<String> {
        let answer = async {
            let mut stream = self.ask(papers, path).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok(text)
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer or an end in time")
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Says one thing, and then nothing, without ending.
async fn for_ever() -> Body {
    let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from_static(b"begun"))]);
    Body::from_stream(futures_util::StreamExt::chain(first, stream::pending()))
}

#[tokio::test]
async fn a_gateway_is_who_its_certificate_says() {
    each_store(async |store| {
        let door = Door::open(&store).await;
        let site = add_site(&store, "s1te").await;
        let papers = door.enrol(&site).await;
        let answer = door.answer(Some(&papers), "/who").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("s1te"), "{answer}");
        let answer = door.answer(Some(&papers), "/nothing").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("application/problem+json"), "{answer}");
        door.gateways.handle.graceful_shutdown(None);
    })
    .await;
}

#[tokio::test]
async fn without_a_certificate_of_the_county_nobody_gets_through_the_handshake() {
    each_store(async |store| {
        let door = Door::open(&store).await;
        assert!(door.answer(None, "/who").await.is_err(), "without any certificate");
        let stranger = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "s1te");
        let chain_pem = params.self_signed(&stranger).unwrap().pem();
        let papers = Papers { chain_pem, key_pem: stranger.serialize_pem() };
        assert!(door.answer(Some(&papers), "/who").await.is_err(), "with somebody else's certificate");
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_not_the_live_one_is_refused() {
    each_store(async |store| {
        let door = Door::open(&store).await;
        let site = add_site(&store, "s1te").await;
        let (never_enrolled, _) = door.papers(&site);
        let former = door.enrol(&site).await;
        let live = door.enrol(&site).await;
        for papers in [&never_enrolled, &former] {
            let answer = door.answer(Some(papers), "/who").await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("gateway.not_admitted"), "{answer}");
        }
        assert!(door.answer(Some(&live), "/who").await.unwrap().starts_with("HTTP/1.1 200"));
        let hub = door.authority.client(clock::utc_ms()).unwrap();
        let hub = Papers { chain_pem: hub.chain_pem, key_pem: hub.key_pem };
        let answer = door.answer(Some(&hub), "/who").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "the hub's own client certificate is no gateway's: {answer}");
    })
    .await;
}

#[tokio::test]
async fn an_open_connection_ends_when_its_gateway_is_put_out_and_no_other_does() {
    each_store(async |store| {
        let door = Door::open(&store).await;
        let (site, neighbour) = (add_site(&store, "s1te").await, add_site(&store, "s2te").await);
        let papers = door.enrol(&site).await;
        let neighbours = door.enrol(&neighbour).await;
        let mut open = door.ask(Some(&papers), "/for-ever").await.unwrap();
        let mut others = door.ask(Some(&neighbours), "/for-ever").await.unwrap();
        for stream in [&mut open, &mut others] {
            let mut seen = String::new();
            while !seen.contains("begun") {
                let mut buffer = [0; 1024];
                let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
                seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
        }
        door.revoke(&site).await;
        let end = tokio::time::timeout(PATIENCE, open.read(&mut [0; 1024])).await.expect("it ends at once");
        assert!(end.is_err() || end.is_ok_and(|length| length == 0), "nothing more is said");
        let still = tokio::time::timeout(Duration::from_millis(100), others.read(&mut [0; 1024])).await;
        assert!(still.is_err(), "the neighbour's goes on");
    })
    .await;
}

#[tokio::test]
async fn a_site_has_so_many_connections_and_gets_back_those_that_end() {
    each_store(async |store| {
        let door = Door::open(&store).await;
        let site = add_site(&store, "s1te").await;
        let papers = door.enrol(&site).await;
        let mut open = Vec::new();
        for _ in 0..super::stream::CONNECTIONS_PER_SITE_MAX {
            let mut stream = door.ask(Some(&papers), "/for-ever").await.unwrap();
            stream.read_u8().await.unwrap();
            open.push(stream);
        }
        assert!(door.answer(Some(&papers), "/who").await.map_or(true, |text| text.is_empty()), "one too many");
        drop(open);
        let deadline = clock::instant() + PATIENCE;
        while !door.answer(Some(&papers), "/who").await.is_ok_and(|text| text.starts_with("HTTP/1.1 200")) {
            assert!(clock::instant() < deadline, "places are given back");
            tokio::task::yield_now().await;
        }
    })
    .await;
}
