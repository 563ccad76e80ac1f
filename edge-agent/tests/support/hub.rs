//! A hub as the contract describes it, made of parts that share no code with the real one: a certificate authority, one HTTPS
//! route for enrolment, a broker with mutual TLS, and a ledger in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rumqttc::{AsyncClient, Event as MqttEvent, Incoming, MqttOptions, PublishOptions, QoS, Transport};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tongluo_protocols::event::{Beat, Event};
use tongluo_protocols::id::StreamKey;
use tongluo_protocols::link::{Ack, BatchView, Receiver};
use tongluo_protocols::order::Nonce;

use super::{until, within};

pub(crate) const SITE: &str = "site-1";
pub(crate) const CODE: &str = "ABCD2345";
/// The secret half of the key that gateways pin at enrolment.
pub(crate) const ORDER_SEED: [u8; 32] = [7; 32];

/// An entry in the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) key: StreamKey,
    pub(crate) sequence: u64,
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

/// What the hub has heard.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) entries: Vec<Held>,
    pub(crate) lost: Vec<(StreamKey, u64, u64)>,
    pub(crate) states: Vec<String>,
    pub(crate) beats: Vec<(u64, bool)>,
    /// What the gateway wants to be told with the time.
    pub(crate) question: Option<Nonce>,
    receivers: BTreeMap<StreamKey, Receiver>,
    /// Whether batches are answered.
    pub(crate) acks: bool,
    /// The acks that came for what we sent down.
    pub(crate) down_acks: Vec<Ack>,
}

impl Ledger {
    /// The presses, by id as text: how often each is in the ledger.
    pub(crate) fn presses(&self) -> BTreeMap<String, usize> {
        let mut presses = BTreeMap::new();
        for held in self.entries.iter().filter(|held| held.kind == 1) {
            let Ok(Event::Press(_)) = Event::parse(held.kind, &held.body) else {
                panic!("a press that cannot be read")
            };
            *presses.entry(format!("{}-{}", held.key.epoch, held.sequence)).or_default() += 1;
        }
        presses
    }

    /// Loses everything, as a hub that returns from an empty backup.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
        self.receivers.clear();
    }
}

/// The certificate authority of a test.
pub(crate) struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    server_key: String,
    server: String,
}

impl Authority {
    /// Makes a CA and a server certificate, and writes what mosquitto needs.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a county's test CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
        let authority = Self { server_key: key.serialize_pem(), server: server.pem(), ca };
        for (name, text) in [
            ("ca.pem", authority.ca.pem()),
            ("server.pem", authority.server.clone()),
            ("server.key", authority.server_key.clone()),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        authority
    }

