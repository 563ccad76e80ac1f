//! What the programs take of a machine when nothing happens, and how soon a gateway is there.

use anyhow::{Context, Result};
use tongluo_tests::button::{Press, ZigbeeButton};
use tongluo_tests::hub::Hub;
use tongluo_tests::lan::Lan;
use tongluo_tests::village::Village;
use tongluo_tests::{child, clock};

use crate::report::{Goal, Report, Samples};
use crate::{Size, process};

/// Measures a hub and a gateway that have worked and now rest, then the gateway's start.
///
/// # Errors
/// A program does not do what it should.
pub(crate) async fn measure(
    hub: &mut Hub,
    village: &mut Village,
    lan: &mut Lan,
    button: &ZigbeeButton,
    size: Size,
    report: &mut Report,
) -> Result<()> {
    clock::pause(std::time::Duration::from_secs(size.idle_s)).await;
    report.judge("edge.rss_kb", process::rss_kb(village.gateway.running()?.pid())?, Goal::AtMost(15_000.0));
    report.judge("edge.binary_kb", binary_kb("tongluo-edge")?, Goal::AtMost(12_000.0));
    let mut starts = Samples::default();
    for _ in 0..size.starts {
        starts.add(start(village, lan, button).await?);
    }
    report.judge("edge.start_ms", starts.ms(1.0), Goal::AtMost(500.0));
    report.add("hub.rss_kb", process::rss_kb(hub.running()?.pid())?);
    report.add("hub.binary_kb", binary_kb("tongluo-hub")?);
    Ok(())
}

/// Presses a button while the gateway is away, and starts the gateway: how long until the button hears that its press is on
/// the gateway's disk. The village's broker has kept the press, so this is all that a start takes.
async fn start(village: &mut Village, lan: &mut Lan, button: &ZigbeeButton) -> Result<std::time::Duration> {
    village.gateway.stop().await?;
    lan.publish(&button.press(Press::Sos)).await?;
    let begun = clock::now();
    village.gateway.run()?;
    lan.confirmed().await.context("after its start")?;
    Ok(clock::now().duration_since(begun))
}

fn binary_kb(name: &str) -> Result<f64> {
    Ok(std::fs::metadata(child::program(name)?)?.len() as f64 / 1024.0)
}
