//! What the way of a press costs at the least: two MQTT hops and two syncs, and nothing else.
//!
//! A device publishes to one bare mosquitto; a first client syncs 4 KiB to its file and publishes to another bare mosquitto; a
//! second client syncs 4 KiB to its file. No encryption, no database, no JSON, files whose space is there already. Each client
//! has a thread of its own, as the gateway and the hub have processes of their own.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, PublishOptions, QoS};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tongluo_tests::{clock, wait};

use crate::bare::Bare;

const TOPIC: &str = "limit";
const REQUESTS_MAX: usize = 16;
/// A page, the least that a database writes.
const BLOCK_BYTES: usize = 4096;
/// The file is written round and round, as a write-ahead log is.
const BLOCKS: u64 = 256;
/// As long as the real message of a button.
const PAYLOAD: &[u8] = br#"{"action":"emergency","battery":100,"linkquality":120}"#;
const PATIENCE: Duration = Duration::from_secs(10);

/// The bare way.
pub(crate) struct Limit {
    device: AsyncClient,
    arrived: UnboundedReceiver<Instant>,
    _brokers: [Bare; 2],
}

impl Limit {
    /// Starts the brokers and connects the clients.
    ///
    /// # Errors
    /// One of them does not come up.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let brokers = [Bare::start(folder, "bare-village").await?, Bare::start(folder, "bare-county").await?];
        let [village, county] = [brokers[0].port, brokers[1].port];
        let (ready, mut is_ready) = unbounded_channel();
        let (arrive, arrived) = unbounded_channel();
        let first = Hop { from: village, file: folder.join("bare-village.data"), ready: ready.clone() };
        let second = Hop { from: county, file: folder.join("bare-county.data"), ready };
        first.start("bare-gateway", Next::Publish(county))?;
        second.start("bare-hub", Next::Arrive(arrive))?;
        for _ in 0..2 {
            let up = tokio::time::timeout(PATIENCE, is_ready.recv()).await;
            up.context("a bare client does not connect")?.context("a bare client has ended")?;
        }
        let (device, events) = connect("bare-device", village);
        tokio::spawn(poll(events));
        Ok(Self { device, arrived, _brokers: brokers })
    }

    /// How long one message takes.
    ///
    /// # Errors
    /// It does not arrive.
    pub(crate) async fn measure(&mut self) -> Result<Duration> {
        let begun = clock::now();
        self.device.publish(TOPIC, PAYLOAD, PublishOptions::at_least_once()).await?;
        let arrived = tokio::time::timeout(wait::PATIENCE, self.arrived.recv()).await;
        let arrived = arrived.context("the bare message does not arrive")?.context("the bare way has ended")?;
        Ok(arrived.duration_since(begun))
    }
}

fn connect(client_id: &str, port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(client_id, ("127.0.0.1", port));
    options.set_keep_alive(30);
    let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

async fn poll(mut events: EventLoop) {
    while events.poll().await.is_ok() {}
}

enum Next {
    Publish(u16),
    Arrive(UnboundedSender<Instant>),
}

/// One client: takes a message, makes it durable, passes it on.
struct Hop {
    from: u16,
    file: PathBuf,
    ready: UnboundedSender<()>,
}

impl Hop {
    fn start(self, name: &'static str, next: Next) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // It ends with its broker.
        std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(self.run(name, next)))?;
        Ok(())
    }

    async fn run(self, name: &'static str, next: Next) -> Result<()> {
        let file = File::options().create(true).truncate(true).write(true).open(&self.file)?;
        file.write_all_at(&vec![0; BLOCK_BYTES * BLOCKS as usize], 0)?;
        file.sync_all()?;
        let out = match &next {
            Next::Publish(port) => {
                let (client, events) = connect(&format!("{name}-out"), *port);
                tokio::spawn(poll(events));
                Some(client)
            }
            Next::Arrive(_) => None,
        };
        let (client, mut events) = connect(name, self.from);
        client.subscribe(TOPIC, QoS::AtLeastOnce).await?;
        let mut block = 0;
        loop {
            match events.poll().await? {
                Event::Incoming(Packet::SubAck(_)) => self.ready.send(())?,
                Event::Incoming(Packet::Publish(_)) => {
                    file.write_all_at(&[7; BLOCK_BYTES], block % BLOCKS * BLOCK_BYTES as u64)?;
                    file.sync_data()?;
                    block += 1;
                    match (&next, &out) {
                        (Next::Arrive(arrive), _) => arrive.send(clock::now())?,
                        (Next::Publish(_), Some(out)) => {
                            out.publish(TOPIC, PAYLOAD, PublishOptions::at_least_once()).await?;
                        }
                        (Next::Publish(_), None) => unreachable!("a publisher was made for it above"),
                    }
                }
                _ => {}
            }
        }
    }
}
