//! What this gateway is to do: the configuration that the hub last ordered, fetched, checked, and kept on disk.
//!
//! The order names the document by its SHA-256. The document comes over the gateways' HTTPS port with mutual TLS, and counts
//! only if it has that hash; so it is as trustworthy as the signature on the order. It is kept as `configuration.cbor`, readable
//! by the gateway's user only, because it carries passwords. The newest order wins: the gate lets none pass twice. An order is
//! finished when its document is on disk; until then it is found again at each start.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsConnector;
use tongluo_protocols::configuration::{CONFIGURATION_BYTES_MAX, Configuration};
use tongluo_protocols::id::{ContentId, Sequence, StreamKey};

use super::{Identity, identity, tls};
use crate::clock::Clock;
use crate::journal::{Fact, Journal, OrderState};

const FILE: &str = "configuration.cbor";
/// How long one try may take on a slow mobile line.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after the first try that failed; it doubles.
const PAUSE_MS_MIN: u64 = 2_000;
/// The longest pause: a hub that is back is found within this.
const PAUSE_MS_MAX: u64 = 120_000;

/// The present configuration, for all who follow it.
pub(crate) type Present = watch::Sender<Arc<Configuration>>;

/// A configuration that was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) revision: u64,
    pub(crate) content: ContentId,
    pub(crate) bytes: u64,
    /// Where its order stands in the hub's journal.
    pub(crate) place: (StreamKey, Sequence),
}

/// Where a configuration is asked for.
#[derive(Clone)]
pub(crate) struct Following {
    journal: Journal,
    wanted: Rc<RefCell<Option<Wanted>>>,
    changed: Rc<Notify>,
    present: watch::Receiver<Arc<Configuration>>,
}

impl Following {
    /// Nobody fetches what is wanted here.
    #[cfg(test)]
    pub(crate) fn of(configuration: Configuration, journal: Journal) -> Self {
        let present = watch::channel(Arc::new(configuration)).1;
        Self { journal, wanted: Rc::default(), changed: Rc::default(), present }
    }

    /// Has a configuration followed from now on. One that was wanted before is overtaken, and so finished.
    pub(crate) fn want(&self, wanted: Wanted) {
        if let Some(overtaken) = self.wanted.borrow_mut().replace(wanted) {
            finish(&self.journal, overtaken);
        }
        self.changed.notify_one();
    }

    /// What is followed now.
    pub(crate) fn present(&self) -> Arc<Configuration> {
        self.present.borrow().clone()
    }

    /// The region of this site as far as it was told; empty before.
    pub(crate) fn region_code(&self) -> String {
        self.present.borrow().region_code.clone()
    }
}

/// Fetches what is wanted.
pub(crate) struct Desired {
    clock: Clock,
    path: PathBuf,
    site_id: String,
    authority: String,
    tls: TlsConnector,
    following: Following,
    present: Present,
}

/// The configuration on disk; none, revision 0, if there is none that can be read. Then it is fetched again.
pub(crate) fn load(data_dir: &Path) -> Present {
    let path = data_dir.join(FILE);
    let configuration = match std::fs::read(&path) {
        Ok(bytes) => Configuration::parse(&bytes).unwrap_or_else(|error| {
            tracing::error!(configuration.error = %error, "the configuration on disk is damaged; it is fetched again");
            Configuration::default()
        }),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::error!(configuration.error = %error, "the configuration on disk cannot be read");
            }
            Configuration::default()
        }
    };
    watch::Sender::new(Arc::new(configuration))
}

impl Desired {
    /// Follows what is wanted at the returned [`Following`], into `present`.
    pub(crate) fn new(
        identity: &Identity,
        data_dir: &Path,
        present: Present,
        journal: Journal,
        clock: Clock,
    ) -> anyhow::Result<(Self, Following)> {
        let url: Uri = identity.hub_url.parse().context("hub_url in identity.json is no address")?;
        let host = url.host().context("hub_url in identity.json names no host")?;
        let following =
            Following { journal, wanted: Rc::default(), changed: Rc::default(), present: present.subscribe() };
        let desired = Self {
            clock,
            path: data_dir.join(FILE),
            site_id: identity.site_id.clone(),
            authority: format!("{host}:{}", identity.media_port),
            tls: TlsConnector::from(Arc::new(tls::mutual(identity, clock)?)),
            following: following.clone(),
            present,
        };
        Ok((desired, following))
    }

    /// Fetches for as long as the program runs.
    pub(crate) async fn run(self) {
        let mut pause_ms = PAUSE_MS_MIN;
        loop {
            let wanted = *self.following.wanted.borrow();
            let Some(wanted) = wanted else {
                self.following.changed.notified().await;
                continue;
            };
            match self.follow(&wanted).await {
                Ok(()) => {
                    pause_ms = PAUSE_MS_MIN;
                    self.following.wanted.borrow_mut().take_if(|now| *now == wanted);
                    finish(&self.following.journal, wanted);
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(
                        configuration.revision = wanted.revision,
                        error,
                        "the configuration cannot be fetched"
                    );
                    let again_at_ms = self.clock.mono_ms() + pause_ms;
                    pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
                    tokio::select! {
                        () = self.clock.until(Some(again_at_ms)) => {}
                        () = self.following.changed.notified() => pause_ms = PAUSE_MS_MIN,
                    }
                }
            }
        }
    }

