//! Evidence from the press to the hub, with cameras and a hub made of nothing, and with kills in between.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tongluo_protocols::configuration::{ANY_DEVICE, Configuration, DeviceCameras};
use tongluo_protocols::event::{Event, Evidence, EvidenceKind, EvidenceState, Family, Press, Trigger};
use tongluo_protocols::id::Lane;
use tongluo_protocols::media::mp4::{Sample, fragment};

use super::{Closing, Eyes, start};
use crate::camera::{Piece, Snapshot};
use crate::clock::Clock;
use crate::config::JournalConfig;
use crate::event_body;
use crate::fleet::Identity;
use crate::journal::{Draft, Journal};
use crate::testing::TempDir;

/// Far longer than anything here takes.
const PATIENCE_MS: u64 = 20_000;

/// A picture is older than the snapshot that is made of it: here so much, that it cannot be mistaken.
const CAPTURED_BEFORE_MS: i64 = 700;

/// Cameras: `gate` recorded everything, `field` nothing.
#[derive(Clone)]
struct Made {
    clock: Clock,
}

impl Eyes for Made {
    async fn snapshot(&self, camera: &str) -> Result<Snapshot, String> {
        if camera == "field" {
            return Err("unreachable: no answer".to_owned());
        }
        let captured_ms = self.clock.utc_ms() - CAPTURED_BEFORE_MS;
        Ok(Snapshot { jpeg: format!("jpeg of {camera} at {captured_ms}").into_bytes(), captured_ms })
    }

    async fn read(&self, camera: &str, from_ms: i64, to_ms: i64) -> Result<mpsc::Receiver<Piece>, String> {
        let (sender, pieces) = mpsc::channel(2);
        if camera == "field" {
            return Ok(pieces);
        }
        let clock = self.clock;
        tokio::spawn(async move {
            let data = b"init of gate".to_vec();
            let _ = sender.send(Piece::Init { rfc6381: "avc1".to_owned(), data }).await;
            let mut wall_ms = from_ms.div_euclid(1_000) * 1_000;
            while wall_ms < to_ms {
                if wall_ms > clock.utc_ms() {
                    clock.until(Some(clock.mono_ms() + 50)).await;
                    continue;
                }
                let samples =
                    [Sample { data: &[0, 0, 0, 1, 0x65], duration_90k: 90_000, composition_90k: 0, key: true }];
                let data = fragment(1, 0, &samples).unwrap();
                if sender.send(Piece::Fragment { wall_ms, duration_ms: 1_000, data }).await.is_err() {
                    return;
                }
                wall_ms += 1_000;
            }
        });
        Ok(pieces)
    }

    fn protect(&self, _: &str, _: i64, _: i64, _: i64) {}
}

/// A gateway's data folder, and what runs on it.
struct Village {
    dir: TempDir,
    clock: Clock,
}

impl Village {
    fn new(name: &str) -> Self {
        Self { dir: TempDir::new(name), clock: Clock::start() }
    }

    fn open(&self, cameras: &[&str]) -> (Journal, Closing, crate::journal::Closing) {
        let journal = Journal::open(self.dir.path(), &JournalConfig::default(), self.clock).unwrap();
        let watch = vec![DeviceCameras {
            device: ANY_DEVICE.to_owned(),
            cameras: cameras.iter().map(|&camera| camera.to_owned()).collect(),
        }];
        let (_, configurations) = watch::channel(Arc::new(Configuration { watch, ..Configuration::default() }));
        let eyes = Made { clock: self.clock };
        let closing = start(self.dir.path(), journal.journal.clone(), eyes, configurations, self.clock).unwrap();
        (journal.journal, closing, journal.closing)
    }

    async fn press(&self, journal: &Journal, ago_ms: i64) -> String {
        let event = Event::Press(Press {
            device: "zigbee:0x00158d0001a2b3c4".parse().unwrap(),
            family: Family::Zigbee2mqtt,
            trigger: Trigger::Sos,
            source_key: None,
            heard_ms: self.clock.utc_ms() - ago_ms,
            replayed: false,
            name: None,
            battery_percent: None,
        });
        let (kind, body) = (event.kind(), event_body(&event));
        let draft = Draft { lane: Lane::Urgent, kind, body, source: None, facts: Vec::new() };
        journal.append(draft).await.unwrap().press_id().unwrap().to_string()
    }

