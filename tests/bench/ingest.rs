//! How many entries a second reach the ledger, from five hundred gateways at once, with the load on the same machine.
//!
//! What counts is what the hub has acknowledged, and in the end the ledger is asked whether it holds exactly that. Before and
//! after, the same rows are written by nothing but SQLite ([`peer`]).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::scene::Folder;
use tongluo_tests::{clock, wait};

use crate::load::{Load, Tally};
use crate::report::{Goal, Report};
use crate::{Size, gateways, ledger, peer, process};

/// How long it may take until every gateway is through its first rounds.
const WARM_UP_PATIENCE: Duration = Duration::from_secs(60);

/// A moment of the load.
struct Moment {
    at: Instant,
    entries: u64,
    presses: u64,
    hub_cpu: Duration,
    load_cpu: Duration,
    transactions: u64,
}

/// Fills a ledger, and says how fast.
///
/// # Errors
/// A program does not do what it should, or the ledger does not hold what was acknowledged.
pub(crate) async fn measure(folder: &Folder, size: Size, report: &mut Report) -> Result<()> {
    let plan = HubPlan::new()?;
    let port = plan.mqtt_port;
    let mut hub = Hub::init(&folder.path().join("hub-ingest"), plan)?;
    hub.serve().await?;
    let enrolled = gateways::enrol(&hub.administrator().await?, size.gateways).await?;
    let mut load = Load::start(enrolled, port)?;
    let deadline = clock::now() + WARM_UP_PATIENCE;
    while load.tally.warm.load(Ordering::Relaxed) < size.gateways {
        ensure!(clock::now() < deadline, "the gateways of the load do not get through their first rounds");
        load = load.check()?;
        clock::pause(Duration::from_millis(100)).await;
    }
    load.tally.noting.store(true, Ordering::Relaxed);
    let begun = moment(&mut hub, &load.tally).await?;
    clock::pause(Duration::from_secs(size.ingest_s)).await;
    let ended = moment(&mut hub, &load.tally).await?;
    load.tally.noting.store(false, Ordering::Relaxed);
    let hub_rss_kb = process::rss_kb(hub.running()?.pid())?;
    let tally = std::sync::Arc::clone(&load.tally);
    let stopped = tokio::task::spawn_blocking(move || load.stop());
    tokio::time::timeout(wait::PATIENCE, stopped).await.context("the load does not come to an end")???;

    let reader = ledger::open(&hub.folder().join("data/hub.db"))?;
    let held = ledger::counts(&reader)?;
    let acked = (tally.entries.load(Ordering::Relaxed), tally.presses.load(Ordering::Relaxed));
    ensure!(held == acked, "the ledger holds {held:?} entries and presses, {acked:?} were acknowledged");

    let entries = (ended.entries - begun.entries) as f64;
    let seconds = ended.at.duration_since(begun.at).as_secs_f64();
    let transactions = (ended.transactions - begun.transactions).max(1) as f64;
    let per_transaction = (entries / transactions).ceil();
    let peer = peer::rows_per_s(&reader, folder.path(), per_transaction as usize)?;
    let rate = entries / seconds;
    report.compare("ingest.events_per_s", rate, Some(Goal::AtLeast(30_000.0)), "SQLite alone", peer);
    report.add("peer.sqlite.rows_per_s", peer);
    report.add("ingest.press_share", (ended.presses - begun.presses) as f64 / entries);
    report.add("ingest.entries_per_commit", per_transaction);
    let presses = tally.press_to_ack();
    report.add("ingest.press_to_ack_ms.p50", presses.ms(0.5));
    report.add("ingest.press_to_ack_ms.p99", presses.ms(0.99));
    let cores = |from: Duration, to: Duration| (to - from).as_secs_f64() / seconds;
    report.add("ingest.hub_cores", cores(begun.hub_cpu, ended.hub_cpu));
    report.add("ingest.load_cores", cores(begun.load_cpu, ended.load_cpu));
    report.add("ingest.hub_us_per_event", (ended.hub_cpu - begun.hub_cpu).as_secs_f64() * 1e6 / entries);
    report.add("ingest.hub_rss_kb", hub_rss_kb);
    drop(reader);
    hub.stop().await
}

async fn moment(hub: &mut Hub, tally: &Tally) -> Result<Moment> {
    let metrics = reqwest::get(format!("{}/metrics", hub.url())).await?.text().await?;
    let transactions = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tongluo_hub_link_rounds_total "))
        .context("the hub does not say how many transactions it has committed")?;
    Ok(Moment {
        at: clock::now(),
        entries: tally.entries.load(Ordering::Relaxed),
        presses: tally.presses.load(Ordering::Relaxed),
        hub_cpu: process::cpu(hub.running()?.pid())?,
        load_cpu: process::cpu(std::process::id())?,
        transactions: transactions.trim().parse()?,
    })
}
