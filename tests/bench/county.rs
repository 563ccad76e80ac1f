//! A whole county at once, through the whole hub: mutual TLS, certificates, presence, ledger, alarms, change log.
//!
//! Two sizes. The **stress test** has a gateway in every grid: how long until all are connected, what each costs the hub in memory, and
//! how long presses take when a thousand come every second. The **real county** has a gateway in some six hundred places and loses
//! its power: all connections end, all come back, and people press.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tongluo_tests::hub::{Hub, HubPlan};
use tongluo_tests::scene::Folder;

use crate::crowd::Crowd;
use crate::provision::provision;
use crate::report::{Goal, Report};
use crate::{Size, ledger, process};

/// A county that is not connected, dark or acknowledged by then has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// How big a county is, and what happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct County {
    pub(crate) gateways: usize,
    pub(crate) presses_per_s: u32,
    pub(crate) storm_s: u32,
}

/// Measures both.
///
/// # Errors
/// A program does not do what it should, or a press is lost.
pub(crate) async fn measure(folder: &Folder, size: Size, report: &mut Report) -> Result<()> {
    stress(&folder.inside("hub-county")?, size.county, report).await.context("a gateway in every grid")?;
    blackout(&folder.inside("hub-blackout")?, size.real_county, report).await.context("a real county's blackout")
}

async fn stress(folder: &Path, county: County, report: &mut Report) -> Result<()> {
    let (mut hub, crowd) = start(folder, county).await?;
    let pid = hub.running()?.pid();
    let before_kb = process::rss_kb(pid)?;
    let took = crowd.connect(PATIENCE).await?;
    let grown_kb = process::rss_kb(pid)? - before_kb;
    let samples = crowd.storm(county.presses_per_s, county.storm_s, PATIENCE).await?;
    report.add("county.gateways", county.gateways as f64);
    report.judge("county.connect_s", took.as_secs_f64(), Goal::AtMost(15.0));
    report.judge("county.rss_kb_per_gateway", grown_kb / county.gateways as f64, Goal::AtMost(35.0));
    report.add("county.storm_presses_per_s", f64::from(county.presses_per_s));
    report.add("county.storm_p50_ms", samples.ms(0.5));
    report.judge("county.storm_p99_ms", samples.ms(0.99), Goal::AtMost(250.0));
    report.add("county.refused_dials", crowd.refused() as f64);
    end(hub, &crowd).await
}

async fn blackout(folder: &Path, county: County, report: &mut Report) -> Result<()> {
    let (hub, crowd) = start(folder, county).await?;
    crowd.connect(PATIENCE).await?;
    crowd.darken(PATIENCE).await?;
    let took = crowd.connect(PATIENCE).await?;
    let samples = crowd.storm(county.presses_per_s, county.storm_s, PATIENCE).await?;
    report.add("county.real.gateways", county.gateways as f64);
    report.judge("county.real.connect_s", took.as_secs_f64(), Goal::AtMost(3.0));
    report.add("county.real.storm_p50_ms", samples.ms(0.5));
    report.judge("county.real.storm_p99_ms", samples.ms(0.99), Goal::AtMost(100.0));
    end(hub, &crowd).await
}

async fn start(folder: &Path, county: County) -> Result<(Hub, Crowd)> {
    let plan = HubPlan::new()?;
    let port = plan.mqtt_port;
    let mut hub = Hub::init(folder, plan)?;
    let gateways = provision(&folder.join("data"), county.gateways)?;
    hub.serve().await?;
    Ok((hub, Crowd::new(gateways, port)?))
}

/// Every press is in the ledger, and nothing else.
async fn end(mut hub: Hub, crowd: &Crowd) -> Result<()> {
    let reader = ledger::open(&hub.folder().join("data/hub.db"))?;
    let (_, held) = ledger::counts(&reader)?;
    ensure!(held == crowd.pressed(), "the ledger holds {held} presses, {} were made", crowd.pressed());
    drop(reader);
    hub.stop().await
}