    /// What the journal was told, once it is so many.
    async fn told(&self, journal: &Journal, count: usize) -> Vec<Vec<u8>> {
        let deadline_ms = self.clock.mono_ms() + PATIENCE_MS;
        loop {
            let mut found = Vec::new();
            for stream in journal.shelf().streams().iter().filter(|stream| stream.key.lane == Lane::Routine) {
                let mut next = stream.oldest;
                while next <= stream.head {
                    let entries = journal.read(stream.key, next).await;
                    let Some(last) = entries.last() else { break };
                    next = last.sequence + 1;
                    found.extend(entries.iter().filter(|e| e.kind == Evidence::KIND).map(|e| e.body.clone()));
                }
            }
            assert!(found.len() <= count, "nothing is told twice: {}", found.len());
            if found.len() == count {
                return found;
            }
            assert!(self.clock.mono_ms() < deadline_ms, "{} of {count} were told", found.len());
            self.clock.until(Some(self.clock.mono_ms() + 20)).await;
        }
    }
}

#[tokio::test]
async fn a_press_becomes_a_picture_and_a_clip_and_what_is_missing_says_why() {
    let village = Village::new("evidence-press");
    let (journal, closing, journal_closing) = village.open(&["gate", "field"]);
    // The button was heard a moment over a minute ago, so the clip's end is past.
    let (press, heard_ms) = (village.press(&journal, 59_000).await, village.clock.utc_ms() - 59_000);
    let told = village.told(&journal, 4).await;
    let told: Vec<Evidence<'_>> = told.iter().map(|body| Evidence::parse(body).unwrap()).collect();
    for one in &told {
        assert_eq!(one.press.to_string(), press);
        match (one.camera, one.state) {
            ("gate", EvidenceState::Saved) => {
                let hash = one.sha256.map(tongluo_protocols::content::ContentHash::new).unwrap();
                let file = std::fs::read(village.dir.path().join("evidence").join(hash.to_string())).unwrap();
                assert_eq!(<[u8; 32]>::from(Sha256::digest(&file)), one.sha256.unwrap());
                assert_eq!((file.len() as u64, one.reason), (one.bytes.unwrap(), None));
                if one.kind == EvidenceKind::Clip {
                    assert!(one.from_ms <= heard_ms - 30_000 && one.to_ms >= heard_ms + 59_000, "{one:?}");
                    assert!(file.starts_with(b"init of gate"));
                } else {
                    assert_eq!(one.from_ms, one.to_ms);
                    let shows = format!("jpeg of gate at {}", one.from_ms);
                    assert_eq!(file, shows.as_bytes(), "it is of the moment that it shows");
                }
            }
            ("field", EvidenceState::Missing) => assert!(one.reason.is_some_and(|reason| !reason.is_empty())),
            other => panic!("{other:?}"),
        }
    }
    drop(journal);
    closing.wait();
    journal_closing.wait();
}

#[tokio::test]
async fn a_gateway_that_dies_while_it_makes_a_clip_makes_it_at_its_next_start_and_tells_once() {
    let village = Village::new("evidence-kill");
    let (journal, closing, journal_closing) = village.open(&["gate"]);
    let first = village.press(&journal, 58_000).await;
    village.told(&journal, 1).await;
    // Its clip goes on for two seconds. A second press shares it; the end comes before the thread may have seen that.
    let second = village.press(&journal, 57_500).await;
    drop(journal);
    closing.wait();
    journal_closing.wait();
    std::fs::write(village.dir.path().join("evidence").join("ab".repeat(32)), "a file without a row").unwrap();

    let (journal, closing, journal_closing) = village.open(&["gate"]);
    let told = village.told(&journal, 4).await;
    let told: Vec<Evidence<'_>> = told.iter().map(|body| Evidence::parse(body).unwrap()).collect();
    let clips: Vec<_> = told.iter().filter(|one| one.kind == EvidenceKind::Clip).collect();
    assert_eq!(clips.len(), 2);
    assert_eq!(clips[0].sha256, clips[1].sha256, "both presses share one clip");
    for press in [&first, &second] {
        assert!(clips.iter().any(|clip| clip.press.to_string() == **press));
    }
    assert!(!village.dir.path().join("evidence").join("ab".repeat(32)).exists(), "a file without a row goes");
    drop(journal);
    closing.wait();
    journal_closing.wait();
    let (journal, closing, journal_closing) = village.open(&["gate"]);
    village.told(&journal, 4).await;
    drop(journal);
    closing.wait();
    journal_closing.wait();
}

