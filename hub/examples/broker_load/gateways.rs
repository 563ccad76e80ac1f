//! The gateways' process: as many MQTT clients as asked for, with no more in each than the load needs.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tongluo_hub::clock;

use crate::pki;

/// Handshakes at once: enough to keep two cores busy.
const HANDSHAKES: usize = 256;
/// Publishes of one gateway that wait for their acknowledgement.
const WINDOW: u16 = 32;
const PAYLOAD: [u8; 200] = [7; 200];
/// Nothing in a run takes longer than this, or it has failed.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Tally {
    connected: AtomicUsize,
    heard: AtomicUsize,
    acknowledged: AtomicU64,
    changed: Notify,
}

impl Tally {
    fn add(&self, count: &AtomicUsize) {
        count.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    async fn reaches(&self, count: &AtomicUsize, goal: usize) -> Result<()> {
        let reached = async {
            while count.load(Ordering::Relaxed) < goal {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.with_context(|| format!("{count:?} of {goal}"))
    }
}

/// Arguments: folder, port, gateways, publishers, seconds.
pub(crate) async fn run(arguments: &[String]) -> Result<()> {
    let [folder, port, gateways, publishers, seconds] = arguments else { bail!("five arguments, not {arguments:?}") };
    let (port, gateways): (u16, usize) = (port.parse()?, gateways.parse()?);
    let (publishers, seconds): (usize, u64) = (publishers.parse()?, seconds.parse()?);
    let configurations = configurations(Path::new(folder), gateways)?;
    let tally = Arc::new(Tally::default());
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let (publish, may_publish) = watch::channel(false);

    let started = clock::instant();
    for (index, tls) in configurations.into_iter().enumerate() {
        let (tally, handshakes) = (Arc::clone(&tally), Arc::clone(&handshakes));
        let may_publish = (index < publishers).then(|| may_publish.clone());
        tokio::spawn(async move {
            let site = pki::site(index);
            let permit = handshakes.acquire().await;
            match connect(port, tls, &site).await {
                Ok(stream) => {
                    drop(permit);
                    tally.add(&tally.connected);
                    // It ends with the process, or by the broker's doing, which the tally shows.
                    let _ = live(stream, &site, &tally, may_publish).await;
                }
                Err(error) => {
                    let _ = writeln!(std::io::stderr(), "{site}: {error:#}");
                }
            }
        });
    }
    let say = |word: &str, number: f64| writeln!(std::io::stdout(), "{word} {number}");
    tally.reaches(&tally.connected, gateways).await?;
    say("connected", started.elapsed().as_secs_f64())?;
    tally.reaches(&tally.heard, gateways).await?;
    say("heard", 0.0)?;
    publish.send_replace(true);
    clock::pause(Duration::from_millis(500)).await;
    let before = tally.acknowledged.load(Ordering::Relaxed);
    say("publishing", 0.0)?;
    clock::pause(Duration::from_secs(seconds)).await;
    let acknowledged = tally.acknowledged.load(Ordering::Relaxed) - before;
    say("acknowledged", f64::from(u32::try_from(acknowledged)?))?;
    Ok(())
}

fn configurations(folder: &Path, gateways: usize) -> Result<Vec<Arc<ClientConfig>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join(pki::AUTHORITY))?)?;
    let roots = Arc::new(roots);
    let key = PrivateKeyDer::from_pem_file(folder.join(pki::GATEWAYS_KEY))?;
    let provider = Arc::new(ring::default_provider());
    CertificateDer::pem_file_iter(folder.join(pki::GATEWAYS))?
        .take(gateways)
        .map(|certificate| {
            let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(Arc::clone(&roots))
                .with_client_auth_cert(vec![certificate?], key.clone_key())?;
            config.resumption = rustls::client::Resumption::disabled();
            Ok(Arc::new(config))
        })
        .collect()
}

