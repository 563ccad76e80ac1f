//! How fast gateways get in, how much each costs, how fast they are heard and reached: the embedded broker beside a
//! mosquitto on the same machine in the same run.
//!
//! `cargo run --release -p tongluo-hub --example broker_load -- [gateways] [publishers] [seconds]`, by default 2,000, 500
//! and 5. The gateways run in a process of their own (this program again), so that each side has its own open files;
//! both need more of them than there are gateways (`ulimit -n`).

mod gateways;
mod pki;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;
use tongluo_hub::broker::{
    Arrival, Arrivals, Broker, BrokerConfig, DownLeaf, EmbeddedConfig, ExternalConfig, Gate, HUB_CLIENT_ID,
    MosquittoPlan, PublishError, UpLeaf, access_list, mosquitto_config,
};
use tongluo_hub::clock;
use tongluo_hub::ids::SiteId;

use pki::{Pki, Use};

/// What one broker did.
struct Figures {
    connect: Duration,
    /// Time that the broker computed for it: what the machine's other work does not change.
    connect_cpu: f64,
    rss_kb_per_gateway: f64,
    fan_out: Duration,
    acknowledged_per_s: f64,
    received_per_s: f64,
}

/// How much is asked of each.
#[derive(Clone, Copy)]
struct Load {
    gateways: usize,
    publishers: usize,
    seconds: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "gateways") {
        return gateways::run(&arguments[1..]).await;
    }
    let number = |index: usize, default: usize| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let load =
        Load { gateways: number(0, 2_000)?, publishers: number(1, 500)?, seconds: u64::try_from(number(2, 5)?)? };
    let folder = std::env::temp_dir().join(format!("tongluo-broker-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = compare(&folder, load).await;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn compare(folder: &Path, load: Load) -> Result<()> {
    let pki = Pki::new(folder)?;
    pki.issue_gateways(load.gateways)?;
    let mut out = std::io::stdout();
    writeln!(out, "{} gateways, mutual TLS; {} of them publish 200 bytes with QoS 1", load.gateways, load.publishers)?;
    writeln!(out, "broker     connect_s  broker_cpu_s  kB/gateway  fan_out_s  acknowledged/s  received/s")?;
    for (name, figures) in
        [("embedded", embedded(&pki, load).await?), ("mosquitto", mosquitto(folder, &pki, load).await?)]
    {
        writeln!(
            out,
            "{name:<10} {:>9.2} {:>13.2} {:>11.1} {:>10.3} {:>15.0} {:>11.0}",
            figures.connect.as_secs_f64(),
            figures.connect_cpu,
            figures.rss_kb_per_gateway,
            figures.fan_out.as_secs_f64(),
            figures.acknowledged_per_s,
            figures.received_per_s
        )?;
    }
    Ok(())
}

async fn embedded(pki: &Pki, load: Load) -> Result<Figures> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = BrokerConfig::Embedded(EmbeddedConfig { listen, ..EmbeddedConfig::default() });
    let (broker, arrivals) = Broker::start(&config, &pki.issue("hub", Use::Server)?, Arc::new(Open)).await?;
    let port = broker.address().context("it listens")?.port();
    measure(broker, arrivals, port, std::process::id(), pki, load).await
}

async fn mosquitto(folder: &Path, pki: &Pki, load: Load) -> Result<Figures> {
    let plan = MosquittoPlan {
        gateways: free_address()?,
        hub: free_address()?,
        connections_max: 20_000,
        credentials: pki.issue("mosquitto", Use::Server)?,
        revocations: pki.empty_revocations()?,
        access_list: folder.join("access.list"),
        user: Some("root".to_owned()),
    };
    std::fs::write(&plan.access_list, access_list())?;
    let configuration = folder.join("mosquitto.conf");
    std::fs::write(&configuration, mosquitto_config(&plan))?;
    let process =
        Killed(Command::new("/usr/sbin/mosquitto").arg("-c").arg(&configuration).stderr(Stdio::null()).spawn()?);
    let host = "localhost".to_owned();
    let config = ExternalConfig { host, port: plan.hub.port(), username: None, password_file: None };
    let credentials = pki.issue(HUB_CLIENT_ID, Use::Client)?;
    let (broker, arrivals) = Broker::start(&BrokerConfig::External(config), &credentials, Arc::new(Open)).await?;
    while broker.stats().connects == 0 {
        clock::pause(Duration::from_millis(10)).await;
    }
    measure(broker, arrivals, plan.gateways.port(), process.0.id(), pki, load).await
}