/// What a hub holds, by hash; and how many bytes it takes of the next body before it hangs up.
type Held = Arc<Mutex<(HashMap<String, Vec<u8>>, Option<usize>)>>;

#[tokio::test]
async fn files_reach_a_hub_that_hangs_up_in_the_middle_and_comes_later() {
    let village = Village::new("evidence-upload");
    let (journal, closing, journal_closing) = village.open(&["gate"]);
    village.press(&journal, 59_500).await;
    village.told(&journal, 2).await;
    let held: Held = Arc::new(Mutex::new((HashMap::new(), Some(10))));
    hub(&village, held.clone()).await;
    let deadline_ms = village.clock.mono_ms() + PATIENCE_MS;
    loop {
        let whole = held.lock().unwrap().0.iter().filter(|(hash, bytes)| hex(bytes) == **hash).count();
        if whole == 2 {
            break;
        }
        assert!(village.clock.mono_ms() < deadline_ms, "{whole} of 2 files are whole");
        village.clock.until(Some(village.clock.mono_ms() + 20)).await;
    }
    assert_eq!(held.lock().unwrap().1, None, "it did hang up once");
    drop(journal);
    closing.wait();
    journal_closing.wait();
}

fn hex(bytes: &[u8]) -> String {
    tongluo_protocols::content::ContentHash::new(Sha256::digest(bytes).into()).to_string()
}

/// Enrols the village with a hub that knows the two requests that an upload makes.
async fn hub(village: &Village, held: Held) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identity = Identity {
        site_id: "site".to_owned(),
        gateway_id: "gateway".to_owned(),
        certificate: leaf.pem(),
        ca_certificate: ca.pem(),
        mqtt_host: "127.0.0.1".to_owned(),
        mqtt_port: 1,
        media_port: listener.local_addr().unwrap().port(),
        order_key: String::new(),
        hub_url: "https://127.0.0.1:1".to_owned(),
        server_time_ms: 0,
        claim_sha256: String::new(),
        private_key: key.serialize_pem(),
    };
    let chain = vec![CertificateDer::from_pem_slice(leaf.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let text = serde_json::to_string(&identity).unwrap();
    std::fs::File::create(village.dir.path().join("identity.json")).unwrap().write_all(text.as_bytes()).unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(tls) = acceptor.accept(tcp).await {
                serve(BufReader::new(tls), &held).await;
            }
        }
    });
}

async fn serve(mut stream: BufReader<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>, held: &Held) {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(tokio::time::timeout(Duration::from_secs(5), stream.read_line(&mut head)).await, Ok(Ok(1..))) {
                return;
            }
        }
        let hash = head.split('/').nth(2).unwrap()[..64].to_owned();
        let number = |name: &str| -> usize {
            let line = head.lines().find(|line| line.to_lowercase().starts_with(name)).unwrap();
            line.split(": ").nth(1).unwrap().parse().unwrap()
        };
        let mut status = "200 OK";
        if head.starts_with("PUT") {
            let (offset, length) = (number("upload-offset"), number("content-length"));
            let hang_up_at = held.lock().unwrap().1.take();
            let mut body = vec![0; hang_up_at.unwrap_or(length).min(length)];
            stream.read_exact(&mut body).await.unwrap();
            let mut held = held.lock().unwrap();
            let file = held.0.entry(hash.clone()).or_default();
            assert_eq!(file.len(), offset, "it goes on where it broke off");
            file.extend_from_slice(&body);
            if hang_up_at.is_some() {
                return;
            }
            status = "201 Created";
        }
        let offset = held.lock().unwrap().0.get(&hash).map_or(0, Vec::len);
        let answer = format!("HTTP/1.1 {status}\r\nupload-offset: {offset}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}