/// Connects, subscribes, says that it is on line, and waits until all of that was answered.
async fn connect(port: u16, tls: Arc<ClientConfig>, site: &str) -> Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let mut stream = TlsConnector::from(tls).connect("localhost".try_into()?, socket).await?;
    let state = format!("tl/1/{site}/state");
    let mut hello = Vec::new();
    let mut connect = Vec::new();
    text(&mut connect, b"MQTT");
    // 3.1.1; will retained with QoS 1, clean session; keep-alive 120 s.
    connect.extend([4, 0b0010_1110, 0, 120]);
    for field in [site.as_bytes(), state.as_bytes(), b"{\"online\":false}"] {
        text(&mut connect, field);
    }
    packet(&mut hello, 0x10, &connect);
    let mut subscribe = vec![0, 1];
    for leaf in ["up/ack", "down", "call"] {
        text(&mut subscribe, format!("tl/1/{site}/{leaf}").as_bytes());
        subscribe.push(1);
    }
    packet(&mut hello, 0x82, &subscribe);
    publish(&mut hello, &state, 2, true, b"{\"online\":true}");
    stream.write_all(&hello).await?;
    // CONNACK 4 bytes, SUBACK 7, PUBACK 4, in any order after the first.
    let mut answers = [0; 15];
    stream.read_exact(&mut answers).await?;
    ensure!(answers[..4] == [0x20, 2, 0, 0], "refused: {answers:?}");
    Ok(stream)
}

/// Answers what comes, and publishes when it may.
async fn live(
    mut stream: TlsStream<TcpStream>,
    site: &str,
    tally: &Tally,
    may_publish: Option<watch::Receiver<bool>>,
) -> Result<()> {
    let topic = format!("tl/1/{site}/up");
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let mut next_id = 3;
    let mut told = std::pin::pin!(async {
        match may_publish {
            Some(mut may_publish) => drop(may_publish.wait_for(|may| *may).await),
            None => std::future::pending().await,
        }
    });
    let mut publishing = false;
    loop {
        tokio::select! {
            read = stream.read_buf(&mut input) => ensure!(read? > 0, "the broker ended the connection"),
            () = &mut told, if !publishing => {
                publishing = true;
                for _ in 0..WINDOW {
                    publish(&mut output, &topic, next_id, false, &PAYLOAD);
                    next_id += 1;
                }
            }
        }
        while let Some((kind, body, length)) = first(&input) {
            match kind & 0xf0 {
                0x30 => {
                    tally.add(&tally.heard);
                    if kind & 0b0110 != 0 {
                        let topic_length = usize::from(u16::from_be_bytes([body[0], body[1]]));
                        let id = [body[2 + topic_length], body[3 + topic_length]];
                        packet(&mut output, 0x40, &id);
                    }
                }
                0x40 => {
                    tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                    publish(&mut output, &topic, next_id, false, &PAYLOAD);
                    next_id = next_id.checked_add(1).unwrap_or(3);
                }
                _ => {}
            }
            input.drain(..length);
        }
        stream.write_all(&output).await?;
        output.clear();
    }
}

fn text(into: &mut Vec<u8>, text: &[u8]) {
    into.extend(u16::try_from(text.len()).expect("texts here are short").to_be_bytes());
    into.extend(text);
}

fn packet(into: &mut Vec<u8>, kind: u8, body: &[u8]) {
    into.push(kind);
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        into.push(if length > 0 { digit | 128 } else { digit });
        if length == 0 {
            break;
        }
    }
    into.extend(body);
}

fn publish(into: &mut Vec<u8>, topic: &str, id: u16, retained: bool, payload: &[u8]) {
    let mut body = Vec::with_capacity(topic.len() + 4 + payload.len());
    text(&mut body, topic.as_bytes());
    body.extend(id.to_be_bytes());
    body.extend(payload);
    packet(into, 0x32 | u8::from(retained), &body);
}

/// Kind, body and whole length of the first complete packet.
fn first(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut length = 0;
    for (index, digit) in input.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(digit & 127) << (7 * index);
        if digit & 128 == 0 {
            let start = 2 + index;
            return Some((input[0], input.get(start..start + length)?, start + length));
        }
    }
    None
}
