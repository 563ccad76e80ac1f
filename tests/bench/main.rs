//! `./run bench`: what the programs cost and how long things take, measured on the machine at hand.
//!
//! A number alone says more about the machine than about the program, so each stands beside a peer or a limit that was
//! measured in the same run: [`alarm`] presses real buttons and in turn asks what two bare MQTT hops and two syncs cost
//! ([`limit`]); [`voice`] sounds sirens and sends notices to a loudspeaker; [`ingest`] floods a hub from five hundred gateways'
//! certificates and in the same run writes the same rows with nothing but SQLite ([`peer`]); [`camera`] records cameras with a gateway and with ffmpeg; [`live`] watches one in a browser; [`county`] connects a gateway for
//! every grid, lets people press everywhere, and takes the power from a real county. The figures go into `target/bench/report.json` and a table.
//!
//! Everything runs on free loopback ports with data of its own, is bounded in count and time, and ends with this program.
//! `--quick` makes everything shorter; `--only alarm`, `--only voice`, `--only ingest`, `--only camera`, `--only live` or
//! `--only county` runs one part.

mod alarm;
mod bare;
mod camera;
mod county;
mod crowd;
mod edge;
mod gateways;
mod ingest;
mod ledger;
mod limit;
mod live;
mod load;
mod peer;
mod presses;
mod process;
mod provision;
mod report;
mod viewers;
mod voice;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tongluo_tests::scene::Folder;

use county::County;
use report::Report;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Presses, one at a time, each followed by one look at the limit.
    presses: usize,
    /// Sirens and notices, in turn.
    sounds: usize,
    /// Gateways that fill the ledger.
    gateways: usize,
    /// Seconds during which their entries are counted.
    ingest_s: u64,
    /// Starts of a gateway.
    starts: usize,
    /// Seconds a program is left alone before its memory is read.
    idle_s: u64,
    /// Cameras that are recorded at once, rising.
    cameras: &'static [usize],
    /// Seconds during which that is watched.
    camera_s: u64,
    /// Seconds during which a live picture is watched.
    watch_s: u64,
    /// How often somebody begins to watch.
    watch_starts: u32,
    /// A gateway in every grid.
    county: County,
    /// A gateway where a county has one.
    real_county: County,
}

const FULL: Size = Size {
    presses: 600,
    sounds: 50,
    gateways: 500,
    ingest_s: 20,
    starts: 7,
    idle_s: 20,
    cameras: &[8, 32, 64],
    camera_s: 20,
    watch_s: 60,
    watch_starts: 20,
    county: County { gateways: 13_215, presses_per_s: 1_000, storm_s: 10 },
    real_county: County { gateways: 600, presses_per_s: 300, storm_s: 10 },
};
const QUICK: Size = Size {
    presses: 60,
    sounds: 5,
    gateways: 50,
    ingest_s: 4,
    starts: 3,
    idle_s: 3,
    cameras: &[8],
    camera_s: 5,
    watch_s: 10,
    watch_starts: 5,
    county: County { gateways: 1_000, presses_per_s: 300, storm_s: 3 },
    real_county: County { gateways: 200, presses_per_s: 100, storm_s: 3 },
};

struct Arguments {
    size: Size,
    only: Option<String>,
    report: PathBuf,
}

fn arguments() -> Result<Arguments> {
    let mut arguments = Arguments { size: FULL, only: None, report: PathBuf::from("target/bench/report.json") };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => arguments.size = QUICK,
            "--only" => {
                arguments.only =
                    Some(words.next().context("--only wants alarm, voice, ingest, camera, live or county")?)
            }
            "--report" => arguments.report = words.next().context("--report wants a path")?.into(),
            other => {
                bail!(
                    "{other:?} is not known; allowed: --quick, --only alarm|voice|ingest|camera|live|county, --report PATH"
                )
            }
        }
    }
    Ok(arguments)
}

fn main() -> Result<()> {
    let Arguments { size, only, report: path } = arguments()?;
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let folder = Folder::new("bench")?;
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        if wanted("alarm") {
            alarm::measure(&folder, size, &mut report).await.context("the way of a press")?;
        }
        if wanted("voice") {
            voice::measure(&folder, size, &mut report).await.context("what a village hears")?;
        }
        if wanted("ingest") {
            ingest::measure(&folder, size, &mut report).await.context("filling the ledger")?;
        }
        if wanted("camera") {
            camera::measure(&folder, size, &mut report).await.context("recording cameras")?;
        }
        if wanted("live") {
            live::measure(&folder, size, &mut report).await.context("live pictures")?;
        }
        if wanted("county") {
            county::measure(&folder, size, &mut report).await.context("a whole county")?;
        }
        Ok::<_, anyhow::Error>(())
    });
    // What was measured before something failed is worth as much as before.
    report.write(&path)?;
    std::io::stdout().write_all(report.table().as_bytes())?;
    if measured.is_err() {
        std::io::stderr().write_all(folder.tails().as_bytes())?;
    }
    measured
}