    /// Gets the document, from the disk if it is there already, and puts it in the place of the present one.
    async fn follow(&self, wanted: &Wanted) -> anyhow::Result<()> {
        if let Ok(bytes) = std::fs::read(&self.path)
            && sha256(&bytes) == wanted.content
        {
            return Ok(());
        }
        let bytes = tokio::time::timeout(FETCH_TIMEOUT, self.fetch(wanted))
            .await
            .with_context(|| format!("no answer within {} s", FETCH_TIMEOUT.as_secs()))??;
        let configuration = checked(&bytes, wanted, &self.site_id)?;
        identity::write_whole(&self.path, &bytes)?;
        tracing::info!(
            configuration.revision = configuration.revision,
            configuration.cameras = configuration.cameras.len(),
            "a new configuration is followed"
        );
        self.present.send_replace(Arc::new(configuration));
        Ok(())
    }

    async fn fetch(&self, wanted: &Wanted) -> anyhow::Result<Bytes> {
        let authority: hyper::http::uri::Authority = self.authority.parse().context("the hub's address")?;
        let host = authority.host().trim_matches(['[', ']']);
        let port = authority.port_u16().context("the hub's port")?;
        let tcp = TcpStream::connect((host, port)).await.with_context(|| format!("{authority} cannot be reached"))?;
        let stream = self.tls.connect(ServerName::try_from(host.to_owned())?, tcp).await.context("TLS with the hub")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let request = Request::get(format!("/configuration/{}", wanted.content))
                .header(HOST, authority.as_str())
                .body(Empty::<Bytes>::new())?;
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                bail!("the hub answered {}", response.status());
            }
            let body = Limited::new(response.into_body(), CONFIGURATION_BYTES_MAX).collect().await;
            Ok(body.map_err(|error| anyhow::anyhow!("the hub's answer broke off: {error}"))?.to_bytes())
        };
        // The connection is driven only while the exchange goes on.
        tokio::select! {
            bytes = exchange => bytes,
            ended = connection => bail!("the connection ended: {ended:?}"),
        }
    }
}

/// The document in `bytes`, if it is the one that was ordered.
fn checked(bytes: &[u8], wanted: &Wanted, site_id: &str) -> anyhow::Result<Configuration> {
    ensure!(bytes.len() as u64 == wanted.bytes, "it has {} bytes, the order says {}", bytes.len(), wanted.bytes);
    ensure!(sha256(bytes) == wanted.content, "it is not the document that was ordered: its hash differs");
    let configuration = Configuration::parse(bytes)?;
    ensure!(configuration.site_id == site_id, "it is for the site {:?}", configuration.site_id);
    ensure!(configuration.revision == wanted.revision, "its revision is {}", configuration.revision);
    Ok(configuration)
}

fn sha256(bytes: &[u8]) -> ContentId {
    ContentId(Sha256::digest(bytes).into())
}

/// Nothing is left to do for an order. Forgotten in a crash, it is looked at once more.
fn finish(journal: &Journal, wanted: Wanted) {
    let (key, sequence) = wanted.place;
    journal.remember_lazily(Fact::Order(key, sequence, OrderState::Done));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tongluo_protocols::id::{Epoch, Lane};

    use super::*;
    use crate::testing::TempDir;

    fn document() -> (Vec<u8>, Wanted) {
        let configuration = Configuration { revision: 3, site_id: "s1te".to_owned(), ..Configuration::default() };
        let bytes = configuration.emit().unwrap();
        let key = StreamKey { lane: Lane::Routine, epoch: Epoch::from_random(1) };
        let wanted = Wanted { revision: 3, content: sha256(&bytes), bytes: bytes.len() as u64, place: (key, 1) };
        (bytes, wanted)
    }

    #[test]
    fn only_the_document_that_was_ordered_is_taken() {
        let (bytes, wanted) = document();
        assert_eq!(checked(&bytes, &wanted, "s1te").unwrap().revision, 3);
        assert!(checked(&bytes, &wanted, "other").is_err());
        assert!(checked(&bytes, &Wanted { revision: 4, ..wanted }, "s1te").is_err());
        assert!(checked(&bytes, &Wanted { bytes: 1, ..wanted }, "s1te").is_err());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(checked(&changed, &wanted, "s1te").is_err(), "byte {at} was changed");
        }
    }

    #[test]
    fn what_is_on_disk_is_followed_at_start_and_a_damaged_one_is_none() {
        let dir = TempDir::new("desired");
        assert_eq!(load(dir.path()).borrow().revision, 0);
        let path = dir.path().join(FILE);
        identity::write_whole(&path, &document().0).unwrap();
        assert_eq!(load(dir.path()).borrow().revision, 3);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"not a document").unwrap();
        assert_eq!(load(dir.path()).borrow().revision, 0);
    }
}