    pub(crate) fn fingerprint(&self) -> String {
        Sha256::digest(self.ca.der()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A client certificate for the public key in a request; the subject is ours.
    fn issue(&self, request: &str, name: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params = CertificateParams::new(Vec::new()).unwrap();
        request.params.distinguished_name.push(DnType::CommonName, name);
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.signed_by(&self.ca).unwrap().pem()
    }

    /// Serves enrolments of one code until the test ends. Answers the port.
    pub(crate) async fn serve(self: Rc<Self>, mqtt_port: u16) -> u16 {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(self.server.as_bytes()).unwrap(), self.ca.der().clone()];
        let key = PrivateKeyDer::from_pem_slice(self.server_key.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            let mut used_by = None;
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                let question = read_request(&mut stream).await;
                let (status, answer) = self.enrol(&question, mqtt_port, &mut used_by);
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    answer.len()
                );
                let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }

    /// One code, which serves one key.
    fn enrol(
        &self,
        question: &serde_json::Value,
        mqtt_port: u16,
        used_by: &mut Option<(String, String)>,
    ) -> (&'static str, String) {
        let refused = |title: &str, detail: &str| {
            let problem = serde_json::json!({"type": "about:blank", "title": title, "status": 409, "detail": detail});
            ("409 Conflict", problem.to_string())
        };
        if question["code"] != CODE {
            return refused("Unknown code", "There is no open claim with this code.");
        }
        let request = question["certificate_request"].as_str().unwrap();
        let key = CertificateSigningRequestParams::from_pem(request).unwrap();
        let key = format!("{:?}", rcgen::PublicKeyData::der_bytes(&key.public_key));
        let certificate = match used_by {
            Some((known, certificate)) if *known == key => certificate.clone(),
            Some(_) => return refused("Used code", "This code has served another gateway."),
            None => {
                let certificate = self.issue(request, SITE);
                *used_by = Some((key, certificate.clone()));
                certificate
            }
        };
        let answer = serde_json::json!({
            "site_id": SITE,
            "gateway_id": "gateway-1",
            "certificate": certificate,
            "ca_certificate": self.ca.pem(),
            "mqtt_host": "127.0.0.1",
            "mqtt_port": mqtt_port,
            "order_key": Base64::encode_string(SigningKey::from_bytes(&ORDER_SEED).verifying_key().as_bytes()),
            "hub_url": "https://127.0.0.1:8443",
            "server_time_ms": 1_795_392_000_000_i64,
        });
        ("201 Created", answer.to_string())
    }
}

async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> serde_json::Value {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the request ended early");
        bytes.extend(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(value) = serde_json::from_str(body)
        {
            return value;
        }
    }
}

/// The hub's end of the link.
pub(crate) struct Hub {
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    client: AsyncClient,
}

impl Hub {
    /// Connects to the hub's broker and receives from then on.
    pub(crate) async fn listen(authority: &Authority, port: u16) -> Self {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::new(Vec::new()).unwrap().serialize_request(&key).unwrap().pem().unwrap();
        let chain = authority.issue(&request, "hub");
        let mut options = MqttOptions::new("hub", ("127.0.0.1", port));
        options.set_max_packet_size(64 * 1024, 64 * 1024);
        let client_auth = Some((chain.into_bytes(), key.serialize_pem().into_bytes()));
        options.set_transport(Transport::tls(authority.ca.pem().into_bytes(), client_auth, None));
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(10_000).build();
        let ledger = Rc::new(RefCell::new(Ledger { acks: true, ..Ledger::default() }));
        let subscribed = Rc::new(std::cell::Cell::new(false));
        let (shared, answering, ready) = (ledger.clone(), client.clone(), subscribed.clone());
        tokio::task::spawn_local(async move {
            let mut pause = tokio::time::interval(std::time::Duration::from_millis(50));
            loop {
                match eventloop.poll().await {
                    Ok(MqttEvent::Incoming(Incoming::ConnAck(_))) => {
                        answering.try_subscribe("tl/1/#", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(MqttEvent::Incoming(Incoming::SubAck(_))) => ready.set(true),
                    Ok(MqttEvent::Incoming(Incoming::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        for ack in receive(&mut shared.borrow_mut(), &topic, &publish.payload) {
                            publish_ack(&answering, &ack);
                        }
                    }
                    Ok(_) => {}
                    Err(_) => drop(pause.tick().await),
                }
            }
        });
        until("the hub to subscribe", || subscribed.get()).await;
        Self { ledger, client }
    }

    pub(crate) fn send_down(&self, batch: &[u8]) {
        self.client.try_publish(format!("tl/1/{SITE}/down"), batch, PublishOptions::new(QoS::AtLeastOnce)).unwrap();
    }

    /// Sends a batch again and again, as a hub does until somebody has it: one that comes before the gateway listens is lost.
    pub(crate) async fn send_down_until(&self, what: &str, batch: &[u8], holds: impl Fn() -> bool) {
        let mut again = tokio::time::interval(std::time::Duration::from_millis(500));
        let sending = async {
            while !holds() {
                again.tick().await;
                self.send_down(batch);
            }
        };
        within(what, sending).await;
    }

    pub(crate) async fn until_presses(&self, count: usize) {
        until(&format!("{count} presses in the ledger"), || self.ledger.borrow().presses().len() >= count).await;
    }
}

fn publish_ack(client: &AsyncClient, ack: &Ack) {
    let mut buffer = vec![0; Ack::BYTES_MAX];
    let length = ack.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    client.try_publish(format!("tl/1/{SITE}/up/ack"), buffer, PublishOptions::new(QoS::AtLeastOnce)).unwrap();
}

fn receive(ledger: &mut Ledger, topic: &str, payload: &[u8]) -> Vec<Ack> {
    let name = topic.strip_prefix(&format!("tl/1/{SITE}/")).expect("only the site's own topics");
    match name {
        "up" => receive_batch(ledger, payload).into_iter().collect(),
        "beat" => {
            let beat = Beat::parse(payload).unwrap();
            ledger.beats.push((beat.journal.urgent_pending, beat.lan_connected));
            ledger.question = beat.clock_nonce;
            if !ledger.acks {
                return Vec::new();
            }
            let wants = beat
                .streams
                .iter()
                .filter_map(|held| ledger.receivers.get(&held.key).copied().unwrap_or_default().wants(held));
            wants.collect()
        }
        "state" => {
            ledger.states.push(String::from_utf8(payload.to_vec()).unwrap());
            Vec::new()
        }
        "down/ack" => {
            ledger.down_acks.push(Ack::parse(payload).unwrap());
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn receive_batch(ledger: &mut Ledger, payload: &[u8]) -> Option<Ack> {
    if !ledger.acks {
        return None;
    }
    let batch = BatchView::parse(payload).unwrap();
    let key = batch.key();
    let mut receiver = ledger.receivers.get(&key).copied().unwrap_or_default();
    let offer = receiver.offer(batch.extent());
    ledger.lost.extend(offer.lost.map(|lost| (key, lost.from, lost.to)));
    for entry in batch.entries().skip(offer.skip).take(offer.take) {
        ledger.entries.push(Held { key, sequence: entry.sequence, kind: entry.kind, body: entry.body.to_vec() });
    }
    receiver.commit(&offer);
    ledger.receivers.insert(key, receiver);
    Some(offer.ack(key))
}