async fn measure(
    broker: Broker,
    arrivals: Arrivals,
    port: u16,
    broker_pid: u32,
    pki: &Pki,
    load: Load,
) -> Result<Figures> {
    let (rss_before, cpu_before) = (rss_kb(broker_pid)?, cpu_s(broker_pid)?);
    let counter = Arc::new(Counter::default());
    let consumer = tokio::spawn(consume(arrivals, Arc::clone(&counter)));
    let arguments =
        [port.to_string(), load.gateways.to_string(), load.publishers.to_string(), load.seconds.to_string()];
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .arg("gateways")
        .arg(pki.folder())
        .args(&arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("it is piped")?).lines();
    let connect = Duration::from_secs_f64(answer(&mut lines, "connected").await?);
    let (rss_after, cpu_after) = (rss_kb(broker_pid)?, cpu_s(broker_pid)?);

    let started = clock::instant();
    for index in 0..load.gateways {
        let site = SiteId::from_known(pki::site(index));
        loop {
            match broker.publish(&site, DownLeaf::UpAck, Bytes::from_static(&[1; 40])).await {
                Ok(()) => break,
                Err(PublishError::Full(_)) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
    }
    answer(&mut lines, "heard").await?;
    let fan_out = started.elapsed();

    answer(&mut lines, "publishing").await?;
    counter.running.store(true, Ordering::Relaxed);
    let acknowledged = answer(&mut lines, "acknowledged").await?;
    counter.running.store(false, Ordering::Relaxed);
    let seconds = Duration::from_secs(load.seconds).as_secs_f64();
    ensure!(child.wait().await?.success(), "the gateways failed");
    broker.shutdown().await;
    consumer.await?;
    Ok(Figures {
        connect,
        connect_cpu: cpu_after - cpu_before,
        rss_kb_per_gateway: (rss_after - rss_before) / precise(load.gateways)?,
        fan_out,
        acknowledged_per_s: acknowledged / seconds,
        received_per_s: precise(usize::try_from(counter.received.load(Ordering::Relaxed))?)? / seconds,
    })
}

/// Counts what arrives on `up` while it is asked to.
#[derive(Default)]
struct Counter {
    running: AtomicBool,
    received: AtomicU64,
}

async fn consume(mut arrivals: Arrivals, counter: Arc<Counter>) {
    let mut batch = Vec::new();
    while arrivals.recv_many(&mut batch, 512).await > 0 {
        let ups =
            batch.drain(..).filter(|arrival| matches!(arrival, Arrival::Message { leaf: UpLeaf::Up, .. })).count();
        if counter.running.load(Ordering::Relaxed) {
            counter.received.fetch_add(ups as u64, Ordering::Relaxed);
        }
    }
}

/// Lets everybody in.
struct Open;

impl Gate for Open {
    fn allows(&self, _site: &SiteId, _serial: &[u8]) -> bool {
        true
    }
}

/// Kills its process when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number that the gateways' process says with a word.
async fn answer(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) -> Result<f64> {
    let line = lines.next_line().await?.with_context(|| format!("the gateways ended before {word}"))?;
    let number = line.strip_prefix(word).with_context(|| format!("{line:?} instead of {word}"))?;
    Ok(number.trim().parse()?)
}

fn rss_kb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status")))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).context("Linux says VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}

/// Seconds that a process has computed, in user and system mode.
fn cpu_s(pid: u32) -> Result<f64> {
    /// Linux counts these in hundredths of a second on every platform that Rust serves.
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat")))?;
    let after_name = stat.rsplit(')').next().context("the name is in brackets")?;
    let field =
        |index: usize| -> Result<f64> { Ok(after_name.split_whitespace().nth(index).context("short")?.parse()?) };
    Ok((field(11)? + field(12)?) / TICKS_PER_S)
}

fn precise(number: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(number)?))
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
